//! When a certificate is asked for, and how long is waited after it was not obtained.

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;

use crate::host::Host;
use crate::tls::certificate::{Certificate, written};

/// After what may pass by itself: soon, and then ever later.
const PASSING: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10 * 60));
/// After what somebody has to put right: authorities count such tries. Let's Encrypt takes five an hour for a name.
const LASTING: (Duration, Duration) = (Duration::from_secs(2 * 60), Duration::from_secs(4 * 60 * 60));
/// The longest that an authority is believed when it says when to ask again.
const TOLD: Duration = Duration::from_secs(24 * 60 * 60);

/// When a certificate is to be asked for, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// At once: there is none.
    None,
    /// At once: the one that is there is not for this host.
    NotFor(Host),
    /// At this time, when a third of its life is left.
    At(OffsetDateTime),
    /// At this time, which the authority says.
    Wanted(OffsetDateTime),
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("there is none yet"),
            Self::NotFor(host) => write!(f, "the one in force is not for {host}"),
            Self::At(time) => write!(f, "the one in force was to be renewed from {}", written(*time)),
            Self::Wanted(time) => {
                write!(f, "the authority wants the one in force to be renewed from {}", written(*time))
            }
        }
    }
}

/// When a certificate for these hosts is to be asked for, if this one is held, and the authority wants it renewed when
/// `wanted` says.
pub(super) fn due(held: Option<&Certificate>, hosts: &[Host], wanted: Option<OffsetDateTime>) -> Due {
    let Some(held) = held else { return Due::None };
    // One that is for more hosts is left alone: some authorities add names of their own.
    if let Some(host) = hosts.iter().find(|host| !held.covers(host)) {
        return Due::NotFor(host.clone());
    }
    match wanted {
        // What an authority wants after the end is a slip.
        Some(time) if time < held.not_after => Due::Wanted(time),
        _ => Due::At(held.not_before + (held.not_after - held.not_before) * 2 / 3),
    }
}

impl Due {
    /// Whether one for the same hosts comes in the place of the one that is held.
    pub(super) fn is_renewal(&self) -> bool {
        matches!(self, Self::At(_) | Self::Wanted(_))
    }

    /// How long it is until then; `None` if it is time.
    pub(super) fn wait(&self, now: OffsetDateTime) -> Option<Duration> {
        match self {
            Self::None | Self::NotFor(_) => None,
            Self::At(time) | Self::Wanted(time) => {
                Duration::try_from(*time - now).ok().filter(|left| !left.is_zero())
            }
        }
    }
}

/// How long to wait after so many failures before this one. `told` is what the authority asks for.
pub(super) fn pause(failures: u32, passes: bool, told: Option<Duration>) -> Duration {
    let (least, most) = if passes { PASSING } else { LASTING };
    let own = least.saturating_mul(2_u32.saturating_pow(failures)).min(most);
    own.max(told.unwrap_or_default().min(TOLD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::pair::Pair;
    use crate::tls::self_signed;

    fn hosts(texts: &[&str]) -> Vec<Host> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_third_of_its_life_is_left_when_it_is_renewed() {
        let made = self_signed::make(&hosts(&["a.example", "192.0.2.7"]), 90).unwrap();
        let path = std::path::Path::new("x");
        let pair = Pair::parse((path, made.certificate.as_bytes()), (path, made.key.as_bytes())).unwrap();
        let held = pair.certificate();
        let due = |names: &[&str]| due(Some(held), &hosts(names), None);
        let Due::At(time) = due(&["A.example"]) else { panic!("it is for this host") };
        assert_eq!((held.not_after - time).whole_hours(), (90 * 24 + 1) / 3);
        assert_eq!(due(&["a.example"]).wait(time - time::Duration::SECOND), Some(Duration::from_secs(1)));
        assert_eq!(due(&["a.example"]).wait(time), None);
        assert_eq!(due(&["a.example"]).wait(held.not_after + time::Duration::DAY), None);
        assert_eq!(due(&["a.example", "b.example"]), Due::NotFor("b.example".parse().unwrap()));
        assert_eq!(super::due(None, &hosts(&["a.example"]), None).wait(time), None);
        let wanted = |time| super::due(Some(held), &hosts(&["a.example"]), Some(time));
        assert_eq!(wanted(held.not_before), Due::Wanted(held.not_before));
        assert_eq!(wanted(held.not_after), Due::At(time));
    }

    #[test]
    fn it_is_tried_ever_later_and_not_before_the_authority_wants() {
        let seconds = |failures, passes, told: u64| {
            pause(failures, passes, (told > 0).then(|| Duration::from_secs(told))).as_secs()
        };
        assert_eq!([0, 1, 2, 30, 999].map(|failures| seconds(failures, true, 0)), [5, 10, 20, 600, 600]);
        assert_eq!(
            [0, 1, 6, 7, 999].map(|failures| seconds(failures, false, 0)),
            [120, 240, 7680, 14400, 14400]
        );
        assert_eq!(seconds(0, true, 90), 90);
        assert_eq!(seconds(0, false, 90), 120);
        assert_eq!(seconds(0, true, u64::MAX), 24 * 60 * 60);
    }
}
