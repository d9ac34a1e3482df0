//! Checks for fuzzing: each reads arbitrary text and panics if a promise of the parser is broken.

use std::sync::OnceLock;
use std::time::SystemTime;

use super::bearer::{Keys, NewKey};
use super::htpasswd::Users;

/// No text that the registry has not signed is a valid bearer token.
///
/// # Panics
/// If a token is accepted.
pub fn bearer(text: &str) {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let keys = Keys::new("issuer".to_owned(), "service".to_owned());
        let key = NewKey::generate().expect("a signing key");
        keys.set([(key.secret, SystemTime::now())]).expect("the key is usable");
        keys
    });
    keys.verify(text).expect_err("the token is forged");
}

/// Each line of an htpasswd file is one user at most.
///
/// # Panics
/// If there are more users than lines.
pub fn htpasswd(text: &str) {
    let users = Users::parse(text);
    assert!(users.len() <= text.lines().count());
    assert_eq!(users.names().count(), users.len());
    assert!(users.names().all(|name| users.password(name).is_some() && !name.is_robot()));
}
