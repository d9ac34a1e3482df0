//! Aggregation of the audit log: one row for what one client is refused again and again, and for how it signs in.
//!
//! A push that is refused is a dozen requests, and a client that guesses sends thousands. The first is recorded at
//! once; equal ones within a minute only count, and their number is added to the row at the end. If a look at a
//! repository is followed by a push to it, the row becomes that of the push. A sign-in is recorded again after ten
//! minutes.

use std::collections::HashMap;
use std::mem;
use std::time::{Duration, Instant, SystemTime};

use store::metadata::{AuditAmendment, AuditEntry};

use super::AuditVerdict;
use super::login_throttle::Network;

/// The time in which equal refusals share a row.
const REFUSALS: Duration = Duration::from_secs(60);
/// The time in which equal sign-ins share a row.
const SIGN_INS: Duration = Duration::from_secs(600);
/// Rows that may be repeated at the same time. Beyond them each event has a row of its own.
const OPEN: usize = 8192;

/// The action of an account that signs in, or tries to.
pub const SIGN_IN: &str = "sign_in";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    account: Option<String>,
    network: Option<Network>,
    what: String,
}

struct Open {
    entry: AuditEntry,
    until: Instant,
    repeats: u64,
}

/// The rows that further events may still belong to.
#[derive(Default)]
pub(super) struct Repeats {
    open: HashMap<Key, Open>,
}

/// What the log is to do about an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// A row to change.
    pub amendment: Option<AuditAmendment>,
    /// A row to add.
    pub entry: Option<AuditEntry>,
}

impl Repeats {
    /// Takes note of an event.
    pub(super) fn note(&mut self, entry: AuditEntry, network: Option<Network>, now: Instant) -> Noted {
        let lasts = match entry.verdict {
            AuditVerdict::Denied => REFUSALS,
            AuditVerdict::Allowed if entry.action == SIGN_IN => SIGN_INS,
            _ => return Noted { entry: Some(entry), amendment: None },
        };
        let key = Key { account: entry.account.clone(), network, what: what(&entry) };
        let mut noted = Noted::default();
        if let Some(open) = self.open.get_mut(&key) {
            if open.until > now {
                open.repeats += 1;
                if weight(&entry) > weight(&open.entry) {
                    let AuditEntry { action, object, status, detail, .. } = entry;
                    open.entry = AuditEntry { action, object, status, detail, ..open.entry.clone() };
                    noted.amendment = Some(amendment(&open.entry, 0));
                }
                return noted;
            }
            noted.amendment = open.end();
        }
        if self.open.len() >= OPEN {
            self.open.retain(|_, open| open.until > now || open.repeats > 0);
        }
        if self.open.len() < OPEN || self.open.contains_key(&key) {
            self.open.insert(key, Open { entry: entry.clone(), until: now + lasts, repeats: 0 });
        }
        noted.entry = Some(entry);
        noted
    }

    /// The numbers that rows get whose time is over.
    pub(super) fn ended(&mut self, now: Instant) -> Vec<AuditAmendment> {
        let (ended, open) = mem::take(&mut self.open).into_iter().partition(|(_, open)| open.until <= now);
        self.open = open;
        let ended: HashMap<Key, Open> = ended;
        ended.into_values().filter_map(|open| open.end()).collect()
    }

    /// The same for all of them, at the end.
    pub(super) fn all(&mut self) -> Vec<AuditAmendment> {
        mem::take(&mut self.open).into_values().filter_map(|open| open.end()).collect()
    }
}

impl Open {
    fn end(&self) -> Option<AuditAmendment> {
        let counts = self.repeats > 0 && self.entry.verdict == AuditVerdict::Denied;
        counts.then(|| amendment(&self.entry, self.repeats))
    }
}

fn amendment(entry: &AuditEntry, repeats: u64) -> AuditAmendment {
    let mut entry = entry.clone();
    if repeats > 0 {
        let more = format!("{repeats} more within a minute");
        entry.detail = Some(entry.detail.map_or(more.clone(), |detail| format!("{detail}; {more}")));
    }
    AuditAmendment { entry }
}

