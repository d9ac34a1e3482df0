//! Settings of the operator hold for a gateway, whatever the upstream would allow.

use futures_util::stream;
use reqwest::{Body, Method};

use crate::harness::{Answer, Ask, By, Says, TestRegistry, Upstream, Who, gateway};

const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[tokio::test]
async fn disabled_deletion_holds_on_every_path() {
    let upstream = Upstream::start(|_| Says::ok("", "")).await;
    let gateway = gateway(&[&upstream.url()], &[("REGISTRY_DELETE", "false")]).await;
    for path in [
        "/v2/ann/app/manifests/1".to_owned(),
        format!("/v2/ann/app/manifests/{DIGEST}"),
        format!("/v2/ann/app/blobs/{DIGEST}"),
    ] {
        let answer = gateway.ask_as(&Who::root(), Method::DELETE, &path).await.fails(405, "UNSUPPORTED");
        assert!(!answer.header("allow").unwrap().contains("DELETE"), "{path}");
    }
    assert_eq!(upstream.asked("delete ").len(), 0);
}

/// The limit counts all chunks of a blob, with and without a Content-Length.
#[tokio::test]
async fn blob_over_the_limit_is_413() {
    let upload = "/v2/ann/app/blobs/uploads/7b9ab2a1-5c3f-4f0e-9c1b-0d3f1f6f0a51";
    let upstream = Upstream::start(move |head| {
        let has = if head.starts_with("patch") { "0-599" } else { "0-0" };
        let says = format!(
            "HTTP/1.1 202 Accepted\r\nlocation: {upload}\r\nrange: {has}\r\ncontent-length: 0\r\n\r\n"
        );
        Says::All(says.into())
    })
    .await;
    let gateway = gateway(&[&upstream.url()], &[("LIMITS_BLOB_BYTES", "1000")]).await;
    let send = async |gateway: &TestRegistry, method: Method, path: &str, body: Body| -> Answer {
        gateway.request(method, path).by(&Who::root()).body(body).ask().await
    };
    let streamed = |bytes: usize| {
        let pieces = vec![7_u8; bytes]
            .chunks(100)
            .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
            .collect::<Vec<_>>();
        Body::wrap_stream(stream::iter(pieces))
    };
    let whole = |bytes: usize| Body::from(vec![7; bytes]);
    let uploads = "/v2/ann/app/blobs/uploads/";
    send(&gateway, Method::POST, &format!("{uploads}?digest={DIGEST}"), whole(1001))
        .await
        .fails(413, "BLOB_UPLOAD_INVALID");
    assert_eq!(upstream.asked("post ").len(), 0, "what says that it is too large is not begun");
    let begun = send(&gateway, Method::POST, uploads, Body::default()).await.is(202).location();
    for body in [whole(1001), streamed(1001)] {
        send(&gateway, Method::PATCH, &begun, body).await.fails(413, "BLOB_UPLOAD_INVALID");
    }
    let further = send(&gateway, Method::PATCH, &begun, streamed(600)).await.is(202).location();
    for body in [whole(401), streamed(401)] {
        send(&gateway, Method::PATCH, &further, body).await.fails(413, "BLOB_UPLOAD_INVALID");
    }
    send(&gateway, Method::PATCH, &further, streamed(400)).await.is(202);
}
