//! Guessing costs.

use crate::harness::{Ask, By, Who, basic, with_accounts, with_accounts_and};

/// Whoever guesses is told to wait; somebody else is not.
#[tokio::test]
async fn who_guesses_waits_and_nobody_else() {
    let registry = with_accounts_and(|config| {
        config.proxy.trusted = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    registry.add_user("ann").await;
    let from = async |address: &str, who: &Who| {
        registry.request(reqwest::Method::GET, "/v2/").header("x-forwarded-for", address).by(who).ask().await
    };
    from("192.0.2.2", &Who::user("ann")).await.is(200);
    let mut refused = None;
    for guess in 0..100 {
        let answer = from("192.0.2.1", &basic("ann", &format!("guess {guess}"))).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        answer.fails(401, "UNAUTHORIZED");
    }
    let refused = refused.expect("100 guesses are too many").fails(429, "TOOMANYREQUESTS");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    // Not even the right password is looked at from there, or it would be told from the wrong ones.
    from("192.0.2.1", &Who::user("ann")).await.is(429);
    // From where she has signed in before, she still can.
    from("192.0.2.2", &Who::user("ann")).await.is(200);
    from("192.0.2.1", &Who::NOBODY).await.is(401);
}

/// Of a user who is not there nothing else is heard than of one who is.
#[tokio::test]
async fn users_who_are_not_there_are_refused_like_those_who_are() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    let of = async |name: &str| {
        let answer = registry.get_as(&basic(name, "wrong"), "/v2/").await.is(401);
        (answer.header("www-authenticate").unwrap().to_owned(), answer.body.clone())
    };
    assert_eq!(of("ann").await, of("nobody").await);
}

#[tokio::test]
async fn without_accounts_credentials_are_wrong() {
    let registry = crate::harness::TestRegistry::start().await;
    let answer = registry.get_as(&basic("ann", "x"), "/v2/").await.fails(401, "UNAUTHORIZED");
    assert!(answer.text().contains("log out: this registry has no accounts"), "{}", answer.text());
    registry.get("/v2/").await.is(200);
}
