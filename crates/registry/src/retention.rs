//! Retention runs: apply the rules to all repositories, on a schedule or on request.
//!
//! A preview runs the same code in transactions that are rolled back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use accounts::AccountName;
use oci::{Digest, RepositoryName, Tag};
use store::metadata::{AuditOutcome, ChangeKind, Decide, RunTag, TagState};

use crate::access::AuditEvent;
use crate::rules::{RetentionRule, Rules, retention};
use crate::{Error, Registry};

/// The number of repositories that are read at once.
const PAGE: usize = 500;
/// The longest sleep of the scheduler: a clock that jumps delays a run by no more.
const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// The retention of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct RetentionPolicy {
    /// The rules of the operator, in their order.
    pub rules: Vec<RetentionRule>,
    /// The age below which no rule deletes a tag: since its last push or pull.
    pub minimum_age: Duration,
    /// The time of the runs.
    pub schedule: Option<crate::rules::Schedule>,
}

impl Default for RetentionPolicy {
    fn default() -> Self {
        Self { rules: Vec::new(), minimum_age: Duration::from_secs(24 * 60 * 60), schedule: None }
    }
}

/// The deletion of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedDeletion {
    /// Its repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
    /// Its manifest.
    pub digest: Digest,
    /// The rule.
    pub reason: String,
    /// Whether the manifest went to the trash with its last tag.
    pub with_manifest: bool,
}

/// The result of a run or a preview.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionReport {
    /// The id of the run; `None` for a preview.
    pub run: Option<String>,
    /// The number of repositories that a rule is about.
    pub repositories: u64,
    /// The number of their tags that stay.
    pub kept: u64,
    /// The deletions.
    pub deleted: Vec<RetainedDeletion>,
    /// Until when an undo takes the run back: the first of its deletions goes then. `None` for a preview, and
    /// without a grace period.
    pub undo_until: Option<SystemTime>,
}

/// The rules of all owners. Those of one owner are compiled at a time, which bounds the memory: repositories
/// come in the order of their names.
struct OwnerRules {
    json: HashMap<String, String>,
    current: Option<(String, Vec<RetentionRule>)>,
}

impl OwnerRules {
    fn of(&mut self, owner: &str) -> &[RetentionRule] {
        let Some(json) = self.json.get(owner) else { return &[] };
        let current = self.current.take().filter(|(name, _)| name == owner);
        let (_, rules) = self.current.insert(current.unwrap_or_else(|| {
            let rules = retention::from_json(json).unwrap_or_else(|error| {
                tracing::error!(%owner, %error, "the retention rules of an owner cannot be read, and are skipped");
                Vec::new()
            });
            (owner.to_owned(), rules)
        }));
        rules
    }
}

impl Registry {
    /// Applies the rules to all repositories, or to one. A preview changes nothing.
    ///
    /// # Errors
    /// [`Error::DeleteDisabled`], or those of the store. Deletions before the error stay.
    pub async fn run_retention(
        &self,
        only: Option<&RepositoryName>,
        is_preview: bool,
    ) -> Result<RetentionReport, Error> {
        if !is_preview && !self.inner.policy.load().delete {
            return Err(Error::DeleteDisabled);
        }
        let job = self.job_metrics("retention");
        if !is_preview {
            job.started();
        }
        let retained = self.retain_all(only, is_preview, |repositories| job.progress(repositories)).await;
        if !is_preview {
            job.ended(&retained);
        }
        let report = retained?;
        if let Some(run) = &report.run {
            let detail =
                serde_json::json!({ "run": run, "deleted": report.deleted.len(), "kept": report.kept });
            self.announce(ChangeKind::RetentionRun, None, detail).await?;
        }
        Ok(report)
    }

