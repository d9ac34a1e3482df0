//! `storage.azure` of distribution: the container becomes that of `[blobs]`, with a prefix of its own.

use super::draft::Draft;
use super::object_store::{is_redirect_disabled, part_of, place};
use super::readers::{is_default, taken};
use super::report::{Outcome, dropped};
use super::yaml::Node;

/// A file for the key of the account, which no output shows.
const KEY_FILE: &str = "/etc/wharfinger/azure-key";
/// The realm of Azure's public cloud.
const REALM: &str = "core.windows.net";

pub(super) const IDENTITY: &str = "identities are in the environment of the server: AZURE_STORAGE_ACCOUNT_NAME, \
     AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET";

fn text<'a>(root: &'a Node, key: &str) -> Option<&'a str> {
    root.get("storage.azure")?.get(key)?.text().filter(|text| !text.is_empty())
}

pub(super) fn container(draft: &mut Draft, root: &Node, _: &Node) -> Outcome {
    let Some(container) = text(root, "container") else { return dropped("it is empty") };
    let directory = text(root, "rootdirectory").unwrap_or_default();
    match place(draft, root, &format!("az://{container}"), directory) {
        Ok(url) => {
            if !is_redirect_disabled(root) {
                // Not switched on: redirections to Azure were never run.
                draft.note(
                    "downloads pass through the server; `blobs.redirect = \"always\"` sends clients to the container, as \
                     before",
                );
            }
            Outcome::Taken { settings: vec![url] }
        }
        Err(outcome) => outcome,
    }
}

/// Reads a part of the prefix, which [`container`] sets.
pub(super) fn directory(_: &mut Draft, root: &Node, _: &Node) -> Outcome {
    match text(root, "container") {
        Some(_) => part_of("blobs.url"),
        None => dropped("`container` is missing"),
    }
}

pub(super) fn account(draft: &mut Draft, root: &Node, node: &Node) -> Outcome {
    let Some(name) = node.text().filter(|name| !name.is_empty()) else { return dropped("it is empty") };
    if text(root, "accountkey").is_none() {
        return dropped(
            "`accountkey` is missing; set AZURE_STORAGE_ACCOUNT_NAME in the environment of the server, which uses the \
             role of the machine",
        );
    }
    taken(draft.set_text("blobs.access_key", name))
}

pub(super) fn account_key(draft: &mut Draft, root: &Node, node: &Node) -> Outcome {
    if node.text().is_none_or(str::is_empty) {
        return is_default();
    }
    if text(root, "accountname").is_none() {
        return dropped("`accountname` is missing, and the key has no use without it");
    }
    draft.note(format!("write `accountkey` into {KEY_FILE}, readable for the server alone"));
    taken(draft.set_text("blobs.secret_key_file", KEY_FILE))
}

pub(super) fn credentials(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match node.text() {
        None | Some("" | "shared_key" | "default_credentials") => is_default(),
        Some(_) => dropped(IDENTITY),
    }
}

/// Reads the domain of another cloud.
pub(super) fn realm(draft: &mut Draft, root: &Node, node: &Node) -> Outcome {
    let Some(realm) = node.text().filter(|realm| !matches!(*realm, "" | REALM)) else { return is_default() };
    if text(root, "serviceurl").is_some() {
        return dropped("`serviceurl` has the whole address");
    }
    match text(root, "accountname") {
        Some(account) => taken(draft.set_text("blobs.endpoint", &format!("https://{account}.blob.{realm}"))),
        None => dropped("`accountname` is missing"),
    }
}

pub(super) fn service(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match node.text().filter(|url| !url.is_empty()) {
        Some(url) => taken(draft.set_text("blobs.endpoint", url)),
        None => is_default(),
    }
}
