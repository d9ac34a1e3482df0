//! Aggregation of the audit log: repeated refusals and sign-ins of one client share a row.
//!
//! A refused push is a dozen requests, and a guessing client sends thousands. The first refusal is recorded
//! at once. Equal ones within a minute are counted, and the count is added to the row at the end. A client
//! that tries ever new names gets a bounded number of rows. If a push follows a HEAD of the same repository,
//! the row becomes that of the push. A sign-in is recorded again after ten minutes.

use std::collections::HashMap;
use std::mem;
use std::time::{Duration, Instant, SystemTime};

use store::metadata::{AuditAmendment, AuditEntry};

use super::AuditOutcome;
use super::login_throttle::Network;

/// The period in which equal refusals share a row.
const REFUSALS: Duration = Duration::from_secs(60);
/// The period in which equal sign-ins share a row.
const SIGN_INS: Duration = Duration::from_secs(600);
/// The maximum number of open rows. Beyond it, each event gets its own row.
const OPEN: usize = 8192;
/// The number of refusals of different objects that a client gets separate rows for in [`DISTINCT_PERIOD`].
/// Beyond it, those of one action share a row: a client can send any number of names.
const DISTINCT: u32 = 20;
/// The period of [`DISTINCT`].
const DISTINCT_PERIOD: Duration = Duration::from_secs(600);

/// The audit action of sign-ins, successful or not.
pub const SIGN_IN: &str = "sign_in";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    account: Option<String>,
    network: Option<Network>,
    subject: String,
}

struct Open {
    entry: AuditEntry,
    until: Instant,
    repeats: u64,
}

/// The number of rows of a client in a period.
struct Distinct {
    until: Instant,
    rows: u32,
}

/// Open rows, to which later events may be added.
#[derive(Default)]
pub(super) struct Repeats {
    open: HashMap<Key, Open>,
    distinct: HashMap<(Option<String>, Option<Network>), Distinct>,
}

/// The effect of an event on the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Aggregated {
    /// A row to change.
    pub amendment: Option<AuditAmendment>,
    /// A row to add.
    pub entry: Option<AuditEntry>,
}

impl Repeats {
    /// Adds an event to its open row, or opens a row.
    pub(super) fn add(&mut self, entry: AuditEntry, network: Option<Network>, now: Instant) -> Aggregated {
        let period = match entry.verdict {
            AuditOutcome::Denied => REFUSALS,
            AuditOutcome::Allowed if entry.action == SIGN_IN => SIGN_INS,
            _ => return Aggregated { entry: Some(entry), amendment: None },
        };
        let mut key = Key { account: entry.account.clone(), network, subject: subject(&entry) };
        let is_open = self.open.get(&key).is_some_and(|open| open.until > now);
        if entry.verdict == AuditOutcome::Denied && !is_open && !self.has_room(&entry, network, now) {
            // No object has this spelling.
            key.subject = format!("{} *", entry.action);
        }
        let mut aggregated = Aggregated::default();
        if let Some(open) = self.open.get_mut(&key) {
            if open.until > now {
                open.repeats += 1;
                if weight(&entry) > weight(&open.entry) {
                    let AuditEntry { action, object, status, detail, .. } = entry;
                    open.entry = AuditEntry { action, object, status, detail, ..open.entry.clone() };
                    aggregated.amendment = Some(amendment(&open.entry, 0));
                }
                return aggregated;
            }
            aggregated.amendment = open.end();
        }
        if self.open.len() >= OPEN {
            self.open.retain(|_, open| open.until > now || open.repeats > 0);
        }
        if self.open.len() < OPEN || self.open.contains_key(&key) {
            self.open.insert(key, Open { entry: entry.clone(), until: now + period, repeats: 0 });
        }
        aggregated.entry = Some(entry);
        aggregated
    }

    /// Whether the client may have another row in its period; counts it.
    fn has_room(&mut self, entry: &AuditEntry, network: Option<Network>, now: Instant) -> bool {
        if self.distinct.len() >= OPEN {
            self.distinct.retain(|_, distinct| distinct.until > now);
        }
        let fresh = || Distinct { until: now + DISTINCT_PERIOD, rows: 0 };
        let distinct = self.distinct.entry((entry.account.clone(), network)).or_insert_with(fresh);
        if distinct.until <= now {
            *distinct = fresh();
        }
        distinct.rows += 1;
        distinct.rows <= DISTINCT
    }

    /// Closes rows whose period is over, and returns their counts.
    pub(super) fn ended(&mut self, now: Instant) -> Vec<AuditAmendment> {
        self.distinct.retain(|_, distinct| distinct.until > now);
        let (ended, open) = mem::take(&mut self.open).into_iter().partition(|(_, open)| open.until <= now);
        self.open = open;
        let ended: HashMap<Key, Open> = ended;
        ended.into_values().filter_map(|open| open.end()).collect()
    }

