//! The check of a whole registry: does it have what the metadata promises?

use std::collections::HashMap;

use accounts::Visible;
use oci::{Digest, RepositoryName};
use store::StoreError;
use store::adopt::Report;
use store::metadata::{Affected, ViewProblem};
use store::view::RepairReport;

use crate::integrity::Verified;
use crate::{Error, Registry};

/// Rows asked of the metadata at a time.
const PAGE: usize = 1000;
/// Repositories and tags named for one fault.
pub const AFFECTED: usize = 100;

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Repositories looked at.
    pub repositories: u64,
    /// Distinct manifests looked at.
    pub manifests: u64,
    /// Distinct configs and layers looked at.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Content that is not as it should be.
    pub faults: Vec<Fault>,
    /// What another program had changed below `repositories/`, and is adopted now.
    pub adopted: Report,
    /// What of `repositories/` could not be adopted. It was left as it is.
    pub problems: Vec<ViewProblem>,
    /// Which links below `repositories/` were missing, and are written now.
    pub view: RepairReport,
}

/// Content that is not as it should be, and who needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The repository in which it was found.
    pub repository: RepositoryName,
    /// The content.
    pub digest: Digest,
    /// What is wrong with it.
    pub what: FaultKind,
    /// The repositories and tags that need it, at most [`AFFECTED`].
    pub affected: Vec<Affected>,
}

/// What can be wrong with content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The file is not there.
    Missing,
    /// The file has another size, in bytes, than it should.
    Size {
        /// What it should have.
        expected: u64,
        /// What it has.
        actual: u64,
    },
    /// The file's bytes have another digest.
    Digest {
        /// The digest that they have.
        actual: Digest,
    },
    /// It is a manifest that claims another size, in bytes, for a part than the part has.
    PartSize {
        /// The part.
        part: Digest,
        /// Its size as the manifest claims.
        claimed: u64,
        /// Its size.
        actual: u64,
    },
}

/// Sound content with its size, and content that is not sound.
type Seen = HashMap<Digest, Option<u64>>;

impl Registry {
    /// Looks whether every manifest, and everything that a manifest needs, is there with its size;
    /// with `read`, whether its bytes have its digest, which also marks it as damaged or sound. Before that, adopts what another program has
    /// changed below `repositories/`, and writes the links that are missing there. Requests are
    /// served meanwhile. `progress` hears how many repositories and bytes are done, also within a
    /// large blob, and ends the check where it returns `false`.
    ///
    /// # Errors
    /// Those of the store; what is wrong with content is in the result.
    pub async fn check(
        &self,
        read: bool,
        progress: impl Fn(u64, u64) -> bool + Send + Sync,
    ) -> Result<Checked, Error> {
        let adopted = self.adopt().await?;
        let view = self.inner.background.view().repair(|_| ()).await?;
        let problems = self.inner.metadata.view_problems().await?;
        let checked = Checked { adopted, problems, view, ..Checked::default() };
        let mut check = Check { registry: self, read, progress, checked, seen: Seen::new() };
        check.run().await?;
        Ok(check.checked)
    }
}

/// A check under way.
struct Check<'a, P> {
    registry: &'a Registry,
    read: bool,
    progress: P,
    checked: Checked,
    seen: Seen,
}

impl<P: Fn(u64, u64) -> bool + Send + Sync> Check<'_, P> {
    async fn run(&mut self) -> Result<(), Error> {
        let mut after: Option<String> = None;
        loop {
            let page = self.registry.catalog(&Visible::Everything, after.as_deref(), PAGE).await?;
            after = page.items.last().map(ToString::to_string);
            for repository in &page.items {
                self.repository(repository).await?;
                self.checked.repositories += 1;
                if !(self.progress)(self.checked.repositories, self.checked.bytes) {
                    return Ok(());
                }
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    async fn repository(&mut self, repository: &RepositoryName) -> Result<(), Error> {
        let metadata = &self.registry.inner.metadata;
        let mut after: Option<Digest> = None;
        loop {
            let manifests = metadata.manifests(repository, after.as_ref(), PAGE).await?;
            let Some(last) = manifests.last() else { return Ok(()) };
            after = Some(last.digest);
            for manifest in &manifests {
                let parts = metadata.manifest_parts(repository, &manifest.digest).await?;
                // A sparse index or an external layer promises nothing, and the children of an index are
                // checked as manifests.
                let needed = parts.iter().filter(|part| part.required && !part.is_manifest);
                let own = (manifest.digest, manifest.size);
                for (digest, size) in needed.map(|part| (part.digest, part.size)).chain([own]) {
                    let content = self.content_once(&digest, size, digest == manifest.digest).await?;
                    let (digest, what) = match content {
                        Content::Faulty(what) => (digest, what),
                        Content::Sound(actual) if actual != size => {
                            (manifest.digest, FaultKind::PartSize { part: digest, claimed: size, actual })
                        }
                        Content::Sound(_) | Content::Reported => continue,
                        Content::Stopped => return Ok(()),
                    };
                    let affected = metadata.affected(&digest, AFFECTED).await?;
                    self.checked.faults.push(Fault {
                        repository: repository.clone(),
                        digest,
                        what,
                        affected,
                    });
                }
            }
        }
    }

    /// Checks content for which a manifest claims a size, unless that was done before.
    async fn content_once(
        &mut self,
        digest: &Digest,
        claimed: u64,
        is_manifest: bool,
    ) -> Result<Content, StoreError> {
        match self.seen.get(digest) {
            Some(Some(size)) => return Ok(Content::Sound(*size)),
            Some(None) => return Ok(Content::Reported),
            None => {}
        }
        let content = self.content(digest, claimed).await?;
        match is_manifest {
            true => self.checked.manifests += 1,
            false => self.checked.blobs += 1,
        }
        self.checked.bytes += claimed;
        let sound = match &content {
            Content::Sound(size) => Some(*size),
            Content::Faulty(_) | Content::Reported | Content::Stopped => None,
        };
        self.seen.insert(*digest, sound);
        Ok(content)
    }

    /// Compares the file of some content with its record. Reads the file on request, if it is marked as damaged, or
    /// if a manifest claims another size.
    async fn content(&self, digest: &Digest, claimed: u64) -> Result<Content, StoreError> {
        let record = self.registry.inner.metadata.content_record(digest).await?;
        let Some(actual) = self.registry.stored_size(digest).await? else {
            return Ok(Content::Faulty(FaultKind::Missing));
        };
        if let Some(expected) = record.and_then(|record| record.size)
            && expected != actual
        {
            return Ok(Content::Faulty(FaultKind::Size { expected, actual }));
        }
        if !self.read && actual == claimed && record.is_none_or(|record| !record.is_damaged) {
            return Ok(Content::Sound(actual));
        }
        let within = |done| (self.progress)(self.checked.repositories, self.checked.bytes + done);
        Ok(match self.registry.verify(digest, within).await? {
            Verified::Missing => Content::Faulty(FaultKind::Missing),
            Verified::Stored(stored) if stored == *digest => Content::Sound(actual),
            Verified::Stored(actual) => Content::Faulty(FaultKind::Digest { actual }),
            Verified::Stopped => Content::Stopped,
        })
    }
}

/// The result of checking some content.
enum Content {
    /// The file is right and has this size in bytes.
    Sound(u64),
    Faulty(FaultKind),
    /// The fault was reported before.
    Reported,
    /// The check was ended while it was read.
    Stopped,
}
