//! The storage of the tests: files and SQLite, unless `WHARFINGER_TEST_BLOBS` and `WHARFINGER_TEST_METADATA`
//! choose another one.

use std::path::Path;

use wharfinger::config::{Config, Sources};

use super::{object_servers, postgres};

/// Puts the storage of this run into the configuration of a registry.
pub(super) fn choose(config: &mut Config, scratch: &Path) {
    config.metadata.url = postgres::chosen(&config.data).map(|url| url.parse().expect("a URL"));
    let Some(prefix) = object_servers::chosen(&config.data) else { return };
    let settings = scratch.join("blobs.toml");
    std::fs::write(&settings, prefix.settings(scratch)).expect("a file");
    let sources = Sources { file: Some(settings), ..Sources::default() };
    config.blobs = Config::load(&sources).expect("valid settings").config.blobs;
}

/// Keeps the blobs of a test in files, whatever the storage of the run is. `reason`: the property of files
/// that the test is about.
pub(crate) fn blobs_in_files(config: &mut Config, reason: &str) {
    if config.blobs.url.is_some() {
        eprintln!("blobs in files: {reason}");
        config.blobs = Config::default().blobs;
    }
}

/// Keeps the metadata of a test in SQLite, whatever the storage of the run is. `reason`: the property of that
/// file that the test is about.
pub(crate) fn metadata_in_a_file(config: &mut Config, reason: &str) {
    if config.metadata.url.is_some() {
        eprintln!("metadata in SQLite: {reason}");
        config.metadata.url = None;
    }
}
