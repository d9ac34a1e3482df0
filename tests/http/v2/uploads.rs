//! `/v2/<name>/blobs/uploads/`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use oci::Algorithm;
use reqwest::{Body, Method};
use tokio::time::timeout;
use uuid::Uuid;

use crate::harness::{Ask, TestRegistry, eventually, random};

/// Returns a body without a length, in chunks.
fn streamed(content: &[u8]) -> Body {
    let pieces: Vec<_> =
        content.chunks(1000).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
    Body::wrap_stream(stream::iter(pieces))
}

#[tokio::test]
async fn blob_is_pushed_with_post_and_put() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("team/app");
    let content = random(300_000);
    let digest = Algorithm::Sha256.digest(&content);
    let begun =
        registry.post(app.path("blobs/uploads/")).await.is(202).has("range", "0-0").has("content-length", 0);
    let location = begun.location();
    let id = begun.header("docker-upload-uuid").unwrap();
    assert_eq!(location, app.path(format_args!("blobs/uploads/{id}")), "the Location is relative");
    let ended = registry
        .put(format_args!("{location}?digest={digest}"), content.clone())
        .await
        .is(201)
        .has("docker-content-digest", digest)
        .has("location", app.path(format_args!("blobs/{digest}")));
    registry.get(ended.location()).await.is(200).carries(content);
}

#[tokio::test]
async fn blob_is_pushed_in_one_request() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let content = random(5000);
    let digest = Algorithm::Sha256.digest(&content);
    for body in [Body::from(content.clone()), streamed(&content)] {
        app.request(Method::POST, format_args!("blobs/uploads/?digest={digest}"))
            .body(body)
            .ask()
            .await
            .is(201)
            .has("location", app.path(format_args!("blobs/{digest}")))
            .has("docker-content-digest", digest);
        app.get(format_args!("blobs/{digest}")).await.is(200).carries(&content);
        app.delete(format_args!("blobs/{digest}")).await.is(202);
    }
}

#[tokio::test]
async fn blob_is_pushed_in_chunks() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let content = random(250_000);
    let digest = Algorithm::Sha256.digest(&content);
    let mut location = app.begin_upload().await;
    for first in [0, 100_000] {
        let last = first + 99_999;
        location = registry
            .request(Method::PATCH, &location)
            .header("content-range", format!("{first}-{last}"))
            .body(content[first..=last].to_vec())
            .ask()
            .await
            .is(202)
            .has("range", format_args!("0-{last}"))
            .location();
        registry
            .get(&location)
            .await
            .is(204)
            .has("range", format_args!("0-{last}"))
            .has("location", &location);
    }
    registry
        .request(Method::PUT, format_args!("{location}?digest={digest}"))
        .header("content-range", "200000-249999")
        .body(content[200_000..].to_vec())
        .ask()
        .await
        .is(201);
    app.get(format_args!("blobs/{digest}")).await.is(200).carries(content);
}

#[tokio::test]
async fn blob_is_pushed_as_a_stream() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let content = random(250_000);
    let digest = Algorithm::Sha256.digest(&content);
    let location = app.begin_upload().await;
    let location =
        registry.patch(&location, streamed(&content)).await.is(202).has("range", "0-249999").location();
    registry.put(format_args!("{location}?digest={digest}"), "").await.is(201);
    app.get(format_args!("blobs/{digest}")).await.is(200).carries(content);
}

#[tokio::test]
async fn chunk_out_of_order_is_416_and_upload_continues() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let content = random(3000);
    let digest = Algorithm::Sha256.digest(&content);
    let location = app.begin_upload().await;
    let send = |method: Method, address: String, first: usize, end: usize| {
        let request =
            registry.request(method, address).header("content-range", format!("{first}-{}", end - 1));
        request.body(content[first..end].to_vec()).ask()
    };
    send(Method::PATCH, location.clone(), 1000, 2000)
        .await
        .fails(416, "BLOB_UPLOAD_INVALID")
        .has("range", "0-0");
    send(Method::PATCH, location.clone(), 0, 1000).await.is(202);
    for (first, end) in [(2000, 3000), (0, 1000), (999, 2000), (1001, 2000)] {
        send(Method::PATCH, location.clone(), first, end)
            .await
            .fails(416, "BLOB_UPLOAD_INVALID")
            .has("range", "0-999")
            .has("location", &location);
    }
    // The final PUT follows the same rule.
    send(Method::PUT, format!("{location}?digest={digest}"), 2000, 3000)
        .await
        .fails(416, "BLOB_UPLOAD_INVALID");
    registry.get(&location).await.is(204).has("range", "0-999");
    send(Method::PATCH, location.clone(), 1000, 2000).await.is(202).has("range", "0-1999");
    send(Method::PUT, format!("{location}?digest={digest}"), 2000, 3000).await.is(201);
    app.get(format_args!("blobs/{digest}")).await.is(200).carries(content);
}

