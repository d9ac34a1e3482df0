//! Leftovers of ended uploads in the bucket: parts whose abort failed, and objects that a crash or an error
//! kept from their final keys.

use std::collections::HashSet;

use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::bucket::{Leftover, Unfinished};
use super::place::ObjectBlobs;
use crate::StoreError;

impl ObjectBlobs {
    /// Lists the leftovers: they belong neither to an upload in `known` nor to a multipart upload of this
    /// process.
    pub(super) async fn leftovers(&self, known: &HashSet<Uuid>) -> Result<Vec<Leftover>, StoreError> {
        let mut found = Vec::new();
        let is_known = |id: Option<Uuid>| id.is_some_and(|id| known.contains(&id));
        for prefix in [self.keys.uploads(), self.keys.blobs()] {
            for unfinished in self.bucket.unfinished(&prefix).await? {
                if !is_known(self.keys.upload_id(&unfinished.key)) && !self.is_open(&unfinished) {
                    found.push(Leftover::Multipart(unfinished));
                }
            }
        }
        for prefix in [self.keys.uploads(), self.keys.tails()] {
            let mut objects = self.bucket.list(prefix);
            while let Some((key, _)) = objects.try_next().await? {
                if !is_known(self.keys.upload_id(&key).or_else(|| self.keys.tail_id(&key))) {
                    found.push(Leftover::Object(key));
                }
            }
        }
        Ok(found)
    }

    fn is_open(&self, unfinished: &Unfinished) -> bool {
        self.multipart().values().any(|target| target.id == unfinished.id)
    }

    pub(super) async fn remove_leftover(&self, leftover: &Leftover) -> Result<(), StoreError> {
        match leftover {
            Leftover::Multipart(unfinished) => self.bucket.abort(&unfinished.key, &unfinished.id).await,
            Leftover::Object(key) => self.bucket.delete(key).await,
        }
    }

    /// Removes the leftovers that the call before has found as well.
    pub(super) async fn remove_old_leftovers(&self, known: &HashSet<Uuid>) -> Result<usize, StoreError> {
        let found: HashSet<_> = self.leftovers(known).await?.into_iter().collect();
        let mut seen = self.leftovers.lock().await;
        let old: Vec<_> = found.iter().filter(|&leftover| seen.contains(leftover)).cloned().collect();
        *seen = found;
        for leftover in &old {
            self.lease.ensure(self.limits.renewal).await?;
            self.remove_leftover(leftover).await?;
            seen.remove(leftover);
        }
        Ok(old.len())
    }
}
