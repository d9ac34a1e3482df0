//! Files made by `htpasswd`: who may log in, and with which password.
//!
//! A line is `name:hash`; a second `:` begins a comment, as in nginx. Each line stands for itself. A line that cannot
//! be used (another scheme, an odd name) is named in a warning, and its user cannot sign in; all other lines count, and
//! so does every removal. Of several lines for a name the first counts, as in nginx. bcrypt (`-B`) is recommended;
//! `$apr1$` (`-m`) and `{SHA}` (`-s`) are taken with a warning.
//!
//! The file is looked at every few seconds, and read when it has changed and has then stayed as it is once, so that no
//! half-written one is believed. If it cannot be read, that is an error at the start, and later the last users stay.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use accounts::AccountName;

use super::passwords::{Kept, Scheme};

/// The largest file that is read: room for a hundred thousand users.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// The longest line that is read, in bytes. nginx reads no longer ones either.
const MAX_LINE: usize = 2048;
/// The number of odd lines, or of users, that a warning names one by one.
const NAMED: usize = 10;
/// What some editors write at the beginning of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The users of a file.
#[derive(Debug, Default)]
pub(super) struct Users {
    passwords: HashMap<AccountName, Kept>,
    /// Names of those whose hash is quickly guessed.
    weak: Vec<AccountName>,
    /// The lines that cannot be used, and why.
    odd: Vec<String>,
    /// The most expensive scheme in it, and its cost.
    dearest: Option<(Scheme, u32)>,
}

/// The file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the htpasswd file {}: {source}", path.display())]
pub struct HtpasswdError {
    /// The file.
    path: PathBuf,
    /// What the system said.
    source: io::Error,
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

/// A file that is looked at again and again.
pub(super) struct File {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    users: Arc<Users>,
    /// The state of the file that was read last, successfully or not.
    read: Option<Look>,
    /// What the last look saw.
    seen: Option<Look>,
}

impl Users {
    /// The hash of this user's password.
    pub(super) fn password(&self, name: &AccountName) -> Option<&Kept> {
        self.passwords.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &AccountName> {
        self.passwords.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.passwords.len()
    }

    /// The scheme that takes longest of those in it, with its cost.
    pub(super) fn dearest(&self) -> Option<(Scheme, u32)> {
        self.dearest
    }

    fn parse(text: &str) -> Self {
        let mut users = Self::default();
        let mut names = HashSet::new();
        for (index, line) in text.trim_start_matches(BYTE_ORDER_MARK).lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            if let Err(reason) = users.take_line(line, &mut names) {
                users.odd.push(format!("line {}, {reason}", index + 1));
            }
        }
        users.weak.sort();
        users
    }

    /// Takes a line. `names` are those of the lines before, whether they could be used or not.
    fn take_line<'a>(&mut self, line: &'a str, names: &mut HashSet<&'a str>) -> Result<(), String> {
        // A line without a colon may be a password that went astray: it is not repeated.
        let (name, rest) = line.split_once(':').ok_or("without a `:`: a line is NAME:HASH")?;
        if line.len() > MAX_LINE {
            return Err(format!("longer than {MAX_LINE} bytes"));
        }
        if !names.insert(name) {
            return Err(format!("user {name:?}: an earlier line is for this user, and that one counts"));
        }
        let hash = rest.split(':').next().unwrap_or_default().trim();
        let account: AccountName = name.parse().map_err(|error| format!("user {name:?}: {error}"))?;
        if account.is_robot() {
            return Err(format!("user {name:?}: a name with `+` is that of a robot, which has no password"));
        }
        let (kept, scheme) = Kept::parse(hash).map_err(|error| format!("user {name:?}: {error}"))?;
        if matches!(scheme, Scheme::Apr1 | Scheme::Sha1) {
            self.weak.push(account.clone());
        }
        let cost = match scheme {
            Scheme::Bcrypt => hash.get(4..6).and_then(|cost| cost.parse().ok()).unwrap_or(0),
            _ => 0,
        };
        if self.dearest.is_none_or(|dearest| rank(dearest) < rank((scheme, cost))) {
            self.dearest = Some((scheme, cost));
        }
        self.passwords.insert(account, kept);
        Ok(())
    }
}

