//! Redirections to a bucket: never, always, or for the clients of some networks.

use ipnet::IpNet;
use registry::Redirect;

use super::{RawValue, Refused, TomlValue, ValueType, list_of, network};

pub(in crate::config) fn redirect() -> RedirectSpelling {
    RedirectSpelling
}

pub(in crate::config) struct RedirectSpelling;

impl ValueType<Redirect> for RedirectSpelling {
    fn read(&self, raw: &RawValue) -> Result<Redirect, Refused> {
        match raw.text() {
            Some("never") => return Ok(Redirect::Never),
            Some("always") => return Ok(Redirect::Always),
            Some(text) if text.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                return Err(match crate::config::nearest(text, ["never", "always"]) {
                    Some(name) => Refused::because(format!(r#"did you mean "{name}"?"#)),
                    None => Refused::default(),
                });
            }
            _ => {}
        }
        let networks: Vec<IpNet> = list_of(network()).read(raw)?;
        if networks.is_empty() {
            return Err(Refused::because(r#"write "never""#));
        }
        Ok(Redirect::Networks(networks))
    }

    fn write(&self, value: &Redirect) -> TomlValue {
        match value {
            Redirect::Never => TomlValue::String("never".to_owned()),
            Redirect::Always => TomlValue::String("always".to_owned()),
            Redirect::Networks(networks) => list_of(network()).write(networks),
        }
    }

    fn expects(&self) -> String {
        r#""never", "always", or a list of networks such as ["10.0.0.0/8"]"#.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hint, string, text};
    use super::*;

    #[test]
    fn redirect_is_a_word_or_networks() {
        let read = |raw: &RawValue| redirect().read(raw);
        let written = |raw: &RawValue| redirect().write(&read(raw).unwrap()).to_string();
        assert_eq!(written(&string("always")), r#""always""#);
        assert_eq!(written(&text("never")), r#""never""#);
        let networks = RawValue::List(vec![string("10.1.2.3/8"), string("::1")]);
        assert_eq!(written(&networks), r#"["10.0.0.0/8", "::1"]"#);
        assert_eq!(written(&text("10.0.0.0/8,::1")), r#"["10.0.0.0/8", "::1"]"#);
        assert_eq!(hint(read(&string("alway"))), r#"did you mean "always"?"#);
        assert_eq!(hint(read(&string("10.0.0.0/8"))), r#"write a list: ["10.0.0.0/8"]"#);
        assert_eq!(hint(read(&RawValue::List(vec![]))), r#"write "never""#);
        read(&RawValue::List(vec![string("always")])).unwrap_err();
        read(&RawValue::Boolean(true)).unwrap_err();
    }
}
