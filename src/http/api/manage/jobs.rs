//! `/api/v1/jobs`: background jobs, for administrators.

use api::{Job, Jobs};

use super::{must_be_administrator, ok};
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

pub(crate) async fn list(call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    Ok(ok(&Jobs { jobs: all(&call) }))
}

/// Returns the state of each kind of job.
pub(crate) fn all(call: &Call<'_>) -> Vec<Job> {
    let job = |status: metrics::JobStatus| Job {
        kind: status.kind.to_owned(),
        running: status.running,
        progress: status.progress,
        succeeded: status.succeeded,
        failed: status.failed,
        failing: status.is_failing,
        last_success: status.last_success,
        last_failure: status.last_failure,
    };
    call.app.registry.jobs().into_iter().map(job).collect()
}
