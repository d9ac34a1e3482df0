//! Passwords: their rules, how they are hashed, and how a hash that is kept is compared with.
//!
//! New ones are argon2id with 19 MiB, two passes and one lane (OWASP, "Password Storage Cheat
//! Sheet"; RFC 9106 leaves the choice to who knows the machine). Those of an htpasswd file stay as
//! they are in it. Hashing takes milliseconds and megabytes by design, so it is done away from the
//! threads that serve requests, two at once at most, and a bounded number of requests wait for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::apr1;

/// The fewest characters of a password.
const MIN_CHARACTERS: usize = 8;
/// The most bytes of a password.
const MAX_BYTES: usize = 1024;

/// Memory of argon2id, in KiB.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// How many passwords are hashed at once: each takes a core and 19 MiB.
const AT_ONCE: usize = 2;
/// How many may wait for that. The last of them waits about two seconds.
const WAITING: usize = 128;
/// bcrypt looks at so many bytes of a password, in htpasswd as everywhere else.
const BCRYPT_BYTES: usize = 72;
/// What htpasswd makes at most; a higher cost would take seconds each time.
const BCRYPT_MAX_COST: u32 = 17;

/// A password as somebody typed it. It is not in any text that is made for a log.
#[derive(Clone)]
pub struct Password(String);

/// Why a text is not taken as a new password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefused {
    /// Too short to withstand guessing.
    #[error("a password has at least {MIN_CHARACTERS} characters")]
    TooShort,
    /// Longer than anything that is typed.
    #[error("a password has at most {MAX_BYTES} bytes")]
    TooLong,
    /// The first thing that is tried.
    #[error("the password cannot be the account's own name, nor one character again and again")]
    Obvious,
    /// HTTP's Basic scheme cannot carry it.
    #[error("a password has no control characters such as line breaks and tabs")]
    ControlCharacter,
    /// It would be taken for a personal token.
    #[error("a password cannot look like a token of this registry")]
    LooksLikeToken,
}

impl Password {
    /// What somebody sent, to be compared.
    #[must_use]
    pub fn sent(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A new password for the account of this name. There are no rules about kinds of characters:
    /// they make passwords worse (NIST SP 800-63B, section 3.1.1.2).
    ///
    /// # Errors
    /// What is wrong with it.
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
        if super::secrets::Secret::is_meant(&text) {
            return Err(PasswordRefused::LooksLikeToken);
        }
        Ok(Self(text))
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The text itself.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A password as it is kept: a PHC string, or what an htpasswd file has. It says nothing of itself
/// in a log.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Kept(Arc<str>);

/// Which scheme a kept password is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Argon2,
    Bcrypt,
    Apr1,
    Sha1,
}

impl Kept {
    /// The scheme and the text, if this can be compared with.
    ///
    /// # Errors
    /// What it is instead, for the person who wrote it down.
    pub(super) fn parse(text: &str) -> Result<(Self, Scheme), String> {
        let scheme = if text.starts_with("$argon2") {
            text.parse::<argon2::password_hash::phc::PasswordHash>()
                .map_err(|_| "this argon2 hash is damaged".to_owned())?;
            Scheme::Argon2
        } else if ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            let parts: bcrypt::HashParts =
                text.parse().map_err(|_| "this bcrypt hash is damaged".to_owned())?;
            if parts.get_cost() > BCRYPT_MAX_COST {
                return Err(format!("a bcrypt cost above {BCRYPT_MAX_COST} takes too long to compare with"));
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
                "{} cannot be compared with; make the line anew with `htpasswd -B FILE NAME`",
                foreign_scheme(text)
            ));
        };
        Ok((Self(text.into()), scheme))
    }

    /// A hash that no password has, of the given scheme, for names that nobody has.
    pub(super) fn nobody(scheme: Scheme, cost: u32) -> Result<Self, getrandom::Error> {
        let mut random = [0_u8; 48];
        getrandom::fill(&mut random)?;
        let plain = base64::engine::general_purpose::STANDARD_NO_PAD;
        let hex = random.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let text = match scheme {
            Scheme::Argon2 => format!(
                "$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${}${}",
                plain.encode(&random[..16]),
                plain.encode(&random[16..])
            ),
            // The last characters of salt and hash hold few bits; `.` and `e` are in order there.
            Scheme::Bcrypt => format!("$2y${cost:02}${}e{}.", &hex[..21], &hex[21..51]),
            Scheme::Apr1 => format!("$apr1${}${}", &hex[..8], &hex[8..30]),
            Scheme::Sha1 => format!("{{SHA}}{}", STANDARD.encode(&random[..20])),
        };
        Ok(Self(text.into()))
    }

    /// The text, for the store.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Whether this is the password. Takes as long as the scheme takes.
    fn matches(&self, password: &Password) -> bool {
        let (text, password) = (&*self.0, password.bytes());
        if text.starts_with("$argon2") {
            argon2().verify_password(password, text).is_ok()
        } else if text.starts_with("$2") {
            let seen = &password[..password.len().min(BCRYPT_BYTES)];
            bcrypt::verify(seen, text).unwrap_or(false)
        } else if let Some(expected) = text.strip_prefix("{SHA}") {
            let actual = STANDARD.encode(Sha1::digest(password));
            bool::from(actual.as_bytes().ct_eq(expected.as_bytes()))
        } else {
            apr1::verify(text, password)
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(…)")
    }
}

