//! Bodies of blob uploads on their way to an upstream, cut off at the size limit.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use upstream::OutgoingBody;

use crate::http::extract::body::RequestBody;
use crate::http::gateway_error::GatewayError;

/// The size limit of a blob, and how many bytes of it are left.
#[derive(Clone, Copy)]
pub(super) struct SizeBudget {
    limit: Option<u64>,
    left: u64,
}

impl SizeBudget {
    /// A budget of `limit` bytes, of which earlier requests have used `used`.
    pub(super) fn new(limit: Option<u64>, used: u64) -> Self {
        Self { limit, left: limit.map_or(u64::MAX, |limit| limit.saturating_sub(used)) }
    }

    fn take(&mut self, bytes: u64) -> Result<(), GatewayError> {
        match (self.limit, self.left.checked_sub(bytes)) {
            (Some(limit), None) => Err(GatewayError::TooLarge(limit)),
            (Some(_), Some(left)) => {
                self.left = left;
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }
}

/// The body of a client with its budget.
struct UploadBody {
    body: RequestBody,
    budget: SizeBudget,
}

impl Stream for UploadBody {
    type Item = Result<Bytes, GatewayError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = ready!(Pin::new(&mut self.body).poll_next(cx));
        Poll::Ready(chunk.map(|chunk| {
            let chunk = chunk.map_err(GatewayError::Receive)?;
            self.budget.take(chunk.len() as u64)?;
            Ok(chunk)
        }))
    }
}

/// Forwards the body of a client as it arrives.
///
/// # Errors
/// [`GatewayError::TooLarge`] if the announced length exceeds the budget.
pub(super) fn forward(body: RequestBody, budget: SizeBudget) -> Result<OutgoingBody, GatewayError> {
    let length = body.announced();
    let mut announced = budget;
    announced.take(length.unwrap_or(0))?;
    if length == Some(0) {
        return Ok(OutgoingBody::bytes(Bytes::new()));
    }
    Ok(OutgoingBody::stream(UploadBody { body, budget }, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_counts_earlier_requests() {
        let mut budget = SizeBudget::new(Some(10), 4);
        budget.take(6).unwrap();
        budget.take(0).unwrap();
        assert!(matches!(budget.take(1), Err(GatewayError::TooLarge(10))));
        assert!(matches!(SizeBudget::new(Some(10), 11).take(1), Err(GatewayError::TooLarge(10))));
        SizeBudget::new(None, u64::MAX).take(u64::MAX).unwrap();
    }
}
