//! A segment: the pages that one or more commits have changed, as an object of the bucket.
//!
//! It is compressed. Its content begins with the magic text, the number of the segment, and its time in
//! seconds since
//! 1970. The size of a page follows, and the numbers of pages of the database and of the segment. Then come
//!       the pages,
//! each after its own number, and the SHA-256 of everything before. Numbers are big-endian.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use oci::Algorithm;

use crate::StoreError;
use crate::metadata::LogPages;

const MAGIC: &[u8; 8] = b"WHSEG001";
const HEADER: usize = 8 + 8 + 8 + 4 + 4 + 4;
const DIGEST: usize = 32;

/// Returns the content of a segment.
pub(crate) fn write(number: u64, time: u64, pages: &LogPages) -> Result<Vec<u8>, StoreError> {
    let count = u32::try_from(pages.pages.len()).unwrap_or(u32::MAX);
    let mut content =
        Vec::with_capacity(HEADER + DIGEST + pages.pages.len() * (4 + pages.page_size as usize));
    content.extend_from_slice(MAGIC);
    content.extend_from_slice(&number.to_be_bytes());
    content.extend_from_slice(&time.to_be_bytes());
    for field in [pages.page_size, pages.database_pages, count] {
        content.extend_from_slice(&field.to_be_bytes());
    }
    for (number, page) in &pages.pages {
        content.extend_from_slice(&number.to_be_bytes());
        content.extend_from_slice(page);
    }
    let digest = Algorithm::Sha256.digest(&content);
    content.extend_from_slice(digest.hash());
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(&content).and_then(|()| encoder.finish());
    written.map_err(|error| StoreError::io("compress", "changes of the metadata", error))
}

/// Writes the pages of the segment `number` to the database at `path`. Returns the time of the segment.
pub(crate) fn apply(compressed: &[u8], number: u64, path: &Path) -> Result<u64, StoreError> {
    let damaged = |what: &str| StoreError::Damaged(format!("the changes {number} of the metadata {what}"));
    let mut content = Vec::new();
    let read = GzDecoder::new(compressed).read_to_end(&mut content);
    read.map_err(|error| damaged(&format!("cannot be decompressed: {error}")))?;
    let end = content.len().checked_sub(DIGEST).filter(|end| *end >= HEADER);
    let (content, digest) = content.split_at(end.ok_or_else(|| damaged("are cut short"))?);
    if Algorithm::Sha256.digest(content).hash() != digest {
        return Err(damaged("do not have their digest"));
    }
    let (header, pages) = content.split_at(HEADER);
    let long = |at: usize| header[at..at + 8].iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    let short = |bytes: &[u8]| bytes.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let (page_size, database_pages, count) =
        (short(&header[24..28]), short(&header[28..32]), short(&header[32..36]));
    let record = 4 + usize::try_from(page_size).unwrap_or(usize::MAX - 4);
    if &header[..8] != MAGIC || long(8) != number || pages.len() as u64 != count * record as u64 {
        return Err(damaged("are not those that were expected"));
    }
    let failed = |error| StoreError::io("write", path, error);
    let file = File::options().write(true).open(path).map_err(failed)?;
    for page in pages.chunks_exact(record) {
        let (at, page) = page.split_at(4);
        file.write_all_at(page, (short(at) - 1) * page_size).map_err(failed)?;
    }
    file.set_len(database_pages * page_size).map_err(failed)?;
    Ok(long(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_segment_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("database");
        std::fs::write(&path, [9; 2048]).unwrap();
        let pages = [(1, vec![1; 512]), (3, vec![3; 512])].into();
        let good = write(4, 5, &LogPages { page_size: 512, database_pages: 3, pages }).unwrap();
        apply(&good, 5, &path).unwrap_err();
        apply(&good[..good.len() - 9], 4, &path).unwrap_err();
        apply(b"", 4, &path).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), [9; 2048]);
        assert_eq!(apply(&good, 4, &path).unwrap(), 5);
        assert_eq!(std::fs::read(&path).unwrap(), [[1; 512], [9; 512], [3; 512]].concat());
    }
}
