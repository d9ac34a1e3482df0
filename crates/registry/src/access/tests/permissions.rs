//! Permissions of accounts and of narrowed tokens.

use super::*;

#[tokio::test]
async fn narrowed_token_limits_its_account() {
    let fixture = fixture().await;
    fixture.grant("ann", "team/**", "push").await;
    let (token, _) = fixture.token("ann", Some(("pull", &["team/app", "bob/**", "ann/web"])), None).await;
    let identity = fixture.signed_in(&bearer(&token)).await;
    for (on, right, expected) in [
        ("team/app", Right::Pull, Permission::Allowed),
        ("ann/web", Right::Pull, Permission::Allowed),
        ("ann/web", Right::Push, Permission::Denied),
        ("team/app", Right::Push, Permission::Denied),
        ("team/other", Right::Pull, Permission::Hidden),
        ("ann/other", Right::Pull, Permission::Hidden),
        ("bob/app", Right::Pull, Permission::Hidden),
    ] {
        let permission = fixture.permission(&identity, &repository(on), right).await.unwrap();
        assert_eq!(permission, expected, "{right:?} on {on}");
        let allowed = expected == Permission::Allowed;
        assert_eq!(
            fixture.is_allowed_cached(&identity, &repository(on), right),
            Some(allowed),
            "{right:?} on {on}"
        );
    }
    // Lists and bearer tokens obtained with it have the same limits.
    let by_bearer = fixture.issued(&identity, "registry:catalog:* repository:ann/web:pull,push").await;
    let by_bearer = fixture.signed_in(&by_bearer).await;
    assert!(!fixture.is_allowed(&by_bearer, &repository("ann/web"), Right::Push).await.unwrap());
    for identity in [&identity, &by_bearer] {
        let listable = fixture.listable(identity).await.unwrap().unwrap();
        for (on, expected) in
            [("team/app", true), ("ann/web", true), ("ann/other", false), ("bob/app", false)]
        {
            assert_eq!(listable.allows(&repository(on)), expected, "{on}");
        }
    }
}

#[tokio::test]
async fn bearer_is_limited_to_its_scope() {
    let fixture = fixture().await;
    fixture.grant("ann", "team/app", "pull").await;
    let ann = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let header = fixture
        .issued(&ann, "repository:ann/app:pull repository:team/app:pull,push repository:bob/app:pull")
        .await;
    let identity = fixture.signed_in(&header).await;
    assert!(identity.is_bearer());
    for (on, right, expected) in [
        ("ann/app", Right::Pull, Permission::Allowed),
        ("team/app", Right::Pull, Permission::Allowed),
        // Another token would allow it.
        ("ann/app", Right::Push, Permission::OutOfScope),
        ("ann/other", Right::Pull, Permission::OutOfScope),
        // No token would allow it.
        ("team/app", Right::Push, Permission::Denied),
        ("bob/app", Right::Pull, Permission::Hidden),
    ] {
        let permission = fixture.permission(&identity, &repository(on), right).await.unwrap();
        assert_eq!(permission, expected, "{right:?} on {on}");
    }
    assert!(fixture.listable(&identity).await.unwrap().is_none(), "no scope for lists");
    let visible = fixture.visible(&identity).await.unwrap();
    assert!(visible.allows(&repository("ann/app")) && visible.allows(&repository("team/app")));
    assert!(!visible.allows(&repository("ann/other")) && !visible.allows(&repository("bob/app")));
    // A bearer token cannot be renewed with itself.
    let issued = fixture.issue(&identity, &[], true).await;
    assert!(matches!(issued, Err(SignInError::Wrong { .. })));

    let header = fixture.issued(&ann, "registry:catalog:*").await;
    let identity = fixture.signed_in(&header).await;
    let listable = fixture.listable(&identity).await.unwrap().unwrap();
    assert!(listable.allows(&repository("ann/other")) && !listable.allows(&repository("bob/app")));
    assert!(
        !fixture.visible(&identity).await.unwrap().allows(&repository("ann/other")),
        "no scope for pulls"
    );
}

#[tokio::test]
async fn bearer_follows_current_rights_of_its_account() {
    let fixture = fixture().await;
    fixture.grant("ann", "team/app", "push").await;
    let ann = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let header = fixture.issued(&ann, "repository:team/app:pull,push").await;
    let identity = fixture.signed_in(&header).await;
    let app = repository("team/app");
    assert!(fixture.is_allowed(&identity, &app, Right::Push).await.unwrap());
    fixture.remove_grant("ann", "team/app").await;
    assert_eq!(fixture.is_allowed_cached(&identity, &app, Right::Push), None, "not cached");
    assert_eq!(fixture.permission(&identity, &app, Right::Push).await.unwrap(), Permission::Hidden);
    assert_eq!(fixture.is_allowed_cached(&identity, &app, Right::Push), Some(false));
}

#[tokio::test]
async fn bearer_without_account_is_anonymous() {
    let fixture = fixture().await;
    fixture.grant("everyone", "public/**", "pull").await;
    let header =
        fixture.issued(&Identity::Anonymous, "repository:public/app:pull,push repository:ann/x:pull").await;
    let identity = fixture.signed_in(&header).await;
    assert!(identity.is_anonymous());
    let public = repository("public/app");
    assert_eq!(fixture.permission(&identity, &public, Right::Pull).await.unwrap(), Permission::Allowed);
    assert_eq!(fixture.permission(&identity, &public, Right::Push).await.unwrap(), Permission::Denied);
    assert_eq!(
        fixture.permission(&identity, &repository("ann/x"), Right::Pull).await.unwrap(),
        Permission::Hidden
    );
    let listable = fixture.listable(&identity).await.unwrap().unwrap();
    assert!(listable.allows(&public) && !listable.allows(&repository("ann/x")));
}

#[tokio::test]
async fn permission_is_cached_until_a_change() {
    let fixture = fixture().await;
    let ann = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let (own, other) = (repository("ann/app"), repository("bob/app"));
    assert_eq!(fixture.is_allowed_cached(&ann, &own, Right::Push), None);
    assert!(fixture.is_allowed(&ann, &own, Right::Push).await.unwrap());
    assert_eq!(fixture.is_allowed_cached(&ann, &own, Right::Push), Some(true));
    assert!(!fixture.is_allowed(&ann, &other, Right::Pull).await.unwrap());
    assert_eq!(fixture.is_allowed_cached(&ann, &other, Right::Pull), Some(false));
    assert_eq!(fixture.is_allowed_cached(&Identity::Operator, &other, Right::Administer), Some(true));
    assert_eq!(
        fixture.is_allowed_cached(&Identity::Anonymous, &own, Right::Pull),
        None,
        "the cache is per account"
    );

    let before = fixture.generation();
    fixture.grant("accounts", "bob/**", "pull").await;
    assert!(fixture.generation() > before);
    assert_eq!(fixture.is_allowed_cached(&ann, &other, Right::Pull), None);
    assert!(fixture.is_allowed(&ann, &other, Right::Pull).await.unwrap());
    assert!(!fixture.is_allowed(&Identity::Anonymous, &other, Right::Pull).await.unwrap());
    assert!(fixture.listable(&ann).await.unwrap().unwrap().allows(&other));
    fixture.remove_grant("accounts", "bob/**").await;
    assert!(!fixture.listable(&ann).await.unwrap().unwrap().allows(&other));
}
