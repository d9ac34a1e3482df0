//! `/api/v1/repositories/<name>/_tags`: the tags of a repository with what they point to.

use std::str::FromStr;

use api::{DeleteTags, DeletedTag, DeletedTags, KeptTag, Tags};
use oci::{RepositoryName, Tag};
use registry::listing::{TagPosition, TagSearch};
use registry::records::TagDeletion;

use super::{convert, manage};
use crate::http::audited_change::AuditedChange;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

/// The order of a list of tags: by name, or the last push first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TagSort {
    Name,
    Push,
}

impl FromStr for TagSort {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "name" => Ok(Self::Name),
            "pushed" => Ok(Self::Push),
            _ => Err(()),
        }
    }
}

impl TagSort {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Push => "pushed",
        }
    }

    /// Returns the cursor after a tag.
    pub(crate) fn cursor(self, (at, name): TagPosition) -> String {
        match self {
            Self::Name => name,
            Self::Push => format!("{at}.{name}"),
        }
    }

    /// Parses a cursor.
    pub(crate) fn position(self, cursor: &str) -> Result<TagPosition, Error> {
        let position = match self {
            Self::Name => Some((0, cursor.to_owned())),
            Self::Push => {
                cursor.split_once('.').and_then(|(at, name)| Some((at.parse().ok()?, name.to_owned())))
            }
        };
        let expected = "the cursor of the page before, which its Link has";
        position.ok_or(Error::BadParameter { parameter: "last", expected })
    }
}

pub(crate) async fn get(call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let Call { app, caller, .. } = &call;
    let query = call.query();
    let page = call.page()?;
    let all = match query.get("all").as_deref() {
        Some("true") => true,
        None | Some("false") => false,
        Some(_) => return Err(Error::BadParameter { parameter: "all", expected: "true or false" }),
    };
    let sort = query.parsed("sort", "name or pushed")?.unwrap_or(TagSort::Name);
    let contains = query.get_filled("q").map(std::borrow::Cow::into_owned).unwrap_or_default();
    let after = page.last.as_deref().map(|last| sort.position(last)).transpose()?;
    let search =
        TagSearch { contains: contains.clone(), include_hidden: all, by_push: sort == TagSort::Push };
    let found = app.registry.find_tags(repository, search, after, page.limit).await?;
    let last = found.items.last().filter(|_| found.more).map(|record| sort.cursor(record.position()));
    let tags = found.items.into_iter().map(convert::tag).collect();
    let mut response = response::json(&Tags { name: repository.clone(), tags, more: found.more });
    let path = format!("/api/v1/repositories/{repository}/_tags");
    let mut filters = Vec::new();
    filters.extend(all.then_some(("all", "true")));
    filters.extend((sort != TagSort::Name).then(|| ("sort", sort.word())));
    filters.extend((!contains.is_empty()).then_some(("q", contains.as_str())));
    page.link_next(&mut response, &caller.links(), &path, &filters, last.as_deref());
    Ok(response)
}

/// The maximum number of tags that one request deletes.
const MOST: usize = 1_000;

pub(crate) async fn delete(mut call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let DeleteTags { tags } = manage::body(&mut call).await?;
    let deleted = delete_all(&call, repository, tags).await?;
    Ok(AuditedChange::all_on(audited(repository, &deleted), response::json(&deleted)))
}

/// Deletes tags.
pub(crate) async fn delete_all(
    call: &Call<'_>,
    repository: &RepositoryName,
    mut tags: Vec<Tag>,
) -> Result<DeletedTags, Error> {
    if tags.is_empty() || tags.len() > MOST {
        return Err(Error::BadParameter { parameter: "tags", expected: "1 to 1,000 tags" });
    }
    tags.sort_unstable();
    tags.dedup();
    let mut deleted = DeletedTags::default();
    for (tag, result) in call.registry().delete_tags(repository, tags).await? {
        match result {
            TagDeletion::Deleted(digest) => deleted.deleted.push(DeletedTag { tag, digest }),
            TagDeletion::Absent => deleted.absent.push(tag),
            TagDeletion::Refused(refusal) => {
                let (rule, immutable) = (refusal.pattern, refusal.is_immutable);
                deleted.kept.push(KeptTag { tag, rule, immutable });
            }
        }
    }
    Ok(deleted)
}

/// The entries of the audit log: one for each deleted tag, as for a single deletion.
pub(crate) fn audited(repository: &RepositoryName, deleted: &DeletedTags) -> Vec<AuditedChange> {
    let one =
        |deleted: &DeletedTag| AuditedChange::new("manifest.delete", format!("{repository}:{}", deleted.tag));
    deleted.deleted.iter().map(one).collect()
}
