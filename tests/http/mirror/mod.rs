//! The pull-through cache before a real registry, with faults between them.

mod access;
mod blobs;
mod eviction;
mod faults;
mod manifests;
mod names;
mod network;
mod public_registries;
mod search;
mod state;

use wharfinger::config::{Config, Upstream};

use crate::harness::{FaultProxy, TestRegistry};

/// An upstream registry, and a cache before it.
struct Mirrored {
    upstream: TestRegistry,
    proxy: FaultProxy,
    cache: TestRegistry,
}

/// Returns the settings of an upstream `hub` at a URL.
fn hub(url: &str) -> Upstream {
    Upstream::from_argument(&format!("hub={url}")).expect("an upstream")
}

impl Mirrored {
    /// Starts a cache with these settings of the upstream `hub`.
    async fn start(change: impl FnOnce(&mut Upstream)) -> Self {
        Self::with_faults(|_| crate::harness::Fault::None, change).await
    }

    async fn with_faults(
        fault: impl Fn(&str) -> crate::harness::Fault + Send + Sync + 'static,
        change: impl FnOnce(&mut Upstream),
    ) -> Self {
        Self::configured(fault, change, |_| {}).await
    }

    /// Starts a cache of an upstream with a fault in each answer to a request for a blob.
    async fn with_blob_fault(fault: crate::harness::Fault) -> Self {
        let of = move |head: &str| match head.contains("/blobs/") {
            true => fault.clone(),
            false => crate::harness::Fault::None,
        };
        Self::with_faults(of, |_| {}).await
    }

    async fn configured(
        fault: impl Fn(&str) -> crate::harness::Fault + Send + Sync + 'static,
        change: impl FnOnce(&mut Upstream),
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let upstream = TestRegistry::start().await;
        let proxy = FaultProxy::start(upstream.address(), fault).await;
        let mut settings = hub(&proxy.url());
        change(&mut settings);
        let cache = TestRegistry::start_with(|config| {
            config.upstream.push(settings);
            configure(config);
        })
        .await;
        Self { upstream, proxy, cache }
    }
}
