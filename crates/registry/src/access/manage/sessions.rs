//! Sessions of browsers: listed and revoked by their user.

use accounts::AccountName;
use store::metadata::{TokenKind, TokenRecord};

use super::{Manage, ManageError};
use crate::access::sessions::browser;

impl Manage {
    /// Returns the sessions of a user, oldest first, beginning after `after`.
    pub async fn sessions(
        &self,
        user: &AccountName,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<TokenRecord>, ManageError> {
        let user = self.token_owner(user).await?;
        let mut sessions = self.metadata().tokens(user.id, TokenKind::Session, after, limit).await?;
        for session in &mut sessions {
            session.label = browser(&session.label).to_owned();
        }
        Ok(sessions)
    }

    /// Ends a session of a user.
    pub async fn revoke_session(&self, user: &AccountName, id: i64) -> Result<(), ManageError> {
        let revoked = self.revoke(user, TokenKind::Session, "session", id).await;
        self.end("session.remove", user, Some(id.to_string()), revoked).await
    }
}
