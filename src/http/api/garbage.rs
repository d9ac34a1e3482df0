//! Converts records of the garbage collection into the types of the management API.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::{
    ChainLink, Collected, Erased, Explanation, GarbageKept, GarbagePreview, GarbageRemoval, GarbageReport,
    GarbageSpace, GarbageStatus, KeepingChain, RunningCollection, RunningDeletion,
};
use oci::Digest;
use registry::collection;

/// Seconds since 1970. A time before that becomes 0.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

pub(crate) fn collected(collected: collection::Collected) -> Collected {
    let collection::Collected { manifests, links, files, bytes, uploads, leased } = collected;
    Collected { manifests, links, files, bytes, uploads, leased }
}

pub(crate) fn report(done: collection::Collected, status: collection::GarbageStatus) -> GarbageReport {
    GarbageReport { collected: collected(done), kept: kept(&status) }
}

pub(crate) fn status(status: collection::GarbageStatus) -> GarbageStatus {
    GarbageStatus {
        last_at: status.last.map(|(at, _)| seconds(at)),
        last: status.last.map(|(_, done)| collected(done)),
        running: status.running.map(|running| RunningCollection {
            started_at: seconds(running.started_at),
            step: running.step.name().to_owned(),
            collected: collected(running.collected),
        }),
        deletions: status
            .deletions
            .iter()
            .map(|job| RunningDeletion {
                repository: job.repository.to_string(),
                started_at: seconds(job.started_at),
                removed: job.progress,
            })
            .collect(),
        interval: status.policy.interval.as_secs(),
        kept: kept(&status),
    }
}

fn kept(status: &collection::GarbageStatus) -> GarbageKept {
    let space = |garbage: collection::Garbage| GarbageSpace {
        manifests: garbage.manifests,
        bytes: garbage.bytes,
        more: garbage.is_cut,
    };
    GarbageKept {
        deleted: space(status.kept.deleted),
        untagged: space(status.kept.untagged),
        unused: space(status.kept.unused),
        grace: status.policy.grace.as_secs(),
        untagged_after: status.policy.untagged.map(|after| after.as_secs()),
    }
}

pub(crate) fn preview(preview: collection::Preview) -> GarbagePreview {
    let files = preview.removed.iter().filter(|removed| removed.repository.is_none());
    let (files, bytes) = files.fold((0, 0), |(files, bytes), removed| (files + 1, bytes + removed.bytes));
    let removals = preview.removed.into_iter().map(|removed| GarbageRemoval {
        kind: match (&removed.repository, removed.is_manifest) {
            (None, _) => "file",
            (Some(_), true) => "manifest",
            (Some(_), false) => "blob",
        }
        .to_owned(),
        repository: removed.repository.map(|name| name.to_string()),
        digest: removed.digest,
        bytes: removed.bytes,
        cause: collection::word(removed.cause).to_owned(),
        reason: collection::describe(removed.cause).to_owned(),
    });
    GarbagePreview {
        removals: removals.collect(),
        files,
        bytes,
        more: preview.is_cut,
        leased: preview.leased,
    }
}

pub(crate) fn explanation(explained: collection::Explanation) -> Explanation {
    let chains = explained.chains.into_iter().map(|chain| KeepingChain {
        repository: chain.repository.map(|name| name.to_string()),
        links: chain
            .links
            .into_iter()
            .map(|link| ChainLink { kind: kind(link.kind).to_owned(), name: link.name })
            .collect(),
        until: chain.until.map(seconds),
        setting: chain.setting.map(str::to_owned),
    });
    Explanation {
        digest: explained.digest,
        bytes: explained.bytes,
        chains: chains.collect(),
        goes_at: explained.due.map(seconds),
    }
}

fn kind(kind: collection::LinkKind) -> &'static str {
    use collection::LinkKind as K;
    match kind {
        K::Tag => "tag",
        K::Manifest => "manifest",
        K::Subject => "subject",
        K::Untagged => "untagged",
        K::Deleted => "deleted",
        K::Blob => "blob",
        K::Upload => "upload",
    }
}

pub(crate) fn erased(digest: Digest, erased: collection::Erasure) -> Erased {
    let names = |names: Vec<oci::RepositoryName>| names.iter().map(ToString::to_string).collect();
    Erased {
        digest,
        bytes: erased.bytes,
        repositories: names(erased.repositories),
        held_by: names(erased.held_by),
        tags: erased.tags.iter().map(|(repository, tag)| format!("{repository}:{tag}")).collect(),
        deleted: erased.is_deleted,
    }
}
