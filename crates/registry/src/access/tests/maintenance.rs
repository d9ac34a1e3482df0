//! Key rotation and usage times.

use super::*;

#[tokio::test]
async fn rotated_key_still_verifies_older_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let settings = AccountSettings { key_lifetime: Duration::ZERO, ..AccountSettings::default() };
    let fixture = open(directory, settings).await;
    fixture.ensure_administrator(&name("ann"), PASSWORD).await.unwrap();
    let ann = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let old = fixture.issued(&ann, "repository:ann/app:pull").await;
    fixture.tidy(SystemTime::now() + Duration::from_secs(1)).await.unwrap();
    assert_eq!(fixture.jwks().keys.len(), 2);
    let new = fixture.issued(&ann, "repository:ann/app:pull").await;
    for header in [&old, &new] {
        fixture.signed_in(header).await;
    }
    // The newer key signs.
    let kid = |header: &[u8]| jsonwebtoken::decode_header(&header["Bearer ".len()..]).unwrap().kid.unwrap();
    assert_ne!(kid(&old), kid(&new));
    assert_eq!(kid(&new), fixture.jwks().keys[0].kid);
}

#[tokio::test]
async fn usage_times_are_written_without_secrets() {
    let fixture = fixture().await;
    let (token, id) = fixture.token("ann", None, None).await;
    let identity = fixture.signed_in(&bearer(&token)).await;
    fixture.flush_usage().await.unwrap();
    let (token_record, account) = fixture.inner.metadata.token(id).await.unwrap().unwrap();
    assert!(token_record.last_used_at.is_some() && account.last_seen_at.is_some());
    let by_password = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let output =
        format!("{identity:?} {by_password:?} {:?}", fixture.refused(&basic("ann", "hunter22")).await);
    for secret in [token.as_str(), PASSWORD, "hunter22", "argon2"] {
        assert!(!output.contains(secret), "{output}");
    }
}
