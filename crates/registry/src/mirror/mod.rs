//! Pull-through cache: the content of other registries, fetched once and kept as ordinary repositories.
//!
//! The content of the upstream `docker.io` is kept in repositories whose names begin with `docker.io/`.
//! Lists, search, grants and deletion know no difference.
//!
//! - `settings`: the operator's settings of an upstream.
//! - `names`: finds the upstream and the repository of a request.
//! - `manifests`: revalidation, quarantine, and the policies for absent and unavailable upstreams.
//! - `tag_state`, `served`: the freshness of a tag, and a served manifest.
//! - `fill`, `download`, `blobs`: the state of a blob that is being fetched, its download, and its readers.
//! - `bandwidth`: the bandwidth limit of an upstream.
//! - `eviction`: keeps the cached content within its limits.
//! - `lists`: tags and referrers.
//! - `complete`: fetches platforms and pinned images in the background.
//! - `counters`, `metrics`: the figures of each upstream.
//! - `search`: passes searches on.
//! - `state`: announces that an upstream became unreachable, limited, or reachable again.
//! - `status`: the state of upstreams for the operator, tests and purges.
//! - `single_flight`: one request for concurrent callers.

mod bandwidth;
mod blobs;
mod complete;
mod counters;
mod download;
mod error;
mod eviction;
mod fill;
mod lists;
mod manifests;
mod metrics;
mod names;
mod search;
mod served;
mod settings;
mod single_flight;
mod state;
mod status;
mod tag_state;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use oci::{Digest, RepositoryName, Tag};
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use blobs::{BlobSource, FillReader};
pub use error::MirrorError;
pub use eviction::InUse;
pub use lists::MergedReferrer;
pub use names::{Item, Reach, Target};
pub use search::Found;
pub use served::{ServedManifest, Source, StaleReason};
pub use settings::{
    CacheLimits, FillPolicy, MirrorSettings, Platform, PushPolicy, UpstreamSettings, WhenUnavailable,
};
pub use status::{ProbeResult, UpstreamStatus, UrlStatus};
pub use upstream::Condition;

use self::bandwidth::Pacer;
use self::counters::Counters;
use self::fill::Fill;
use self::served::TagOutcome;
use self::single_flight::Flights;
use self::tag_state::TagState;
use crate::access::Identity;
use crate::{Registry, WarnLimit, networks};

/// The number of tags whose state is in memory.
const TAG_STATES: usize = 65_536;
/// The number of remembered absent contents.
const ABSENT: usize = 16_384;
/// How long an absent content is remembered at most.
const ABSENT_TTL: Duration = Duration::from_secs(30);
/// The number of cached lists.
const LISTS: usize = 512;
/// The number of images that are completed at a time.
const BACKGROUND: usize = 2;

/// The pull-through cache of a registry. Clones share it.
#[derive(Clone)]
pub struct Mirror {
    inner: Arc<Inner>,
    upstreams: Arc<Upstreams>,
}

/// The upstreams of one configuration. A reload replaces them, and requests under way keep theirs.
struct Upstreams {
    all: Vec<Arc<Upstream>>,
    /// The upstream of names without one.
    default: Option<usize>,
    limits: CacheLimits,
    /// The periodic tasks, which end with the configuration.
    tasks: Mutex<JoinSet<()>>,
}

/// The tags of an upstream's repository, and when they were read; `None` if it has no such repository.
type CachedTagList = (Instant, Option<Arc<[Tag]>>);

