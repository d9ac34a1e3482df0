//! Ranges: `Range` of blob downloads and `Content-Range` of upload chunks.

use std::ops::Range;

use registry::uploads::ChunkRange;

/// The result of a `Range` header for content of a known size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ranged {
    /// Status 200.
    Whole,
    /// Status 206.
    Part(Range<u64>),
    /// Status 416.
    Unsatisfiable,
}

/// Parses a `Range` header (RFC 9110 section 14.2) for content of `size` bytes.
///
/// - Units other than bytes are ignored, as the RFC says.
/// - Several ranges get the whole content, which the RFC allows. No registry client reads
///   `multipart/byteranges`, and overlapping ranges could make the answer larger than the content.
/// - Empty content has no range. Clients that send `bytes=0-` for it get an empty 200.
/// - A malformed header gets 416, which the RFC allows.
pub(crate) fn parse_range(header: &str, size: u64) -> Ranged {
    let Some((unit, set)) = header.split_once('=') else { return Ranged::Unsatisfiable };
    if !unit.trim().eq_ignore_ascii_case("bytes") || size == 0 {
        return Ranged::Whole;
    }
    let mut specs = set.split(',').map(str::trim).filter(|spec| !spec.is_empty());
    let Some(spec) = specs.next() else { return Ranged::Unsatisfiable };
    if specs.next().is_some() {
        return Ranged::Whole;
    }
    let part = match spec.split_once('-') {
        Some(("", suffix)) => {
            number(suffix).filter(|suffix| *suffix > 0).map(|suffix| size.saturating_sub(suffix)..size)
        }
        Some((first, "")) => number(first).map(|first| first..size),
        Some((first, last)) => number(first)
            .zip(number(last))
            .filter(|(first, last)| first <= last)
            .map(|(first, last)| first..last.saturating_add(1).min(size)),
        None => None,
    };
    match part {
        Some(part) if part.start < size => Ranged::Part(part),
        _ => Ranged::Unsatisfiable,
    }
}

/// Parses the `Content-Range` of a chunk: `<first>-<last>`, both inclusive (distribution-spec, "Pushing a
/// blob in chunks").
pub(crate) fn parse_chunk_range(header: &str) -> Option<ChunkRange> {
    let (first, last) = header.split_once('-')?;
    let (first, last) = (exact_number(first)?, exact_number(last)?);
    (first <= last && last < u64::MAX).then_some(ChunkRange { first, last })
}

/// Parses a number of bytes. A number that is too large becomes the maximum.
fn number(digits: &str) -> Option<u64> {
    let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(u64::MAX))
}

fn exact_number(digits: &str) -> Option<u64> {
    // `parse` alone would accept a sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn first_middle_suffix_and_open_end() {
        let cases = [
            ("bytes=0-0", 0..1),
            ("bytes=0-499", 0..500),
            ("bytes=500-999", 500..1000),
            ("bytes=500-", 500..1000),
            ("bytes=0-", 0..1000),
            ("bytes=-1", 999..1000),
            ("bytes=-500", 500..1000),
            ("bytes=-5000", 0..1000),
            ("bytes=999-5000", 999..1000),
            ("bytes=0-99999999999999999999999", 0..1000),
            ("bytes=-99999999999999999999999", 0..1000),
            ("Bytes = 10-19 ", 10..20),
            ("bytes=10-19,", 10..20),
        ];
        for (header, part) in cases {
            assert_eq!(parse_range(header, 1000), Ranged::Part(part), "{header}");
        }
    }

    #[test]
    fn invalid_range_is_unsatisfiable() {
        for header in [
            "bytes=1000-",
            "bytes=1000-2000",
            "bytes=-0",
            "bytes=500-0",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes",
            "0-1",
            "bytes=99999999999999999999999-",
        ] {
            assert_eq!(parse_range(header, 1000), Ranged::Unsatisfiable, "{header}");
        }
    }

    #[test]
    fn unsupported_range_is_answered_whole() {
        assert_eq!(parse_range("items=0-5", 1000), Ranged::Whole);
        assert_eq!(parse_range("bytes=0-1,5-6", 1000), Ranged::Whole);
        assert_eq!(parse_range("bytes=0-", 0), Ranged::Whole);
        assert_eq!(parse_range("bytes=-5", 0), Ranged::Whole);
    }

    #[test]
    fn chunk_has_two_numbers_in_order() {
        assert_eq!(parse_chunk_range("0-0"), Some(ChunkRange { first: 0, last: 0 }));
        assert_eq!(parse_chunk_range("10-19"), Some(ChunkRange { first: 10, last: 19 }));
        for header in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "2-1",
            "+1-2",
            "1-+2",
            "bytes 0-1/2",
            "bytes=0-1",
            "0-1/2",
            " 0-1",
            "a-b",
            "0-18446744073709551615",
            "0-99999999999999999999999",
        ] {
            assert_eq!(parse_chunk_range(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn part_lies_in_the_content(header in "bytes=[0-9]{0,21}-[0-9]{0,21}", size in 0_u64..10_000) {
            if let Ranged::Part(part) = parse_range(&header, size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }

        #[test]
        fn requested_range_is_returned(first in 0_u64..5000, last in 0_u64..5000, size in 1_u64..5000) {
            let expected = if first <= last && first < size {
                Ranged::Part(first..size.min(last + 1))
            } else {
                Ranged::Unsatisfiable
            };
            prop_assert_eq!(parse_range(&format!("bytes={first}-{last}"), size), expected);
        }

        #[test]
        fn any_header_is_read_or_refused(header in ".{0,40}", size in any::<u64>()) {
            let _ = parse_range(&header, size);
            let _ = parse_chunk_range(&header);
        }
    }
}
