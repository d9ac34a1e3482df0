//! Converts records of the registry into the types of the management API.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::{
    Adopted, AdoptedChange, AdoptionProblem, AuditEntry, AuditOutcome, CheckFault, CheckReading, CheckReport,
    DeletedManifest, Grant, HistoryEntry, ManifestEntry, Member, Organisation, OwnerUsage, QuotaEntry,
    Repository, RepositoryUsage, RetentionDeletion, RetentionReport, RetentionRuleInForce, Robot, RunTag,
    Session, Source, TagEntry, Team, Token, UnwrittenBlob, Usage, User, WrongCounter,
};
use oci::RepositoryName;
use registry::RuleOrigin;
use registry::check::{Checked, Fault, FaultKind, Repair};
use registry::records::{self, CounterDrift, ErasureMark, Report, ViewProblem};
use registry::rules::retention::{KeepBy, RetentionRule};

/// Seconds since 1970. A time before that becomes 0.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

pub(crate) fn repository(record: records::RepositoryRecord) -> Repository {
    Repository {
        name: record.name,
        description: record.description,
        tags: Some(record.tags),
        manifests: Some(record.manifests),
        bytes: Some(record.bytes),
        updated_at: Some(seconds(record.updated_at)),
        pulls: Some(record.pulls),
    }
}

pub(crate) fn deleted_manifest(deleted: records::DeletedManifest) -> DeletedManifest {
    DeletedManifest {
        id: deleted.id,
        digest: deleted.manifest.digest,
        media_type: deleted.manifest.media_type,
        size: deleted.manifest.size,
        tags: deleted.tags,
        deleted_at: seconds(deleted.deleted_at),
        account: deleted.account,
        reason: deleted.deletion.reason,
        run: deleted.deletion.run,
    }
}

pub(crate) fn owner_usage(usage: records::OwnerUsage) -> OwnerUsage {
    let records::OwnerUsage { owner, repositories, bytes } = usage;
    OwnerUsage { owner, repositories, bytes }
}

/// A repository of a gateway, which knows only its name and description.
pub(crate) fn gateway_repository(record: records::RepositoryRecord) -> Repository {
    Repository {
        name: record.name,
        description: record.description,
        tags: None,
        manifests: None,
        bytes: None,
        updated_at: None,
        pulls: None,
    }
}

pub(crate) fn tag(record: records::TagRecord) -> TagEntry {
    TagEntry {
        tag: record.tag,
        digest: record.manifest.digest,
        media_type: record.manifest.media_type,
        size: record.manifest.size,
        updated_at: seconds(record.updated_at),
        pulls: record.pulls,
        pulled_at: record.pulled_at.map(seconds),
    }
}

pub(crate) fn retention_rule((origin, rule): (RuleOrigin, RetentionRule)) -> RetentionRuleInForce {
    let seconds = |span: std::time::Duration| span.as_secs();
    let by = match rule.by {
        KeepBy::Push => "push",
        KeepBy::Version => "version",
    };
    let rule = api::RetentionRule {
        repositories: rule.repositories.iter().map(ToString::to_string).collect(),
        tags: rule.tags.iter().map(ToString::to_string).collect(),
        keep_newest: rule.keep_newest.map(|newest| newest as u64),
        by: by.to_owned(),
        keep_pushed_within: rule.keep_pushed_within.map(seconds),
        keep_pulled_within: rule.keep_pulled_within.map(seconds),
        keep: rule.keep.iter().map(ToString::to_string).collect(),
    };
    let (origin, owner) = match origin {
        RuleOrigin::Configuration => ("configuration", None),
        RuleOrigin::Server => ("server", None),
        RuleOrigin::Owner(owner) => ("owner", Some(owner)),
    };
    RetentionRuleInForce { origin: origin.to_owned(), owner, rule }
}

pub(crate) fn manifest(details: records::ManifestDetails) -> ManifestEntry {
    ManifestEntry {
        digest: details.manifest.digest,
        media_type: details.manifest.media_type,
        size: details.manifest.size,
        tags: details.tags,
        pushed_at: seconds(details.pushed_at),
        pulls: details.pulls,
        pulled_at: details.pulled_at.map(seconds),
    }
}

pub(crate) fn quota(usage: records::QuotaUsage) -> QuotaEntry {
    let records::QuotaUsage { quota, bytes, tags } = usage;
    QuotaEntry { scope: quota.scope, bytes, max_bytes: quota.max_bytes, tags, max_tags: quota.max_tags }
}

