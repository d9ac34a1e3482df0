//! `/v2/<name>/manifests/<tag-or-digest>`.

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use oci::Algorithm;
use oci::media_type::{DOCKER_CONFIG, DOCKER_LIST, DOCKER_MANIFEST};
use reqwest::{Body, Method};
use serde_json::json;

use crate::harness::{
    Ask, OCI_INDEX, OCI_MANIFEST, Part, TestRegistry, image_manifest, index_manifest, random,
};

#[tokio::test]
async fn image_is_pulled_by_tag_and_digest() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("official/ubuntu");
    let image = app.push_image("14.04").await;
    // Twice: the second answer comes from the cache.
    for _ in 0..2 {
        for (reference, cache_control) in
            [("14.04".to_owned(), "no-cache"), (image.digest.to_string(), "max-age=31536000, immutable")]
        {
            for method in [Method::GET, Method::HEAD] {
                let answer = app.request(method.clone(), format_args!("manifests/{reference}")).ask().await;
                answer
                    .is(200)
                    .has("content-type", OCI_MANIFEST)
                    .has("content-length", image.manifest.len())
                    .has("docker-content-digest", image.digest)
                    .has("etag", format_args!("\"{}\"", image.digest))
                    .has("cache-control", cache_control)
                    .has("docker-distribution-api-version", "registry/2.0")
                    .carries(if method == Method::GET { &image.manifest[..] } else { b"" });
            }
        }
    }
    for (digest, content) in image.blobs {
        app.get(format_args!("blobs/{digest}")).await.is(200).carries(content);
    }
}

#[tokio::test]
async fn manifest_bytes_are_kept_exactly() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let config = Part::config(b"{}");
    app.push_blob("{}").await;
    let manifest = format!(
        "{{ \"schemaVersion\" : 2,\n\t\"mediaType\":\"{OCI_MANIFEST}\",  \"config\": {},\r\n \"layers\":[],\
         \"com.example.unknown\": {{\"deep\":[1.0,1e3,\"\\u00e9\"]}}, \"annotations\":{{\"b\":\"2\",\"a\":\"1\"}} }}\n\n",
        config.json()
    );
    let digest = Algorithm::Sha256.digest(manifest.as_bytes());
    app.put_manifest_as("odd", OCI_MANIFEST, manifest.clone())
        .await
        .is(201)
        .has("docker-content-digest", digest)
        .has("location", app.path(format_args!("manifests/{digest}")));
    app.get("manifests/odd").await.is(200).carries(&manifest);
    app.get(format_args!("manifests/{digest}")).await.is(200).carries(&manifest);
}

#[tokio::test]
async fn manifest_is_returned_as_pushed_for_any_accept() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    app.push_image("1").await;
    for accept in
        ["application/vnd.docker.distribution.manifest.v1+json", DOCKER_MANIFEST, "text/html", "*/*"]
    {
        let request = app.request(Method::GET, "manifests/1").header("accept", accept);
        request.ask().await.is(200).has("content-type", OCI_MANIFEST);
    }
}

