//! `/<repository>:<tag>` and `/<repository>@<digest>`: an image with its platforms, layers, history and
//! config; a chart; an artifact with its files; and what refers to it.

use std::time::SystemTime;

use accounts::Right;
use askama::Template;
use oci::descriptor::Annotations;
use oci::{ContainerConfig, Digest, HistoryEntry, ImageConfig, RepositoryName, TagOrDigest};

use super::about::{self, Link};
use super::clients::{self, Client, Transport};
use super::content::{self, MAX_BLOB, Stored};
use super::document::{Document, Entry, Kind, ShownConfig, instruction};
use super::page::Page;
use super::preview::{self, Preview};
use super::repository::short;
use crate::http::app::App;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The referrers on a page.
const REFERRERS: usize = 50;
/// The other tags of a manifest on its page.
const OTHER_TAGS: usize = 20;
/// The files whose content a page shows.
const PREVIEWS: usize = 8;
/// The longest text of a manifest that a page shows, in bytes.
const MAX_RAW: usize = 64 << 10;

/// A platform of an index.
struct Child {
    platform: String,
    digest: String,
    is_shown: bool,
}

/// A step of the history, with the layer that it made.
struct HistoryLine {
    instruction: String,
    layer: Option<Layer>,
}

#[derive(Clone)]
struct Layer {
    digest: String,
    size: u64,
    media_type: String,
    /// The part of all layers, in tenths: the width of a bar.
    tenths: u64,
}

/// A file of an artifact.
struct File {
    name: String,
    media_type: String,
    digest: String,
    size: u64,
    preview: Option<Preview>,
}

/// A manifest that refers to the shown one.
struct Referrer {
    kind: String,
    artifact_type: String,
    digest: String,
    size: u64,
}

/// A value of the config, under the key of its name in the catalogue.
struct Setting {
    key: &'static str,
    value: String,
}

/// A registry's knowledge of a manifest of its own.
struct Details {
    /// The other tags that point to it.
    other_tags: Vec<String>,
    pushed: SystemTime,
    pulled: Option<SystemTime>,
    pulls: u64,
    /// The account that has pointed the tag here.
    by: Option<String>,
}

#[derive(Template)]
#[template(path = "manifest.html")]
struct ManifestPage {
    page: Page,
    name: String,
    tag: Option<String>,
    digest: String,
    media_type: String,
    artifact_type: Option<String>,
    kind_label: String,
    /// Unknown to a gateway.
    details: Option<Details>,
    /// The key of the name of the rule on this tag.
    tag_rule: Option<&'static str>,
    is_index: bool,
    is_image: bool,
    size: u64,
    platforms: Vec<Child>,
    /// The platform whose layers are shown.
    platform: Option<String>,
    created: Option<String>,
    author: Option<String>,
    layers: u64,
    layer_bytes: u64,
    history: Vec<HistoryLine>,
    settings: Vec<Setting>,
    environment: Vec<(String, String)>,
    labels: Annotations,
    annotations: Annotations,
    links: Vec<Link>,
    chart: Option<preview::Chart>,
    /// The README as safe HTML.
    readme: Option<String>,
    files: Vec<File>,
    referrers: Vec<Referrer>,
    subject: Option<String>,
    clients: Vec<Client>,
    raw: Option<String>,
    /// The number of entries that are not shown.
    left_out: u64,
    is_too_large: bool,
    may_push: bool,
    may_delete: bool,
}

impl ManifestPage {
    /// The image as in `docker pull`, without the host.
    fn reference(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{}:{tag}", self.name),
            None => format!("{}@{}", self.name, self.digest),
        }
    }
}

