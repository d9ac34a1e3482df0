//! Rules of every endpoint: errors, methods, names, heads.

use std::collections::BTreeMap;

use oci::Algorithm;
use reqwest::Method;
use uuid::Uuid;

use crate::harness::{Answer, Ask, TestRegistry, random};

/// Returns a path of every endpoint, with existing content, and the methods of each.
async fn every_endpoint(registry: &TestRegistry) -> Vec<(String, &'static str)> {
    let app = registry.repository("team/app");
    let image = app.push_image("1").await;
    let blob = image.blobs[0].0;
    vec![
        ("/".to_owned(), "GET, HEAD"),
        ("/healthz".to_owned(), "GET, HEAD"),
        ("/readyz".to_owned(), "GET, HEAD"),
        ("/v1/_ping".to_owned(), "GET, HEAD"),
        ("/v1/search?q=app".to_owned(), "GET, HEAD"),
        ("/v2/".to_owned(), "GET, HEAD"),
        ("/v2/_catalog".to_owned(), "GET, HEAD"),
        (app.path("tags/list"), "GET, HEAD"),
        (app.path("manifests/1"), "GET, HEAD, PUT, DELETE"),
        (app.path(format_args!("manifests/{}", image.digest)), "GET, HEAD, PUT, DELETE"),
        (app.path(format_args!("blobs/{blob}")), "GET, HEAD, DELETE"),
        (app.path("blobs/uploads/"), "POST"),
        (app.begin_upload().await, "GET, HEAD, PATCH, PUT, DELETE"),
        (app.path(format_args!("referrers/{}", image.digest)), "GET, HEAD"),
        ("/api/v1/repositories".to_owned(), "GET, HEAD"),
        ("/api/v1/repositories/team/app".to_owned(), "GET, HEAD, DELETE"),
        ("/api/v1/repositories/team/app/_tags".to_owned(), "GET, HEAD"),
        ("/api/v1/usage".to_owned(), "GET, HEAD"),
        ("/api/v1/usage/repositories".to_owned(), "GET, HEAD"),
    ]
}

/// Headers that equal answers share.
fn lasting(answer: &Answer) -> BTreeMap<String, String> {
    let lasting =
        answer.headers.iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    lasting.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

#[tokio::test]
async fn head_has_the_headers_of_get() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("team/app");
    let empty = app.push_blob([]).await;
    let mut paths: Vec<String> = every_endpoint(&registry)
        .await
        .into_iter()
        .filter(|(_, methods)| methods.contains("GET"))
        .map(|(path, _)| path)
        .collect();
    let large = app.push_blob(random(200_000)).await;
    let unknown = Algorithm::Sha256.digest(b"unknown");
    paths.extend([
        app.path(format_args!("blobs/{empty}")),
        app.path(format_args!("blobs/{large}")),
        app.path(format_args!("blobs/{unknown}")),
        app.path("manifests/unknown"),
        app.path("manifests/.bad"),
        app.path(format_args!("blobs/uploads/{}", Uuid::nil())),
        app.path("tags/list?n=x"),
        "/v2/nowhere/tags/list".to_owned(),
        "/v2/nowhere/manifests/1".to_owned(),
        "/v2/UPPER/tags/list".to_owned(),
        "/nowhere".to_owned(),
    ]);
    for path in paths {
        // Twice: the second answer may come from the cache.
        for _ in 0..2 {
            let (get, head) = (registry.get(&path).await, registry.head(&path).await);
            assert_eq!(head.status, get.status, "{path}");
            assert_eq!(lasting(&head), lasting(&get), "{path}");
            assert_eq!(head.body, b"", "{path}");
            if get.status != 204 {
                assert_eq!(
                    head.header("content-length"),
                    Some(get.body.len().to_string().as_str()),
                    "{path}"
                );
            }
        }
    }
}

#[tokio::test]
async fn unsupported_method_is_405_with_allow() {
    let registry = TestRegistry::start().await;
    for (path, allowed) in every_endpoint(&registry).await {
        for method in ["GET", "POST", "PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get"] {
            if !allowed.split(", ").any(|allowed| allowed == method) {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                registry.request(method, &path).ask().await.fails(405, "UNSUPPORTED").has("allow", allowed);
            }
        }
        if !allowed.contains("DELETE") {
            registry.delete(&path).await.fails(405, "UNSUPPORTED").has("allow", allowed);
        }
    }
}

#[tokio::test]
async fn unknown_path_is_404() {
    let registry = TestRegistry::start().await;
    for path in [
        "/nowhere",
        "/v1/",
        "/v2/app",
        "/v2/app/tags",
        "/v2/tags/list",
        "/v2/_catalog/x",
        "/v3/",
        "/api/v1/x",
        "/favicon.ico",
        "/v2/app/manifests",
        "/metrics/x",
    ] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            registry.request(method, path).ask().await.fails(404, "UNSUPPORTED");
        }
    }
}

