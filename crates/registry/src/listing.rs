//! Lists: tags, catalog, referrers, search, usage. Every list is a page of bounded size.

use std::sync::Arc;

use accounts::Visible;
use oci::{Digest, RepositoryName, Tag};
use store::metadata::{ReferrerRecord, RepositoryRecord, RepositoryUsage, SearchPage, TagRecord, Usage};

use crate::tag_list::{TagList, TagPage, WHOLE};
use crate::{Error, Registry};

/// One page of a list, and whether more follow after its last item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Whether the list goes on.
    pub more: bool,
}

impl<T> Page<T> {
    /// A page of `limit` items, made from up to one more.
    fn cut(mut items: Vec<T>, limit: usize) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        Self { items, more }
    }
}

impl Registry {
    /// Tags of a repository in the order of their bytes, those after `after`. Fallback tags of
    /// clients without the referrers API are left out.
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
        let known = inner.cache.tag_list(repository);
        if let Some(TagList::Whole(all)) = known {
            return Ok(TagPage::of(all, after, limit));
        }
        let ticket = inner.cache.ticket(repository);
        let read = async |after, limit| -> Result<Arc<[Tag]>, Error> {
            let tags = inner.metadata.tags(repository, after, limit).await?;
            Ok(tags.ok_or_else(|| Error::NameUnknown(repository.clone()))?.into())
        };
        // Who asks for what follows on a page goes through the whole list.
        if after.is_some() && known.is_none() {
            let all = read(None, WHOLE + 1).await?;
            if all.len() <= WHOLE {
                inner.cache.keep_tag_list(ticket, repository, TagList::Whole(all.clone()));
                return Ok(TagPage::of(all, after, limit));
            }
            inner.cache.keep_tag_list(ticket, repository, TagList::TooLong);
        }
        let tags = read(after, limit + 1).await?;
        if after.is_none() && tags.len() <= limit {
            inner.cache.keep_tag_list(ticket, repository, TagList::Whole(tags.clone()));
        }
        Ok(TagPage::of(tags, after, limit))
    }

    /// Tags of a repository with what they point to; with fallback tags if `all`.
    ///
    /// # Errors
    /// [`Error::NameUnknown`].
    pub async fn tag_records(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
        all: bool,
    ) -> Result<Page<TagRecord>, Error> {
        let tags = self.inner.metadata.tag_records(repository, after, limit + 1, all).await?;
        Ok(Page::cut(tags.ok_or_else(|| Error::NameUnknown(repository.clone()))?, limit))
    }

    /// Names of visible repositories that hold a manifest, in the order of their bytes, those after
    /// `after`.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn catalog(
        &self,
        visible: &Visible,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>, Error> {
        Ok(Page::cut(self.inner.metadata.catalog(visible, after, limit + 1).await?, limit))
    }

    /// Visible repositories that hold a manifest, in the order of their names, those after `after`.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn repositories(
        &self,
        visible: &Visible,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryRecord>, Error> {
        Ok(Page::cut(self.inner.metadata.repositories(visible, after, limit + 1).await?, limit))
    }

    /// One repository.
    ///
    /// # Errors
    /// [`Error::NameUnknown`].
    pub async fn repository(&self, repository: &RepositoryName) -> Result<RepositoryRecord, Error> {
        let record = self.inner.metadata.repository(repository).await?;
        record.ok_or_else(|| Error::NameUnknown(repository.clone()))
    }

    /// The manifests whose subject is `subject`, in the order of their digests, those after
    /// `after`. None is an empty page, also in a repository that does not exist.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<ReferrerRecord>, Error> {
        let referrers = &self.inner.metadata;
        let referrers = referrers.referrers(repository, subject, artifact_type, after, limit + 1).await?;
        Ok(Page::cut(referrers, limit))
    }

    /// Visible repositories whose name or description has every word of the query, best first. The
    /// total counts visible ones alone.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn search(
        &self,
        visible: &Visible,
        query: &str,
        offset: usize,
        limit: usize,
    ) -> Result<SearchPage, Error> {
        Ok(self.inner.metadata.search(visible, query, offset, limit).await?)
    }

    /// Space used by all visible repositories together.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn usage(&self, visible: &Visible) -> Result<Usage, Error> {
        Ok(self.inner.metadata.usage(visible).await?)
    }

    /// Space that each visible repository takes, in the order of their names, those after `after`.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn repository_usage(
        &self,
        visible: &Visible,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryUsage>, Error> {
        Ok(Page::cut(self.inner.metadata.repository_usage(visible, after, limit + 1).await?, limit))
    }

    /// Whether the store answers, and the content is where it was: for a readiness check.
    ///
    /// # Errors
    /// [`Error::Unavailable`], or whatever keeps the metadata from answering.
    pub async fn ready(&self) -> Result<(), Error> {
        self.inner.content.check()?;
        Ok(self.inner.metadata.ready().await?)
    }
}
