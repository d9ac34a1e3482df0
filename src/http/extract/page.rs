//! Pages of lists: the parameters `n` and `last`, and the `Link` to the next page.

use std::borrow::Cow;
use std::str::FromStr;

use hyper::header::{HeaderValue, LINK};

use crate::http::error::Error;
use crate::http::extract::query::Query;
use crate::http::links::Links;
use crate::http::response::Response;

/// The requested page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageRequest<'a> {
    /// The maximum number of entries; 0 requests none.
    pub(crate) limit: usize,
    /// The entry before the page.
    pub(crate) last: Option<Cow<'a, str>>,
}

impl<'a> PageRequest<'a> {
    /// Reads `n` and `last`. A page has at most `most` entries, so that no client chooses the size of an
    /// allocation.
    pub(crate) fn read(query: Query<'a>, most: usize) -> Result<Self, Error> {
        let limit = query.number("n")?.map_or(most, |n| n.min(most));
        Ok(Self { limit, last: query.get_filled("last") })
    }

    /// Parses `last`.
    pub(crate) fn last_as<T: FromStr>(&self, parameter: &'static str) -> Result<Option<T>, Error> {
        let expected = "the last entry of the page before";
        let last = self.last.as_deref().map(str::parse).transpose();
        last.map_err(|_| Error::BadParameter { parameter, expected })
    }

    /// Adds the `Link` to the next page, if there is one. A page without entries has none: it would not
    /// advance.
    pub(crate) fn link_next(
        &self,
        response: &mut Response,
        links: &Links,
        path: &str,
        filters: &[(&str, &str)],
        last: Option<&str>,
    ) {
        let (Some(last), true) = (last, self.limit > 0) else { return };
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(filters)
            .append_pair("n", &self.limit.to_string())
            .append_pair("last", last)
            .finish();
        let link = format!("<{}?{query}>; rel=\"next\"", links.absolute(path));
        if let Ok(link) = HeaderValue::try_from(link) {
            response.headers_mut().insert(LINK, link);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response;

    fn read(query: &str) -> PageRequest<'_> {
        PageRequest::read(Query::new(Some(query)), 1000).unwrap()
    }

    #[test]
    fn page_size_is_limited() {
        assert_eq!(read(""), PageRequest { limit: 1000, last: None });
        assert_eq!(read("n=5&last=x"), PageRequest { limit: 5, last: Some("x".into()) });
        assert_eq!(read("n=0").limit, 0);
        assert_eq!(read("n=1000000000000000000000000").limit, 1000);
        assert_eq!(read("last=").last, None);
        PageRequest::read(Query::new(Some("n=-1")), 1000).unwrap_err();
    }

    #[test]
    fn link_to_the_next_page_is_encoded() {
        let linked = |query: &str, base: &str, last: Option<&str>| {
            let mut response = response::empty();
            let filters = [("artifactType", "application/x+json")];
            read(query).link_next(&mut response, &Links::new(base), "/v2/a/tags/list", &filters, last);
            response.headers().get(LINK).map(|link| link.to_str().unwrap().to_owned())
        };
        assert_eq!(
            linked("n=2", "", Some("a&b c")).as_deref(),
            Some("</v2/a/tags/list?artifactType=application%2Fx%2Bjson&n=2&last=a%26b+c>; rel=\"next\"")
        );
        let absolute = linked("n=2", "https://registry.example.com", Some("b")).unwrap();
        assert!(absolute.starts_with("<https://registry.example.com/v2/a/tags/list?"), "{absolute}");
        assert_eq!(linked("n=2", "", None), None);
        assert_eq!(linked("n=0", "", Some("b")), None);
    }
}
