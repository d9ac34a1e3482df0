//! The position of the view, kept in the data directory: the last change whose link is written there.
//!
//! A file of metadata lies beside its links. A database in PostgreSQL does not: a copy of the directory, or a
//! snapshot of its volume, has older links than the database. Adopting them would take back acknowledged
//! changes. Each round records its position before the database acknowledges it, so a directory with an older
//! position is behind.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use crate::blocking::blocking;
use crate::{Directory, Metadata, StoreError, durable};

/// The file with the id of the database, the position, and the state.
const FILE: &str = "view";

/// The position of the view of one directory and database.
#[derive(Clone)]
pub(super) struct Position {
    path: PathBuf,
    database: String,
    /// The inode of the directory, by which a copy that was made file by file is known.
    directory: u64,
}

/// The content of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recorded {
    /// The last change whose link is written.
    change: i64,
    state: State,
}

/// The state of the links by the recorded position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// They follow the changes, in the directory with this inode.
    Open(u64),
    /// They followed the changes until a clean stop.
    Closed,
    /// They are being written anew.
    Rewriting,
}

impl Position {
    /// Returns the position in a directory; `None` if the metadata lie beside it, or there is no view.
    pub(super) fn of(directory: &Directory, metadata: &Metadata) -> Result<Option<Self>, StoreError> {
        if !metadata.is_on_server() || metadata.is_shared() {
            return Ok(None);
        }
        let own = directory.own();
        let inode = fs::metadata(own).map_err(|error| StoreError::io("read", own, error))?.ino();
        Ok(Some(Self { path: own.join(FILE), database: metadata.id().to_owned(), directory: inode }))
    }

    /// Records that all links up to a change are written and synced.
    pub(super) async fn follow(&self, change: i64) -> Result<(), StoreError> {
        self.record(change, State::Open(self.directory)).await
    }

    /// Records another state, at the change of the acknowledged position.
    pub(super) async fn record(&self, change: i64, state: State) -> Result<(), StoreError> {
        let (path, content) = (self.path.clone(), Recorded { change, state }.to_text(&self.database));
        blocking(move || {
            durable::replace(&path, content.as_bytes()).map_err(|error| StoreError::io("write", path, error))
        })
        .await
    }

    /// Whether a rewrite of the links has begun and not ended.
    pub(super) fn is_rewriting(&self) -> Result<bool, StoreError> {
        Ok(self.read()?.is_some_and(|recorded| recorded.state == State::Rewriting))
    }

    fn read(&self) -> Result<Option<Recorded>, StoreError> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(Recorded::from_text(&text, &self.database)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", &self.path, error)),
        }
    }
}

impl Recorded {
    /// Whether the links are older than the database, whose view has acknowledged `acknowledged` and whose
    /// newest change is `newest`.
    fn is_behind(self, acknowledged: i64, newest: i64, directory: u64) -> bool {
        match self.state {
            State::Rewriting => true,
            // The database was restored: links that are newer than it are adopted.
            _ if self.change > newest => false,
            _ if self.change < acknowledged => true,
            // Files copied one by one while a server ran: the links may be older than the position.
            State::Open(inode) => inode != directory,
            State::Closed => false,
        }
    }

    fn to_text(self, database: &str) -> String {
        let state = match self.state {
            State::Open(inode) => format!("open {inode}"),
            State::Closed => "closed".to_owned(),
            State::Rewriting => "rewriting".to_owned(),
        };
        format!("{database}\n{}\n{state}\n", self.change)
    }

    /// `None` for another database, and for a text that no server has written.
    fn from_text(text: &str, database: &str) -> Option<Self> {
        let mut lines = text.lines().filter(|_| text.ends_with('\n'));
        let (id, change, state) = (lines.next()?, lines.next()?, lines.next()?);
        let state = match state {
            "closed" => State::Closed,
            "rewriting" => State::Rewriting,
            _ => State::Open(state.strip_prefix("open ")?.parse().ok()?),
        };
        (id == database).then_some(Self { change: change.parse().ok()?, state })
    }
}

impl Directory {
    /// Whether the links of `repositories/` are older than a database in PostgreSQL, which another directory
    /// or this one has continued. A directory without content is behind a database with changes.
    ///
    /// # Errors
    /// [`StoreError`] of the metadata or the file system.
    pub async fn has_old_links(&self, metadata: &Metadata) -> Result<bool, StoreError> {
        let Some(position) = Position::of(self, metadata)? else { return Ok(false) };
        let (acknowledged, newest) = metadata.view_progress().await?;
        Ok(match position.read()? {
            Some(recorded) => recorded.is_behind(acknowledged, newest, position.directory),
            None => acknowledged > 0 && self.is_without_content()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_position_survives_its_text() {
        for state in [State::Open(12), State::Closed, State::Rewriting] {
            let recorded = Recorded { change: 7, state };
            let text = recorded.to_text("id");
            assert_eq!(Recorded::from_text(&text, "id"), Some(recorded));
            assert_eq!(Recorded::from_text(&text, "other"), None);
            assert_eq!(Recorded::from_text(text.trim_end(), "id"), None, "a cut text");
        }
        assert_eq!(Recorded::from_text("id\n7\nopen\n", "id"), None);
        assert_eq!(Recorded::from_text("", "id"), None);
    }

    #[test]
    fn older_or_copied_links_are_behind() {
        let (acknowledged, newest, directory) = (50, 60, 9);
        let cases = [
            (49, State::Closed, true),
            (49, State::Open(9), true),
            (50, State::Closed, false),
            (50, State::Open(9), false),
            // Recorded, and not acknowledged before a kill.
            (55, State::Open(9), false),
            (55, State::Open(8), true),
            (55, State::Closed, false),
            // A restored database.
            (61, State::Open(9), false),
            (61, State::Open(8), false),
            (61, State::Rewriting, true),
            (50, State::Rewriting, true),
        ];
        for (change, state, expected) in cases {
            let recorded = Recorded { change, state };
            assert_eq!(recorded.is_behind(acknowledged, newest, directory), expected, "{recorded:?}");
        }
    }
}
