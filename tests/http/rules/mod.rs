//! The operator's rules: immutable and protected tags, quotas, free space, retention, history and undo.

mod history;
mod quotas;
mod retention;
mod tags;

use std::time::Duration;

use serde::de::DeserializeOwned;
use wharfinger::config::{By, Config, Immutable, Protected, Quota, Retention};

use crate::harness::Answer;

fn read<T: DeserializeOwned>(answer: &Answer) -> T {
    serde_json::from_slice(&answer.body).unwrap()
}

fn immutable(repositories: &str, tags: &str) -> Immutable {
    Immutable { repositories: vec![repositories.parse().unwrap()], tags: vec![tags.parse().unwrap()] }
}

fn protected(repositories: &str, tags: &str) -> Protected {
    Protected { repositories: vec![repositories.parse().unwrap()], tags: vec![tags.parse().unwrap()] }
}

fn quota(repositories: &str, bytes: Option<u64>, tags: Option<usize>) -> Quota {
    let repositories = Some(repositories.parse().unwrap());
    Quota { repositories, owner: None, each: false, bytes, tags }
}

/// A rule that deletes all selected tags.
fn retention(repositories: &str, tags: &str) -> Retention {
    Retention {
        repositories: vec![repositories.parse().unwrap()],
        tags: vec![tags.parse().unwrap()],
        keep_newest: Some(0),
        by: By::Push,
        keep_pushed_within: None,
        keep_pulled_within: None,
        keep: Vec::new(),
    }
}

/// Retention without the minimum age, because everything in a test is new.
fn with_retention(rules: Vec<Retention>) -> impl FnOnce(&mut Config) {
    |config| {
        config.retention = rules;
        config.retention_minimum_age = Duration::ZERO;
    }
}
