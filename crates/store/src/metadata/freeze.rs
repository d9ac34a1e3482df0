//! Freeze of the writer: while the metadata are copied to another place, no operation changes them, and reads
//! go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Metadata;
use super::writer::{Durability, OnFull};
use crate::StoreError;

/// A freeze in force. Dropping it lets changes through again.
#[derive(Debug)]
pub struct Frozen(Option<Arc<AtomicBool>>);

impl Frozen {
    /// Keeps the metadata frozen until the process ends.
    pub fn keep(mut self) {
        self.0.take();
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(flag) = self.0.take() {
            flag.store(false, Ordering::Release);
        }
    }
}

impl Metadata {
    /// Whether changes are refused.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.inner.frozen.load(Ordering::Acquire)
    }

    /// Refuses all later changes with [`StoreError::Moving`]. Returns once every earlier change is committed.
    ///
    /// # Errors
    /// [`StoreError::Moving`] if the metadata are frozen already.
    pub async fn freeze(&self) -> Result<Frozen, StoreError> {
        if self.inner.frozen.swap(true, Ordering::AcqRel) {
            return Err(StoreError::Moving);
        }
        let frozen = Frozen(Some(self.inner.frozen.clone()));
        // The writer runs operations in their order, and checks the flag for each. So this operation ends
        // after all changes before the freeze, and no later one is made.
        self.inner.writer.write(Durability::Disk, OnFull::Fail, self.actor.clone(), |_| Ok(())).await?;
        Ok(frozen)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{empty, manifest, put};
    use crate::StoreError;

    #[tokio::test]
    async fn frozen_metadata_refuse_changes_until_the_end() {
        let (metadata, _directory) = empty();
        put(&metadata, manifest("app", "one")).await;
        let frozen = metadata.freeze().await.unwrap();
        let refused = metadata.put_manifest(manifest("app", "two")).await.unwrap_err();
        assert!(matches!(refused, StoreError::Moving), "{refused}");
        assert!(matches!(metadata.freeze().await, Err(StoreError::Moving)));
        assert_eq!(metadata.stored_contents(0, 10).await.unwrap().len(), 1);
        drop(frozen);
        put(&metadata, manifest("app", "two")).await;
        metadata.freeze().await.unwrap().keep();
        metadata.put_manifest(manifest("app", "three")).await.unwrap_err();
    }
}
