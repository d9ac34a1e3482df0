//! A cached list of the tags of a repository, and pages of it.

use std::ops::{Deref, Range};
use std::sync::Arc;

use oci::Tag;

/// The maximum number of tags in a cached list.
pub(crate) const MAX_CACHED: usize = 16_384;

/// A cache entry for the tags of a repository.
#[derive(Clone, Debug)]
pub(crate) enum TagList {
    /// All tags, in byte order.
    Whole(Arc<[Tag]>),
    /// Too many tags to cache. Saves reading them all to find that out.
    TooLong,
}

/// A page of tags in byte order.
#[derive(Clone, Debug)]
pub struct TagPage {
    list: Arc<[Tag]>,
    range: Range<usize>,
}

impl TagPage {
    /// Returns the first `limit` tags after `after`, which need not be in the list.
    pub(crate) fn of(list: Arc<[Tag]>, after: Option<&str>, limit: usize) -> Self {
        let first = after.map_or(0, |after| list.partition_point(|tag| tag.as_str() <= after));
        let range = first..first.saturating_add(limit).min(list.len());
        Self { list, range }
    }

    /// Whether more tags follow.
    #[must_use]
    pub fn more(&self) -> bool {
        self.range.end < self.list.len()
    }
}

impl Deref for TagPage {
    type Target = [Tag];

    fn deref(&self) -> &[Tag] {
        &self.list[self.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
        let list: Arc<[Tag]> = ["1", "1.0", "10", "a"].map(|tag| tag.parse().unwrap()).into();
        let page = TagPage::of(list, after, limit);
        (page.iter().map(|tag| tag.as_str().to_owned()).collect(), page.more())
    }

    #[test]
    fn page_begins_after_the_last_tag_seen() {
        let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        assert_eq!(page(None, 2), (tags(&["1", "1.0"]), true));
        assert_eq!(page(Some("1"), 2), (tags(&["1.0", "10"]), true));
        assert_eq!(page(Some("1.0"), 2), (tags(&["10", "a"]), false));
        assert_eq!(page(Some("1.5"), usize::MAX), (tags(&["10", "a"]), false), "deleted meanwhile");
        assert_eq!(page(Some("b"), 2), (tags(&[]), false));
        assert_eq!(page(None, 0), (tags(&[]), true));
    }
}
