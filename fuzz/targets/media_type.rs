//! A media type has one spelling and can be sent in a header. A parsed one has no
//! parameters and parses to itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::MediaType;

fuzz_target!(|text: &str| {
    if let Ok(media_type) = text.parse::<MediaType>() {
        assert_eq!(media_type.to_string(), text);
        assert!(text.len() <= oci::media_type::MAX_LEN);
        assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        assert!(MediaType::from_content_type(text).is_ok());
    }
    if let Ok(media_type) = MediaType::from_content_type(text) {
        assert!(!media_type.as_str().contains([';', ' ']));
        assert_eq!(MediaType::from_content_type(media_type.as_str()), Ok(media_type));
    }
});
