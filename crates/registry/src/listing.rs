//! Lists: tags, catalog, referrers, search, usage. Each answer is one page of bounded size.

use std::collections::HashMap;
use std::sync::Arc;

use accounts::Visible;
use oci::{Digest, RepositoryName, Tag};
use store::metadata::{
    OwnerUsage, ReferrerRecord, RepositoryRecord, RepositoryUsage, SearchPage, TagRecord, Usage,
};

pub use store::metadata::{Position, RepositoryOrder, SEARCH_WINDOW, TagPosition, TagSearch};

use crate::pulls::Unwritten;
use crate::tag_list::{MAX_CACHED, TagList, TagPage};
use crate::{Error, Registry};

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// Whether more items follow.
    pub more: bool,
}

impl<T> Page<T> {
    /// Cuts `limit + 1` items to a page.
    pub(crate) fn cut(mut items: Vec<T>, limit: usize) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        Self { items, more }
    }
}

impl Registry {
    /// Returns tags in byte order, beginning after `after`. Fallback tags of clients without the referrers
    /// API are left out.
    ///
    /// # Errors
    /// [`Error::NameUnknown`].
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<TagPage, Error> {
        let inner = &self.inner;
        let cached = inner.cache.tag_list(repository);
        if let Some(TagList::Whole(all)) = cached {
            return Ok(TagPage::of(all, after, limit));
        }
        let ticket = inner.cache.ticket(repository);
        let read = async |after, limit| -> Result<Arc<[Tag]>, Error> {
            let tags = self.metadata.tags(repository, after, limit).await?;
            Ok(tags.ok_or_else(|| Error::NameUnknown(repository.clone()))?.into())
        };
        // A client that requests a second page usually reads the whole list, so it is cached.
        if after.is_some() && cached.is_none() {
            let all = read(None, MAX_CACHED + 1).await?;
            if all.len() <= MAX_CACHED {
                inner.cache.insert_tag_list(ticket, repository, TagList::Whole(all.clone()));
                return Ok(TagPage::of(all, after, limit));
            }
            inner.cache.insert_tag_list(ticket, repository, TagList::TooLong);
        }
        let tags = read(after, limit + 1).await?;
        if after.is_none() && tags.len() <= limit {
            inner.cache.insert_tag_list(ticket, repository, TagList::Whole(tags.clone()));
        }
        Ok(TagPage::of(tags, after, limit))
    }

    /// Returns tags with their manifests, of a selection and in an order.
    ///
    /// # Errors
    /// [`Error::NameUnknown`].
    pub async fn find_tags(
        &self,
        repository: &RepositoryName,
        search: TagSearch,
        after: Option<TagPosition>,
        limit: usize,
    ) -> Result<Page<TagRecord>, Error> {
        let tags = self.metadata.find_tags(repository, search, after, limit + 1).await?;
        let mut page = Page::cut(tags.ok_or_else(|| Error::NameUnknown(repository.clone()))?, limit);
        let mut unwritten: HashMap<Tag, Unwritten> = HashMap::new();
        for (pulled, pulls) in self.inner.pulls.unwritten(repository) {
            if let Some(tag) = pulled.tag {
                unwritten.entry(tag).or_default().add(pulls);
            }
        }
        for record in &mut page.items {
            if let Some(pulls) = unwritten.get(&record.tag) {
                record.pulls += pulls.pulls;
                record.pulled_at = record.pulled_at.max(Some(pulls.pulled_at()));
            }
        }
        Ok(page)
    }

    /// Returns visible repositories with a manifest, in byte order, beginning after `after`.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn catalog(
        &self,
        visible: &Visible,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>, Error> {
        Ok(Page::cut(self.metadata.catalog(visible, after, limit + 1).await?, limit))
    }

    /// Like [`catalog`](Self::catalog), with the details of each repository.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn repositories(
        &self,
        visible: &Visible,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryRecord>, Error> {
        Ok(Page::cut(self.metadata.repositories(visible, after, limit + 1).await?, limit))
    }

    /// Returns visible repositories in an order, beginning after `after`.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn repositories_by(
        &self,
        order: RepositoryOrder,
        visible: &Visible,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Page<(Position, RepositoryRecord)>, Error> {
        Ok(Page::cut(self.metadata.repositories_by(order, visible, after, limit + 1).await?, limit))
    }

    /// Returns the first components of the names of visible repositories, beginning after `after`.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn namespaces(
        &self,
        visible: &Visible,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<String>, Error> {
        Ok(Page::cut(self.metadata.namespaces(visible, after, limit + 1).await?, limit))
    }

    /// Returns the details of a repository.
    ///
    /// # Errors
    /// [`Error::NameUnknown`].
    pub async fn repository(&self, repository: &RepositoryName) -> Result<RepositoryRecord, Error> {
        let record = self.metadata.repository(repository).await?;
        record.ok_or_else(|| Error::NameUnknown(repository.clone()))
    }

    /// Returns the manifests whose subject is `subject`, by digest, beginning after `after`. The page is
    /// empty for an unknown subject or repository, and ends early after megabytes of annotations.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<ReferrerRecord>, Error> {
        let metadata = &self.metadata;
        let (items, more) = metadata.referrers(repository, subject, artifact_type, after, limit).await?;
        Ok(Page { items, more })
    }

    /// Returns the first manifests whose subject is `subject`, without their annotations.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn referrers_in_brief(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        limit: usize,
    ) -> Result<Vec<ReferrerRecord>, Error> {
        Ok(self.metadata.referrers_in_brief(repository, subject, limit).await?)
    }

    /// Returns visible repositories whose name or description has every word of the query, best match first.
    /// The total counts visible ones only.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn search(
        &self,
        visible: &Visible,
        query: &str,
        offset: usize,
        limit: usize,
    ) -> Result<SearchPage, Error> {
        Ok(self.metadata.search(visible, query, offset, limit).await?)
    }

    /// Returns the space that all visible repositories use together.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn usage(&self, visible: &Visible) -> Result<Usage, Error> {
        Ok(self.metadata.usage(visible).await?)
    }

    /// Returns the space of each visible repository, by name, beginning after `after`.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn repository_usage(
        &self,
        visible: &Visible,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryUsage>, Error> {
        Ok(Page::cut(self.metadata.repository_usage(visible, after, limit + 1).await?, limit))
    }

    /// Returns the space of the visible repositories below each first component of their names, beginning
    /// after `after`.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn owner_usage(
        &self,
        visible: &Visible,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<OwnerUsage>, Error> {
        let owners = self.namespaces(visible, after, limit).await?;
        let items = self.metadata.owner_usage(visible, owners.items).await?;
        Ok(Page { items, more: owners.more })
    }

    /// Returns the counted space of everything, which follows changes some seconds later. Before the first
    /// count, it is counted now.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn counted_usage(&self) -> Result<Usage, Error> {
        match self.metadata.counted_usage().await? {
            Some(usage) => Ok(usage),
            None => Ok(self.metadata.usage(&Visible::Everything).await?),
        }
    }

    /// Returns the counted space of owners, by name after `after`.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn counted_owners(&self, after: Option<&str>, limit: usize) -> Result<Page<OwnerUsage>, Error> {
        Ok(Page::cut(self.metadata.counted_owners(after, limit + 1).await?, limit))
    }

    /// Readiness check: the database and the object store answer, and the content directory is still mounted.
    ///
    /// # Errors
    /// [`Error::Unavailable`], or an error of the store.
    pub async fn ready(&self) -> Result<(), Error> {
        self.inner.content.check()?;
        self.check_blob_store()?;
        Ok(self.metadata.ready().await?)
    }
}
