//! The byte order mark, which some editors put before the text of a file.

/// UTF-8's.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// The content of a file without the mark.
pub(crate) fn strip(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(MARK).unwrap_or(bytes)
}

/// Text without the mark.
pub(crate) fn strip_str(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}