#[tokio::test]
async fn hostile_names_reach_no_file() {
    let registry = TestRegistry::start().await;
    registry.repository("app").push_image("1").await;
    let long = "a".repeat(256);
    for name in [
        "..",
        "../app",
        "app/..",
        "./app",
        "app/./x",
        "app//x",
        "/app",
        "app/",
        "APP",
        "app%00",
        "app%2f%2e%2e%2fx",
        "%2e%2e%2f%2e%2e%2fetc",
        "-app",
        "app-",
        "app..x",
        "app___x",
        "app%20x",
        "app%0d%0aX-Evil:1",
        "äpp",
        "%c3%a4pp",
        "app%252fx",
        "app\\x",
        "app%5cx",
        "con/../app",
        "app;x",
        "app%3fx",
        "%",
        "%zz",
        &long,
    ] {
        for below in ["tags/list", "manifests/1", "blobs/uploads/", "referrers/sha256:x"] {
            let method = if below == "blobs/uploads/" { "POST" } else { "GET" };
            let mut client = registry.connect().await;
            client
                .send(format!("{method} /v2/{name}/{below} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"))
                .await;
            let answer = client.answer().await;
            // A GET of a path with an empty component redirects to the clean path, if that is an endpoint.
            let is_empty = name.split('/').any(str::is_empty);
            if is_empty && method == "GET" && below != "referrers/sha256:x" {
                assert_eq!(answer.status, 301, "{name}/{below}: {answer:?}");
                continue;
            }
            assert_eq!(answer.status, 400, "{name}/{below}: {answer:?}");
            let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(json["errors"][0]["code"], "NAME_INVALID", "{name}/{below}");
            assert!(answer.header("x-evil").is_none());
        }
    }
    registry.get("/v2/_catalog").await.is(200).carries("{\"repositories\":[\"app\"]}");
}

