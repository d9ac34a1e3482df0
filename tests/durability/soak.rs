//! Soak: clients push, mount and delete while garbage is collected every few seconds, with kills. After each
//! round every tag is pulled down to its last blob. In the end the disk holds what is reachable and nothing
//! else. All repositories share layers, so that mounts, deletions and collections meet.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oci::media_type::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use oci::{Algorithm, Digest};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{NoAnswer, Request as _};
use crate::faults::{Control, number, preloaded};
use crate::random::{Random, content};
use crate::rounds::{self, Workers};
use crate::server::Server;

/// Rounds of the ordinary run. `just soak 500 7` makes a long one (rounds, seed).
const ROUNDS: u64 = 3;
const CLIENTS: u64 = 8;
/// Acknowledged operations before the kill that ends a round.
const OPERATIONS: u64 = 150;
/// Layers that all repositories share.
const LAYERS: u64 = 24;
/// Uploads without an image, and deleted images, are kept for less than this number of seconds.
const KEPT: i64 = 2 * 60 * 60;
/// Seconds after a start for which a blob is kept that the last process may have promised to a push.
const LEASE: i64 = 10 * 60;

const SETTINGS: &str = r#"
[registry]
upload_expiry = "1h"
[gc]
grace = "2s"
interval = "2s"
untagged = "0s"
"#;

/// A tag that clients use in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    /// An image that is pushed again and again.
    Latest,
    /// An image that is pushed and deleted.
    Release(u64),
    /// An index of two platforms with attestations, and a signature.
    Multi,
}

impl Tag {
    const ALL: [Self; 4] = [Self::Latest, Self::Release(0), Self::Release(1), Self::Multi];

    fn name(self) -> String {
        match self {
            Self::Latest => "latest".to_owned(),
            Self::Release(number) => format!("1.{number}"),
            Self::Multi => "multi".to_owned(),
        }
    }
}

/// A manifest with the blobs that it needs.
struct Built {
    content: String,
    media_type: &'static str,
    digest: Digest,
    blobs: Vec<Vec<u8>>,
}

impl Built {
    fn new(media_type: &'static str, document: Value, blobs: Vec<Vec<u8>>) -> Self {
        let content = document.to_string();
        Self { digest: Algorithm::Sha256.digest(content.as_bytes()), content, media_type, blobs }
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.content.len() })
    }
}

fn part(media_type: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Algorithm::Sha256.digest(blob), "size": blob.len() })
}

fn layer(number: u64) -> Vec<u8> {
    let number = number % LAYERS;
    content(number, [1_500, 30_000, 120_000][usize::try_from(number % 3).unwrap()])
}

fn image(seed: u64, architecture: &str) -> Built {
    let config =
        json!({ "architecture": architecture, "os": "linux", "seed": seed }).to_string().into_bytes();
    let layers = [layer(seed), layer(seed * 7 + 3)];
    let parts = layers.each_ref().map(|layer| part("application/vnd.oci.image.layer.v1.tar+gzip", layer));
    let document = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": part(OCI_CONFIG, &config), "layers": parts,
    });
    Built::new(OCI_MANIFEST, document, [vec![config], layers.to_vec()].concat())
}

/// A manifest as BuildKit attests another one in its index.
fn attestation(of: &Digest) -> Built {
    let config = json!({ "architecture": "unknown", "os": "unknown", "of": of }).to_string().into_bytes();
    let statement =
        json!({ "_type": "https://in-toto.io/Statement/v0.1", "of": of }).to_string().into_bytes();
    let document = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": part(OCI_CONFIG, &config),
        "layers": [part("application/vnd.in-toto+json", &statement)],
    });
    Built::new(OCI_MANIFEST, document, vec![config, statement])
}

