//! The content of a registry before it is measured.

pub(crate) mod accounts;
pub(crate) mod listing;
pub(crate) mod many;

use crate::client::push::Image;
use crate::content::Source;

/// One of the states that rows start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    Empty,
    /// One image with a large layer.
    Image,
    /// Repositories, tags and referrers to list.
    Listing,
    Many,
    /// The image, and accounts of the registry's own with grants; for ours alone.
    Accounts(Crowd),
}

/// How many accounts there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowd {
    Few,
    /// Far more than anybody has.
    Many,
}

impl Set {
    /// The name under which the data is kept for other rows, if they only read it.
    pub(crate) fn kept(self) -> Option<&'static str> {
        match self {
            Self::Empty | Self::Image => None,
            Self::Listing => Some("listing"),
            Self::Many => Some("many"),
            Self::Accounts(Crowd::Few) => Some("few-accounts"),
            Self::Accounts(Crowd::Many) => Some("many-accounts"),
        }
    }
}

/// How large everything is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// A run that takes less than two minutes and whose figures are only good for finding that something
    /// broke.
    pub(crate) quick: bool,
}

impl Scale {
    /// One of two values.
    pub(crate) fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// The repository of the image.
pub(crate) const REPOSITORY: &str = "bench/app";
pub(crate) const TAG: &str = "v1";
/// The length of its large layer, which is that of a common runtime image.
pub(crate) const LARGE_LAYER: u64 = 93_000_000;

/// An image as they usually are: most layers are small, one is large.
pub(crate) fn image(source: &Source) -> Image {
    Image::new(source, &[LARGE_LAYER, 31_000, 640_000, 210, 5_200, 118_000, 940, 74_000])
}
