//! Bearer tokens: JWTs (RFC 7519) signed with ES256 by keys of the registry's own.
//!
//! The claims are those of distribution's "Token Authentication Implementation", and one of ours
//! that ties a token to the sign-in for which it was issued. A token is checked by our own keys
//! alone: its `kid` selects one, and a token that brings a key along, or names a place to get one,
//! is refused (CVE-2025-24976). Algorithm, issuer, audience and times are pinned. What a token
//! allows is a restriction: what its account may do is asked of the store each time.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use accounts::{Right, Rights};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use oci::RepositoryName;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// So much earlier than its making a token holds, for the sake of clocks that are set back a little.
const EARLIER: u64 = 10;
/// The longest token that is looked at: far more than [`super::scope::MAX_SCOPES`] take in practice,
/// and less than the head of a request may have.
const MAX_BYTES: usize = 32 * 1024;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    pub iss: String,
    /// Name of the account; empty for a token without one.
    pub sub: String,
    pub aud: String,
    /// Seconds since 1970, as the following.
    pub exp: u64,
    pub nbf: u64,
    pub iat: u64,
    pub jti: String,
    pub access: Vec<Access>,
    /// To which sign-in it belongs; not there in one without an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wharfinger: Option<Bond>,
}

/// What a token is for: an entry of `access`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Access {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    pub name: String,
    pub actions: Vec<String>,
}

/// Ties a token to what was proved when it was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bond {
    /// Number of the account.
    pub account: i64,
    /// Number of the personal token or robot's secret with which it signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<i64>,
    /// Fingerprint of the password with which it signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl Access {
    pub(super) fn repository(name: &RepositoryName, class: Option<String>, rights: Rights) -> Self {
        let actions = [Right::Pull, Right::Push, Right::Delete].into_iter();
        Self {
            kind: "repository".to_owned(),
            class,
            name: name.to_string(),
            actions: actions
                .filter(|right| rights.allow(*right))
                .map(|right| right.as_str().to_owned())
                .collect(),
        }
    }

    pub(super) fn catalog() -> Self {
        Self {
            kind: "registry".to_owned(),
            class: None,
            name: "catalog".to_owned(),
            actions: vec!["*".to_owned()],
        }
    }

    pub(super) fn is_catalog(&self) -> bool {
        *self == Self::catalog()
    }

    /// The repository that it is for, and the rights on it.
    pub(super) fn rights(&self) -> Option<(RepositoryName, Rights)> {
        let name = (self.kind == "repository").then(|| self.name.parse().ok())??;
        let rights = self.actions.iter().filter_map(|action| action.parse::<Right>().ok());
        Some((name, rights.filter(|right| *right != Right::Administer).collect()))
    }
}

/// Why a bearer token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It was good once.
    Expired,
    /// It is none of ours, or was changed.
    Wrong,
}

/// One of the keys, as JWKS (RFC 7517) shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    /// `EC`.
    pub kty: &'static str,
    /// `P-256`.
    pub crv: &'static str,
    /// `ES256`.
    pub alg: &'static str,
    /// `sig`.
    #[serde(rename = "use")]
    pub usage: &'static str,
    /// Names the key: its thumbprint (RFC 7638).
    pub kid: String,
    /// The public point, each coordinate in base64url.
    pub x: String,
    /// See `x`.
    pub y: String,
}

/// The public keys by which tokens can be checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwks {
    /// The newest first.
    pub keys: Vec<Jwk>,
}

/// A key that was just made.
pub(super) struct NewKey {
    pub kid: String,
    /// PKCS #8.
    pub secret: Vec<u8>,
}

/// A key is damaged, or the system has no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("a signing key cannot be used: {0}")]
pub(super) struct KeyError(String);

struct Key {
    jwk: Jwk,
    signing: EncodingKey,
    checking: DecodingKey,
    /// For fingerprints of passwords, which must say nothing to who reads a token.
    prints: hmac::Key,
    created_at: SystemTime,
}

/// A token that is one of ours and holds.
#[derive(Debug)]
pub(super) struct Checked {
    pub claims: Claims,
    kid: String,
}

