//! What an authority says about when to renew a certificate (ARI, RFC 9773): it may want that sooner than its life
//! suggests, as when it has to take certificates back.

use aws_lc_rs::rand;
use instant_acme::{CertificateIdentifier, Error, SuggestedWindow};
use time::{Duration, OffsetDateTime};

use super::Acme;
use super::failure::Failure;

/// When to ask again if there was no answer, or the authority answers no such question.
const AGAIN: Duration = Duration::hours(6);
/// The bounds within which the authority says when to ask again (RFC 9773 section 4.3.2).
const LEAST: Duration = Duration::MINUTE;
const MOST: Duration = Duration::DAY;

/// What the authority said last.
#[derive(Debug)]
pub(super) struct Suggestion {
    /// What it suggests, if it suggests anything; and when in this window it is to be done.
    chosen: Option<(SuggestedWindow, OffsetDateTime)>,
    /// From when on it is asked again.
    again: OffsetDateTime,
}

impl Suggestion {
    /// When the certificate is to be renewed.
    pub(super) fn time(&self) -> Option<OffsetDateTime> {
        self.chosen.as_ref().map(|(_, time)| *time)
    }

    /// What a new answer makes of it.
    fn follow(last: Option<&Self>, window: SuggestedWindow, again: OffsetDateTime) -> Self {
        let same = last
            .and_then(|last| last.chosen.as_ref())
            .filter(|(before, _)| (before.start, before.end) == (window.start, window.end));
        let time = same.map_or_else(|| within(&window), |(_, time)| *time);
        Self { chosen: Some((window, time)), again }
    }
}

impl Acme {
    /// What the authority says now of a certificate, if it is time to ask; else what it said last.
    pub(super) async fn suggestion(
        &self,
        last: Option<Suggestion>,
        certificate: &CertificateIdentifier<'_>,
        now: OffsetDateTime,
    ) -> Suggestion {
        let last = match last {
            Some(last) if last.again > now => return last,
            last => last,
        };
        match self.ask(certificate).await {
            Ok(Some((window, again))) => Suggestion::follow(last.as_ref(), window, now + again),
            Ok(None) => Suggestion { chosen: None, again: now + AGAIN },
            Err(failure) => {
                // Nothing is lost: it is renewed in time anyway.
                tracing::debug!(directory = self.url, "cannot ask the authority when to renew: {failure}");
                Suggestion { chosen: last.and_then(|last| last.chosen), again: now + AGAIN }
            }
        }
    }

    /// The window, and when to ask again; `None` if the authority answers no such question.
    async fn ask(
        &self,
        certificate: &CertificateIdentifier<'_>,
    ) -> Result<Option<(SuggestedWindow, Duration)>, Failure> {
        let Some(account) = self.known_account().await? else { return Ok(None) };
        match account.renewal_info(certificate).await {
            Ok((info, again)) => {
                if let Some(explanation) = &info.explanation_url {
                    tracing::info!(
                        explanation,
                        "the authority says why the certificate is to be renewed when it says"
                    );
                }
                let again = Duration::try_from(again).unwrap_or(MOST).clamp(LEAST, MOST);
                Ok(Some((info.suggested_window, again)))
            }
            Err(Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Any time of a window, so that not all who have such certificates come at once.
fn within(window: &SuggestedWindow) -> OffsetDateTime {
    let mut random = [0; 4];
    // Without random numbers TLS would not work either; the start is as good a time as any.
    let _ = rand::fill(&mut random);
    let share = f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX);
    window.start + (window.end - window.start).max(Duration::ZERO) * share
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: i64, end: i64) -> SuggestedWindow {
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        SuggestedWindow { start: at(start), end: at(end) }
    }

    #[test]
    fn a_time_is_chosen_once_for_each_window() {
        let again = OffsetDateTime::UNIX_EPOCH;
        let first = Suggestion::follow(None, window(1_000_000, 2_000_000), again);
        let time = first.time().unwrap();
        assert!((1_000_000..=2_000_000).contains(&time.unix_timestamp()), "{time}");
        let same = Suggestion::follow(Some(&first), window(1_000_000, 2_000_000), again);
        assert_eq!(same.time(), Some(time));
        let sooner = Suggestion::follow(Some(&same), window(5, 6), again).time().unwrap();
        assert!((5..=6).contains(&sooner.unix_timestamp()), "{sooner}");
        // One that ends before it starts is none that anybody can choose from.
        assert_eq!(within(&window(9, 3)).unix_timestamp(), 9);
    }
}
