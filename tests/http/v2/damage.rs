//! Blobs and manifests whose files are missing, truncated or damaged: absent for a push, an error for a pull,
//! and restored by the next push.

use std::fs::{self, OpenOptions};
use std::path::Path;

use oci::{Algorithm, Digest};
use reqwest::{Client, Method, Version};

use crate::harness::{
    Ask, OCI_MANIFEST, Part, Repository, TestRegistry, blobs_in_files, image_manifest, index_manifest, random,
};

/// Damage that the size of the file reveals.
const DAMAGES: [fn(&Path); 4] = [
    |file| fs::remove_file(file).unwrap(),
    |file| fs::remove_dir_all(file.parent().unwrap()).unwrap(),
    |file| cut(file, 300),
    |file| cut(file, 0),
];

fn cut(file: &Path, length: u64) {
    OpenOptions::new().write(true).open(file).unwrap().set_len(length).unwrap();
}

/// The ways to push a blob.
const PUSHES: usize = 4;

async fn push(app: &Repository<'_>, way: usize, content: &[u8]) {
    let digest = Algorithm::Sha256.digest(content);
    if way == 0 {
        app.push_blob(content).await;
        return;
    }
    let location = app.begin_upload().await;
    let rest = match way {
        1 => content,
        2 => {
            app.registry.patch(&location, content.to_vec()).await.is(202);
            &[]
        }
        _ => {
            let (first, rest) = content.split_at(content.len() / 2);
            app.registry.patch(&location, first.to_vec()).await.is(202);
            rest
        }
    };
    app.registry.put(format_args!("{location}?digest={digest}"), rest.to_vec()).await.is(201);
}

async fn blob_is_sound(app: &Repository<'_>, digest: &Digest, content: &[u8]) {
    app.head(format_args!("blobs/{digest}")).await.is(200).has("content-length", content.len());
    app.get(format_args!("blobs/{digest}")).await.is(200).carries(content);
}

#[tokio::test]
async fn damaged_blob_is_absent_until_pushed_again() {
    let mut registry =
        TestRegistry::start_with(|config| blobs_in_files(config, "damage of a file under a cached blob"))
            .await;
    for size in [1_000, 300_000] {
        let contents: Vec<Vec<u8>> = (0..PUSHES * DAMAGES.len()).map(|_| random(size)).collect();
        for content in &contents {
            registry.repository("app").push_blob(content.clone()).await;
        }
        // After a restart, all content has its file.
        registry.restart().await;
        for (number, content) in contents.iter().enumerate() {
            let (app, other) = (registry.repository("app"), registry.repository("other"));
            let digest = Algorithm::Sha256.digest(content);
            // The first half is cached and mapped.
            if number < contents.len() / 2 {
                blob_is_sound(&app, &digest, content).await;
            }
            DAMAGES[number % DAMAGES.len()](&registry.blob_file(&digest));

            app.head(format_args!("blobs/{digest}")).await.is(404);
            let refused = app.get(format_args!("blobs/{digest}")).await.fails(404, "BLOB_UNKNOWN");
            assert!(refused.text().contains("is missing or damaged"), "{}", refused.text());
            let part = app.request(Method::GET, format_args!("blobs/{digest}")).header("range", "bytes=0-99");
            part.ask().await.fails(404, "BLOB_UNKNOWN");
            for from in ["&from=app", ""] {
                let mount = other.path(format_args!("blobs/uploads/?mount={digest}{from}"));
                registry.post(mount).await.is(202);
            }
            let image = image_manifest(&Part::config(content), &[]);
            app.put_manifest("1", &image).await.fails(400, "MANIFEST_BLOB_UNKNOWN");

            push(&app, number / DAMAGES.len(), content).await;
            blob_is_sound(&app, &digest, content).await;
            registry.post(other.path(format_args!("blobs/uploads/?mount={digest}&from=app"))).await.is(201);
            app.put_manifest("1", &image).await.is(201);
        }
    }
}

#[tokio::test]
async fn healed_blob_survives_a_restart() {
    let mut registry = TestRegistry::start().await;
    for size in [1_000, 300_000] {
        let content = random(size);
        let digest = registry.repository("app").push_blob(content.clone()).await;
        registry.restart().await;
        cut(&registry.blob_file(&digest), 0);
        // A push to another repository restores the blob for all.
        registry.repository("other").push_blob(content.clone()).await;
        registry.restart().await;
        blob_is_sound(&registry.repository("app"), &digest, &content).await;
    }
}

