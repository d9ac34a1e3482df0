//! Backup of the metadata and the keys as one file, while the registry is in use.

use std::io::{self, Write};

use store::StoreError;
pub use store::backup::{ConfigurationFile, Manifest};

use crate::{JobKind, Registry};

impl Registry {
    /// Writes a backup to `output`. One backup is made at a time; others wait.
    ///
    /// # Errors
    /// The errors of the store and of `output`.
    pub async fn backup(
        &self,
        configuration: Vec<ConfigurationFile>,
        output: impl Write + Send + 'static,
    ) -> Result<Manifest, StoreError> {
        let _turn = self.inner.backup.lock().await;
        let job = self.job_metrics(JobKind::Backup);
        let output = Counted { output, bytes: 0, job: job.clone() };
        let written = store::backup::write(&self.inner.directory, &self.metadata, configuration, output);
        job.run(written).await
    }
}

/// Counts the written bytes as the progress of the job.
struct Counted<W> {
    output: W,
    bytes: u64,
    job: metrics::Job,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.bytes += written as u64;
        self.job.progress(self.bytes);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
