//! The content of a registry: each manifest, and the configs and layers that it needs.

use std::collections::{HashMap, HashSet};

use accounts::Visible;
use oci::{Digest, RepositoryName};
use store::StoreError;

use super::{AFFECTED, Checked, Fault, FaultKind, PAGE};
use crate::integrity::Verified;
use crate::{Error, Registry};

/// The sizes of intact content; `None` for faulty content.
type Seen = HashMap<Digest, Option<u64>>;

impl Registry {
    /// Compares the content that manifests need with the stored files, and adds faults to the result.
    pub(super) async fn check_content(
        &self,
        checked: &mut Checked,
        progress: impl Fn(u64, u64) -> bool + Send + Sync,
    ) -> Result<(), Error> {
        Check { registry: self, progress, checked, seen: Seen::new() }.run().await
    }
}

struct Check<'a, P> {
    registry: &'a Registry,
    progress: P,
    checked: &'a mut Checked,
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
        let metadata = &self.registry.metadata;
        let mut after: Option<Digest> = None;
        loop {
            let manifests = metadata.manifests(repository, after.as_ref(), PAGE).await?;
            let Some(last) = manifests.last() else { return Ok(()) };
            after = Some(last.digest);
            let mut unlinked = HashSet::new();
            for manifest in &manifests {
                let parts = metadata.manifest_parts(repository, &manifest.digest).await?;
                // A sparse index or an external layer promises nothing, and the children of an index are
                // checked as manifests.
                let needed = parts.iter().filter(|part| part.required && !part.is_manifest);
                let own = (manifest.digest, manifest.size);
                for (digest, size) in needed.map(|part| (part.digest, part.size)).chain([own]) {
                    let is_manifest = digest == manifest.digest;
                    let is_linked = is_manifest || self.is_linked(repository, &digest).await?;
                    let mut erasure = None;
                    let content = match is_linked {
                        true => self.content_once(&digest, size, is_manifest).await?,
                        false if unlinked.insert(digest) => {
                            erasure = metadata.erasure(repository, &digest).await?;
                            let is_erased = erasure.is_some();
                            Content::Faulty(if is_erased { FaultKind::Erased } else { FaultKind::NotLinked })
                        }
                        false => Content::Reported,
                    };
                    let (digest, what) = match content {
                        Content::Faulty(what) => (digest, what),
                        Content::Intact(actual) if actual != size => {
                            (manifest.digest, FaultKind::PartSize { part: digest, claimed: size, actual })
                        }
                        Content::Intact(_) | Content::Reported => continue,
                        Content::Stopped => return Ok(()),
                    };
                    // Other repositories hold a blob that only this one lacks.
                    let only_here = matches!(what, FaultKind::NotLinked | FaultKind::Erased);
                    let affected =
                        metadata.affected(&digest, only_here.then_some(repository), AFFECTED).await?;
                    self.checked.faults.push(Fault {
                        repository: repository.clone(),
                        digest,
                        what,
                        affected,
                        erasure,
                        repair: None,
                    });
                }
            }
        }
    }

    /// Whether the repository holds a blob, damaged or not.
    async fn is_linked(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, StoreError> {
        let metadata = &self.registry.metadata;
        Ok(metadata.blob(repository, digest).await?.is_some()
            || metadata.content_record(digest).await?.is_some_and(|record| record.is_damaged))
    }

    /// Checks content for which a manifest claims a size, unless that was done before.
    async fn content_once(
        &mut self,
        digest: &Digest,
        claimed: u64,
        is_manifest: bool,
    ) -> Result<Content, StoreError> {
        match self.seen.get(digest) {
            Some(Some(size)) => return Ok(Content::Intact(*size)),
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
            Content::Intact(size) => Some(*size),
            Content::Faulty(_) | Content::Reported | Content::Stopped => None,
        };
        self.seen.insert(*digest, sound);
        Ok(content)
    }

    /// Compares the file of some content with its record. Reads the file if it is marked as damaged, or if a
    /// manifest claims another size.
    async fn content(&self, digest: &Digest, claimed: u64) -> Result<Content, StoreError> {
        let record = self.registry.metadata.content_record(digest).await?;
        let actual = match self.registry.inner.blobs.stat(digest).await {
            Ok(Some(size)) => size,
            Ok(None) => return Ok(Content::Faulty(FaultKind::Missing)),
            Err(StoreError::Io { .. }) => return Ok(Content::Faulty(FaultKind::Unreadable)),
            Err(error) => return Err(error),
        };
        if let Some(expected) = record.and_then(|record| record.size)
            && expected != actual
        {
            return Ok(Content::Faulty(FaultKind::Size { expected, actual }));
        }
        if actual == claimed && record.is_none_or(|record| !record.is_damaged) {
            return Ok(Content::Intact(actual));
        }
        let within = |done| (self.progress)(self.checked.repositories, self.checked.bytes + done);
        let verified = match self.registry.verify(digest, self.registry.read_limit(), within).await {
            Err(StoreError::Io { .. }) => return Ok(Content::Faulty(FaultKind::Unreadable)),
            verified => verified?,
        };
        Ok(match verified {
            Verified::Missing => Content::Faulty(FaultKind::Missing),
            Verified::Stored(stored) if stored == *digest => Content::Intact(actual),
            Verified::Stored(actual) => Content::Faulty(FaultKind::Digest { actual }),
            Verified::Stopped => Content::Stopped,
        })
    }
}

/// The result of checking some content.
enum Content {
    /// The file is right and has this size in bytes.
    Intact(u64),
    Faulty(FaultKind),
    /// The fault was reported before.
    Reported,
    /// The check was stopped while reading.
    Stopped,
}
