//! Hostile text (XSS): every field that a pusher, a client or a receiver controls is shown as text.

use std::net::SocketAddr;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Browser, HTML, Html as _, form_token};
use crate::harness::{
    Ask, OCI_INDEX, OCI_MANIFEST, PASSWORD, Part, Repository, Says, TestRegistry, Upstream, Who, basic,
    eventually, image_manifest, with_accounts_and,
};

const EVIL: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>";
/// The beginning of `EVIL`, in a part of a page that is not escaped.
const SIGNS: [&str; 4] = ["<script>alert", "<img src=x", "\"'>", "href=\"javascript:"];
/// The number of fields of the image in which the text stands.
const FIELDS: usize = 12;

#[track_caller]
fn assert_harmless(page: &str, what: &str) {
    for sign in SIGNS {
        let around = page.find(sign).map(|at| &page[at.saturating_sub(200)..at]);
        assert!(around.is_none(), "{what} has {sign} after {}", around.unwrap_or_default());
    }
}

async fn push(repository: &Repository<'_>, tag: &str, manifest: &Value) -> String {
    let content = manifest.to_string();
    repository.put_manifest_as(tag, OCI_MANIFEST, content.clone()).await.is(201);
    Part::of(OCI_MANIFEST, content.as_bytes()).digest.to_string()
}

/// Pushes an artifact with files. Each has a name, a type and its content.
async fn push_artifact(
    repository: &Repository<'_>,
    tag: &str,
    kind: &str,
    files: &[(&str, &str, &str)],
) -> String {
    let config = b"{}".to_vec();
    repository.push_blob(config.clone()).await;
    let mut manifest = image_manifest(&Part::of("application/vnd.oci.empty.v1+json", &config), &[]);
    let mut layers = Vec::new();
    for (name, media_type, content) in files {
        repository.push_blob(content.as_bytes().to_vec()).await;
        let mut layer = Part::of(media_type, content.as_bytes()).json();
        layer["annotations"] = json!({ "org.opencontainers.image.title": name, EVIL: EVIL });
        layers.push(layer);
    }
    manifest["layers"] = layers.into();
    manifest["artifactType"] = kind.into();
    manifest["annotations"] =
        json!({ EVIL: EVIL, "org.opencontainers.image.documentation": "javascript:alert(1)" });
    push(repository, tag, &manifest).await
}

