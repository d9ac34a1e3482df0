//! Generated secrets: personal tokens `wfp_…`, robots' secrets `wfr_…`, refresh tokens `wfo_…`, sessions of
//! browsers `wfs_…`.
//!
//! A secret has a prefix that people and secret scanners recognize, 30 random characters (178 bits), and a
//! checksum of 6 characters, which rejects typing errors without a query. The store holds its SHA-256: with
//! this much entropy a slow hash adds nothing.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM: usize = 30;
const CHECKSUM: usize = 6;

/// The use of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// A personal token.
    Personal,
    /// The secret of a robot.
    Robot,
    /// A refresh token. Docker calls it an identity token.
    Refresh,
    /// A session of a browser.
    Session,
}

impl SecretKind {
    const ALL: [Self; 4] = [Self::Personal, Self::Robot, Self::Refresh, Self::Session];

    /// The prefix of its secrets.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Personal => "wfp_",
            Self::Robot => "wfr_",
            Self::Refresh => "wfo_",
            Self::Session => "wfs_",
        }
    }
}

/// A secret in plain text, which is shown once. Its `Debug` output is redacted.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    kind: SecretKind,
    text: String,
}

impl Secret {
    /// Generates a secret.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn new(kind: SecretKind) -> Result<Self, getrandom::Error> {
        let mut text = String::with_capacity(kind.prefix().len() + RANDOM + CHECKSUM);
        text.push_str(kind.prefix());
        let mut random = [0_u8; 64];
        while text.len() < kind.prefix().len() + RANDOM {
            getrandom::fill(&mut random)?;
            // Skips the highest bytes: they would make the first characters of the alphabet more likely.
            let usable = random.iter().filter(|byte| usize::from(**byte) < 256 / 62 * 62);
            let missing = kind.prefix().len() + RANDOM - text.len();
            text.extend(usable.take(missing).map(|byte| char::from(ALPHABET[usize::from(*byte) % 62])));
        }
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Ok(Self { kind, text })
    }

    /// Parses a secret and verifies its checksum.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let kind = SecretKind::ALL.into_iter().find(|kind| text.starts_with(kind.prefix()))?;
        let body = kind.prefix().len() + RANDOM;
        if text.len() != body + CHECKSUM || !text.bytes().skip(4).all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let is_right = checksum(&text[..body]).as_bytes().ct_eq(&text.as_bytes()[body..]);
        bool::from(is_right).then(|| Self { kind, text: text.to_owned() })
    }

    /// Whether a text has the prefix and length of a secret, so that it is not a password.
    #[must_use]
    pub fn has_shape_of(text: &str) -> bool {
        SecretKind::ALL.into_iter().any(|kind| text.starts_with(kind.prefix()))
            && text.len() == SecretKind::Personal.prefix().len() + RANDOM + CHECKSUM
    }

    /// The kind that its prefix names.
    #[must_use]
    pub fn kind(&self) -> SecretKind {
        self.kind
    }

    /// The plain text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The hash under which the store holds it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}…)", self.kind.prefix())
    }
}

/// The checksum: the first 32 bits of the SHA-256 of `text`, in base 62.
fn checksum(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    let mut number = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    let mut digits = [b'0'; CHECKSUM];
    for place in digits.iter_mut().rev() {
        *place = ALPHABET[(number % 62) as usize];
        number /= 62;
    }
    digits.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn new_secrets_are_valid_and_distinct() {
        for kind in SecretKind::ALL {
            let secrets: Vec<_> = (0..200).map(|_| Secret::new(kind).unwrap()).collect();
            for secret in &secrets {
                assert_eq!(secret.reveal().len(), 40);
                assert!(secret.reveal().starts_with(kind.prefix()));
                assert_eq!(Secret::parse(secret.reveal()).as_ref(), Some(secret));
                assert!(Secret::has_shape_of(secret.reveal()));
            }
            let distinct: HashSet<_> = secrets.iter().map(Secret::hash).collect();
            assert_eq!(distinct.len(), secrets.len());
        }
    }

    #[test]
    fn secrets_use_the_whole_alphabet() {
        let seen: HashSet<char> = (0..100)
            .flat_map(|_| {
                Secret::new(SecretKind::Personal).unwrap().reveal()[4..34].chars().collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(seen.len(), 62);
    }

    #[test]
    fn mistyped_secret_is_refused() {
        let secret = Secret::new(SecretKind::Personal).unwrap();
        let text = secret.reveal();
        for place in 0..text.len() {
            let mut wrong = text.as_bytes().to_vec();
            wrong[place] = if wrong[place] == b'a' { b'b' } else { b'a' };
            assert_eq!(Secret::parse(std::str::from_utf8(&wrong).unwrap()), None, "{place}");
        }
        for wrong in
            [&text[..39], &format!("{text}a"), "", "wfp_", "correct horse battery staple", &text[4..]]
        {
            assert_eq!(Secret::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Secret::parse(&format!("wfp_{}é{}", &text[4..20], &text[22..])), None);
        assert_eq!(Secret::parse(&text.replacen("wfp_", "wfr_", 1)), None, "of another kind");
    }

    #[test]
    fn secret_debug_output_is_redacted() {
        let secret = Secret::new(SecretKind::Robot).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(wfr_…)");
    }
}
