//! A YAML parser that keeps the line of each value, for the messages of an import.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, StrInput};

/// Nesting beyond any real configuration, so that a hostile file cannot exhaust the stack.
const MAX_DEPTH: usize = 64;
/// Aliases multiply values, so their number is bounded.
const MAX_NODES: usize = 100_000;

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Line(usize),
    /// An environment variable.
    Variable(String),
    /// The configuration inside the registry image.
    ImageDefault,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// A syntax error with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) message: String,
}

impl Node {
    pub(super) fn null(place: Place) -> Self {
        Self { place, value: Value::Null }
    }

    /// Returns the value of a key of a map, at a path such as `http.tls`.
    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, |node, key| match &node.value {
            Value::Map(members) => members.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        })
    }

    /// Returns the text of a scalar. Null and collections have none.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a boolean, in the notations of YAML 1.1 that distribution accepts.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => None,
        }
    }

    /// Returns the texts of a list, or of a single scalar.
    pub(super) fn texts(&self) -> Vec<&str> {
        match &self.value {
            Value::List(items) => items.iter().filter_map(Node::text).collect(),
            _ => self.text().into_iter().collect(),
        }
    }

    pub(super) fn members(&self) -> &[(String, Node)] {
        match &self.value {
            Value::Map(members) => members,
            _ => &[],
        }
    }

    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    fn count(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Node::count).sum::<usize>(),
            Value::Map(members) => members.iter().map(|(_, node)| node.count()).sum::<usize>(),
            Value::Null | Value::Scalar(_) => 0,
        }
    }
}

/// Parses the first document. An empty text is null.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut builder = Builder { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    loop {
        match builder.next()? {
            Some((Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _)) => {}
            Some((Event::StreamEnd | Event::DocumentEnd, line)) => return Ok(Node::null(Place::Line(line))),
            Some((event, line)) => return builder.node(event, line, 0),
            None => return Ok(Node::null(Place::Line(1))),
        }
    }
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, usize)>, SyntaxError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok(Some((event, span.start.line()))),
            Some(Err(error)) => {
                Err(SyntaxError { line: error.marker().line(), message: error.info().to_owned() })
            }
            None => Ok(None),
        }
    }

    fn expect(&mut self) -> Result<(Event<'a>, usize), SyntaxError> {
        self.next()?.ok_or_else(|| SyntaxError { line: 1, message: "the document ends too early".to_owned() })
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, SyntaxError> {
        let place = Place::Line(line);
        let error = |message: &str| SyntaxError { line, message: message.to_owned() };
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(error("the document is nested too deeply or too large"));
        }
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_plain = style == saphyr_parser::ScalarStyle::Plain;
                let is_null = is_plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                (anchor, if is_null { Value::Null } else { Value::Scalar(text.into_owned()) })
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.expect()? {
                        (Event::SequenceEnd, _) => break,
                        (event, line) => items.push(self.node(event, line, depth + 1)?),
                    }
                }
                (anchor, Value::List(items))
            }
            Event::MappingStart(anchor, _) => (anchor, Value::Map(self.members(depth)?)),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).ok_or_else(|| error("unknown alias"))?.clone();
                self.nodes += node.count();
                return Ok(Node { place, ..node });
            }
            _ => return Err(error("unexpected end of a collection")),
        };
        let node = Node { place, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// Reads the members of a map up to its end. A merge key (`<<`) adds the members that are not given.
    fn members(&mut self, depth: usize) -> Result<Vec<(String, Node)>, SyntaxError> {
        let (mut members, mut merged) = (Vec::new(), Vec::new());
        loop {
            let key = match self.expect()? {
                (Event::MappingEnd, _) => break,
                (event, line) => self.node(event, line, depth + 1)?,
            };
            let (event, line) = self.expect()?;
            let node = self.node(event, line, depth + 1)?;
            match (&key.value, &node.value) {
                (Value::Scalar(name), Value::Map(more)) if name == "<<" => merged.extend(more.clone()),
                (Value::Scalar(name), Value::List(more)) if name == "<<" => {
                    merged.extend(more.iter().flat_map(|node| node.members().to_vec()));
                }
                (Value::Scalar(name), _) => {
                    insert(&mut members, name.clone(), Node { place: key.place, ..node })
                }
                (Value::Null, _) => insert(&mut members, "null".to_owned(), node),
                _ => {
                    return Err(SyntaxError { line, message: "a key is not text".to_owned() });
                }
            }
        }
        for (name, node) in merged {
            if !members.iter().any(|(given, _)| *given == name) {
                members.push((name, node));
            }
        }
        Ok(members)
    }
}

/// Adds a member. The values of a key that is given twice are combined as distribution does: maps are merged,
/// and the last of other values counts.
fn insert(members: &mut Vec<(String, Node)>, name: String, node: Node) {
    let Some((_, given)) = members.iter_mut().find(|(given, _)| *given == name) else {
        members.push((name, node));
        return;
    };
    match (&mut given.value, node.value) {
        (Value::Map(given), Value::Map(more)) => {
            for (name, node) in more {
                insert(given, name, node);
            }
        }
        (_, value) => *given = Node { place: node.place, value },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_values_keep_their_lines() {
        let root = parse("# x\nhttp:\n  addr: ':5000'\n  hosts: [a, b]\n  off:\nlist:\n- x: 1\n").unwrap();
        let address = root.get("http.addr").unwrap();
        assert_eq!((address.text(), &address.place), (Some(":5000"), &Place::Line(3)));
        assert_eq!(root.get("http.hosts").unwrap().texts(), ["a", "b"]);
        assert_eq!(root.get("http.off").unwrap().value, Value::Null);
        assert_eq!(root.get("list").unwrap().items()[0].get("x").unwrap().text(), Some("1"));
        assert_eq!(parse("").unwrap().value, Value::Null);
    }

    #[test]
    fn yaml_aliases_and_merges_are_resolved() {
        let root = parse("base: &base {a: 1, b: 2}\nmore:\n  <<: *base\n  b: 3\nsame: *base\n").unwrap();
        assert_eq!(root.get("more.a").unwrap().text(), Some("1"));
        assert_eq!(root.get("more.b").unwrap().text(), Some("3"));
        assert_eq!(root.get("same.b").unwrap().text(), Some("2"));
    }

    #[test]
    fn yaml_key_given_twice_is_merged() {
        let root = parse("redis:\n  tls: {key: a}\n  tls: {enabled: false}\nx: 1\nx: 2\n").unwrap();
        assert_eq!(root.get("redis.tls.key").unwrap().text(), Some("a"));
        assert_eq!(root.get("redis.tls.enabled").unwrap().boolean(), Some(false));
        assert_eq!(root.get("x").unwrap().text(), Some("2"));
    }

    #[test]
    fn yaml_bombs_and_mistakes_are_errors() {
        assert_eq!(parse("a: [1\nb: }").unwrap_err().line, 2);
        parse(&"[".repeat(500)).unwrap_err();
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb += &format!("a{level}: &a{level} [{aliases}]\n");
        }
        assert!(parse(&bomb).unwrap_err().message.contains("too large"));
    }
}