#[tokio::test]
async fn push_replaces_a_blob_with_wrong_bytes() {
    let mut registry = TestRegistry::start().await;
    for size in [1_000, 300_000] {
        for way in 0..PUSHES {
            let content = random(size);
            let digest = registry.repository("app").push_blob(content.clone()).await;
            registry.restart().await;
            let mut damaged = content.clone();
            damaged[100..104].fill(0);
            fs::write(registry.blob_file(&digest), damaged).unwrap();
            push(&registry.repository("app"), way, &content).await;
            blob_is_sound(&registry.repository("app"), &digest, &content).await;
            registry.restart().await;
            assert!(fs::read(registry.blob_file(&digest)).unwrap() == content, "way {way}");
        }
    }
}

#[tokio::test]
async fn manifest_without_its_file_is_absent_to_head() {
    let mut registry = TestRegistry::start().await;
    let image = registry.repository("app").push_image("1").await;
    registry.restart().await;
    for cached in [false, true] {
        let app = registry.repository("app");
        if cached {
            app.get("manifests/1").await.is(200).carries(&image.manifest);
        }
        fs::remove_file(registry.blob_file(&image.digest)).unwrap();
        app.head("manifests/1").await.is(404);
        app.head(format_args!("manifests/{}", image.digest)).await.is(404);
        match cached {
            // The bytes were verified.
            true => app.get("manifests/1").await.is(200).carries(&image.manifest),
            false => app.get("manifests/1").await.fails(404, "MANIFEST_UNKNOWN"),
        };
        let index = index_manifest(&[image.part()]);
        app.put_manifest("index", &index).await.fails(400, "MANIFEST_BLOB_UNKNOWN");
        app.put_manifest_as("1", OCI_MANIFEST, image.manifest.clone()).await.is(201);
        app.head("manifests/1").await.is(200);
        app.put_manifest("index", &index).await.is(201);
        registry.restart().await;
        registry.repository("app").get("manifests/1").await.is(200).carries(&image.manifest);
    }
}

#[tokio::test]
async fn manifest_head_is_404_without_a_layer() {
    let mut registry = TestRegistry::start().await;
    let image = registry.repository("app").push_image("1").await;
    registry.repository("app").put_manifest("index", &index_manifest(&[image.part()])).await.is(201);
    registry.restart().await;
    let (layer, content) = &image.blobs[1];
    for cached in [false, true] {
        let app = registry.repository("app");
        let heads = async |status| {
            for tag in ["1", "index"] {
                app.head(format_args!("manifests/{tag}")).await.is(status);
            }
        };
        if cached {
            heads(200).await;
        }
        fs::remove_file(registry.blob_file(layer)).unwrap();
        heads(404).await;
        app.get("manifests/1").await.is(200).carries(&image.manifest);
        app.push_blob(content.clone()).await;
        heads(200).await;
        heads(200).await;
        // The restart gives the journaled blob its file.
        registry.restart().await;
    }
}

#[tokio::test]
async fn manifest_with_wrong_bytes_is_not_served() {
    let mut registry = TestRegistry::start().await;
    let image = registry.repository("app").push_image("1").await;
    registry.restart().await;
    let mut damaged = image.manifest.clone();
    let last = damaged.len() - 2;
    damaged[last] ^= 1;
    fs::write(registry.blob_file(&image.digest), damaged).unwrap();
    let app = registry.repository("app");
    app.get("manifests/1").await.fails(404, "MANIFEST_UNKNOWN");
    app.head("manifests/1").await.is(404);
    app.put_manifest("index", &index_manifest(&[image.part()])).await.fails(400, "MANIFEST_BLOB_UNKNOWN");
    app.put_manifest_as("1", OCI_MANIFEST, image.manifest.clone()).await.is(201);
    app.get("manifests/1").await.is(200).carries(&image.manifest);
    app.put_manifest("index", &index_manifest(&[image.part()])).await.is(201);
}

#[tokio::test]
async fn manifest_with_a_wrong_size_is_refused() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let image = app.push_image("1").await;
    let [config, layer] = [&image.blobs[0].1, &image.blobs[1].1];
    let wrong = |part: Part| Part { size: part.size + 1, ..part };
    let manifests = [
        image_manifest(&wrong(Part::config(config)), &[Part::layer(layer)]),
        image_manifest(&Part::config(config), &[wrong(Part::layer(layer))]),
        index_manifest(&[wrong(image.part())]),
        // The same layer twice, once with its right size.
        image_manifest(&Part::config(config), &[Part::layer(layer), wrong(Part::layer(layer))]),
    ];
    for (manifest, (digest, size)) in manifests.iter().zip([
        (image.blobs[0].0, config.len()),
        (image.blobs[1].0, layer.len()),
        (image.digest, image.manifest.len()),
        (image.blobs[1].0, layer.len()),
    ]) {
        let refused = app.put_manifest("2", manifest).await.fails(400, "MANIFEST_INVALID");
        let text = refused.text();
        assert!(text.contains(&format!("{digest} has {} bytes, but it has {size}", size + 1)), "{text}");
    }
    app.get("manifests/2").await.is(404);
}

