//! Tokens that bind an upload to its repository and account.
//!
//! The upstream knows no accounts. So the gateway adds a parameter to the URL of an upload: an HMAC over
//! repository and account with the gateway's key. It needs no server-side state, which could fill up or be
//! lost at a restart.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oci::RepositoryName;
use uuid::Uuid;

/// The parameter. No known registry uses this name.
const PARAMETER: &str = "_gateway=";

/// Creates and verifies tokens.
pub(super) struct UploadTokens(hmac::Key);

/// The signed state of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UploadRef {
    /// The index of the upstream that holds it.
    pub(super) home: usize,
    /// The bytes that the upstream has received.
    pub(super) bytes: u64,
}

impl UploadTokens {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Appends the token to the upstream's query.
    pub(super) fn sign(
        &self,
        repository: &RepositoryName,
        id: Uuid,
        account: &str,
        upload: UploadRef,
        query: Option<&str>,
    ) -> String {
        let token = URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &message(repository, id, account, upload)));
        let UploadRef { home, bytes } = upload;
        match query.filter(|query| !query.is_empty()) {
            Some(query) => format!("{query}&{PARAMETER}{home}.{bytes}.{token}"),
            None => format!("{PARAMETER}{home}.{bytes}.{token}"),
        }
    }

    /// Verifies the token in a query; `None` if it is invalid or of another account.
    pub(super) fn verify(
        &self,
        repository: &RepositoryName,
        id: Uuid,
        account: &str,
        query: Option<&str>,
    ) -> Option<UploadRef> {
        let mut parts = query?.split('&').find_map(|part| part.strip_prefix(PARAMETER))?.splitn(3, '.');
        let mut next = || parts.next();
        let upload = UploadRef { home: next()?.parse().ok()?, bytes: next()?.parse().ok()? };
        let token = URL_SAFE_NO_PAD.decode(next()?).ok()?;
        // Compares in constant time.
        hmac::verify(&self.0, &message(repository, id, account, upload), &token).ok()?;
        Some(upload)
    }
}

/// Removes the token from a query.
pub(super) fn strip_token(query: Option<&str>) -> String {
    let parts = query.unwrap_or_default().split('&').filter(|part| !part.starts_with(PARAMETER));
    parts.collect::<Vec<_>>().join("&")
}

/// The signed message. It is unambiguous, because only its last part can have a line break.
fn message(repository: &RepositoryName, id: Uuid, account: &str, upload: UploadRef) -> Vec<u8> {
    let UploadRef { home, bytes } = upload;
    format!("upload\n{repository}\n{id}\n{home}\n{bytes}\n{account}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn token_is_bound_to_repository_account_and_gateway() {
        let tokens = UploadTokens::new(&[7; 32]);
        let (id, app) = (Uuid::new_v4(), name("team/app"));
        let upload = UploadRef { home: 3, bytes: 70 };
        let query = tokens.sign(&app, id, "ann", upload, Some("_state=a%2Bb%3D"));
        let verify = |repository: &str, id, account: &str, query: &str| {
            tokens.verify(&name(repository), id, account, Some(query))
        };
        assert_eq!(verify("team/app", id, "ann", &query), Some(upload));
        assert_eq!(verify("team/app", id, "ann", &format!("{query}&digest=sha256%3Aab")), Some(upload));
        assert_eq!(verify("team/other", id, "ann", &query), None);
        assert_eq!(verify("team/app", Uuid::new_v4(), "ann", &query), None);
        assert_eq!(verify("team/app", id, "bob", &query), None);
        assert_eq!(verify("team/app", id, "", &query), None);
        for (original, changed) in [("_gateway=3.70.", "_gateway=2.70."), ("_gateway=3.70.", "_gateway=3.7.")]
        {
            assert_eq!(verify("team/app", id, "ann", &query.replace(original, changed)), None);
        }
        assert_eq!(verify("team/app", id, "ann", "_state=a%2Bb%3D"), None);
        assert_eq!(UploadTokens::new(&[8; 32]).verify(&app, id, "ann", Some(&query)), None);
        assert_eq!(tokens.verify(&app, id, "ann", None), None);
    }

    #[test]
    fn query_of_the_upstream_is_unchanged() {
        let tokens = UploadTokens::new(&[7; 32]);
        let query = tokens.sign(
            &name("a"),
            Uuid::new_v4(),
            "ann",
            UploadRef { home: 0, bytes: 0 },
            Some("_state=a%2Bb%3D&x"),
        );
        assert_eq!(strip_token(Some(&format!("{query}&digest=d"))), "_state=a%2Bb%3D&x&digest=d");
        let query = tokens.sign(&name("a"), Uuid::new_v4(), "ann", UploadRef { home: 0, bytes: 0 }, None);
        assert_eq!(strip_token(Some(&query)), "");
        assert_eq!(strip_token(None), "");
    }
}
