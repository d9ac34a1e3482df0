//! A client that pushes small images, remembers the acknowledged ones, and fetches them later.

use oci::{Algorithm, Digest};
use reqwest::{Client, StatusCode};

use crate::random::content;

/// An image that was or may have been acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) manifest: Digest,
    pub(crate) blobs: Vec<Digest>,
}

/// The ways to push a blob (distribution-spec, "Pushing blobs").
#[derive(Clone, Copy)]
enum Way {
    /// POST, PATCH in two parts, and PUT: the received bytes survive the process between requests.
    Parts,
    /// POST, and PUT with the whole content.
    Whole,
    /// POST with the whole content.
    AtOnce,
}

async fn push_blob(http: &Client, url: &str, repository: &str, blob: &[u8], way: Way) -> Result<(), String> {
    let digest = Algorithm::Sha256.digest(blob);
    let uploads = format!("{url}/v2/{repository}/blobs/uploads/");
    if let Way::AtOnce = way {
        let sent = http.post(format!("{uploads}?digest={digest}")).body(blob.to_vec()).send();
        return expect(&sent.await.map_err(text)?, StatusCode::CREATED).map(drop);
    }
    let begun = http.post(uploads).send().await.map_err(text)?;
    let mut location = expect(&begun, StatusCode::ACCEPTED)?;
    if let Way::Whole = way {
        let sent = http.put(format!("{url}{location}?digest={digest}")).body(blob.to_vec()).send();
        return expect(&sent.await.map_err(text)?, StatusCode::CREATED).map(drop);
    }
    for part in [&blob[..blob.len() / 2], &blob[blob.len() / 2..]] {
        let sent = http.patch(format!("{url}{location}")).body(part.to_vec()).send().await.map_err(text)?;
        location = expect(&sent, StatusCode::ACCEPTED)?;
    }
    let ended = http.put(format!("{url}{location}?digest={digest}")).send().await.map_err(text)?;
    expect(&ended, StatusCode::CREATED).map(drop)
}

/// Pushes an image of a config and a layer. The seed determines their sizes and the ways to push
/// them. An error means that it was not acknowledged.
pub(crate) async fn push_image(http: &Client, url: &str, seed: u64) -> Result<Image, String> {
    let image = describe(seed);
    let ways = [Way::Parts, Way::Whole, Way::AtOnce].into_iter().cycle().skip((seed % 3) as usize);
    for (blob, way) in [config(seed), layer(seed)].into_iter().zip(ways) {
        push_blob(http, url, &image.repository, &blob, way).await?;
    }
    let put = http
        .put(format!("{url}/v2/{}/manifests/{}", image.repository, image.tag))
        .header("content-type", "application/vnd.oci.image.manifest.v1+json")
        .body(manifest(seed))
        .send()
        .await
        .map_err(text)?;
    expect(&put, StatusCode::CREATED)?;
    Ok(image)
}

/// Returns the image of this seed.
pub(crate) fn describe(seed: u64) -> Image {
    Image {
        repository: format!("team/app-{}", seed % 7),
        tag: format!("v{seed}"),
        manifest: Algorithm::Sha256.digest(manifest(seed).as_bytes()),
        blobs: [config(seed), layer(seed)].iter().map(|blob| Algorithm::Sha256.digest(blob)).collect(),
    }
}

fn config(seed: u64) -> Vec<u8> {
    format!(r#"{{"architecture":"amd64","os":"linux","seed":{seed}}}"#).into_bytes()
}

fn layer(seed: u64) -> Vec<u8> {
    // Every fifth layer is written in several chunks.
    let length = if seed.is_multiple_of(5) { 400_000 } else { 3_000 };
    content(seed, length)
}

fn manifest(seed: u64) -> String {
    let describe = |media_type: &str, blob: &[u8]| {
        let digest = Algorithm::Sha256.digest(blob);
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#, blob.len())
    };
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}]}}"#,
        describe("application/vnd.oci.image.config.v1+json", &config(seed)),
        describe("application/vnd.oci.image.layer.v1.tar", &layer(seed)),
    )
}

/// Fetches the image by tag and by digest, and verifies every digest. `Ok(false)` if there is no
/// such tag.
pub(crate) async fn fetch_image(http: &Client, url: &str, image: &Image) -> Result<bool, String> {
    let Image { repository, tag, manifest, blobs } = image;
    let manifests = format!("{url}/v2/{repository}/manifests");
    let by_tag = http.get(format!("{manifests}/{tag}")).send().await.map_err(text)?;
    if by_tag.status() == StatusCode::NOT_FOUND {
        return Ok(false);
    }
    let paths = blobs.iter().map(|blob| format!("{url}/v2/{repository}/blobs/{blob}"));
    let paths = paths.chain([format!("{manifests}/{tag}"), format!("{manifests}/{manifest}")]);
    for (path, digest) in paths.zip(blobs.iter().chain([manifest, manifest])) {
        let got = http.get(&path).send().await.map_err(text)?;
        if got.status() != StatusCode::OK {
            return Err(format!("GET {path}: {}", got.status()));
        }
        let bytes = got.bytes().await.map_err(text)?;
        if Algorithm::Sha256.digest(&bytes) != *digest {
            return Err(format!("GET {path}: {} bytes that are not {digest}", bytes.len()));
        }
    }
    Ok(true)
}

/// Returns the `Location` of an answer with the expected status.
pub(crate) fn expect(answer: &reqwest::Response, status: StatusCode) -> Result<String, String> {
    if answer.status() != status {
        return Err(format!("{} instead of {status}", answer.status()));
    }
    let location = answer.headers().get("location").and_then(|location| location.to_str().ok());
    Ok(location.unwrap_or_default().to_owned())
}

pub(crate) fn text(error: reqwest::Error) -> String {
    format!("{error:?}")
}