#[tokio::test]
async fn impossible_content_range_is_400() {
    let registry = TestRegistry::start().await;
    let location = registry.repository("app").begin_upload().await;
    for range in ["0-", "-9", "9-0", "bytes=0-9", "a-b", "", "+0-9", "0-99999999999999999999999"] {
        let request = registry.request(Method::PATCH, &location).header("content-range", range);
        request.body("0123456789").ask().await.fails(400, "BLOB_UPLOAD_INVALID");
    }
    for range in ["0-8", "0-10"] {
        let request = registry.request(Method::PATCH, &location).header("content-range", range);
        request.body("0123456789").ask().await.fails(400, "SIZE_INVALID");
    }
    registry.get(&location).await.is(204).has("range", "0-0");
}

#[tokio::test]
async fn chunk_shorter_than_content_range_is_400() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    for range in ["0-98", "0-100"] {
        let location = app.begin_upload().await;
        let request = registry.request(Method::PATCH, &location).header("content-range", range);
        request.body(streamed(&[7; 100])).ask().await.fails(400, "SIZE_INVALID");
    }
}

#[tokio::test]
async fn cancelled_upload_is_gone() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let location = app.begin_upload().await;
    registry.patch(&location, "some of it").await.is(202);
    registry.delete(&location).await.is(204);
    registry.get(&location).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
    registry.delete(&location).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
    registry.patch(&location, "more").await.fails(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(registry.files("wharfinger/uploads").len(), 0, "nothing of it is left");
}

#[tokio::test]
async fn finished_upload_is_gone() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let digest = Algorithm::Sha256.digest(b"content");
    let location = app.begin_upload().await;
    registry.put(format_args!("{location}?digest={digest}"), "content").await.is(201);
    registry.get(&location).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
    registry
        .put(format_args!("{location}?digest={digest}"), "content")
        .await
        .fails(404, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn upload_belongs_to_its_repository() {
    let registry = TestRegistry::start().await;
    let location = registry.repository("mine").begin_upload().await;
    let digest = Algorithm::Sha256.digest(b"content");
    for other in ["yours", "mine/too"] {
        let elsewhere = location.replace("/v2/mine/", &format!("/v2/{other}/"));
        registry.get(&elsewhere).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
        registry.patch(&elsewhere, "x").await.fails(404, "BLOB_UPLOAD_UNKNOWN");
        registry
            .put(format_args!("{elsewhere}?digest={digest}"), "content")
            .await
            .fails(404, "BLOB_UPLOAD_UNKNOWN");
        registry.delete(&elsewhere).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
    }
    registry.get(&location).await.is(204).has("range", "0-0");
}

#[tokio::test]
async fn unknown_upload_is_404() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    for id in [Uuid::new_v4().to_string(), "1".to_owned(), "..%2f..%2fetc".to_owned(), "%00".to_owned()] {
        app.get(format_args!("blobs/uploads/{id}")).await.is(404);
    }
}

#[tokio::test]
async fn content_with_wrong_digest_is_refused() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = algorithm.digest(b"something else");
        let location = app.begin_upload().await;
        registry
            .put(format_args!("{location}?digest={digest}"), "content")
            .await
            .fails(400, "DIGEST_INVALID");
        registry.get(&location).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
        let path = app.path(format_args!("blobs/uploads/?digest={digest}"));
        registry.request(Method::POST, path).body("content").ask().await.fails(400, "DIGEST_INVALID");
        app.head(format_args!("blobs/{digest}")).await.is(404);
    }
    assert_eq!(registry.blob_files().len(), 0);
    assert_eq!(registry.files("wharfinger/uploads").len(), 0);
}