/// The keys in use, the newest first. The newest signs.
pub(super) struct Keys {
    issuer: String,
    audience: String,
    keys: RwLock<Arc<Vec<Key>>>,
}

impl NewKey {
    pub(super) fn make() -> Result<Self, KeyError> {
        let secret = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|error| KeyError(error.to_string()))?;
        let key = Key::read(secret.as_ref(), SystemTime::now())?;
        Ok(Self { kid: key.jwk.kid, secret: secret.as_ref().to_vec() })
    }
}

impl Key {
    fn read(secret: &[u8], created_at: SystemTime) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, secret)
            .map_err(|error| KeyError(error.to_string()))?;
        // SEC 1, 2.3.3: an uncompressed point is 4, then both coordinates.
        let (x, y) = match pair.public_key().as_ref() {
            [4, point @ ..] if point.len() == 64 => point.split_at(32),
            _ => return Err(KeyError("its public half is no point of P-256".to_owned())),
        };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let thumbprint = Sha256::digest(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#));
        let checking =
            DecodingKey::from_ec_components(&x, &y).map_err(|error| KeyError(error.to_string()))?;
        let kid = URL_SAFE_NO_PAD.encode(thumbprint);
        let jwk = Jwk { kty: "EC", crv: "P-256", alg: "ES256", usage: "sig", kid, x, y };
        let prints = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Ok(Self { jwk, signing: EncodingKey::from_ec_der(secret), checking, prints, created_at })
    }
}

impl Key {
    fn fingerprint(&self, kept: &str) -> String {
        URL_SAFE_NO_PAD.encode(&hmac::sign(&self.prints, kept.as_bytes()).as_ref()[..12])
    }
}

impl Keys {
    pub(super) fn new(issuer: String, audience: String) -> Self {
        Self { issuer, audience, keys: RwLock::default() }
    }

