//! Tests of issuing and verifying bearer tokens.

use serde_json::{Value, json};

use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use super::claims::Claims;
use super::keys::{MAX_BYTES, seconds};
use super::*;

const LIFETIME: Duration = Duration::from_secs(300);

fn keys_of(secrets: &[(Vec<u8>, SystemTime)]) -> Keys {
    let keys = Keys::new("issuer".to_owned(), "service".to_owned());
    keys.set(secrets.iter().cloned()).unwrap();
    keys
}

fn secret() -> (Vec<u8>, SystemTime) {
    (NewKey::generate().unwrap().secret, SystemTime::now())
}

fn claims(keys: &Keys) -> Claims {
    let access = vec![Access::repository(&"team/app".parse().unwrap(), None, "push".parse().unwrap())];
    let binding = Binding { account: 7, token: None, password: Some("abc".to_owned()) };
    keys.claims("ann", access, Some(binding), SystemTime::now(), LIFETIME)
}

fn encode(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, secret).unwrap();
    let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn token_round_trips_its_claims() {
    let keys = keys_of(&[secret()]);
    let claims = claims(&keys);
    let token = keys.sign(&claims).unwrap();
    assert_eq!(keys.verify(&token).unwrap().claims, claims);
    let value = serde_json::to_value(&claims).unwrap();
    assert_eq!(
        value["access"],
        json!([{"type": "repository", "name": "team/app", "actions": ["pull", "push"]}])
    );
    assert_eq!(
        (value["iss"].as_str(), value["aud"].as_str(), value["sub"].as_str()),
        (Some("issuer"), Some("service"), Some("ann"))
    );
    assert_eq!(claims.exp - claims.iat, 300);
    assert_eq!(claims.access[0].rights(), Some(("team/app".parse().unwrap(), "push".parse().unwrap())));
    assert!(Access::catalog().is_catalog() && Access::catalog().rights().is_none());
}

/// A machine without a battery for its clock may start before 1970.
#[test]
fn token_of_a_clock_before_1970_is_signed_and_expired() {
    let keys = keys_of(&[secret()]);
    let now = SystemTime::UNIX_EPOCH - Duration::from_secs(3600);
    let claims = keys.claims("ann", Vec::new(), None, now, LIFETIME);
    assert_eq!((claims.iat, claims.nbf, claims.exp), (0, 0, LIFETIME.as_secs()));
    assert_eq!(keys.verify(&keys.sign(&claims).unwrap()).unwrap_err(), TokenError::Expired);
}

#[test]
fn token_is_bound_to_its_password() {
    let keys = keys_of(&[secret()]);
    let binding = Binding { account: 7, token: None, password: keys.fingerprint("$argon2id$one") };
    let claims = keys.claims("ann", Vec::new(), Some(binding), SystemTime::now(), LIFETIME);
    let verified = keys.verify(&keys.sign(&claims).unwrap()).unwrap();
    assert!(keys.is_bound_to(&verified, "$argon2id$one"));
    assert!(!keys.is_bound_to(&verified, "$argon2id$two"));
    let other = keys_of(&[secret()]);
    assert_ne!(other.fingerprint("$argon2id$one"), keys.fingerprint("$argon2id$one"));
}

#[test]
fn jwks_verifies_signed_tokens() {
    let keys = keys_of(&[secret()]);
    let token = keys.sign(&claims(&keys)).unwrap();
    let jwks = serde_json::to_value(keys.jwks()).unwrap();
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwks["keys"][0].clone()).unwrap();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!(jwk.common.key_id, header.kid);
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["service"]);
    let key = DecodingKey::from_jwk(&jwk).unwrap();
    jsonwebtoken::decode::<Claims>(&token, &key, &validation).unwrap();
    assert!(!jwks.to_string().contains("\"d\""), "the private key is not published");
}

#[test]
fn token_of_older_key_is_valid_while_key_exists() {
    let hour = Duration::from_secs(3600);
    let old = (NewKey::generate().unwrap().secret, SystemTime::now() - hour);
    let new = secret();
    let token = {
        let keys = keys_of(std::slice::from_ref(&old));
        keys.sign(&claims(&keys)).unwrap()
    };
    let both = keys_of(&[old.clone(), new.clone()]);
    both.verify(&token).unwrap();
    let signed = both.sign(&claims(&both)).unwrap();
    assert!(keys_of(std::slice::from_ref(&new)).verify(&signed).is_ok(), "the newest signs");
    assert_eq!(both.newest(), Some(new.1));
    assert_eq!(keys_of(&[new]).verify(&token).unwrap_err(), TokenError::Invalid);
}