#[tokio::test]
async fn path_with_invalid_utf8_is_400() {
    let registry = TestRegistry::start().await;
    registry.get("/v2/%ff%fe/tags/list").await.fails(400, "NAME_INVALID");
    let mut client = registry.connect().await;
    client.send(b"GET /v2/\xff\xfe/tags/list HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 400);
    // In headers such names do no harm.
    let digest = registry.repository("app").push_blob("x").await;
    let mut client = registry.connect().await;
    for header in ["range", "if-none-match", "if-range", "x-request-id", "accept"] {
        client.send(format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nhost: x\r\n{header}: ")).await;
        client.send(b"\xff\xfe\r\n\r\n").await;
        assert!([200, 416].contains(&client.answer().await.status), "{header}");
    }
}

#[tokio::test]
async fn repository_names_may_use_protocol_words() {
    let registry = TestRegistry::start().await;
    for name in
        ["manifests", "blobs/uploads", "tags/list", "a/manifests/b", "referrers", "v2", "uploads/blobs"]
    {
        let repository = registry.repository(name);
        let image = repository.push_image("list").await;
        repository.get("manifests/list").await.is(200).carries(&image.manifest);
        assert_eq!(repository.tags().await, ["list"]);
        let location = repository.begin_upload().await;
        registry.delete(location).await.is(204);
    }
}

#[tokio::test]
async fn path_with_extra_slashes_redirects_readers() {
    let registry = TestRegistry::start().await;
    let image = registry.repository("team/app").push_image("1").await;
    for (path, clean) in [
        ("//v2/", "/v2/"),
        ("//v2", "/v2/"),
        ("//", "/"),
        ("/v2//", "/v2/"),
        ("/v2/_catalog/", "/v2/_catalog"),
        ("//v2/_catalog?n=1", "/v2/_catalog?n=1"),
        ("/v2/team/app/tags/list/", "/v2/team/app/tags/list"),
        ("/v2/team//app/manifests/1", "/v2/team/app/manifests/1"),
        ("/api/v1/repositories/", "/api/v1/repositories"),
        ("/healthz/", "/healthz"),
    ] {
        for method in ["GET", "HEAD"] {
            let mut client = registry.connect().await;
            client.send(format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
            let answer = client.answer().await;
            assert_eq!((answer.status, answer.header("location")), (301, Some(clean)), "{method} {path}");
        }
        registry.get(clean).await.is(200);
    }
    registry.get("/v2").await.is(200);
    registry.get("/v2/team/app/manifests/1/").await.is(301);
    registry.get("/nowhere/").await.fails(404, "UNSUPPORTED");
    registry.get("//example.com/").await.fails(404, "UNSUPPORTED");
    // Writes are not redirected.
    registry.put("//v2/team/app/manifests/2", image.manifest).await.fails(404, "UNSUPPORTED");
    registry.delete("/v2/team/app/manifests/1/").await.fails(404, "UNSUPPORTED");
    registry.repository("team/app").get("manifests/1").await.is(200);
}

#[tokio::test]
async fn request_without_exactly_one_host_is_400() {
    let registry = TestRegistry::start().await;
    let ask = async |head: &str| {
        let mut client = registry.connect().await;
        client.send(format!("{head}\r\n")).await;
        client.answer().await
    };
    for head in [
        "GET /v2/ HTTP/1.1\r\n",
        "GET /v2/ HTTP/1.1\r\nhost: a\r\nhost: a\r\n",
        "GET /v2/ HTTP/1.1\r\nhost: a\r\nhost: b\r\n",
        "GET /v2/ HTTP/1.1\r\nhost: a b\r\n",
        "GET /v2/ HTTP/1.1\r\nhost: a/b\r\n",
        "GET http://a/v2/ HTTP/1.1\r\n",
        "GET /v2/ HTTP/1.0\r\nhost: a\r\nhost: b\r\n",
        "GET /nowhere HTTP/1.1\r\n",
        "PUT /v2/app/manifests/1 HTTP/1.1\r\ncontent-length: 0\r\n",
    ] {
        assert_eq!(ask(head).await.status, 400, "{head}");
    }
    for head in [
        "GET /v2/ HTTP/1.1\r\nhost: a:5000\r\n",
        "GET /v2/ HTTP/1.1\r\nhost:\r\n",
        "GET /v2/ HTTP/1.1\r\nHOST: [::1]:5000\r\n",
        "GET http://a/v2/ HTTP/1.1\r\nhost: a\r\n",
        "GET /v2/ HTTP/1.0\r\n",
    ] {
        assert_eq!(ask(head).await.status, 200, "{head}");
    }
}

#[tokio::test]
async fn encoded_path_equals_the_plain_path() {
    let registry = TestRegistry::start().await;
    let image = registry.repository("team/app").push_image("1.0").await;
    for path in
        ["/v2/team%2Fapp/manifests/1.0", "/v2/t%65am/app/manifests/1%2E0", "/%762/team/app/manifests/1.0"]
    {
        registry.get(path).await.is(200).carries(&image.manifest);
    }
    let encoded = image.digest.to_string().replace(':', "%3A");
    registry.get(format_args!("/v2/team/app/manifests/{encoded}")).await.is(200).carries(&image.manifest);
}

#[tokio::test]
async fn oversized_head_is_431() {
    let registry = TestRegistry::start_with(|config| {
        config.limits.header_bytes = 16 << 10;
        config.limits.headers = 50;
    })
    .await;
    let many: String = (0..51).map(|number| format!("x-{number}: y\r\n")).collect();
    let large = format!("x: {}\r\n", "y".repeat(17 << 10));
    let several = format!("x: {}\r\n", "y".repeat(1 << 10)).repeat(17);
    for flood in [many, large, several] {
        let mut client = registry.connect().await;
        client.send(format!("GET /v2/ HTTP/1.1\r\nhost: x\r\n{flood}\r\n")).await;
        assert_eq!(client.answer().await.status, 431);
        assert_eq!(client.until_closed().await, b"");
    }
    let mut client = registry.connect().await;
    let path = "x".repeat(70_000);
    client.send(format!("GET /v2/{path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    assert!([414, 431].contains(&client.answer().await.status));
    // A head within the limits is answered.
    let fine: String = (0..40).map(|number| format!("x-{number}: {}\r\n", "y".repeat(300))).collect();
    let mut client = registry.connect().await;
    client.send(format!("GET /v2/ HTTP/1.1\r\nhost: x\r\n{fine}\r\n")).await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn bytes_that_are_not_http_are_refused() {
    let registry = TestRegistry::start().await;
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"GET /v2/ HTTP/9.9\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    ] {
        let mut client = registry.connect().await;
        client.send(nonsense).await;
        client.finish_sending().await;
        let said = String::from_utf8_lossy(&client.until_closed().await).into_owned();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400"), "{nonsense:?} {said}");
    }
}

#[tokio::test]
async fn request_id_is_kept_when_valid() {
    let registry = TestRegistry::start().await;
    let id = |answer: &Answer| answer.header("x-request-id").unwrap().to_owned();
    let (one, two) = (registry.get("/v2/").await, registry.get("/nowhere").await);
    assert_ne!(id(&one), id(&two));
    let given = registry.request(Method::GET, "/v2/").header("x-request-id", "proxy-01HZ_x.7").ask().await;
    assert_eq!(id(&given), "proxy-01HZ_x.7");
    for insane in ["two words", "<script>", "", &"x".repeat(65)] {
        let given = registry.request(Method::GET, "/v2/").header("x-request-id", insane).ask().await;
        assert_ne!(id(&given), insane);
    }
}

#[tokio::test]
async fn pipelined_requests_share_a_connection() {
    let registry = TestRegistry::start().await;
    let image = registry.repository("app").push_image("1").await;
    let mut client = registry.connect().await;
    // The second request is sent before the first answer.
    client.send("GET /v2/app/manifests/1 HTTP/1.1\r\nhost: x\r\n\r\nGET /v2/app/manifests/2 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(client.answer().await.body, image.manifest);
    assert_eq!(client.answer().await.status, 404);
    client.send("HEAD /v2/app/manifests/1 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    drop(client);
    // A client that shuts down its sending side still gets its answer.
    let mut client = registry.connect().await;
    client.send("GET /v2/app/manifests/1 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    client.finish_sending().await;
    assert_eq!(client.answer().await.body, image.manifest);
    assert_eq!(client.until_closed().await, b"");
}
