//! Storage: content in a blob store, and its metadata in a database.
//!
//! - [`blobs`]: content by digest, without repositories; on disk in distribution's layout.
//! - [`metadata`]: the truth about repositories, tags, links, uploads, accounts and grants.
//! - [`blob_journal`]: small content on its way from the metadata's log to files of its own.
//! - [`blob_place`]: whether the blobs are files or in a bucket.
//! - [`database_url`]: a metadata database in PostgreSQL.
//! - `metadata_place`: whether the metadata are a file or in PostgreSQL.
//! - [`view`]: the `repositories/` directory in distribution's layout, derived from the metadata.
//! - [`adopt`]: imports such a directory into the metadata.
//! - [`backup`]: the database and its keys as one file, and back.
//! - [`object_settings`]: the bucket of a blob store.
//! - [`rebuild`]: the database of a directory that has none.
//! - [`shipping`]: snapshots and changes of the database in the bucket of the blobs.
//! - [`relocation`]: the last step of a move to other places.
//! - [`watched_file`]: a small file that is polled for changes.
//! - [`directory`]: the layout and the lock of the data directory, and the identity of its content.
//! - `blocking`: threads for work that blocks.
//! - `boot`: the boot id of the machine.
//! - `space`: free space of a file system.
//! - `permissions`: modes of new files and directories.
//! - `regular_file`: opens regular files, and no FIFO.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod accounts_mark;
pub mod adopt;
pub mod backup;
pub mod blob_journal;
pub mod blob_place;
pub mod blobs;
mod blocking;
mod boot;
pub mod database_url;
pub mod directory;
mod durable;
pub mod error;
pub mod metadata;
mod metadata_place;
pub mod object_settings;
mod permissions;
pub mod rebuild;
mod regular_file;
pub mod relocation;
pub mod shipping;
mod space;
pub mod view;
pub mod watched_file;

pub use blobs::{Blob, BlobStore, Upload};
pub use directory::Directory;
pub use error::StoreError;
pub use metadata::Metadata;
pub use space::Space;
