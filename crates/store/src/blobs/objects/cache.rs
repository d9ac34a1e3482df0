//! Disk cache of the blobs of a bucket: whole copies in `cache/` of the data directory, evicted by their last
//! use (LRU).
//!
//! - A copy gets its name once it has the digest of its blob. Nothing is synced: copies of an earlier process
//!   are hashed before their first use. Later, another inode, size or time of change means that another
//!   program has touched the file. Then it is removed, and the bucket is read.
//! - Requests for one blob at a time share one request to the bucket: `fill` writes the answer to a file,
//!   which all of them read meanwhile.
//! - Small blobs are copied when they are first read. Larger ones are copied once others have read them as
//!   well, so that one pull of a large image does not evict what many clients need.
//! - A copy leaves a twentieth of the disk free. After an error of the disk, nothing is copied for a minute,
//!   and the bucket is read.

//!
//! - `disk`: the files, their limit, and the right to read an object for others.
//! - `copies`: the index.
//! - `read`: reads a blob through the cache.
//! - `fill`: a copy that is being made, and its readers.

mod copies;
mod disk;
mod fill;
mod read;

pub(super) use self::disk::DiskCache;
