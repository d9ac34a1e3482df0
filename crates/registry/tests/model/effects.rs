//! The legal states after concurrent operations on shared repositories.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::content::{BLOBS, IMAGES, TAGS};
use crate::expected::{OpenUpload, RepositoryModel};
use crate::operation::Operation;

/// A value that operations set and remove: a blob or manifest in a repository, or the target of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Blob { repository: usize, blob: usize },
    Image { repository: usize, image: usize },
    Tag { repository: usize, tag: usize },
}

/// The successful operations of one task, by cell.
#[derive(Default)]
pub(crate) struct Effects {
    /// The value that the task has set, and not replaced or removed later. Blobs and manifests have the value
    /// 0.
    set: BTreeMap<Cell, usize>,
    /// Cells that the task may have emptied.
    removed: BTreeSet<Cell>,
}

impl Effects {
    pub(crate) fn note(&mut self, operation: &Operation, uploads: &[(Uuid, OpenUpload)]) {
        use Operation as O;
        match *operation {
            O::UploadBlob { repository, blob } | O::Mount { repository, blob, .. } => {
                self.set.insert(Cell::Blob { repository, blob }, 0);
            }
            O::FinishUpload { upload } => {
                let OpenUpload { repository, blob, .. } = uploads[upload].1;
                self.set.insert(Cell::Blob { repository, blob }, 0);
            }
            O::PushByTag { repository, image, tag } => self.push(repository, image, Some(tag)),
            O::PushByDigest { repository, image, tag } => self.push(repository, image, tag),
            O::DeleteBlob { repository, blob } => self.remove(Cell::Blob { repository, blob }),
            O::DeleteTag { repository, tag } => self.remove(Cell::Tag { repository, tag }),
            O::DeleteManifest { repository, image } => {
                self.remove(Cell::Image { repository, image });
                for tag in 0..TAGS.len() {
                    let cell = Cell::Tag { repository, tag };
                    // The tag may have pointed to the image because of another task.
                    self.removed.insert(cell);
                    if self.set.get(&cell) == Some(&image) {
                        self.set.remove(&cell);
                    }
                }
            }
            O::DeleteRepository { repository } => {
                (0..BLOBS.len()).for_each(|blob| self.remove(Cell::Blob { repository, blob }));
                (0..IMAGES.len()).for_each(|image| self.remove(Cell::Image { repository, image }));
                (0..TAGS.len()).for_each(|tag| self.remove(Cell::Tag { repository, tag }));
            }
            O::BeginUpload { .. } | O::AppendUpload { .. } | O::CancelUpload { .. } | O::Restart => {}
        }
    }

    /// An accepted image holds its blobs, also against a deletion of the repository that began before.
    fn push(&mut self, repository: usize, image: usize, tag: Option<usize>) {
        self.set.insert(Cell::Image { repository, image }, 0);
        self.set.extend(IMAGES[image].blobs.iter().map(|blob| (Cell::Blob { repository, blob: *blob }, 0)));
        self.set.extend(tag.map(|tag| (Cell::Tag { repository, tag }, image)));
    }

    fn remove(&mut self, cell: Cell) {
        self.set.remove(&cell);
        self.removed.insert(cell);
    }
}

/// Checks that each value was set by some task last, and each missing value was removed or never set.
pub(crate) fn check_legal(state: &[RepositoryModel; 3], effects: &[Effects]) {
    let check = |cell: Cell, value: Option<usize>| {
        let is_legal = match value {
            Some(value) => effects.iter().any(|task| task.set.get(&cell) == Some(&value)),
            None => effects.iter().all(|task| !task.set.contains_key(&cell)) || removed(effects, cell),
        };
        assert!(is_legal, "{cell:?} is {value:?}");
    };
    for (repository, state) in state.iter().enumerate() {
        for blob in 0..BLOBS.len() {
            check(Cell::Blob { repository, blob }, state.blobs.contains(&blob).then_some(0));
        }
        for image in 0..IMAGES.len() {
            check(Cell::Image { repository, image }, state.images.contains(&image).then_some(0));
        }
        for tag in 0..TAGS.len() {
            let target = state.tags.get(&tag).copied();
            check(Cell::Tag { repository, tag }, target);
            assert!(target.is_none_or(|image| state.images.contains(&image)), "tag {tag} has no manifest");
        }
    }
}

fn removed(effects: &[Effects], cell: Cell) -> bool {
    effects.iter().any(|task| task.removed.contains(&cell))
}
