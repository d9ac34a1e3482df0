//! Tags of cosign: it keeps signatures, attestations and SBOMs of an image under tags made of the image's
//! digest (sigstore/cosign, "Signature Specification").

use crate::{Digest, Tag};

/// The kind of content under a tag of cosign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CosignKind {
    /// `sha256-….sig`
    Signature,
    /// `sha256-….att`
    Attestation,
    /// `sha256-….sbom`
    Sbom,
}

impl CosignKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Signature, Self::Attestation, Self::Sbom];

    /// The end of the tag, with its dot.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Signature => ".sig",
            Self::Attestation => ".att",
            Self::Sbom => ".sbom",
        }
    }

    /// The tag of this kind for a digest. A SHA-512 digest makes no tag: it is too long.
    #[must_use]
    pub fn tag_of(self, digest: &Digest) -> Option<Tag> {
        format!("{}-{}{}", digest.algorithm(), digest.hex(), self.suffix()).parse().ok()
    }

    /// The kind of a tag; `None` for a tag that is not one of cosign.
    #[must_use]
    pub fn of(tag: &Tag) -> Option<Self> {
        let kind = Self::ALL.into_iter().find(|kind| tag.as_str().ends_with(kind.suffix()))?;
        let digest = tag.as_str().strip_suffix(kind.suffix())?.replacen('-', ":", 1);
        digest.parse::<Digest>().is_ok().then_some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_cosign_are_told_from_others() {
        let hex = "0123456789abcdef".repeat(4);
        let kind = |text: String| CosignKind::of(&text.parse().unwrap());
        for of in CosignKind::ALL {
            let digest: Digest = format!("sha256:{hex}").parse().unwrap();
            assert_eq!(CosignKind::of(&of.tag_of(&digest).unwrap()), Some(of));
        }
        for other in [
            format!("sha256-{hex}"),
            format!("sha256-{hex}.siga"),
            format!("sha256-{}.sig", hex.to_uppercase()),
            format!("sha256-{}.sig", &hex[1..]),
            format!("sha512-{hex}.sig"),
            "v1.sig".to_owned(),
        ] {
            assert_eq!(kind(other.clone()), None, "{other}");
        }
        let long: Digest = format!("sha512:{}", hex.repeat(2)).parse().unwrap();
        assert_eq!(CosignKind::Signature.tag_of(&long), None);
    }
}
