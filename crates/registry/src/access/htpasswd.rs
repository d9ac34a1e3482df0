//! Files made by `htpasswd`: who may log in, and with which password.
//!
//! A line is `name:hash`; what follows another `:` is a comment, as nginx has it. bcrypt (`-B`) is
//! as it should be; `$apr1$` (`-m`) and `{SHA}` (`-s`) are taken because files have them, with a
//! warning. A file with a line that cannot be understood is not taken at all: at the start that is
//! an error, later the last good one is kept. The file is looked at every few seconds, and read
//! when it has changed and has then stayed as it is once, so that no half-written one is believed.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use store::accounts::AccountName;

use super::passwords::{Kept, Scheme};

/// The largest file that is read: room for a hundred thousand users.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// So many wrong lines are named one by one.
const NAMED: usize = 10;

/// The users of a file.
#[derive(Debug, Default)]
pub(super) struct Users {
    passwords: HashMap<AccountName, Kept>,
    /// Names of those whose hash is quickly guessed.
    weak: Vec<AccountName>,
    /// The most expensive scheme in it, and its cost.
    dearest: Option<(Scheme, u32)>,
}

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum HtpasswdError {
    /// It cannot be read.
    #[error("the htpasswd file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Lines of it are wrong.
    #[error("the htpasswd file {} cannot be used:{lines}", path.display())]
    Lines {
        /// The file.
        path: PathBuf,
        /// Which, and what is wrong with each.
        lines: String,
    },
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

    fn parse(text: &str, path: &Path) -> Result<Self, HtpasswdError> {
        let mut users = Self::default();
        let mut wrong = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            if let Err(reason) = users.take_line(line) {
                wrong.push(format!("line {}, {reason}", index + 1));
            }
        }
        if !wrong.is_empty() {
            let mut lines = String::new();
            for reason in wrong.iter().take(NAMED) {
                // Writing to a text does not fail.
                let _ = write!(lines, "\n  {reason}");
            }
            if wrong.len() > NAMED {
                let _ = write!(lines, "\n  and {} more", wrong.len() - NAMED);
            }
            return Err(HtpasswdError::Lines { path: path.to_owned(), lines });
        }
        users.weak.sort();
        Ok(users)
    }

    fn take_line(&mut self, line: &str) -> Result<(), String> {
        // A line without a colon may be a password that went astray: it is not repeated.
        let (name, rest) = line.split_once(':').ok_or("without a `:`: a line is NAME:HASH")?;
        let hash = rest.split(':').next().unwrap_or_default().trim();
        let account: AccountName = name.parse().map_err(|error| format!("user {name:?}: {error}"))?;
        if account.is_robot() {
            return Err(format!("user {name:?}: a name with `+` is that of a robot, which has no password"));
        }
        if self.passwords.contains_key(&account) {
            return Err(format!("user {name:?}: there is another line for this user"));
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
        warn_of_weak(path, &users);
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
                warn_of_weak(&self.path, &users);
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
    let unreadable = |source| HtpasswdError::Unreadable { path: path.to_owned(), source };
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_BYTES {
        return Err(unreadable(io::Error::other(format!("it has more than {MAX_BYTES} bytes"))));
    }
    Users::parse(&fs::read_to_string(path).map_err(unreadable)?, path)
}

fn warn_of_weak(path: &Path, users: &Users) {
    if !users.weak.is_empty() {
        let names: Vec<_> = users.weak.iter().take(NAMED).map(AccountName::as_str).collect();
        tracing::warn!(
            file = %path.display(),
            users = users.weak.len(),
            "hashes of the htpasswd file are quickly guessed ($apr1$ or {{SHA}}); make them anew with \
             `htpasswd -B`: {}{}",
            names.join(", "),
            if users.weak.len() > NAMED { ", …" } else { "" }
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Users, String> {
        Users::parse(text, Path::new("passwd")).map_err(|error| error.to_string())
    }

    const ANN: &str = "ann:$2y$05$xQ/ccebv5HNO1pAN6EqWfu8J52Ai4SGgrLDj0FWs49Slgr8xYMYTG";
    const BOB: &str = "bob:$apr1$XgwFEC8l$GOqbkMss5uES/sd2kyDbh1";
    const CAT: &str = "cat@example.org:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

    fn account(name: &str) -> AccountName {
        name.parse().unwrap()
    }

    #[test]
    fn files_of_htpasswd_are_understood() {
        let users = parse(&format!("# users\n\n{ANN}\r\n{BOB}:a comment\n  # more\n{CAT}")).unwrap();
        assert_eq!(users.len(), 3);
        for name in ["ann", "bob", "cat@example.org"] {
            assert!(users.password(&account(name)).is_some(), "{name}");
        }
        assert!(users.password(&account("dan")).is_none());
        assert_eq!(users.weak, [account("bob"), account("cat@example.org")]);
        assert_eq!(users.dearest(), Some((Scheme::Bcrypt, 5)));
        assert_eq!(parse("").unwrap().len(), 0);
    }

    #[test]
    fn wrong_lines_are_named_and_their_hashes_are_not() {
        let text = format!(
            "{ANN}\nsecretpassword\nbob:plainsecret\n:x\nd an:x\ncrypt:ymd5b5kzMYfac\n{ANN}\nann+ci:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ="
        );
        let error = parse(&text).unwrap_err();
        for expected in [
            "passwd cannot be used",
            "line 2, without a `:`",
            "line 3, user \"bob\": a password in plain text",
            "line 4, user \"\": the name of an account cannot be empty",
            "line 5, user \"d an\"",
            "line 6, user \"crypt\": a DES crypt hash cannot be compared with",
            "line 7, user \"ann\": there is another line",
            "line 8, user \"ann+ci\": a name with `+` is that of a robot",
        ] {
            assert!(error.contains(expected), "{expected}\n{error}");
        }
        for secret in ["secretpassword", "plainsecret", "ymd5b5kzMYfac"] {
            assert!(!error.contains(secret), "{error}");
        }
        let many = parse(&"x\n".repeat(30)).unwrap_err();
        assert!(
            many.contains("line 10,") && many.contains("and 20 more") && !many.contains("line 11,"),
            "{many}"
        );
    }

    #[test]
    fn a_changed_file_is_read_once_it_has_settled_and_a_broken_one_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        fs::write(&path, format!("{ANN}\n")).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(file.users().len(), 1);
        assert!(file.look().is_none(), "nothing has changed");

        fs::write(&path, format!("{ANN}\n{BOB}\n")).unwrap();
        assert!(file.look().is_none(), "it may still be written to");
        assert_eq!(file.look().unwrap().len(), 2);
        assert!(file.look().is_none());

        fs::write(&path, format!("{ANN}\n{BOB}\nbroken\n")).unwrap();
        assert!(file.look().is_none());
        assert!(file.look().is_none(), "it cannot be used");
        assert_eq!(file.users().len(), 2, "the last good one is kept");

        fs::remove_file(&path).unwrap();
        assert!(file.look().is_none());
        assert!(file.look().is_none());
        assert_eq!(file.users().len(), 2, "also when it is gone");

        fs::write(&path, format!("{CAT}\n")).unwrap();
        assert!(file.look().is_none());
        assert!(file.look().unwrap().password(&account("cat@example.org")).is_some());
        assert_eq!(file.users().len(), 1);
    }

    #[test]
    fn a_file_that_is_not_there_or_wrong_is_an_error_at_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        assert!(matches!(File::open(&path), Err(HtpasswdError::Unreadable { .. })));
        fs::write(&path, "x").unwrap();
        assert!(matches!(File::open(&path), Err(HtpasswdError::Lines { .. })));
    }
}
