//! The environment variables of distribution: `REGISTRY_HTTP_ADDR` replaces `addr` in `http`.

use super::yaml::{self, Node, Place, Value};

const PREFIX: &str = "REGISTRY_";

/// Replaces values of the configuration by those of variables. Returns the variables that name no key, which
/// distribution ignores as well.
///
/// # Errors
/// The name of a variable that distribution would not accept, with the reason.
pub(super) fn overlay(
    root: &mut Node,
    variables: &[(String, String)],
    is_top_level: impl Fn(&str) -> bool,
) -> Result<Vec<String>, (String, String)> {
    let mut variables: Vec<_> = variables.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    // Distribution's order: `REGISTRY_AUTH` comes before `REGISTRY_AUTH_HTPASSWD_PATH`.
    variables.sort();
    let mut ignored = Vec::new();
    for (name, value) in variables {
        let path: Vec<String> = name[PREFIX.len()..].split('_').map(str::to_ascii_lowercase).collect();
        if !is_top_level(&path[0]) {
            ignored.push(name.clone());
            continue;
        }
        let place = Place::Variable(name.clone());
        let target = descend(root, &path, &place).map_err(|reason| (name.clone(), reason))?;
        // A value that is no YAML, such as a secret with a colon, is text.
        let value = yaml::parse(value).map_or_else(|_| Value::Scalar(value.clone()), |node| node.value);
        *target = placed(Node { place: place.clone(), value }, &place);
    }
    Ok(ignored)
}

/// Gives a value and its parts one place.
fn placed(node: Node, place: &Place) -> Node {
    let value = match node.value {
        Value::List(items) => Value::List(items.into_iter().map(|item| placed(item, place)).collect()),
        Value::Map(members) => {
            Value::Map(members.into_iter().map(|(name, node)| (name, placed(node, place))).collect())
        }
        scalar => scalar,
    };
    Node { place: place.clone(), value }
}

/// Finds the node at a path, and creates missing nodes.
fn descend<'a>(node: &'a mut Node, path: &[String], place: &Place) -> Result<&'a mut Node, String> {
    let Some((key, rest)) = path.split_first() else { return Ok(node) };
    // `auth: htpasswd` is short for a map with this key.
    if let Value::Scalar(name) = &node.value {
        let member = (name.clone(), Node::null(node.place.clone()));
        node.value = Value::Map(vec![member]);
    }
    if node.value == Value::Null {
        *node = Node {
            place: place.clone(),
            value: if key.parse::<usize>().is_ok() {
                Value::List(Vec::new())
            } else {
                Value::Map(Vec::new())
            },
        };
    }
    match &mut node.value {
        Value::List(items) => {
            let index: usize = key.parse().map_err(|_| format!("“{key}” is not an index of a list"))?;
            if index > items.len() {
                return Err(format!("the list has no item {index}"));
            }
            if index == items.len() {
                items.push(Node::null(place.clone()));
            }
            descend(&mut items[index], rest, place)
        }
        Value::Map(members) => {
            let known = members.iter().position(|(name, _)| name.eq_ignore_ascii_case(key));
            let index = known.unwrap_or_else(|| {
                members.push((key.clone(), Node::null(place.clone())));
                members.len() - 1
            });
            descend(&mut members[index].1, rest, place)
        }
        Value::Null | Value::Scalar(_) => Err("the value above it is not a map".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaid(text: &str, variables: &[(&str, &str)]) -> (Node, Vec<String>) {
        let mut root = yaml::parse(text).unwrap();
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let ignored =
            overlay(&mut root, &variables, |key| ["http", "auth", "storage"].contains(&key)).unwrap();
        (root, ignored)
    }

    #[test]
    fn variables_replace_and_add_values() {
        let (root, ignored) = overlaid(
            "http: {addr: ':1', tls: {letsencrypt: {hosts: [a]}}}\nstorage: filesystem\n",
            &[
                ("REGISTRY_HTTP_ADDR", ":2"),
                ("REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS_1", "b"),
                ("REGISTRY_HTTP_TLS_CLIENTCAS_0", "/ca.pem"),
                ("REGISTRY_HTTP_SECRET", "a: b: c"),
                ("REGISTRY_AUTH", "htpasswd"),
                ("REGISTRY_AUTH_HTPASSWD_PATH", "/passwd"),
                ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/data"),
                ("REGISTRY_PORT_5000_TCP", "tcp://10.0.0.1:5000"),
                ("PATH", "/bin"),
            ],
        );
        let text = |path: &str| root.get(path).and_then(Node::text).map(str::to_owned);
        assert_eq!(text("http.addr").as_deref(), Some(":2"));
        assert_eq!(root.get("http.tls.letsencrypt.hosts").unwrap().texts(), ["a", "b"]);
        assert_eq!(root.get("http.tls.clientcas").unwrap().texts(), ["/ca.pem"]);
        assert_eq!(text("http.secret").as_deref(), Some("a: b: c"));
        assert_eq!(text("auth.htpasswd.path").as_deref(), Some("/passwd"));
        assert_eq!(text("storage.filesystem.rootdirectory").as_deref(), Some("/data"));
        assert_eq!(root.get("http.addr").unwrap().place, Place::Variable("REGISTRY_HTTP_ADDR".to_owned()));
        assert_eq!(ignored, ["REGISTRY_PORT_5000_TCP"]);
    }

    #[test]
    fn variable_with_a_wrong_index_is_an_error() {
        let mut root = yaml::parse("http: {hosts: [a]}").unwrap();
        let variables = [("REGISTRY_HTTP_HOSTS_5".to_owned(), "x".to_owned())];
        let (name, reason) = overlay(&mut root, &variables, |_| true).unwrap_err();
        assert_eq!((name.as_str(), reason.as_str()), ("REGISTRY_HTTP_HOSTS_5", "the list has no item 5"));
    }
}