#[tokio::test]
async fn every_manifest_kind_is_accepted() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let (amd64, arm64) = (app.push_image("amd64").await, app.push_image("arm64").await);

    let index = index_manifest(&[amd64.part(), arm64.part()]);
    app.put_manifest("index", &index).await.is(201);
    app.get("manifests/index").await.is(200).has("content-type", OCI_INDEX).carries(index.to_string());

    let nested = index_manifest(&[Part::of(OCI_INDEX, index.to_string().as_bytes()), amd64.part()]);
    app.put_manifest("nested", &nested).await.is(201);

    app.put_manifest("nothing", &index_manifest(&[])).await.is(201);

    let empty = Part::of("application/vnd.oci.empty.v1+json", b"{}");
    app.push_blob("{}").await;
    let mut artifact = image_manifest(&empty, &[]);
    artifact["artifactType"] = json!("application/vnd.example.sbom");
    app.put_manifest("artifact", &artifact).await.is(201);

    let docker = json!({
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": Part::of(DOCKER_CONFIG, &amd64.blobs[0].1).json(),
        "layers": [Part::of("application/vnd.docker.image.rootfs.diff.tar.gzip", &amd64.blobs[1].1).json()],
    });
    app.put_manifest("docker", &docker).await.is(201);
    app.get("manifests/docker")
        .await
        .is(200)
        .has("content-type", DOCKER_MANIFEST)
        .carries(docker.to_string());

    let part = Part::of(DOCKER_MANIFEST, docker.to_string().as_bytes());
    let list = json!({ "schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [part.json()] });
    app.put_manifest("list", &list).await.is(201);
    app.get("manifests/list").await.is(200).has("content-type", DOCKER_LIST).carries(list.to_string());
}

#[tokio::test]
async fn foreign_layers_may_be_absent() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    app.push_blob("{}").await;
    for media_type in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ] {
        let manifest = image_manifest(&Part::config(b"{}"), &[Part::of(media_type, &random(10))]);
        app.put_manifest("foreign", &manifest).await.is(201);
    }
}

#[tokio::test]
async fn missing_media_type_falls_back_to_content_type() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    app.push_blob("{}").await;
    let mut manifest = image_manifest(&Part::config(b"{}"), &[]);
    manifest.as_object_mut().unwrap().remove("mediaType");
    // Parameters of the media type are ignored.
    let content_type = format!("{OCI_MANIFEST}; charset=utf-8");
    app.put_manifest_as("1", &content_type, manifest.to_string()).await.is(201);
    app.get("manifests/1").await.is(200).has("content-type", OCI_MANIFEST);
}

#[tokio::test]
async fn wrong_description_of_a_manifest_is_refused() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let image = app.push_image("v1").await;
    let right = image.part();
    let wrong_size = Part { size: right.size + 1, ..right.clone() };
    let wrong_type = Part { media_type: OCI_INDEX.to_owned(), ..right.clone() };
    for (wrong, reason) in [(&wrong_size, "bytes, but it has"), (&wrong_type, "but it was pushed as")] {
        let index = index_manifest(&[(*wrong).clone()]);
        let refused = app.put_manifest("index", &index).await.fails(400, "MANIFEST_INVALID").text();
        assert!(refused.contains(reason), "{refused}");
        let mut artifact = image_manifest(&Part::config(b"{}"), &[]);
        app.push_blob(b"{}".to_vec()).await;
        artifact["subject"] = wrong.json();
        let refused = app.put_manifest("about", &artifact).await.fails(400, "MANIFEST_INVALID").text();
        assert!(refused.contains(reason), "{refused}");
    }
    app.put_manifest("index", &index_manifest(&[right])).await.is(201);
    // In another repository, which lacks the subject, nothing is known of it.
    let other = registry.repository("other");
    other.push_blob(b"{}".to_vec()).await;
    let mut artifact = image_manifest(&Part::config(b"{}"), &[]);
    artifact["subject"] = wrong_size.json();
    other.put_manifest("about", &artifact).await.is(201);
}

#[tokio::test]
async fn manifest_with_too_many_parts_is_refused() {
    let registry = TestRegistry::start_with(|config| config.registry.sparse_indexes = true).await;
    let app = registry.repository("app");
    let parts = |count: u32| (0..count).map(|n| Part::of(OCI_MANIFEST, &n.to_be_bytes())).collect::<Vec<_>>();
    let refused =
        app.put_manifest("all", &index_manifest(&parts(10_001))).await.fails(400, "MANIFEST_INVALID");
    assert!(refused.text().contains("at most 10,000"), "{}", refused.text());
    app.put_manifest("all", &index_manifest(&parts(10_000))).await.is(201);
}

#[tokio::test]
async fn absent_subject_is_acknowledged() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let missing = Part::of(OCI_MANIFEST, b"not here");
    let image = app.push_image("1").await;
    for subject in [missing, image.part()] {
        let mut artifact = image_manifest(&Part::config(&image.blobs[0].1), &[]);
        artifact["subject"] = subject.json();
        app.put_manifest("about", &artifact).await.is(201).has("oci-subject", subject.digest);
    }
    app.put_manifest("plain", &image_manifest(&Part::config(&image.blobs[0].1), &[]))
        .await
        .is(201)
        .has_no("oci-subject");
}

