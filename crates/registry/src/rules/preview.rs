//! Rules on tags for people: those in force, the rule of a tag, and a preview of a rule.

use std::sync::Arc;

use accounts::Visible;
use oci::{RepositoryName, Tag};
use store::metadata::TagRefusal;

use super::{Rules, TagRule};
use crate::listing::Page;
use crate::{Error, Registry};

/// The names that are read at once.
const PAGE: usize = 1_000;
/// The number of tags that a preview reads at most.
const READ: usize = 200_000;

impl Registry {
    /// Returns the rules of the configuration.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.inner.policy.load().rules.clone()
    }

    /// Returns the rule by which nobody, or only an administrator, may delete a tag.
    #[must_use]
    pub fn tag_rule(&self, repository: &RepositoryName, tag: &Tag) -> Option<TagRefusal> {
        self.inner.policy.load().rules.keeps(repository, tag)
    }

    /// Returns the first tags that a rule selects. It reads at most 200,000 tags.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn preview_tag_rule(
        &self,
        rule: &TagRule,
        limit: usize,
    ) -> Result<Page<(RepositoryName, Tag)>, Error> {
        let patterns: Option<Vec<_>> =
            rule.repositories.iter().map(|selector| selector.pattern().cloned()).collect();
        let visible = patterns.map_or(Visible::Everything, Visible::only);
        let (mut found, mut read) = (Vec::new(), 0);
        let mut last: Option<RepositoryName> = None;
        loop {
            let page =
                self.metadata.catalog(&visible, last.as_ref().map(RepositoryName::as_str), PAGE).await?;
            let is_last = page.len() < PAGE;
            for repository in page.iter().filter(|repository| rule.concerns(repository)) {
                let mut after: Option<Tag> = None;
                loop {
                    let tags = self.metadata.tags(repository, after.as_ref().map(Tag::as_str), PAGE).await?;
                    let tags = tags.unwrap_or_default();
                    read += tags.len();
                    let selected = tags.iter().filter(|tag| rule.selects(repository, tag).is_some());
                    found.extend(selected.map(|tag| (repository.clone(), tag.clone())));
                    if found.len() > limit || read > READ {
                        found.truncate(limit);
                        return Ok(Page { items: found, more: true });
                    }
                    if tags.len() < PAGE {
                        break;
                    }
                    after = tags.last().cloned();
                }
            }
            if is_last {
                return Ok(Page { items: found, more: false });
            }
            last = page.last().cloned();
        }
    }
}
