//! Capture of the write-ahead log: the pages of each commit, read from the log by the thread that has
//! committed.
//!
//! The log begins anew only with a commit of the writer thread. That thread captures each commit before the
//! next one, so that no checkpoint takes a page away unseen. Only the log is read: closing the database or
//! its index would release the locks of SQLite. <https://sqlite.org/fileformat2.html#the_write_ahead_log>

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::StoreError;

/// The first bytes of a log. The last bit says whether its checksums are over big-endian words.
const MAGIC: u32 = 0x377f_0682;
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The changed pages of one or more commits, each in its last version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogPages {
    /// In bytes.
    pub(crate) page_size: u32,
    /// The size of the database after the last commit.
    pub(crate) database_pages: u32,
    /// By their numbers, from 1 on.
    pub(crate) pages: BTreeMap<u32, Vec<u8>>,
}

impl LogPages {
    /// Adds the pages of later commits.
    pub(crate) fn append(&mut self, mut later: Self) {
        (self.page_size, self.database_pages) = (later.page_size, later.database_pages);
        self.pages.append(&mut later.pages);
        self.pages.retain(|number, _| *number <= later.database_pages);
    }

    /// The size of the pages in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.pages.len() as u64 * u64::from(self.page_size)
    }
}

/// Takes the pages of commits.
pub(crate) trait LogSink: Send + Sync {
    /// Takes the pages of a commit that is on the disk. `is_synced` says whether it survives a power failure.
    /// Called on the writer thread, before the operations are answered.
    ///
    /// # Errors
    /// The commit may be lost with the machine, and its operations fail.
    fn committed(&self, pages: LogPages, is_synced: bool) -> Result<(), StoreError>;

    /// Notes that pages could not be read.
    fn missed(&self, error: &StoreError);
}

/// The sink of a database, once it is set.
pub(super) type SharedSink = Arc<OnceLock<Arc<dyn LogSink>>>;

/// Reads each frame of the log once.
pub(super) struct LogReader {
    path: PathBuf,
    file: Option<File>,
    position: Option<Position>,
}

/// The end of the captured commits.
struct Position {
    /// The header of the log, which changes when the log begins anew.
    header: [u8; HEADER],
    offset: u64,
    sum: (u32, u32),
}

impl LogReader {
    /// Reads the log of the database at `path`.
    pub(super) fn new(database: &Path) -> Self {
        Self { path: crate::durable::beside(database, "-wal"), file: None, position: None }
    }

    /// Returns the pages of the commits since the last call. The first call returns all of the log.
    pub(super) fn read(&mut self) -> Result<Option<LogPages>, StoreError> {
        self.read_new().map_err(|error| StoreError::io("read", &self.path, error))
    }

    fn read_new(&mut self) -> io::Result<Option<LogPages>> {
        let file = match self.file.take() {
            Some(file) => file,
            None => match File::open(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            },
        };
        let file = self.file.insert(file);
        let mut header = [0; HEADER];
        if !read_at(file, &mut header, 0)? {
            return Ok(None);
        }
        let is_big_endian = word(&header, 0) == MAGIC + 1;
        let position = match self.position.take() {
            Some(position) if position.header == header => position,
            _ => {
                let sum = checksum(is_big_endian, (0, 0), &header[..24]);
                let is_log = word(&header, 0) & !1 == MAGIC && sum == (word(&header, 24), word(&header, 28));
                if !is_log {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a write-ahead log"));
                }
                Position { header, offset: HEADER as u64, sum }
            }
        };
        let position = self.position.insert(position);
        let page_size = word(&header, 8);
        let mut frame = vec![0; FRAME_HEADER + page_size as usize];
        let mut found = LogPages { page_size, ..LogPages::default() };
        let (mut offset, mut sum, mut pending) = (position.offset, position.sum, BTreeMap::new());
        while read_at(file, &mut frame, offset)? {
            let (head, page) = frame.split_at(FRAME_HEADER);
            sum = checksum(is_big_endian, checksum(is_big_endian, sum, &head[..8]), page);
            // The rest are frames of an earlier log, or of a transaction that was rolled back.
            if head[8..16] != header[16..24] || sum != (word(head, 16), word(head, 20)) {
                break;
            }
            offset += frame.len() as u64;
            pending.insert(word(head, 0), page.to_vec());
            let database_pages = word(head, 4);
            if database_pages != 0 {
                found.append(LogPages { page_size, database_pages, pages: std::mem::take(&mut pending) });
                (position.offset, position.sum) = (offset, sum);
            }
        }
        Ok(Some(found).filter(|found| !found.pages.is_empty()))
    }
}

/// Fills the buffer. `false` if the file ends before.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// A big-endian word. All fields of a log are.
fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(word)
}