#[test]
fn token_with_any_altered_field_is_refused() {
    let ours = secret();
    let theirs = secret();
    let keys = keys_of(std::slice::from_ref(&ours));
    let kid = keys.jwks().keys[0].kid.clone();
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": kid});
    let good = serde_json::to_value(claims(&keys)).unwrap();
    assert!(keys.verify(&encode(&header, &good, &ours.0)).is_ok(), "the fixture is valid");

    let with = |base: &Value, key: &str, value: Value| {
        let mut changed = base.clone();
        changed[key] = value;
        changed
    };
    let without = |base: &Value, key: &str| {
        let mut changed = base.clone();
        changed.as_object_mut().unwrap().remove(key);
        changed
    };
    let now = seconds(SystemTime::now());
    let their_jwk = serde_json::to_value(&keys_of(std::slice::from_ref(&theirs)).jwks().keys[0]).unwrap();
    for (case, header, claims, secret) in [
        ("signed by another key", header.clone(), good.clone(), &theirs.0),
        ("an unknown key", with(&header, "kid", json!("other")), good.clone(), &ours.0),
        ("no kid", without(&header, "kid"), good.clone(), &ours.0),
        ("alg none", with(&header, "alg", json!("none")), good.clone(), &ours.0),
        ("alg HS256", with(&header, "alg", json!("HS256")), good.clone(), &ours.0),
        ("alg ES384", with(&header, "alg", json!("ES384")), good.clone(), &ours.0),
        ("no alg", without(&header, "alg"), good.clone(), &ours.0),
        ("embedded foreign key", with(&header, "jwk", their_jwk.clone()), good.clone(), &theirs.0),
        ("embedded foreign key, our signature", with(&header, "jwk", their_jwk), good.clone(), &ours.0),
        ("key set URL", with(&header, "jku", json!("https://evil.example/jwks")), good.clone(), &ours.0),
        ("certificate chain", with(&header, "x5c", json!(["MIIB"])), good.clone(), &ours.0),
        ("critical extension", with(&header, "crit", json!(["exp"])), good.clone(), &ours.0),
        ("another audience", header.clone(), with(&good, "aud", json!("other")), &ours.0),
        ("no audience", header.clone(), without(&good, "aud"), &ours.0),
        ("another issuer", header.clone(), with(&good, "iss", json!("other")), &ours.0),
        ("no issuer", header.clone(), without(&good, "iss"), &ours.0),
        ("no subject", header.clone(), without(&good, "sub"), &ours.0),
        ("no expiry", header.clone(), without(&good, "exp"), &ours.0),
        ("no start", header.clone(), without(&good, "nbf"), &ours.0),
        ("not yet valid", header.clone(), with(&good, "nbf", json!(now + 100)), &ours.0),
        ("no access", header.clone(), without(&good, "access"), &ours.0),
    ] {
        assert_eq!(
            keys.verify(&encode(&header, &claims, secret)).unwrap_err(),
            TokenError::Invalid,
            "{case}"
        );
    }
    let expired = encode(&header, &with(&good, "exp", json!(now - 1)), &ours.0);
    assert_eq!(keys.verify(&expired).unwrap_err(), TokenError::Expired);
    let expired = encode(&header, &with(&good, "exp", json!(now - 1)), &theirs.0);
    assert_eq!(keys.verify(&expired).unwrap_err(), TokenError::Invalid, "expired, but not ours");
}

#[test]
fn truncated_or_widened_token_is_refused() {
    let keys = keys_of(&[secret()]);
    let token = keys.sign(&claims(&keys)).unwrap();
    let parts: Vec<_> = token.split('.').collect();
    let mut widened = claims(&keys);
    widened.access.push(Access::catalog());
    let widened = URL_SAFE_NO_PAD.encode(serde_json::to_string(&widened).unwrap());
    for wrong in [
        String::new(),
        "..".to_owned(),
        parts[0].to_owned(),
        parts[..2].join("."),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{token}.{}", parts[2]),
        format!("{token}AAAA"),
        [parts[0], &widened, parts[2]].join("."),
        "a".repeat(MAX_BYTES + 1),
    ] {
        assert_eq!(keys.verify(&wrong).unwrap_err(), TokenError::Invalid, "{wrong}");
    }
}
