//! htpasswd files: users and password hashes, as the `htpasswd` tool writes them.
//!
//! A line is `name:hash`; a second `:` begins a comment, as in nginx. An unusable line (another scheme, an
//! invalid name) is logged and its user cannot sign in; all other lines apply. If a name occurs twice, the
//! first line applies, as in nginx. bcrypt (`-B`) is recommended; `$apr1$` (`-m`) and `{SHA}` (`-s`) work
//! with a warning.
//!
//! The file is polled for changes. An unreadable file is an error at the start; later the last users stay.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use accounts::AccountName;
use store::watched_file::WatchedFile;

use super::passwords::{Scheme, StoredPassword};

/// The maximum size of the file: room for a hundred thousand users.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// The maximum length of a line in bytes, as in nginx.
const MAX_LINE: usize = 2048;
/// The number of lines or users that a warning names.
const NAMED: usize = 10;
/// Some editors write this at the beginning of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

#[derive(Debug, Default)]
pub(super) struct Users {
    passwords: HashMap<AccountName, StoredPassword>,
    /// The names in the order of their lines: of names that differ only in case, the first gets the account.
    names: Vec<AccountName>,
    /// Users whose hash is fast to guess.
    weak: Vec<AccountName>,
    /// Unusable lines, each with the reason.
    unusable: Vec<String>,
    /// The slowest scheme in the file, and its cost.
    slowest: Option<(Scheme, u32)>,
}

/// The file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the htpasswd file {}: {source}", path.display())]
pub struct HtpasswdError {
    path: PathBuf,
    source: io::Error,
}

/// A file that is polled for changes.
pub(super) struct File {
    file: WatchedFile,
    users: Mutex<Arc<Users>>,
}

impl Users {
    pub(super) fn password(&self, name: &AccountName) -> Option<&StoredPassword> {
        self.passwords.get(name)
    }

    /// The names of the usable lines, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &AccountName> {
        self.names.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.passwords.len()
    }

    /// The slowest scheme in the file, with its cost.
    pub(super) fn slowest(&self) -> Option<(Scheme, u32)> {
        self.slowest
    }

    /// Invalid UTF-8 makes only its own line unusable.
    fn from_bytes(bytes: &[u8]) -> Self {
        Self::parse(&String::from_utf8_lossy(bytes))
    }

    pub(super) fn parse(text: &str) -> Self {
        let mut users = Self::default();
        let mut names = HashSet::new();
        for (index, line) in text.trim_start_matches(BYTE_ORDER_MARK).lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            if let Err(reason) = users.parse_line(line, &mut names) {
                users.unusable.push(format!("line {}, {reason}", index + 1));
            }
        }
        users.weak.sort();
        users
    }

    /// Parses a line. `names` holds the names of all earlier lines, usable or not.
    fn parse_line<'a>(&mut self, line: &'a str, names: &mut HashSet<&'a str>) -> Result<(), String> {
        // A line without a colon may be a misplaced password, so it is not repeated.
        let (name, rest) = line.split_once(':').ok_or("without a `:`: a line is NAME:HASH")?;
        if line.len() > MAX_LINE {
            return Err(format!("longer than {MAX_LINE} bytes"));
        }
        if !names.insert(name) {
            return Err(format!("user {name:?}: an earlier line is for this user and takes precedence"));
        }
        let hash = rest.split(':').next().unwrap_or_default().trim();
        let account: AccountName = name.parse().map_err(|error| format!("user {name:?}: {error}"))?;
        if account.is_misleading() {
            return Err(format!(
                "user {name:?}: the name of an account has letters or digits, and no `(`, `)` or `,`"
            ));
        }
        if account.is_robot() {
            return Err(format!("user {name:?}: a name with `+` is that of a robot, which has no password"));
        }
        let (stored, scheme) =
            StoredPassword::parse(hash).map_err(|error| format!("user {name:?}: {error}"))?;
        if matches!(scheme, Scheme::Apr1 | Scheme::Sha1) {
            self.weak.push(account.clone());
        }
        let cost = match scheme {
            Scheme::Bcrypt => hash.get(4..6).and_then(|cost| cost.parse().ok()).unwrap_or(0),
            _ => 0,
        };
        if self.slowest.is_none_or(|slowest| rank(slowest) < rank((scheme, cost))) {
            self.slowest = Some((scheme, cost));
        }
        self.names.push(account.clone());
        self.passwords.insert(account, stored);
        Ok(())
    }
}

/// Orders schemes by the time of a comparison. A bcrypt of cost 9 takes about as long as our argon2id.
fn rank((scheme, cost): (Scheme, u32)) -> u32 {
    match scheme {
        Scheme::Sha1 => 0,
        Scheme::Apr1 => 1,
        Scheme::Bcrypt => 2 + 2 * cost,
        Scheme::Argon2 => 2 + 2 * 9 + 1,
    }
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, HtpasswdError> {
        let (file, content) = WatchedFile::open(path, MAX_BYTES)
            .map_err(|source| HtpasswdError { path: path.to_owned(), source })?;
        let users = Users::from_bytes(&content);
        users.warn(path);
        Ok(Self { file, users: Mutex::new(Arc::new(users)) })
    }

    /// The users of the last readable state of the file.
    pub(super) fn users(&self) -> Arc<Users> {
        self.lock().clone()
    }

    /// Returns the new users if the file has changed. Blocks.
    pub(super) fn poll(&self) -> Option<Arc<Users>> {
        let path = self.file.path();
        match self.file.poll()? {
            Ok(content) => {
                let users = Arc::new(Users::from_bytes(&content));
                users.warn(path);
                tracing::info!(users = users.len(), file = %path.display(), "reloaded the htpasswd file");
                *self.lock() = users.clone();
                Some(users)
            }
            Err(error) => {
                tracing::error!(%error, file = %path.display(), "cannot read the htpasswd file; its last users stay");
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Users>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Users {
    /// Logs unusable lines and weak hashes.
    fn warn(&self, path: &Path) {
        if !self.unusable.is_empty() {
            tracing::warn!(
                file = %path.display(),
                lines = self.unusable.len(),
                "unusable lines in the htpasswd file; their users cannot sign in: {}",
                first_of(self.unusable.iter().map(String::as_str), "; ")
            );
        }
        if !self.weak.is_empty() {
            tracing::warn!(
                file = %path.display(),
                users = self.weak.len(),
                "weak hashes in the htpasswd file ($apr1$ or {{SHA}}); create them again with \
                 `htpasswd -B`: {}",
                first_of(self.weak.iter().map(AccountName::as_str), ", ")
            );
        }
    }
}

/// Joins the first [`NAMED`] items and adds the number of the others.
fn first_of<'a>(all: impl ExactSizeIterator<Item = &'a str>, separator: &str) -> String {
    let more = all.len().saturating_sub(NAMED);
    let mut text = all.take(NAMED).collect::<Vec<_>>().join(separator);
    if more > 0 {
        text.push_str(&format!("{separator}and {more} more"));
    }
    text
}
