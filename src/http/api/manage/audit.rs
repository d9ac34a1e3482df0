//! What was done.

use std::time::{Duration, SystemTime};

use api::Audit;
use store::metadata::{AuditFilter, AuditOutcome};

use super::{Call, cut, shown};
use crate::http::api::convert;
use crate::http::error::Error;
use crate::http::response::Response;

pub(super) async fn read(call: Call<'_>) -> Result<Response, Error> {
    let query = call.query();
    let page = call.page()?;
    let since = query.number("since")?.map(|seconds| Duration::from_secs(seconds as u64));
    let text = |name| query.get_filled(name).map(std::borrow::Cow::into_owned);
    let latest = query.truth("latest")?;
    let filter = AuditFilter {
        account: text("account"),
        action: text("action"),
        object_prefix: text("repository"),
        verdict: query.parsed::<AuditOutcome>("verdict", "allowed, denied or failed")?,
        // What lies beyond all time has not happened yet.
        since: since.map(|since| SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or_else(SystemTime::now)),
        after: query.parsed::<i64>("after", "the id of an entry")?,
        latest,
    };
    // Of the latest ones, the one that is too many is the first.
    let limit = if latest { page.limit } else { page.limit + 1 };
    let (entries, more) = cut(call.found(call.manage.audit(filter, limit).await)?, &page);
    Ok(shown(&Audit { entries: entries.into_iter().map(convert::audit_entry).collect(), more }))
}
