//! Model-based property tests: random operations on a registry, compared with a simple in-memory model.
//!
//! Sequential: after each operation the result, and every few operations the whole state, must equal the
//! model's. Concurrent, disjoint repositories: each task has its own model and must see exactly its own
//! effects. Concurrent, shared repositories: each tag, manifest and blob must end in a state that some order
//! of the tasks explains, and a restart must not change it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tempfile::TempDir;

use content::REPOSITORIES;
use effects::{Effects, check_legal};
use expected::Model;
use fixture::open;
use operation::{Operation, Outcome, operation};
use subject::{Subject, read, read_all};

mod content;
mod effects;
mod expected;
#[path = "../fixture/mod.rs"]
mod fixture;
mod operation;
mod subject;

const TASKS: usize = 4;

/// The same operations in each run, so that a failure can be reproduced. `PROPTEST_RNG_SEED` explores others.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let rng_seed = match default.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        chosen @ RngSeed::Fixed(_) => chosen,
    };
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 100, rng_seed, ..default }
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(TASKS).enable_all().build();
    let runtime = runtime.unwrap();
    let limited = async { tokio::time::timeout(Duration::from_secs(60), test).await };
    assert!(runtime.block_on(limited).is_ok(), "the operations do not end");
}

proptest! {
    #![proptest_config(config(16))]

    #[test]
    fn sequence_of_operations_equals_the_model(operations in prop::collection::vec(operation(), 1..60)) {
        block_on(async {
            let scratch = TempDir::new().unwrap();
            let mut subject = Subject::new(open(&scratch).await);
            let mut model = Model::default();
            for (index, operation) in operations.iter().enumerate() {
                let actual = subject.apply(operation, &scratch).await;
                assert_eq!(actual, model.apply(operation), "{operation:?}");
                if index % 8 == 7 {
                    assert_eq!(read_all(&subject.registry).await, model.repositories);
                }
            }
            assert_eq!(read_all(&subject.registry).await, model.repositories);
            subject.apply(&Operation::Restart, &scratch).await;
            assert_eq!(read_all(&subject.registry).await, model.repositories, "after a restart");
            let checked = subject.registry.check(true, |_, _| true).await.unwrap();
            let faults: BTreeSet<_> = (checked.faults.iter())
                .map(|fault| (fault.repository.to_string(), fault.digest.to_string(), fault.what))
                .collect();
            assert_eq!(faults, model.unlinked_parts());
            subject.registry.close().await;
        });
    }
}

proptest! {
    #![proptest_config(config(6))]

    #[test]
    fn tasks_on_disjoint_repositories_see_only_themselves(
        sequences in prop::collection::vec(prop::collection::vec(operation(), 1..40), REPOSITORIES.len())
    ) {
        block_on(async {
            let scratch = TempDir::new().unwrap();
            let registry = open(&scratch).await;
            let tasks = sequences.into_iter().enumerate().map(|(repository, operations)| {
                let mut subject = Subject::new(registry.clone());
                tokio::spawn(async move {
                    let nowhere = TempDir::new().unwrap();
                    let mut model = Model::default();
                    for operation in operations.into_iter().filter_map(|operation| operation.confined_to(repository)) {
                        let actual = subject.apply(&operation, &nowhere).await;
                        assert_eq!(actual, model.apply(&operation), "{operation:?}");
                        assert_eq!(read(&subject.registry, repository).await, model.repositories[repository]);
                    }
                    model.repositories[repository].clone()
                })
            });
            let tasks: Vec<_> = tasks.collect();
            let mut expected = Vec::new();
            for task in tasks {
                expected.push(task.await.unwrap());
            }
            assert_eq!(read_all(&registry).await.to_vec(), expected);
            registry.close().await;
            let reopened = open(&scratch).await;
            assert_eq!(read_all(&reopened).await.to_vec(), expected, "after a restart");
            reopened.close().await;
        });
    }

    #[test]
    fn tasks_on_shared_repositories_end_in_a_legal_state(
        sequences in prop::collection::vec(prop::collection::vec(operation(), 1..30), TASKS)
    ) {
        block_on(async {
            let scratch = TempDir::new().unwrap();
            let registry = open(&scratch).await;
            let tasks: Vec<_> = sequences
                .into_iter()
                .map(|operations| {
                    let mut subject = Subject::new(registry.clone());
                    tokio::spawn(async move {
                        let nowhere = TempDir::new().unwrap();
                        let mut effects = Effects::default();
                        let confined = |operation: &Operation| !matches!(operation, Operation::Restart);
                        for operation in operations.into_iter().filter(confined) {
                            let blobs = subject.uploads.clone();
                            if subject.apply(&operation, &nowhere).await == Outcome::Done {
                                effects.note(&operation, &blobs);
                            }
                        }
                        effects
                    })
                })
                .collect();
            let mut effects = Vec::new();
            for task in tasks {
                effects.push(task.await.unwrap());
            }
            let state = read_all(&registry).await;
            check_legal(&state, &effects);
            registry.close().await;
            let reopened = open(&scratch).await;
            assert_eq!(read_all(&reopened).await, state, "after a restart");
            reopened.close().await;
        });
    }
}