/// What a hash that is not taken seems to be.
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
    // The parameters are constants within the bounds that `Params` checks.
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Where passwords are hashed.
pub(super) struct Hashing {
    turns: Semaphore,
    waiting: AtomicUsize,
    /// How many hashes were made or compared with, in all.
    done: Arc<AtomicU64>,
}

/// Too many wait for a password to be hashed.
#[derive(Debug)]
pub(super) struct Busy;

impl Hashing {
    pub(super) fn new() -> Self {
        Self { turns: Semaphore::new(AT_ONCE), waiting: AtomicUsize::new(0), done: Arc::default() }
    }

    /// A password as it is to be kept.
    pub(super) async fn hash(&self, password: Password) -> Result<Kept, Busy> {
        let hashed = self.turn(move || {
            let hash = argon2().hash_password(password.bytes()).map(|hash| hash.to_string());
            hash.map(|hash| Kept(hash.into()))
        });
        // It fails without random numbers or memory, and another try may do.
        hashed.await?.map_err(|error| {
            tracing::error!(%error, "a password could not be hashed");
            Busy
        })
    }

    /// Whether this is the password that is kept.
    pub(super) async fn matches(&self, kept: Kept, password: Password) -> Result<bool, Busy> {
        self.turn(move || kept.matches(&password)).await
    }

    async fn turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let _waiting = Waiting::enter(&self.waiting).ok_or(Busy)?;
        let _turn = self.turns.acquire().await.map_err(|_| Busy)?;
        self.done.fetch_add(1, Ordering::Relaxed);
        tokio::task::spawn_blocking(work).await.map_err(|_| Busy)
    }

    #[cfg(test)]
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

