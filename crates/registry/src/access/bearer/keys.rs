//! Signing keys: issuing and verifying bearer tokens, and the public key set (JWKS).

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::claims::{Access, Binding, Claims};

/// The tolerance for clocks that run slow, in seconds: `nbf` is this much before `iat`.
const CLOCK_SKEW: u64 = 10;

/// The maximum length of a token in bytes. Tokens of [`MAX_SCOPES`](crate::access::MAX_SCOPES) scopes are far
/// smaller.
pub(super) const MAX_BYTES: usize = 32 * 1024;

/// The reason why a bearer token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::access) enum TokenError {
    /// The signature is ours; the token has expired.
    Expired,
    /// Another issuer, another key, or changed content.
    Invalid,
}

/// A public key in JWKS form (RFC 7517).
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
    /// The thumbprint of the key (RFC 7638).
    pub kid: String,
    /// A coordinate of the public point, in base64url.
    pub x: String,
    /// The other coordinate, like `x`.
    pub y: String,
}

/// The public keys for verifying tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwks {
    /// Newest first.
    pub keys: Vec<Jwk>,
}

/// A new key, to be stored.
pub(in crate::access) struct NewKey {
    pub kid: String,
    /// PKCS #8.
    pub secret: Vec<u8>,
}

/// A damaged key, or a system without random numbers.
#[derive(Debug, thiserror::Error)]
#[error("a signing key cannot be used: {0}")]
pub(in crate::access) struct KeyError(String);

struct Key {
    jwk: Jwk,
    signing: EncodingKey,
    verifying: DecodingKey,
    /// Keys the fingerprints of passwords, so that a reader of a token cannot guess passwords offline.
    fingerprints: hmac::Key,
    created_at: SystemTime,
}

/// A token with a valid signature that has not expired.
#[derive(Debug)]
pub(in crate::access) struct Verified {
    pub claims: Claims,
    kid: String,
}

/// The keys in use, newest first. The newest one signs.
pub(in crate::access) struct Keys {
    issuer: String,
    audience: String,
    keys: RwLock<Arc<Vec<Key>>>,
}

impl NewKey {
    pub(in crate::access) fn generate() -> Result<Self, KeyError> {
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
        let verifying =
            DecodingKey::from_ec_components(&x, &y).map_err(|error| KeyError(error.to_string()))?;
        let kid = URL_SAFE_NO_PAD.encode(thumbprint);
        let jwk = Jwk { kty: "EC", crv: "P-256", alg: "ES256", usage: "sig", kid, x, y };
        let fingerprints = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Ok(Self { jwk, signing: EncodingKey::from_ec_der(secret), verifying, fingerprints, created_at })
    }

    fn fingerprint(&self, stored: &str) -> String {
        URL_SAFE_NO_PAD.encode(&hmac::sign(&self.fingerprints, stored.as_bytes()).as_ref()[..12])
    }
}

impl Keys {
    pub(in crate::access) fn new(issuer: String, audience: String) -> Self {
        Self { issuer, audience, keys: RwLock::default() }
    }

    /// Replaces the keys. Each item is a PKCS #8 secret and its creation time.
    pub(in crate::access) fn set(
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

    /// The creation time of the newest key.
    pub(in crate::access) fn newest(&self) -> Option<SystemTime> {
        self.keys().first().map(|key| key.created_at)
    }

    pub(in crate::access) fn jwks(&self) -> Jwks {
        Jwks { keys: self.keys().iter().map(|key| key.jwk.clone()).collect() }
    }

    /// Returns the claims of a new token that is valid for `lifetime` from `now` on.
    pub(in crate::access) fn claims(
        &self,
        subject: &str,
        access: Vec<Access>,
        binding: Option<Binding>,
        now: SystemTime,
        lifetime: Duration,
    ) -> Claims {
        let iat = seconds(now);
        Claims {
            iss: self.issuer.clone(),
            sub: subject.to_owned(),
            aud: self.audience.clone(),
            exp: iat + lifetime.as_secs(),
            nbf: iat.saturating_sub(CLOCK_SKEW),
            iat,
            jti: uuid::Uuid::new_v4().to_string(),
            access,
            wharfinger: binding,
        }
    }

    pub(in crate::access) fn sign(&self, claims: &Claims) -> Result<String, KeyError> {
        let keys = self.keys();
        let key = keys.first().ok_or_else(|| KeyError("there is no signing key".to_owned()))?;
        let header = Header { kid: Some(key.jwk.kid.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &key.signing).map_err(|error| KeyError(error.to_string()))
    }

    /// Returns the keyed fingerprint of a stored password for a new token.
    pub(in crate::access) fn fingerprint(&self, stored: &str) -> Option<String> {
        self.keys().first().map(|key| key.fingerprint(stored))
    }

    /// Whether the token was issued for this stored password.
    pub(in crate::access) fn is_bound_to(&self, verified: &Verified, stored: &str) -> bool {
        let keys = self.keys();
        let key = keys.iter().find(|key| key.jwk.kid == verified.kid);
        let bound = verified.claims.wharfinger.as_ref().and_then(|binding| binding.password.as_deref());
        key.zip(bound).is_some_and(|(key, bound)| key.fingerprint(stored) == bound)
    }

    /// Verifies signature, issuer, audience and times of a token.
    pub(in crate::access) fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        if token.len() > MAX_BYTES {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let has_foreign_key = header.jwk.is_some()
            || header.jku.is_some()
            || header.x5u.is_some()
            || header.x5c.is_some()
            || header.x5t.is_some()
            || header.x5t_s256.is_some();
        if header.alg != Algorithm::ES256 || has_foreign_key || header.crit.is_some() {
            return Err(TokenError::Invalid);
        }
        let kid = header.kid.ok_or(TokenError::Invalid)?;
        let keys = self.keys();
        let key = keys.iter().find(|key| key.jwk.kid == kid).ok_or(TokenError::Invalid)?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = 0;
        match jsonwebtoken::decode::<Claims>(token, &key.verifying, &validation) {
            Ok(token) => Ok(Verified { claims: token.claims, kid }),
            Err(error) if matches!(error.kind(), jsonwebtoken::errors::ErrorKind::ExpiredSignature) => {
                Err(TokenError::Expired)
            }
            Err(_) => Err(TokenError::Invalid),
        }
    }
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