#[tokio::test]
async fn text_of_pushers_is_escaped() {
    let registry = TestRegistry::start().await;
    let repository = registry.repository("sec/xss");
    let config = json!({
        "architecture": EVIL, "os": EVIL, "variant": EVIL, "os.version": EVIL, "author": EVIL, "created": EVIL,
        "config": {
            "Env": [format!("A={EVIL}")], "Labels": { EVIL: EVIL }, "Cmd": [EVIL], "Entrypoint": [EVIL], "User": EVIL,
            "WorkingDir": EVIL, "StopSignal": EVIL, "ExposedPorts": { EVIL: {} }, "Volumes": { EVIL: {} },
        },
        "history": [{ "created_by": EVIL, "comment": EVIL, "author": EVIL, "created": EVIL }],
    });
    let config = config.to_string().into_bytes();
    repository.push_blob(config.clone()).await;
    let layer = b"layer".to_vec();
    repository.push_blob(layer.clone()).await;
    let mut manifest = image_manifest(&Part::config(&config), &[Part::layer(&layer)]);
    manifest["annotations"] = json!({
        EVIL: EVIL, "org.opencontainers.image.description": EVIL, "org.opencontainers.image.source": "javascript:alert(1)",
        "org.opencontainers.image.url": format!("https://example.com/{EVIL}"),
    });
    let image = push(&repository, "1", &manifest).await;
    let platform = json!({ "os": EVIL, "architecture": EVIL, "variant": EVIL, "os.version": EVIL });
    let index = json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "annotations": { EVIL: EVIL }, "manifests": [{
            "mediaType": OCI_MANIFEST, "digest": image, "size": manifest.to_string().len(), "platform": platform,
            "annotations": { EVIL: EVIL },
        }],
    });
    repository.put_manifest_as("index", OCI_INDEX, index.to_string()).await.is(201);
    let readme = format!("# {EVIL}\n\n{EVIL} [x](javascript:alert(1)) ![y](x) <javascript:alert(1)>\n");
    let spdx =
        json!({ "spdxVersion": "SPDX-2.3", "packages": [{ "name": EVIL, "versionInfo": EVIL }] }).to_string();
    let files = [
        ("README.md", "text/markdown", readme.as_str()),
        (EVIL, "text/plain", EVIL),
        ("javascript:alert(1)", "text/html", EVIL),
    ];
    push_artifact(&repository, "files", "application/vnd.example", &files).await;
    let files = [("sbom.spdx.json", "application/spdx+json", spdx.as_str())];
    push_artifact(&repository, "sbom", "application/spdx+json", &files).await;
    // A chart names itself in its config.
    let meta = json!({ "name": EVIL, "version": EVIL, "appVersion": EVIL, "description": EVIL, "home": "javascript:x" });
    let meta = meta.to_string().into_bytes();
    repository.push_blob(meta.clone()).await;
    let chart =
        image_manifest(&Part::of("application/vnd.cncf.helm.config.v1+json", &meta), &[Part::layer(&layer)]);
    push(&repository, "chart", &chart).await;
    // A referrer of the image. Its artifact type is no media type.
    let mut referrer = image_manifest(&Part::config(&config), &[]);
    referrer["artifactType"] = json!(EVIL);
    referrer["subject"] =
        json!({ "mediaType": OCI_MANIFEST, "digest": image, "size": manifest.to_string().len() });
    repository.put_manifest_as("referrer", OCI_MANIFEST, referrer.to_string()).await;

    let mut browser = Browser::new(&registry);
    for path in [
        "/",
        "/?q=sec",
        "/sec/xss",
        "/sec/xss:1",
        "/sec/xss:index",
        "/sec/xss:files",
        "/sec/xss:sbom",
        "/sec/xss:chart",
        "/-/compare/sec/xss?from=1&to=files",
        "/-/compare/sec/xss?from=1&to=index",
        "/-/history/sec/xss",
        "/-/delete/sec/xss:1",
        "/-/delete-tags/sec/xss?tag=1",
    ] {
        let page = browser.open(path).await.is(200).html();
        assert_harmless(&page, path);
        // The text is there, so that the test looks at something.
        if path == "/sec/xss:1" {
            let count = page.matches("&#60;script&#62;alert(1)").count();
            assert!(count >= FIELDS, "{count} fields: {page}");
        }
    }
    let file = Part::of("text/plain", EVIL.as_bytes()).digest;
    let download = browser.open(&format!("/-/file/sec/xss@{file}?name=a%22%0d%0ab.html")).await;
    download
        .is(200)
        .has("content-disposition", "attachment; filename=\"a___b.html\"")
        .has("content-type", "application/octet-stream");
}

/// Text in an address comes back in fields and in messages.
#[tokio::test]
async fn text_of_addresses_is_escaped() {
    let registry = with_accounts_and(|_| {}).await;
    registry.repository("root/app").of(&Who::root()).push_image("1").await;
    let mut browser = Browser::signed_in(&registry, "root").await;
    let evil = percent_encoding::utf8_percent_encode(EVIL, percent_encoding::NON_ALPHANUMERIC).to_string();
    for path in [
        "/?q=EVIL",
        "/?namespace=EVIL",
        "/?sort=EVIL",
        "/EVIL",
        "/root/app:EVIL",
        "/root/app?tag=EVIL",
        "/root/app?after=EVIL&sort=name",
        "/root/app:1?platform=EVIL",
        "/-/compare/root/app?from=EVIL&to=1",
        "/-/delete-tags/root/app?tag=EVIL",
        "/-/history/root/app?tag=EVIL",
        "/-/webhooks?repository=EVIL",
        "/-/webhooks/EVIL",
        "/-/access?account=EVIL&repository=EVIL",
        "/-/grants?repository=EVIL",
        "/-/organisations/EVIL",
        "/-/admin/audit?account=EVIL&object=EVIL&action=EVIL",
        "/-/admin/rules?repositories=EVIL&tags=EVIL",
        "/-/sign-in?to=/EVIL",
        "/-/api?EVIL",
    ] {
        let page = browser.open(&path.replace("EVIL", &evil)).await;
        assert!(page.status < 500, "{path}: {}", page.status);
        assert_harmless(&page.html(), path);
    }
}