    async fn retain_all(
        &self,
        only: Option<&RepositoryName>,
        is_preview: bool,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<RetentionReport, Error> {
        let _running = self.inner.retention.lock().await;
        // The decisions need the last pulls.
        self.flush_pulls().await?;
        let run = run_id();
        let mut report =
            RetentionReport { run: (!is_preview).then(|| run.clone()), ..RetentionReport::default() };
        let grace = self.policy().garbage.grace;
        report.undo_until = SystemTime::now().checked_add(grace).filter(|_| !is_preview && !grace.is_zero());
        let mut by_owner = self.rules_of_owners().await?;
        if let Some(only) = only {
            self.retain(only, &mut by_owner, &run, is_preview, &mut report).await?;
            return Ok(report);
        }
        let mut after: Option<RepositoryName> = None;
        loop {
            let page =
                self.metadata.all_repositories(after.as_ref().map(RepositoryName::as_str), PAGE).await?;
            for repository in &page {
                self.retain(repository, &mut by_owner, &run, is_preview, &mut report).await?;
                if !is_preview {
                    progress(report.repositories);
                }
            }
            if page.len() < PAGE {
                return Ok(report);
            }
            after = page.last().cloned();
        }
    }

    async fn retain(
        &self,
        repository: &RepositoryName,
        by_owner: &mut OwnerRules,
        run: &str,
        is_preview: bool,
        report: &mut RetentionReport,
    ) -> Result<(), Error> {
        let policy = self.policy();
        let owner = repository.as_str().split('/').next().unwrap_or_default();
        let mut rules = policy.retention.rules.clone();
        rules.extend_from_slice(by_owner.of(owner));
        if !rules.iter().any(|rule| rule.concerns(repository)) {
            return Ok(());
        }
        let decide = decision(rules, policy.retention.minimum_age, repository.clone(), policy.rules.clone());
        report.repositories += 1;
        loop {
            let step = self.metadata.retain(repository, run, is_preview, decide.clone()).await?;
            for deletion in step.deleted {
                let deletion = RetainedDeletion {
                    repository: repository.clone(),
                    tag: deletion.tag,
                    digest: deletion.digest,
                    reason: deletion.reason,
                    with_manifest: deletion.with_manifest,
                };
                if !is_preview {
                    self.record_deletion(&deletion, run).await;
                }
                report.deleted.push(deletion);
            }
            if !step.more || is_preview {
                report.kept += step.kept;
                return Ok(());
            }
        }
    }

    async fn record_deletion(&self, deletion: &RetainedDeletion, run: &str) {
        let RetainedDeletion { repository, tag, digest, reason, .. } = deletion;
        let event = AuditEvent {
            account: Some("(retention)".to_owned()),
            address: None,
            action: "retention.delete",
            object: Some(format!("{repository}:{tag}")),
            verdict: AuditOutcome::Allowed,
            status: None,
            request_id: None,
            detail: Some(format!("{digest}; {reason}; run {run}")),
        };
        self.inner.accounts.record_durably(event).await;
    }

    async fn rules_of_owners(&self) -> Result<OwnerRules, Error> {
        let rules = self.metadata.all_retention_rules().await?;
        let json = rules.into_iter().map(|(owner, json)| (owner.to_string(), json)).collect();
        Ok(OwnerRules { json, current: None })
    }

    /// Returns the retention rules in the order in which they apply: those of the configuration, then those
    /// of owners. The rules of an owner that cannot be read are left out.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn retention_rules(&self) -> Result<Vec<(Option<AccountName>, RetentionRule)>, Error> {
        let policy = self.inner.policy.load();
        let mut rules: Vec<_> = policy.retention.rules.iter().map(|rule| (None, rule.clone())).collect();
        for (owner, json) in self.metadata.all_retention_rules().await? {
            let own = retention::from_json(&json).unwrap_or_default();
            rules.extend(own.into_iter().map(|rule| (Some(owner.clone()), rule)));
        }
        Ok(rules)
    }

    /// The retention rules of an owner, as it has set them; `None` if it has none.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn owner_retention(&self, owner: &AccountName) -> Result<Option<String>, Error> {
        Ok(self.metadata.retention_rules(owner).await?)
    }

    /// Sets the retention rules of an owner, after [`retention::from_json`] has accepted them. `None` removes
    /// them.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn set_owner_retention(&self, owner: &AccountName, rules: Option<String>) -> Result<(), Error> {
        Ok(self.metadata.set_retention_rules(owner, rules).await?)
    }

    /// Takes back all deletions of a retention run, as far as the trash still has them. A tag that was pushed
    /// since then stays.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn undo_retention(&self, run: &str) -> Result<Vec<RunTag>, Error> {
        let (mut tags, mut after) = (Vec::new(), 0);
        loop {
            let (restored, next) = self.metadata.undo_run(run, after).await?;
            tags.extend(restored);
            match next {
                Some(next) => after = next,
                None => return Ok(tags),
            }
        }
    }

    /// Runs at the times of the schedule.
    pub(crate) async fn run_retention_on_schedule(&self) {
        let mut changed = self.inner.policy_changed.subscribe();
        let next = || {
            let policy = self.inner.policy.load();
            let schedule = policy.retention.schedule.as_ref().filter(|_| policy.delete);
            schedule.and_then(|schedule| schedule.next(SystemTime::now()))
        };
        let mut due = next();
        loop {
            let left = due.map(|due| due.duration_since(SystemTime::now()).unwrap_or_default());
            if left.is_none_or(|left| !left.is_zero()) {
                // Without a time, a new policy ends the wait.
                let wait = async {
                    match left {
                        Some(left) => tokio::time::sleep(left.min(CLOCK_CHECK)).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = wait => {}
                    _ = changed.changed() => due = next(),
                }
                continue;
            }
            match self.run_retention(None, false).await {
                Ok(RetentionReport { run, deleted, kept, .. }) if !deleted.is_empty() => {
                    let (run, deleted) = (run.unwrap_or_default(), deleted.len());
                    tracing::info!(
                        run,
                        deleted,
                        kept,
                        "retention deleted tags; `wharfinger undo --run` takes it back"
                    );
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the retention run failed; the next one goes on"),
            }
            due = next();
        }
    }
}

/// The decision on the tags of a repository. Immutable and protected tags stay.
fn decision(
    rules: Vec<RetentionRule>,
    minimum_age: Duration,
    repository: RepositoryName,
    tag_rules: Arc<Rules>,
) -> Decide {
    Arc::new(move |tags: &[TagState]| {
        let doomed = retention::decide(&rules, minimum_age, &repository, tags, SystemTime::now());
        doomed
            .into_iter()
            .filter(|doomed| tag_rules.keeps(&repository, &doomed.tag).is_none())
            .map(|doomed| (doomed.tag, doomed.reason))
            .collect()
    })
}

/// A new id of a run: the time and four random digits.
fn run_id() -> String {
    let now: chrono::DateTime<chrono::Utc> = SystemTime::now().into();
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{}-{}", now.format("%Y%m%d-%H%M%S"), &random[..4])
}
