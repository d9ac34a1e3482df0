//! hyper with nothing behind it but one manifest in memory: the most that a server on it can reach.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use super::{Ability, Part, Paths, Peer, Setup, alone};
use crate::client::push::{Image, MANIFEST};
use crate::content::digest_of;

pub(super) struct BareHyper;

impl Peer for BareHyper {
    fn name(&self) -> &'static str {
        "bare hyper"
    }

    fn find(&self, _paths: &Paths) -> Result<Vec<PathBuf>, String> {
        std::env::current_exe().map(|own| vec![own]).map_err(|error| error.to_string())
    }

    fn version(&self, _programs: &[PathBuf]) -> String {
        "1".to_owned()
    }

    fn parts(&self, programs: &[PathBuf], setup: Setup<'_>) -> Result<Vec<Part>> {
        let mut command = Command::new(&programs[0]);
        command.arg("bare-hyper").arg(setup.data.join("manifest")).arg(setup.port.to_string());
        alone(command, setup)
    }

    fn can(&self, ability: Ability) -> bool {
        ability == Ability::Manifest
    }

    fn syncs(&self) -> &'static str {
        "takes no pushes"
    }

    fn is_limit(&self) -> bool {
        true
    }

    fn place_image(&self, data: &Path, _repository: &str, _tag: &str, image: &Image) -> Result<()> {
        fs::create_dir_all(data)?;
        Ok(fs::write(data.join("manifest"), &image.manifest)?)
    }
}

/// Answers every request with the manifest and the headers that a registry sends with it.
pub(crate) fn serve(manifest: &Path, port: u16) -> Result<()> {
    let manifest = Bytes::from(fs::read(manifest).context("reading the manifest")?);
    let digest = digest_of(&manifest);
    let tag = HeaderValue::from_str(&format!("\"{digest}\""))?;
    let digest = HeaderValue::from_str(&digest)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (manifest, digest, tag) = (manifest.clone(), digest.clone(), tag.clone());
            let service = service_fn(move |_: Request<hyper::body::Incoming>| {
                let mut response = Response::new(Full::new(manifest.clone()));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(MANIFEST));
                headers.insert("docker-content-digest", digest.clone());
                headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
                headers.insert(ETAG, tag.clone());
                async { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(async move {
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service);
                // A client that goes away is no error of a server.
                let _ = connection.await;
            });
        }
    })
}
