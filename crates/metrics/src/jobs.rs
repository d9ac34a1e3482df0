//! Metrics of background jobs: whether one runs, how far it is, and how its runs ended.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::{MetricType, prefixed};

/// The kinds of jobs of a registry. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Jobs(Arc<Mutex<Vec<(&'static str, Job)>>>);

/// The runs of one kind of job. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Job(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// The number of runs under way.
    running: u64,
    progress: u64,
    succeeded: u64,
    failed: u64,
    /// Seconds since 1970.
    last_success: Option<u64>,
    last_failure: Option<u64>,
    /// Whether the last run that ended has failed.
    is_failing: bool,
}

/// The state of a kind of job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// The kind, in the words of the label `kind`.
    pub kind: &'static str,
    /// Runs under way.
    pub running: u64,
    /// The progress of the last run, in units of the job.
    pub progress: u64,
    /// Runs that have succeeded since the start.
    pub succeeded: u64,
    /// Runs that have failed since the start.
    pub failed: u64,
    /// Whether the last run that ended has failed.
    pub is_failing: bool,
    /// The end of the last run that succeeded, in seconds since 1970.
    pub last_success: Option<u64>,
    /// The end of the last run that failed, in seconds since 1970.
    pub last_failure: Option<u64>,
}

impl Jobs {
    /// Returns the state of all kinds of jobs that have run, by kind.
    #[must_use]
    pub fn status(&self) -> Vec<JobStatus> {
        let status = |(kind, state): (&'static str, State)| {
            let State { running, progress, succeeded, failed, last_success, last_failure, is_failing } =
                state;
            JobStatus { kind, running, progress, succeeded, failed, is_failing, last_success, last_failure }
        };
        let mut all: Vec<JobStatus> = self.all().into_iter().map(status).collect();
        all.sort_unstable_by_key(|job| job.kind);
        all
    }

    /// Returns the job of a kind, in the words of the label `kind`: `garbage-collection`.
    #[must_use]
    pub fn job(&self, kind: &'static str) -> Job {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, job)) = jobs.iter().find(|(known, _)| *known == kind) {
            return job.clone();
        }
        let job = Job::default();
        jobs.push((kind, job.clone()));
        job
    }

    fn all(&self) -> Vec<(&'static str, State)> {
        let jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.iter().map(|(kind, job)| (*kind, *job.state())).collect()
    }
}

impl Job {
    /// Begins a run, whose progress is 0. Each run ends with [`Self::succeeded`] or [`Self::failed`].
    pub fn started(&self) {
        let mut state = self.state();
        state.running += 1;
        state.progress = 0;
    }

    /// Sets the progress of the run, in units of the job: blobs, repositories, bytes.
    pub fn progress(&self, units: u64) {
        self.state().progress = units;
    }

    /// Ends a run.
    pub fn succeeded(&self) {
        self.end(false);
    }

    /// Ends a run that has failed.
    pub fn failed(&self) {
        self.end(true);
    }

    /// Does `work` as a run, and ends it with the outcome.
    ///
    /// # Errors
    /// The error of `work`.
    pub async fn run<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        self.started();
        let result = work.await;
        self.end(result.is_err());
        result
    }

    fn end(&self, has_failed: bool) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut state = self.state();
        // A run that was not begun counts as well.
        state.running = state.running.saturating_sub(1);
        state.is_failing = has_failed;
        if has_failed {
            state.failed += 1;
            state.last_failure = Some(now);
        } else {
            state.succeeded += 1;
            state.last_success = Some(now);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves no change incomplete.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Jobs {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let jobs = self.all();
        let mut gauge = |name: &str, help: &str, value: fn(&State) -> Option<u64>| -> fmt::Result {
            let values = jobs.iter().filter_map(|(kind, state)| Some((*kind, value(state)?)));
            let values: Vec<_> = values.collect();
            if values.is_empty() {
                return Ok(());
            }
            let name = prefixed(name);
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
            for (kind, value) in values {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(family.encode_family(&[("kind", kind)])?)?;
            }
            Ok(())
        };
        gauge("job_running", "Runs of a job under way", |state| Some(state.running))?;
        gauge("job_progress", "Progress of the last run of a job, in units of the job", |state| {
            Some(state.progress)
        })?;
        gauge("job_failing", "1 if the last run of a job that ended has failed", |state| {
            Some(state.is_failing.into())
        })?;
        gauge(
            "job_last_success_timestamp_seconds",
            "Time of the last success of a job since 1970",
            |state| state.last_success,
        )?;
        gauge(
            "job_last_failure_timestamp_seconds",
            "Time of the last failure of a job since 1970",
            |state| state.last_failure,
        )?;
        if jobs.is_empty() {
            return Ok(());
        }
        let (name, help) = (prefixed("job_runs"), "Ended runs of a job by result");
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for (kind, state) in &jobs {
            for (result, runs) in [("succeeded", state.succeeded), ("failed", state.failed)] {
                let labels = [("kind", *kind), ("result", result)];
                ConstCounter::new(runs).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
