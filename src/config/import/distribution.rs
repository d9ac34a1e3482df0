//! Reads a configuration of distribution's registry, version 2 or 3, with its environment variables.

use std::path::Path;

use super::super::error::{ConfigError, Excerpt};
use super::draft::Draft;
use super::keys::{self, Rule};
use super::report::Outcome;
use super::yaml::{self, Node, Place, Value};
use super::{environment, object_store, readers};
use crate::config::nearest;

/// The configuration inside the registry image, for an import of variables alone.
const IMAGE_CONFIGURATION: &str =
    "version: 0.1\nstorage: {filesystem: {rootdirectory: /var/lib/registry}}\nhttp: {addr: ':5000'}\n";

/// Reads the file, or the configuration of the registry image without one, and the variables.
pub(super) fn read(
    draft: &mut Draft,
    file: Option<(&Path, &str)>,
    variables: &[(String, String)],
) -> Result<(), Box<ConfigError>> {
    let mut root = match file {
        Some((path, text)) => parse(path, text)?,
        None => image_configuration(),
    };
    draft.file = file.map(|(path, _)| path.to_owned());
    let ignored =
        environment::overlay(&mut root, variables, keys::is_top_level).map_err(|(name, reason)| {
            Box::new(ConfigError::new(format!("{name} in the environment: {reason}")))
        })?;
    for name in ignored {
        let outcome = Outcome::Unknown { reason: "distribution ignores this variable".to_owned() };
        draft.find(&name, &Place::Variable(name.clone()), outcome);
    }
    let root = object_store::renamed(written_out(root));
    walk(draft, &root, &root, "");
    readers::finish(draft, &root);
    Ok(())
}

fn parse(path: &Path, text: &str) -> Result<Node, Box<ConfigError>> {
    let failed = |line: usize, message: &str| {
        let start = text.lines().take(line.saturating_sub(1)).map(|line| line.len() + 1).sum();
        let excerpt = Excerpt::new(path, text, start);
        Box::new(ConfigError::new(format!("{} line {line}: {message}", path.display())).at(excerpt))
    };
    let root =
        yaml::parse(text).map_err(|error| failed(error.line, &format!("not YAML: {}", error.message)))?;
    if root.members().is_empty() {
        return Err(failed(1, "no configuration of a registry: it has no keys"));
    }
    match root.get("version").and_then(Node::text) {
        Some("0.1") => Ok(root),
        Some(version) => {
            Err(failed(1, &format!("version {version:?} is unknown; registries 2 and 3 have 0.1")))
        }
        None => Err(failed(1, "no configuration of a registry: `version` is missing")),
    }
}

fn image_configuration() -> Node {
    fn placed(node: Node) -> Node {
        let value = match node.value {
            Value::Map(members) => {
                Value::Map(members.into_iter().map(|(name, node)| (name, placed(node))).collect())
            }
            value => value,
        };
        Node { place: Place::ImageDefault, value }
    }
    yaml::parse(IMAGE_CONFIGURATION).map_or_else(|_| Node::null(Place::ImageDefault), placed)
}

/// Replaces the short forms `storage: inmemory` and `auth: silly` by maps.
fn written_out(mut root: Node) -> Node {
    if let Value::Map(members) = &mut root.value {
        for (_, node) in members.iter_mut().filter(|(name, _)| name == "storage" || name == "auth") {
            if let Value::Scalar(kind) = &node.value {
                let member = (kind.clone(), Node::null(node.place.clone()));
                *node = Node { place: node.place.clone(), value: Value::Map(vec![member]) };
            }
        }
    }
    root
}

/// Applies the table to every key.
fn walk(draft: &mut Draft, root: &Node, node: &Node, path: &str) {
    for (name, node) in node.members() {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match keys::rule(&key) {
            Some(Rule::Read(read)) => {
                draft.at(&key, &node.place);
                let outcome = read(draft, root, node);
                draft.find(&key, &node.place, outcome);
            }
            Some(Rule::None(reason)) => {
                let outcome = Outcome::NoCounterpart { reason: (*reason).to_owned() };
                draft.find(&key, &node.place, outcome);
            }
            Some(Rule::Refuse(reason)) => {
                draft.find(&key, &node.place, Outcome::Refused { reason: (*reason).to_owned() });
            }
            None if keys::is_section(&key) && is_map(node) => walk(draft, root, node, &key),
            None if keys::is_section(&key) => draft.find(&key, &node.place, no_map(&key)),
            None => {
                let outcome = unknown(&key, node);
                draft.find(&key, &node.place, outcome);
            }
        }
    }
}

/// Whether distribution accepts the value for a section.
fn is_map(node: &Node) -> bool {
    matches!(node.value, Value::Map(_) | Value::Null)
}

fn no_map(key: &str) -> Outcome {
    let reason = "its value is not a map, and distribution does not start with it".to_owned();
    match key {
        "auth" => Outcome::Refused { reason },
        _ => Outcome::NoCounterpart { reason },
    }
}

/// Decides about a key that distribution does not document.
fn unknown(key: &str, node: &Node) -> Outcome {
    if key.starts_with("auth.") {
        return Outcome::Refused {
            reason: "an unknown kind of authentication; without it, everyone could push".to_owned(),
        };
    }
    if key.starts_with("storage.") && !matches!(node.value, Value::Scalar(_)) {
        return Outcome::NoCounterpart {
            reason: "an unknown storage driver; this registry keeps its data in a directory or a bucket"
                .to_owned(),
        };
    }
    let reason = match nearest(key, keys::KEYS.iter().map(|(known, _)| *known)) {
        Some(known) => format!("distribution has no such key, and ignores it; did you mean `{known}`?"),
        None => "distribution has no such key, and ignores it".to_owned(),
    };
    Outcome::Unknown { reason }
}
