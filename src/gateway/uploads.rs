//! Whose an upload is. An upload belongs to a repository and an account; the upstream knows nothing of accounts, and
//! so the address that the gateway gives out carries a proof: a parameter made from both with a key of the gateway's
//! own. Nothing is kept for it, so it neither runs full nor is lost when the gateway is started again.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oci::RepositoryName;
use uuid::Uuid;

/// The parameter. None of the protocol, nor of a registry known, begins like this.
const PARAMETER: &str = "_gateway=";

/// Makes and checks proofs.
pub(super) struct UploadTokens(hmac::Key);

/// What an address says of its upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UploadRef {
    /// On which upstream it began.
    pub(super) home: usize,
    /// How many bytes that upstream had of it.
    pub(super) bytes: u64,
}

impl UploadTokens {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The query of the address of an upload: the upstream's own, and the proof.
    pub(super) fn query(
        &self,
        repository: &RepositoryName,
        id: Uuid,
        account: &str,
        begun: UploadRef,
        upstream: Option<&str>,
    ) -> String {
        let proof = URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &message(repository, id, account, begun)));
        let UploadRef { home, bytes } = begun;
        match upstream.filter(|query| !query.is_empty()) {
            Some(query) => format!("{query}&{PARAMETER}{home}.{bytes}.{proof}"),
            None => format!("{PARAMETER}{home}.{bytes}.{proof}"),
        }
    }

    /// What the address of an upload says of it. `None` unless it is one of this account.
    pub(super) fn check(
        &self,
        repository: &RepositoryName,
        id: Uuid,
        account: &str,
        query: Option<&str>,
    ) -> Option<UploadRef> {
        let mut parts = query?.split('&').find_map(|part| part.strip_prefix(PARAMETER))?.splitn(3, '.');
        let mut next = || parts.next();
        let begun = UploadRef { home: next()?.parse().ok()?, bytes: next()?.parse().ok()? };
        let proof = URL_SAFE_NO_PAD.decode(next()?).ok()?;
        // In constant time.
        hmac::verify(&self.0, &message(repository, id, account, begun), &proof).ok()?;
        Some(begun)
    }
}

/// The query without the proof, every other part of it as it was.
pub(super) fn without_proof(query: Option<&str>) -> String {
    let parts = query.unwrap_or_default().split('&').filter(|part| !part.starts_with(PARAMETER));
    parts.collect::<Vec<_>>().join("&")
}

/// What is proved. No part can be mistaken for another: none but the last has a line break.
fn message(repository: &RepositoryName, id: Uuid, account: &str, begun: UploadRef) -> Vec<u8> {
    let UploadRef { home, bytes } = begun;
    format!("upload\n{repository}\n{id}\n{home}\n{bytes}\n{account}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn an_upload_is_of_one_repository_one_account_and_one_gateway() {
        let proofs = UploadTokens::new(&[7; 32]);
        let (id, app) = (Uuid::new_v4(), name("team/app"));
        let begun = UploadRef { home: 3, bytes: 70 };
        let query = proofs.query(&app, id, "ann", begun, Some("_state=a%2Bb%3D"));
        let checked = |repository: &str, id, account: &str, query: &str| {
            proofs.check(&name(repository), id, account, Some(query))
        };
        assert_eq!(checked("team/app", id, "ann", &query), Some(begun));
        assert_eq!(checked("team/app", id, "ann", &format!("{query}&digest=sha256%3Aab")), Some(begun));
        assert_eq!(checked("team/other", id, "ann", &query), None);
        assert_eq!(checked("team/app", Uuid::new_v4(), "ann", &query), None);
        assert_eq!(checked("team/app", id, "bob", &query), None);
        assert_eq!(checked("team/app", id, "", &query), None);
        for (said, changed) in [("_gateway=3.70.", "_gateway=2.70."), ("_gateway=3.70.", "_gateway=3.7.")] {
            assert_eq!(checked("team/app", id, "ann", &query.replace(said, changed)), None);
        }
        assert_eq!(checked("team/app", id, "ann", "_state=a%2Bb%3D"), None);
        assert_eq!(UploadTokens::new(&[8; 32]).check(&app, id, "ann", Some(&query)), None);
        assert_eq!(proofs.check(&app, id, "ann", None), None);
    }

    #[test]
    fn the_upstreams_own_query_is_kept_whole() {
        let proofs = UploadTokens::new(&[7; 32]);
        let query = proofs.query(
            &name("a"),
            Uuid::new_v4(),
            "ann",
            UploadRef { home: 0, bytes: 0 },
            Some("_state=a%2Bb%3D&x"),
        );
        assert_eq!(without_proof(Some(&format!("{query}&digest=d"))), "_state=a%2Bb%3D&x&digest=d");
        let query = proofs.query(&name("a"), Uuid::new_v4(), "ann", UploadRef { home: 0, bytes: 0 }, None);
        assert_eq!(without_proof(Some(&query)), "");
        assert_eq!(without_proof(None), "");
    }
}
