//! `/api/v1/repositories/<name>/_history` and `…/_undo`: the changes of tags, and taking them back.

use std::time::{Duration, SystemTime};

use api::{History, Undo, Undone};
use oci::{RepositoryName, Tag};
use registry::records::{UndoOutcome, UndoTarget};

use super::{convert, manage};
use crate::http::audited_change::AuditedChange;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

pub(crate) async fn get(call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let query = call.query();
    let page = call.page()?;
    let tag = query.get_filled("tag").map(|tag| tag.parse::<Tag>()).transpose().map_err(Error::BadTag)?;
    let before = query.parsed::<i64>("last", "the id of an entry")?;
    let found = call.app.registry.tag_history(repository, tag.as_ref(), before, page.limit).await?;
    let last = found.items.last().filter(|_| found.more).map(|entry| entry.id.to_string());
    let entries = found.items.into_iter().map(convert::history_entry).collect();
    let mut response = response::json(&History { entries, more: found.more });
    let path = format!("/api/v1/repositories/{repository}/_history");
    let filters: Vec<(&str, &str)> = tag.iter().map(|tag| ("tag", tag.as_str())).collect();
    page.link_next(&mut response, &call.caller.links(), &path, &filters, last.as_deref());
    Ok(response)
}

/// Points a tag to an earlier manifest.
pub(crate) async fn undo(mut call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let Undo { tag, to_digest, to_time } = manage::body(&mut call).await?;
    let target = match (to_digest, to_time) {
        (Some(_), Some(_)) => {
            return Err(Error::BadParameter {
                parameter: "to_time",
                expected: "left out if `to_digest` is given",
            });
        }
        (Some(digest), None) => UndoTarget::To(digest),
        (None, Some(seconds)) => {
            let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
            UndoTarget::At(time.unwrap_or_else(SystemTime::now))
        }
        (None, None) => UndoTarget::Last,
    };
    let registry = call.registry();
    let mut undone = match registry.undo_tag(repository, &tag, target).await? {
        UndoOutcome::Done { from, to, restored } => Undone { tag, from, to, restored, incomplete: false },
        UndoOutcome::Unchanged(to) => {
            Undone { tag, from: Some(to), to, restored: Vec::new(), incomplete: false }
        }
        // The registry has turned the other outcomes into errors.
        _ => return Err(registry::Error::Store(registry::records::StoreError::Closed).into()),
    };
    undone.incomplete = registry.lacks_content(repository, &undone.to).await;
    Ok(audited(repository, &undone).on(response::json(&undone)))
}

fn audited(repository: &RepositoryName, undone: &Undone) -> AuditedChange {
    let Undone { tag, from, to, .. } = undone;
    let from = from.map_or("nothing".to_owned(), |from| from.to_string());
    AuditedChange {
        action: "tag.undo",
        object: Some(format!("{repository}:{tag}")),
        detail: Some(format!("from {from} to {to}")),
    }
}
