//! Passwords: rules for new ones, hashing, and comparison with a stored hash.
//!
//! New hashes are argon2id with 19 MiB, two passes and one lane (OWASP, "Password Storage Cheat Sheet").
//! Hashes of an htpasswd file keep their scheme.

mod hasher;
mod stored;
#[cfg(test)]
mod tests;

use std::fmt;

pub(super) use hasher::{Busy, Hasher};
pub(super) use stored::{Scheme, StoredPassword};

const MIN_CHARACTERS: usize = 8;

const MAX_BYTES: usize = 1024;

/// A password in plain text. Its `Debug` output is redacted.
#[derive(Clone)]
pub struct Password(String);

/// The rule that a new password breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefused {
    /// Fewer than 8 characters.
    #[error("the password is too short: it needs at least {MIN_CHARACTERS} characters")]
    TooShort,
    /// More than 1024 bytes.
    #[error("the password is too long: the limit is {MAX_BYTES} bytes")]
    TooLong,
    /// Among the first guesses.
    #[error("the password cannot be the account's own name, nor one character again and again")]
    Obvious,
    /// HTTP Basic authentication cannot carry control characters.
    #[error("a password has no control characters such as line breaks and tabs")]
    ControlCharacter,
    /// Sign-in would take it for a personal token.
    #[error("a password cannot look like a token of this registry")]
    LooksLikeToken,
}

impl Password {
    /// A password from a request, for comparison. No rules apply.
    #[must_use]
    pub fn received(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Validates a new password for the account of this name. There are no rules about kinds of characters:
    /// they make passwords worse (NIST SP 800-63B, section 3.1.1.2).
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn new(text: impl Into<String>, account: &str) -> Result<Self, PasswordRefused> {
        let text = text.into();
        if text.len() > MAX_BYTES {
            return Err(PasswordRefused::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(PasswordRefused::ControlCharacter);
        }
        if text.chars().nth(MIN_CHARACTERS - 1).is_none() {
            return Err(PasswordRefused::TooShort);
        }
        let first = text.chars().next();
        if text.eq_ignore_ascii_case(account) || text.chars().all(|character| Some(character) == first) {
            return Err(PasswordRefused::Obvious);
        }
        if super::secrets::Secret::has_shape_of(&text) {
            return Err(PasswordRefused::LooksLikeToken);
        }
        Ok(Self(text))
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}
