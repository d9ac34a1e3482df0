//! The list of the tags of a repository, kept in memory, and pages of it.

use std::ops::{Deref, Range};
use std::sync::Arc;

use oci::Tag;

/// How many tags a list has at most that is kept.
pub(crate) const WHOLE: usize = 16_384;

/// What is known of all the tags of a repository that are listed.
#[derive(Clone, Debug)]
pub(crate) enum TagList {
    /// All of them, in the order of their bytes.
    Whole(Arc<[Tag]>),
    /// They are too many to be kept, so that nobody need read them all to find that out.
    TooLong,
}

/// Tags of a repository in the order of their bytes, and whether more follow after the last.
#[derive(Clone, Debug)]
pub struct TagPage {
    list: Arc<[Tag]>,
    range: Range<usize>,
}

impl TagPage {
    /// The first `limit` of a list in the order of its bytes that come after `after`, which need not be in it.
    pub(crate) fn of(list: Arc<[Tag]>, after: Option<&str>, limit: usize) -> Self {
        let first = after.map_or(0, |after| list.partition_point(|tag| tag.as_str() <= after));
        let range = first..first.saturating_add(limit).min(list.len());
        Self { list, range }
    }

    /// Whether there are more after the last.
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
    fn a_page_begins_after_what_was_last_seen() {
        let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        assert_eq!(page(None, 2), (tags(&["1", "1.0"]), true));
        assert_eq!(page(Some("1"), 2), (tags(&["1.0", "10"]), true));
        assert_eq!(page(Some("1.0"), 2), (tags(&["10", "a"]), false));
        assert_eq!(page(Some("1.5"), usize::MAX), (tags(&["10", "a"]), false), "gone meanwhile");
        assert_eq!(page(Some("b"), 2), (tags(&[]), false));
        assert_eq!(page(None, 0), (tags(&[]), true));
    }
}
