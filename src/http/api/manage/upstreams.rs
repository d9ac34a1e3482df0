//! `/api/v1/upstreams`: the upstreams of the cache, for administrators.

use std::time::{Duration, SystemTime};

use accounts::Pattern;
use api::{Purged, Upstream, UpstreamProbe, UpstreamState, UpstreamTest, UpstreamUrl, Upstreams};
use registry::mirror::{Condition, Mirror, UpstreamStatus, UrlStatus};

use super::{must_be_administrator, ok};
use crate::config::UpstreamName;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// Lists the upstreams; none if no upstream is configured.
pub(crate) async fn list(call: Call<'_>) -> Result<Response, Error> {
    Ok(ok(&Upstreams { upstreams: all(&call).await? }))
}

/// Returns the state of each upstream.
pub(crate) async fn all(call: &Call<'_>) -> Result<Vec<Upstream>, Error> {
    must_be_administrator(call)?;
    let status = match &call.app.mirror {
        Some(mirror) => mirror.status().await?,
        None => Vec::new(),
    };
    Ok(status.into_iter().map(upstream).collect())
}

/// Calls every URL of an upstream.
pub(crate) async fn test(call: Call<'_>, name: &UpstreamName) -> Result<Response, Error> {
    Ok(ok(&probe(&call, name).await?))
}

/// Returns what each URL of an upstream answers.
pub(crate) async fn probe(call: &Call<'_>, name: &UpstreamName) -> Result<UpstreamTest, Error> {
    must_be_administrator(call)?;
    let probes = mirror(call, name)?.test(name.as_str()).await.ok_or_else(|| unknown(name))?;
    let urls = probes.into_iter().map(|probe| UpstreamProbe {
        url: probe.url,
        ok: probe.error.is_none(),
        milliseconds: u64::try_from(probe.elapsed.as_millis()).unwrap_or(u64::MAX),
        error: probe.error,
    });
    let name = name.as_str().parse().map_err(|_| unknown(name))?;
    Ok(UpstreamTest { name, urls: urls.collect() })
}

pub(crate) async fn purge(call: Call<'_>, name: &UpstreamName) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let expected = "a pattern of names on the upstream, such as library/*";
    let pattern: Option<Pattern> = call.query().parsed("repositories", expected)?;
    Ok(ok(&empty(&call, name, pattern).await?))
}

/// Removes what is cached of an upstream, in a task of its own: a client that disconnects does not stop it
/// half-way.
pub(crate) async fn empty(
    call: &Call<'_>,
    name: &UpstreamName,
    pattern: Option<Pattern>,
) -> Result<Purged, Error> {
    must_be_administrator(call)?;
    let (mirror, purged) = (mirror(call, name)?.clone(), name.clone());
    let work = tokio::spawn(async move { mirror.purge(purged.as_str(), pattern.as_ref()).await });
    let closed = |_| registry::Error::Store(registry::records::StoreError::Closed);
    let repositories = work.await.map_err(closed)??.ok_or_else(|| unknown(name))?;
    Ok(Purged { repositories })
}

fn mirror<'a>(call: &'a Call<'_>, name: &UpstreamName) -> Result<&'a Mirror, Error> {
    call.app.mirror.as_ref().ok_or_else(|| unknown(name))
}

fn unknown(name: &UpstreamName) -> Error {
    Error::NoUpstream(name.to_string())
}

fn upstream(status: UpstreamStatus) -> Upstream {
    let urls: Vec<UpstreamUrl> = status.urls.into_iter().map(url).collect();
    Upstream {
        name: status.name,
        state: state(status.condition),
        urls,
        default: status.is_default,
        fresh_seconds: status.fresh.as_secs(),
        max_bytes: status.max_bytes,
        repositories: status.usage.repositories,
        tags: status.usage.tags,
        contents: status.usage.contents,
        bytes: status.usage.bytes,
        hits: status.hits,
        misses: status.misses,
        stale: status.stale,
        revalidations: status.revalidations,
        fetches: status.fetches,
        received_bytes: status.bytes,
        fills: status.fills,
    }
}

fn state(condition: Condition) -> UpstreamState {
    match condition {
        Condition::Ok => UpstreamState::Ok,
        Condition::Limited => UpstreamState::Limited,
        Condition::Down => UpstreamState::Down,
    }
}

fn url(status: UrlStatus) -> UpstreamUrl {
    let UrlStatus { url, health } = status;
    let seconds =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (last_failure, last_failure_at) = health.last_failure.unzip();
    UpstreamUrl {
        url,
        state: state(health.condition),
        requests: health.requests,
        failures: health.failures,
        limited: health.limited,
        last_failure,
        last_failure_at: last_failure_at.map(seconds),
        limited_until: health.limited_until.map(seconds),
        rate_limit: health.limit,
        rate_remaining: health.remaining,
    }
}
