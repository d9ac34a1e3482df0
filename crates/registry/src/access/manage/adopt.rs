//! Adoption of outside changes on request.

use store::adopt::Report;

use super::{Manage, ManageError};
use crate::Error;

impl Manage {
    /// Runs `adopt` for an administrator, and records it.
    ///
    /// # Errors
    /// [`ManageError::Denied`] for other accounts, and those of `adopt`.
    pub async fn adopt(
        &self,
        adopt: impl Future<Output = Result<Report, Error>>,
    ) -> Result<Report, ManageError> {
        let outcome = match self.must_be_administrator() {
            Ok(()) => adopt.await.map_err(ManageError::from),
            Err(error) => Err(error),
        };
        self.end("directory.adopt", "repositories/", None, outcome).await
    }
}
