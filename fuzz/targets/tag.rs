//! A tag has one spelling, may be the name of a file, and is no digest.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{Digest, Tag, TagOrDigest};

fuzz_target!(|text: &str| {
    let Ok(tag) = text.parse::<Tag>() else { return };
    assert_eq!(tag.to_string(), text);
    assert!(text.len() <= oci::tag::MAX_LEN && !text.contains('/') && !text.starts_with('.'));
    assert!(text.parse::<Digest>().is_err());
    assert_eq!(text.parse(), Ok(TagOrDigest::Tag(tag)));
});
