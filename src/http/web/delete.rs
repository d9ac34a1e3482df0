//! `/-/delete/<repository>…`: deletion of a tag, a manifest or a repository. The page says what goes, and
//! asks for the name.

use askama::Template;
use oci::{Digest, RepositoryName, Tag, TagOrDigest};

use super::content;
use super::form::Form;
use super::page::Page;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The other tags that the page names.
const TAGS: usize = 20;

#[derive(Template)]
#[template(path = "delete.html")]
struct Delete {
    page: Page,
    /// The page to go back to.
    back: String,
    address: String,
    /// The text that confirms the deletion.
    confirmation: String,
    /// Sentences that say what goes.
    effects: Vec<String>,
    has_mismatch: bool,
}

impl Delete {
    /// Returns the name of what is deleted.
    fn image(&self) -> &str {
        self.back.trim_start_matches('/')
    }
}

pub(crate) async fn get(
    call: Call<'_>,
    repository: &RepositoryName,
    target: &TagOrDigest,
) -> Result<Response, Error> {
    show(&call, repository, target, false).await
}

async fn show(
    call: &Call<'_>,
    repository: &RepositoryName,
    target: &TagOrDigest,
    has_mismatch: bool,
) -> Result<Response, Error> {
    let stored = content::manifest(call.app, repository, target).await?;
    let page = Page::of(call);
    let effects = match target {
        TagOrDigest::Tag(tag) => {
            vec![
                page.with("delete-tag-effect", tag),
                effect_on_manifest(call, &page, repository, tag, stored.digest).await?,
            ]
        }
        TagOrDigest::Digest(digest) => {
            vec![page.with("delete-manifest-effect", digest), page.t("delete-manifest-tags").into_owned()]
        }
    };
    let image = image(repository, target);
    let body = Delete {
        back: format!("/{image}"),
        address: format!("/-/delete/{image}"),
        confirmation: confirmation(target),
        effects,
        has_mismatch,
        page,
    };
    body.page.render(&body)
}

/// Says what becomes of the manifest of a deleted tag.
async fn effect_on_manifest(
    call: &Call<'_>,
    page: &Page,
    repository: &RepositoryName,
    tag: &Tag,
    digest: Digest,
) -> Result<String, Error> {
    // A gateway knows no tags of a manifest.
    let others: Vec<String> = match call.app.content_proxy {
        Some(_) => Vec::new(),
        None => {
            let details =
                call.app.registry.manifest_details(repository, &TagOrDigest::Digest(digest)).await?;
            details.tags.iter().filter(|other| *other != tag).take(TAGS).map(ToString::to_string).collect()
        }
    };
    let digest = digest.to_string();
    if others.is_empty() {
        return Ok(page.with("delete-tag-manifest", digest));
    }
    let tags = others.join(", ");
    Ok(page.language.text_with("delete-tag-others", &[("value", &digest), ("tags", &tags)]))
}

fn image(repository: &RepositoryName, target: &TagOrDigest) -> String {
    match target {
        TagOrDigest::Tag(tag) => format!("{repository}:{tag}"),
        TagOrDigest::Digest(digest) => format!("{repository}@{digest}"),
    }
}

/// Returns the text to type: the tag, or the beginning of the digest.
fn confirmation(target: &TagOrDigest) -> String {
    match target {
        TagOrDigest::Tag(tag) => tag.to_string(),
        TagOrDigest::Digest(digest) => digest.hex().chars().take(12).collect(),
    }
}

pub(crate) async fn post(
    mut call: Call<'_>,
    repository: &RepositoryName,
    target: &TagOrDigest,
) -> Result<Response, Error> {
    let form = Form::read(&mut call).await?;
    if form.text("confirmation") != confirmation(target) {
        return show(&call, repository, target, true).await;
    }
    call.registry().delete_manifest(repository, target).await?;
    let done = match target {
        TagOrDigest::Tag(_) => "tag-deleted",
        TagOrDigest::Digest(_) => "manifest-deleted",
    };
    Ok(Page::of(&call).redirect(&format!("/{repository}?done={done}")))
}

pub(crate) async fn get_repository(call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    show_repository(&call, repository, false).await
}

async fn show_repository(
    call: &Call<'_>,
    repository: &RepositoryName,
    has_mismatch: bool,
) -> Result<Response, Error> {
    let record = call.app.registry.repository(repository).await?;
    let page = Page::of(call);
    let body = Delete {
        back: format!("/{repository}"),
        address: format!("/-/delete/{repository}"),
        confirmation: repository.to_string(),
        effects: vec![
            page.counted("delete-repository-tags", record.tags),
            page.counted("delete-repository-manifests", record.manifests),
            page.t("delete-repository-shared").into_owned(),
        ],
        has_mismatch,
        page,
    };
    body.page.render(&body)
}

pub(crate) async fn post_repository(
    mut call: Call<'_>,
    repository: &RepositoryName,
) -> Result<Response, Error> {
    let form = Form::read(&mut call).await?;
    if form.text("confirmation") != repository.as_str() {
        return show_repository(&call, repository, true).await;
    }
    call.registry().delete_repository(repository).await?;
    Ok(Page::of(&call).redirect("/?done=repository-deleted"))
}