/// Continues the checksum of a log.
fn checksum(is_big_endian: bool, sum: (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let (words, _) = bytes.as_chunks::<4>();
    let value =
        |word: [u8; 4]| if is_big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) };
    let (pairs, _) = words.as_chunks::<2>();
    pairs.iter().fold(sum, |(first, second), [one, two]| {
        let first = first.wrapping_add(value(*one)).wrapping_add(second);
        (first, second.wrapping_add(value(*two)).wrapping_add(first))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::Metadata;
    use super::super::fixtures::in_file;
    use super::super::writer::{Durability, OnFull};
    use super::*;
    use crate::shipping::segment;

    /// Keeps each commit as a segment.
    #[derive(Default)]
    struct Segments(Mutex<Vec<Vec<u8>>>);

    impl LogSink for Segments {
        fn committed(&self, pages: LogPages, _: bool) -> Result<(), StoreError> {
            let mut segments = self.0.lock().unwrap();
            let number = segments.len() as u64;
            segments.push(segment::write(number, 7, &pages)?);
            Ok(())
        }

        fn missed(&self, error: &StoreError) {
            panic!("{error}");
        }
    }

    async fn run(metadata: &Metadata, durability: Durability, statements: String, fails: bool) {
        let writer = &metadata.inner.writer;
        let done = writer.write(durability, OnFull::Fail, Arc::default(), move |sql| {
            for statement in statements.split(';') {
                sql.run(statement, &[])?;
            }
            if fails { Err(StoreError::Closed) } else { Ok(()) }
        });
        assert_eq!(done.await.is_err(), fails);
    }

    /// Changes many pages: small and large transactions, and some that are rolled back.
    async fn fill(metadata: &Metadata, round: u32) {
        let rows = |count: u32, size: u32| {
            format!(
                "INSERT INTO filled (content) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
                 WHERE i < {count}) SELECT randomblob({size}) FROM n"
            )
        };
        for step in 0..48_u32 {
            let (durability, statements, fails) = match step % 12 {
                3 => (Durability::Bulk, rows(3000, 200), false),
                5 => (Durability::Bulk, rows(3000, 200), true),
                7 => (Durability::Disk, format!("DELETE FROM filled WHERE id % 7 = {}", step % 7), false),
                9 => (Durability::Process, rows(5, 300), false),
                _ => (Durability::Disk, rows(3, 700 + round), false),
            };
            run(metadata, durability, statements, fails).await;
        }
    }

    /// A digest of the rows, after a check of every page.
    fn content(path: &Path) -> (i64, i64, String) {
        let database = rusqlite::Connection::open(path).unwrap();
        let check: String = database.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        let mut all = database.prepare("SELECT id, content FROM filled ORDER BY id").unwrap();
        let (mut rows, mut ids, mut digester) = (0, 0, oci::Digester::new(oci::Algorithm::Sha256));
        let mut found = all.query(()).unwrap();
        while let Some(row) = found.next().unwrap() {
            let id: i64 = row.get(0).unwrap();
            let content: Vec<u8> = row.get(1).unwrap();
            digester.update(&content);
            (rows, ids) = (rows + 1, ids + id);
        }
        (rows, ids, digester.finish().to_string())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn snapshot_and_captured_pages_give_the_database() {
        let (metadata, scratch) = in_file();
        let path = scratch.path().join("metadata.db");
        let table = "CREATE TABLE filled (id INTEGER PRIMARY KEY, content BLOB NOT NULL)";
        run(&metadata, Durability::Disk, table.to_owned(), false).await;
        fill(&metadata, 0).await;
        let segments = Arc::new(Segments::default());
        assert!(metadata.capture_log(segments.clone()));
        let mut logs = std::collections::HashSet::new();
        for round in 1..=2 {
            let first = segments.0.lock().unwrap().len();
            let copy = scratch.path().join(format!("copy-{round}.db"));
            let ((), snapshot) = tokio::join!(fill(&metadata, round), metadata.snapshot(&copy));
            snapshot.unwrap();
            metadata.await_capture().await;
            logs.insert(std::fs::read(scratch.path().join("metadata.db-wal")).unwrap()[..HEADER].to_vec());
            let all = segments.0.lock().unwrap().clone();
            assert!(all.len() > first + 30);
            for (number, segment) in all.iter().enumerate().skip(first) {
                assert_eq!(segment::apply(segment, number as u64, &copy).unwrap(), 7);
            }
            // The copy of a log file is none: its pages are in the database.
            assert_eq!(content(&copy), content(&path), "{round}");
        }
        assert_eq!(logs.len(), 2, "the log has begun anew");
    }
}
