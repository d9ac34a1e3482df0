//! Backup of the metadata and the keys as one file, while the registry is in use.

use std::io::Write;

pub use store::backup::{ConfigurationFile, Manifest};

use crate::{Error, Registry};

impl Registry {
    /// Writes a backup to `output`. One backup is made at a time; others wait.
    ///
    /// # Errors
    /// Those of the store and of `output`.
    pub async fn backup(
        &self,
        configuration: Vec<ConfigurationFile>,
        output: impl Write + Send + 'static,
    ) -> Result<Manifest, Error> {
        let _turn = self.inner.backup.lock().await;
        let job = self.job_metrics("backup");
        job.started();
        let written =
            store::backup::write(&self.inner.directory, &self.metadata, configuration, output).await;
        job.ended(&written);
        Ok(written?)
    }
}