/// What two events have in common that share a row. Those without an account are told apart by the action alone:
/// anybody can send any name.
fn what(entry: &AuditEntry) -> String {
    let object = entry.object.as_deref().unwrap_or_default();
    if entry.action == SIGN_IN {
        format!("{} {:?} {}", entry.action, entry.verdict, entry.detail.as_deref().unwrap_or_default())
    } else if is_of_a_repository(&entry.action) && entry.account.is_some() {
        // A name has neither.
        object.split([':', '@']).next().unwrap_or_default().to_owned()
    } else if entry.account.is_some() {
        format!("{} {object}", entry.action)
    } else {
        entry.action.clone()
    }
}

fn is_of_a_repository(action: &str) -> bool {
    ["manifest.", "blob.", "repository."].iter().any(|kind| action.starts_with(kind))
}

/// Which of two events says more of what a client wanted.
fn weight(entry: &AuditEntry) -> u8 {
    match entry.action.split_once('.') {
        Some((_, "look")) => 0,
        Some((_, "pull")) => 1,
        Some((_, "upload" | "push")) => 2,
        Some((_, "delete")) => 3,
        _ => 0,
    }
}

/// The moment of a row as the store keeps it, so that it is found again.
pub(super) fn rounded(at: SystemTime) -> SystemTime {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let milliseconds = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(account: Option<&str>, action: &str, object: &str) -> AuditEntry {
        AuditEntry {
            at: rounded(SystemTime::now()),
            account: account.map(str::to_owned),
            address: Some("10.0.0.1".to_owned()),
            action: action.to_owned(),
            object: Some(object.to_owned()),
            verdict: AuditVerdict::Denied,
            status: Some(403),
            request_id: Some("first".to_owned()),
            detail: None,
        }
    }

    fn network(address: &str) -> Option<Network> {
        Some(Network::from(address.parse::<std::net::IpAddr>().unwrap()))
    }

    #[test]
    fn refused_push_has_one_row_and_a_count() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let here = network("10.0.0.1");
        let look = refused(Some("ann"), "blob.look", "bob/app@sha256:1");
        assert_eq!(repeats.note(look.clone(), here, now).entry, Some(look.clone()));
        let push = refused(Some("ann"), "blob.upload", "bob/app");
        let noted = repeats.note(push.clone(), here, now);
        assert_eq!(noted.entry, None);
        let amended = noted.amendment.unwrap().entry;
        assert_eq!((&*amended.action, amended.object.as_deref()), ("blob.upload", Some("bob/app")));
        for _ in 0..9 {
            assert_eq!(repeats.note(look.clone(), here, now), Noted::default());
        }
        assert_eq!(repeats.ended(now), []);
        let ended = repeats.ended(now + REFUSALS);
        assert_eq!(ended[0].entry.detail.as_deref(), Some("10 more within a minute"));
        assert_eq!((ended.len(), repeats.ended(now + REFUSALS).len()), (1, 0));
    }

    #[test]
    fn different_clients_and_repositories_have_rows_of_their_own() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        for (account, object, address) in [
            (Some("ann"), "bob/app:1", "10.0.0.1"),
            (Some("ann"), "bob/other:1", "10.0.0.1"),
            (Some("carl"), "bob/app:1", "10.0.0.1"),
            (Some("ann"), "bob/app:1", "10.0.0.2"),
            (None, "bob/app:1", "10.0.0.2"),
        ] {
            let entry = refused(account, "manifest.push", object);
            assert!(
                repeats.note(entry, network(address), now).entry.is_some(),
                "{account:?} {object} {address}"
            );
        }
        // Names that anybody makes up have none.
        assert_eq!(repeats.note(refused(None, "manifest.push", "x:1"), network("10.0.0.2"), now).entry, None);
    }

    #[test]
    fn sign_in_is_recorded_again_after_ten_minutes() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let entry = AuditEntry { verdict: AuditVerdict::Allowed, ..refused(Some("ann"), SIGN_IN, "") };
        assert!(repeats.note(entry.clone(), network("10.0.0.1"), now).entry.is_some());
        assert_eq!(repeats.note(entry.clone(), network("10.0.0.1"), now), Noted::default());
        let noted = repeats.note(entry, network("10.0.0.1"), now + SIGN_INS);
        assert!(noted.entry.is_some() && noted.amendment.is_none(), "{noted:?}");
    }

    #[test]
    fn changes_are_never_aggregated() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let entry =
            AuditEntry { verdict: AuditVerdict::Allowed, ..refused(Some("ann"), "manifest.push", "a:1") };
        for _ in 0..3 {
            assert!(repeats.note(entry.clone(), None, now).entry.is_some());
        }
    }
}
