//! `/-/delete-tags/<repository>`: deletion of several tags. The page says for each tag what becomes of it,
//! and asks for the name of the repository. The result offers to take the deletion back.

use std::collections::HashMap;

use accounts::Right;
use api::{DeletedTag, DeletedTags, KeptTag};
use askama::Template;
use oci::{Digest, RepositoryName, Tag, TagOrDigest};

use super::form::Form;
use super::page::Page;
use super::repository::short;
use crate::http::api::tags;
use crate::http::audited_change::AuditedChange;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The maximum number of tags on the page: more than the page of a repository lists.
const MOST: usize = 100;

/// A chosen tag, and what becomes of it.
struct Line {
    tag: Tag,
    /// `None` if the tag is not there.
    digest: Option<String>,
    effect: String,
    /// Whether it is deleted.
    goes: bool,
}

#[derive(Template)]
#[template(path = "delete_tags.html")]
struct DeleteTags {
    page: Page,
    name: String,
    lines: Vec<Line>,
    /// The number of tags that go.
    count: u64,
    has_mismatch: bool,
}

pub(crate) async fn get(call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let chosen = parsed(call.query().all("tag").map(std::borrow::Cow::into_owned))?;
    show(&call, repository, chosen, false).await
}

/// Parses the tags of a form, each once.
fn parsed(words: impl Iterator<Item = String>) -> Result<Vec<Tag>, Error> {
    let mut tags =
        words.map(|word| word.parse::<Tag>().map_err(Error::BadTag)).collect::<Result<Vec<Tag>, _>>()?;
    tags.sort_unstable();
    tags.dedup();
    if tags.len() > MOST {
        return Err(Error::BadParameter { parameter: "tag", expected: "at most 100 tags" });
    }
    Ok(tags)
}

/// A chosen tag, and its manifest with all tags of that.
type Chosen = (Tag, Option<(Digest, Vec<Tag>)>);

async fn show(
    call: &Call<'_>,
    repository: &RepositoryName,
    chosen: Vec<Tag>,
    has_mismatch: bool,
) -> Result<Response, Error> {
    // A repository that is not there is an error, also without tags.
    call.app.registry.repository(repository).await?;
    let page = Page::of(call);
    let is_administrator = call.caller.actor(&call.request.id).is_administrator;
    let mut found: Vec<Chosen> = Vec::with_capacity(chosen.len());
    for tag in chosen {
        let target = TagOrDigest::Tag(tag.clone());
        let details = match call.app.registry.manifest_details(repository, &target).await {
            Ok(details) => Some((details.manifest.digest, details.tags)),
            Err(error) if error.is_unknown() => None,
            Err(error) => return Err(error.into()),
        };
        found.push((tag, details));
    }
    let refusals: HashMap<Tag, _> = found
        .iter()
        .filter_map(|(tag, _)| Some((tag.clone(), call.app.registry.tag_rule(repository, tag)?)))
        .filter(|(_, refusal)| refusal.is_immutable || !is_administrator)
        .collect();
    let going: Vec<Tag> =
        found.iter().map(|(tag, _)| tag.clone()).filter(|tag| !refusals.contains_key(tag)).collect();
    let line = |(tag, details): Chosen| {
        let digest = details.as_ref().map(|(digest, _)| digest.to_string());
        let (goes, effect) = match (details, refusals.get(&tag)) {
            (None, _) => (false, page.t("delete-tags-absent").into_owned()),
            (Some(_), Some(refusal)) => (false, kept(&page, refusal.is_immutable, &refusal.pattern)),
            (Some((_, tags)), None) if tags.iter().all(|other| going.contains(other)) => {
                (true, page.t("delete-tags-untagged").into_owned())
            }
            (Some((_, tags)), None) => {
                let others = tags.iter().filter(|other| !going.contains(other)).map(Tag::as_str);
                (true, page.with("delete-tags-others", others.collect::<Vec<_>>().join(", ")))
            }
        };
        Line { tag, digest, effect, goes }
    };
    let lines: Vec<Line> = found.into_iter().map(line).collect();
    let count = lines.iter().filter(|line| line.goes).count();
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    let body = DeleteTags { name: repository.to_string(), lines, count, has_mismatch, page };
    body.page.render(&body)
}

/// Says which rule keeps a tag.
fn kept(page: &Page, is_immutable: bool, rule: &str) -> String {
    page.with(if is_immutable { "delete-tags-immutable" } else { "delete-tags-protected" }, rule)
}

#[derive(Template)]
#[template(path = "deleted_tags.html")]
struct Deleted {
    page: Page,
    name: String,
    result: DeletedTags,
    may_undo: bool,
}

impl Deleted {
    fn reason(&self, tag: &KeptTag) -> String {
        kept(&self.page, tag.immutable, &tag.rule)
    }

    fn short(&self, tag: &DeletedTag) -> String {
        short(&tag.digest.to_string()).to_owned()
    }
}

pub(crate) async fn post(mut call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let form = Form::read(&mut call).await?;
    let chosen = parsed(form.all("tag").into_iter())?;
    if chosen.is_empty() || form.text("confirmation") != repository.as_str() {
        return show(&call, repository, chosen, true).await;
    }
    let result = tags::delete_all(&call, repository, chosen).await?;
    let changes = tags::audited(repository, &result);
    let may_undo = call.app.accounts.is_allowed(call.caller.identity(), repository, Right::Push).await?;
    let body = Deleted { page: Page::of(&call), name: repository.to_string(), result, may_undo };
    Ok(AuditedChange::all_on(changes, body.page.render(&body)?))
}