pub(crate) async fn get(
    call: Call<'_>,
    repository: &RepositoryName,
    target: &TagOrDigest,
) -> Result<Response, Error> {
    let Call { app, caller, .. } = &call;
    let page = Page::of(&call);
    let stored = content::manifest(app, repository, target).await?;
    let document = Document::parse(&stored.content);
    let kind = document.kind();
    let platforms = platforms(&document);
    let shown =
        shown_image(app, repository, &stored, &document, call.query().get("platform").as_deref()).await?;
    let image = match &shown {
        Some(shown) => image(app, repository, &shown.stored).await?,
        None => Image::default(),
    };
    let is_image = shown.is_some();
    let mut referrers = referrers(app, &page, repository, &stored.digest).await?;
    referrers.extend(attestations(&page, &document));
    let mut files =
        if is_image || kind == Kind::Index { Vec::new() } else { files(app, repository, &document).await? };
    let readme = if is_image || kind == Kind::Index || kind == Kind::Chart {
        None
    } else {
        about::readme(app, repository, &document).await?
    };
    let mut chart =
        if kind == Kind::Chart { preview::chart(app, repository, &document).await? } else { None };
    if let Some(chart) = &chart {
        // The name that `helm package` gives the archive.
        for file in files.iter_mut().filter(|file| file.media_type.contains("helm.chart.content")) {
            file.name = format!("{}-{}.tgz", chart.name, chart.version);
        }
    }
    let self_signed = app.web.as_ref().is_some_and(|web| web.self_signed);
    let transport = Transport::of(&page, caller.is_secure(), self_signed);
    let tag = match target {
        TagOrDigest::Tag(tag) => Some(tag.to_string()),
        TagOrDigest::Digest(_) => None,
    };
    let tag_rule = match target {
        TagOrDigest::Tag(tag) => app.registry.tag_rule(repository, tag),
        TagOrDigest::Digest(_) => None,
    };
    let tag_rule = tag_rule.map(|rule| if rule.is_immutable { "tag-immutable" } else { "tag-protected" });
    let reference = match &tag {
        Some(tag) => format!("{repository}:{tag}"),
        None => format!("{repository}@{}", stored.digest),
    };
    let details = match app.content_proxy {
        None => Some(details(app, repository, target, &stored.digest).await?),
        Some(_) => None,
    };
    let allowed = async |right| app.accounts.is_allowed(caller.identity(), repository, right).await;
    let body = ManifestPage {
        name: repository.to_string(),
        tag,
        details,
        digest: stored.digest.to_string(),
        artifact_type: document.type_of_artifact().filter(|_| !is_image).map(str::to_owned),
        kind_label: kind.label(page.language),
        tag_rule,
        is_index: kind == Kind::Index,
        is_image,
        size: stored.content.len() as u64 + document.content_size(),
        platforms: children(&platforms, shown.as_ref().map(|shown| shown.stored.digest)),
        platform: shown.as_ref().and_then(|shown| shown.platform.clone()).or(image.platform),
        created: image.created.map(|created| page.date_of(&created)),
        author: image.author,
        // The document of an image is counted with the image.
        left_out: (image.left_out + if kind == Kind::Image { 0 } else { document.left_out }) as u64,
        is_too_large: document.is_too_large,
        layers: image.layers,
        layer_bytes: image.layer_bytes,
        history: image.history,
        settings: image.settings,
        environment: image.environment,
        links: about::links(&[&document.annotations, &image.annotations, &image.labels]),
        labels: image.labels,
        annotations: document.annotations,
        readme: chart.as_mut().and_then(|chart| chart.readme.take()).or(readme),
        chart,
        files,
        referrers,
        subject: document.subject.map(|subject| subject.digest.to_string()),
        clients: clients::pull(&page, transport, kind, &reference),
        raw: (stored.content.len() <= MAX_RAW).then(|| preview::pretty(&stored.content)).flatten(),
        media_type: stored.media_type,
        may_push: allowed(Right::Push).await?,
        may_delete: allowed(Right::Delete).await?,
        page,
    };
    body.page.render(&body)
}

