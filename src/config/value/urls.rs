//! URLs of this registry, other servers and ACME authorities, and mail addresses.

use hyper::http::Uri;
use registry::relocation::{self, check_bucket_url};

use super::{RawValue, Refused, TomlValue, ValueType};

/// A base URL: scheme, host, port and perhaps a path, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A [`BaseUrl`], or `""` for none.
pub(in crate::config) fn base_url() -> BaseUrlSpelling {
    BaseUrlSpelling
}

pub(in crate::config) struct BaseUrlSpelling;

impl ValueType<Option<BaseUrl>> for BaseUrlSpelling {
    fn read(&self, given: &RawValue) -> Result<Option<BaseUrl>, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        if text.is_empty() {
            return Ok(None);
        }
        let url: Uri = text.parse().map_err(|_| Refused::default())?;
        let authority = url.authority().ok_or_else(Refused::default)?;
        if !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err(Refused::because("it begins with https:// or http://"));
        }
        if authority.as_str().contains('@') || url.query().is_some() || text.contains('#') {
            return Err(Refused::because("leave out everything but scheme, host, port and path"));
        }
        Ok(Some(BaseUrl(text.trim_end_matches('/').to_owned())))
    }

    fn write(&self, value: &Option<BaseUrl>) -> TomlValue {
        TomlValue::String(value.as_ref().map(|url| url.0.clone()).unwrap_or_default())
    }

    fn expects(&self) -> String {
        r#"an address such as "https://registry.example.com", or "" for none"#.to_owned()
    }
}

/// The URL of a bucket, perhaps with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketUrl(String);

impl BucketUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A [`BucketUrl`], or `""` for none.
pub(in crate::config) fn bucket_url() -> BucketUrlSpelling {
    BucketUrlSpelling
}

pub(in crate::config) struct BucketUrlSpelling;

impl ValueType<Option<BucketUrl>> for BucketUrlSpelling {
    fn read(&self, given: &RawValue) -> Result<Option<BucketUrl>, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        if text.is_empty() {
            return Ok(None);
        }
        check_bucket_url(text).map_err(Refused::because)?;
        Ok(Some(BucketUrl(text.trim_end_matches('/').to_owned())))
    }

    fn write(&self, value: &Option<BucketUrl>) -> TomlValue {
        TomlValue::String(value.as_ref().map(|url| url.0.clone()).unwrap_or_default())
    }

    fn expects(&self) -> String {
        r#"a bucket such as "s3://images/registry" or "az://images/registry", or "" for none"#.to_owned()
    }
}

/// The URL of a database in PostgreSQL.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    pub database: relocation::DatabaseUrl,
}

impl std::str::FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), database: relocation::DatabaseUrl::parse(text)? })
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&without_password(&self.text))
    }
}

/// A [`DatabaseUrl`], or `""` for none.
pub(in crate::config) fn database_url() -> DatabaseUrlSpelling {
    DatabaseUrlSpelling
}

pub(in crate::config) struct DatabaseUrlSpelling;

impl ValueType<Option<DatabaseUrl>> for DatabaseUrlSpelling {
    fn read(&self, given: &RawValue) -> Result<Option<DatabaseUrl>, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(Refused::because)
    }

    fn write(&self, value: &Option<DatabaseUrl>) -> TomlValue {
        TomlValue::String(value.as_ref().map(|url| without_password(&url.text)).unwrap_or_default())
    }

    fn expects(&self) -> String {
        r#"a database such as "postgres://wharfinger@db.example.com/wharfinger", or "" for none"#.to_owned()
    }
}

/// The URL with `…` for its password.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (address, query) =
        rest.split_once('?').map_or((rest, None), |(address, query)| (address, Some(query)));
    let address = match address.rsplit_once('@') {
        Some((login, place)) => match login.split_once(':') {
            Some((user, _)) => format!("{user}:…@{place}"),
            None => address.to_owned(),
        },
        None => address.to_owned(),
    };
    let query = query.map_or_else(String::new, |query| {
        let pairs =
            query.split('&').map(|pair| if pair.starts_with("password=") { "password=…" } else { pair });
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{address}{query}")
}

/// A required [`BaseUrl`].
pub(in crate::config) fn url() -> Url {
    Url
}

pub(in crate::config) struct Url;

impl ValueType<BaseUrl> for Url {
    fn read(&self, given: &RawValue) -> Result<BaseUrl, Refused> {
        base_url().read(given)?.ok_or_else(Refused::default)
    }

    fn write(&self, value: &BaseUrl) -> TomlValue {
        TomlValue::String(value.0.clone())
    }

    fn expects(&self) -> String {
        r#"an address such as "http://registry:5000""#.to_owned()
    }
}

/// The directory URL of an authority (RFC 8555 section 7.1.1). It is kept as written, because a slash at its
/// end may matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryUrl(String);

impl DirectoryUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A [`DirectoryUrl`], or `""` for none.
pub(in crate::config) fn directory_url() -> DirectoryUrlSpelling {
    DirectoryUrlSpelling
}

pub(in crate::config) struct DirectoryUrlSpelling;

impl ValueType<Option<DirectoryUrl>> for DirectoryUrlSpelling {
    fn read(&self, given: &RawValue) -> Result<Option<DirectoryUrl>, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        if text.is_empty() {
            return Ok(None);
        }
        let url: Uri = text.parse().map_err(|_| Refused::default())?;
        let authority = url.authority().ok_or_else(Refused::default)?;
        if url.scheme_str() != Some("https") {
            return Err(Refused::because("authorities are reached over HTTPS only: it begins with https://"));
        }
        if authority.as_str().contains('@') {
            return Err(Refused::because("leave out the user and the password"));
        }
        Ok(Some(DirectoryUrl(text.to_owned())))
    }

    fn write(&self, value: &Option<DirectoryUrl>) -> TomlValue {
        TomlValue::String(value.as_ref().map(|url| url.0.clone()).unwrap_or_default())
    }

    fn expects(&self) -> String {
        r#"an address such as "https://acme-v02.api.letsencrypt.org/directory", or "" for none"#.to_owned()
    }
}