/// An index, and the manifests that it lists.
fn index(seed: u64) -> (Built, Vec<Built>) {
    let (mut entries, mut children) = (Vec::new(), Vec::new());
    for architecture in ["amd64", "arm64"] {
        let image = image(seed, architecture);
        let attestation = attestation(&image.digest);
        let mut entry = image.descriptor();
        entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
        let mut attested = attestation.descriptor();
        attested["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
        attested["annotations"] = json!({
            "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest,
        });
        entries.extend([entry, attested]);
        children.extend([image, attestation]);
    }
    let document = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries });
    (Built::new(OCI_INDEX, document, Vec::new()), children)
}

/// Signatures of an index: a referrer, and one for a tag that is derived from the digest, as older clients
/// push it.
fn signatures(of: &Built) -> [Built; 2] {
    [Some(of.descriptor()), None].map(|subject| {
        let config = b"{}".to_vec();
        let payload =
            json!({ "critical": of.digest, "referrer": subject.is_some() }).to_string().into_bytes();
        let mut document = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": part(OCI_CONFIG, &config),
            "layers": [part("application/vnd.dev.cosign.simplesigning.v1+json", &payload)],
        });
        if let Some(subject) = subject {
            document["subject"] = subject;
            document["artifactType"] = "application/vnd.dev.cosign.artifact.sig.v1+json".into();
        }
        Built::new(OCI_MANIFEST, document, vec![config, payload])
    })
}

fn signature_tag(of: &Digest) -> String {
    format!("sha256-{}.sig", of.hex())
}

/// The possible states of a tag: the seed of its image, or none. One after an acknowledged operation.
#[derive(Clone, Debug)]
struct States {
    seeds: Vec<Option<u64>>,
    /// Both signatures of this state were acknowledged.
    is_signed: bool,
}

struct Worker {
    number: u64,
    random: Random,
    model: BTreeMap<Tag, States>,
    checked: Arc<AtomicU64>,
}

impl Worker {
    fn new(number: u64, seed: u64, checked: Arc<AtomicU64>) -> Self {
        let unknown = States { seeds: vec![None], is_signed: false };
        let model = Tag::ALL.map(|tag| (tag, unknown.clone())).into();
        Self { number, random: Random::new(seed, number), model, checked }
    }

    fn repository(&self) -> String {
        format!("team/r{}", self.number)
    }

    async fn operate(&mut self, http: &Client, url: &str) -> Result<(), NoAnswer> {
        let seed = self.random.below(60);
        match self.random.below(12) {
            0..=3 => self.push(http, url, Tag::Latest, seed).await,
            4 | 5 => {
                let tag = Tag::Release(self.random.below(2));
                self.push(http, url, tag, seed).await
            }
            6 => {
                let tag = Tag::Release(self.random.below(2));
                self.delete(http, url, tag, &tag.name()).await
            }
            7 | 8 => {
                self.push(http, url, Tag::Multi, seed).await?;
                self.sign(http, url, seed).await
            }
            9 => match self.model[&Tag::Multi].seeds[..] {
                // By digest, which deletes its tags as well.
                [Some(seed)] => self.delete(http, url, Tag::Multi, &index(seed).0.digest.to_string()).await,
                _ => self.delete(http, url, Tag::Multi, "multi").await,
            },
            _ => {
                let tag = Tag::ALL[usize::try_from(self.random.below(4)).unwrap()];
                self.look(http, url, tag).await.map(drop)
            }
        }
    }

    /// Records that an operation may lead to this state, before it is sent.
    fn may_become(&mut self, tag: Tag, seed: Option<u64>) {
        let states = self.model.get_mut(&tag).unwrap();
        states.seeds.push(seed);
        states.is_signed = false;
    }

    fn is_now(&mut self, tag: Tag, seed: Option<u64>) {
        self.model.insert(tag, States { seeds: vec![seed], is_signed: false });
    }

