//! `/v2/<name>/referrers/<digest>`.

use oci::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::harness::{Image, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Repository, TestRegistry, index_manifest};

const SBOM: &str = "application/vnd.example.sbom+json";
const SIGNATURE: &str = "application/vnd.example.signature";

async fn push_referrer(app: &Repository<'_>, subject: &Image, artifact_type: &str, note: &str) -> Digest {
    let more = json!({
        "subject": subject.part().json(),
        "artifactType": artifact_type,
        "annotations": { "note": note },
    });
    app.push_image_saying(&format!("about-{note}"), more).await.digest
}

async fn referrers(app: &Repository<'_>, subject: &Digest, query: &str) -> Vec<Value> {
    let answer =
        app.get(format_args!("referrers/{subject}{query}")).await.is(200).has("content-type", OCI_INDEX);
    let index = answer.json();
    assert_eq!((&index["schemaVersion"], &index["mediaType"]), (&json!(2), &json!(OCI_INDEX)));
    index["manifests"].as_array().unwrap().clone()
}

fn digests(referrers: &[Value]) -> Vec<String> {
    referrers.iter().map(|referrer| referrer["digest"].as_str().unwrap().to_owned()).collect()
}

fn sorted(digests: &[Digest]) -> Vec<String> {
    let mut sorted: Vec<_> = digests.iter().map(Digest::to_string).collect();
    sorted.sort_unstable();
    sorted
}

#[tokio::test]
async fn referrers_list_every_referring_manifest() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let image = app.push_image("1").await;
    let sbom = push_referrer(&app, &image, SBOM, "one").await;
    let listed = referrers(&app, &image.digest, "").await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["digest"], sbom.to_string());
    assert_eq!(listed[0]["mediaType"], OCI_MANIFEST);
    assert_eq!(listed[0]["artifactType"], SBOM);
    assert_eq!(listed[0]["annotations"], json!({ "note": "one" }));
    let size = app.get(format_args!("manifests/{sbom}")).await.is(200).body.len();
    assert_eq!(listed[0]["size"], size);
}

#[tokio::test]
async fn referrer_artifact_type_falls_back_to_config() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let image = app.push_image("1").await;
    let plain = app.push_image_saying("plain", json!({ "subject": image.part().json() })).await;
    let mut index = index_manifest(&[]);
    index["subject"] = image.part().json();
    app.put_manifest("index", &index).await.is(201).has("oci-subject", image.digest);
    let listed = referrers(&app, &image.digest, "").await;
    let of =
        |digest: Digest| listed.iter().find(|referrer| referrer["digest"] == digest.to_string()).unwrap();
    assert_eq!(of(plain.digest)["artifactType"], OCI_CONFIG);
    let index = of(Algorithm::Sha256.digest(index.to_string().as_bytes()));
    assert_eq!(index["mediaType"], OCI_INDEX);
    assert!(index.get("artifactType").is_none() && index.get("annotations").is_none(), "{index}");
}

#[tokio::test]
async fn referrers_are_filtered_by_artifact_type() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let image = app.push_image("1").await;
    let sbom = push_referrer(&app, &image, SBOM, "one").await;
    let signature = push_referrer(&app, &image, SIGNATURE, "two").await;
    app.get(format_args!("referrers/{}", image.digest)).await.is(200).has_no("oci-filters-applied");
    for (wanted, found) in [
        ("application%2Fvnd.example.sbom%2Bjson", vec![sbom]),
        // Some clients send the plus unencoded.
        ("application/vnd.example.sbom+json", vec![sbom]),
        (SIGNATURE, vec![signature]),
        ("application/vnd.example.other", vec![]),
    ] {
        let path = format!("referrers/{}?artifactType={wanted}", image.digest);
        app.get(&path).await.is(200).has("oci-filters-applied", "artifactType");
        let listed = referrers(&app, &image.digest, &format!("?artifactType={wanted}")).await;
        assert_eq!(digests(&listed), sorted(&found), "{wanted}");
    }
}

#[tokio::test]
async fn referrers_come_in_pages() {
    let registry = TestRegistry::start_with(|config| config.limits.page_entries = 4).await;
    let app = registry.repository("app");
    let image = app.push_image("1").await;
    let (mut sboms, mut all) = (Vec::new(), Vec::new());
    for number in 0..9 {
        let artifact_type = if number % 3 == 0 { SIGNATURE } else { SBOM };
        let digest = push_referrer(&app, &image, artifact_type, &number.to_string()).await;
        all.push(digest);
        if artifact_type == SBOM {
            sboms.push(digest);
        }
    }
    for (query, expected, page_size) in [
        ("", &all, 4),
        ("?n=2", &all, 2),
        ("?n=1000000", &all, 4),
        ("?artifactType=application/vnd.example.sbom%2Bjson", &sboms, 4),
        ("?artifactType=application/vnd.example.sbom%2Bjson&n=1", &sboms, 1),
    ] {
        let mut found = Vec::new();
        let mut page = Some(app.path(format_args!("referrers/{}{query}", image.digest)));
        while let Some(address) = page {
            let answer = registry.get(address).await.is(200);
            let listed = digests(answer.json()["manifests"].as_array().unwrap());
            assert!(listed.len() <= page_size);
            found.extend(listed);
            page = answer.next_page();
        }
        assert_eq!(found, sorted(expected), "{query}");
    }
    app.get(format_args!("referrers/{}?last=x", image.digest)).await.fails(400, "DIGEST_INVALID");
    app.get(format_args!("referrers/{}?n=x", image.digest)).await.fails(400, "UNSUPPORTED");
}

#[tokio::test]
async fn referrers_of_unknown_digest_are_empty() {
    let registry = TestRegistry::start().await;
    let unknown = Algorithm::Sha256.digest(b"unknown");
    let app = registry.repository("app");
    assert_eq!(referrers(&app, &unknown, "").await, [] as [Value; 0]);
    app.push_image("1").await;
    assert_eq!(referrers(&app, &unknown, "").await, [] as [Value; 0]);
    for digest in ["sha256:abc", "latest", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:"] {
        app.get(format_args!("referrers/{digest}")).await.fails(400, "DIGEST_INVALID");
    }
}

#[tokio::test]
async fn referrers_stay_within_one_repository() {
    let registry = TestRegistry::start().await;
    let (app, other) = (registry.repository("app"), registry.repository("app/other"));
    let image = app.push_image("1").await;
    push_referrer(&app, &image, SBOM, "one").await;
    assert_eq!(referrers(&other, &image.digest, "").await, [] as [Value; 0]);
}

#[tokio::test]
async fn referrer_may_precede_its_subject() {
    let registry = TestRegistry::start().await;
    let (app, scratch) = (registry.repository("app"), registry.repository("scratch"));
    let image = scratch.push_image("1").await;
    let sbom = push_referrer(&app, &image, SBOM, "one").await;
    app.head(format_args!("manifests/{}", image.digest)).await.is(404);
    assert_eq!(digests(&referrers(&app, &image.digest, "").await), sorted(&[sbom]));
    app.delete(format_args!("manifests/{sbom}")).await.is(202);
    assert_eq!(referrers(&app, &image.digest, "").await, [] as [Value; 0]);
}
