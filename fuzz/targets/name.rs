//! A repository name has one spelling, and each of its components may be the name of a directory.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::RepositoryName;

fuzz_target!(|text: &str| {
    let Ok(name) = text.parse::<RepositoryName>() else { return };
    assert_eq!(name.to_string(), text);
    assert!(text.len() <= oci::name::MAX_LEN);
    assert_eq!(name.components().collect::<Vec<_>>().join("/"), text);
    for component in name.components() {
        assert!(component.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()));
        assert!(component.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()));
        assert!(!component.contains(".."));
    }
});