    /// Uses these keys from now on: secrets and when they were made.
    pub(super) fn set(
        &self,
        secrets: impl IntoIterator<Item = (Vec<u8>, SystemTime)>,
    ) -> Result<(), KeyError> {
        let mut keys =
            secrets.into_iter().map(|(secret, at)| Key::read(&secret, at)).collect::<Result<Vec<_>, _>>()?;
        keys.sort_by_key(|key| std::cmp::Reverse(key.created_at));
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    fn keys(&self) -> Arc<Vec<Key>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the newest was made.
    pub(super) fn newest(&self) -> Option<SystemTime> {
        self.keys().first().map(|key| key.created_at)
    }

    pub(super) fn jwks(&self) -> Jwks {
        Jwks { keys: self.keys().iter().map(|key| key.jwk.clone()).collect() }
    }

    /// The claims of a new token that holds for `lifetime` from `now` on.
    pub(super) fn claims(
        &self,
        subject: &str,
        access: Vec<Access>,
        bond: Option<Bond>,
        now: SystemTime,
        lifetime: Duration,
    ) -> Claims {
        let iat = seconds(now);
        Claims {
            iss: self.issuer.clone(),
            sub: subject.to_owned(),
            aud: self.audience.clone(),
            exp: iat + lifetime.as_secs(),
            nbf: iat.saturating_sub(EARLIER),
            iat,
            jti: uuid::Uuid::new_v4().to_string(),
            access,
            wharfinger: bond,
        }
    }

    pub(super) fn sign(&self, claims: &Claims) -> Result<String, KeyError> {
        let keys = self.keys();
        let key = keys.first().ok_or_else(|| KeyError("there is none".to_owned()))?;
        let header = Header { kid: Some(key.jwk.kid.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &key.signing).map_err(|error| KeyError(error.to_string()))
    }

    /// What a new token has for a password, which tells nobody else anything about it.
    pub(super) fn fingerprint(&self, kept: &str) -> Option<String> {
        self.keys().first().map(|key| key.fingerprint(kept))
    }

    /// Whether a token was issued to who had this password.
    pub(super) fn is_bound_to(&self, checked: &Checked, kept: &str) -> bool {
        let keys = self.keys();
        let key = keys.iter().find(|key| key.jwk.kid == checked.kid);
        let bound = checked.claims.wharfinger.as_ref().and_then(|bond| bond.password.as_deref());
        key.zip(bound).is_some_and(|(key, bound)| key.fingerprint(kept) == bound)
    }

    /// What a token says, if it is one of ours and holds now.
    pub(super) fn check(&self, token: &str) -> Result<Checked, Refused> {
        if token.len() > MAX_BYTES {
            return Err(Refused::Wrong);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Wrong)?;
        let brings_a_key = header.jwk.is_some()
            || header.jku.is_some()
            || header.x5u.is_some()
            || header.x5c.is_some()
            || header.x5t.is_some()
            || header.x5t_s256.is_some();
        if header.alg != Algorithm::ES256 || brings_a_key || header.crit.is_some() {
            return Err(Refused::Wrong);
        }
        let kid = header.kid.ok_or(Refused::Wrong)?;
        let keys = self.keys();
        let key = keys.iter().find(|key| key.jwk.kid == kid).ok_or(Refused::Wrong)?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = 0;
        match jsonwebtoken::decode::<Claims>(token, &key.checking, &validation) {
            Ok(token) => Ok(Checked { claims: token.claims, kid }),
            Err(error) if matches!(error.kind(), jsonwebtoken::errors::ErrorKind::ExpiredSignature) => {
                Err(Refused::Expired)
            }
            Err(_) => Err(Refused::Wrong),
        }
    }
}

impl Claims {
    /// When it ends.
    pub(super) fn ends(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.exp)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(300);

    fn keys_of(secrets: &[(Vec<u8>, SystemTime)]) -> Keys {
        let keys = Keys::new("issuer".to_owned(), "service".to_owned());
        keys.set(secrets.iter().cloned()).unwrap();
        keys
    }

    fn secret() -> (Vec<u8>, SystemTime) {
        (NewKey::make().unwrap().secret, SystemTime::now())
    }

    fn claims(keys: &Keys) -> Claims {
        let access = vec![Access::repository(&"team/app".parse().unwrap(), None, "push".parse().unwrap())];
        let bond = Bond { account: 7, token: None, password: Some("abc".to_owned()) };
        keys.claims("ann", access, Some(bond), SystemTime::now(), LIFETIME)
    }

    fn encode(header: &Value, claims: &Value, secret: &[u8]) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, secret).unwrap();
        let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn a_token_says_what_was_put_into_it() {
        let keys = keys_of(&[secret()]);
        let claims = claims(&keys);
        let token = keys.sign(&claims).unwrap();
        assert_eq!(keys.check(&token).unwrap().claims, claims);
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

    #[test]
    fn a_token_is_bound_to_the_password_that_it_was_got_with() {
        let keys = keys_of(&[secret()]);
        let bond = Bond { account: 7, token: None, password: keys.fingerprint("$argon2id$one") };
        let claims = keys.claims("ann", Vec::new(), Some(bond), SystemTime::now(), LIFETIME);
        let checked = keys.check(&keys.sign(&claims).unwrap()).unwrap();
        assert!(keys.is_bound_to(&checked, "$argon2id$one"));
        assert!(!keys.is_bound_to(&checked, "$argon2id$two"));
        let other = keys_of(&[secret()]);
        assert_ne!(other.fingerprint("$argon2id$one"), keys.fingerprint("$argon2id$one"));
    }

    #[test]
    fn the_key_set_checks_what_was_signed() {
        let keys = keys_of(&[secret()]);
        let token = keys.sign(&claims(&keys)).unwrap();
        let jwks = serde_json::to_value(keys.jwks()).unwrap();
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwks["keys"][0].clone()).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(jwk.common.key_id, header.kid);
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["service"]);
        let key = DecodingKey::from_jwk(&jwk).unwrap();
        assert!(jsonwebtoken::decode::<Claims>(&token, &key, &validation).is_ok());
        assert!(!jwks.to_string().contains("\"d\""), "the secret half stays here");
    }

