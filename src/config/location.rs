//! Rules for parts of the registry: who is let in below a path, and how clients are asked there.
//!
//! A path stands for the repositories whose addresses begin with it. It is compared with the name that was read of a
//! request, never with the text that a client sent, of which there are many for the same name.

use std::fmt;

use accounts::Tree;
use clap::ValueEnum;

use super::value::{Choice, Member, Part, RawValue, Refused, TomlValue, ValueType, choice};
use super::{file, nearest};

/// A rule for a part of the registry.
#[derive(Clone, Debug, PartialEq)]
pub struct Location {
    /// The repositories whose addresses begin with its path.
    pub tree: Tree,
    /// Who is let in.
    pub auth: Admits,
    /// What a client is told that its password is for, where it is asked for one.
    pub realm: Option<String>,
}

/// Who is let in to a part of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Admits {
    /// Whoever asks, to pull
    Open,
    /// Who has an account; asked for a password on each request
    Basic,
    /// Who has an account; asked with the token protocol
    Token,
}

impl Location {
    /// Its path, as it is written.
    fn path(&self) -> String {
        match &self.tree {
            Tree::All => "/v2/".to_owned(),
            Tree::Of(top) => format!("/v2/{top}/"),
        }
    }
}

/// Rules for parts of the registry: a list of tables, also in a variable.
pub(super) fn locations() -> Locations {
    Locations(choice::<Admits>())
}

pub(super) struct Locations(Choice);

const KEYS: [&str; 3] = ["path", "auth", "realm"];

impl ValueType<Vec<Location>> for Locations {
    fn read(&self, given: &RawValue) -> Result<Vec<Location>, Refused> {
        let items = match given {
            RawValue::List(items) => items.clone(),
            RawValue::Text(text) => match file::value(text) {
                Some(RawValue::List(items)) => items,
                _ => {
                    return Err(Refused::because(
                        "write it as in the file, with the brackets and the quotes",
                    ));
                }
            },
            RawValue::Table(_) => {
                return Err(Refused::because("write a list: [{ … }], or a heading in double brackets"));
            }
            _ => return Err(Refused::default()),
        };
        let mut locations: Vec<Location> = Vec::new();
        for item in &items {
            let RawValue::Table(members) = item else { return Err(Refused::default()) };
            let location = self.location(members)?;
            if locations.iter().any(|known| known.tree == location.tree) {
                return Err(wrong(find(members, "path"), format!("there are two for {}", location.path())));
            }
            locations.push(location);
        }
        Ok(locations)
    }

    fn write(&self, value: &Vec<Location>) -> TomlValue {
        let write = |location: &Location| {
            let mut members =
                vec![("path", TomlValue::String(location.path())), ("auth", self.0.write(&location.auth))];
            members.extend(location.realm.clone().map(|realm| ("realm", TomlValue::String(realm))));
            TomlValue::Table(members)
        };
        TomlValue::List(value.iter().map(write).collect())
    }

    fn expects(&self) -> String {
        format!("a list of tables such as {EXAMPLE}")
    }
}

