//! A manifest in one line of a list: kind, platforms, size. It follows from the content, so it is cached by
//! digest.

use std::collections::HashMap;
use std::sync::Arc;

use oci::descriptor::Annotations;
use oci::{Digest, RepositoryName};

use super::about::{self, Link};
use super::content::{self, Stored};
use super::document::{Document, Kind, ShownConfig};
use crate::http::app::App;
use crate::http::error::Error;

/// The manifests of an index that are read for its size.
const CHILDREN: usize = 32;

/// The line of a manifest.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) kind: Kind,
    pub(crate) platforms: Vec<String>,
    /// The bytes of all content that a pull of every platform needs, each counted once.
    pub(crate) size: u64,
    /// The time of creation, as the config states it.
    pub(crate) created: Option<String>,
    /// The links in its annotations and labels.
    pub(crate) links: Vec<Link>,
}

/// Summarizes a manifest of a repository.
pub(crate) async fn of(
    app: &App,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<Arc<Summary>>, Error> {
    let cache = app.web.as_ref().map(|web| &web.summaries);
    if let Some(summary) = cache.and_then(|cache| cache.get(digest)) {
        return Ok(Some(summary));
    }
    let Some(stored) = content::manifest_if_present(app, repository, digest).await? else { return Ok(None) };
    let summary = Arc::new(summarize(app, repository, &stored).await?);
    if let Some(cache) = cache {
        cache.insert(*digest, summary.clone());
    }
    Ok(Some(summary))
}

async fn summarize(app: &App, repository: &RepositoryName, stored: &Stored) -> Result<Summary, Error> {
    let document = Document::parse(&stored.content);
    let kind = document.kind();
    let own = stored.content.len() as u64;
    if kind == Kind::Index {
        let mut of_child = Annotations::new();
        let mut sizes = HashMap::from([(stored.digest, own)]);
        for child in document.manifests.iter().take(CHILDREN) {
            sizes.insert(child.digest, child.size);
            if let Some(child) = content::manifest_if_present(app, repository, &child.digest).await? {
                let child = Document::parse(&child.content);
                if of_child.is_empty() {
                    of_child = child.annotations.clone();
                }
                sizes.extend(child.config.iter().chain(&child.layers).map(|part| (part.digest, part.size)));
            }
        }
        let platforms = document.manifests.iter().filter_map(super::document::Entry::platform).collect();
        let links = about::links(&[&document.annotations, &of_child]);
        return Ok(Summary { kind, platforms, size: sizes.values().sum(), created: None, links });
    }
    let mut summary = Summary {
        kind,
        platforms: Vec::new(),
        size: own + document.content_size(),
        created: None,
        links: about::links(&[&document.annotations]),
    };
    if kind == Kind::Image
        && let Some(config) = &document.config
        && let Some(config) = content::blob(app, repository, &config.digest, content::MAX_BLOB).await?
    {
        let config = ShownConfig::parse(&config);
        summary.platforms.extend(config.platform());
        summary.links = about::links(&[&document.annotations, &config.image.container.labels]);
        summary.created = config.image.created;
    }
    Ok(summary)
}