    async fn push(&mut self, http: &Client, url: &str, tag: Tag, seed: u64) -> Result<(), NoAnswer> {
        self.may_become(tag, Some(seed));
        let (top, children) = match tag {
            Tag::Multi => index(seed),
            _ => (image(seed, "amd64"), Vec::new()),
        };
        for child in &children {
            self.put(http, url, child, &child.digest.to_string()).await?;
        }
        for child in &children {
            // From now on the registry keeps it for the index, although it has no tag.
            let path = format!("{url}/v2/{}/manifests/{}", self.repository(), child.digest);
            while http.head(&path).answer().await?.status() == StatusCode::NOT_FOUND {
                self.put(http, url, child, &child.digest.to_string()).await?;
            }
        }
        self.put(http, url, &top, &tag.name()).await?;
        self.is_now(tag, Some(seed));
        Ok(())
    }

    async fn sign(&mut self, http: &Client, url: &str, seed: u64) -> Result<(), NoAnswer> {
        let (index, _) = index(seed);
        let [referrer, tagged] = signatures(&index);
        self.put(http, url, &referrer, &referrer.digest.to_string()).await?;
        self.put(http, url, &tagged, &signature_tag(&index.digest)).await?;
        self.model.get_mut(&Tag::Multi).unwrap().is_signed = true;
        Ok(())
    }

    /// Pushes the blobs of a manifest that the repository lacks, and then the manifest.
    async fn put(&mut self, http: &Client, url: &str, built: &Built, target: &str) -> Result<(), NoAnswer> {
        let repository = self.repository();
        for blob in &built.blobs {
            let digest = Algorithm::Sha256.digest(blob);
            let head = http.head(format!("{url}/v2/{repository}/blobs/{digest}")).answer().await?;
            if head.status() == StatusCode::OK {
                continue;
            }
            let uploads = format!("{url}/v2/{repository}/blobs/uploads/");
            let from = format!("team/r{}", self.random.below(CLIENTS));
            let asked = match self.random.below(2) {
                0 => http.post(format!("{uploads}?mount={digest}&from={from}")).answer().await?,
                _ => http.post(format!("{uploads}?digest={digest}")).body(blob.clone()).answer().await?,
            };
            let stored = match asked.status() {
                // The other repository does not have it: an ordinary upload begins.
                StatusCode::ACCEPTED => {
                    let location = asked.headers()["location"].to_str().unwrap().to_owned();
                    http.put(format!("{url}{location}?digest={digest}")).body(blob.clone()).answer().await?
                }
                _ => asked,
            };
            expect(stored, StatusCode::CREATED, &format!("blob {digest} of {repository}")).await;
        }
        let put = http
            .put(format!("{url}/v2/{repository}/manifests/{target}"))
            .header("content-type", built.media_type)
            .body(built.content.clone());
        expect(put.answer().await?, StatusCode::CREATED, &format!("{repository}, manifest {target}")).await;
        Ok(())
    }

    async fn delete(&mut self, http: &Client, url: &str, tag: Tag, target: &str) -> Result<(), NoAnswer> {
        self.may_become(tag, None);
        let path = format!("{url}/v2/{}/manifests/{target}", self.repository());
        let answer = http.delete(path).answer().await?;
        let status = answer.status();
        let is_right = [StatusCode::ACCEPTED, StatusCode::NOT_FOUND].contains(&status);
        assert!(is_right, "deletion of {}, {target}: {status}", self.repository());
        self.is_now(tag, None);
        Ok(())
    }

    /// Pulls a tag down to its last blob, and compares it with the possible states. Returns the state.
    async fn look(&self, http: &Client, url: &str, tag: Tag) -> Result<Option<u64>, NoAnswer> {
        let (repository, states) = (self.repository(), &self.model[&tag]);
        let name = format!("{repository}:{}, which may be {states:?}", tag.name());
        let Some(top) = pull(http, url, &repository, &tag.name()).await? else {
            assert!(states.seeds.contains(&None), "{name}: it is gone");
            return Ok(None);
        };
        let build = |seed: u64| match tag {
            Tag::Multi => index(seed).0,
            _ => image(seed, "amd64"),
        };
        let state = states.seeds.iter().flatten().find(|seed| build(**seed).content.as_bytes() == top);
        let Some(seed) = state.copied() else {
            let history = format!("{url}/api/v1/repositories/{repository}/_history?tag={}", tag.name());
            let history = http.get(history).answer().await?.text().await?;
            panic!("{name}, is {}; its history: {history}", String::from_utf8_lossy(&top));
        };
        if states.is_signed {
            let index = build(seed);
            let [referrer, _] = signatures(&index);
            let listed = http.get(format!("{url}/v2/{repository}/referrers/{}", index.digest));
            let listed = listed.answer().await?.text().await?;
            assert!(listed.contains(&referrer.digest.to_string()), "{name}: its referrers are {listed}");
            for target in [referrer.digest.to_string(), signature_tag(&index.digest)] {
                let signature = pull(http, url, &repository, &target).await?;
                assert!(signature.is_some(), "{name}: its signature {target} is gone");
            }
        }
        Ok(Some(seed))
    }
}