pub(crate) fn history_entry(entry: records::HistoryEntry) -> HistoryEntry {
    HistoryEntry {
        id: entry.id,
        tag: entry.tag,
        at: seconds(entry.at),
        from: entry.previous,
        to: entry.digest,
        account: entry.account,
        request_id: entry.request_id,
        reason: entry.reason,
        run: entry.run,
    }
}

pub(crate) fn retention_report(report: registry::RetentionReport) -> RetentionReport {
    let registry::RetentionReport { run, repositories, kept, deleted, undo_until } = report;
    let deletion = |deletion: registry::RetainedDeletion| RetentionDeletion {
        repository: deletion.repository,
        tag: deletion.tag,
        digest: deletion.digest,
        reason: deletion.reason,
        with_manifest: deletion.with_manifest,
    };
    let undo_until =
        undo_until.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
    let deleted = deleted.into_iter().map(deletion).collect();
    RetentionReport { run, repositories, kept, deleted, undo_until }
}

/// A tag of a run. `incomplete`: content of its image is missing or damaged.
pub(crate) fn run_tag(tag: records::RunTag, incomplete: bool) -> RunTag {
    let reason = match (tag.is_restored, tag.is_gone) {
        (true, _) if incomplete => "restored, but content of the image is missing or damaged",
        (true, _) => "",
        (false, true) => "its grace period has ended",
        (false, false) => "a new tag of this name exists",
    };
    RunTag {
        repository: tag.repository,
        tag: tag.tag,
        digest: tag.digest,
        restored: tag.is_restored,
        reason: reason.to_owned(),
        incomplete,
    }
}

pub(crate) fn usage(usage: records::Usage) -> Usage {
    Usage {
        repositories: usage.repositories,
        blobs: usage.blobs,
        bytes: usage.bytes,
        unreferenced_bytes: usage.unreferenced_bytes,
    }
}

pub(crate) fn repository_usage(usage: records::RepositoryUsage) -> RepositoryUsage {
    RepositoryUsage { name: usage.name, bytes: usage.bytes, own_bytes: usage.own_bytes }
}

pub(crate) fn user(record: records::AccountRecord) -> User {
    User {
        name: record.name,
        administrator: record.administrator,
        disabled: record.disabled,
        source: match record.source {
            records::Source::Own => Source::Own,
            records::Source::File => Source::File,
            records::Source::Forward => Source::Forward,
        },
        description: record.description,
        created_at: seconds(record.created_at),
        last_seen_at: record.last_seen_at.map(seconds),
    }
}

pub(crate) fn organisation(record: records::AccountRecord) -> Organisation {
    Organisation {
        name: record.name,
        description: record.description,
        created_at: seconds(record.created_at),
    }
}

pub(crate) fn robot(record: records::AccountRecord) -> Robot {
    Robot {
        name: record.name,
        disabled: record.disabled,
        description: record.description,
        created_at: seconds(record.created_at),
        last_seen_at: record.last_seen_at.map(seconds),
    }
}

pub(crate) fn member(record: records::MemberRecord) -> Member {
    Member { user: record.account, role: record.role }
}

pub(crate) fn team(record: records::TeamRecord) -> Team {
    Team { name: record.name, members: record.members, created_at: seconds(record.created_at) }
}

pub(crate) fn token(record: records::TokenRecord) -> Token {
    Token {
        id: record.id,
        label: record.label,
        rights: record.rights,
        repositories: record.patterns,
        created_at: seconds(record.created_at),
        expires_at: record.expires_at.map(seconds),
        last_used_at: record.last_used_at.map(seconds),
    }
}

pub(crate) fn session(record: records::TokenRecord) -> Session {
    Session {
        id: record.id,
        browser: record.label,
        created_at: seconds(record.created_at),
        expires_at: record.expires_at.map(seconds),
        last_used_at: record.last_used_at.map(seconds),
    }
}

pub(crate) fn grant(record: records::GrantRecord) -> Grant {
    Grant {
        id: record.id,
        subject: record.subject,
        rights: record.rights,
        repositories: record.pattern,
        created_at: seconds(record.created_at),
    }
}

pub(crate) fn audit_entry(records::AuditRecord { id, entry }: records::AuditRecord) -> AuditEntry {
    AuditEntry {
        id,
        at: seconds(entry.at),
        account: entry.account,
        address: entry.address,
        action: entry.action,
        object: entry.object,
        verdict: match entry.verdict {
            records::AuditOutcome::Allowed => AuditOutcome::Allowed,
            records::AuditOutcome::Denied => AuditOutcome::Denied,
            records::AuditOutcome::Failed => AuditOutcome::Failed,
        },
        status: entry.status,
        request_id: entry.request_id,
        detail: entry.detail,
    }
}

