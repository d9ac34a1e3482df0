//! Stored password hashes: PHC strings of the registry, and the schemes of an htpasswd file.

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha1::{Digest as _, Sha1};
use subtle::ConstantTimeEq;

use super::Password;
use crate::access::apr1;

const MEMORY_KIB: u32 = 19_456;

const PASSES: u32 = 2;

const LANES: u32 = 1;

/// bcrypt uses this many bytes of a password.
const BCRYPT_BYTES: usize = 72;

/// The maximum of htpasswd. A higher cost takes seconds for each sign-in.
const BCRYPT_MAX_COST: u32 = 17;

/// A password hash as it is stored: a PHC string, or a hash of an htpasswd file. Its `Debug` output is
/// redacted.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::access) struct StoredPassword(Arc<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::access) enum Scheme {
    Argon2,
    Bcrypt,
    Apr1,
    Sha1,
}

impl StoredPassword {
    /// Parses a hash and detects its scheme.
    ///
    /// # Errors
    /// The reason, for the operator who maintains the file.
    pub(in crate::access) fn parse(text: &str) -> Result<(Self, Scheme), String> {
        let scheme = if text.starts_with("$argon2") {
            text.parse::<argon2::password_hash::phc::PasswordHash>()
                .map_err(|_| "this argon2 hash is damaged".to_owned())?;
            Scheme::Argon2
        } else if ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            let parts: bcrypt::HashParts =
                text.parse().map_err(|_| "this bcrypt hash is damaged".to_owned())?;
            if parts.get_cost() > BCRYPT_MAX_COST {
                return Err(format!(
                    "a bcrypt cost above {BCRYPT_MAX_COST} is not supported: each sign-in would take seconds"
                ));
            }
            Scheme::Bcrypt
        } else if text.starts_with(apr1::MAGIC) {
            if !apr1::is_well_formed(text) {
                return Err("this $apr1$ hash is damaged".to_owned());
            }
            Scheme::Apr1
        } else if let Some(hash) = text.strip_prefix("{SHA}") {
            if STANDARD.decode(hash).map_or(0, |hash| hash.len()) != 20 {
                return Err("this {SHA} hash is damaged".to_owned());
            }
            Scheme::Sha1
        } else {
            return Err(format!(
                "{} is not supported; create the line again with `htpasswd -B FILE NAME`",
                foreign_scheme(text)
            ));
        };
        Ok((Self(text.into()), scheme))
    }

    /// Returns a random hash that no password matches. Comparing with it takes as long as with a real one.
    pub(in crate::access) fn unmatchable(scheme: Scheme, cost: u32) -> Result<Self, getrandom::Error> {
        let mut random = [0_u8; 48];
        getrandom::fill(&mut random)?;
        let hex = random.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let text = match scheme {
            Scheme::Argon2 => format!(
                "$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${}${}",
                STANDARD_NO_PAD.encode(&random[..16]),
                STANDARD_NO_PAD.encode(&random[16..])
            ),
            // The last characters of salt and hash encode few bits; `.` and `e` are valid there.
            Scheme::Bcrypt => format!("$2y${cost:02}${}e{}.", &hex[..21], &hex[21..51]),
            Scheme::Apr1 => format!("$apr1${}${}", &hex[..8], &hex[8..30]),
            Scheme::Sha1 => format!("{{SHA}}{}", STANDARD.encode(&random[..20])),
        };
        Ok(Self(text.into()))
    }

    pub(in crate::access) fn text(&self) -> &str {
        &self.0
    }

    /// Hashes a new password. Blocks for milliseconds.
    pub(super) fn hash(password: &Password) -> Result<Self, argon2::password_hash::Error> {
        let hash = argon2().hash_password(password.bytes())?;
        Ok(Self(hash.to_string().into()))
    }

    /// Whether this is the password. Blocks for as long as the scheme needs.
    pub(super) fn matches(&self, password: &Password) -> bool {
        let (text, password) = (&*self.0, password.bytes());
        if text.starts_with("$argon2") {
            argon2().verify_password(password, text).is_ok()
        } else if text.starts_with("$2") {
            let prefix = &password[..password.len().min(BCRYPT_BYTES)];
            bcrypt::verify(prefix, text).unwrap_or(false)
        } else if let Some(expected) = text.strip_prefix("{SHA}") {
            let actual = STANDARD.encode(Sha1::digest(password));
            bool::from(actual.as_bytes().ct_eq(expected.as_bytes()))
        } else {
            apr1::verify(text, password)
        }
    }
}

impl fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredPassword(…)")
    }
}

/// Describes an unsupported hash.
fn foreign_scheme(text: &str) -> &'static str {
    match text {
        "" => "an empty password",
        _ if text.starts_with("$5$") => "a SHA-256 crypt hash ($5$)",
        _ if text.starts_with("$6$") => "a SHA-512 crypt hash ($6$)",
        _ if text.starts_with("$1$") => "an MD5 crypt hash ($1$)",
        _ if text.starts_with("{SSHA}") => "a salted SHA-1 hash ({SSHA})",
        _ if text.starts_with("{PLAIN}") => "a password in plain text ({PLAIN})",
        _ if text.len() == 13 => "a DES crypt hash",
        _ => "a password in plain text, or a hash of an unknown kind,",
    }
}

fn argon2() -> Argon2<'static> {
    // The constants are within the bounds that `Params` checks.
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}
