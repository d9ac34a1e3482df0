//! The byte order mark that some editors put at the beginning of a text file.

/// Removes the mark, which would hide the first line of PEM and TOML.
pub(crate) fn strip(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}
