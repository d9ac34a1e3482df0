//! Lists all blobs as a stream: the journaled ones first, then the files.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use oci::Digest;
use tokio::sync::mpsc;

use super::journaled::Journaled;
use crate::StoreError;
use crate::blobs::local::absent;

type Item = Result<(Digest, u64), StoreError>;

/// The stream. A thread for blocking work walks ahead as far as the channel holds, and ends when the stream
/// is dropped.
pub(super) struct Listing {
    items: mpsc::Receiver<Item>,
    started: Option<(mpsc::Sender<Item>, PathBuf, Arc<Journaled>)>,
}

impl Listing {
    pub(super) fn start(root: PathBuf, journaled: Arc<Journaled>) -> Self {
        let (sender, items) = mpsc::channel(256);
        Self { items, started: Some((sender, root, journaled)) }
    }
}

impl Stream for Listing {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        // Start at the first poll: only then a runtime exists for certain.
        if let Some((sender, root, journaled)) = self.started.take() {
            tokio::task::spawn_blocking(move || {
                let mut listed = HashSet::new();
                for (digest, content) in journaled.all() {
                    listed.insert(digest);
                    if sender.blocking_send(Ok((digest, content.bytes.len() as u64))).is_err() {
                        return;
                    }
                }
                let send = |item: Item| match item {
                    // It was flushed meanwhile.
                    Ok((digest, _)) if listed.contains(&digest) => true,
                    item => sender.blocking_send(item).is_ok(),
                };
                if let Err(error) = walk(&root, &send) {
                    send(Err(error));
                }
            });
        }
        self.items.poll_recv(cx)
    }
}

fn walk(root: &Path, send: &dyn Fn(Item) -> bool) -> Result<(), StoreError> {
    for algorithm in ["sha256", "sha512"] {
        for shard in entries(&root.join(algorithm))? {
            for directory in entries(&shard)? {
                // Other names belong to no blob.
                let hex = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else { continue };
                if !shard.ends_with(&hex[..2]) {
                    continue;
                }
                let path = directory.join("data");
                let item = match fs::metadata(&path) {
                    Ok(metadata) if metadata.is_file() => Ok((digest, metadata.len())),
                    Ok(_) => continue,
                    Err(error) => match absent::<()>(error) {
                        Ok(_) => continue,
                        Err(error) => Err(StoreError::io("look at", path, error)),
                    },
                };
                if !send(item) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Returns the paths in a directory; none if it does not exist or is no directory.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
        .map(Some)
        .or_else(absent)
        .map(Option::unwrap_or_default)
        .map_err(|error| StoreError::io("list", directory, error))
}
