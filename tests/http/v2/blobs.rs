//! `/v2/<name>/blobs/<digest>`.

use oci::Algorithm;
use reqwest::Method;

use crate::harness::{Ask, TestRegistry, random};

#[tokio::test]
async fn blob_is_returned_as_pushed() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("team/app");
    // In memory, mapped, and mapped in several windows.
    for length in [1, 5000, 100_000, 3_500_000] {
        let content = random(length);
        let digest = app.push_blob(content.clone()).await;
        app.get(format_args!("blobs/{digest}"))
            .await
            .is(200)
            .has("content-length", length)
            .has("content-type", "application/octet-stream")
            .has("docker-content-digest", digest)
            .has("etag", format_args!("\"{digest}\""))
            .has("cache-control", "max-age=31536000, immutable")
            .has("accept-ranges", "bytes")
            .has("docker-distribution-api-version", "registry/2.0")
            .carries(content);
    }
}

#[tokio::test]
async fn empty_blob_is_accepted() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let digest = app.push_blob([]).await;
    app.get(format_args!("blobs/{digest}")).await.is(200).has("content-length", 0).carries("");
    app.head(format_args!("blobs/{digest}")).await.is(200).has("content-length", 0);
    // Some clients ask for a range of everything.
    let all =
        app.request(Method::GET, format_args!("blobs/{digest}")).header("range", "bytes=0-").ask().await;
    all.is(200).has("content-length", 0);
}

#[tokio::test]
async fn sha512_digest_names_a_blob() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let content = random(70_000);
    let digest = Algorithm::Sha512.digest(&content);
    registry
        .request(Method::POST, app.path(format_args!("blobs/uploads/?digest={digest}")))
        .body(content.clone())
        .ask()
        .await
        .is(201)
        .has("docker-content-digest", digest);
    app.get(format_args!("blobs/{digest}"))
        .await
        .is(200)
        .has("docker-content-digest", digest)
        .carries(content);
}

#[tokio::test]
async fn range_returns_exactly_its_bytes() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    for length in [1000, 200_000, 2_500_000] {
        let content = random(length);
        let digest = app.push_blob(content.clone()).await;
        let last = length - 1;
        for (range, part) in [
            ("bytes=0-0".to_owned(), 0..1),
            ("bytes=0-499".to_owned(), 0..500),
            ("bytes=1-1".to_owned(), 1..2),
            ("bytes=500-899".to_owned(), 500..900),
            ("bytes=500-".to_owned(), 500..length),
            ("bytes=0-".to_owned(), 0..length),
            ("bytes=-1".to_owned(), last..length),
            ("bytes=-500".to_owned(), length - 500..length),
            ("bytes=-99999999".to_owned(), 0..length),
            (format!("bytes={last}-{last}"), last..length),
            (format!("bytes={last}-99999999"), last..length),
        ] {
            let request = app.request(Method::GET, format_args!("blobs/{digest}")).header("range", &range);
            request
                .ask()
                .await
                .is(206)
                .has("content-range", format_args!("bytes {}-{}/{length}", part.start, part.end - 1))
                .has("content-length", part.len())
                .has("docker-content-digest", digest)
                .carries(&content[part]);
        }
    }
}

#[tokio::test]
async fn range_beyond_the_end_is_416_with_size() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let digest = app.push_blob(random(1000)).await;
    for range in ["bytes=1000-", "bytes=1000-1001", "bytes=500-0", "bytes=-0", "bytes=x"] {
        let request = app.request(Method::GET, format_args!("blobs/{digest}")).header("range", range);
        request.ask().await.fails(416, "UNSUPPORTED").has("content-range", "bytes */1000");
    }
}

#[tokio::test]
async fn multiple_ranges_and_units_return_the_blob() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let content = random(1000);
    let digest = app.push_blob(content.clone()).await;
    for range in ["bytes=0-1,5-6", "lines=1-2"] {
        let request = app.request(Method::GET, format_args!("blobs/{digest}")).header("range", range);
        request.ask().await.is(200).has_no("content-range").carries(&content);
    }
}

#[tokio::test]
async fn if_range_must_match_for_a_range() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let content = random(1000);
    let digest = app.push_blob(content.clone()).await;
    let ask = |validator: String| {
        let request = app.request(Method::GET, format_args!("blobs/{digest}")).header("range", "bytes=0-9");
        request.header("if-range", validator).ask()
    };
    ask(format!("\"{digest}\"")).await.is(206).carries(&content[..10]);
    ask("\"another\"".to_owned()).await.is(200).carries(&content);
    ask("Wed, 21 Oct 2015 07:28:00 GMT".to_owned()).await.is(200).carries(&content);
}

