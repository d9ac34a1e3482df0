//! `/-/admin/audit`: the audit log, the newest first, with filters; and the same entries as a file.

use std::time::{Duration, SystemTime};

use askama::Template;
use hyper::header::{CONTENT_DISPOSITION, HeaderValue};
use oci::Digest;
use registry::records::{AuditFilter, AuditOutcome, AuditRecord};

use super::super::page::Page;
use super::super::repository::short;
use super::must_be_administrator;
use crate::http::api::manage::audit;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The entries on a page.
const PAGE: usize = 100;

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
    is_first: bool,
    /// The id of the last entry, if there are older ones.
    next: Option<i64>,
}

impl AuditPage {
    /// Returns the query with the filters.
    fn filters(&self) -> String {
        self.pairs().finish()
    }

    /// Returns the query with the filters and another parameter.
    fn query(&self, name: &str, value: impl ToString) -> String {
        self.pairs().append_pair(name, &value.to_string()).finish()
    }

    fn pairs(&self) -> form_urlencoded::Serializer<'static, String> {
        let filters = [
            ("account", &self.account),
            ("action", &self.action),
            ("repository", &self.repository),
            ("verdict", &self.verdict),
            ("days", &self.days),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(filters.into_iter().filter(|(_, value)| !value.is_empty()));
        query
    }
}

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let query = call.query();
    let text = |name: &str| query.get_filled(name).map(|text| text.trim().to_owned()).unwrap_or_default();
    let (account, action, repository) = (text("account"), text("action"), text("repository"));
    let (verdict, days) = (text("verdict"), text("days"));
    let filled = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let since = days.parse::<u64>().ok().map(|days| Duration::from_secs(days.saturating_mul(86_400)));
    let before = query.parsed::<i64>("before", "the id of an entry")?;
    let filter = AuditFilter {
        account: filled(&account),
        action: filled(&action),
        object_prefix: filled(&repository),
        verdict: verdict.parse::<AuditOutcome>().ok(),
        since: since.and_then(|since| SystemTime::now().checked_sub(since)),
        after: None,
        before,
        latest: true,
    };
    if query.get("format").as_deref() == Some("json") {
        let mut response = audit::export(&call, filter).await?;
        let disposition = HeaderValue::from_static("attachment; filename=\"audit.jsonl\"");
        response.headers_mut().insert(CONTENT_DISPOSITION, disposition);
        return Ok(response);
    }
    let (mut entries, more) = audit::page_of(&call, filter, PAGE).await?;
    entries.reverse();
    let body = AuditPage {
        page: Page::of(&call),
        next: entries.last().filter(|_| more).map(|entry| entry.id),
        is_first: before.is_none(),
        entries,
        account,
        action,
        repository,
        verdict,
        days,
    };
    body.page.render(&body)
}

/// Shortens the digests in a text to the part that people compare.
fn shortened(text: &str) -> String {
    const IN_DIGEST: fn(char) -> bool = |char| char.is_ascii_alphanumeric() || char == ':';
    let mut shortened = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|char: char| !IN_DIGEST(char)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word);
        shortened.push_str(if word.parse::<Digest>().is_ok() { short(word) } else { word });
        let between = after.find(IN_DIGEST).unwrap_or(after.len());
        shortened.push_str(&after[..between]);
        rest = &after[between..];
    }
    shortened
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_in_a_text_are_shortened() {
        let digest = format!("sha256:{}", "6c3c624b58db".repeat(6).split_at(64).0);
        for (text, expected) in [
            ("", ""),
            ("ann/app:1.0", "ann/app:1.0"),
            (&format!("ann/app@{digest}"), "ann/app@sha256:6c3c624b58db"),
            (&format!("to {digest}; with token 7"), "to sha256:6c3c624b58db; with token 7"),
            (&format!("{digest} {digest}"), "sha256:6c3c624b58db sha256:6c3c624b58db"),
            ("sha256:6c3c\u{e9}", "sha256:6c3c\u{e9}"),
        ] {
            assert_eq!(shortened(text), expected, "{text}");
        }
    }
}
