//! Parses `Authorization` headers: RFC 7617 (Basic) and RFC 6750 (Bearer).

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::passwords::Password;

/// Some clients omit the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Debug)]
pub(super) enum Credentials {
    /// The password may be a token.
    Basic {
        name: String,
        password: Password,
    },
    Bearer(Token),
}

/// A bearer token from a request. Its `Debug` output is redacted.
pub(super) struct Token(pub(super) String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Credentials {
    /// Returns `None` for another scheme or a malformed header.
    pub(super) fn parse(header: &[u8]) -> Option<Self> {
        let header = std::str::from_utf8(header).ok()?.trim();
        let (scheme, value) = header.split_once(' ')?;
        let value = value.trim_start();
        if scheme.eq_ignore_ascii_case("basic") {
            // RFC 7617 does not fix the encoding; clients send UTF-8.
            let text = String::from_utf8(BASE64.decode(value).ok()?).ok()?;
            let (name, password) = text.split_once(':')?;
            Some(Self::Basic { name: name.to_owned(), password: Password::received(password) })
        } else if scheme.eq_ignore_ascii_case("bearer") {
            let is_token = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
            is_token.then(|| Self::Bearer(Token(value.to_owned())))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn headers_of_both_schemes_are_parsed() {
        for header in ["Basic YW5uOnM6dA==", "basic  YW5uOnM6dA", " BASIC YW5uOnM6dA= "] {
            let Some(Credentials::Basic { name, password }) = Credentials::parse(header.as_bytes()) else {
                panic!("{header} is refused")
            };
            assert_eq!((name.as_str(), password.reveal()), ("ann", "s:t"), "{header}");
        }
        let Some(Credentials::Bearer(Token(token))) = Credentials::parse(b"bearer a.b-c_d=") else {
            panic!("a bearer is refused")
        };
        assert_eq!(token, "a.b-c_d=");
    }

    #[test]
    fn malformed_headers_are_refused() {
        let no_colon = format!("Basic {}", STANDARD.encode("ann"));
        let not_utf8 = format!("Basic {}", STANDARD.encode(b"ann:\xff"));
        for header in [
            "",
            "Basic",
            "Basic ",
            "Basic ***",
            &no_colon,
            &not_utf8,
            "Bearer ",
            "Bearer a b",
            "Digest x",
            "Bearer é",
        ] {
            assert!(Credentials::parse(header.as_bytes()).is_none(), "{header:?}");
        }
        assert!(Credentials::parse(b"Basic \xff").is_none());
    }

    #[test]
    fn credentials_debug_output_is_redacted() {
        let basic = format!("{:?}", Credentials::parse(b"Basic YW5uOnM6dA=="));
        assert_eq!(basic, "Some(Basic { name: \"ann\", password: Password(…) })");
        assert_eq!(format!("{:?}", Credentials::parse(b"Bearer abc")), "Some(Bearer(Token(…)))");
    }
}
