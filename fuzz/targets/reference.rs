//! A reference is parsed from its own spelling to what it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{Reference, TagOrDigest};

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        assert!(text.starts_with(reference.repository.as_str()));
        assert_eq!(reference.to_string().parse(), Ok(reference));
    }
    if let Ok(target) = text.parse::<TagOrDigest>() {
        assert_eq!(target.to_string(), text);
    }
});