/// The order of what comparing costs. A bcrypt of cost 9 takes about as long as our argon2.
fn rank((scheme, cost): (Scheme, u32)) -> u32 {
    match scheme {
        Scheme::Sha1 => 0,
        Scheme::Apr1 => 1,
        Scheme::Bcrypt => 2 + 2 * cost,
        Scheme::Argon2 => 2 + 2 * 9 + 1,
    }
}

impl File {
    /// Reads the file for the first time.
    pub(super) fn open(path: &Path) -> Result<Self, HtpasswdError> {
        let look = Look::at(path).ok();
        let users = Arc::new(read(path)?);
        users.warn(path);
        let state = State { users, read: look, seen: look };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// The users of the last good state of the file.
    pub(super) fn users(&self) -> Arc<Users> {
        self.state().users.clone()
    }

    /// Looks at the file, and reads it if it has changed since it was read and not since it was
    /// last looked at. The new users, if there are any; one that cannot be used is told of once.
    pub(super) fn look(&self) -> Option<Arc<Users>> {
        let look = Look::at(&self.path).ok();
        {
            let mut state = self.state();
            let is_settled = state.seen == look;
            state.seen = look;
            if state.read == look || !is_settled {
                return None;
            }
            state.read = look;
        }
        match read(&self.path) {
            Ok(users) => {
                let users = Arc::new(users);
                users.warn(&self.path);
                tracing::info!(users = users.len(), file = %self.path.display(), "read the htpasswd file again");
                self.state().users = users.clone();
                Some(users)
            }
            Err(error) => {
                tracing::error!(%error, "the users of the htpasswd file stay as they were");
                None
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Look {
    fn at(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(path)?;
        Ok(Self { modified: metadata.modified().ok(), size: metadata.len(), inode: metadata.ino() })
    }
}

fn read(path: &Path) -> Result<Users, HtpasswdError> {
    let unreadable = |source| HtpasswdError { path: path.to_owned(), source };
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_BYTES {
        return Err(unreadable(io::Error::other(format!("it has more than {MAX_BYTES} bytes"))));
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    // Bytes that are no text make their line an odd one, and no other.
    Ok(Users::parse(&String::from_utf8_lossy(&bytes)))
}

impl Users {
    /// Tells the operator which lines cannot be used, and which hashes are weak.
    fn warn(&self, path: &Path) {
        if !self.odd.is_empty() {
            tracing::warn!(
                file = %path.display(),
                lines = self.odd.len(),
                "lines of the htpasswd file cannot be used, and their users cannot sign in: {}",
                some_of(self.odd.iter().map(String::as_str), "; ")
            );
        }
        if !self.weak.is_empty() {
            tracing::warn!(
                file = %path.display(),
                users = self.weak.len(),
                "hashes of the htpasswd file are quickly guessed ($apr1$ or {{SHA}}); make them anew with \
                 `htpasswd -B`: {}",
                some_of(self.weak.iter().map(AccountName::as_str), ", ")
            );
        }
    }
}

/// The first of many, and how many more there are.
fn some_of<'a>(all: impl ExactSizeIterator<Item = &'a str>, separator: &str) -> String {
    let more = all.len().saturating_sub(NAMED);
    let mut some = all.take(NAMED).collect::<Vec<_>>().join(separator);
    if more > 0 {
        some.push_str(&format!("{separator}and {more} more"));
    }
    some
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "ann:$2y$05$xQ/ccebv5HNO1pAN6EqWfu8J52Ai4SGgrLDj0FWs49Slgr8xYMYTG";
    const BOB: &str = "bob:$apr1$XgwFEC8l$GOqbkMss5uES/sd2kyDbh1";
    const CAT: &str = "cat@example.org:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

    fn account(name: &str) -> AccountName {
        name.parse().unwrap()
    }

    #[test]
    fn files_of_htpasswd_are_understood() {
        let users = Users::parse(&format!("# users\n\n{ANN}\r\n{BOB}:a comment\n  # more\n{CAT}"));
        assert_eq!(users.len(), 3);
        assert!(users.odd.is_empty(), "{:?}", users.odd);
        for name in ["ann", "bob", "cat@example.org"] {
            assert!(users.password(&account(name)).is_some(), "{name}");
        }
        assert!(users.password(&account("dan")).is_none());
        assert_eq!(users.weak, [account("bob"), account("cat@example.org")]);
        assert_eq!(users.dearest(), Some((Scheme::Bcrypt, 5)));
        assert_eq!(Users::parse("").len(), 0);
    }

    /// Those who can sign in, and the odd lines.
    fn parsed(text: &str) -> (Vec<String>, Vec<String>) {
        let users = Users::parse(text);
        let mut names: Vec<_> = users.names().map(ToString::to_string).collect();
        names.sort();
        (names, users.odd)
    }

    #[test]
    fn odd_lines_are_named_and_all_others_count() {
        let sha512 = "sha:$6$01v0KOH.q2blyG8b$8JssUx";
        let text = format!(
            "{ANN}\nsecretpassword\nbob:plainsecret\n:x\nd an:x\ncrypt:ymd5b5kzMYfac\n{sha512}\n\
             ann:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\nann+ci:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\n\
             long:{}\nempty:\n{CAT}",
            "x".repeat(MAX_LINE)
        );
        let users = Users::parse(&text);
        assert!(users.password(&account("ann")).unwrap().text().starts_with("$2y$"), "the first line counts");
        let (names, odd) = parsed(&text);
        assert_eq!(names, ["ann", "cat@example.org"]);
        let expected = [
            "line 2, without a `:`",
            "line 3, user \"bob\": a password in plain text",
            "line 4, user \"\": the name of an account cannot be empty",
            "line 5, user \"d an\"",
            "line 6, user \"crypt\": a DES crypt hash cannot be compared with",
            "line 7, user \"sha\": a SHA-512 crypt hash",
            "line 8, user \"ann\": an earlier line is for this user",
            "line 9, user \"ann+ci\": a name with `+` is that of a robot",
            "line 10, longer than 2048 bytes",
            "line 11, user \"empty\": an empty password",
        ];
        assert_eq!(odd.len(), expected.len(), "{odd:?}");
        for (odd, expected) in odd.iter().zip(expected) {
            assert!(odd.starts_with(expected), "{odd}");
            for secret in ["secretpassword", "plainsecret", "ymd5b5kzMYfac", "8JssUx"] {
                assert!(!odd.contains(secret), "{odd}");
            }
        }
        let many: Vec<_> = (0..30).map(|line| format!("line {line}")).collect();
        assert!(some_of(many.iter().map(String::as_str), "; ").ends_with("line 9; and 20 more"));
    }

    #[test]
    fn odd_first_line_of_a_user_hides_later_ones() {
        let (names, odd) = parsed(&format!("ann:$6$salt$hash\n{ANN}"));
        assert_eq!((names.len(), odd.len()), (0, 2));
    }

    #[test]
    fn file_with_bom_and_crlf_is_understood() {
        let (names, odd) = parsed(&format!("\u{feff}{ANN}\r\n\r\n# a comment\r\n{CAT}\r\n"));
        assert_eq!((names.len(), odd.len()), (2, 0), "{odd:?}");
    }

    #[test]
    fn changed_file_is_read_once_it_has_settled() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        fs::write(&path, format!("{ANN}\n{CAT}\n")).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(file.users().len(), 2);
        assert!(file.look().is_none(), "nothing has changed");

        // A removal counts whatever else is in the file.
        fs::write(&path, b"cat:\xff\xfe\nbroken\n".iter().chain(ANN.as_bytes()).copied().collect::<Vec<_>>())
            .unwrap();
        assert!(file.look().is_none(), "it may still be written to");
        assert_eq!(file.look().unwrap().len(), 1);
        assert!(file.look().is_none());
        assert!(file.users().password(&account("cat@example.org")).is_none());

        fs::remove_file(&path).unwrap();
        assert!(file.look().is_none());
        assert!(file.look().is_none());
        assert_eq!(file.users().len(), 1, "the last users stay");

        fs::write(&path, format!("{CAT}\n")).unwrap();
        assert!(file.look().is_none());
        assert!(file.look().unwrap().password(&account("cat@example.org")).is_some());
        assert_eq!(file.users().len(), 1);
    }

    #[test]
    fn missing_file_is_an_error_at_the_start() {
        let directory = tempfile::tempdir().unwrap();
        assert!(File::open(&directory.path().join("passwd")).is_err());
    }
}
