//! The audit log.

use std::time::{Duration, SystemTime};

use api::Audit;
use registry::records::{AuditFilter, AuditOutcome};

use super::{manage, map_error, ok, take_page};
use crate::http::api::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

pub(crate) async fn read(call: Call<'_>) -> Result<Response, Error> {
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
        // A time beyond the range of `SystemTime` is in the future.
        since: since.map(|since| SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or_else(SystemTime::now)),
        after: query.parsed::<i64>("after", "the id of an entry")?,
        latest,
    };
    // A page of the latest entries would drop the wrong one.
    let limit = if latest { page.limit } else { page.limit + 1 };
    let (entries, more) = take_page(map_error(&call, manage(&call).audit(filter, limit).await)?, &page);
    Ok(ok(&Audit { entries: entries.into_iter().map(convert::audit_entry).collect(), more }))
}
