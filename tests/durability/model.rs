//! A client that knows the possible states of the tags of its repository: it pushes, mounts, deletes, takes
//! back, erases, applies retention and collects, and pulls every tag down to its layer.
//!
//! After an operation without an answer, both states are right, and the next look decides. The requests of
//! all clients concern the same layers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oci::{Algorithm, Digest};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::client::{NoAnswer, Request as _};
use crate::random::{Random, content};

/// The tags of a repository. The retention of [`SETTINGS`] deletes the last one.
const TAGS: u64 = 3;
/// Images of a repository.
const SEEDS: u64 = 40;

/// The settings that the model needs.
pub(crate) const SETTINGS: &str = r#"
retention_schedule = ""
retention_minimum_age = "0s"
[[retention]]
repositories = "team/**"
tags = "t2"
keep_newest = 0
"#;

/// The state of a tag: the seed of its image, or none.
type State = Option<u64>;

pub(crate) struct Model {
    number: u64,
    clients: u64,
    random: Random,
    /// Credentials of an administrator.
    authorization: String,
    /// The possible states of each tag. One after an acknowledged operation.
    states: BTreeMap<u64, Vec<State>>,
    /// All states that each tag had or may have had.
    past: BTreeMap<u64, BTreeSet<State>>,
    /// States of operations that a server may still carry out after others: it got them from a proxy.
    pending: BTreeMap<u64, Vec<State>>,
    /// Whether there is such a proxy. Then every client may pull.
    is_behind_proxy: bool,
    /// The answers to the operations since the last strict look, for a failure.
    answers: Vec<String>,
    acknowledged: Arc<AtomicU64>,
    /// Whether a promised blob may be gone: the clock has jumped.
    may_forget_blobs: bool,
}

fn layer(number: u64, seed: u64) -> Vec<u8> {
    // Shared by all clients, so that mounts, existing blobs and deletions meet.
    let length = if seed.is_multiple_of(3) { 150_000 } else { 2_000 };
    content(seed % 12 + 1_000 * (number % 2), length)
}

fn manifest(number: u64, seed: u64) -> String {
    let part = |media_type: &str, blob: &[u8]| {
        let digest = Algorithm::Sha256.digest(blob);
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#, blob.len())
    };
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}],"annotations":{{"by":"{number} {seed}"}}}}"#,
        oci::media_type::OCI_MANIFEST,
        part("application/vnd.oci.image.config.v1+json", b"{}"),
        part("application/x", &layer(number, seed)),
    )
}

impl Model {
    /// Makes the client of a number among `clients`, which counts acknowledged operations.
    pub(crate) fn new(
        seed: u64,
        number: u64,
        clients: u64,
        authorization: &str,
        acknowledged: Arc<AtomicU64>,
    ) -> Self {
        Self {
            number,
            clients,
            random: Random::new(seed, number),
            authorization: authorization.to_owned(),
            states: (0..TAGS).map(|tag| (tag, vec![None])).collect(),
            past: (0..TAGS).map(|tag| (tag, BTreeSet::from([None]))).collect(),
            pending: BTreeMap::new(),
            is_behind_proxy: false,
            answers: Vec::new(),
            acknowledged,
            may_forget_blobs: false,
        }
    }

    /// Says that requests go through a proxy, which can fail while the server goes on with a request. Pulls have
    /// no credentials, so that each server may answer them.
    pub(crate) fn behind_proxy(self) -> Self {
        Self { is_behind_proxy: true, ..self }
    }

    /// Says whether a promised blob may be gone from now on.
    pub(crate) fn may_forget_blobs(&mut self, may_forget: bool) {
        self.may_forget_blobs = may_forget;
    }

    fn repository(&self) -> String {
        format!("team/r{}", self.number)
    }

    fn digest(&self, seed: u64) -> Digest {
        Algorithm::Sha256.digest(manifest(self.number, seed).as_bytes())
    }

    /// Records the state after an acknowledged operation.
    fn is_now(&mut self, tag: u64, state: State) {
        let mut states = vec![state];
        states.extend(self.pending.get(&tag).into_iter().flatten());
        self.states.insert(tag, states);
        self.past.entry(tag).or_default().insert(state);
    }