impl Locations {
    fn location(&self, members: &[Member]) -> Result<Location, Refused> {
        if let Some(unknown) = members.iter().find(|member| !KEYS.contains(&member.key.as_str())) {
            let refused = wrong(Some(unknown), format!("unknown key `{}`", unknown.key));
            let hint = match nearest(&unknown.key, KEYS) {
                Some(key) => format!("did you mean `{key}`?"),
                None => format!("the keys are `{}`", KEYS.join("`, `")),
            };
            return Err(Refused { hint: Some(hint), ..refused });
        }
        let needed = |key| {
            find(members, key).ok_or_else(|| {
                let refused = wrong(members.first(), format!("`{key}` is missing"));
                Refused { hint: Some(format!("expected a table such as {EXAMPLE}")), ..refused }
            })
        };
        let path = needed("path")?;
        let tree = path.value.text().ok_or(None).and_then(tree).map_err(|hint| {
            let refused = not(path, r#"a path such as "/v2/" or "/v2/official/""#);
            Refused { hint: hint.map(str::to_owned), ..refused }
        })?;
        let auth = needed("auth")?;
        let admits = self.0.read(&auth.value).map_err(|refused| Refused {
            hint: refused.hint,
            ..not(auth, ValueType::<Admits>::expects(&self.0))
        })?;
        let realm = find(members, "realm");
        if let Some(realm) = realm.filter(|_| admits != Admits::Basic) {
            return Err(wrong(Some(realm), r#"only `auth = "basic"` has a `realm`"#));
        }
        let realm = realm.map(|member| {
            let text = member.value.text().filter(|text| is_realm(text));
            text.map(str::to_owned)
                .ok_or_else(|| not(member, r#"a few words in ASCII, without " and \, such as "Restricted""#))
        });
        Ok(Location { tree, auth: admits, realm: realm.transpose()? })
    }
}

const EXAMPLE: &str = r#"{ path = "/v2/official/", auth = "open" }"#;

fn find<'m>(members: &'m [Member], key: &str) -> Option<&'m Member> {
    members.iter().find(|member| member.key == key)
}

fn wrong(member: Option<&Member>, wrong: impl Into<String>) -> Refused {
    let place = member.and_then(|member| member.place.clone());
    Refused { part: Some(Part { wrong: wrong.into(), place }), hint: None }
}

fn not(member: &Member, expected: impl fmt::Display) -> Refused {
    wrong(Some(member), format!("`{}` is {}; expected {expected}", member.key, member.value))
}

/// What can stand in a header between quotes as it is.
fn is_realm(text: &str) -> bool {
    let fits = |char: char| (char.is_ascii_graphic() || char == ' ') && !"\"\\".contains(char);
    !text.is_empty() && text.chars().all(fits)
}

/// The repositories whose addresses begin with this path; else what to do about it, where that can be said.
fn tree(path: &str) -> Result<Tree, Option<&'static str>> {
    let Some(below) = path.strip_prefix("/v2/") else {
        return Err(Some(
            "it begins with /v2/, below which every repository is; everything else has its own rule: search and the \
             catalog show what may be pulled, and `_ping` is open",
        ));
    };
    if below.is_empty() {
        return Ok(Tree::All);
    }
    let top =
        below.strip_suffix('/').ok_or(Some("add a slash at its end: it stands for all that is below"))?;
    top.parse()
        .map(Tree::Of)
        .map_err(|_| Some("between /v2/ and the last slash stands the beginning of a repository's name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Location>, Refused> {
        locations().read(&RawValue::Text(text.to_owned()))
    }

    fn told(text: &str) -> (String, String) {
        let Refused { part, hint } = read(text).unwrap_err();
        (part.map(|part| part.wrong).unwrap_or_default(), hint.unwrap_or_default())
    }

    #[test]
    fn locations_are_read_as_they_are_written() {
        let text = r#"[{ path = "/v2/", auth = "basic", realm = "Our Registry" }, { path = "/v2/official/a/", auth = "open" }, { path = "/v2/x/", auth = "token" }]"#;
        let found = read(text).unwrap();
        assert_eq!(
            found[0],
            Location { tree: Tree::All, auth: Admits::Basic, realm: Some("Our Registry".to_owned()) }
        );
        assert_eq!(found[1].tree, Tree::Of("official/a".parse().unwrap()));
        assert_eq!(locations().write(&found).to_string(), text);
        let json = serde_json::to_value(locations().write(&found)).unwrap();
        assert_eq!(json[2], serde_json::json!({ "path": "/v2/x/", "auth": "token" }));
        assert_eq!(read("[]"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_location_is_told_what_to_write() {
        let item = |members: &str| told(&format!("[{{ {members} }}]"));
        let (wrong, hint) = item(r#"pth = "/v2/", auth = "open""#);
        assert_eq!((wrong.as_str(), hint.as_str()), ("unknown key `pth`", "did you mean `path`?"));
        assert_eq!(item(r#"auth = "open""#).0, "`path` is missing");
        assert_eq!(item(r#"path = "/v2/""#).0, "`auth` is missing");
        let (wrong, hint) = item(r#"path = "/v2/", auth = "opne""#);
        assert_eq!(wrong, r#"`auth` is "opne"; expected "open" or "basic" or "token""#);
        assert_eq!(hint, r#"did you mean "open"?"#);
        for (path, says) in
            [("/auth/", "begins with /v2/"), ("/v2/a", "add a slash"), ("/v2/A/", "name"), ("/v2//", "name")]
        {
            let (wrong, hint) = item(&format!(r#"path = "{path}", auth = "open""#));
            assert!(wrong.starts_with("`path` is ") && hint.contains(says), "{path}: {wrong} {hint}");
        }
        assert!(item(r#"path = "/v2/", auth = "open", realm = "x""#).0.contains("realm"));
        for realm in [r#"a\"b"#, "", "ü"] {
            let (wrong, _) = item(&format!(r#"path = "/v2/", auth = "basic", realm = "{realm}""#));
            assert!(wrong.starts_with("`realm` is "), "{wrong}");
        }
        assert!(
            told(r#"[{ path = "/v2/", auth = "open" }, { path = "/v2/", auth = "token" }]"#)
                .0
                .contains("two")
        );
        for text in ["", "open", "/v2/ open", "[1]\nlisten = 2", "{}", "1"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(told("/v2/ open").1, "write it as in the file, with the brackets and the quotes");
    }
}
