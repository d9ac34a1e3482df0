//! Faulty upstreams: clients get an error of the protocol or a cut connection, and never a truncated answer
//! that looks complete.

use reqwest::Method;

use crate::harness::{Answer, Ask, By, Says, TestRegistry, Upstream, Who, basic, gateway};

const BLOB: &str =
    "/v2/ann/app/blobs/sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const MANIFEST: &str = "/v2/ann/app/manifests/1";
const TAGS: &str = "/v2/ann/app/tags/list";
const UPLOADS: &str = "/v2/ann/app/blobs/uploads/";

/// Checks that an answer is an error of the protocol, and contains nothing of the upstream's answer.
fn is_protocol_error(answer: Answer, status: u16) -> String {
    let answer = answer.fails(status, "UNAVAILABLE").has_no("www-authenticate");
    let message = answer.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("the registry behind this gateway "), "{message}");
    assert!(message.contains("operator"), "it says what to do: {message}");
    assert!(!message.contains("127.0.0.1"), "where it is, is nobody's business: {message}");
    message
}

async fn get(gateway: &TestRegistry, path: &str) -> Answer {
    gateway.get_as(&Who::root(), path).await
}

/// The upstream's answer to an upload.
const TAKEN: &[u8] = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";

/// Uploads the blob, so that the gateway knows its repository.
async fn upload(gateway: &TestRegistry) {
    let digest = BLOB.rsplit('/').next().unwrap();
    let request = gateway.request(Method::POST, format!("{UPLOADS}?digest={digest}")).by(&Who::root());
    request.body("abc").ask().await.is(201);
}

async fn push(gateway: &TestRegistry, path: &str) -> Answer {
    gateway.request(Method::POST, path).by(&Who::root()).body(vec![7; 300_000]).ask().await
}

#[tokio::test]
async fn unreachable_upstream_is_502() {
    let url = Upstream::start(|_| Says::not_found()).await.url();
    let gateway = gateway(&[&url], &[]).await;
    for path in [BLOB, MANIFEST, TAGS] {
        is_protocol_error(get(&gateway, path).await, 502);
        gateway.ask_as(&Who::root(), Method::HEAD, path).await.is(502);
    }
    is_protocol_error(push(&gateway, UPLOADS).await, 502);
    is_protocol_error(gateway.ask_as(&Who::root(), Method::DELETE, MANIFEST).await, 502);
}

