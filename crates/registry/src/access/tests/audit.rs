//! Recording and retention of audit entries.

use super::*;

fn event(action: &'static str) -> AuditEvent {
    AuditEvent {
        account: Some("ann".to_owned()),
        address: Some("::ffff:10.0.0.1".parse().unwrap()),
        action,
        object: None,
        verdict: AuditOutcome::Allowed,
        status: Some(201),
        request_id: None,
        detail: None,
    }
}

async fn logged(accounts: &Accounts) -> Vec<String> {
    let records = accounts.inner.metadata.audit(AuditFilter::default(), 10_000).await.unwrap();
    records.into_iter().map(|record| record.entry.action).collect()
}

#[tokio::test]
async fn audit_entries_are_durable_after_flush_or_close() {
    let fixture = fixture().await;
    fixture.record(event("one")).await;
    fixture.record_durably(event("two")).await;
    assert_eq!(logged(&fixture).await, ["user.add", "one", "two"]);
    for _ in 0..1000 {
        fixture.record(event("more")).await;
    }
    fixture.flush_audit().await;
    assert_eq!(logged(&fixture).await.len(), 1003);
    fixture.record(event("last")).await;
    fixture.close().await;
    assert_eq!(logged(&fixture).await.last().unwrap(), "last");
    let records = fixture.inner.metadata.audit(AuditFilter::default(), 2).await.unwrap();
    assert_eq!(records[1].entry.address.as_deref(), Some("10.0.0.1"));
    // An event after the close neither blocks nor fails.
    fixture.record_durably(event("too late")).await;
}

#[tokio::test]
async fn audit_queue_applies_backpressure() {
    let fixture = fixture().await;
    let events = (0..6000).map(|_| fixture.record(event("one")));
    futures_util::future::join_all(events).await;
    fixture.flush_audit().await;
    assert_eq!(logged(&fixture).await.iter().filter(|action| *action == "one").count(), 6000);
}

#[tokio::test]
async fn audit_sink_sees_entries_and_old_ones_expire() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink: AuditSink = {
        let seen = seen.clone();
        Arc::new(move |entry| seen.lock().unwrap().push(entry.action.clone()))
    };
    let settings = AccountSettings {
        audit_sink: Some(sink),
        audit_retention: Duration::ZERO,
        ..AccountSettings::default()
    };
    let fixture = open(tempfile::tempdir().unwrap(), settings).await;
    fixture.record(event("one")).await;
    fixture.record_durably(event("two")).await;
    assert_eq!(*seen.lock().unwrap(), ["one", "two"]);
    fixture.tidy(SystemTime::now() + Duration::from_secs(1)).await.unwrap();
    assert!(logged(&fixture).await.is_empty());
}

#[tokio::test]
async fn accounts_without_a_request_have_audit_entries() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("passwd");
    std::fs::write(&path, "dan:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").unwrap();
    let settings = AccountSettings { htpasswd: Some(path), forward: true, ..AccountSettings::default() };
    let fixture = open(directory, settings).await;
    fixture.ensure_administrator(&name("root"), PASSWORD).await.unwrap();
    fixture.ensure_administrator(&name("root"), PASSWORD).await.unwrap();
    fixture.sign_in_forwarded(name("eve"), HOME).await.unwrap();
    fixture.sign_in_forwarded(name("eve"), HOME).await.unwrap();
    fixture.flush_audit().await;
    let records = fixture.inner.metadata.audit(AuditFilter::default(), 100).await.unwrap();
    let entries: Vec<_> = records
        .iter()
        .map(|record| {
            let entry = &record.entry;
            (entry.account.as_deref(), &*entry.action, entry.object.as_deref(), entry.verdict)
        })
        .collect();
    let added = |actor, object| (Some(actor), "user.add", Some(object), AuditOutcome::Allowed);
    assert_eq!(
        entries,
        [added("(htpasswd)", "dan"), added("(operator)", "root"), added("(auth.forward)", "eve")]
    );
}
