//! Blobs: one request to the upstream, many readers, ranges, and everything that can go wrong on the way.

use std::sync::atomic::{AtomicUsize, Ordering};

use oci::Digest;
use reqwest::Method;
use reqwest::header::RANGE;

use super::Mirrored;
use crate::harness::{Ask, Fault, FaultProxy, eventually, random};

/// A layer that takes several pieces.
fn layer() -> Vec<u8> {
    random(1_500_000)
}

/// Pushes a layer to the repository `app` of the upstream.
async fn pushed_layer(mirrored: &Mirrored) -> (Vec<u8>, Digest) {
    let content = layer();
    let digest = mirrored.upstream.repository("app").push_blob(content.clone()).await;
    (content, digest)
}

#[tokio::test]
async fn hundred_clients_make_one_request() {
    let mirrored = Mirrored::with_blob_fault(Fault::WaitAfter(400_000)).await;
    let (content, digest) = pushed_layer(&mirrored).await;
    let cached = mirrored.cache.repository("hub/app");
    let path = cached.path(format_args!("blobs/{digest}"));
    let mut pulls = Vec::new();
    for _ in 0..100 {
        let mut response = mirrored.cache.request(Method::GET, &path).send().await.unwrap();
        // The first bytes come before the last ones have arrived.
        let first = response.chunk().await.unwrap().expect("bytes");
        pulls.push((response, first.to_vec()));
    }
    mirrored.proxy.open_gate();
    for (mut response, mut got) in pulls {
        assert_eq!(response.headers()["content-length"], content.len().to_string().as_str());
        while let Some(piece) = response.chunk().await.unwrap() {
            got.extend_from_slice(&piece);
        }
        assert!(got == content);
    }
    assert_eq!(mirrored.proxy.asked("/blobs/").len(), 1);
    assert!(std::fs::read(mirrored.cache.blob_file(&digest)).unwrap() == content);
    assert!(cached.get(format_args!("blobs/{digest}")).await.is(200).body == content);
    assert_eq!(mirrored.proxy.asked("/blobs/").len(), 1);
}

#[tokio::test]
async fn range_waits_for_its_bytes() {
    let mirrored = Mirrored::with_blob_fault(Fault::WaitAfter(100_000)).await;
    let (content, digest) = pushed_layer(&mirrored).await;
    let path = format!("/v2/hub/app/blobs/{digest}");
    let ranged =
        async |range: &str| mirrored.cache.request(Method::GET, &path).header(RANGE, range).ask().await;
    let early = ranged("bytes=1000-1999").await.is(206);
    assert!(early.body == content[1000..2000]);
    let late =
        async { ranged("bytes=-5").await.is(206).has("content-range", "bytes 1499995-1499999/1500000") };
    let open = async { mirrored.proxy.open_gate() };
    let (late, ()) = tokio::join!(late, open);
    assert!(late.body == content[1_499_995..]);
    ranged("bytes=2000000-").await.is(416);
    assert_eq!(mirrored.proxy.asked("/blobs/").len(), 1);
}

#[tokio::test]
async fn fill_outlives_its_clients() {
    let mirrored = Mirrored::with_blob_fault(Fault::WaitAfter(100_000)).await;
    let (content, digest) = pushed_layer(&mirrored).await;
    let path = format!("/v2/hub/app/blobs/{digest}");
    let response = mirrored.cache.request(Method::GET, &path).send().await.unwrap();
    drop(response);
    mirrored.proxy.open_gate();
    eventually("the blob is stored", async || mirrored.cache.blob_file(&digest).exists()).await;
    assert!(mirrored.cache.get(&path).await.is(200).body == content);
    let asked = mirrored.proxy.asked("/blobs/");
    assert_eq!(asked.len(), 1, "{asked:?}");
}

#[tokio::test]
async fn cut_transfer_is_resumed_by_range() {
    let cuts = AtomicUsize::new(0);
    let fault = move |head: &str| match head.contains("/blobs/") && cuts.fetch_add(1, Ordering::Relaxed) < 2 {
        true => Fault::CutAfter(500_000),
        false => Fault::None,
    };
    let mirrored = Mirrored::with_faults(fault, |_| {}).await;
    let (content, digest) = pushed_layer(&mirrored).await;
    let answer = mirrored.cache.get(format!("/v2/hub/app/blobs/{digest}")).await.is(200);
    assert!(answer.body == content);
    let asked = mirrored.proxy.asked("/blobs/");
    assert_eq!(asked.len(), 3);
    assert!(asked[1].contains("range: bytes=500000-"), "{}", asked[1]);
    assert!(asked[2].contains("range: bytes=1000000-"), "{}", asked[2]);
}

#[tokio::test]
async fn cut_at_any_byte_is_resumed() {
    for at in [0, 1, 262_143, 262_144, 1_499_998, 1_499_999] {
        let cuts = AtomicUsize::new(0);
        let fault =
            move |head: &str| match head.contains("/blobs/") && cuts.fetch_add(1, Ordering::Relaxed) < 1 {
                true => Fault::CutAfter(at),
                false => Fault::None,
            };
        let mirrored = Mirrored::with_faults(fault, |_| {}).await;
        let (content, digest) = pushed_layer(&mirrored).await;
        let answer = mirrored.cache.get(format!("/v2/hub/app/blobs/{digest}")).await.is(200);
        assert!(answer.body == content, "cut at {at}");
        assert_eq!(mirrored.proxy.asked("/blobs/").len(), 2, "cut at {at}");
    }
}