struct Inner {
    registry: Registry,
    tags: Cache<(RepositoryName, Tag), TagState>,
    tag_flights: Flights<(RepositoryName, Tag), TagOutcome>,
    manifest_flights: Flights<(RepositoryName, Digest), Result<ServedManifest, MirrorError>>,
    /// Content that an upstream did not have at this time.
    absent: Cache<(RepositoryName, Digest), Instant>,
    fills: Mutex<HashMap<(RepositoryName, Digest), Arc<Fill>>>,
    readers: eviction::Readers,
    room: eviction::Room,
    searches: Cache<(usize, String), search::CachedHits>,
    tag_lists: Cache<RepositoryName, CachedTagList>,
    referrers: Cache<(RepositoryName, Digest), (Instant, Bytes)>,
    /// Tags whose stale answer was logged at this time.
    logged: Cache<(RepositoryName, Tag), Instant>,
    background: Semaphore,
}

/// An upstream with its state.
pub(crate) struct Upstream {
    settings: UpstreamSettings,
    pacer: Pacer,
    counters: Arc<Counters>,
    /// The limit of the warnings about an upstream that is down.
    down: WarnLimit,
}

impl Upstream {
    /// Logs a failed request: once a minute while the upstream is down.
    fn report_failure(&self, repository: &RepositoryName, target: &dyn fmt::Display, error: &MirrorError) {
        let reason = error.reason().unwrap_or_default();
        let is_down = matches!(error, MirrorError::Down { .. } | MirrorError::Limited { .. });
        if is_down && !self.down.allows() {
            tracing::debug!(%repository, %target, reason, "cannot fetch: {error}");
        } else {
            tracing::warn!(%repository, %target, reason, "cannot fetch: {error}");
        }
    }
}

impl Mirror {
    /// Creates the cache, and starts its background tasks.
    #[must_use]
    pub fn new(registry: Registry, settings: MirrorSettings) -> Self {
        let mirror = Self {
            upstreams: Arc::new(Upstreams::new(settings, &[])),
            inner: Arc::new(Inner {
                registry,
                tags: Cache::new(TAG_STATES),
                tag_flights: Flights::default(),
                manifest_flights: Flights::default(),
                absent: Cache::new(ABSENT),
                fills: Mutex::default(),
                readers: eviction::Readers::default(),
                room: eviction::Room::default(),
                searches: Cache::new(LISTS),
                tag_lists: Cache::new(LISTS),
                referrers: Cache::new(LISTS),
                logged: Cache::new(LISTS),
                background: Semaphore::new(BACKGROUND),
            }),
        };
        mirror.start();
        mirror
    }

    /// Reserves the names of the upstreams, and starts the periodic tasks.
    fn start(&self) {
        self.inner.registry.accounts().reserve_namespaces(self.upstreams.namespaces());
        self.start_prefetch();
        self.start_eviction();
        self.watch_states();
    }

    /// Makes the same cache with other upstreams, and ends the periodic tasks of the old ones. Fills go on.
    /// Counters of upstreams that keep their name go on too.
    #[must_use]
    pub fn with_upstreams(&self, settings: MirrorSettings) -> Self {
        self.retire();
        // The new URL may have content that the old one lacked.
        self.inner.absent.clear();
        self.inner.tag_lists.clear();
        self.inner.referrers.clear();
        self.inner.searches.clear();
        let upstreams = Arc::new(Upstreams::new(settings, &self.upstreams.all));
        let mirror = Self { inner: self.inner.clone(), upstreams };
        mirror.start();
        mirror
    }

    /// Ends the periodic tasks.
    pub fn retire(&self) {
        self.inner.registry.accounts().reserve_namespaces(HashSet::new());
        self.upstreams.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// Runs a periodic task until the upstreams are replaced or the registry is closed.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let registry = self.inner.registry.clone();
        let mut tasks = self.upstreams.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(async move { _ = registry.inner.background.until_stop(work).await });
    }

    /// Whether a repository is below the name of an upstream.
    #[must_use]
    pub fn covers(&self, repository: &RepositoryName) -> bool {
        self.upstream_of(repository).is_some()
    }

    /// The name of the upstream that a repository belongs to.
    #[must_use]
    pub fn upstream_name(&self, repository: &RepositoryName) -> Option<&str> {
        self.upstream_of(repository).map(|upstream| upstream.settings.name.as_str())
    }

