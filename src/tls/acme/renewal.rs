//! ACME Renewal Information (ARI, RFC 9773): the time at which the authority suggests renewal, for example
//! before it revokes certificates.

use aws_lc_rs::rand;
use instant_acme::{CertificateIdentifier, Error, SuggestedWindow};
use time::{Duration, OffsetDateTime};

use super::account::AccountStore;
use super::failure::Failure;

/// The polling interval if the authority gives none.
const DEFAULT_INTERVAL: Duration = Duration::hours(6);
/// The bounds of an interval that the authority gives (RFC 9773 section 4.3.2).
const MIN_INTERVAL: Duration = Duration::MINUTE;
const MAX_INTERVAL: Duration = Duration::DAY;

/// The last response of the authority.
#[derive(Debug)]
pub(super) struct Suggestion {
    /// The suggested window, and the time chosen within it.
    chosen: Option<(SuggestedWindow, OffsetDateTime)>,
    next_poll: OffsetDateTime,
}

impl Suggestion {
    /// When to renew the certificate.
    pub(super) fn time(&self) -> Option<OffsetDateTime> {
        self.chosen.as_ref().map(|(_, time)| *time)
    }

    /// Chooses a time within the window, and keeps the chosen one if the window is unchanged.
    fn choose(last: Option<&Self>, window: SuggestedWindow, next_poll: OffsetDateTime) -> Self {
        let same = last
            .and_then(|last| last.chosen.as_ref())
            .filter(|(before, _)| (before.start, before.end) == (window.start, window.end));
        let time = same.map_or_else(|| random_time(&window), |(_, time)| *time);
        Self { chosen: Some((window, time)), next_poll }
    }
}

impl Suggestion {
    /// Returns `last`, or polls the authority if its interval is over.
    pub(super) async fn poll(
        accounts: &AccountStore,
        last: Option<Suggestion>,
        certificate: &CertificateIdentifier<'_>,
        now: OffsetDateTime,
    ) -> Suggestion {
        let last = match last {
            Some(last) if last.next_poll > now => return last,
            last => last,
        };
        match request(accounts, certificate).await {
            Ok(Some((window, interval))) => Suggestion::choose(last.as_ref(), window, now + interval),
            Ok(None) => Suggestion { chosen: None, next_poll: now + DEFAULT_INTERVAL },
            Err(failure) => {
                // The certificate is still renewed before it expires.
                tracing::debug!("the authority gives no renewal information: {failure}");
                Suggestion { chosen: last.and_then(|last| last.chosen), next_poll: now + DEFAULT_INTERVAL }
            }
        }
    }
}

/// Requests the window and the polling interval; `None` if the authority does not support ARI.
async fn request(
    accounts: &AccountStore,
    certificate: &CertificateIdentifier<'_>,
) -> Result<Option<(SuggestedWindow, Duration)>, Failure> {
    let Some(account) = accounts.load().await? else { return Ok(None) };
    match account.renewal_info(certificate).await {
        Ok((info, interval)) => {
            if let Some(explanation) = &info.explanation_url {
                tracing::info!(explanation, "the authority explains its renewal time");
            }
            let interval = Duration::try_from(interval).unwrap_or(MAX_INTERVAL);
            Ok(Some((info.suggested_window, interval.clamp(MIN_INTERVAL, MAX_INTERVAL))))
        }
        Err(Error::Unsupported(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A random time in a window, so that the clients of an authority spread over it.
fn random_time(window: &SuggestedWindow) -> OffsetDateTime {
    let mut random = [0; 4];
    // If there are no random numbers, the start of the window will do.
    let _ = rand::fill(&mut random);
    let fraction = f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX);
    window.start + (window.end - window.start).max(Duration::ZERO) * fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: i64, end: i64) -> SuggestedWindow {
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        SuggestedWindow { start: at(start), end: at(end) }
    }

    #[test]
    fn time_is_chosen_once_for_each_window() {
        let next_poll = OffsetDateTime::UNIX_EPOCH;
        let first = Suggestion::choose(None, window(1_000_000, 2_000_000), next_poll);
        let time = first.time().unwrap();
        assert!((1_000_000..=2_000_000).contains(&time.unix_timestamp()), "{time}");
        let same = Suggestion::choose(Some(&first), window(1_000_000, 2_000_000), next_poll);
        assert_eq!(same.time(), Some(time));
        let sooner = Suggestion::choose(Some(&same), window(5, 6), next_poll).time().unwrap();
        assert!((5..=6).contains(&sooner.unix_timestamp()), "{sooner}");
        // A window that ends before it starts.
        assert_eq!(random_time(&window(9, 3)).unix_timestamp(), 9);
    }
}
