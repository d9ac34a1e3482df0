//! Sign-in with passwords, the credential cache, the throttle and forward auth.

use super::*;

#[tokio::test]
async fn without_accounts_credentials_are_ignored() {
    let fixture = open(tempfile::tempdir().unwrap(), AccountSettings::default()).await;
    assert!(!fixture.in_force());
    let app = repository("team/app");
    assert_eq!(fixture.is_allowed_cached(&Identity::Anonymous, &app, Right::Administer), Some(true));
    assert!(matches!(fixture.visible(&Identity::Anonymous).await.unwrap(), Visible::Everything));
    for header in [basic("ann", PASSWORD), bearer("made.up.token"), b"nonsense".to_vec()] {
        assert!(fixture.signed_in(&header).await.is_anonymous());
    }
    assert!(fixture.refresh("nonsense", HOME).await.unwrap().is_anonymous());
    fixture.issue(&Identity::Anonymous, &[], false).await.unwrap();

    assert!(fixture.ensure_administrator(&name("root"), PASSWORD).await.unwrap());
    assert!(fixture.in_force());
    assert_eq!(fixture.is_allowed_cached(&Identity::Anonymous, &app, Right::Pull), None);
    assert!(!fixture.is_allowed(&Identity::Anonymous, &app, Right::Pull).await.unwrap());
    // A later start with another password changes nothing.
    assert!(!fixture.ensure_administrator(&name("root"), "another password").await.unwrap());
    let root = fixture.signed_in(&basic("root", PASSWORD)).await;
    assert!(root.account().unwrap().administrator);
    assert!(fixture.is_allowed(&root, &app, Right::Administer).await.unwrap());
    let refused = fixture.ensure_administrator(&name("boss"), "short").await.unwrap_err();
    assert!(matches!(refused, Error::PasswordRefused(PasswordRefused::TooShort)));
}

#[tokio::test]
async fn wrong_credentials_get_one_answer_and_one_hash() {
    let fixture = fixture().await;
    fixture.disable("bob", true).await;
    for (case, header) in [
        ("a wrong password", basic("ann", "wrong")),
        ("no password", basic("ann", "")),
        ("an unknown name", basic("nobody", PASSWORD)),
        ("an invalid name", basic("no/body", PASSWORD)),
        ("a disabled account", basic("bob", PASSWORD)),
        ("a disabled account's wrong password", basic("bob", "wrong")),
    ] {
        let before = fixture.hashes();
        let error = fixture.refused(&header).await;
        assert_eq!(error.to_string(), "wrong name, password or token", "{case}");
        assert_eq!(fixture.hashes() - before, 1, "{case}");
    }
    for header in [&b"Basic ***"[..], b"Digest x", b"", b"Bearer", b"Bearer abc", b"Bearer a.b.c"] {
        fixture.assert_wrong(header).await;
    }
}

#[tokio::test]
async fn right_password_is_hashed_once_and_cached() {
    let fixture = fixture().await;
    let header = basic("ann", PASSWORD);
    assert!(fixture.cached_identity(&header, HOME).is_none());
    let before = fixture.hashes();
    assert_eq!(fixture.signed_in(&header).await.name(), Some(&name("ann")));
    for _ in 0..10 {
        fixture.signed_in(&header).await;
        assert_eq!(fixture.cached_identity(&header, HOME).unwrap().name(), Some(&name("ann")));
    }
    assert_eq!(fixture.hashes() - before, 1);
    assert!(fixture.cached_identity(&basic("ann", "correct horse batterz"), HOME).is_none());
}