#[tokio::test]
async fn malformed_digest_is_400_before_the_body() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let location = app.begin_upload().await;
    for digest in
        ["", "sha256", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:../../../etc/passwd"]
    {
        registry
            .put(format_args!("{location}?digest={digest}"), "content")
            .await
            .fails(400, "DIGEST_INVALID");
        registry
            .post(app.path(format_args!("blobs/uploads/?digest={digest}")))
            .await
            .fails(400, "DIGEST_INVALID");
        registry
            .post(app.path(format_args!("blobs/uploads/?mount={digest}")))
            .await
            .fails(400, "DIGEST_INVALID");
    }
    registry.put(&location, "content").await.fails(400, "DIGEST_INVALID");
    registry.get(&location).await.is(204).has("range", "0-0");
    let md5 = app.path("blobs/uploads/?digest-algorithm=md5");
    registry.post(md5).await.fails(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn upload_digest_algorithm_may_be_announced() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    for query in ["?digest-algorithm=sha512", ""] {
        let content = random(100_000);
        let digest = Algorithm::Sha512.digest(&content);
        let location =
            registry.post(app.path(format_args!("blobs/uploads/{query}"))).await.is(202).location();
        registry.patch(&location, content[..60_000].to_vec()).await.is(202);
        registry.put(format_args!("{location}?digest={digest}"), content[60_000..].to_vec()).await.is(201);
        app.get(format_args!("blobs/{digest}")).await.is(200).carries(content);
    }
}

#[tokio::test]
async fn blob_is_mounted_from_another_repository() {
    let registry = TestRegistry::start().await;
    let (base, app) = (registry.repository("base"), registry.repository("team/app"));
    for query in ["&from=base", "", "&from="] {
        let digest = base.push_blob(random(100)).await;
        app.head(format_args!("blobs/{digest}")).await.is(404);
        registry
            .post(app.path(format_args!("blobs/uploads/?mount={digest}{query}")))
            .await
            .is(201)
            .has("location", app.path(format_args!("blobs/{digest}")))
            .has("docker-content-digest", digest);
        app.head(format_args!("blobs/{digest}")).await.is(200);
        // The repository keeps the mounted blob.
        base.delete(format_args!("blobs/{digest}")).await.is(202);
        app.get(format_args!("blobs/{digest}")).await.is(200);
    }
}

#[tokio::test]
async fn failed_mount_becomes_an_upload() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let elsewhere = registry.repository("elsewhere").push_blob("content").await;
    let unknown = Algorithm::Sha512.digest(b"content");
    for query in [
        format!("mount={elsewhere}&from=base"),
        format!("mount={elsewhere}&from=No/Name"),
        format!("mount={unknown}&from=elsewhere"),
        format!("mount={unknown}"),
    ] {
        let location =
            registry.post(app.path(format_args!("blobs/uploads/?{query}"))).await.is(202).location();
        let digest = Algorithm::Sha512.digest(b"content");
        registry.put(format_args!("{location}?digest={digest}"), "content").await.is(201);
        app.delete(format_args!("blobs/{digest}")).await.is(202);
    }
    app.head(format_args!("blobs/{elsewhere}")).await.is(404);
}

#[tokio::test]
async fn upload_location_is_absolute_when_configured() {
    let mut registry = TestRegistry::start().await;
    let sources = wharfinger::config::Sources {
        environment: vec![("WHARFINGER_EXTERNAL_URL".into(), "https://registry.example.com/r/".into())],
        ..Default::default()
    };
    let external = wharfinger::config::Config::load(&sources).unwrap().config.external_url;
    registry.restart_with(|config| config.external_url = external).await;
    let app = registry.repository("app");
    let location = registry.post(app.path("blobs/uploads/")).await.is(202).location();
    assert!(location.starts_with("https://registry.example.com/r/v2/app/blobs/uploads/"), "{location}");
    let digest = Algorithm::Sha256.digest(b"x");
    let path = app.path(format_args!("blobs/uploads/?digest={digest}"));
    let ended = registry.request(Method::POST, path).body("x").ask().await.is(201);
    assert_eq!(ended.location(), format!("https://registry.example.com/r/v2/app/blobs/{digest}"));
}

#[tokio::test]
async fn upload_location_ignores_the_host_header() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let request = app.request(Method::POST, "blobs/uploads/");
    let request = request.header("host", "evil.example.com").header("x-forwarded-host", "evil.example.com");
    let location = request.header("x-forwarded-proto", "gopher").ask().await.is(202).location();
    assert!(location.starts_with("/v2/app/"), "{location}");
}

#[tokio::test]
async fn upload_keeps_bytes_before_a_broken_connection() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let content = random(100_000);
    let digest = Algorithm::Sha256.digest(&content);
    for half in ["content-length: 100000", "transfer-encoding: chunked"] {
        let location = app.begin_upload().await;
        let mut client = registry.connect().await;
        client.send(format!("PATCH {location} HTTP/1.1\r\nhost: x\r\n{half}\r\n\r\n")).await;
        if half.starts_with("transfer") {
            client.send(b"c350\r\n").await;
        }
        client.send(&content[..50_000]).await;
        drop(client);
        let has_half = async || registry.get(&location).await.is(204).header("range") == Some("0-49999");
        eventually("the server notices the broken connection", has_half).await;
        let rest = registry.request(Method::PATCH, &location).header("content-range", "50000-99999");
        rest.body(content[50_000..].to_vec()).ask().await.is(202);
        registry.put(format_args!("{location}?digest={digest}"), "").await.is(201);
        app.get(format_args!("blobs/{digest}")).await.is(200).carries(&content);
    }
}

