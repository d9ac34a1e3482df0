//! `/-/compare/<repository>?from=…&to=…`: the difference of two tags or digests, for each platform.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use oci::{ContainerConfig, RepositoryName, TagOrDigest};

use super::content::{self, MAX_BLOB, Stored};
use super::document::{Document, Entry, Kind, ShownConfig};
use super::page::Page;
use crate::http::api::tags::TagSort;
use crate::http::app::App;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The platforms that are compared.
const PLATFORMS: usize = 16;

/// The tags that the form offers.
const TAGS: usize = 100;

/// A layer, and in which image it is.
struct Layer {
    digest: String,
    size: u64,
}

/// A changed value. An empty side has no value.
struct Change {
    name: String,
    before: String,
    after: String,
}

/// The difference of two images of one platform.
struct Difference {
    platform: String,
    shared: u64,
    shared_bytes: u64,
    removed: Vec<Layer>,
    added: Vec<Layer>,
    before_bytes: u64,
    after_bytes: u64,
    changes: Vec<Change>,
}

impl Difference {
    fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty() && self.changes.is_empty()
    }
}

#[derive(Template)]
#[template(path = "compare.html")]
struct Compare {
    page: Page,
    name: String,
    from: String,
    to: String,
    /// Both are set and exist.
    is_complete: bool,
    is_same: bool,
    differences: Vec<Difference>,
    /// Platforms that one side alone has.
    only_before: Vec<String>,
    only_after: Vec<String>,
    tags: Vec<String>,
}

pub(crate) async fn get(call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let app = call.app;
    let page = Page::of(&call);
    let query = call.query();
    let from = query.parsed::<TagOrDigest>("from", "a tag or a digest")?;
    let to = query.parsed::<TagOrDigest>("to", "a tag or a digest")?;
    let (tags, _) = content::tags(app, repository, TagSort::Name, "", None, TAGS).await?;
    let mut compare = Compare {
        page,
        name: repository.to_string(),
        from: from.as_ref().map(ToString::to_string).unwrap_or_default(),
        to: to.as_ref().map(ToString::to_string).unwrap_or_default(),
        is_complete: from.is_some() && to.is_some(),
        is_same: false,
        differences: Vec::new(),
        only_before: Vec::new(),
        only_after: Vec::new(),
        tags: tags.into_iter().map(|line| line.tag).collect(),
    };
    if let (Some(from), Some(to)) = (&from, &to) {
        let before = content::manifest(app, repository, from).await?;
        let after = content::manifest(app, repository, to).await?;
        compare.is_same = before.digest == after.digest;
        if !compare.is_same {
            let before = images(app, repository, before).await?;
            let after = images(app, repository, after).await?;
            for (platform, before) in &before {
                match after.get(platform) {
                    Some(after) => {
                        let difference = difference(app, repository, platform, before, after).await?;
                        compare.differences.push(difference);
                    }
                    None => compare.only_before.push(platform.clone()),
                }
            }
            compare
                .only_after
                .extend(after.keys().filter(|platform| !before.contains_key(*platform)).cloned());
        }
    }
    compare.page.render(&compare)
}

/// Returns the images of a manifest by platform.
async fn images(
    app: &App,
    repository: &RepositoryName,
    stored: Stored,
) -> Result<BTreeMap<String, Document>, Error> {
    let document = Document::parse(&stored.content);
    let mut images = BTreeMap::new();
    if document.kind() != Kind::Index {
        let platform = config(app, repository, &document).await?.platform().unwrap_or_default();
        images.insert(platform, document);
        return Ok(images);
    }
    for entry in document.manifests.iter().filter(|entry| entry.platform().is_some()).take(PLATFORMS) {
        if let Some(child) = content::manifest_if_present(app, repository, &entry.digest).await? {
            images.insert(entry.platform().unwrap_or_default(), Document::parse(&child.content));
        }
    }
    Ok(images)
}

async fn config(app: &App, repository: &RepositoryName, document: &Document) -> Result<ShownConfig, Error> {
    let Some(config) = &document.config else { return Ok(ShownConfig::default()) };
    let content = content::blob(app, repository, &config.digest, MAX_BLOB).await?;
    Ok(content.map(|content| ShownConfig::parse(&content)).unwrap_or_default())
}

async fn difference(
    app: &App,
    repository: &RepositoryName,
    platform: &str,
    before: &Document,
    after: &Document,
) -> Result<Difference, Error> {
    let digests = |document: &Document| -> BTreeSet<_> {
        document.layers.iter().map(|layer| layer.digest.to_string()).collect()
    };
    let (old, new) = (digests(before), digests(after));
    let layer = |entry: &Entry| Layer { digest: entry.digest.to_string(), size: entry.size };
    let without = |document: &Document, other: &BTreeSet<String>| -> Vec<Layer> {
        document.layers.iter().map(layer).filter(|layer| !other.contains(&layer.digest)).collect()
    };
    let shared: Vec<&Entry> =
        after.layers.iter().filter(|layer| old.contains(&layer.digest.to_string())).collect();
    let values = values(&config(app, repository, before).await?.image.container);
    let changed = self::values(&config(app, repository, after).await?.image.container);
    let names: BTreeSet<&String> = values.keys().chain(changed.keys()).collect();
    let changes = names.into_iter().filter_map(|name| {
        let (before, after) = (values.get(name), changed.get(name));
        (before != after).then(|| Change {
            name: name.clone(),
            before: before.cloned().unwrap_or_default(),
            after: after.cloned().unwrap_or_default(),
        })
    });
    Ok(Difference {
        platform: platform.to_owned(),
        shared: shared.len() as u64,
        shared_bytes: shared.iter().map(|layer| layer.size).sum(),
        removed: without(before, &new),
        added: without(after, &old),
        before_bytes: before.content_size(),
        after_bytes: after.content_size(),
        changes: changes.collect(),
    })
}

/// Returns the settings of containers by name.
fn values(container: &ContainerConfig) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (name, value) in [
        ("Entrypoint", container.entrypoint.join(" ")),
        ("Cmd", container.cmd.join(" ")),
        ("WorkingDir", container.working_dir.clone().unwrap_or_default()),
        ("User", container.user.clone().unwrap_or_default()),
        ("ExposedPorts", container.exposed_ports.join(", ")),
        ("Volumes", container.volumes.join(", ")),
    ] {
        if !value.is_empty() {
            values.insert(name.to_owned(), value);
        }
    }
    for variable in &container.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        values.insert(format!("env {name}"), value.to_owned());
    }
    values.extend(container.labels.iter().map(|(name, value)| (format!("label {name}"), value.clone())));
    values
}