#[tokio::test]
async fn cut_transfer_continues_at_the_next_url() {
    let mut mirrored = Mirrored::with_blob_fault(Fault::CutAfter(500_000)).await;
    let second = FaultProxy::start(mirrored.upstream.address(), |_| Fault::None).await;
    let url = super::hub(&second.url()).url;
    mirrored.cache.restart_with(|config| config.upstream[0].url.extend(url)).await;
    let (content, digest) = pushed_layer(&mirrored).await;
    assert!(mirrored.cache.get(format!("/v2/hub/app/blobs/{digest}")).await.is(200).body == content);
    assert_eq!((mirrored.proxy.asked("/blobs/").len(), second.asked("/blobs/").len()), (1, 1));
    assert!(second.asked("/blobs/")[0].contains("range: bytes=500000-"));
}

#[tokio::test]
async fn wrong_content_is_never_complete_and_never_kept() {
    for at in [0, 700_000, 1_499_999] {
        let mirrored = Mirrored::with_blob_fault(Fault::FlipByte(at)).await;
        let digest = mirrored.upstream.repository("app").push_blob(layer()).await;
        let request = mirrored.cache.request(Method::GET, format!("/v2/hub/app/blobs/{digest}"));
        request.try_ask().await.expect_err("the body is cut");
        assert!(!mirrored.cache.blob_file(&digest).exists());
        eventually("nothing is left", async || mirrored.cache.files("wharfinger/uploads").is_empty()).await;
    }
}

#[tokio::test]
async fn small_wrong_content_is_an_error() {
    let mirrored = Mirrored::with_blob_fault(Fault::FlipByte(5)).await;
    let digest = mirrored.upstream.repository("app").push_blob(random(1000)).await;
    let path = format!("/v2/hub/app/blobs/{digest}");
    let text = mirrored.cache.get(&path).await.fails(502, "UNAVAILABLE").text();
    assert!(text.contains("hub gave an invalid answer"), "{text}");
}

#[tokio::test]
async fn blob_without_a_length_is_verified() {
    let mirrored = Mirrored::with_blob_fault(Fault::NoLength).await;
    let (content, digest) = pushed_layer(&mirrored).await;
    let answer = mirrored.cache.get(format!("/v2/hub/app/blobs/{digest}")).await.is(200);
    assert!(answer.body == content);
    let image = mirrored.upstream.repository("image").push_image("1").await;
    let cached = mirrored.cache.repository("hub/image");
    cached.get("manifests/1").await.is(200);
    for (digest, content) in image.blobs {
        assert!(cached.get(format_args!("blobs/{digest}")).await.is(200).body == content);
    }
}

#[tokio::test]
async fn head_of_a_blob_fetches_nothing() {
    let mirrored = Mirrored::start(|_| {}).await;
    let digest = mirrored.upstream.repository("app").push_blob(layer()).await;
    let path = format!("/v2/hub/app/blobs/{digest}");
    mirrored.cache.head(&path).await.is(200).has("content-length", 1_500_000);
    assert_eq!(mirrored.proxy.asked("get /v2/app/blobs/").len(), 0);
    let absent = path.replace(&digest.to_string()[7..20], "0000000000000");
    for _ in 0..2 {
        mirrored.cache.get(&absent).await.fails(404, "BLOB_UNKNOWN");
        mirrored.cache.head(&absent).await.is(404);
    }
    assert_eq!(mirrored.proxy.asked("000000000000").len(), 1);
}

#[tokio::test]
async fn shared_layer_is_fetched_once_and_confirmed() {
    let mirrored = Mirrored::start(|_| {}).await;
    let content = layer();
    let digest = mirrored.upstream.repository("a").push_blob(content.clone()).await;
    mirrored.cache.get(format!("/v2/hub/a/blobs/{digest}")).await.is(200);
    // The other repository does not have it, whatever this registry holds.
    mirrored.cache.get(format!("/v2/hub/b/blobs/{digest}")).await.fails(404, "BLOB_UNKNOWN");
    mirrored.upstream.repository("c").push_blob(content.clone()).await;
    assert!(mirrored.cache.get(format!("/v2/hub/c/blobs/{digest}")).await.is(200).body == content);
    assert_eq!(mirrored.proxy.asked("get /v2/c/blobs/").len(), 0);
    assert_eq!(mirrored.proxy.asked("head /v2/c/blobs/").len(), 1);
}

#[tokio::test]
async fn damaged_blob_is_fetched_again() {
    let mirrored = Mirrored::start(|_| {}).await;
    let (content, digest) = pushed_layer(&mirrored).await;
    let path = format!("/v2/hub/app/blobs/{digest}");
    mirrored.cache.get(&path).await.is(200);
    std::fs::write(mirrored.cache.blob_file(&digest), b"short").unwrap();
    assert!(mirrored.cache.get(&path).await.is(200).body == content);
    assert!(std::fs::read(mirrored.cache.blob_file(&digest)).unwrap() == content);
}
