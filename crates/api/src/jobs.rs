//! Background jobs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The response to `GET /api/v1/jobs`: every kind of job that has run since the start, sorted by kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Jobs {
    pub jobs: Vec<Job>,
}

/// The runs of a kind of job since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// `garbage-collection`, `retention`, `check`, `backup`, `upload-expiry`, `upload-leftovers`,
    /// `upstream-prefetch`, `upstream-eviction`, `repository-deletion`, `metadata-shipping` or `move`.
    pub kind: String,
    /// Number of runs under way.
    pub running: u64,
    /// The progress of the last run, in units of the job: removals, repositories, bytes.
    pub progress: u64,
    /// Number of runs that succeeded.
    pub succeeded: u64,
    /// Number of runs that failed.
    pub failed: u64,
    /// Whether the last run that ended has failed.
    pub failing: bool,
    /// The end of the last successful run, in seconds since 1970.
    pub last_success: Option<u64>,
    /// The end of the last failed run, in seconds since 1970.
    pub last_failure: Option<u64>,
}
