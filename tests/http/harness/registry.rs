//! A registry in the test process, over real TCP on loopback.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci::{Algorithm, Digest};
use reqwest::{Body, Client, Method, RequestBuilder, redirect};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use wharfinger::config::Config;
use wharfinger::http::server::Stop;
use wharfinger::serve::{FirstAdministrator, Front, Startup};

use super::{
    Answer, Ask, By, Image, OCI_MANIFEST, Part, RawClient, Who, image_manifest, object_servers, random,
    storage,
};

/// A registry with a temporary data directory, which is removed on drop.
pub(crate) struct TestRegistry {
    config: Config,
    data: TempDir,
    client: Client,
    running: Option<Running>,
    base: String,
    administrator: Option<FirstAdministrator>,
    front: Front,
}

struct Running {
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    stop: Stop,
    task: JoinHandle<()>,
}

impl TestRegistry {
    /// Starts a registry with the default settings.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts a registry with changed settings.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_as(None, change).await
    }

    /// Starts a registry with an administrator, so that accounts are required, and with changed settings.
    pub(crate) async fn start_as(
        administrator: Option<FirstAdministrator>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::start_front(Front::Registry, administrator, change).await
    }

    /// Starts a registry or a gateway.
    pub(crate) async fn start_front(
        front: Front,
        administrator: Option<FirstAdministrator>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let data = TempDir::new().expect("a temporary directory");
        let mut config = Config {
            listen: "127.0.0.1:0".parse().expect("an address"),
            data: data.path().join("data"),
            ..Config::default()
        };
        if front == Front::Registry {
            storage::choose(&mut config, data.path());
        }
        change(&mut config);
        let client = Client::builder().redirect(redirect::Policy::none()).build().expect("a client");
        let mut registry =
            Self { config, data, client, running: None, base: String::new(), administrator, front };
        registry.run().await;
        registry
    }

    /// Starts the server on the existing data directory.
    pub(crate) async fn run(&mut self) {
        let administrator = self.administrator.as_ref();
        let opened = Startup::new(&self.config, self.front).with_administrator(administrator).open().await;
        let (registry, server) = opened.expect("the registry opens");
        let (address, metrics, stop) = (server.address(), server.metrics_address(), server.stop());
        let task = tokio::spawn(async move {
            server.run().await;
            registry.close().await;
        });
        self.base = format!("http://{address}");
        self.running = Some(Running { address, metrics, stop, task });
    }

    /// Stops the server as SIGTERM does, and waits for its end.
    pub(crate) async fn stop(&mut self) {
        self.stop_handle().gracefully();
        self.stopped().await;
    }

    /// Waits for the end of the server.
    pub(crate) async fn stopped(&mut self) {
        let running = self.running.take().expect("the registry runs");
        running.task.await.expect("the server ends in order");
    }

    /// Restarts the server on the same directory with changed settings. The port changes.
    pub(crate) async fn restart_with(&mut self, change: impl FnOnce(&mut Config)) {
        self.stop().await;
        change(&mut self.config);
        self.run().await;
    }

    pub(crate) async fn restart(&mut self) {
        self.restart_with(|_| {}).await;
    }

    pub(crate) fn stop_handle(&self) -> Stop {
        self.running().stop.clone()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running().address
    }

    /// Returns the address of the listener for metrics.
    pub(crate) fn metrics_address(&self) -> SocketAddr {
        self.running().metrics.expect("metrics.listen is set")
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the registry runs")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// Returns the path of a blob's file, which the S3 server has if the blobs are in a bucket.
    pub(crate) fn blob_file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.blobs().join(digest.algorithm().as_str()).join(&hex[..2]).join(&hex).join("data")
    }

    /// The directory of the blobs, which the S3 server has if they are in a bucket.
    fn blobs(&self) -> PathBuf {
        let blobs = "docker/registry/v2/blobs";
        match object_servers::chosen(&self.config.data).filter(|_| self.config.blobs.url.is_some()) {
            Some(prefix) => prefix.file(blobs),
            None => self.data().join(blobs),
        }
    }

    /// Returns the files of all blobs.
    pub(crate) fn blob_files(&self) -> Vec<PathBuf> {
        files(&self.blobs())
    }

    /// Returns all files below a directory of the data directory.
    pub(crate) fn files(&self, below: &str) -> Vec<PathBuf> {
        files(&self.data().join(below))
    }

    /// Builds a request. The address is a path or an absolute URL.
    pub(crate) fn request(&self, method: Method, address: impl Display) -> RequestBuilder {
        let address = address.to_string();
        let url = if address.starts_with('/') { format!("{}{address}", self.base) } else { address };
        self.client.request(method, url)
    }

    pub(crate) async fn get(&self, address: impl Display) -> Answer {
        self.request(Method::GET, address).ask().await
    }

    pub(crate) async fn head(&self, address: impl Display) -> Answer {
        self.request(Method::HEAD, address).ask().await
    }

    pub(crate) async fn post(&self, address: impl Display) -> Answer {
        self.request(Method::POST, address).ask().await
    }

    pub(crate) async fn delete(&self, address: impl Display) -> Answer {
        self.request(Method::DELETE, address).ask().await
    }

    pub(crate) async fn patch(&self, address: impl Display, body: impl Into<Body>) -> Answer {
        self.request(Method::PATCH, address).body(body).ask().await
    }

    pub(crate) async fn put(&self, address: impl Display, body: impl Into<Body>) -> Answer {
        self.request(Method::PUT, address).body(body).ask().await
    }

    /// Opens a raw connection.
    pub(crate) async fn connect(&self) -> RawClient {
        RawClient::connect(self.address()).await
    }

    /// Runs `step` about every 100 ms until the server's idle timeout has closed an unused connection. So
    /// `limits.idle_timeout` has passed on the server's clock, however busy the machine is.
    pub(crate) async fn until_idle_timeout(&self, mut step: impl AsyncFnMut()) {
        let mut closed = std::pin::pin!(self.connect().await.until_closed());
        loop {
            step().await;
            if tokio::time::timeout(Duration::from_millis(100), &mut closed).await.is_ok() {
                return;
            }
        }
    }

    pub(crate) fn repository(&self, name: &str) -> Repository<'_> {
        Repository { registry: self, name: name.to_owned(), who: Who::NOBODY }
    }
}