impl rounds::Worker for Worker {
    async fn step(&mut self, http: &Client, url: &str) -> Result<(), NoAnswer> {
        self.operate(http, url).await?;
        self.checked.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn settle(&mut self, http: &Client, url: &str) -> Result<(), NoAnswer> {
        for tag in Tag::ALL {
            let state = self.look(http, url, tag).await?;
            self.model.get_mut(&tag).unwrap().seeds = vec![state];
        }
        Ok(())
    }
}

/// Requires a status.
async fn expect(answer: Response, status: StatusCode, what: &str) {
    let found = answer.status();
    assert!(found == status, "{what}: {found} {}", answer.text().await.unwrap_or_default());
}

/// Pulls a manifest with everything that it names. Returns its bytes, or `None` if it is absent.
async fn pull(http: &Client, url: &str, repository: &str, target: &str) -> Result<Option<Vec<u8>>, NoAnswer> {
    let mut reached = BTreeMap::new();
    let top = reach(http, url, repository, target, &mut reached).await?;
    Ok(top)
}

/// Fetches a manifest and everything that it names, and adds the sizes by digest. Returns its bytes.
async fn reach(
    http: &Client,
    url: &str,
    repository: &str,
    target: &str,
    reached: &mut BTreeMap<Digest, u64>,
) -> Result<Option<Vec<u8>>, NoAnswer> {
    let mut top = None;
    let mut manifests = vec![target.to_owned()];
    while let Some(target) = manifests.pop() {
        let got = http.get(format!("{url}/v2/{repository}/manifests/{target}"));
        let got = got.header("accept", format!("{OCI_MANIFEST}, {OCI_INDEX}")).answer().await?;
        if got.status() == StatusCode::NOT_FOUND && top.is_none() {
            return Ok(None);
        }
        assert_eq!(got.status(), StatusCode::OK, "{repository}, manifest {target}");
        let bytes = got.bytes().await?.to_vec();
        reached.insert(Algorithm::Sha256.digest(&bytes), bytes.len() as u64);
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let digest = |part: &Value| part["digest"].as_str().unwrap().to_owned();
        let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
        manifests.extend(list("manifests").iter().map(digest));
        let config = document.get("config").cloned();
        for blob in list("layers").iter().chain(&config).map(digest) {
            let blob: Digest = blob.parse().unwrap();
            if let Entry::Vacant(new) = reached.entry(blob) {
                let got = http.get(format!("{url}/v2/{repository}/blobs/{blob}")).answer().await?;
                assert_eq!(got.status(), StatusCode::OK, "{repository}, blob {blob} of {target}");
                let bytes = got.bytes().await?;
                assert_eq!(Algorithm::Sha256.digest(&bytes), blob, "{repository}");
                new.insert(bytes.len() as u64);
            }
        }
        top = top.or(Some(bytes));
    }
    Ok(top)
}

/// The bytes of everything that tags and referrers reach.
async fn reachable(http: &Client, url: &str) -> Result<u64, NoAnswer> {
    let mut reached = BTreeMap::new();
    for number in 0..CLIENTS {
        let repository = format!("team/r{number}");
        let listed = http.get(format!("{url}/v2/{repository}/tags/list")).answer().await?;
        let tags: Value = listed.json().await?;
        for tag in tags["tags"].as_array().into_iter().flatten() {
            let tag = tag.as_str().unwrap();
            let top = reach(http, url, &repository, tag, &mut reached).await?.unwrap();
            let digest = Algorithm::Sha256.digest(&top);
            let referrers = http.get(format!("{url}/v2/{repository}/referrers/{digest}")).answer().await?;
            let referrers: Value = referrers.json().await?;
            for referrer in referrers["manifests"].as_array().unwrap() {
                reach(http, url, &repository, referrer["digest"].as_str().unwrap(), &mut reached).await?;
            }
        }
    }
    Ok(reached.values().sum())
}

/// The bytes of all files below a directory.
fn size_of(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .map(
            |entry| {
                if entry.path().is_dir() { size_of(&entry.path()) } else { entry.metadata().unwrap().len() }
            },
        )
        .sum()
}

#[test]
fn collections_beside_clients_lose_and_leave_nothing() {
    let (rounds, seed) = (number("WHARFINGER_ROUNDS", ROUNDS), number("WHARFINGER_SEED", 1));
    let mut scratch = TempDir::new().unwrap();
    let data = scratch.path().join("data");
    let settings = scratch.path().join("wharfinger.toml");
    std::fs::write(&settings, SETTINGS).unwrap();
    let arguments = ["--config", settings.to_str().unwrap()];
    let checked = Arc::new(AtomicU64::new(0));
    let worker = |number| Worker::new(number, seed, checked.clone());
    let mut workers = Workers::new(seed, (0..CLIENTS).map(worker));
    let control = Control::new(scratch.path().join("control"), seed);
    let preload = preloaded(scratch.path(), &control, &data);
    let preload: Vec<&str> = preload.iter().map(String::as_str).collect();
    let mut clock = 0;
    for round in 0..rounds {
        let server = Server::start_as(&preload, &data, &arguments);
        workers.settle(&server);
        // The collections in the background begin when no push of before the start can go on.
        clock += LEASE;
        control.set_clock(clock);
        let enough = checked.load(Ordering::Relaxed) + OPERATIONS;
        workers.work_until_killed(server, |_, running| {
            while checked.load(Ordering::Relaxed) < enough && !running.has_failed() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        println!("round {round}, {} operations", checked.load(Ordering::Relaxed));
    }

    // Images and uploads that wait for the end of a period are due when the clock has passed it.
    control.set_clock(clock + KEPT);
    let server = Server::start_as(&preload, &data, &arguments);
    workers.settle(&server);
    let (begun, url) = (Instant::now(), server.url());
    let (reachable, stored) = workers.block_on(async |http| {
        loop {
            let collected = http.post(format!("{url}/api/v1/gc")).answer().await.unwrap();
            assert!(collected.text().await.unwrap().contains("report"));
            let reachable = reachable(http, &url).await.unwrap();
            let stored = size_of(&data.join("docker/registry/v2/blobs"));
            // The last collection may wait for leases, and small content for its files.
            if stored >= reachable && stored <= reachable + reachable / 100 {
                break (reachable, stored);
            }
            if begun.elapsed().as_secs() >= 120 {
                let mut kept = Vec::new();
                for path in ["/api/v1/gc", "/api/v1/jobs"] {
                    kept.push(http.get(format!("{url}{path}")).answer().await.unwrap().text().await.unwrap());
                }
                scratch.disable_cleanup(true);
                panic!(
                    "seed {seed}: {stored} bytes are stored, {reachable} reachable; they are left in {}: {kept:?}",
                    data.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    assert_eq!(size_of(&data.join("wharfinger/uploads")), 0, "unfinished uploads are left");
    workers.settle(&server);
    server.stop();
    println!(
        "seed {seed}: {rounds} kills, {} operations, none lost; {stored} bytes are stored, {reachable} reachable",
        checked.load(Ordering::Relaxed)
    );
}