pub(crate) fn check_report(checked: Checked) -> CheckReport {
    let counter = |drift: CounterDrift| WrongCounter {
        repository: drift.repository.to_string(),
        recorded: drift.recorded,
        actual: drift.actual,
    };
    CheckReport {
        repositories: checked.repositories,
        manifests: checked.manifests,
        blobs: checked.blobs,
        bytes: checked.bytes,
        links_written: checked.view.written,
        changes_adopted: adopted(checked.adopted, Vec::new()).changes,
        not_adopted: checked.problems.into_iter().map(adoption_problem).collect(),
        cannot_be_written: checked.view.blocked.into_iter().map(unwritable).collect(),
        unwritten: checked
            .unwritten
            .into_iter()
            .map(|blob| UnwrittenBlob { digest: blob.digest.to_string(), problem: blob.reason })
            .collect(),
        faults: checked.faults.into_iter().map(check_fault).collect(),
        orphan_files: checked.orphans.files,
        orphan_bytes: checked.orphans.bytes,
        replaceable_files: checked.replaceable.files,
        replaceable_bytes: checked.replaceable.bytes,
        counters: checked.counters.into_iter().map(counter).collect(),
        quotas: checked.quotas,
        reading: checked
            .reading
            .map(|reading| CheckReading { bytes: reading.bytes, resumed_bytes: reading.resumed }),
        is_repair: checked.is_repair,
    }
}

fn check_fault(fault: Fault) -> CheckFault {
    let text = match fault.what {
        FaultKind::Missing => "is missing".to_owned(),
        FaultKind::Unreadable => "cannot be read: the server's user needs access to its file".to_owned(),
        FaultKind::NotLinked => "was deleted from the repository although an image needs it".to_owned(),
        FaultKind::Erased => erased_text(fault.erasure.as_ref()),
        FaultKind::Size { expected, actual } => format!("has {actual} bytes instead of {expected}"),
        FaultKind::Digest { actual } => format!("is damaged: its digest is {actual}"),
        FaultKind::PartSize { part, claimed, actual } => {
            format!("is a manifest that says {part} has {claimed} bytes, but it has {actual}")
        }
    };
    let affected = fault.affected.iter().map(|(repository, tag)| match tag {
        Some(tag) => format!("{repository}:{tag}"),
        None => repository.to_string(),
    });
    CheckFault {
        repository: fault.repository.to_string(),
        digest: fault.digest.to_string(),
        fault: text,
        is_wrong_claim: matches!(fault.what, FaultKind::PartSize { .. }),
        affected: affected.collect(),
        repair: fault.repair.as_ref().map(repair),
        is_mended: fault.is_mended(),
        advice: fault.advice().map(str::to_owned),
    }
}

fn erased_text(erasure: Option<&ErasureMark>) -> String {
    let at = erasure.map(|erasure| format!(" on {}", crate::rfc3339::seconds(erasure.at)));
    let by = erasure.and_then(|erasure| erasure.account.as_ref()).map(|account| format!(" by {account}"));
    format!("was erased{}{}", at.unwrap_or_default(), by.unwrap_or_default())
}

fn repair(repair: &Repair) -> String {
    match repair {
        Repair::Linked => "linked again".to_owned(),
        Repair::SizeCorrected => "the bytes are right: corrected the recorded size".to_owned(),
        Repair::Found => "found under another digest, and put in its place".to_owned(),
        Repair::MovedAside(place) => format!("moved to {place}"),
    }
}

/// The result of an adoption, with all links that are not adopted.
pub(crate) fn adopted(report: Report, problems: Vec<ViewProblem>) -> Adopted {
    let changes = report.changes.into_iter();
    let incomplete = report.incomplete.into_iter();
    Adopted {
        repositories: report.repositories,
        manifests: report.manifests,
        tags: report.tags,
        changes: changes
            .map(|change| AdoptedChange { repository: change.repository, change: change.what })
            .collect(),
        incomplete: incomplete
            .map(|problem| AdoptionProblem {
                path: problem.path.display().to_string(),
                problem: problem.what,
            })
            .collect(),
        problems: problems.into_iter().map(adoption_problem).collect(),
    }
}

fn adoption_problem(problem: ViewProblem) -> AdoptionProblem {
    AdoptionProblem { path: String::from_utf8_lossy(&problem.path).into_owned(), problem: problem.problem }
}

/// A repository whose links could not be written, and the reason.
fn unwritable((repository, problem): (RepositoryName, String)) -> AdoptionProblem {
    AdoptionProblem { path: repository.to_string(), problem }
}
