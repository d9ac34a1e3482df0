//! `/-/admin/audit`: the audit log, the newest first, with filters; and the same entries as a file.

use std::time::{Duration, SystemTime};

use askama::Template;
use hyper::header::{CONTENT_DISPOSITION, HeaderValue};
use registry::records::{AuditFilter, AuditOutcome, AuditRecord};

use super::super::page::Page;
use super::must_be_administrator;
use crate::http::api::convert;
use crate::http::api::manage::{manage, map_error};
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

/// The entries on a page.
const PAGE: usize = 100;
/// The entries in a file.
const EXPORT: usize = 10_000;

#[derive(Template)]
#[template(path = "admin/audit.html")]
struct AuditPage {
    page: Page,
    entries: Vec<AuditRecord>,
    account: String,
    action: String,
    repository: String,
    verdict: String,
    days: String,
    /// The query of the file.
    export: String,
}

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let query = call.query();
    let text = |name: &str| query.get_filled(name).map(|text| text.trim().to_owned()).unwrap_or_default();
    let (account, action, repository) = (text("account"), text("action"), text("repository"));
    let (verdict, days) = (text("verdict"), text("days"));
    let filled = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let since = days.parse::<u64>().ok().map(|days| Duration::from_secs(days.saturating_mul(86_400)));
    let filter = AuditFilter {
        account: filled(&account),
        action: filled(&action),
        object_prefix: filled(&repository),
        verdict: verdict.parse::<AuditOutcome>().ok(),
        since: since.and_then(|since| SystemTime::now().checked_sub(since)),
        after: None,
        latest: true,
    };
    let is_export = query.get("format").as_deref() == Some("json");
    let limit = if is_export { EXPORT } else { PAGE };
    let mut entries = map_error(&call, manage(&call).audit(filter, limit).await)?;
    if is_export {
        return Ok(export(entries));
    }
    entries.reverse();
    let export = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("account", &*account),
            ("action", &action),
            ("repository", &repository),
            ("verdict", &verdict),
            ("days", &days),
            ("format", "json"),
        ])
        .finish();
    let body =
        AuditPage { page: Page::of(&call), entries, account, action, repository, verdict, days, export };
    body.page.render(&body)
}

/// Returns the entries as JSON, an entry on each line.
fn export(entries: Vec<AuditRecord>) -> Response {
    let mut lines = Vec::new();
    for entry in entries {
        // Our own type has string keys and no custom code.
        let _ = serde_json::to_writer(&mut lines, &convert::audit_entry(entry));
        lines.push(b'\n');
    }
    let mut response = response::content(HeaderValue::from_static("application/x-ndjson"), lines);
    let disposition = HeaderValue::from_static("attachment; filename=\"audit.jsonl\"");
    response.headers_mut().insert(CONTENT_DISPOSITION, disposition);
    response
}
