//! A list on a page with a maximum length. A longer one says that it is cut.

/// The entries of a list.
pub(crate) struct Listed<T> {
    pub(crate) items: Vec<T>,
    /// Whether there are more entries than these.
    pub(crate) is_cut: bool,
}

/// The maximum number of entries.
const LENGTH: usize = 200;

/// The entries to read for a list: one more than it shows.
pub(crate) const LIMIT: usize = LENGTH + 1;

impl<T> Listed<T> {
    /// Cuts up to [`LIMIT`] entries to the length of a list.
    pub(crate) fn of(mut items: Vec<T>) -> Self {
        let is_cut = items.len() > LENGTH;
        items.truncate(LENGTH);
        Self { items, is_cut }
    }

    pub(crate) fn map<U>(self, convert: impl FnMut(T) -> U) -> Listed<U> {
        Listed { items: self.items.into_iter().map(convert).collect(), is_cut: self.is_cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_cut_at_its_length() {
        let listed = |count| Listed::of(vec![(); count]);
        assert!(!listed(LENGTH).is_cut);
        assert_eq!((listed(LIMIT).items.len(), listed(LIMIT).is_cut), (LENGTH, true));
    }
}