/// A client notices a body that ends too early, although its status was 200.
#[tokio::test]
async fn truncated_upstream_transfer_cuts_the_connection() {
    let upstream = Upstream::start(|head| {
        if head.starts_with("post ") {
            return Says::All(TAKEN.into());
        }
        let framing =
            if head.contains("/blobs/") { "content-length: 1000" } else { "transfer-encoding: chunked" };
        Says::Last(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n3\r\nabc\r\n").into())
    })
    .await;
    let gateway = gateway(&[&upstream.url()], &[]).await;
    upload(&gateway).await;
    for path in [BLOB, TAGS] {
        let torn = gateway.request(Method::GET, path).by(&Who::root()).try_ask().await;
        torn.expect_err("the body is truncated");
    }
}

#[tokio::test]
async fn upstream_manifest_without_length_is_bounded() {
    let upstream = Upstream::start(|_| Says::Last(b"HTTP/1.1 200 OK\r\n\r\nabc".into())).await;
    let gateway = gateway(&[&upstream.url()], &[]).await;
    for path in [BLOB, MANIFEST, TAGS] {
        is_protocol_error(get(&gateway, path).await, 502);
    }
}

/// The gateway buffers a manifest before it answers, so a truncated one becomes an error.
#[tokio::test]
async fn truncated_upstream_manifest_is_502() {
    let says = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"schemaVersion\":";
    let upstream = Upstream::start(|_| Says::Last(says.into())).await;
    let gateway = gateway(&[&upstream.url()], &[]).await;
    is_protocol_error(get(&gateway, MANIFEST).await, 502);
}

#[tokio::test]
async fn slow_upstream_is_504_and_a_stall_cuts() {
    let upstream = Upstream::start(|head| match head {
        _ if head.starts_with("post ") && head.contains("?digest=") => Says::All(TAKEN.into()),
        _ if head.contains("/blobs/sha256") => {
            Says::Stalls(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".into())
        }
        _ if head.contains("/manifests/") => {
            Says::Stalls(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".into())
        }
        _ => Says::Stalls(Vec::new()),
    })
    .await;
    let patience = [("GATEWAY_READ_TIMEOUT", "200ms"), ("GATEWAY_WRITE_TIMEOUT", "200ms")];
    let gateway = gateway(&[&upstream.url()], &patience).await;
    is_protocol_error(get(&gateway, TAGS).await, 504);
    is_protocol_error(push(&gateway, UPLOADS).await, 504);
    is_protocol_error(get(&gateway, MANIFEST).await, 502);
    upload(&gateway).await;
    let torn = gateway.request(Method::GET, BLOB).by(&Who::root()).try_ask().await;
    torn.expect_err("the body is truncated");
}

#[tokio::test]
async fn malformed_upstream_head_is_502() {
    let bad: [(&str, Vec<u8>); 8] = [
        ("huge", [b"HTTP/1.1 200 OK\r\nx-much: ".as_slice(), &[b'a'; 1 << 20], b"\r\n\r\n"].concat()),
        ("many", format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(10_000)).into()),
        ("garbled", b"HTTP/1.1 200 OK\r\ncontent length: 1\x00\r\n\r\n".into()),
        ("no-http", b"SSH-2.0-OpenSSH_9.2\r\n\r\n".into()),
        ("lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde".into()),
        ("number", b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".into()),
        ("silence", Vec::new()),
        ("half", b"HTTP/1.1 200 OK\r\ncontent-".into()),
    ];
    let says = bad.clone();
    let upstream = Upstream::start(move |head| {
        let bytes = says.iter().find(|(name, _)| head.contains(&format!("/{name}/")));
        bytes.map_or_else(Says::not_found, |(_, bytes)| Says::Last(bytes.clone()))
    })
    .await;
    let gateway = gateway(&[&upstream.url()], &[]).await;
    for (name, _) in &bad {
        is_protocol_error(get(&gateway, &format!("/v2/{name}/app/tags/list")).await, 502);
        is_protocol_error(get(&gateway, &format!("/v2/{name}/app/manifests/1")).await, 502);
        is_protocol_error(push(&gateway, &format!("/v2/{name}/app/blobs/uploads/")).await, 502);
    }
}

/// A challenge of the upstream concerns the gateway's credentials. Forwarded, it would tell the client that
/// its own password is wrong, and send that password to another host.
#[tokio::test]
async fn upstream_challenge_becomes_502() {
    let upstream = Upstream::start(|head| {
        let how = if head.contains("/v2/basic/") {
            "Basic realm=\"theirs\""
        } else {
            "Bearer realm=\"https://evil.example.com/token\",service=\"theirs\""
        };
        let says =
            format!("HTTP/1.1 401 Unauthorized\r\nwww-authenticate: {how}\r\ncontent-length: 0\r\n\r\n");
        Says::All(says.into())
    })
    .await;
    let gateway = gateway(&[&upstream.url()], &[]).await;
    for name in ["basic", "bearer"] {
        is_protocol_error(get(&gateway, &format!("/v2/{name}/app/tags/list")).await, 502);
        is_protocol_error(get(&gateway, &format!("/v2/{name}/app/manifests/1")).await, 502);
        is_protocol_error(push(&gateway, &format!("/v2/{name}/app/blobs/uploads/")).await, 502);
    }
    let wrong =
        gateway.get_as(&basic("root", "wrong"), "/v2/basic/app/tags/list").await.fails(401, "UNAUTHORIZED");
    assert!(!wrong.header("www-authenticate").unwrap().contains("theirs"));
    assert!(upstream.asked("").iter().all(|head| !head.contains("authorization:")));
}

/// An HTML page of a proxy is replaced by a protocol error. The registry's own error passes.
#[tokio::test]
async fn upstream_server_errors_become_protocol_errors() {
    let own = r#"{"errors":[{"code":"UNKNOWN","message":"the disk is gone"}]}"#;
    let upstream = Upstream::start(move |head| {
        let (kind, body) = match head.contains("/own/") {
            true => ("application/json; charset=utf-8", own),
            false => ("text/html", "<html><h1>503 Service Temporarily Unavailable</h1></html>"),
        };
        let says = format!(
            "HTTP/1.1 503 Busy\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Says::All(says.into())
    })
    .await;
    let gateway = gateway(&[&upstream.url()], &[]).await;
    for path in ["/v2/ann/app/tags/list", "/v2/ann/app/manifests/1"] {
        assert!(is_protocol_error(get(&gateway, path).await, 503).contains("503"));
        get(&gateway, &path.replace("/ann/", "/own/")).await.is(503).carries(own);
    }
    assert!(is_protocol_error(push(&gateway, UPLOADS).await, 503).contains("503"));
}

/// The page of a proxy is no manifest, also with status 200.
#[tokio::test]
async fn manifest_with_the_type_of_a_page_is_refused() {
    let page = "content-type: text/html; charset=utf-8\r\n";
    let upstream = Upstream::start(move |_| Says::ok(page, "<script>alert(1)</script>")).await;
    let gateway = gateway(&[&upstream.url()], &[]).await;
    let answer = get(&gateway, "/v2/ann/app/manifests/1").await;
    assert_eq!(answer.header("content-security-policy"), Some("sandbox; default-src 'none'"));
    is_protocol_error(answer, 502);
    assert_eq!(gateway.ask_as(&Who::root(), Method::HEAD, "/v2/ann/app/manifests/1").await.status, 502);
}

/// Reads and requests that were never sent are repeated. Requests that may have had an effect are not.
#[tokio::test]
async fn fail_over_repeats_only_safe_requests() {
    let breaks = Upstream::start(|head| match head.contains(" /v2/ann/app/") {
        true => Says::Last(Vec::new()),
        false => Says::not_found(),
    })
    .await;
    let well = Upstream::start(|_| Says::ok("", r#"{"name":"ann/app","tags":["1"]}"#)).await;
    // An upstream that failed is tried last for a while. Here each of them is tried first.
    let both = [breaks.url(), well.url()];
    let both = [both[0].as_str(), both[1].as_str()];
    assert_eq!(get(&gateway(&both, &[]).await, TAGS).await.is(200).list("tags"), ["1"]);
    let deletes = async |gateway: TestRegistry| gateway.ask_as(&Who::root(), Method::DELETE, MANIFEST).await;
    is_protocol_error(deletes(gateway(&both, &[]).await).await, 502);
    is_protocol_error(push(&gateway(&both, &[]).await, UPLOADS).await, 502);
    assert_eq!((well.asked("delete ").len(), well.asked("post ").len()), (0, 0));
    // No connection, no effect: a refused connection is safe to repeat.
    let gone = Upstream::start(|_| Says::not_found()).await.url();
    deletes(gateway(&[&gone, both[1]], &[]).await).await.is(200);
    assert_eq!(well.asked("delete ").len(), 1);
}
