//! `[[auth.locations]]`: access rules for the repositories below a path, and the challenge that clients get
//! there.
//!
//! A path is compared with the parsed repository name of a request, because many request paths decode to one
//! name.

use accounts::Tree;
use clap::ValueEnum;

use super::value::{RawValue, Refused, TableRules, TomlValue, ValueType, choice, table};

table! {
    /// A rule for the repositories below a path.
    Location, such as r#"{ path = "/v2/official/", auth = "open" }"# {
        /// `"/v2/"` for all repositories, or `"/v2/official/"` for `official` and those below it.
        path: Tree, location_path();

        /// `"open"`: everyone may pull, and has no other right. `"basic"`, `"token"`: accounts only, whatever
        /// is granted to everyone; clients are asked for a password with each request, or with the token
        /// protocol.
        auth: Admits, choice::<Admits>();

        /// The realm in the challenge of `"basic"`; by default `auth.service`.
        realm: Option<String> = None, realm();
    }
}

/// The clients that a rule lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Admits {
    /// Everyone, to pull
    Open,
    /// Accounts, with a password on each request
    Basic,
    /// Accounts, with the token protocol
    Token,
}

impl TableRules for Location {
    const UNIQUE: &'static str = "path";

    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.realm.is_some() && self.auth != Admits::Basic {
            return Err(("realm", r#"only `auth = "basic"` has a `realm`"#.to_owned()));
        }
        Ok(())
    }
}

fn location_path() -> LocationPath {
    LocationPath
}

struct LocationPath;

impl ValueType<Tree> for LocationPath {
    fn read(&self, raw: &RawValue) -> Result<Tree, Refused> {
        let path = raw.text().ok_or_else(Refused::default)?;
        let Some(below) = path.strip_prefix("/v2/") else {
            return Err(Refused::because(
                "it begins with /v2/, below which every repository is; other paths have their own rules: search and \
                 the catalog list what the client may pull, and `_ping` is open",
            ));
        };
        if below.is_empty() {
            return Ok(Tree::All);
        }
        let prefix = below.strip_suffix('/').ok_or_else(|| {
            Refused::because("add a slash at the end: the rule is for all repositories below")
        })?;
        prefix.parse().map(Tree::Of).map_err(|_| {
            Refused::because("between /v2/ and the last slash stands the beginning of a repository name")
        })
    }

    fn write(&self, value: &Tree) -> TomlValue {
        TomlValue::String(match value {
            Tree::All => "/v2/".to_owned(),
            Tree::Of(prefix) => format!("/v2/{prefix}/"),
        })
    }

    fn expects(&self) -> String {
        r#"a path such as "/v2/" or "/v2/official/""#.to_owned()
    }
}

fn realm() -> Realm {
    Realm
}

struct Realm;

impl ValueType<Option<String>> for Realm {
    fn read(&self, raw: &RawValue) -> Result<Option<String>, Refused> {
        // A quoted string of a header needs no escapes for these characters.
        let fits = |char: char| (char.is_ascii_graphic() || char == ' ') && !"\"\\".contains(char);
        let text = raw.text().filter(|text| !text.is_empty() && text.chars().all(fits));
        text.map(|text| Some(text.to_owned())).ok_or_else(Refused::default)
    }

    fn write(&self, value: &Option<String>) -> TomlValue {
        TomlValue::String(value.clone().unwrap_or_default())
    }

    fn expects(&self) -> String {
        r#"a few words in ASCII, without " and \, such as "Restricted""#.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::tables;
    use super::*;

    fn read(text: &str) -> Result<Vec<Location>, Refused> {
        tables().read(&RawValue::Text(text.to_owned()))
    }

    /// Returns the fault and the hint of a rejected text.
    fn fault(text: &str) -> (String, String) {
        let Refused { part, hint } = read(text).unwrap_err();
        (part.map(|part| part.wrong).unwrap_or_default(), hint.unwrap_or_default())
    }

    #[test]
    fn locations_are_written_as_they_are_read() {
        let text = r#"[{ path = "/v2/", auth = "basic", realm = "Our Registry" }, { path = "/v2/official/a/", auth = "open" }, { path = "/v2/x/", auth = "token" }]"#;
        let locations = read(text).unwrap();
        assert_eq!(
            locations[0],
            Location { path: Tree::All, auth: Admits::Basic, realm: Some("Our Registry".to_owned()) }
        );
        assert_eq!(locations[1].path, Tree::Of("official/a".parse().unwrap()));
        assert_eq!(tables().write(&locations).to_string(), text);
        let json = serde_json::to_string(&tables().write(&locations)).unwrap();
        assert_eq!(read(&json), Ok(locations), "{json}");
        assert_eq!(read("[]"), Ok(Vec::new()));
    }

    #[test]
    fn invalid_location_is_rejected_with_a_hint() {
        let item = |members: &str| fault(&format!("[{{ {members} }}]"));
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
        assert_eq!(
            fault(r#"[{ path = "/v2/", auth = "open" }, { path = "/v2/", auth = "token" }]"#).0,
            r#"two tables have the path "/v2/""#
        );
        for text in ["", "open", "/v2/ open", "[1]\nlisten = 2", "{}", "1"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(fault("/v2/ open").1.contains("or as JSON"));
    }
}
