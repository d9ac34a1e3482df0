//! Files on the local disk: those of uploads in progress, and readers of complete ones. The stores in files
//! and in buckets share them.

mod buffer_pool;
pub(super) mod mapped_reader;
pub(super) mod mappings;
pub(super) mod spool;
mod upload_buffer;
mod upload_reader;
pub(super) mod uploads;

use std::fs::File;
use std::io::{self, Read};

use oci::{Digest, Digester};

/// The bytes that are hashed at once.
const PIECE: usize = 64 << 10;

/// Hashes a file with the algorithm of a digest.
pub(super) fn hash(mut file: &File, digest: &Digest) -> io::Result<Digest> {
    let mut digester = Digester::new(digest.algorithm());
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(digester.finish()),
            read => digester.update(&piece[..read]),
        }
    }
}

/// Maps "no such file" to `None`, also for a path through a file that is no directory.
pub(super) fn absent<T>(error: io::Error) -> io::Result<Option<T>> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
        _ => Err(error),
    }
}
