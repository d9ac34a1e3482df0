//! Confirmation: a question at the terminal before something is removed.

use std::io::{IsTerminal as _, Write as _};

use super::output::Failure;

/// Whether a person can answer.
pub(super) fn is_possible() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks a question, such as `Remove this?`. Anything but yes is a failure.
pub(super) fn ask(question: &str) -> Result<(), Failure> {
    // If the prompt cannot be printed, the answer will be missing as well.
    let _ = write!(std::io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::new("nothing was removed"))
}