#[tokio::test]
async fn torn_push_in_one_request_leaves_nothing() {
    let registry = TestRegistry::start().await;
    let digest = Algorithm::Sha256.digest(&[7; 1000]);
    let mut client = registry.connect().await;
    client
        .send(format!(
            "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n"
        ))
        .await;
    client.send([7; 500]).await;
    client.finish_sending().await;
    assert_eq!(client.answer().await.status, 400);
    registry.repository("app").head(format_args!("blobs/{digest}")).await.is(404);
    assert_eq!(registry.files("wharfinger/uploads").len(), 0);
    assert_eq!(registry.blob_files().len(), 0);
}

#[tokio::test]
async fn uploads_resume_after_a_restart() {
    let mut registry = TestRegistry::start().await;
    let content = random(500_000);
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = algorithm.digest(&content);
        let begin = format!("/v2/app/blobs/uploads/?digest-algorithm={algorithm}");
        let location = registry.post(begin).await.is(202).location();
        registry.restart().await;
        registry.patch(&location, content[..200_001].to_vec()).await.is(202);
        registry.restart().await;
        registry.get(&location).await.is(204).has("range", "0-200000");
        registry.patch(&location, content[200_001..300_000].to_vec()).await.is(202);
        registry.restart().await;
        let last = registry.request(Method::PUT, format_args!("{location}?digest={digest}"));
        let last = last.header("content-range", "300000-499999").body(content[300_000..].to_vec());
        last.ask().await.is(201);
        registry.restart().await;
        registry.repository("app").get(format_args!("blobs/{digest}")).await.is(200).carries(&content);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_uploads_of_a_blob_store_one() {
    let registry = TestRegistry::start().await;
    let content = random(300_000);
    let digest = Algorithm::Sha256.digest(&content);
    let pushes = (0..24).map(|number| {
        let app = registry.repository(&format!("app{}", number % 3));
        let content = content.clone();
        async move {
            match number % 2 {
                0 => {
                    app.push_blob(content).await;
                }
                _ => {
                    let location = app.begin_upload().await;
                    app.registry.patch(&location, streamed(&content[..150_000])).await.is(202);
                    let end = format!("{location}?digest={digest}");
                    app.registry.put(end, content[150_000..].to_vec()).await.is(201);
                }
            }
        }
    });
    join_all(pushes).await;
    for number in 0..3 {
        let app = registry.repository(&format!("app{number}"));
        app.get(format_args!("blobs/{digest}")).await.is(200).carries(&content);
    }
    assert_eq!(registry.blob_files().len(), 1);
    assert_eq!(registry.files("wharfinger/uploads").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_of_an_upload_take_turns() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let location = app.begin_upload().await;
    let mut first = registry.connect().await;
    let headers = "host: x\r\ncontent-length: 10\r\nexpect: 100-continue";
    first.send(format!("PATCH {location} HTTP/1.1\r\n{headers}\r\n\r\n")).await;
    assert_eq!(first.answer().await.status, 100, "the first writer holds the upload");
    first.send("01234").await;
    let mut second = registry.connect().await;
    let headers = "host: x\r\ncontent-length: 3\r\ncontent-range: 10-12";
    second.send(format!("PATCH {location} HTTP/1.1\r\n{headers}\r\n\r\nabc")).await;
    let early = timeout(Duration::from_millis(200), second.answer()).await;
    early.expect_err("the second writer waits for the first");
    first.send("56789").await;
    assert_eq!(first.answer().await.status, 202);
    let answer = second.answer().await;
    assert_eq!((answer.status, answer.header("range")), (202, Some("0-12")));
    let digest = Algorithm::Sha256.digest(b"0123456789abc");
    registry.put(format_args!("{location}?digest={digest}"), "").await.is(201);
}

#[tokio::test]
async fn blob_over_the_limit_is_413() {
    let registry = TestRegistry::start_with(|config| config.limits.blob_bytes = Some(10_000)).await;
    let app = registry.repository("app");
    let content = random(10_001);
    let digest = Algorithm::Sha256.digest(&content);
    let path = app.path(format_args!("blobs/uploads/?digest={digest}"));
    for body in [Body::from(content.clone()), streamed(&content)] {
        registry.request(Method::POST, &path).body(body).ask().await.fails(413, "BLOB_UPLOAD_INVALID");
    }
    let location = app.begin_upload().await;
    registry.patch(&location, content[..9_999].to_vec()).await.is(202);
    registry
        .request(Method::PATCH, &location)
        .header("content-range", "9999-10000")
        .body(content[9_999..].to_vec())
        .ask()
        .await
        .fails(413, "BLOB_UPLOAD_INVALID");
    registry.patch(&location, streamed(&content[9_999..])).await.fails(413, "BLOB_UPLOAD_INVALID");
    app.head(format_args!("blobs/{digest}")).await.is(404);
    app.push_blob(content[..10_000].to_vec()).await;
}

#[tokio::test]
async fn refused_push_gets_its_answer_while_sending() {
    let registry = TestRegistry::start_with(|config| config.limits.blob_bytes = Some(1000)).await;
    let digest = Algorithm::Sha256.digest(b"");
    let mut client = registry.connect().await;
    let head = format!(
        "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: x\r\ncontent-length: 8000000\r\n\r\n"
    );
    client.send(head).await;
    for _ in 0..8 {
        client.send(vec![0; 1_000_000]).await;
    }
    let answer = client.answer().await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn stalled_upload_body_is_408() {
    let limit = Duration::from_secs(2);
    let registry = TestRegistry::start_with(|config| {
        config.limits.body_timeout = limit;
        config.limits.idle_timeout = limit;
    })
    .await;
    let app = registry.repository("app");
    let location = app.begin_upload().await;
    let mut client = registry.connect().await;
    client.send(format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")).await;
    let mut sent = 0;
    // Each byte extends the timeout.
    registry
        .until_idle_timeout(async || {
            client.send([7]).await;
            sent += 1;
        })
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert_eq!(client.until_closed().await, b"");
    registry.get(&location).await.is(204).has("range", format_args!("0-{}", sent - 1));
    let mut client = registry.connect().await;
    client.send("PUT /v2/app/manifests/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{").await;
    assert_eq!(client.answer().await.status, 408);
}

#[tokio::test]
async fn expect_continue_is_answered_with_100() {
    let registry = TestRegistry::start().await;
    let digest = Algorithm::Sha256.digest(b"content");
    let mut client = registry.connect().await;
    client
        .send(format!(
            "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\nexpect: 100-continue\r\n\r\n"
        ))
        .await;
    assert_eq!(client.answer().await.status, 100);
    client.send("content").await;
    assert_eq!(client.answer().await.status, 201);
    // A refused request gets no 100.
    client
        .send("POST /v2/app/blobs/uploads/?digest=md5:x HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\nexpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 400);
}

#[tokio::test]
async fn abandoned_uploads_expire() {
    let mut registry = TestRegistry::start().await;
    let location = registry.repository("app").begin_upload().await;
    registry.patch(&location, random(1000)).await.is(202);
    assert_eq!(registry.files("wharfinger/uploads").len(), 1);
    // Each start looks for expired uploads.
    let has_expired = async || {
        registry.restart_with(|config| config.registry.upload_expiry = Duration::from_secs(1)).await;
        registry.get(&location).await.status == 404
    };
    eventually("the upload expires", has_expired).await;
    registry.get(&location).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(registry.files("wharfinger/uploads").len(), 0);
}

#[tokio::test]
async fn chunk_of_the_wrong_length_leaves_no_bytes() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let location = app.begin_upload().await;
    // Without a Content-Length, the length is known only at the end of the body.
    let chunk = async |first: usize, last: usize, body: &str| {
        let mut client = registry.connect().await;
        let head = format!(
            "PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-range: {first}-{last}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        client.send(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len())).await;
        client.answer().await.status
    };
    assert_eq!(chunk(0, 9, "01234").await, 400);
    registry.get(&location).await.is(204).has("range", "0-0");
    assert_eq!(chunk(0, 9, "0123456789").await, 202);
    for body in ["abcde", "abcdefghijklmno"] {
        assert_eq!(chunk(10, 19, body).await, 400);
        registry.get(&location).await.is(204).has("range", "0-9");
    }
    let large = "x".repeat(300_000);
    assert_eq!(chunk(10, 400_009, &large).await, 400);
    registry.get(&location).await.is(204).has("range", "0-9");
    assert_eq!(chunk(10, 19, "abcdefghij").await, 202);
    let content = b"0123456789abcdefghij";
    let digest = Algorithm::Sha256.digest(content);
    registry.put(format_args!("{location}?digest={digest}"), "").await.is(201);
    app.get(format_args!("blobs/{digest}")).await.is(200).carries(content);
}
