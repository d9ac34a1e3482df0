//! The query of a URL: `?digest=…&tag=…`.

use std::borrow::Cow;
use std::str::FromStr;

use hyper::header::{CONTENT_TYPE, HeaderMap};
use oci::Digest;

use crate::http::error::Error;

/// A query, parsed on demand: few endpoints have parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(crate) fn new(query: Option<&'a str>) -> Self {
        Self(query.unwrap_or_default())
    }

    /// Returns the first value of a parameter.
    pub(crate) fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.all(name).next()
    }

    /// Returns the first value of a parameter, if it is not empty.
    pub(crate) fn get_filled(self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Returns all values of a parameter, in order.
    pub(crate) fn all<'n>(self, name: &'n str) -> impl Iterator<Item = Cow<'a, str>> + use<'a, 'n> {
        form_urlencoded::parse(self.0.as_bytes()).filter(move |(key, _)| key == name).map(|(_, value)| value)
    }

    /// Parses a parameter, if it is not empty.
    pub(crate) fn parsed<T: FromStr>(
        self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, Error> {
        let value = self.get_filled(name).map(|value| value.parse()).transpose();
        value.map_err(|_| Error::BadParameter { parameter: name, expected })
    }

    /// Parses a boolean parameter. It is false by default.
    pub(crate) fn truth(self, name: &'static str) -> Result<bool, Error> {
        match self.get(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(_) => Err(Error::BadParameter { parameter: name, expected: "true or false" }),
        }
    }

    /// Parses a digest.
    pub(crate) fn digest(self, name: &'static str) -> Result<Option<Digest>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|error| Error::BadDigest { parameter: name, error })
    }

    /// Parses a whole number. A number that is too large becomes the maximum.
    pub(crate) fn number(self, name: &'static str) -> Result<Option<usize>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::BadParameter { parameter: name, expected: "a whole number, such as 100" });
        }
        Ok(Some(value.parse().unwrap_or(usize::MAX)))
    }
}

/// Whether the body is a form. Go's `FormValue` reads its fields like query parameters.
pub(crate) fn has_form(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).iter().any(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        text.contains("x-www-form-urlencoded") || text.contains("multipart/")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_once() {
        let query = Query::new(Some("tag=a&tag=b%26c&q=two+words&empty=&n=%31&twice=%2541"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b&c"]);
        assert_eq!(query.get("q").as_deref(), Some("two words"));
        assert_eq!(query.get("empty").as_deref(), Some(""));
        assert_eq!(query.get_filled("empty"), None);
        assert_eq!(query.get("missing"), None);
        assert_eq!(query.get("twice").as_deref(), Some("%41"));
        assert_eq!(Query::new(None).get("n"), None);
    }

    #[test]
    fn numbers_have_digits_only() {
        let number = |query| Query::new(Some(query)).number("n");
        assert_eq!(number("n=100").unwrap(), Some(100));
        assert_eq!(number("n=0").unwrap(), Some(0));
        assert_eq!(number("m=1").unwrap(), None);
        assert_eq!(number("n=99999999999999999999999999").unwrap(), Some(usize::MAX));
        for bad in ["n=", "n=-1", "n=%2B1", "n=1.5", "n=0x10", "n=abc", "n=1 ", "n=%ff"] {
            assert!(number(bad).is_err(), "{bad}");
        }
    }
}