#[tokio::test]
async fn concurrent_sign_ins_hash_a_password_once() {
    let fixture = fixture().await;
    let header = basic("ann", PASSWORD);
    let before = fixture.hashes();
    let all = futures_util::future::join_all((0..20).map(|_| fixture.sign_in(&header, HOME))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(fixture.hashes() - before, 1);
}

#[tokio::test]
async fn account_change_invalidates_cached_sign_in() {
    let fixture = fixture().await;
    let header = basic("ann", PASSWORD);
    fixture.signed_in(&header).await;
    let before = fixture.hashes();
    fixture.grant("bob", "team/**", "pull").await;
    assert!(fixture.cached_identity(&header, HOME).is_none(), "accounts have changed");
    fixture.signed_in(&header).await;
    assert!(fixture.cached_identity(&header, HOME).is_some());
    assert_eq!(fixture.hashes(), before);

    fixture.set_password("ann", "another password").await;
    let before = fixture.hashes();
    assert!(fixture.cached_identity(&header, HOME).is_none());
    fixture.assert_wrong(&header).await;
    fixture.signed_in(&basic("ann", "another password")).await;
    assert_eq!(fixture.hashes() - before, 2);
}

#[tokio::test]
async fn disabled_or_removed_account_is_refused_at_once() {
    let fixture = fixture().await;
    let header = basic("ann", PASSWORD);
    let (token, _) = fixture.token("ann", None, None).await;
    let identity = fixture.signed_in(&header).await;
    let by_bearer = fixture.issued(&identity, "repository:ann/app:pull").await;
    fixture.signed_in(&bearer(&token)).await;
    fixture.signed_in(&by_bearer).await;

    fixture.disable("ann", true).await;
    for header in [&header, &bearer(&token), &by_bearer] {
        assert!(fixture.cached_identity(header, HOME).is_none());
        fixture.refused(header).await;
    }
    assert!(
        !fixture.is_allowed(&identity, &repository("ann/app"), Right::Pull).await.unwrap(),
        "during a request"
    );
    fixture.disable("ann", false).await;
    for header in [&header, &bearer(&token), &by_bearer] {
        fixture.signed_in(header).await;
    }

    let metadata = fixture.inner.metadata.clone();
    let removed = fixture.change(async move { Ok(metadata.remove_account(&name("ann"), true).await?) }).await;
    assert_eq!(removed.unwrap(), RemoveOutcome::Removed);
    fixture.add_user("ann").await;
    fixture.assert_wrong(&bearer(&token)).await;
    // A new account with the same name and password is another account.
    fixture.assert_expired(&by_bearer).await;
    assert_ne!(fixture.signed_in(&header).await.account().unwrap().id, identity.account().unwrap().id);
}

#[tokio::test]
async fn guesses_lock_out_only_their_network() {
    let limit = |burst| RateLimit { burst, every: Duration::from_secs(3600) };
    let throttle = ThrottleLimits { pair: limit(3), ..ThrottleLimits::default() };
    let settings = AccountSettings { throttle, remember: Duration::ZERO, ..AccountSettings::default() };
    let fixture = open(tempfile::tempdir().unwrap(), settings).await;
    fixture.ensure_administrator(&name("root"), PASSWORD).await.unwrap();
    fixture.add_user("ann").await;
    let header = basic("ann", PASSWORD);
    let attacker = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9));
    for _ in 0..3 {
        let error = fixture.sign_in(&basic("ann", "wrong"), attacker).await.unwrap_err();
        assert_eq!(error.reason(), Some("wrong password"));
    }
    let before = fixture.hashes();
    let error = fixture.sign_in(&header, attacker).await.unwrap_err();
    assert!(
        matches!(&error, SignInError::TooMany { retry_after, .. } if *retry_after > Duration::from_secs(3000))
    );
    assert_eq!((error.name(), fixture.hashes()), (Some(&name("ann")), before), "no hash is computed");
    fixture.signed_in(&header).await;
    // Tokens are not throttled by passwords.
    let (token, _) = fixture.token("ann", None, None).await;
    fixture.sign_in(&bearer(&token), attacker).await.unwrap();
}

#[tokio::test]
async fn right_password_over_the_limit_is_delayed() {
    let every = Duration::from_millis(300);
    let throttle = ThrottleLimits { pair: RateLimit { burst: 1, every }, ..ThrottleLimits::default() };
    let settings = AccountSettings { throttle, remember: Duration::ZERO, ..AccountSettings::default() };
    let fixture = open(tempfile::tempdir().unwrap(), settings).await;
    fixture.ensure_administrator(&name("root"), PASSWORD).await.unwrap();
    let begun = std::time::Instant::now();
    for _ in 0..3 {
        fixture.assert_wrong(&basic("root", "wrong")).await;
    }
    fixture.signed_in(&basic("root", PASSWORD)).await;
    assert!(begun.elapsed() >= every, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn forward_auth_creates_an_account() {
    let settings = AccountSettings { forward: true, ..AccountSettings::default() };
    let fixture = open(tempfile::tempdir().unwrap(), settings).await;
    assert!(fixture.in_force());
    let first = fixture.sign_in_forwarded(name("dan"), HOME).await.unwrap();
    let again = fixture.sign_in_forwarded(name("dan"), HOME).await.unwrap();
    assert_eq!(first.account().unwrap().id, again.account().unwrap().id);
    assert!(fixture.is_allowed(&first, &repository("dan/app"), Right::Push).await.unwrap());
    fixture.assert_wrong(&basic("dan", "")).await;
    let header = fixture.issued(&first, "repository:dan/app:pull").await;
    fixture.signed_in(&header).await;
    fixture.disable("dan", true).await;
    assert!(matches!(fixture.sign_in_forwarded(name("dan"), HOME).await, Err(SignInError::Wrong { .. })));
    fixture.assert_expired(&header).await;
    assert!(matches!(fixture.sign_in_forwarded(name("dan+ci"), HOME).await, Err(SignInError::Wrong { .. })));
}
