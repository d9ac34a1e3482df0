//! Very many repositories, with names and descriptions in which something can be searched.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::Scale;
use crate::client::connection::{Body, Connection};
use crate::client::origin::Origin;
use crate::client::push::{MANIFEST, manifest, mount};
use crate::content::{Random, digest_of};
use crate::parallel::parallel;

const OWNERS: [&str; 40] = [
    "platform",
    "payments",
    "search",
    "mobile",
    "infra",
    "data",
    "ml",
    "security",
    "frontend",
    "identity",
    "billing",
    "logistics",
    "research",
    "growth",
    "support",
    "catalog",
    "orders",
    "shipping",
    "pricing",
    "risk",
    "fraud",
    "media",
    "video",
    "audio",
    "maps",
    "weather",
    "games",
    "social",
    "chat",
    "mail",
    "calendar",
    "storage",
    "network",
    "edge",
    "core",
    "tools",
    "labs",
    "official",
    "community",
    "archive",
];
const FIRST: [&str; 40] = [
    "alpine",
    "ubuntu",
    "debian",
    "nginx",
    "redis",
    "postgres",
    "kafka",
    "python",
    "node",
    "golang",
    "rust",
    "java",
    "ruby",
    "php",
    "spark",
    "flink",
    "airflow",
    "grafana",
    "prometheus",
    "envoy",
    "consul",
    "vault",
    "nomad",
    "etcd",
    "minio",
    "mongo",
    "mysql",
    "elastic",
    "kibana",
    "logstash",
    "fluentd",
    "jaeger",
    "zipkin",
    "traefik",
    "haproxy",
    "caddy",
    "varnish",
    "memcached",
    "rabbit",
    "nats",
];
const SECOND: [&str; 40] = [
    "server",
    "client",
    "worker",
    "gateway",
    "proxy",
    "exporter",
    "operator",
    "controller",
    "scheduler",
    "builder",
    "runner",
    "agent",
    "sidecar",
    "init",
    "base",
    "runtime",
    "toolbox",
    "debug",
    "backup",
    "restore",
    "migrate",
    "import",
    "export",
    "sync",
    "cache",
    "queue",
    "stream",
    "batch",
    "cron",
    "hook",
    "api",
    "web",
    "admin",
    "console",
    "cli",
    "sdk",
    "test",
    "bench",
    "demo",
    "docs",
];
const SHARED: &str = "many/shared";

#[derive(Clone, Copy)]
pub(crate) struct Many {
    count: usize,
}

/// How long it took to push it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filled {
    pub(crate) repositories: usize,
    pub(crate) elapsed: Duration,
}

impl Many {
    /// So many as the scale says.
    pub(crate) fn new(scale: Scale) -> Self {
        Self { count: scale.pick(100_000, 5_000) }
    }

    /// How many repositories there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The name of one of them.
    pub(crate) fn name(&self, number: usize) -> String {
        let (owner, first, second) = words(number);
        format!("{owner}/{first}-{second}-{number}")
    }

    /// Pushes them all from 16 connections: in each a blob mounted from another repository, and a manifest of
    /// its own with a description.
    pub(crate) fn push(&self, origin: &Origin) -> Result<Filled> {
        let config = b"{}";
        let digest = digest_of(config);
        let target = format!("/v2/{SHARED}/blobs/uploads/?digest={digest}");
        Connection::to(origin).expect(
            201,
            "POST",
            &target,
            Body::Typed("application/octet-stream", config),
        )?;
        let next = AtomicUsize::new(0);
        let start = Instant::now();
        parallel(16, |_| {
            let mut connection = Connection::to(origin);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= self.count {
                    return Ok(());
                }
                let name = self.name(number);
                mount(&mut connection, &name, &digest, SHARED)?;
                manifest(&mut connection, &name, "latest", &described(number, &digest))?;
            }
        })?;
        Ok(Filled { repositories: self.count, elapsed: start.elapsed() })
    }

    /// Typical search terms: whole words, prefixes, parts, two words, one exact name, and a term without a
    /// match. is nowhere.
    pub(crate) fn searches(&self) -> Vec<String> {
        let mut random = Random::new(7);
        let mut pick = |bound: usize| usize::try_from(random.next() % bound as u64).unwrap_or(0);
        let mut searches = Vec::new();
        for _ in 0..200 {
            let first = FIRST[pick(40)];
            let second = SECOND[pick(40)];
            let owner = OWNERS[pick(40)];
            let query = match pick(6) {
                0 => first.to_owned(),
                1 => first[..3].to_owned(),
                2 => second[1..].to_owned(),
                3 => format!("{owner}%2F{first}"),
                4 => self.name(pick(self.count)).replace('/', "%2F"),
                _ => format!("{first}nothing"),
            };
            searches.push(format!("/v1/search?q={query}&n=25"));
        }
        searches
    }
}

fn words(number: usize) -> (&'static str, &'static str, &'static str) {
    // A spread of combinations rather than one word after the other.
    let mixed = usize::try_from(Random::new(number as u64).next() >> 8).unwrap_or(number);
    (OWNERS[mixed % 40], FIRST[mixed / 40 % 40], SECOND[mixed / 1600 % 40])
}

fn described(number: usize, config: &str) -> Vec<u8> {
    let (owner, first, second) = words(number);
    let empty = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2});
    let description = format!("The {second} for {first}, kept by the {owner} team");
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": empty, "layers": [],
        "artifactType": "application/vnd.example.service.v1",
        "annotations": {"org.opencontainers.image.description": description, "org.opencontainers.image.revision": number.to_string()},
    })
    .to_string()
    .into_bytes()
}
