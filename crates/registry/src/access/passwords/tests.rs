//! Tests of password rules and hashes.

use super::hasher::MAX_WAITING;
use super::*;
use crate::access::{Secret, SecretKind};

fn stored(text: &str) -> StoredPassword {
    StoredPassword::parse(text).unwrap().0
}

/// Made with htpasswd 2.4: `-nbB user secret`, `-nbs user secret`.
const BCRYPT: &str = "$2y$05$qUJdUjduFR7yz5yL2Yt61O4TVdZ27W4HDNuGnOhLQvFeH45QqXQ6K";
const SHA1: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

#[tokio::test]
async fn new_hash_is_argon2id_with_own_salt() {
    let hasher = Hasher::new();
    let hash = hasher.hash(Password::received("correct horse")).await.unwrap();
    assert!(hash.text().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.text());
    let other = hasher.hash(Password::received("correct horse")).await.unwrap();
    assert_ne!(hash.text(), other.text(), "each hash has its own salt");
    assert_eq!(StoredPassword::parse(hash.text()).unwrap().1, Scheme::Argon2);
    assert!(hasher.matches(hash.clone(), Password::received("correct horse")).await.unwrap());
    assert!(!hasher.matches(hash, Password::received("correct horsf")).await.unwrap());
    assert_eq!(hasher.count(), 4);
}

#[test]
fn htpasswd_hashes_match_their_password() {
    for (hash, scheme) in [(BCRYPT, Scheme::Bcrypt), (SHA1, Scheme::Sha1)] {
        assert_eq!(StoredPassword::parse(hash).unwrap().1, scheme);
        assert!(stored(hash).matches(&Password::received("secret")));
        assert!(!stored(hash).matches(&Password::received("Secret")));
        assert!(!stored(hash).matches(&Password::received("")));
    }
}

/// `htpasswd -nbB` of `y` repeated 72, 73 and 80 times.
#[test]
fn bcrypt_uses_72_bytes_like_htpasswd() {
    for hash in [
        "$2y$05$xQ/ccebv5HNO1pAN6EqWfu8J52Ai4SGgrLDj0FWs49Slgr8xYMYTG",
        "$2y$05$RqyTDKMUfO1mPIMZ2GzQhO0Aw9zjNUiNP.8zRK9bL5Naf3FtbXCmW",
        "$2y$05$GAtgFyLXNpj4Eb4Gt6u.3O/sSKVClgIjevTWST3.vYRFIBkkkhu.W",
    ] {
        for length in [72, 73, 80, 500] {
            assert!(stored(hash).matches(&Password::received("y".repeat(length))), "{length}");
        }
        assert!(!stored(hash).matches(&Password::received("y".repeat(71))));
    }
}

#[test]
fn unmatchable_hashes_are_well_formed() {
    for scheme in [Scheme::Argon2, Scheme::Bcrypt, Scheme::Apr1, Scheme::Sha1] {
        for _ in 0..20 {
            let unmatchable = StoredPassword::unmatchable(scheme, 5).unwrap();
            assert_eq!(
                StoredPassword::parse(unmatchable.text()).unwrap().1,
                scheme,
                "{}",
                unmatchable.text()
            );
        }
        assert!(!StoredPassword::unmatchable(scheme, 5).unwrap().matches(&Password::received("secret")));
    }
    // A malformed hash would fail at once, without the work.
    let unmatchable = StoredPassword::unmatchable(Scheme::Bcrypt, 5).unwrap();
    bcrypt::verify("secret", unmatchable.text()).unwrap();
}

#[test]
fn unsupported_schemes_are_named() {
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
        let error = StoredPassword::parse(hash).unwrap_err();
        assert!(error.contains(expected), "{hash}: {error}");
    }
}

#[test]
fn new_password_rules() {
    for good in ["12345678", "pass word", "correct horse battery staple", "пароль12", &"ab".repeat(512)]
    {
        assert!(Password::new(good, "ann").is_ok(), "{good}");
    }
    let token = Secret::new(SecretKind::Personal).unwrap();
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
fn password_debug_output_is_redacted() {
    let text = format!("{:?} {:?}", Password::received("hunter2222"), stored(BCRYPT));
    assert_eq!(text, "Password(…) StoredPassword(…)");
}

#[tokio::test]
async fn hasher_queue_is_bounded() {
    let hasher = Hasher::new();
    let permits = hasher.permits.acquire_many(2).await.unwrap();
    let waiting: Vec<_> = (0..MAX_WAITING)
        .map(|_| Box::pin(hasher.matches(stored(SHA1), Password::received("secret"))))
        .collect();
    let mut waiting = futures_util::future::join_all(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    hasher.matches(stored(SHA1), Password::received("secret")).await.unwrap_err();
    drop(permits);
    assert!(waiting.await.iter().all(|matched| *matched.as_ref().unwrap()));
    assert!(hasher.matches(stored(SHA1), Password::received("secret")).await.unwrap());
}
