//! `notifications` of distribution: each endpoint becomes a `[[webhook]]` in distribution's format.

use super::super::value::{Member, RawValue};
use super::draft::Draft;
use super::readers::taken;
use super::report::{Outcome, dropped};
use super::yaml::Node;

/// The events of distribution, as events here. The first word is distribution's action.
const EVENTS: [(&str, &[&str]); 3] = [
    ("push", &["push", "blob.pushed"]),
    ("pull", &["pull"]),
    ("delete", &["tag.deleted", "manifest.deleted", "repository.deleted", "blob.deleted"]),
];
const BLOB: &str = "application/octet-stream";

pub(super) fn references(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match node.boolean() {
        Some(false) => Outcome::Taken { settings: Vec::new() },
        _ => dropped(
            "events name the digest of a manifest, and not its references; fetch the manifest for them",
        ),
    }
}

/// Reads the list of endpoints. Adds a finding for each key of each endpoint that differs here.
pub(super) fn endpoints(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    let mut webhooks = Vec::new();
    let (mut wants_pulls, mut problem) = (false, None);
    for item in node.items() {
        let Some(url) = item.get("url").and_then(Node::text).filter(|url| !url.is_empty()) else {
            problem = Some("an endpoint has no `url`".to_owned());
            continue;
        };
        if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            problem = Some(format!("{url:?} is not an HTTP address"));
            continue;
        }
        let is_disabled = item.get("disabled").and_then(Node::boolean) == Some(true);
        report_differences(draft, item);
        if is_disabled {
            problem = Some(format!("{url} is disabled"));
            continue;
        }
        let events = events(item);
        wants_pulls |= events.contains(&"pull");
        webhooks.push(webhook(item, url, &events));
    }
    if webhooks.is_empty() {
        return dropped(problem.unwrap_or_else(|| "it lists no endpoint".to_owned()));
    }
    let outcome = taken(draft.set("webhook", &RawValue::List(webhooks)));
    if let Outcome::Taken { .. } = outcome {
        if let Some(problem) = problem {
            draft.note(format!("`notifications.endpoints`: {problem}, and is left out"));
        }
        if wants_pulls {
            // A number is accepted.
            let _ = draft.set("events.pulls", &RawValue::Integer(1));
            draft.note(
                "`events.pulls = 1`: as before, each pull is an event, and each is written to the disk. If no receiver \
                 needs them, remove the line, and `pull` from the `events` of `[[webhook]]`",
            );
        }
        draft.note(
            "`webhook`: notifications keep distribution's format, one for each tag. Mounts are pushes here, and a \
             notification has no user agent",
        );
    }
    outcome
}

fn webhook(item: &Node, url: &str, events: &[&str]) -> RawValue {
    let texts = |items: Vec<String>| RawValue::List(items.into_iter().map(RawValue::String).collect());
    let member = |key: &str, value: RawValue| Member { key: key.to_owned(), value, place: None };
    let mut members = vec![
        member("url", RawValue::String(url.to_owned())),
        member("events", texts(events.iter().map(|event| (*event).to_owned()).collect())),
        member("format", RawValue::String("distribution".to_owned())),
        // Distribution sends to every address.
        member("allow_private", RawValue::Boolean(true)),
    ];
    let headers = item.get("headers").map(headers).unwrap_or_default();
    if !headers.is_empty() {
        members.push(member("headers", texts(headers)));
    }
    if let Some(name) = item.get("name").and_then(Node::text).filter(|name| fits(name)) {
        members.push(member("name", RawValue::String(name.to_owned())));
    }
    RawValue::Table(members)
}

/// Whether a name is accepted by `[[webhook]]`.
fn fits(name: &str) -> bool {
    let is_plain = name.chars().all(|char| char.is_ascii_alphanumeric() || "._-".contains(char));
    is_plain && !name.starts_with(|char: char| char.is_ascii_digit()) && !name.is_empty()
}

/// The headers as lines. A header has a list of values, or one.
fn headers(node: &Node) -> Vec<String> {
    let lines = node.members().iter().flat_map(|(name, values)| {
        let values =
            if values.items().is_empty() { values.text().into_iter().collect() } else { values.texts() };
        values.into_iter().map(move |value| format!("{name}: {value}"))
    });
    lines.collect()
}

/// The events that an endpoint does not ignore.
fn events(item: &Node) -> Vec<&'static str> {
    let texts = |path: &str| item.get(path).map(Node::texts).unwrap_or_default();
    let ignored = texts("ignore.actions");
    let ignores_blobs =
        texts("ignore.mediatypes").contains(&BLOB) || texts("ignoredmediatypes").contains(&BLOB);
    let kept = EVENTS.iter().filter(|(action, _)| !ignored.contains(action));
    kept.flat_map(|(_, events)| *events)
        .copied()
        .filter(|event| !(ignores_blobs && event.starts_with("blob.")))
        .collect()
}

fn report_differences(draft: &mut Draft, item: &Node) {
    let mut differs = |path: &str, reason: &str| {
        if let Some(node) = item.get(path) {
            draft.find(&format!("notifications.endpoints.{path}"), &node.place, dropped(reason));
        }
    };
    differs("timeout", "the limit of a request is 10 s");
    differs("threshold", "each failed delivery is tried again, first after 1 s");
    differs("backoff", "the delay doubles from 1 s to 10 minutes");
    let ignores_others = |path: &str| {
        item.get(path).is_some_and(|node| node.texts().into_iter().any(|media_type| media_type != BLOB))
    };
    for path in ["ignoredmediatypes", "ignore.mediatypes"] {
        if ignores_others(path) {
            differs(
                path,
                "`media_types` of `[[webhook]]` lists the types that are sent, and not those that are not",
            );
        }
    }
    if item.get("name").and_then(Node::text).is_some_and(|name| !fits(name)) {
        differs("name", "names have ASCII letters, digits, . _ and -; one is made of the URL");
    }
}
