//! The gateway serves a blob only in its repository, also before an upstream that answers for any blob
//! anywhere. zot is such an upstream. The tests imitate its answers, because zot takes too long to build for
//! a test.

use oci::{Algorithm, Digest};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    Ask, By, OCI_MANIFEST, Part, Says, TestRegistry, Upstream, Who, eventually, gateway, image_manifest,
};

const SECRET: &[u8] = b"a layer of ann/secret";
const SECRET_CONFIG: &[u8] = b"{\"of\":\"ann/secret\"}";
const OWN: &[u8] = b"a layer of eve/x";
const OWN_CONFIG: &[u8] = b"{\"of\":\"eve/x\"}";
/// In the upstream, and named by no manifest.
const LOOSE: &[u8] = b"a layer that was uploaded to eve/x";

fn digest(content: &[u8]) -> Digest {
    Algorithm::Sha256.digest(content)
}

fn manifest(config: &[u8], layer: &[u8]) -> Value {
    image_manifest(&Part::config(config), &[Part::layer(layer)])
}

/// How the upstream scopes its blobs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Every blob in every repository, as zot.
    Shared,
    /// Each blob in its repositories alone, as distribution.
    Scoped,
}

/// Starts an upstream with an image in `ann/secret` and one in `eve/x`, and an unreferenced blob in `eve/x`.
async fn upstream(kind: Kind) -> Upstream {
    Upstream::start(move |head| {
        let line = head.lines().next().unwrap();
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let created = || Says::All(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n".into());
        let bytes = |content: &[u8]| match method {
            "head" => {
                Says::All(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", content.len()).into())
            }
            _ => Says::ok("", std::str::from_utf8(content).unwrap()),
        };
        if path == "/v2/_catalog" {
            return Says::ok("", r#"{"repositories":["ann/secret","eve/x"]}"#);
        }
        if path.ends_with("/tags/list") && (path.contains("ann/secret") || path.contains("eve/x")) {
            return Says::ok("", r#"{"tags":["1"]}"#);
        }
        if method == "post" {
            let is_whole = query.starts_with("digest=") || query.contains("mount=");
            let begun = "HTTP/1.1 202 Accepted\r\nlocation: \
                         /v2/eve/x/blobs/uploads/7b9ab2a1-5c3f-4f0e-9c1b-0d3f1f6f0a51\r\ncontent-length: 0\r\n\r\n";
            return if is_whole { created() } else { Says::All(begun.into()) };
        }
        if method == "put" {
            return created();
        }
        let repository = path.strip_prefix("/v2/").and_then(|path| path.rsplitn(3, '/').nth(2));
        if path.contains("/manifests/1") {
            let manifest = match repository {
                Some("ann/secret") => manifest(SECRET_CONFIG, SECRET),
                Some("eve/x") => manifest(OWN_CONFIG, OWN),
                _ => return Says::not_found(),
            };
            return bytes(manifest.to_string().as_bytes());
        }
        let held: &[(&str, &[u8])] = &[
            ("ann/secret", SECRET),
            ("ann/secret", SECRET_CONFIG),
            ("eve/x", OWN),
            ("eve/x", OWN_CONFIG),
            ("eve/x", LOOSE),
        ];
        let asked = path.rsplit('/').next().unwrap();
        let found = held.iter().find(|(holder, content)| {
            digest(content).to_string() == asked && (kind == Kind::Shared || repository == Some(holder))
        });
        match found {
            Some((_, content)) if path.contains("/blobs/") => bytes(content),
            _ => Says::not_found(),
        }
    })
    .await
}

/// Waits until the gateway has read the catalog. A probe needs a second repository from it.
async fn catalog_is_read(gateway: &TestRegistry) {
    let is_read = async || {
        let listed = gateway.get_as(&Who::root(), "/v2/_catalog").await.is(200).list("repositories");
        listed == ["ann/secret", "eve/x"]
    };
    eventually("the catalog is read", is_read).await;
}

async fn put(gateway: &TestRegistry, who: &Who, path: &str, manifest: &Value) -> crate::harness::Answer {
    let request = gateway.request(Method::PUT, path).by(who).header("content-type", OCI_MANIFEST);
    request.body(manifest.to_string()).ask().await
}

#[tokio::test]
async fn shared_upstream_blobs_stay_in_their_repository() {
    let upstream = upstream(Kind::Shared).await;
    let gateway = gateway(&[&upstream.url()], &[]).await;
    let (ann, eve) = (gateway.add_user("ann").await, gateway.add_user("eve").await);
    let (secret, own) = (digest(SECRET), digest(OWN));
    for repository in ["eve/x", "eve/new"] {
        let path = format!("/v2/{repository}/blobs/{secret}");
        gateway.ask_as(&eve, Method::GET, &path).await.fails(404, "BLOB_UNKNOWN");
        gateway.ask_as(&eve, Method::HEAD, &path).await.is(404);
        gateway.ask_as(&eve, Method::DELETE, &path).await.is(404);
        assert_eq!(upstream.asked(&path), [""; 0], "zot would link the blob into the repository");
    }
    gateway.get_as(&ann, &format!("/v2/ann/secret/blobs/{secret}")).await.is(200).carries(SECRET);
    gateway.get_as(&eve, &format!("/v2/eve/x/blobs/{own}")).await.is(200).carries(OWN);

    // A mount takes only blobs that the named repository refers to.
    let mount = |blob: &Digest| format!("/v2/eve/new/blobs/uploads/?mount={blob}&from=eve/x");
    gateway.ask_as(&eve, Method::POST, &mount(&secret)).await;
    assert_eq!(upstream.asked(&secret.to_string().replace(':', "%3a")), [""; 0]);
    gateway.ask_as(&eve, Method::POST, &mount(&own)).await.is(201);
    gateway.ask_as(&eve, Method::HEAD, &format!("/v2/eve/new/blobs/{own}")).await.is(200);

    // A manifest that names the blob would give access to it.
    let claims = manifest(OWN_CONFIG, SECRET);
    let refused = put(&gateway, &eve, "/v2/eve/x/manifests/2", &claims).await;
    let refused = refused.fails(400, "MANIFEST_BLOB_UNKNOWN");
    assert!(refused.text().contains(&secret.to_string()), "{}", refused.text());
    assert_eq!(upstream.asked("put /v2/eve/x/manifests"), [""; 0]);
    gateway.get_as(&eve, &format!("/v2/eve/x/blobs/{secret}")).await.is(404);
}

#[tokio::test]
async fn uploaded_blob_is_served_before_its_manifest() {
    let upstream = upstream(Kind::Shared).await;
    let gateway = gateway(&[&upstream.url()], &[]).await;
    let eve = gateway.add_user("eve").await;
    let loose = digest(LOOSE);
    let path = format!("/v2/eve/x/blobs/{loose}");
    gateway.ask_as(&eve, Method::HEAD, &path).await.is(404);
    let upload = format!("/v2/eve/x/blobs/uploads/?digest={loose}");
    gateway.request(Method::POST, &upload).by(&eve).body(LOOSE).ask().await.is(201);
    gateway.ask_as(&eve, Method::HEAD, &path).await.is(200);
    put(&gateway, &eve, "/v2/eve/x/manifests/2", &manifest(OWN_CONFIG, LOOSE)).await.is(201);
}

/// A scoped upstream is asked directly, without a walk through its manifests.
#[tokio::test]
async fn probe_detects_a_scoped_upstream() {
    let upstream = upstream(Kind::Scoped).await;
    let gateway = gateway(&[&upstream.url()], &[]).await;
    let eve = gateway.add_user("eve").await;
    catalog_is_read(&gateway).await;
    gateway.get_as(&eve, &format!("/v2/eve/x/blobs/{}", digest(OWN))).await.is(200);
    let loose = format!("/v2/eve/x/blobs/{}", digest(LOOSE));
    eventually("the probe ends", async || gateway.get_as(&eve, &loose).await.status == 200).await;
    gateway.get_as(&eve, &format!("/v2/eve/x/blobs/{}", digest(SECRET))).await.is(404);
}

/// With nginx, uploads and manifests bypass the gateway, so it cannot know which blobs belong to a
/// repository.
#[tokio::test]
async fn auth_refuses_blobs_of_a_shared_upstream() {
    let upstream = upstream(Kind::Shared).await;
    let gateway = gateway(&[&upstream.url()], &[("PROXY_TRUSTED", "127.0.0.0/8")]).await;
    let eve = gateway.add_user("eve").await;
    let asks = async |method: &str, uri: &str| {
        let request = gateway.request(Method::GET, "/auth").by(&eve);
        request.header("x-original-uri", uri).header("x-original-method", method).ask().await.status
    };
    let blob = format!("/v2/eve/x/blobs/{}", digest(SECRET));
    eventually("the probe ends", async || asks("GET", &blob).await == 403).await;
    assert_eq!(asks("HEAD", &blob).await, 403);
    assert_eq!(asks("POST", "/v2/eve/x/blobs/uploads/").await, 403);
    assert_eq!(asks("PUT", "/v2/eve/x/manifests/1").await, 403);
    assert_eq!(asks("GET", "/v2/eve/x/manifests/1").await, 200);
}

/// distribution reads parameters from a form in the body before those of the query.
#[tokio::test]
async fn upload_is_never_forwarded_as_a_form() {
    let upstream = upstream(Kind::Scoped).await;
    let gateway = gateway(&[&upstream.url()], &[]).await;
    let eve = gateway.add_user("eve").await;
    let form = format!("mount={}&from=ann/secret", digest(SECRET));
    let request = gateway.request(Method::POST, "/v2/eve/x/blobs/uploads/").by(&eve);
    request.header("content-type", "application/x-www-form-urlencoded").body(form).ask().await.is(202);
    let asked = upstream.asked("post /v2/eve/x/blobs/uploads/");
    assert!(asked[0].contains("content-type: application/octet-stream"), "{asked:?}");
    assert!(!asked[0].contains("form-urlencoded"), "{asked:?}");
}

/// A catalog without a last page, and one whose pages form a circle.
#[tokio::test]
async fn circular_upstream_catalog_ends() {
    let upstream = Upstream::start(|head| {
        let page = if head.contains("last=b") { ("c", "last=c") } else { ("b", "last=b") };
        let link = format!("link: </v2/_catalog?{}&n=500>; rel=\"next\"\r\n", page.1);
        let names = json!({ "repositories": [page.0] });
        Says::ok(&link, &names.to_string())
    })
    .await;
    let gateway = gateway(&[&upstream.url()], &[]).await;
    let is_read = async || {
        gateway.get_as(&Who::root(), "/v2/_catalog").await.is(200).list("repositories") == ["b", "c"]
    };
    eventually("the catalog is read", is_read).await;
    let requests = upstream.asked("_catalog").len();
    assert!(requests <= 4, "{requests} requests for the catalog");
}

/// docker-registry 2.8.2 announces the length of the blob with its 416, and sends no body.
#[tokio::test]
async fn refused_upstream_range_has_our_body() {
    let own = digest(OWN);
    let upstream = Upstream::start(move |head| match head {
        _ if head.starts_with("post ") => {
            Says::All(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n".into())
        }
        _ if head.contains("/blobs/") => Says::Last(
            b"HTTP/1.1 416 Requested Range Not Satisfiable\r\ncontent-length: 5\r\ncontent-range: bytes */5\r\n\r\n"
                .into(),
        ),
        _ => Says::not_found(),
    })
    .await;
    let gateway = gateway(&[&upstream.url()], &[]).await;
    let upload = format!("/v2/ann/app/blobs/uploads/?digest={own}");
    gateway.request(Method::POST, &upload).by(&Who::root()).body(OWN).ask().await.is(201);
    let request = gateway.request(Method::GET, format!("/v2/ann/app/blobs/{own}")).by(&Who::root());
    let answer = request.header("range", "bytes=10-").ask().await;
    answer.fails(416, "UNSUPPORTED").has("content-range", "bytes */5");
}
