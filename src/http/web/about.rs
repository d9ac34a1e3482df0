//! The pushers' description of their content: links in annotations and labels, and README files.
//!
//! image-spec v1.1, annotations.md, defines the links. Artifact Hub defines
//! `io.artifacthub.package.readme-url`. An image has no README of its own: the field knows one in Helm
//! charts, and files named README.md in artifacts.

use oci::RepositoryName;
use oci::descriptor::Annotations;

use super::content::{self, MAX_BLOB};
use super::document::{Document, Entry, Kind};
use super::{markdown, preview};
use crate::http::app::App;
use crate::http::error::Error;

/// The longest README that is rendered, in bytes.
const MAX_README: u64 = 256 << 10;
/// Keys of annotations and labels, with the keys of their names in the catalogue.
const LINKS: [(&str, &str); 4] = [
    ("org.opencontainers.image.url", "link-home"),
    ("org.opencontainers.image.documentation", "link-documentation"),
    ("org.opencontainers.image.source", "link-source"),
    ("io.artifacthub.package.readme-url", "link-readme"),
];

/// A link to a web address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The key of its name.
    pub(crate) key: &'static str,
    pub(crate) url: String,
}

/// Returns the links in annotations and labels. The first source that has one counts.
pub(crate) fn links(sources: &[&Annotations]) -> Vec<Link> {
    let find = |(annotation, key): (&str, &'static str)| {
        let url = sources.iter().find_map(|pairs| pairs.get(annotation).filter(|url| is_web(url)))?;
        Some(Link { key, url: url.clone() })
    };
    LINKS.into_iter().filter_map(find).collect()
}

/// Whether a text is a web address. Others, such as `javascript:`, are no links.
fn is_web(url: &str) -> bool {
    let has_host = |rest: &str| rest.starts_with(|first: char| first.is_alphanumeric() || first == '[');
    ["https://", "http://"].iter().any(|scheme| url.strip_prefix(scheme).is_some_and(has_host))
        && !url.chars().any(|char| char.is_control() || char.is_whitespace())
}

/// Returns the README of a chart or an artifact as safe HTML.
pub(crate) async fn readme(
    app: &App,
    repository: &RepositoryName,
    document: &Document,
) -> Result<Option<String>, Error> {
    if document.kind() == Kind::Chart {
        return Ok(preview::chart(app, repository, document).await?.and_then(|chart| chart.readme));
    }
    let Some(file) = document.layers.iter().find(|layer| is_readme(layer)) else { return Ok(None) };
    let content = content::blob(app, repository, &file.digest, MAX_README.min(MAX_BLOB)).await?;
    let text = content.and_then(|content| String::from_utf8(content.to_vec()).ok());
    Ok(text.map(|text| markdown::render(&text)))
}

/// Whether a layer is a README: by the name that its title has.
pub(crate) fn is_readme(layer: &Entry) -> bool {
    let name = layer.title().and_then(|title| title.rsplit('/').next()).unwrap_or_default();
    ["readme", "readme.md", "readme.markdown"].iter().any(|readme| name.eq_ignore_ascii_case(readme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_web_addresses_only() {
        let pairs =
            |url: &str| Annotations::from([("org.opencontainers.image.source".to_owned(), url.to_owned())]);
        for url in ["https://example.com/a?b#c", "http://[::1]/"] {
            let found = links(&[&Annotations::new(), &pairs(url)]);
            assert_eq!(found, [Link { key: "link-source", url: url.to_owned() }]);
        }
        for other in
            ["javascript:alert(1)", "https://", "https:///x", "https://a b", "//example.com", "data:x"]
        {
            assert!(links(&[&pairs(other)]).is_empty(), "{other}");
        }
        assert_eq!(
            links(&[&pairs("https://first.example"), &pairs("https://second.example")])[0].url,
            "https://first.example"
        );
    }
}
