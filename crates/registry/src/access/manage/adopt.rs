//! Adoption on request, which reads the data directory again.

use store::adopt::Report;

use super::{Manage, ManageError};
use crate::Error;

impl Manage {
    /// Lets an administrator adopt what another program has changed in the data directory: `adopt` does it.
    ///
    /// # Errors
    /// [`ManageError::Denied`] to others, and those of `adopt`.
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
