//! Secrets that the registry makes: personal tokens `wfp_…`, secrets of robots `wfr_…`, refresh
//! tokens `wfo_…`.
//!
//! Each has a kind that can be seen (by people, and by tools that look for secrets in places where
//! they should not be), 30 random characters of 62 (178 bits), and 6 characters that are made from
//! the rest, so that what was mistyped or made up is refused without asking the store. Kept is the
//! SHA-256 of it alone: with that much chance in it, a slow hash would add nothing.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM: usize = 30;
const CHECK: usize = 6;

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// A personal token.
    Personal,
    /// The secret of a robot.
    Robot,
    /// A refresh token, which docker calls an identity token.
    Refresh,
}

impl SecretKind {
    const ALL: [Self; 3] = [Self::Personal, Self::Robot, Self::Refresh];

    /// What its secrets begin with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Personal => "wfp_",
            Self::Robot => "wfr_",
            Self::Refresh => "wfo_",
        }
    }
}

/// A secret, to be shown once to whom it belongs. It is not in any text that is made for a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    kind: SecretKind,
    text: String,
}

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no random numbers to give.
    pub fn new(kind: SecretKind) -> Result<Self, getrandom::Error> {
        let mut text = String::with_capacity(kind.prefix().len() + RANDOM + CHECK);
        text.push_str(kind.prefix());
        let mut random = [0_u8; 64];
        while text.len() < kind.prefix().len() + RANDOM {
            getrandom::fill(&mut random)?;
            // The highest bytes would make the first characters of the alphabet more likely.
            let usable = random.iter().filter(|byte| usize::from(**byte) < 256 / 62 * 62);
            let missing = kind.prefix().len() + RANDOM - text.len();
            text.extend(usable.take(missing).map(|byte| char::from(ALPHABET[usize::from(*byte) % 62])));
        }
        let check = check(&text);
        text.push_str(&check);
        Ok(Self { kind, text })
    }

    /// The secret that this text is; `None` if it can be none, whatever the store has.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let kind = SecretKind::ALL.into_iter().find(|kind| text.starts_with(kind.prefix()))?;
        let body = kind.prefix().len() + RANDOM;
        if text.len() != body + CHECK || !text.bytes().skip(4).all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let is_right = check(&text[..body]).as_bytes().ct_eq(&text.as_bytes()[body..]);
        bool::from(is_right).then(|| Self { kind, text: text.to_owned() })
    }

    /// Whether a text looks like one, well-formed or not: then it is no password.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        SecretKind::ALL.into_iter().any(|kind| text.starts_with(kind.prefix()))
            && text.len() == SecretKind::Personal.prefix().len() + RANDOM + CHECK
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> SecretKind {
        self.kind
    }

    /// The secret itself, for whom it belongs to.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// By what the store knows it.
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

/// The last characters: the first 32 bits of a SHA-256 of what comes before, in base 62.
fn check(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    let mut number = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    let mut check = [b'0'; CHECK];
    for place in check.iter_mut().rev() {
        *place = ALPHABET[(number % 62) as usize];
        number /= 62;
    }
    check.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_new_secret_is_recognised_and_no_two_are_alike() {
        for kind in SecretKind::ALL {
            let secrets: Vec<_> = (0..200).map(|_| Secret::new(kind).unwrap()).collect();
            for secret in &secrets {
                assert_eq!(secret.reveal().len(), 40);
                assert!(secret.reveal().starts_with(kind.prefix()));
                assert_eq!(Secret::parse(secret.reveal()).as_ref(), Some(secret));
                assert!(Secret::is_meant(secret.reveal()));
            }
            let distinct: HashSet<_> = secrets.iter().map(Secret::hash).collect();
            assert_eq!(distinct.len(), secrets.len());
        }
    }

    #[test]
    fn every_character_of_the_alphabet_occurs() {
        let seen: HashSet<char> = (0..100)
            .flat_map(|_| {
                Secret::new(SecretKind::Personal).unwrap().reveal()[4..34].chars().collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(seen.len(), 62);
    }

    #[test]
    fn what_was_mistyped_is_refused() {
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
    fn a_secret_is_not_in_what_is_logged() {
        let secret = Secret::new(SecretKind::Robot).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(wfr_…)");
    }
}