/// One of those that wait; counted until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Option<Self> {
        let entered = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < WAITING).then_some(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> Kept {
        Kept::parse(text).unwrap().0
    }

    /// Made with htpasswd 2.4: `-nbB user secret`, `-nbs user secret`.
    const BCRYPT: &str = "$2y$05$qUJdUjduFR7yz5yL2Yt61O4TVdZ27W4HDNuGnOhLQvFeH45QqXQ6K";
    const SHA1: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

    #[tokio::test]
    async fn a_new_hash_is_argon2id_and_matches_its_password_alone() {
        let hashing = Hashing::new();
        let hash = hashing.hash(Password::sent("correct horse")).await.unwrap();
        assert!(hash.text().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.text());
        let other = hashing.hash(Password::sent("correct horse")).await.unwrap();
        assert_ne!(hash.text(), other.text(), "each has a salt of its own");
        assert_eq!(Kept::parse(hash.text()).unwrap().1, Scheme::Argon2);
        assert!(hashing.matches(hash.clone(), Password::sent("correct horse")).await.unwrap());
        assert!(!hashing.matches(hash, Password::sent("correct horsf")).await.unwrap());
        assert_eq!(hashing.done(), 4);
    }

    #[test]
    fn the_hashes_of_htpasswd_are_compared_with() {
        for (hash, scheme) in [(BCRYPT, Scheme::Bcrypt), (SHA1, Scheme::Sha1)] {
            assert_eq!(Kept::parse(hash).unwrap().1, scheme);
            assert!(kept(hash).matches(&Password::sent("secret")));
            assert!(!kept(hash).matches(&Password::sent("Secret")));
            assert!(!kept(hash).matches(&Password::sent("")));
        }
    }

    /// htpasswd of 73 and 80 times `y` (`-nbB`): it looks at 72 bytes.
    #[test]
    fn bcrypt_looks_at_as_much_of_a_password_as_htpasswd_does() {
        for hash in [
            "$2y$05$xQ/ccebv5HNO1pAN6EqWfu8J52Ai4SGgrLDj0FWs49Slgr8xYMYTG",
            "$2y$05$RqyTDKMUfO1mPIMZ2GzQhO0Aw9zjNUiNP.8zRK9bL5Naf3FtbXCmW",
            "$2y$05$GAtgFyLXNpj4Eb4Gt6u.3O/sSKVClgIjevTWST3.vYRFIBkkkhu.W",
        ] {
            for length in [72, 73, 80, 500] {
                assert!(kept(hash).matches(&Password::sent("y".repeat(length))), "{length}");
            }
            assert!(!kept(hash).matches(&Password::sent("y".repeat(71))));
        }
    }

    #[test]
    fn nobody_s_hashes_are_well_formed_and_cost_the_same() {
        for scheme in [Scheme::Argon2, Scheme::Bcrypt, Scheme::Apr1, Scheme::Sha1] {
            for _ in 0..20 {
                let nobody = Kept::nobody(scheme, 5).unwrap();
                assert_eq!(Kept::parse(nobody.text()).unwrap().1, scheme, "{}", nobody.text());
            }
            assert!(!Kept::nobody(scheme, 5).unwrap().matches(&Password::sent("secret")));
        }
        // An error would come at once, without the work.
        let nobody = Kept::nobody(Scheme::Bcrypt, 5).unwrap();
        assert!(bcrypt::verify("secret", nobody.text()).is_ok());
    }

    #[test]
    fn other_schemes_are_named() {
        for (hash, expected) in [
            ("ymd5b5kzMYfac", "DES crypt"),
            ("$6$01v0KOH.q2blyG8b$8JssUx", "SHA-512 crypt"),
            ("$5$salt$hash", "SHA-256 crypt"),
            ("$1$salt$hash", "MD5 crypt"),
            ("{SSHA}abc", "salted SHA-1"),
            ("{PLAIN}secret", "plain text"),
            ("secret", "plain text"),
            ("", "empty"),
            ("$2y$05$tooshort", "bcrypt hash is damaged"),
            ("$apr1$x", "$apr1$ hash is damaged"),
            ("{SHA}x", "{SHA} hash is damaged"),
            ("$argon2id$x", "argon2 hash is damaged"),
            ("$2y$31$RqyTDKMUfO1mPIMZ2GzQhO0Aw9zjNUiNP.8zRK9bL5Naf3FtbXCmW", "cost above 17"),
        ] {
            let error = Kept::parse(hash).unwrap_err();
            assert!(error.contains(expected), "{hash}: {error}");
        }
    }

    #[test]
    fn new_passwords_have_few_rules() {
        for good in ["12345678", "pass word", "correct horse battery staple", "пароль12", &"ab".repeat(512)]
        {
            assert!(Password::new(good, "ann").is_ok(), "{good}");
        }
        let token = super::super::secrets::Secret::new(super::super::secrets::SecretKind::Personal).unwrap();
        for (bad, expected) in [
            ("1234567", PasswordRefused::TooShort),
            ("", PasswordRefused::TooShort),
            ("пароль1", PasswordRefused::TooShort),
            (&"ab".repeat(513), PasswordRefused::TooLong),
            ("alexandra", PasswordRefused::Obvious),
            ("Alexandra", PasswordRefused::Obvious),
            ("aaaaaaaaaa", PasswordRefused::Obvious),
            ("pass\tword", PasswordRefused::ControlCharacter),
            ("password\n", PasswordRefused::ControlCharacter),
            (token.reveal(), PasswordRefused::LooksLikeToken),
        ] {
            assert_eq!(Password::new(bad, "alexandra").unwrap_err(), expected, "{bad}");
        }
    }

    #[test]
    fn no_password_is_in_what_is_logged() {
        let text = format!("{:?} {:?}", Password::sent("hunter2222"), kept(BCRYPT));
        assert_eq!(text, "Password(…) Kept(…)");
    }

    #[tokio::test]
    async fn no_more_wait_than_there_is_room_for() {
        let hashing = Hashing::new();
        let turns = hashing.turns.acquire_many(2).await.unwrap();
        let waiting: Vec<_> =
            (0..WAITING).map(|_| Box::pin(hashing.matches(kept(SHA1), Password::sent("secret")))).collect();
        let mut waiting = futures_util::future::join_all(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert!(hashing.matches(kept(SHA1), Password::sent("secret")).await.is_err());
        drop(turns);
        assert!(waiting.await.iter().all(|matched| *matched.as_ref().unwrap()));
        assert!(hashing.matches(kept(SHA1), Password::sent("secret")).await.unwrap());
    }
}