#[tokio::test]
async fn manifest_push_by_digest_may_name_tags() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let config = random(20);
    app.push_blob(config.clone()).await;
    let manifest = image_manifest(&Part::config(&config), &[]).to_string();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = algorithm.digest(manifest.as_bytes());
        let query: String = (0..12).map(|number| format!("&tag={algorithm}-{number}")).collect();
        let reference = format!("{digest}?tag=1.2.3{query}&tag=1.2.3");
        let answer = app.put_manifest_as(&reference, OCI_MANIFEST, manifest.clone()).await.is(201);
        let mut expected = vec!["1.2.3".to_owned()];
        expected.extend((0..12).map(|number| format!("{algorithm}-{number}")));
        let named: Vec<_> =
            answer.headers.get_all("oci-tag").iter().map(|tag| tag.to_str().unwrap()).collect();
        assert_eq!(named, expected);
        for tag in expected {
            assert_eq!(app.digest_of(&tag).await, digest);
        }
    }
    let digest = Algorithm::Sha256.digest(manifest.as_bytes());
    for bad in ["-x", "", "a%20b", "..", "a/b"] {
        let reference = format!("{digest}?tag=good&tag={bad}");
        app.put_manifest_as(&reference, OCI_MANIFEST, manifest.clone()).await.fails(400, "MANIFEST_INVALID");
    }
    app.head("manifests/good").await.is(404);
}

#[tokio::test]
async fn manifest_push_by_wrong_digest_is_refused() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    app.push_blob("{}").await;
    let manifest = image_manifest(&Part::config(b"{}"), &[]).to_string();
    let other = Algorithm::Sha256.digest(b"other");
    for (reference, code) in [
        (format!("{other}?tag=1"), "DIGEST_INVALID"),
        ("sha256:short".to_owned(), "DIGEST_INVALID"),
        ("md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(), "DIGEST_INVALID"),
        (".dot".to_owned(), "MANIFEST_INVALID"),
        ("x".repeat(129), "MANIFEST_INVALID"),
    ] {
        app.put_manifest_as(&reference, OCI_MANIFEST, manifest.clone()).await.fails(400, code);
    }
    assert_eq!(app.tags().await, [] as [&str; 0]);
}

#[tokio::test]
async fn missing_manifest_parts_are_all_named() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let here = app.push_blob("here").await;
    let elsewhere = registry.repository("other").push_blob("elsewhere").await;
    let manifest = image_manifest(
        &Part::config(b"no config"),
        &[Part::layer(b"here"), Part::layer(b"no layer"), Part::layer(b"elsewhere")],
    );
    let answer = app.put_manifest("1", &manifest).await.fails(400, "MANIFEST_BLOB_UNKNOWN");
    let json = answer.json();
    let named: Vec<_> =
        json["errors"].as_array().unwrap().iter().map(|error| &error["detail"]["digest"]).collect();
    let missing =
        [b"no config", &b"no layer"[..], b"elsewhere"].map(|part| Algorithm::Sha256.digest(part).to_string());
    assert_eq!(named, missing.iter().collect::<Vec<_>>());
    assert!(!answer.text().contains(&here.to_string()));
    assert!(answer.text().contains(&elsewhere.to_string()), "what another repository has does not count");
    app.head("manifests/1").await.is(404);

    let index = index_manifest(&[Part::of(OCI_MANIFEST, b"no image")]);
    app.put_manifest("1", &index).await.fails(400, "MANIFEST_BLOB_UNKNOWN");
}

#[tokio::test]
async fn sparse_index_needs_the_setting() {
    let registry = TestRegistry::start_with(|config| config.registry.sparse_indexes = true).await;
    let app = registry.repository("app");
    let image = app.push_image("amd64").await;
    let index = index_manifest(&[image.part(), Part::of(OCI_MANIFEST, b"not copied")]);
    app.put_manifest("1", &index).await.is(201);
    app.get("manifests/1").await.is(200).carries(index.to_string());
}