async fn details(
    app: &App,
    repository: &RepositoryName,
    target: &TagOrDigest,
    digest: &Digest,
) -> Result<Details, Error> {
    let tag = match target {
        TagOrDigest::Tag(tag) => Some(tag),
        TagOrDigest::Digest(_) => None,
    };
    let found = app.registry.manifest_details(repository, &TagOrDigest::Digest(*digest)).await?;
    let others = found.tags.iter().filter(|other| Some(*other) != tag).map(ToString::to_string);
    Ok(Details {
        other_tags: others.take(OTHER_TAGS).collect(),
        pushed: found.pushed_at,
        pulled: found.pulled_at,
        pulls: found.pulls,
        by: match tag {
            Some(tag) => {
                let moves = app.registry.tag_history(repository, Some(tag), None, 1).await?;
                let last = moves.items.into_iter().find(|last| last.digest == Some(*digest));
                last.and_then(|last| last.account)
            }
            None => None,
        },
    })
}

/// Returns the entries of an index that are images.
fn platforms(document: &Document) -> Vec<(&Entry, String)> {
    let named = |entry: &'_ Entry| entry.platform();
    document.manifests.iter().filter_map(|entry| Some((entry, named(entry)?))).collect()
}

fn children(platforms: &[(&Entry, String)], shown: Option<Digest>) -> Vec<Child> {
    let child = |(entry, platform): &(&Entry, String)| Child {
        platform: platform.clone(),
        digest: entry.digest.to_string(),
        is_shown: Some(entry.digest) == shown,
    };
    platforms.iter().map(child).collect()
}

struct Shown {
    stored: Stored,
    platform: Option<String>,
}

/// Returns the image whose layers the page shows: of an index, the chosen platform, else linux/amd64, else
/// the first.
async fn shown_image(
    app: &App,
    repository: &RepositoryName,
    stored: &Stored,
    document: &Document,
    wanted: Option<&str>,
) -> Result<Option<Shown>, Error> {
    match document.kind() {
        Kind::Image => {
            let stored = Stored {
                digest: stored.digest,
                media_type: stored.media_type.clone(),
                content: stored.content.clone(),
            };
            Ok(Some(Shown { stored, platform: None }))
        }
        Kind::Index => {
            let platforms = platforms(document);
            let find = |wanted: &str| platforms.iter().find(|(_, platform)| platform == wanted);
            let entry = wanted.and_then(find).or_else(|| find("linux/amd64")).or(platforms.first());
            let Some((entry, platform)) = entry else { return Ok(None) };
            let child = content::manifest_if_present(app, repository, &entry.digest).await?;
            let child = child.filter(|child| Document::parse(&child.content).kind() == Kind::Image);
            Ok(child.map(|stored| Shown { stored, platform: Some(platform.clone()) }))
        }
        _ => Ok(None),
    }
}

/// The parts of an image that a page shows.
#[derive(Default)]
struct Image {
    platform: Option<String>,
    created: Option<String>,
    author: Option<String>,
    layers: u64,
    layer_bytes: u64,
    history: Vec<HistoryLine>,
    settings: Vec<Setting>,
    environment: Vec<(String, String)>,
    labels: Annotations,
    /// The number of entries that are left out.
    left_out: usize,
    /// The annotations of its manifest, which differ from those of its index.
    annotations: Annotations,
}

async fn image(app: &App, repository: &RepositoryName, stored: &Stored) -> Result<Image, Error> {
    let document = Document::parse(&stored.content);
    let config = match &document.config {
        Some(config) => content::blob(app, repository, &config.digest, MAX_BLOB).await?,
        None => None,
    };
    let config = config.map(|config| ShownConfig::parse(&config)).unwrap_or_default();
    let (platform, left_out) = (config.platform(), config.left_out + document.left_out);
    let ImageConfig { created, author, container, history: steps, .. } = config.image;
    Ok(Image {
        platform,
        created,
        author: author.filter(|author| !author.is_empty()),
        layers: document.layers.len() as u64,
        layer_bytes: document.layers.iter().map(|layer| layer.size).sum(),
        history: history(&steps, &document.layers),
        settings: settings(&container),
        environment: container.env.iter().map(|variable| split(variable)).collect(),
        labels: container.labels,
        left_out,
        annotations: document.annotations,
    })
}

fn split(variable: &str) -> (String, String) {
    let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
    (name.to_owned(), value.to_owned())
}