/// Returns all files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                walk(&entry.path(), found);
            } else {
                found.push(entry.path());
            }
        }
    }
    let mut found = Vec::new();
    walk(directory, &mut found);
    found
}

/// A repository of a registry under test.
#[derive(Clone)]
pub(crate) struct Repository<'r> {
    pub(crate) registry: &'r TestRegistry,
    pub(crate) name: String,
    /// The credentials of its requests.
    pub(crate) who: Who,
}

impl Repository<'_> {
    /// Returns the same repository with other credentials.
    pub(crate) fn of(self, who: &Who) -> Self {
        Self { who: who.clone(), ..self }
    }

    /// Returns the path of an item of the repository, such as `manifests/1.0`.
    pub(crate) fn path(&self, below: impl Display) -> String {
        format!("/v2/{}/{below}", self.name)
    }

    pub(crate) async fn get(&self, below: impl Display) -> Answer {
        self.request(Method::GET, below).ask().await
    }

    pub(crate) async fn head(&self, below: impl Display) -> Answer {
        self.request(Method::HEAD, below).ask().await
    }

    pub(crate) async fn delete(&self, below: impl Display) -> Answer {
        self.request(Method::DELETE, below).ask().await
    }

    pub(crate) fn request(&self, method: Method, below: impl Display) -> RequestBuilder {
        self.registry.request(method, self.path(below)).by(&self.who)
    }

    /// Begins an upload and returns its location.
    pub(crate) async fn begin_upload(&self) -> String {
        self.request(Method::POST, "blobs/uploads/").ask().await.is(202).location()
    }

    /// Pushes a blob in one request.
    pub(crate) async fn push_blob(&self, content: impl Into<Vec<u8>>) -> Digest {
        let content = content.into();
        let digest = Algorithm::Sha256.digest(&content);
        self.request(Method::POST, format_args!("blobs/uploads/?digest={digest}"))
            .body(content)
            .ask()
            .await
            .is(201);
        digest
    }

    /// Puts a manifest with the media type that it contains.
    pub(crate) async fn put_manifest(&self, reference: impl Display, manifest: &Value) -> Answer {
        let media_type = manifest["mediaType"].as_str().expect("a media type");
        self.put_manifest_as(reference, media_type, manifest.to_string()).await
    }

    pub(crate) async fn put_manifest_as(
        &self,
        reference: impl Display,
        media_type: &str,
        manifest: impl Into<Body>,
    ) -> Answer {
        let request = self.request(Method::PUT, format_args!("manifests/{reference}"));
        request.header("content-type", media_type).body(manifest).ask().await
    }

    /// Pushes a unique image: a config, two layers, a manifest.
    pub(crate) async fn push_image(&self, tag: &str) -> Image {
        self.push_image_saying(tag, json!({})).await
    }

    /// Pushes a unique image whose manifest has additional fields.
    pub(crate) async fn push_image_saying(&self, tag: &str, more: Value) -> Image {
        let config =
            json!({ "architecture": "amd64", "os": "linux", "made": random(8) }).to_string().into_bytes();
        let contents = [config, random(1000), random(2000)];
        let mut blobs = Vec::new();
        for content in contents {
            blobs.push((self.push_blob(content.clone()).await, content));
        }
        let layers: Vec<Part> = blobs[1..].iter().map(|(_, content)| Part::layer(content)).collect();
        let mut manifest = image_manifest(&Part::config(&blobs[0].1), &layers);
        for (field, value) in more.as_object().expect("an object") {
            manifest[field] = value.clone();
        }
        let manifest = manifest.to_string().into_bytes();
        let digest = Algorithm::Sha256.digest(&manifest);
        self.put_manifest_as(tag, OCI_MANIFEST, manifest.clone())
            .await
            .is(201)
            .has("docker-content-digest", digest);
        Image { manifest, digest, blobs }
    }

    /// Lists the tags over all pages.
    pub(crate) async fn tags(&self) -> Vec<String> {
        let mut tags = Vec::new();
        let mut page = Some(self.path("tags/list"));
        while let Some(address) = page {
            let answer = self.registry.get_as(&self.who, &address).await.is(200);
            tags.extend(answer.list("tags"));
            page = answer.next_page();
        }
        tags
    }

    /// Returns the digest of a tag.
    pub(crate) async fn digest_of(&self, tag: &str) -> Digest {
        let answer = self.head(format_args!("manifests/{tag}")).await.is(200);
        answer.header("docker-content-digest").expect("a digest").parse().expect("a digest")
    }
}
