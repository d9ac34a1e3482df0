//! The atomics and locks of hand-written concurrent code. `interleavings` compiles that code with those of
//! shuttle.

pub(crate) use std::sync::{Mutex, MutexGuard, atomic};
