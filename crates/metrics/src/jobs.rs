//! Metrics of background jobs: whether one runs, how far it is, and how its runs ended.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
pub struct Job(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// The number of runs under way.
    running: AtomicU64,
    progress: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    /// Seconds since 1970; 0 for never.
    last_success: AtomicU64,
    last_failure: AtomicU64,
    /// 1 if the last run that ended has failed.
    failing: AtomicU64,
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
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let time = |value: &AtomicU64| Some(load(value)).filter(|time| *time > 0);
        let status = |(kind, job): &(&'static str, Job)| JobStatus {
            kind,
            running: load(&job.0.running),
            progress: load(&job.0.progress),
            succeeded: load(&job.0.succeeded),
            failed: load(&job.0.failed),
            is_failing: load(&job.0.failing) == 1,
            last_success: time(&job.0.last_success),
            last_failure: time(&job.0.last_failure),
        };
        let mut all: Vec<JobStatus> = self.all().iter().map(status).collect();
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

    fn all(&self) -> Vec<(&'static str, Job)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Job {
    /// Begins a run, whose progress is 0. Each run ends with [`Self::succeeded`] or [`Self::failed`].
    pub fn started(&self) {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        self.progress(0);
    }

    /// Sets the progress of the run, in units of the job: blobs, repositories, bytes.
    pub fn progress(&self, units: u64) {
        self.0.progress.store(units, Ordering::Relaxed);
    }

    /// Ends a run.
    pub fn succeeded(&self) {
        self.end(&self.0.succeeded, &self.0.last_success, 0);
    }

    /// Ends a run that has failed.
    pub fn failed(&self) {
        self.end(&self.0.failed, &self.0.last_failure, 1);
    }

    /// Ends a run with the outcome of a result.
    pub fn ended<T, E>(&self, result: &Result<T, E>) {
        if result.is_ok() { self.succeeded() } else { self.failed() }
    }

    fn end(&self, counter: &AtomicU64, time: &AtomicU64, failing: u64) {
        // A run that was not begun counts as well.
        let _ = self
            .0
            .running
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |running| running.checked_sub(1));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        counter.fetch_add(1, Ordering::Relaxed);
        time.store(now, Ordering::Relaxed);
        self.0.failing.store(failing, Ordering::Relaxed);
    }
}

impl Collector for Jobs {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let jobs = self.all();
        let mut gauge = |name: &str, help: &str, value: fn(&State) -> Option<u64>| -> fmt::Result {
            let values = jobs.iter().filter_map(|(kind, job)| Some((*kind, value(&job.0)?)));
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
        gauge("job_running", "Runs of a job under way", |state| Some(state.running.load(Ordering::Relaxed)))?;
        gauge("job_progress", "Progress of the last run of a job, in units of the job", |state| {
            Some(state.progress.load(Ordering::Relaxed))
        })?;
        gauge("job_failing", "1 if the last run of a job that ended has failed", |state| {
            Some(state.failing.load(Ordering::Relaxed))
        })?;
        gauge(
            "job_last_success_timestamp_seconds",
            "Time of the last success of a job since 1970",
            |state| Some(state.last_success.load(Ordering::Relaxed)).filter(|time| *time > 0),
        )?;
        gauge(
            "job_last_failure_timestamp_seconds",
            "Time of the last failure of a job since 1970",
            |state| Some(state.last_failure.load(Ordering::Relaxed)).filter(|time| *time > 0),
        )?;
        if jobs.is_empty() {
            return Ok(());
        }
        let (name, help) = (prefixed("job_runs"), "Ended runs of a job by result");
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for (kind, job) in &jobs {
            for (result, runs) in [("succeeded", &job.0.succeeded), ("failed", &job.0.failed)] {
                let labels = [("kind", *kind), ("result", result)];
                ConstCounter::new(runs.load(Ordering::Relaxed)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