/// A mail address, as a URL (RFC 6068).
pub(in crate::config) fn contact() -> Contact {
    Contact
}

pub(in crate::config) struct Contact;

impl ValueType<String> for Contact {
    fn read(&self, given: &RawValue) -> Result<String, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        let address = text.strip_prefix("mailto:").unwrap_or(text);
        // One address and nothing else in the URL (RFC 8555 section 7.3).
        let plain = |char: char| char.is_ascii_graphic() && !",?/<>\"".contains(char);
        match address.split_once('@') {
            Some((name, host)) if !name.is_empty() && host.contains('.') && address.chars().all(plain) => {
                Ok(format!("mailto:{address}"))
            }
            _ => Err(Refused::default()),
        }
    }

    fn write(&self, value: &String) -> TomlValue {
        TomlValue::String(value.clone())
    }

    fn expects(&self) -> String {
        r#"a mail address, such as "mailto:ann@example.com""#.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hint, string};
    use super::*;

    #[test]
    fn base_url_is_checked() {
        let read = |given: &str| base_url().read(&string(given));
        let url = |given: &str| read(given).unwrap().unwrap().as_str().to_owned();
        assert_eq!(read(""), Ok(None));
        assert_eq!(url("https://registry.example.com/"), "https://registry.example.com");
        assert_eq!(url("http://localhost:5000/registry/"), "http://localhost:5000/registry");
        for given in [
            "registry.example.com",
            "//x",
            "ftp://x",
            "https://a:b@x",
            "https://x/?q",
            "https://x/#f",
            "https://",
        ] {
            assert!(read(given).is_err(), "{given}");
        }
    }

    #[test]
    fn database_url_is_shown_without_its_password() {
        let read = |given: &str| database_url().read(&string(given));
        let shown = |given: &str| database_url().write(&read(given).unwrap()).to_string();
        assert_eq!(read(""), Ok(None));
        assert_eq!(shown("postgres://ann@db/images"), r#""postgres://ann@db/images""#);
        assert_eq!(
            shown("postgres://ann:pass@db/images?sslmode=require"),
            r#""postgres://ann:…@db/images?sslmode=require""#
        );
        assert_eq!(
            shown("postgres://ann@db/images?password=pass"),
            r#""postgres://ann@db/images?password=…""#
        );
        assert!(hint(read("postgres://db/images")).contains("it needs a user"));
        read("mysql://ann@db/images").unwrap_err();
    }

    #[test]
    fn directory_url_is_kept_as_written() {
        let read = |given: &str| directory_url().read(&string(given));
        assert_eq!(read(""), Ok(None));
        for given in ["https://ca.internal/acme/acme/directory", "https://ca.internal:9000/dir/?a=b"] {
            assert_eq!(read(given).unwrap().unwrap().as_str(), given);
        }
        assert!(hint(read("http://ca.internal/dir")).contains("https://"));
        for given in ["ca.internal/dir", "https://a:b@ca.internal/dir", "https://"] {
            assert!(read(given).is_err(), "{given}");
        }
    }

    #[test]
    fn contact_is_a_mail_address() {
        let read = |given: &str| contact().read(&string(given));
        assert_eq!(read("mailto:ann@example.com").as_deref(), Ok("mailto:ann@example.com"));
        assert_eq!(read("ann@example.com").as_deref(), Ok("mailto:ann@example.com"));
        for given in ["", "ann", "tel:+31", "a@b.c,d@e.f", "mailto:a@b.c?subject=x", "Ann <a@b.c>", "@b.c"] {
            assert!(read(given).is_err(), "{given}");
        }
    }
}