    /// Whether pushes below the upstream's name are kept here.
    #[must_use]
    pub fn takes_pushes(&self, repository: &RepositoryName) -> bool {
        self.upstream_of(repository).is_none_or(|upstream| upstream.settings.push == PushPolicy::Overlay)
    }

    /// Whether clients at an address may pull a repository and fill the cache without an account.
    #[must_use]
    pub fn is_open_to(&self, repository: &RepositoryName, address: IpAddr) -> bool {
        self.upstream_of(repository)
            .is_some_and(|upstream| networks::contain(&upstream.settings.open_to, address))
    }

    /// Whether a caller that may pull a repository may also make this registry fetch from the upstream.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn may_fill(
        &self,
        identity: &Identity,
        repository: &RepositoryName,
        address: IpAddr,
    ) -> Result<bool, crate::Error> {
        let Some(upstream) = self.upstream_of(repository) else { return Ok(false) };
        let accounts = self.inner.registry.accounts();
        if !accounts.in_force()
            || matches!(identity, Identity::Operator)
            || self.is_open_to(repository, address)
        {
            return Ok(true);
        }
        match upstream.settings.fill {
            FillPolicy::Everyone => Ok(true),
            FillPolicy::Accounts => Ok(!identity.is_anonymous()),
            FillPolicy::Granted => accounts.may_fill(identity, repository).await,
        }
    }

    fn upstream_of(&self, repository: &RepositoryName) -> Option<&Arc<Upstream>> {
        self.upstreams.all.iter().find(|upstream| upstream.path(repository).is_some())
    }
}

impl Upstreams {
    fn new(settings: MirrorSettings, before: &[Arc<Upstream>]) -> Self {
        let MirrorSettings { upstreams: settings, limits } = settings;
        let default = settings.iter().position(|upstream| upstream.is_default);
        let all = settings.into_iter().map(|settings| {
            let pacer = Pacer::new(settings.bandwidth);
            let counted = before.iter().find(|old| old.settings.name == settings.name);
            let counters = counted.map(|old| old.counters.clone()).unwrap_or_default();
            Arc::new(Upstream { settings, pacer, counters, down: WarnLimit::new() })
        });
        Self { all: all.collect(), default, limits, tasks: Mutex::default() }
    }
}

impl Upstreams {
    /// The first parts of names that mean an upstream, for clients of a mirror too.
    fn namespaces(&self) -> HashSet<String> {
        let mut all = HashSet::new();
        for Upstream { settings, .. } in self.all.iter().map(|upstream| &**upstream) {
            all.insert(settings.name.to_string());
            all.extend(settings.aliases.iter().cloned());
            all.extend(settings.host.clone());
            all.extend(settings.namespace.clone().filter(|_| settings.is_default));
        }
        all
    }
}

impl Upstream {
    /// The name of a repository on the upstream.
    fn path<'r>(&self, repository: &'r RepositoryName) -> Option<&'r str> {
        repository.as_str().strip_prefix(self.settings.name.as_str())?.strip_prefix('/')
    }

    fn name(&self) -> &str {
        self.settings.name.as_str()
    }

    /// Whether the operator allows a repository of the upstream.
    fn allows(&self, repository: &RepositoryName) -> bool {
        let Some(path) = self.path(repository).and_then(|path| path.parse::<RepositoryName>().ok()) else {
            return false;
        };
        let matches = |patterns: &[accounts::Pattern]| patterns.iter().any(|pattern| pattern.matches(&path));
        (self.settings.allow.is_empty() || matches(&self.settings.allow)) && !matches(&self.settings.deny)
    }

    fn check_allowed(&self, repository: &RepositoryName) -> Result<(), MirrorError> {
        if self.allows(repository) {
            return Ok(());
        }
        Err(MirrorError::NotAllowed { upstream: self.name().to_owned(), repository: repository.clone() })
    }
}
