//! Rounds of work and a kill: clients work until the server is gone, and then every state must be one that
//! they know.
//!
//! Each client owns a repository, so that its model is exact. After an operation without an answer, both
//! states are right, and the next look decides.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Client;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::client::{NoAnswer, client};
use crate::server::Server;

/// A client with a model of its repository.
pub(crate) trait Worker: Sized + Send + 'static {
    /// Carries out one operation, and records it in the model. An error means that the server is gone.
    fn step(&mut self, http: &Client, url: &str) -> impl Future<Output = Result<(), NoAnswer>> + Send;

    /// Pulls every tag, and requires a state of the model. From now on that is the only one.
    fn settle(&mut self, http: &Client, url: &str) -> impl Future<Output = Result<(), NoAnswer>> + Send;
}

/// The clients of a test.
pub(crate) struct Workers<W> {
    runtime: Runtime,
    http: Client,
    workers: Vec<W>,
    seed: u64,
}

impl<W: Worker> Workers<W> {
    /// `seed` is named by a failure.
    pub(crate) fn new(seed: u64, workers: impl Iterator<Item = W>) -> Self {
        Self { runtime: Runtime::new().unwrap(), http: client(), workers: workers.collect(), seed }
    }

    /// Calls each client.
    pub(crate) fn for_each(&mut self, call: impl FnMut(&mut W)) {
        self.workers.iter_mut().for_each(call);
    }

    /// Compares every tag with its model.
    pub(crate) fn settle(&mut self, server: &Server) {
        let url = server.url();
        for worker in &mut self.workers {
            let settled = self.runtime.block_on(worker.settle(&self.http, &url));
            settled.unwrap_or_else(|gone| panic!("seed {}: {gone:?}", self.seed));
        }
    }

    /// Lets all clients work until `wait` returns, and kills the server.
    pub(crate) fn work_until_killed(&mut self, server: Server, wait: impl FnOnce(&Server, &Running<W>)) {
        let is_killed = Arc::new(AtomicBool::new(false));
        let mut running = Running { tasks: Vec::new(), steps: Vec::new() };
        for mut worker in self.workers.drain(..) {
            let (http, url, is_killed) = (self.http.clone(), server.url(), is_killed.clone());
            let steps = Arc::new(AtomicU64::new(0));
            running.steps.push(steps.clone());
            running.tasks.push(self.runtime.spawn(async move {
                loop {
                    match worker.step(&http, &url).await {
                        Ok(()) => _ = steps.fetch_add(1, Ordering::Relaxed),
                        // A request to a server that was killed has once waited for ever, without a
                        // connection.
                        Err(gone) if gone.is_timeout() && !is_killed.load(Ordering::Acquire) => {
                            panic!("{gone:?}")
                        }
                        Err(_) => return worker,
                    }
                }
            }));
        }
        wait(&server, &running);
        is_killed.store(true, Ordering::Release);
        server.kill();
        for task in running.tasks {
            let worker = self.runtime.block_on(task);
            self.workers.push(worker.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed)));
        }
    }

    /// Runs a request of the test itself.
    pub(crate) fn block_on<T>(&self, request: impl AsyncFnOnce(&Client) -> T) -> T {
        self.runtime.block_on(request(&self.http))
    }
}

/// Clients at work.
pub(crate) struct Running<W> {
    tasks: Vec<JoinHandle<W>>,
    /// The number of ended operations of each client.
    steps: Vec<Arc<AtomicU64>>,
}

impl<W> Running<W> {
    /// Whether a client has ended because it found a fault.
    pub(crate) fn has_failed(&self) -> bool {
        self.tasks.iter().any(JoinHandle::is_finished)
    }

    /// Waits until each client has ended the operation that it is in. A request that the server does not
    /// answer fails by its timeout.
    pub(crate) fn wait_for_each(&self) {
        for steps in &self.steps {
            let before = steps.load(Ordering::Relaxed);
            while steps.load(Ordering::Relaxed) == before && !self.has_failed() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