    #[test]
    fn a_token_of_an_older_key_holds_as_long_as_the_key_is_kept() {
        let hour = Duration::from_secs(3600);
        let old = (NewKey::make().unwrap().secret, SystemTime::now() - hour);
        let new = secret();
        let token = {
            let keys = keys_of(std::slice::from_ref(&old));
            keys.sign(&claims(&keys)).unwrap()
        };
        let both = keys_of(&[old.clone(), new.clone()]);
        assert!(both.check(&token).is_ok());
        let signed = both.sign(&claims(&both)).unwrap();
        assert!(keys_of(std::slice::from_ref(&new)).check(&signed).is_ok(), "the newest signs");
        assert_eq!(both.newest(), Some(new.1));
        assert_eq!(keys_of(&[new]).check(&token).unwrap_err(), Refused::Wrong);
    }

    #[test]
    fn whatever_is_not_exactly_as_it_was_issued_is_refused() {
        let ours = secret();
        let theirs = secret();
        let keys = keys_of(std::slice::from_ref(&ours));
        let kid = keys.jwks().keys[0].kid.clone();
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": kid});
        let good = serde_json::to_value(claims(&keys)).unwrap();
        assert!(keys.check(&encode(&header, &good, &ours.0)).is_ok(), "the fixture itself is right");

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
        for (what, header, claims, secret) in [
            ("signed by another key", header.clone(), good.clone(), &theirs.0),
            ("a key that is not known", with(&header, "kid", json!("other")), good.clone(), &ours.0),
            ("no kid", without(&header, "kid"), good.clone(), &ours.0),
            ("alg none", with(&header, "alg", json!("none")), good.clone(), &ours.0),
            ("alg HS256", with(&header, "alg", json!("HS256")), good.clone(), &ours.0),
            ("alg ES384", with(&header, "alg", json!("ES384")), good.clone(), &ours.0),
            ("no alg", without(&header, "alg"), good.clone(), &ours.0),
            ("brings its key", with(&header, "jwk", their_jwk.clone()), good.clone(), &theirs.0),
            ("brings a key, with our signature", with(&header, "jwk", their_jwk), good.clone(), &ours.0),
            (
                "names a key set",
                with(&header, "jku", json!("https://evil.example/jwks")),
                good.clone(),
                &ours.0,
            ),
            ("brings a chain", with(&header, "x5c", json!(["MIIB"])), good.clone(), &ours.0),
            ("critical extension", with(&header, "crit", json!(["exp"])), good.clone(), &ours.0),
            ("another audience", header.clone(), with(&good, "aud", json!("other")), &ours.0),
            ("no audience", header.clone(), without(&good, "aud"), &ours.0),
            ("another issuer", header.clone(), with(&good, "iss", json!("other")), &ours.0),
            ("no issuer", header.clone(), without(&good, "iss"), &ours.0),
            ("no subject", header.clone(), without(&good, "sub"), &ours.0),
            ("no end", header.clone(), without(&good, "exp"), &ours.0),
            ("no beginning", header.clone(), without(&good, "nbf"), &ours.0),
            ("not yet", header.clone(), with(&good, "nbf", json!(now + 100)), &ours.0),
            ("no access", header.clone(), without(&good, "access"), &ours.0),
        ] {
            assert_eq!(keys.check(&encode(&header, &claims, secret)).unwrap_err(), Refused::Wrong, "{what}");
        }
        let expired = encode(&header, &with(&good, "exp", json!(now - 1)), &ours.0);
        assert_eq!(keys.check(&expired).unwrap_err(), Refused::Expired);
        let expired = encode(&header, &with(&good, "exp", json!(now - 1)), &theirs.0);
        assert_eq!(keys.check(&expired).unwrap_err(), Refused::Wrong, "expired, but not ours");
    }

    #[test]
    fn a_token_that_was_changed_or_cut_is_refused() {
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
            assert_eq!(keys.check(&wrong).unwrap_err(), Refused::Wrong, "{wrong}");
        }
    }
}
