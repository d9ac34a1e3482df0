//! The audit log.

use std::time::{Duration, SystemTime};

use api::Audit;
use registry::records::{AuditFilter, AuditOutcome, AuditRecord};

use super::{json_lines, manage, map_error, ok};
use crate::http::api::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The entries that an export reads at once.
const BATCH: usize = 200;

pub(crate) async fn read(call: Call<'_>) -> Result<Response, Error> {
    let query = call.query();
    let page = call.page()?;
    let since = query.number("since")?.map(|seconds| Duration::from_secs(seconds as u64));
    let text = |name| query.get_filled(name).map(std::borrow::Cow::into_owned);
    let filter = AuditFilter {
        account: text("account"),
        action: text("action"),
        object_prefix: text("repository"),
        verdict: query.parsed::<AuditOutcome>("verdict", "allowed, denied or failed")?,
        // A time beyond the range of `SystemTime` is in the future.
        since: since.map(|since| SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or_else(SystemTime::now)),
        after: query.parsed::<i64>("after", "the id of an entry")?,
        before: query.parsed::<i64>("before", "the id of an entry")?,
        latest: query.truth("latest")?,
    };
    let (entries, more) = page_of(&call, filter, page.limit).await?;
    Ok(ok(&Audit { entries: entries.into_iter().map(convert::audit_entry).collect(), more }))
}

/// Returns a page of entries, the oldest first, and whether there are more: newer ones, or older ones of a
/// filter for the latest.
pub(crate) async fn page_of(
    call: &Call<'_>,
    filter: AuditFilter,
    limit: usize,
) -> Result<(Vec<AuditRecord>, bool), Error> {
    let latest = filter.latest;
    let mut entries = map_error(call, manage(call).audit(filter, limit + 1).await)?;
    let more = entries.len() > limit;
    if latest && more {
        entries.remove(0);
    }
    entries.truncate(limit);
    Ok((entries, more))
}

/// Answers with all entries of a filter that there are now, the oldest first: a JSON object on each line. A
/// last line with `error` says that the rest could not be read.
pub(crate) async fn export(call: &Call<'_>, filter: AuditFilter) -> Result<Response, Error> {
    let manage = manage(call);
    let newest = AuditFilter { latest: true, ..filter.clone() };
    let newest = map_error(call, manage.audit(newest, 1).await)?.pop();
    // A log that grows faster than it is read ends all the same.
    let before = Some(newest.map_or(0, |newest| newest.id + 1));
    Ok(json_lines::stream(|lines| async move {
        let mut after = filter.after;
        loop {
            let batch = AuditFilter { after, before, latest: false, ..filter.clone() };
            let entries = match manage.audit(batch, BATCH).await {
                Ok(entries) => entries,
                Err(error) => {
                    tracing::error!(%error, "an export of the audit log was not sent to its end");
                    let error = "the rest could not be read; the log of the server has the cause";
                    return lines.end(&serde_json::json!({ "error": error })).await;
                }
            };
            let is_last = entries.len() < BATCH;
            after = entries.last().map(|last| last.id).or(after);
            let entries: Vec<_> = entries.into_iter().map(convert::audit_entry).collect();
            if !lines.send(&entries).await || is_last {
                return;
            }
        }
    }))
}