    fn acknowledge(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends a request. A failure is recorded with its status.
    async fn send(&mut self, what: &str, request: RequestBuilder) -> Result<(StatusCode, String), NoAnswer> {
        let sent = async {
            let answer = request.header("authorization", &self.authorization).answer().await?;
            let status = answer.status();
            Ok((status, answer.text().await?))
        };
        let sent: Result<(StatusCode, String), NoAnswer> = sent.await;
        let status = sent.as_ref().map_or_else(|_| "no answer".to_owned(), |(status, _)| status.to_string());
        self.answers.push(format!("{what}: {status}"));
        sent
    }

    /// Sends a request that may lead to these states of tags: also without an answer, and through a proxy
    /// even after later requests.
    async fn change(
        &mut self,
        what: &str,
        request: RequestBuilder,
        outcomes: &[(u64, State)],
    ) -> Result<(StatusCode, String), NoAnswer> {
        let pending = self.pending.clone();
        for (tag, state) in outcomes {
            self.states.entry(*tag).or_default().push(*state);
            self.past.entry(*tag).or_default().insert(*state);
            if self.is_behind_proxy {
                self.pending.entry(*tag).or_default().push(*state);
            }
        }
        let sent = self.send(what, request).await;
        let proxy = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
        if sent.as_ref().is_ok_and(|(status, _)| !proxy.contains(status)) {
            self.pending = pending;
        }
        sent
    }

    /// Carries out one random operation, and records it.
    pub(crate) async fn operate(&mut self, http: &Client, url: &str) -> Result<(), NoAnswer> {
        let (tag, seed) = (self.random.below(TAGS), self.random.below(SEEDS));
        match self.random.below(14) {
            0..=5 => self.push(http, url, tag, seed).await,
            6 | 7 => self.delete(http, url, tag).await,
            8 | 9 => self.undo(http, url, tag).await,
            10 => self.erase(http, url, tag).await,
            11 => self.retain(http, url).await,
            12 => self.send("gc", http.post(format!("{url}/api/v1/gc"))).await.map(drop),
            // A pull that fails is repeated after the faults. It must not give wrong bytes.
            _ => self.look(http, url, tag, false).await.map(drop),
        }
    }

    async fn push(&mut self, http: &Client, url: &str, tag: u64, seed: u64) -> Result<(), NoAnswer> {
        let repository = self.repository();
        for blob in [b"{}".to_vec(), layer(self.number, seed)] {
            let digest = Algorithm::Sha256.digest(&blob);
            let there = http.head(format!("{url}/v2/{repository}/blobs/{digest}"));
            if self.send("head", there).await?.0 == StatusCode::OK {
                continue;
            }
            let uploads = format!("{url}/v2/{repository}/blobs/uploads/?");
            let from = self.random.below(self.clients);
            let mount = http.post(format!("{uploads}mount={digest}&from=team/r{from}"));
            if from != self.number && self.send("mount", mount).await?.0 == StatusCode::CREATED {
                continue;
            }
            let upload = http.post(format!("{uploads}digest={digest}")).body(blob);
            if self.send("upload", upload).await?.0 != StatusCode::CREATED {
                return Ok(());
            }
        }
        let put = http
            .put(format!("{url}/v2/{repository}/manifests/t{tag}"))
            .header("content-type", oci::media_type::OCI_MANIFEST)
            .body(manifest(self.number, seed));
        let (status, text) = self.change(&format!("push t{tag} {seed}"), put, &[(tag, Some(seed))]).await?;
        // A blob that was there must not be missing now.
        let is_refused = status.is_client_error() && !self.may_forget_blobs;
        assert!(!is_refused, "push of {repository}:t{tag}: {status} {text}; {:?}", self.last_answers());
        if status == StatusCode::CREATED {
            self.is_now(tag, Some(seed));
            self.acknowledge();
        }
        Ok(())
    }

    async fn delete(&mut self, http: &Client, url: &str, tag: u64) -> Result<(), NoAnswer> {
        let delete = http.delete(format!("{url}/v2/{}/manifests/t{tag}", self.repository()));
        let (status, _) = self.change(&format!("delete t{tag}"), delete, &[(tag, None)]).await?;
        if status == StatusCode::ACCEPTED || status == StatusCode::NOT_FOUND {
            self.is_now(tag, None);
            self.acknowledge();
        }
        Ok(())
    }

    /// Takes back the last change of a tag. It may be one without an answer, so the answer names the state.
    async fn undo(&mut self, http: &Client, url: &str, tag: u64) -> Result<(), NoAnswer> {
        let before = self.states.clone();
        // Other tags of the image can come back with it.
        let past = |tag| self.past[&tag].iter().map(move |state| (tag, *state));
        let outcomes: Vec<_> = (0..TAGS).flat_map(past).collect();
        let path = format!("{url}/api/v1/repositories/{}/_undo", self.repository());
        let (status, text) = self
            .change(
                &format!("undo t{tag}"),
                http.post(path).json(&json!({ "tag": format!("t{tag}") })),
                &outcomes,
            )
            .await?;
        if status.is_client_error() {
            self.states = before;
        } else if status == StatusCode::OK {
            self.states = before;
            let undone: Value = serde_json::from_str(&text).expect("JSON");
            let to = undone["to"].as_str().expect("a digest");
            let seed =
                (0..SEEDS).find(|seed| self.digest(*seed).to_string() == to).expect("an image of ours");
            self.answers.push(format!("undone: {text}"));
            assert_eq!(undone["incomplete"], false, "{text}; {:?}", self.last_answers());
            for other in 0..TAGS {
                let name = Value::from(format!("t{other}"));
                if other == tag || undone["restored"].as_array().is_some_and(|tags| tags.contains(&name)) {
                    self.is_now(other, Some(seed));
                }
            }
            self.acknowledge();
        }
        Ok(())
    }

    /// Erases the image of a tag whose state is known. All its tags go with it.
    async fn erase(&mut self, http: &Client, url: &str, tag: u64) -> Result<(), NoAnswer> {
        let [Some(seed)] = self.states[&tag][..] else { return Ok(()) };
        let has_it = |states: &[State]| states.contains(&Some(seed));
        let tags: Vec<u64> = (0..TAGS).filter(|tag| has_it(&self.states[tag])).collect();
        let outcomes: Vec<_> = tags.iter().map(|tag| (*tag, None)).collect();
        let erase = json!({ "repository": self.repository(), "digest": self.digest(seed) });
        let erase = http.post(format!("{url}/api/v1/erase")).json(&erase);
        let (status, text) = self.change(&format!("erase {seed}"), erase, &outcomes).await?;
        assert!(!status.is_client_error(), "t{tag} was {seed}: {text}; {:?}", self.last_answers());
        if status == StatusCode::OK {
            for tag in &tags {
                let pending = self.pending.get(tag).cloned().unwrap_or_default();
                let states = self.states.entry(*tag).or_default();
                states.retain(|state| *state != Some(seed));
                states.extend(pending);
            }
            // No undo brings it back.
            for past in self.past.values_mut() {
                past.remove(&Some(seed));
            }
            self.acknowledge();
        }
        Ok(())
    }

    /// Runs the retention, which deletes the last tag, unless its push is in the future after a jump of the
    /// clock.
    async fn retain(&mut self, http: &Client, url: &str) -> Result<(), NoAnswer> {
        let (tag, before) = (TAGS - 1, self.states.clone());
        let run = http.post(format!("{url}/api/v1/retention/run"));
        let run = run.json(&json!({ "repository": self.repository() }));
        let (status, text) = self.change("retention", run, &[(tag, None)]).await?;
        if status == StatusCode::OK {
            let run: Value = serde_json::from_str(&text).expect("JSON");
            match run["deleted"].as_array().expect("a list").is_empty() {
                true => self.states = before,
                false => self.is_now(tag, None),
            }
            self.acknowledge();
        }
        Ok(())
    }

    fn last_answers(&self) -> Vec<&String> {
        self.answers.iter().rev().take(40).rev().collect()
    }

    /// Pulls a tag down to its layer, and compares it with the possible states. Returns the state, if the
    /// pull succeeds. `strictly` means that it must.
    pub(crate) async fn look(
        &mut self,
        http: &Client,
        url: &str,
        tag: u64,
        strictly: bool,
    ) -> Result<Option<State>, NoAnswer> {
        let repository = self.repository();
        let get = |path: String| {
            let get = http.get(format!("{url}{path}"));
            // Without credentials, each of several servers may answer.
            let is_open = self.is_behind_proxy && path.starts_with("/v2/");
            if is_open { get.answer() } else { get.header("authorization", &self.authorization).answer() }
        };
        let states = &self.states[&tag];
        let got = get(format!("/v2/{repository}/manifests/t{tag}")).await?;
        let status = got.status();
        let name = format!("{repository}:t{tag}, which may be {states:?}");
        if status == StatusCode::NOT_FOUND {
            assert!(states.contains(&None), "{name}: it is gone; {:?}", self.last_answers());
            return Ok(Some(None));
        }
        if status != StatusCode::OK {
            assert!(!strictly, "{name}: {status}");
            return Ok(None);
        }
        let Ok(bytes) = got.bytes().await else { return Ok(None) };
        let state = states.iter().flatten().find(|seed| manifest(self.number, **seed).as_bytes() == bytes);
        let Some(seed) = state.copied() else {
            let history = get(format!("/api/v1/repositories/{repository}/_history?tag=t{tag}")).await?;
            let (history, bytes) = (history.text().await?, String::from_utf8_lossy(&bytes));
            panic!("{name}, is {bytes}; the last answers: {:?}; its history: {history}", self.last_answers());
        };
        let digest: Digest = Algorithm::Sha256.digest(&layer(self.number, seed));
        let blob = get(format!("/v2/{repository}/blobs/{digest}")).await?;
        let status = blob.status();
        if status != StatusCode::OK {
            assert!(!strictly && status.is_server_error(), "{name}: its layer {digest}: {status}");
            return Ok(None);
        }
        match blob.bytes().await {
            Ok(bytes) => assert_eq!(Algorithm::Sha256.digest(&bytes), digest, "{name}"),
            Err(_) => assert!(!strictly, "{name}: its layer is cut off"),
        }
        Ok(Some(Some(seed)))
    }

    /// Pulls every tag, and requires a possible state. From now on that is the only one.
    pub(crate) async fn settle(&mut self, http: &Client, url: &str) -> Result<(), NoAnswer> {
        self.pending.clear();
        for tag in 0..TAGS {
            let state = self.look(http, url, tag, true).await?;
            self.is_now(tag, state.expect("a strict look has a state"));
        }
        self.answers.clear();
        Ok(())
    }
}
