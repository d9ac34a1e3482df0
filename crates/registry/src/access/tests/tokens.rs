//! Personal, bearer and refresh tokens, and the end of their validity.

use super::*;

#[tokio::test]
async fn personal_token_works_as_basic_or_bearer() {
    let fixture = fixture().await;
    let (token, id) = fixture.token("ann", None, None).await;
    let before = fixture.hashes();
    for header in [basic("ann", &token), bearer(&token)] {
        let identity = fixture.signed_in(&header).await;
        let account = identity.account().unwrap();
        assert_eq!(
            (account.name.as_str(), account.via, account.scope.is_none()),
            ("ann", Via::PersonalToken, true)
        );
    }
    fixture.assert_wrong(&basic("bob", &token)).await;
    fixture.assert_wrong(&basic("ann", &token.replacen("wfp_", "wfr_", 1))).await;
    let unknown = Secret::new(SecretKind::Personal).unwrap();
    fixture.assert_wrong(&bearer(unknown.reveal())).await;
    fixture.assert_wrong(&basic("ann", unknown.reveal())).await;

    fixture.revoke(id).await;
    for header in [basic("ann", &token), bearer(&token)] {
        assert!(fixture.cached_identity(&header, HOME).is_none());
        fixture.assert_wrong(&header).await;
    }
    let (ended, _) = fixture.token("ann", None, Some(SystemTime::now() - Duration::from_secs(1))).await;
    fixture.assert_expired(&bearer(&ended)).await;
    assert_eq!(fixture.hashes(), before, "tokens cost no hash");
}

#[tokio::test]
async fn bearer_ends_with_its_password_or_token() {
    let fixture = fixture().await;
    let ann = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let by_password = fixture.issued(&ann, "repository:ann/app:pull").await;
    let (token, id) = fixture.token("ann", None, None).await;
    let by_token = fixture.issued(&fixture.signed_in(&bearer(&token)).await, "repository:ann/app:pull").await;
    fixture.signed_in(&by_password).await;
    fixture.signed_in(&by_token).await;

    fixture.revoke(id).await;
    assert!(fixture.cached_identity(&by_token, HOME).is_none());
    fixture.assert_expired(&by_token).await;
    fixture.signed_in(&by_password).await;

    fixture.set_password("ann", "another password").await;
    assert!(fixture.cached_identity(&by_password, HOME).is_none());
    fixture.assert_expired(&by_password).await;
    let issued = fixture.issue(&ann, &[], false).await;
    assert!(matches!(issued, Err(SignInError::Wrong { .. })), "the password has changed");

    let end = SystemTime::now() + Duration::from_secs(20);
    let (token, _) = fixture.token("ann", None, Some(end)).await;
    let issued = fixture.issue(&fixture.signed_in(&bearer(&token)).await, &[], false).await.unwrap();
    assert!(issued.expires_in <= Duration::from_secs(20), "the bearer does not outlive the token");
}

#[tokio::test]
async fn bearer_survives_restart_of_its_registry_only() {
    let fixture = fixture().await;
    let ann = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let header = fixture.issued(&ann, "repository:ann/app:pull").await;
    let other = open(tempfile::tempdir().unwrap(), AccountSettings::default()).await;
    other.ensure_administrator(&name("ann"), PASSWORD).await.unwrap();
    other.assert_wrong(&header).await;

    fixture.close().await;
    fixture.inner.metadata.close().await;
    let Fixture { directory, .. } = fixture;
    let settings = AccountSettings { service: "another".to_owned(), ..AccountSettings::default() };
    let renamed = open(directory, settings).await;
    renamed.assert_wrong(&header).await;
    renamed.close().await;
    renamed.inner.metadata.close().await;
    let again = open(renamed.directory, AccountSettings::default()).await;
    assert_eq!(again.signed_in(&header).await.name(), Some(&name("ann")));
    assert_eq!(again.jwks().keys.len(), 1);
}

#[tokio::test]
async fn refresh_token_yields_bearers_only() {
    let fixture = fixture().await;
    let ann = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let issued = fixture.issue(&ann, &[], true).await.unwrap();
    assert_eq!(format!("{issued:?}"), "Issued { expires_in: 300s, .. }");
    let refresh = issued.refresh_token.unwrap();
    assert!(refresh.starts_with("wfo_"));
    for header in [basic("ann", &refresh), bearer(&refresh)] {
        fixture.assert_wrong(&header).await;
    }
    let identity = fixture.refresh(&refresh, HOME).await.unwrap();
    let header = fixture.issued(&identity, "repository:ann/app:push").await;
    assert!(
        fixture
            .is_allowed(&fixture.signed_in(&header).await, &repository("ann/app"), Right::Push)
            .await
            .unwrap()
    );
    assert!(
        fixture.issue(&identity, &[], true).await.unwrap().refresh_token.is_none(),
        "the client already has one"
    );

    assert!(fixture.revoke_refresh(&refresh).await.unwrap());
    assert!(!fixture.revoke_refresh(&refresh).await.unwrap());
    assert!(matches!(fixture.refresh(&refresh, HOME).await, Err(SignInError::Wrong { .. })));
    fixture.assert_expired(&header).await;

    // A change of the password revokes refresh tokens.
    let refresh = fixture.issue(&ann, &[], true).await.unwrap().refresh_token.unwrap();
    fixture.set_password("ann", "another password").await;
    fixture.refresh(&refresh, HOME).await.unwrap_err();
    // A sign-in with a personal token gets no refresh token.
    let (token, _) = fixture.token("ann", None, None).await;
    let by_token = fixture.signed_in(&bearer(&token)).await;
    assert!(fixture.issue(&by_token, &[], true).await.unwrap().refresh_token.is_none());
    assert!(
        matches!(fixture.refresh(&token, HOME).await, Err(SignInError::Wrong { .. })),
        "a personal token is no refresh token"
    );
}
