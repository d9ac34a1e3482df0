//! Bearer tokens: JWTs (RFC 7519) signed with ES256 by the registry's own keys.
//!
//! The claims follow distribution's "Token Authentication Implementation". The additional claim `wharfinger`
//! binds a token to the sign-in for which it was issued. Verification uses only our own keys: `kid` selects
//! one, and a token that carries a key or a key URL is refused (CVE-2025-24976). Algorithm, issuer, audience
//! and times are pinned. The `access` claim only restricts: each request reads the rights of the account from
//! the store.

mod claims;
mod keys;
#[cfg(test)]
mod tests;

pub(super) use claims::{Access, Binding};
pub use keys::{Jwk, Jwks};
pub(super) use keys::{KeyError, Keys, NewKey, TokenError};
