//! Rounds of work and a kill: clients work until the server is gone, and then every state must be one that they know.
//!
//! Each client owns a repository, so that its model is exact. After an operation without an answer, both states are right,
//! and the next look decides.

use std::future::Future;
use std::time::Duration;

use reqwest::Client;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::server::Server;

/// The time limit of a request. After it, the server counts as gone.
const ANSWER: Duration = Duration::from_secs(120);

/// A client with a model of its repository.
pub(crate) trait Worker: Sized + Send + 'static {
    /// The error of a request that got no answer.
    type Gone: Send;

    /// Carries out one operation, and records it in the model. An error means that the server is gone.
    fn step(&mut self, http: &Client, url: &str) -> impl Future<Output = Result<(), Self::Gone>> + Send;

    /// Pulls every tag, and requires a state of the model. From now on that is the only one.
    fn settle(&mut self, http: &Client, url: &str) -> impl Future<Output = Result<(), Self::Gone>> + Send;
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
        // A request to a server that was killed has once waited for ever, without a connection.
        let http = Client::builder().timeout(ANSWER).build().unwrap();
        Self { runtime: Runtime::new().unwrap(), http, workers: workers.collect(), seed }
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
            assert!(settled.is_ok(), "seed {}: the server is gone", self.seed);
        }
    }

    /// Lets all clients work until `wait` returns, and kills the server. `wait` gets the tasks of the clients: one that has
    /// ended found a fault, and its panic ends the test.
    pub(crate) fn work_until_killed(&mut self, server: Server, wait: impl FnOnce(&Server, &[JoinHandle<W>])) {
        let work = |mut worker: W| {
            let (http, url) = (self.http.clone(), server.url());
            self.runtime.spawn(async move {
                while worker.step(&http, &url).await.is_ok() {}
                worker
            })
        };
        let running: Vec<_> = self.workers.drain(..).map(work).collect();
        wait(&server, &running);
        server.kill();
        for worker in running {
            let worker = self.runtime.block_on(worker);
            self.workers.push(worker.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed)));
        }
    }

    /// Runs a request of the test itself.
    pub(crate) fn block_on<T>(&self, request: impl AsyncFnOnce(&Client) -> T) -> T {
        self.runtime.block_on(request(&self.http))
    }
}

/// A random sequence that a seed repeats (xorshift).
pub(crate) struct Random(u64);

impl Random {
    /// A sequence for each number.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number * 77) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