#[tokio::test]
async fn sparse_image_needs_the_setting() {
    let registry = TestRegistry::start_with(|config| config.registry.sparse_images = true).await;
    let app = registry.repository("app");
    app.push_blob("{}").await;
    let image = image_manifest(&Part::config(b"{}"), &[Part::layer(b"not copied")]);
    app.put_manifest("1", &image).await.is(201);
    app.get("manifests/1").await.is(200).carries(image.to_string());
    let missing = Algorithm::Sha256.digest(b"not copied");
    app.get(format_args!("blobs/{missing}")).await.fails(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn manifest_with_duplicate_keys_is_refused() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let image = app.push_image("1").await;
    let mut both = image_manifest(&Part::config(&image.blobs[0].1), &[]);
    both["manifests"] = json!([image.part().json()]);
    app.put_manifest("both", &both).await.fails(400, "MANIFEST_INVALID");
    let mut both = index_manifest(&[image.part()]);
    both["layers"] = json!([]);
    app.put_manifest("both", &both).await.fails(400, "MANIFEST_INVALID");
    // The header and the document must agree.
    let manifest = image_manifest(&Part::config(&image.blobs[0].1), &[]).to_string();
    for content_type in [OCI_INDEX, DOCKER_MANIFEST, "application/json"] {
        app.put_manifest_as("both", content_type, manifest.clone()).await.fails(400, "MANIFEST_INVALID");
    }
    assert_eq!(app.tags().await, ["1"]);
}

#[tokio::test]
async fn malformed_manifest_is_refused() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    for bytes in [
        &b""[..],
        b"not json",
        b"[]",
        b"{}",
        b"{\"schemaVersion\":1}",
        b"{\"schemaVersion\":2}",
        b"{\"schemaVersion\":2,\"config\":{},\"layers\":[]}",
        b"\xff\xfe",
        b"{\"schemaVersion\":2,\"layers\":[",
    ] {
        app.put_manifest_as("1", OCI_MANIFEST, bytes.to_vec()).await.fails(400, "MANIFEST_INVALID");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    app.put_manifest_as("1", OCI_MANIFEST, deep).await.fails(400, "MANIFEST_INVALID");
    app.get("tags/list").await.fails(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn foreign_manifest_type_is_415() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    app.push_blob("{}").await;
    let mut manifest = image_manifest(&Part::config(b"{}"), &[]);
    manifest.as_object_mut().unwrap().remove("mediaType");
    for content_type in
        ["application/json", "text/plain", "nonsense", "application/vnd.docker.distribution.manifest.v1+json"]
    {
        app.put_manifest_as("1", content_type, manifest.to_string()).await.fails(415, "MANIFEST_INVALID");
    }
}

#[tokio::test]
async fn manifest_over_the_limit_is_413() {
    let registry = TestRegistry::start_with(|config| config.limits.manifest_bytes = 4 << 20).await;
    let app = registry.repository("app");
    app.push_blob("{}").await;
    let sized = |bytes: usize| {
        let mut manifest = image_manifest(&Part::config(b"{}"), &[]);
        manifest["annotations"] = json!({ "padding": "" });
        let padding = "x".repeat(bytes - manifest.to_string().len());
        manifest["annotations"]["padding"] = json!(padding);
        manifest.to_string()
    };
    let largest = sized(4 << 20);
    assert_eq!(largest.len(), 4 << 20);
    app.put_manifest_as("large", OCI_MANIFEST, largest.clone()).await.is(201);
    app.get("manifests/large").await.is(200).carries(largest);
    let over = sized((4 << 20) + 1);
    app.put_manifest_as("over", OCI_MANIFEST, over.clone()).await.fails(413, "MANIFEST_INVALID");
    let pieces = over
        .into_bytes()
        .chunks(100_000)
        .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
        .collect::<Vec<_>>();
    let endless = Body::wrap_stream(stream::iter(pieces));
    app.put_manifest_as("over", OCI_MANIFEST, endless).await.fails(413, "MANIFEST_INVALID");
    assert_eq!(app.tags().await, ["large"]);
}

#[tokio::test]
async fn absent_manifest_is_404() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let digest = app.push_image("1").await.digest;
    let nowhere = registry.repository("nowhere");
    nowhere.get("manifests/1").await.fails(404, "NAME_UNKNOWN");
    nowhere.get(format_args!("manifests/{digest}")).await.fails(404, "NAME_UNKNOWN");
    app.get("manifests/2").await.fails(404, "MANIFEST_UNKNOWN");
    let other = Algorithm::Sha256.digest(b"other");
    app.get(format_args!("manifests/{other}")).await.fails(404, "MANIFEST_UNKNOWN");
    app.head("manifests/2").await.is(404);
    app.delete("manifests/2").await.fails(404, "MANIFEST_UNKNOWN");
    app.delete(format_args!("manifests/{other}")).await.fails(404, "MANIFEST_UNKNOWN");
    nowhere.delete("manifests/1").await.fails(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn tag_deletion_keeps_the_manifest() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let image = app.push_image("1.0").await;
    app.put_manifest_as("latest", OCI_MANIFEST, image.manifest.clone()).await.is(201);
    app.get("manifests/1.0").await.is(200);
    app.delete("manifests/1.0").await.is(202);
    app.get("manifests/1.0").await.fails(404, "MANIFEST_UNKNOWN");
    app.get("manifests/latest").await.is(200).carries(&image.manifest);
    app.delete("manifests/latest").await.is(202);
    app.get(format_args!("manifests/{}", image.digest)).await.is(200).carries(&image.manifest);
    app.get("tags/list").await.is(200).carries("{\"name\":\"app\",\"tags\":[]}");
}

#[tokio::test]
async fn manifest_deletion_removes_its_tags() {
    let registry = TestRegistry::start().await;
    let (app, other) = (registry.repository("app"), registry.repository("other"));
    let image = app.push_image("1.0").await;
    app.put_manifest_as("latest", OCI_MANIFEST, image.manifest.clone()).await.is(201);
    let kept = app.push_image("2.0").await;
    for (digest, _) in &image.blobs {
        registry.post(other.path(format_args!("blobs/uploads/?mount={digest}&from=app"))).await.is(201);
    }
    other.put_manifest_as("1.0", OCI_MANIFEST, image.manifest.clone()).await.is(201);
    // Fetched before, so that the cache has the manifest.
    app.get("manifests/1.0").await.is(200);
    app.get("manifests/latest").await.is(200);
    app.delete(format_args!("manifests/{}", image.digest)).await.is(202);
    for reference in ["1.0".to_owned(), "latest".to_owned(), image.digest.to_string()] {
        app.get(format_args!("manifests/{reference}")).await.fails(404, "MANIFEST_UNKNOWN");
        app.head(format_args!("manifests/{reference}")).await.is(404);
    }
    assert_eq!(app.tags().await, ["2.0"]);
    app.get("manifests/2.0").await.is(200).carries(&kept.manifest);
    other.get("manifests/1.0").await.is(200).carries(&image.manifest);
}

#[tokio::test]
async fn disabled_deletion_holds_on_every_path() {
    let registry = TestRegistry::start_with(|config| config.registry.delete = false).await;
    let app = registry.repository("app");
    let image = app.push_image("1").await;
    for path in [
        app.path("manifests/1"),
        app.path(format_args!("manifests/{}", image.digest)),
        app.path(format_args!("blobs/{}", image.blobs[0].0)),
        "/api/v1/repositories/app".to_owned(),
        // A HEAD does not reveal other content either.
        app.path("manifests/2"),
        app.path(format_args!("blobs/{}", Algorithm::Sha256.digest(b"other"))),
    ] {
        let answer = registry.delete(&path).await.fails(405, "UNSUPPORTED");
        assert!(!answer.header("allow").unwrap().contains("DELETE"), "{path}");
    }
    app.get("manifests/1").await.is(200);
    // An upload is no content yet, and can be cancelled.
    let location = app.begin_upload().await;
    registry.delete(location).await.is(204);
}

#[tokio::test]
async fn if_none_match_returns_304() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let (old, new) = (app.push_image("1").await, app.push_image("2").await);
    let ask = |reference: String, known: String| {
        app.request(Method::GET, format_args!("manifests/{reference}")).header("if-none-match", known).ask()
    };
    let etag = format!("\"{}\"", old.digest);
    ask("1".to_owned(), etag.clone())
        .await
        .is(304)
        .has("etag", &etag)
        .has("docker-content-digest", old.digest)
        .carries("");
    ask(old.digest.to_string(), format!("W/{etag}")).await.is(304);
    ask("2".to_owned(), etag.clone()).await.is(200).carries(&new.manifest);
    // After a move of the tag, the client gets the new manifest.
    app.put_manifest_as("1", OCI_MANIFEST, new.manifest.clone()).await.is(201);
    ask("1".to_owned(), etag).await.is(200).carries(&new.manifest);
}

#[tokio::test]
async fn moved_tag_is_visible_at_once() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    for _ in 0..10 {
        let image = app.push_image("latest").await;
        app.get("manifests/latest").await.is(200).carries(&image.manifest);
        assert_eq!(app.digest_of("latest").await, image.digest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_pushes_to_a_tag_leave_one() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let images = join_all((0..16).map(|number| {
        let app = app.clone();
        async move { app.push_image(&format!("image-{number}")).await }
    }))
    .await;
    let pushes = images.iter().map(|image| async {
        app.put_manifest_as("latest", OCI_MANIFEST, image.manifest.clone()).await.is(201);
        // The tag names exactly one of the pushed manifests.
        let answer = app.get("manifests/latest").await.is(200);
        assert!(images.iter().any(|image| image.manifest == answer.body));
    });
    join_all(pushes).await;
    let winner = app.digest_of("latest").await;
    let winner = images.iter().find(|image| image.digest == winner).unwrap();
    for _ in 0..5 {
        app.get("manifests/latest").await.is(200).carries(&winner.manifest);
    }
    for (number, image) in images.iter().enumerate() {
        assert_eq!(app.digest_of(&format!("image-{number}")).await, image.digest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_tag_never_goes_back_for_readers() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let mut images = Vec::new();
    for number in 0..20 {
        images.push(app.push_image(&format!("image-{number}")).await);
    }
    app.put_manifest_as("latest", OCI_MANIFEST, images[0].manifest.clone()).await.is(201);
    let position = |body: &[u8]| images.iter().position(|image| image.manifest == body).expect("one of them");
    let pusher = async {
        for image in &images[1..] {
            app.put_manifest_as("latest", OCI_MANIFEST, image.manifest.clone()).await.is(201);
        }
    };
    let puller = async {
        let mut newest = 0;
        while newest < images.len() - 1 {
            let found = position(&app.get("manifests/latest").await.is(200).body);
            assert!(found >= newest, "{found} after {newest}");
            newest = found;
        }
    };
    tokio::join!(pusher, puller);
}

#[tokio::test]
async fn manifest_head_changes_nothing() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    for path in ["manifests/1", "tags/list", "blobs/uploads/00000000-0000-0000-0000-000000000000"] {
        app.head(path).await.is(404);
    }
    registry.get("/v2/_catalog").await.is(200).carries("{\"repositories\":[]}");
    app.get("tags/list").await.fails(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn images_survive_a_restart() {
    let mut registry = TestRegistry::start().await;
    let image = registry.repository("app").push_image("1").await;
    registry.restart().await;
    let app = registry.repository("app");
    app.get("manifests/1").await.is(200).has("content-type", OCI_MANIFEST).carries(&image.manifest);
    for (digest, content) in &image.blobs {
        app.get(format_args!("blobs/{digest}")).await.is(200).carries(content);
    }
}
