//! What the audit log has kept.

use store::metadata::{AuditFilter, AuditRecord};

use super::{Manage, ManageError};

impl Manage {
    /// What the audit log has kept, in its order. Who is no administrator finds what their own
    /// account did.
    pub async fn audit(&self, filter: AuditFilter, limit: usize) -> Result<Vec<AuditRecord>, ManageError> {
        let mut filter = filter;
        if !self.is_administrator() {
            let own = self.own_account()?.name.as_str();
            if filter.account.as_ref().is_some_and(|account| account != own) {
                return Err(ManageError::Denied("only an administrator may read what others did"));
            }
            filter.account = Some(own.to_owned());
        }
        // What was done a moment ago should be among it.
        self.accounts.flush_audit().await;
        Ok(self.metadata().audit(filter, limit).await?)
    }
}