/// Joins the history with the layers: each step that is not empty made the next layer.
fn history(steps: &[HistoryEntry], layers: &[Entry]) -> Vec<HistoryLine> {
    let total: u64 = layers.iter().map(|layer| layer.size).sum::<u64>().max(1);
    let mut layers = layers.iter().map(|layer| Layer {
        digest: layer.digest.to_string(),
        size: layer.size,
        media_type: layer.media_type.clone(),
        tenths: (layer.size.saturating_mul(10)).div_ceil(total).min(10),
    });
    let mut lines: Vec<HistoryLine> = steps
        .iter()
        .map(|step| HistoryLine {
            instruction: instruction(step),
            layer: if step.empty_layer == Some(true) { None } else { layers.next() },
        })
        .collect();
    // A squashed image, or one without history.
    lines.extend(layers.map(|layer| HistoryLine { instruction: String::new(), layer: Some(layer) }));
    lines
}

fn settings(container: &ContainerConfig) -> Vec<Setting> {
    let words = |words: &[String]| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let values = [
        ("config-entrypoint", words(&container.entrypoint)),
        ("config-command", words(&container.cmd)),
        ("config-directory", container.working_dir.clone().unwrap_or_default()),
        ("config-user", container.user.clone().unwrap_or_default()),
        ("config-ports", container.exposed_ports.join(", ")),
        ("config-volumes", container.volumes.join(", ")),
        ("config-signal", container.stop_signal.clone().unwrap_or_default()),
    ];
    let values = values.into_iter().filter(|(_, value)| !value.is_empty());
    values.map(|(key, value)| Setting { key, value }).collect()
}

/// Quotes a word if it has spaces, so that the words of a command can be told apart.
fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains(char::is_whitespace) { format!("{word:?}") } else { word.to_owned() }
}

async fn files(app: &App, repository: &RepositoryName, document: &Document) -> Result<Vec<File>, Error> {
    let (mut files, mut previews) = (Vec::new(), 0);
    for layer in &document.layers {
        // The page shows a README as such.
        let preview = if about::is_readme(layer) || previews == PREVIEWS {
            None
        } else {
            preview::of(app, repository, layer).await?
        };
        previews += usize::from(preview.is_some());
        files.push(File {
            name: layer.title().map_or_else(|| short(&layer.digest.to_string()).to_owned(), str::to_owned),
            media_type: layer.media_type.clone(),
            digest: layer.digest.to_string(),
            size: layer.size,
            preview,
        });
    }
    Ok(files)
}

async fn referrers(
    app: &App,
    page: &Page,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Vec<Referrer>, Error> {
    let found = content::referrers(app, repository, digest, REFERRERS).await?;
    let mut referrers: Vec<Referrer> = found
        .into_iter()
        .map(|line| Referrer {
            kind: Kind::of_artifact([line.artifact_type.as_str()]).label(page.language),
            artifact_type: line.artifact_type,
            digest: line.digest.to_string(),
            size: line.size,
        })
        .collect();
    // Tags by which cosign stores signatures, attestations and SBOMs.
    for cosign in oci::CosignKind::ALL {
        let Some(tag) = cosign.tag_of(digest) else { continue };
        if let Ok(stored) = content::manifest(app, repository, &TagOrDigest::Tag(tag.clone())).await {
            referrers.push(Referrer {
                kind: Kind::from(cosign).label(page.language),
                artifact_type: tag.to_string(),
                digest: stored.digest.to_string(),
                size: stored.content.len() as u64 + Document::parse(&stored.content).content_size(),
            });
        }
    }
    Ok(referrers)
}

/// Returns the attestations that BuildKit puts into an index.
fn attestations(page: &Page, document: &Document) -> Vec<Referrer> {
    let attested = document.manifests.iter().filter(|entry| entry.attested().is_some());
    attested
        .map(|entry| Referrer {
            kind: Kind::Attestation.label(page.language),
            artifact_type: entry.attested().map(|digest| format!("→ {}", short(digest))).unwrap_or_default(),
            digest: entry.digest.to_string(),
            size: entry.size,
        })
        .collect()
}
