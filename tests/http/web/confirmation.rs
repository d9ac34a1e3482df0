//! Dangerous actions say their effect. Those that the page asks a name for need it.

use reqwest::Method;
use serde_json::json;

use super::{Browser, Html as _};
use crate::harness::{PASSWORD, Who, basic, with_accounts};

/// Returns the confirmation with this action.
#[track_caller]
fn confirmation<'p>(page: &'p str, action: &str) -> &'p str {
    let found = page.split("<details class=\"confirm\">").skip(1).find_map(|part| {
        let form = part.split("</details>").next()?;
        form.contains(&format!("name=\"action\" value=\"{action}\"")).then_some(form)
    });
    found.unwrap_or_else(|| panic!("no confirmation of {action}: {page}"))
}

#[tokio::test]
async fn accounts_are_disabled_and_demoted_by_name() {
    const PAGE: &str = "/-/admin/accounts";
    let registry = with_accounts().await;
    let bob = json!({ "name": "bob", "password": PASSWORD, "administrator": true });
    registry.send_as(&Who::root(), Method::POST, "/api/v1/users", &bob).await.is(201);
    let mut root = Browser::signed_in(&registry, "root").await;
    let page = root.open(PAGE).await.is(200).html();
    let disable = confirmation(&page, "disable");
    for text in [
        "The user and its robots can no longer sign in.",
        "Type bob to confirm",
        "<span class=\"hidden\">Disable bob</span>",
    ] {
        assert!(disable.contains(text), "{text}: {disable}");
    }
    assert!(confirmation(&page, "demote").contains("Type bob to confirm"), "{page}");
    for (action, key) in [("demote", "administrator"), ("disable", "disabled")] {
        let is_set = async || {
            registry.get_as(&Who::root(), "/api/v1/users/bob").await.is(200).json()[key] == json!(true)
        };
        let before = is_set().await;
        for wrong in ["", "&confirmation=bo"] {
            let refused = root.send(PAGE, &format!("action={action}&name=bob{wrong}")).await.is(400).html();
            assert!(refused.contains("Nothing was changed"), "{refused}");
        }
        assert_eq!(is_set().await, before, "{action}");
        root.send(PAGE, &format!("action={action}&name=bob&confirmation=bob")).await.is(200);
        assert_ne!(is_set().await, before, "{action}");
    }
    // What is given back needs no name.
    root.send(PAGE, "action=enable&name=bob").await.is(200);
    root.send(PAGE, "action=promote&name=bob").await.is(200);
}

#[tokio::test]
async fn members_teams_and_robots_are_removed_by_name() {
    const PAGE: &str = "/-/organisations/acme";
    let registry = with_accounts().await;
    for user in ["ann", "bob"] {
        registry.add_user(user).await;
    }
    registry.add_organisation("acme", "ann").await;
    let mut ann = Browser::signed_in(&registry, "ann").await;
    for fields in [
        "action=set-member&user=bob&role=reader",
        "action=add-team&team=devs",
        "action=add-team-member&team=devs&user=bob",
    ] {
        ann.send(PAGE, fields).await.is(200);
    }
    let robot = registry.add_robot("acme+ci").await;
    let page = ann.open(PAGE).await.is(200).html();
    for (action, effect, name) in [
        ("remove-member", "leaves the teams of the organisation", "ann"),
        ("remove-team-member", "that were granted to the team", "bob"),
        ("remove-team", "Its members lose the rights", "devs"),
        ("remove-robot", "Pipelines that use this robot can no longer sign in.", "acme+ci"),
    ] {
        let form = confirmation(&page, action);
        assert!(form.contains(effect) && form.contains(&format!("Type {name} to confirm")), "{form}");
    }
    let secret = confirmation(&page, "robot-secret");
    assert!(secret.contains("stops working at once") && !secret.contains("to confirm"), "{secret}");

    for (fields, name) in [
        ("action=remove-team-member&team=devs&user=bob", "bob"),
        ("action=remove-member&user=bob", "bob"),
        ("action=remove-team&team=devs", "devs"),
        ("action=remove-robot&robot=acme%2Bci", "acme%2Bci"),
    ] {
        let refused = ann.send(PAGE, fields).await.is(400).html();
        assert!(refused.contains("Nothing was changed"), "{refused}");
        let done = ann.send(PAGE, &format!("{fields}&confirmation={name}")).await.is(200).html();
        assert!(done.contains("was removed."), "{fields}: {done}");
    }
    registry.get_as(&robot, "/v2/").await.is(401);
}

#[tokio::test]
async fn tokens_and_grants_show_the_effect_of_a_removal() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    registry.grant("ann", &["pull"], "ann/app").await;
    let token = registry.add_token("ann", &json!({ "label": "laptop" })).await;
    let mut ann = Browser::signed_in(&registry, "ann").await;
    let page = ann.open("/-/account").await.is(200).html();
    let revoke = confirmation(&page, "revoke-token");
    assert!(revoke.contains("Programs that use this token can no longer sign in."), "{revoke}");
    let id = revoke.split("name=\"id\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    ann.send("/-/account", &format!("action=revoke-token&id={id}")).await.is(200);
    registry.get_as(&basic("ann", &token), "/v2/").await.is(401);
    let page = ann.open("/-/grants").await.is(200).html();
    let remove = confirmation(&page, "remove");
    assert!(remove.contains("The rights of this grant end at once."), "{remove}");
}
