//! `proxy` of distribution: the upstream of its pull-through cache becomes an `[[upstream]]` with `default =
//! true`.

use hyper::Uri;

use super::super::value::{Member, RawValue};
use super::draft::Draft;
use super::report::{Outcome, dropped, refused};
use super::yaml::Node;

/// The hosts of Docker Hub, whose images clients know as those of docker.io.
const DOCKER_HUB: [&str; 3] = ["registry-1.docker.io", "index.docker.io", "registry.hub.docker.com"];
const DOCKER_IO: &str = "docker.io";
/// A file for the password, which no output shows.
const PASSWORD_FILE: &str = "/etc/wharfinger/upstream-password";

/// The URL of the upstream, if the registry is a cache.
pub(super) fn remote(root: &Node) -> Option<&str> {
    root.get("proxy.remoteurl").and_then(Node::text).filter(|url| !url.is_empty())
}

/// Reads the URL, with the credentials beside it.
pub(super) fn remote_url(draft: &mut Draft, root: &Node, _: &Node) -> Outcome {
    let Some(url) = remote(root) else {
        return dropped("it is empty, and the registry is not a cache");
    };
    let host = url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_owned));
    let Some(host) = host else { return refused(format!("{url:?} is not the URL of a registry")) };
    let name = if DOCKER_HUB.contains(&host.as_str()) { DOCKER_IO } else { &host };
    let mut members = Vec::new();
    let mut set =
        |key: &str, value: RawValue| members.push(Member { key: key.to_owned(), value, place: None });
    let text = |text: &str| RawValue::String(text.to_owned());
    set("name", text(name));
    set("url", text(url.trim_end_matches('/')));
    set("default", RawValue::Boolean(true));
    let user = root.get("proxy.username").and_then(Node::text).filter(|user| !user.is_empty());
    let helper = root.get("proxy.exec.command").and_then(Node::text).filter(|command| !command.is_empty());
    if let Some(helper) = helper {
        set("credential_helper", text(helper));
    } else if let Some(user) = user {
        set("username", text(user));
        set("password_file", text(PASSWORD_FILE));
    }
    let has_accounts =
        root.get("auth").is_some_and(|auth| !auth.members().is_empty() && auth.get("none").is_none());
    if !has_accounts {
        // Without accounts, every client could pull and none could push. Accounts of this registry may push.
        set("fill", text("everyone"));
        set("open_to", RawValue::List(vec![text("0.0.0.0/0"), text("::/0")]));
    }
    if let Err(reason) = draft.set("upstream", &RawValue::List(vec![RawValue::Table(members)])) {
        return refused(reason);
    }
    if helper.is_none() && user.is_some() {
        draft.note(format!(
            "write the password of `proxy` into {PASSWORD_FILE}, readable for the server alone"
        ));
    }
    draft.note(format!(
        "images of {host} have the name {name}/… here, and also the name without it. Give the server an empty data \
         directory: images that the old cache has fetched would be this registry's own, and never be refreshed"
    ));
    if !has_accounts {
        draft.note(
            "as before, everyone may pull and nobody without an account may push: `auth.required` keeps the server from \
             a start without one. Make it: wharfinger user add NAME --admin",
        );
    }
    Outcome::Taken { settings: vec!["upstream"] }
}

/// Reads a credential, which is part of the upstream.
pub(super) fn credential(_: &mut Draft, root: &Node, _: &Node) -> Outcome {
    match remote(root) {
        Some(_) => Outcome::Taken { settings: vec!["upstream"] },
        None => dropped("`proxy.remoteurl` is missing, and the registry is not a cache"),
    }
}
