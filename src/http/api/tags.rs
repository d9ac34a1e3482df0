//! `/api/v1/repositories/<name>/_tags`: the tags of a repository with what they point to.

use std::str::FromStr;

use api::Tags;
use oci::RepositoryName;
use registry::listing::{TagPosition, TagSearch};

use super::convert;
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
