//! Audit log on standard output, as JSON lines (`audit.log`).

use registry::records::AuditEntry;
use serde::Serialize;

use crate::output_queue;
use crate::rfc3339;

/// An entry, without unknown fields.
#[derive(Serialize)]
struct Line<'a> {
    /// RFC 3339, in UTC.
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a str>,
    verdict: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// Prints an entry. A reader that is gone or stuck loses lines; the audit log in the metadata has them.
pub(crate) fn print(entry: &AuditEntry) {
    let mut line = line(entry);
    line.push('\n');
    output_queue::stdout().push(line.as_bytes());
}

fn line(entry: &AuditEntry) -> String {
    let line = Line {
        at: rfc3339::milliseconds(entry.at),
        account: entry.account.as_deref(),
        address: entry.address.as_deref(),
        action: &entry.action,
        object: entry.object.as_deref(),
        verdict: entry.verdict.as_str(),
        status: entry.status,
        request_id: entry.request_id.as_deref(),
        detail: entry.detail.as_deref(),
    };
    serde_json::to_string(&line).expect("text and numbers are JSON")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use registry::records::AuditOutcome;

    use super::*;

    #[test]
    fn entry_is_one_line() {
        let entry = AuditEntry {
            at: UNIX_EPOCH + Duration::from_millis(1_500),
            account: Some("ann\n{\"x\"".to_owned()),
            address: Some("::1".to_owned()),
            action: "manifest.push".to_owned(),
            object: Some("ann/app:1".to_owned()),
            verdict: AuditOutcome::Allowed,
            status: Some(201),
            request_id: None,
            detail: None,
        };
        let line = line(&entry);
        assert!(!line.contains('\n'));
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["at"], "1970-01-01T00:00:01.500Z");
        assert_eq!(json["account"], "ann\n{\"x\"");
        assert_eq!(json["verdict"], "allowed");
        assert!(json.get("detail").is_none());
    }
}