#[tokio::test]
async fn text_of_clients_and_receivers_is_escaped() {
    let body = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{EVIL}", EVIL.len());
    let receiver = Upstream::start(move |_| Says::Last(body.clone().into())).await;
    let address: SocketAddr = receiver.url().trim_start_matches("http://").parse().unwrap();
    let registry = with_accounts_and(|config| {
        let mut webhook = crate::events::webhook(address);
        (webhook.attempts, webhook.headers) = (1, vec![format!("X-Token: {EVIL}")]);
        config.webhook = vec![webhook];
    })
    .await;
    let root = Who::root();
    registry.add_user("ann").await;
    let evil = EVIL.to_owned();
    let send = |method: Method, path: &'static str, body: Value| {
        let (registry, root) = (&registry, &root);
        async move {
            let answer = registry.send_as(root, method, path, &body).await;
            assert!(answer.status < 300, "{path}: {}", answer.text());
        }
    };
    send(Method::PATCH, "/api/v1/users/ann", json!({ "description": evil })).await;
    send(Method::POST, "/api/v1/organisations", json!({ "name": "acme", "description": evil })).await;
    send(Method::POST, "/api/v1/robots", json!({ "name": "acme+ci", "description": evil })).await;
    let token = json!({ "label": evil, "rights": ["pull"], "repositories": ["root/*"] });
    send(Method::POST, "/api/v1/users/root/tokens", token).await;
    let hook =
        json!({ "url": format!("https://hooks.example.com/{EVIL}?{EVIL}"), "repositories": ["root/*"] });
    send(Method::POST, "/api/v1/webhooks", hook).await;
    // A name and a browser that nobody has.
    registry.get_as(&basic(EVIL, "wrong"), "/v2/").await.is(401);
    registry.repository("root/app").of(&root).push_image("1").await;

    let mut browser = Browser::new(&registry);
    browser.open("/-/sign-in").await.is(200);
    let form = format!("form_token={}&name=root&password={PASSWORD}&to=/", form_token(browser.seed()));
    let request = registry.request(Method::POST, "/-/sign-in").header("cookie", browser.cookie());
    let request = request.header("content-type", "application/x-www-form-urlencoded").header("accept", HTML);
    let signed_in = request.header("user-agent", EVIL).body(form).ask().await.is(303);
    browser.keep(&signed_in);
    eventually("the answer of the receiver is there", async || {
        browser.open("/-/webhooks/ci?state=parked").await.html().contains("&#60;script&#62;alert(1)")
    })
    .await;
    let wrong = browser.send("/-/sign-in", &format!("name={EVIL}&password=x").replace('>', "%3E")).await;
    assert_harmless(&wrong.html(), "a refused sign-in");
    for (path, is_shown) in [
        ("/-/webhooks/ci?state=parked", true),
        ("/-/webhooks", false),
        ("/-/webhooks/1", false),
        ("/-/account", true),
        ("/-/organisations", true),
        ("/-/organisations/acme", true),
        ("/-/admin", false),
        ("/-/admin/accounts", true),
        ("/-/admin/audit", false),
        ("/-/admin/audit?verdict=denied", false),
        ("/-/admin/jobs", false),
    ] {
        let page = browser.open(path).await.is(200).html();
        assert_harmless(&page, path);
        assert!(!is_shown || page.contains("&#60;script&#62;alert(1)"), "{path}: {page}");
    }
    let test = browser.send("/-/webhooks/ci", "action=test").await.is(200).html();
    assert_harmless(&test, "a test of a webhook");
    assert!(test.contains("&#60;script&#62;alert(1)"), "{test}");
}
