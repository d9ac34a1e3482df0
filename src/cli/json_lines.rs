//! Reads the answer of a long request: a JSON object on each line, with progress first and the result last.

use reqwest::Response;
use serde::de::DeserializeOwned;

use super::output::Failure;

/// Passes each line to `take`, until one has the result. `broken` makes the error of an answer without one.
pub(super) async fn read<L: DeserializeOwned, T>(
    mut answer: Response,
    broken: impl Fn() -> Failure,
    mut take: impl FnMut(L) -> Option<Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut text = Vec::new();
    loop {
        let piece = answer.chunk().await.map_err(|error| broken().because(&error))?.ok_or_else(&broken)?;
        text.extend_from_slice(&piece);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let line = serde_json::from_slice(&line).map_err(|error| broken().because(&error))?;
            if let Some(result) = take(line) {
                return result;
            }
        }
    }
}
