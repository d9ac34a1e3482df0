//! Several threads that do the same, each with a connection of its own.

use anyhow::{Result, anyhow};

/// Runs the work on so many threads, each told its number, and waits for all. The first error is returned.
pub(crate) fn parallel<T: Send>(size: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let work = &work;
        let members: Vec<_> = (0..size).map(|number| scope.spawn(move || work(number))).collect();
        // All are joined before any error is looked at, so that nobody still works when the next row begins.
        let results: Vec<Result<T>> = members
            .into_iter()
            .map(|member| {
                member.join().unwrap_or_else(|_| Err(anyhow!("a thread of the load generator panicked")))
            })
            .collect();
        results.into_iter().collect()
    })
}
