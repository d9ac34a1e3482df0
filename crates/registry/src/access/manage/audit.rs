//! Reads the audit log.

use store::metadata::{AuditFilter, AuditRecord};

use super::{Manage, ManageError};

impl Manage {
    /// Returns entries in the order of the log. Non-administrators see only their own.
    pub async fn audit(&self, filter: AuditFilter, limit: usize) -> Result<Vec<AuditRecord>, ManageError> {
        let mut filter = filter;
        if !self.is_administrator() {
            let own = self.own_account()?;
            let (id, own) = (own.id, own.name.as_str());
            if filter.account.as_ref().is_some_and(|account| account != own) {
                return Err(ManageError::Denied(
                    "only an administrator may read the entries of other accounts",
                ));
            }
            filter.account = Some(own.to_owned());
            // The entries before may be of an earlier account of this name.
            let made = self.metadata().account_by_id(id).await?.map(|account| account.created_at);
            filter.since = filter.since.max(made);
        }
        // Includes entries that are still in the queue.
        self.accounts.flush_audit().await;
        Ok(self.metadata().audit(filter, limit).await?)
    }
}
