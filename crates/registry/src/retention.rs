//! Retention runs: apply the rules to all repositories, on a schedule or on request.
//!
//! A preview decides by the same code. It keeps in memory what it would have deleted, so that it blocks no push.
//! A transaction of 20,000 deletions that was rolled back held pushes up for 3.7 s.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use accounts::AccountName;
use oci::{Digest, RepositoryName, Tag};
use store::metadata::{ChangeKind, Decide, RunTag, TagState};

use crate::rules::{RetentionRule, Rules, retention};
use crate::{Error, JobKind, Registry};

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

/// The origin of a retention rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleOrigin {
    /// The configuration.
    Configuration,
    /// An administrator has set it for all repositories.
    Server,
    /// This user or organisation has set it for its repositories.
    Owner(AccountName),
}

/// The rules of the server and of all owners. Those of one owner are compiled at a time, which bounds the
/// memory: repositories come in the order of their names.
struct StoredRules {
    server: Vec<RetentionRule>,
    json: HashMap<String, String>,
    current: Option<(String, Vec<RetentionRule>)>,
}

impl StoredRules {
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
    /// [`Error::DeleteDisabled`], or an error of the store. Deletions before the error stay.
    pub async fn run_retention(
        &self,
        only: Option<&RepositoryName>,
        is_preview: bool,
    ) -> Result<RetentionReport, Error> {
        if !is_preview && !self.inner.policy.load().delete {
            return Err(Error::DeleteDisabled);
        }
        let job = self.job_metrics(JobKind::Retention);
        let mut report = RetentionReport::default();
        let progress = |repositories| job.progress(repositories);
        let retain = self.retain_all(only, is_preview, progress, &mut report);
        let retained = if is_preview { retain.await } else { job.run(retain).await };
        if let Err(error) = retained {
            if let (Some(run), deleted @ 1..) = (&report.run, report.deleted.len()) {
                tracing::warn!(
                    run,
                    deleted,
                    "a retention run failed after deletions; `wharfinger undo --run` takes them back"
                );
            }
            return Err(error);
        }
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
        report: &mut RetentionReport,
    ) -> Result<(), Error> {
        let _running = self.inner.retention.lock().await;
        // The decisions need the last pulls.
        self.flush_pulls().await?;
        let run = run_id();
        report.run = (!is_preview).then(|| run.clone());
        let grace = self.policy().garbage.grace;
        report.undo_until = SystemTime::now().checked_add(grace).filter(|_| !is_preview && !grace.is_zero());
        let mut stored = self.stored_rules().await?;
        if let Some(only) = only {
            self.retain(only, &mut stored, &run, is_preview, report).await?;
            return Ok(());
        }
        let mut after: Option<RepositoryName> = None;
        loop {
            let page =
                self.metadata.all_repositories(after.as_ref().map(RepositoryName::as_str), PAGE).await?;
            for repository in &page {
                self.retain(repository, &mut stored, &run, is_preview, report).await?;
                if !is_preview {
                    progress(report.repositories);
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
            after = page.last().cloned();
        }
    }

    async fn retain(
        &self,
        repository: &RepositoryName,
        stored: &mut StoredRules,
        run: &str,
        is_preview: bool,
        report: &mut RetentionReport,
    ) -> Result<(), Error> {
        let policy = self.policy();
        let owner = repository.as_str().split('/').next().unwrap_or_default();
        let mut rules = policy.retention.rules.clone();
        rules.extend_from_slice(&stored.server);
        rules.extend_from_slice(stored.of(owner));
        if !rules.iter().any(|rule| rule.concerns(repository)) {
            return Ok(());
        }
        let decide = decision(rules, policy.retention.minimum_age, repository.clone(), policy.rules.clone());
        report.repositories += 1;
        loop {
            let step = match is_preview {
                true => self.metadata.preview_retain(repository, decide.clone()).await?,
                false => self.metadata.retain(repository, run, decide.clone()).await?,
            };
            for deletion in step.deleted {
                let deletion = RetainedDeletion {
                    repository: repository.clone(),
                    tag: deletion.tag,
                    digest: deletion.digest,
                    reason: deletion.reason,
                    with_manifest: deletion.with_manifest,
                };
                report.deleted.push(deletion);
            }
            if !is_preview {
                self.inner.accounts.show_audited(&step.audited);
            }
            if !step.more {
                report.kept += step.kept;
                return Ok(());
            }
        }
    }

    async fn stored_rules(&self) -> Result<StoredRules, Error> {
        let rules = self.metadata.all_retention_rules().await?;
        let json = rules.into_iter().map(|(owner, json)| (owner.to_string(), json)).collect();
        Ok(StoredRules { server: self.server_rules().await?, json, current: None })
    }

    /// The rules that an administrator has set for all repositories.
    async fn server_rules(&self) -> Result<Vec<RetentionRule>, Error> {
        let json = self.metadata.retention_rules(None).await?.unwrap_or_else(|| "[]".to_owned());
        Ok(retention::from_json(&json).unwrap_or_else(|error| {
            tracing::error!(%error, "the retention rules of the server cannot be read, and are skipped");
            Vec::new()
        }))
    }

    /// Returns the retention rules in the order in which they apply: those of the configuration, then those
    /// that an administrator has set for all repositories, then those of owners. Rules that cannot be read
    /// are left out.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn retention_rules(&self) -> Result<Vec<(RuleOrigin, RetentionRule)>, Error> {
        let policy = self.inner.policy.load();
        let configured = policy.retention.rules.iter().cloned();
        let mut rules: Vec<_> = configured.map(|rule| (RuleOrigin::Configuration, rule)).collect();
        rules.extend(self.server_rules().await?.into_iter().map(|rule| (RuleOrigin::Server, rule)));
        for (owner, json) in self.metadata.all_retention_rules().await? {
            let own = retention::from_json(&json).unwrap_or_default();
            rules.extend(own.into_iter().map(|rule| (RuleOrigin::Owner(owner.clone()), rule)));
        }
        Ok(rules)
    }

    /// The retention rules that an owner has set, or an administrator for all repositories; `None` if there
    /// are none.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn stored_retention(&self, owner: Option<&AccountName>) -> Result<Option<String>, Error> {
        Ok(self.metadata.retention_rules(owner).await?)
    }

    /// Sets the retention rules of an owner, or those for all repositories, after [`retention::from_json`]
    /// has accepted them. `None` removes them.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn set_stored_retention(
        &self,
        owner: Option<&AccountName>,
        rules: Option<String>,
    ) -> Result<(), Error> {
        Ok(self.metadata.set_retention_rules(owner, rules).await?)
    }

    /// Takes back all deletions of a retention run, as far as the trash still has them. A tag that was pushed
    /// since then stays.
    ///
    /// # Errors
    /// The errors of the store.
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
