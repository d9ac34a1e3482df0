//! Origins of web pages (RFC 6454 section 6.1), as browsers write them in `Origin`: a scheme, a host, perhaps
//! a port.

use hyper::http::Uri;

use super::{RawValue, Refused, TomlValue, ValueType};

/// The origins whose pages may use the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebOrigin {
    /// Every origin, without the credentials that a browser keeps.
    Any,
    /// One origin, as a browser writes it.
    Exact(String),
}

/// An origin, or `*`.
pub(in crate::config) fn web_origin() -> WebOriginSpelling {
    WebOriginSpelling
}

pub(in crate::config) struct WebOriginSpelling;

impl ValueType<WebOrigin> for WebOriginSpelling {
    fn read(&self, given: &RawValue) -> Result<WebOrigin, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        if text == "*" {
            return Ok(WebOrigin::Any);
        }
        let url: Uri = text.parse().map_err(|_| Refused::default())?;
        let authority = url.authority().ok_or_else(Refused::default)?;
        let Some(scheme @ ("http" | "https")) = url.scheme_str() else {
            return Err(Refused::because("it begins with https:// or http://"));
        };
        let has_more = !matches!(url.path(), "" | "/") || url.query().is_some() || text.contains('#');
        if authority.as_str().contains('*') {
            return Err(Refused::because("name each origin; patterns are not supported"));
        }
        if has_more || authority.as_str().contains('@') {
            return Err(Refused::because("write scheme, host and port only"));
        }
        // A browser leaves out the port that belongs to the scheme.
        let usual = if scheme == "https" { 443 } else { 80 };
        let port = authority.port_u16().filter(|port| *port != usual);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(WebOrigin::Exact(format!("{scheme}://{}{port}", authority.host().to_ascii_lowercase())))
    }

    fn write(&self, value: &WebOrigin) -> TomlValue {
        TomlValue::String(match value {
            WebOrigin::Any => "*".to_owned(),
            WebOrigin::Exact(origin) => origin.clone(),
        })
    }

    fn expects(&self) -> String {
        r#"the origin of a page, such as "https://ui.example.com", or "*" for all of them"#.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_origin_is_read_as_browsers_write_it() {
        let read = |text: &str| web_origin().read(&RawValue::Text(text.to_owned()));
        let exact = |text: &str| WebOrigin::Exact(text.to_owned());
        assert_eq!(read("*").unwrap(), WebOrigin::Any);
        for (text, origin) in [
            ("https://UI.example.com", "https://ui.example.com"),
            ("https://ui.example.com/", "https://ui.example.com"),
            ("https://ui.example.com:443", "https://ui.example.com"),
            ("http://ui.example.com:443", "http://ui.example.com:443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(read(text).unwrap(), exact(origin), "{text}");
        }
        for bad in [
            "",
            "ui.example.com",
            "null",
            "ftp://a",
            "https://a/path",
            "https://u@a",
            "https://*.a",
            "https://a?b",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
