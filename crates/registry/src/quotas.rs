//! Quotas: checks before an upload, and the use of each quota. The transaction of a change checks again, see
//! [`ChangeRules`].

use std::collections::HashSet;

use accounts::Visible;
use oci::RepositoryName;
use store::metadata::{ChangeRules as _, QuotaExcess, QuotaUsage};
use uuid::Uuid;

use crate::{Error, Registry};

/// The number of repositories that are read at once.
const PAGE: usize = 1_000;

impl Registry {
    /// Checks an upload by its announced size, before any of it is received.
    ///
    /// # Errors
    /// [`Error::ReserveReached`], [`Error::QuotaExceeded`].
    pub async fn check_announced(
        &self,
        repository: &RepositoryName,
        announced: Option<u64>,
    ) -> Result<(), Error> {
        match announced {
            Some(0) => Ok(()),
            size => {
                self.check_reserve(size.unwrap_or(0))?;
                self.check_quota(repository, size).await
            }
        }
    }

    /// Checks that an upload of `size` bytes into a repository is within its quotas, as far as they are known
    /// before the upload. An upload of an unknown size is refused if a quota is used up.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`].
    pub async fn check_quota(&self, repository: &RepositoryName, size: Option<u64>) -> Result<(), Error> {
        match self.quota_left(repository).await? {
            Some((left, excess)) if size.unwrap_or(1) > left => Err(self.quota_exceeded(excess).await),
            _ => Ok(()),
        }
    }

    /// The error of a change beyond a quota, with the bytes of deleted images.
    pub(crate) async fn quota_exceeded(&self, excess: QuotaExcess) -> Error {
        Error::QuotaExceeded(Box::new(self.metadata.with_deleted(excess).await))
    }

    /// The number of bytes that the quotas of a repository leave, with the error beyond it. `None` without a
    /// quota.
    pub(crate) async fn quota_left(
        &self,
        repository: &RepositoryName,
    ) -> Result<Option<(u64, QuotaExcess)>, Error> {
        let quotas = self.inner.policy.load().rules.quotas(repository);
        if quotas.is_empty() {
            return Ok(None);
        }
        let usages = self.metadata.quota_usage(quotas).await?;
        let left = usages.into_iter().filter_map(|usage| {
            let limit = usage.quota.max_bytes?;
            let (scope, used) = (usage.quota.scope, usage.bytes);
            let excess = QuotaExcess { scope, is_bytes: true, used, limit, unfinished: 0, deleted: 0 };
            Some((limit.saturating_sub(used), excess))
        });
        Ok(left.min_by_key(|(left, _)| *left))
    }

    /// Refuses more bytes of an upload while the content and all other unfinished uploads use up a quota. So
    /// an owner exceeds a quota by the bytes of one upload at most, and clients can repeat an upload whose
    /// connection broke.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`].
    pub(crate) async fn check_unfinished(
        &self,
        repository: &RepositoryName,
        upload: Option<Uuid>,
    ) -> Result<(), Error> {
        let rules = self.inner.policy.load().rules.clone();
        let mut quotas = rules.quotas(repository);
        quotas.retain(|quota| quota.max_bytes.is_some());
        if quotas.is_empty() {
            return Ok(());
        }
        let others = self.inner.unfinished.others(upload);
        if others.is_empty() {
            return Ok(());
        }
        for usage in self.metadata.quota_usage(quotas).await? {
            let (scope, used) = (usage.quota.scope, usage.bytes);
            let counts = |name: &RepositoryName| rules.quotas(name).iter().any(|quota| quota.scope == scope);
            let unfinished: u64 =
                others.iter().filter(|(name, _)| counts(name)).map(|(_, bytes)| bytes).sum();
            let limit = usage.quota.max_bytes.unwrap_or(u64::MAX);
            if unfinished > 0 && used.saturating_add(unfinished) >= limit {
                let excess = QuotaExcess { scope, is_bytes: true, used, limit, unfinished, deleted: 0 };
                return Err(self.quota_exceeded(excess).await);
            }
        }
        Ok(())
    }

    /// The use of the quotas of all visible repositories. A quota on several repositories needs the
    /// visibility of all.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn quotas(&self, visible: &Visible) -> Result<Vec<QuotaUsage>, Error> {
        let rules = self.policy().rules.clone();
        let sees_all = matches!(visible, Visible::Everything);
        let mut quotas = if sees_all { rules.fixed_quotas() } else { Vec::new() };
        if sees_all && !rules.has_quotas_of_single_repositories() {
            return Ok(self.metadata.quota_usage(quotas).await?);
        }
        let mut seen: HashSet<String> = quotas.iter().map(|quota| quota.scope.clone()).collect();
        let mut after: Option<String> = None;
        loop {
            let page = self.metadata.catalog(visible, after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.to_string());
            for name in &page {
                let of_one = [format!("repository {name}"), format!("repositories {name}")];
                for quota in rules.quotas(name).into_iter().filter(|quota| of_one.contains(&quota.scope)) {
                    if seen.insert(quota.scope.clone()) {
                        quotas.push(quota);
                    }
                }
            }
        }
        Ok(self.metadata.quota_usage(quotas).await?)
    }

    /// The quota of the repositories of an account, if there is one.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn owner_quota(&self, owner: &accounts::AccountName) -> Result<Option<QuotaUsage>, Error> {
        let scope = format!("owner {owner}");
        let quotas = self.inner.policy.load().rules.fixed_quotas();
        let quotas = quotas.into_iter().filter(|quota| quota.scope == scope).collect();
        Ok(self.metadata.quota_usage(quotas).await?.into_iter().next())
    }
}