#[tokio::test]
async fn if_none_match_returns_304() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let content = random(1000);
    let digest = app.push_blob(content.clone()).await;
    for method in [Method::GET, Method::HEAD] {
        let request = app.request(method, format_args!("blobs/{digest}"));
        let answer = request.header("if-none-match", format!("\"other\", \"{digest}\"")).ask().await;
        answer.is(304).has("etag", format_args!("\"{digest}\"")).has_no("content-length").carries("");
    }
    let request = app.request(Method::GET, format_args!("blobs/{digest}"));
    request.header("if-none-match", "\"other\"").ask().await.is(200).carries(content);
}

#[tokio::test]
async fn blob_is_found_only_in_its_repository() {
    let registry = TestRegistry::start().await;
    let digest = registry.repository("mine").push_blob("secret").await;
    registry.repository("yours").push_image("1").await;
    for name in ["yours", "mine/too", "min", "nowhere"] {
        let other = registry.repository(name);
        other.get(format_args!("blobs/{digest}")).await.fails(404, "BLOB_UNKNOWN");
        other.head(format_args!("blobs/{digest}")).await.is(404);
        other.delete(format_args!("blobs/{digest}")).await.fails(404, "BLOB_UNKNOWN");
    }
    registry.repository("mine").get(format_args!("blobs/{digest}")).await.is(200);
}

#[tokio::test]
async fn deleted_blob_is_gone_from_one_repository() {
    let registry = TestRegistry::start().await;
    let (mine, yours) = (registry.repository("mine"), registry.repository("yours"));
    let digest = mine.push_blob("shared").await;
    yours.push_blob("shared").await;
    let path = format!("blobs/{digest}");
    // Fetched before, so that the cache knows the blob.
    mine.get(&path).await.is(200);
    mine.delete(&path).await.is(202);
    mine.get(&path).await.fails(404, "BLOB_UNKNOWN");
    mine.head(&path).await.is(404);
    mine.delete(&path).await.fails(404, "BLOB_UNKNOWN");
    yours.get(&path).await.is(200).carries("shared");
    // The blob can be pushed again.
    mine.push_blob("shared").await;
    mine.get(&path).await.is(200).carries("shared");
}

#[tokio::test]
async fn malformed_digest_is_400() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let digest = app.push_blob("x").await;
    let upper = digest.to_string().replace(&digest.hex(), &digest.hex().to_uppercase());
    for text in ["sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e", "latest", &upper, "sha256:.."] {
        app.get(format_args!("blobs/{text}")).await.fails(400, "DIGEST_INVALID");
    }
}

#[tokio::test]
async fn parallel_ranges_survive_dropped_connections() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let content = random(4_000_000);
    let digest = app.push_blob(content.clone()).await;
    // containerd fetches several parts in parallel.
    let parts = (0..16).map(|part| {
        let (first, end) = (part * 250_000, (part + 1) * 250_000);
        let request = app.request(Method::GET, format_args!("blobs/{digest}"));
        let asked = request.header("range", format!("bytes={first}-{}", end - 1)).ask();
        let expected = &content[first..end];
        async move { asked.await.is(206).carries(expected) }
    });
    futures_util::future::join_all(parts).await;
    // Connections that are dropped in the middle.
    for _ in 0..50 {
        let mut client = registry.connect().await;
        client.send(format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        drop(client);
    }
    app.get(format_args!("blobs/{digest}")).await.is(200).carries(&content);
}

#[tokio::test]
async fn reader_continues_after_blob_deletion() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let content = random(8_000_000);
    let digest = app.push_blob(content.clone()).await;
    let mut client = registry.connect().await;
    client.send(format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    client.answer_begins().await;
    app.delete(format_args!("blobs/{digest}")).await.is(202);
    assert!(client.answer().await.body == content);
}

#[tokio::test]
async fn internal_error_details_stay_in_the_log() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    // A file where a directory has to be fails in an unexpected way.
    let uploads = registry.data().join("wharfinger/uploads");
    std::fs::remove_dir_all(&uploads).unwrap();
    std::fs::write(&uploads, "").unwrap();
    let content = random(100_000);
    let path = app.path(format_args!("blobs/uploads/?digest={}", Algorithm::Sha256.digest(&content)));
    let answer = registry.request(Method::POST, path).body(content).ask().await.fails(500, "UNKNOWN");
    assert!(!answer.text().contains("uploads"), "{}", answer.text());
    let id = answer.header("x-request-id").unwrap();
    assert!(answer.text().contains(id), "the answer says how to find the reason in the log");
}