    /// Closes all rows.
    pub(super) fn all(&mut self) -> Vec<AuditAmendment> {
        mem::take(&mut self.open).into_values().filter_map(|open| open.end()).collect()
    }
}

impl Open {
    fn end(&self) -> Option<AuditAmendment> {
        let has_count = self.repeats > 0 && self.entry.verdict == AuditOutcome::Denied;
        has_count.then(|| amendment(&self.entry, self.repeats))
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

/// The part of an event that must be equal to share a row. Without an account it is the action alone, because
/// a client can send any name.
fn subject(entry: &AuditEntry) -> String {
    let object = entry.object.as_deref().unwrap_or_default();
    if entry.action == SIGN_IN {
        format!("{} {:?} {}", entry.action, entry.verdict, entry.detail.as_deref().unwrap_or_default())
    } else if is_of_a_repository(&entry.action) && entry.account.is_some() {
        // A repository name contains neither character.
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

/// Ranks actions: of two, the entry with the higher rank describes the request better.
fn weight(entry: &AuditEntry) -> u8 {
    match entry.action.split_once('.') {
        Some((_, "look")) => 0,
        Some((_, "pull")) => 1,
        Some((_, "upload" | "push")) => 2,
        Some((_, "delete")) => 3,
        _ => 0,
    }
}

/// Rounds a time to the precision of the store, so that an amendment finds its row.
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
            verdict: AuditOutcome::Denied,
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
        assert_eq!(repeats.add(look.clone(), here, now).entry, Some(look.clone()));
        let push = refused(Some("ann"), "blob.upload", "bob/app");
        let aggregated = repeats.add(push.clone(), here, now);
        assert_eq!(aggregated.entry, None);
        let amended = aggregated.amendment.unwrap().entry;
        assert_eq!((&*amended.action, amended.object.as_deref()), ("blob.upload", Some("bob/app")));
        for _ in 0..9 {
            assert_eq!(repeats.add(look.clone(), here, now), Aggregated::default());
        }
        assert_eq!(repeats.ended(now), []);
        let ended = repeats.ended(now + REFUSALS);
        assert_eq!(ended[0].entry.detail.as_deref(), Some("10 more within a minute"));
        assert_eq!((ended.len(), repeats.ended(now + REFUSALS).len()), (1, 0));
    }

    #[test]
    fn clients_and_repositories_have_separate_rows() {
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
                repeats.add(entry, network(address), now).entry.is_some(),
                "{account:?} {object} {address}"
            );
        }
        // Without an account, another name shares the row.
        assert_eq!(repeats.add(refused(None, "manifest.push", "x:1"), network("10.0.0.2"), now).entry, None);
    }

    #[test]
    fn refusals_of_ever_new_names_are_bounded() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let mut rows = 0;
        for number in 0..10_000 {
            let entry = refused(Some("ann"), "manifest.push", &format!("bob/app-{number}:1"));
            rows += u32::from(repeats.add(entry, network("10.0.0.1"), now).entry.is_some());
        }
        assert_eq!(rows, DISTINCT + 1);
        let ended = repeats.ended(now + REFUSALS);
        assert!(ended[0].entry.detail.as_deref().unwrap().contains("9979 more"), "{ended:?}");
        // Others, and the same client later, have rows of their own.
        let other = refused(Some("carl"), "manifest.push", "bob/app:1");
        assert!(repeats.add(other, network("10.0.0.1"), now).entry.is_some());
        let later = refused(Some("ann"), "manifest.push", "bob/late:1");
        assert!(repeats.add(later, network("10.0.0.1"), now + DISTINCT_PERIOD).entry.is_some());
    }

    #[test]
    fn sign_in_is_recorded_again_after_ten_minutes() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let entry = AuditEntry { verdict: AuditOutcome::Allowed, ..refused(Some("ann"), SIGN_IN, "") };
        assert!(repeats.add(entry.clone(), network("10.0.0.1"), now).entry.is_some());
        assert_eq!(repeats.add(entry.clone(), network("10.0.0.1"), now), Aggregated::default());
        let aggregated = repeats.add(entry, network("10.0.0.1"), now + SIGN_INS);
        assert!(aggregated.entry.is_some() && aggregated.amendment.is_none(), "{aggregated:?}");
    }

    #[test]
    fn changes_are_never_aggregated() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let entry =
            AuditEntry { verdict: AuditOutcome::Allowed, ..refused(Some("ann"), "manifest.push", "a:1") };
        for _ in 0..3 {
            assert!(repeats.add(entry.clone(), None, now).entry.is_some());
        }
    }
}
