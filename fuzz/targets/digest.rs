//! A digest has one spelling, and everything that is made of it keeps to the length and the
//! characters of its algorithm.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{Digest, Tag};

fuzz_target!(|text: &str| {
    let Ok(digest) = text.parse::<Digest>() else { return };
    assert_eq!(digest.to_string(), text);
    assert_eq!(format!("{}:{}", digest.algorithm(), digest.hex()), text);
    assert_eq!(digest.hash().len(), digest.algorithm().hash_len());
    assert_eq!(Digest::from_hash(digest.algorithm(), digest.hash()), Some(digest));
    let tag: Tag = digest.referrers_tag().parse().expect("a tag");
    assert!(tag.is_referrers_tag());
    let json = serde_json::to_string(&digest).expect("JSON");
    assert_eq!(serde_json::from_str::<Digest>(&json).expect("a digest"), digest);
});