#[tokio::test]
async fn upload_recreates_a_removed_directory() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let uploads = registry.data().join("wharfinger/uploads");
    for way in 0..PUSHES {
        for size in [1_000, 300_000] {
            fs::remove_dir_all(&uploads).unwrap();
            let content = random(size);
            push(&app, way, &content).await;
            blob_is_sound(&app, &Algorithm::Sha256.digest(&content), &content).await;
            fs::create_dir_all(&uploads).unwrap();
        }
    }
}

#[tokio::test]
async fn upload_whose_file_is_gone_is_unknown() {
    let mut registry =
        TestRegistry::start_with(|config| blobs_in_files(config, "the files of uploads")).await;
    for restarted in [false, true] {
        let content = random(300_000);
        let digest = Algorithm::Sha256.digest(&content);
        let location = registry.repository("app").begin_upload().await;
        registry.patch(&location, content[..200_000].to_vec()).await.is(202);
        if restarted {
            registry.restart().await;
        }
        fs::remove_dir_all(registry.data().join("wharfinger/uploads")).unwrap();
        let end = format!("{location}?digest={digest}");
        registry.put(&end, content[200_000..].to_vec()).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
        registry.get(&location).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
        push(&registry.repository("app"), 3, &content).await;
        blob_is_sound(&registry.repository("app"), &digest, &content).await;
    }
}

#[tokio::test]
async fn upload_error_names_the_unwritable_directory() {
    let registry = TestRegistry::start().await;
    let uploads = registry.data().join("wharfinger/uploads");
    fs::remove_dir_all(&uploads).unwrap();
    fs::write(&uploads, "a file").unwrap();
    let app = registry.repository("app");
    let location = app.begin_upload().await;
    registry.patch(&location, random(300_000)).await.is(500);
    fs::remove_file(&uploads).unwrap();
    registry.patch(&location, random(300_000)).await.is(202);
}

#[tokio::test]
async fn new_files_have_no_access_for_others() {
    use std::os::unix::fs::MetadataExt as _;
    let mut registry = TestRegistry::start_with(|config| {
        blobs_in_files(config, "the modes of files");
    })
    .await;
    let app = registry.repository("app");
    app.push_image("1").await;
    app.push_blob(random(300_000)).await;
    let location = app.begin_upload().await;
    registry.patch(&location, random(300_000)).await.is(202);
    registry.stop().await;
    for below in ["docker", "wharfinger/uploads"] {
        for file in registry.files(below) {
            for path in [&*file, file.parent().unwrap()] {
                let mode = fs::metadata(path).unwrap().mode();
                assert_eq!(mode & 0o007, 0, "{} has {mode:o}", path.display());
            }
        }
    }
}

/// Truncates a file during a pull. Access to its mapping would end this process.
async fn cut_while_pulled(
    registry: &TestRegistry,
    client: &Client,
    scheme: &str,
    version: Version,
    digest: &Digest,
) {
    let file = registry.blob_file(digest);
    let whole = fs::read(&file).unwrap();
    for left in [3_000_000, whole.len() as u64 - 10] {
        let url = format!("{scheme}://{}/v2/app/blobs/{digest}", registry.address());
        let mut answer = client.get(&url).version(version).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        let mut received = answer.chunk().await.unwrap().unwrap().len();
        cut(&file, left);
        let error = loop {
            match answer.chunk().await {
                Ok(Some(piece)) => received += piece.len(),
                Ok(None) => panic!("{received} of {} bytes were told to be all", whole.len()),
                Err(error) => break error,
            }
        };
        assert!(received < whole.len(), "{error}");
        let again = client.get(&url).version(version).send().await.unwrap();
        assert_eq!(again.status(), 404);
        fs::write(&file, &whole).unwrap();
        let again = client.get(&url).version(version).send().await.unwrap();
        assert!(again.bytes().await.unwrap() == whole);
    }
}

#[tokio::test]
async fn blob_cut_short_while_pulled_ends_the_connection() {
    let mut registry =
        TestRegistry::start_with(|config| blobs_in_files(config, "a file that shrinks while it is mapped"))
            .await;
    let digest = registry.repository("app").push_blob(random(40_000_000)).await;
    let plain = Client::new();
    cut_while_pulled(&registry, &plain, "http", Version::HTTP_11, &digest).await;
    registry.restart_with(|config| config.tls.self_signed = vec!["localhost".parse().unwrap()]).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let client = Client::builder().danger_accept_invalid_certs(true);
        let client = if version == Version::HTTP_11 { client.http1_only() } else { client };
        cut_while_pulled(&registry, &client.build().unwrap(), "https", version, &digest).await;
    }
}
