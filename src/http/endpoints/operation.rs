//! Endpoints: the operation of the server in the management API: rules, jobs, events, upstreams, backup.

macro_rules! rows {
    ($callback:ident $($before:tt)*) => {
        $crate::http::endpoints::pages::rows! { $callback $($before)*
/// The check of all content.
ApiCheck [] "api_check" "/api/v1/check" Server {
    POST: Requirement::Own, AuditAction::Operate("check.run") => manage::check::run {
        "Check that all content is there, and repair it"
        .note(
            "For administrators. The answer has a JSON object on each line (application/x-ndjson): progress while \
             it goes on, and what it found on the last.",
        )
        .parameters(&[
            ("read", "boolean", "Read all content and compare it with its digest."),
            ("repair", "boolean", "Repair what can be repaired, and move damaged content aside. Deletes nothing."),
        ])
        .streams::<CheckLine>("application/x-ndjson", "A line.")
    };
}
/// A preview of the retention rules.
ApiRetentionPreview [] "api_retention_preview" "/api/v1/retention/preview" Server {
    POST: Requirement::Own, AuditAction::None => manage::retention::preview {
        "Show which tags a retention run would delete"
        .note("For administrators. It runs the same code as a run, and rolls it back.")
        .takes::<RetentionRequest>().answers::<RetentionReport>(200, "The tags that a run would delete.")
    };
}
/// A run of the retention rules.
ApiRetentionRun [] "api_retention_run" "/api/v1/retention/run" Server {
    POST: Requirement::Own, AuditAction::None => manage::retention::run {
        "Delete the tags that no retention rule keeps"
        .note("For administrators.")
        .takes::<RetentionRequest>().answers::<RetentionReport>(200, "The deleted tags.")
    };
}
/// Takes back a run of the retention rules.
ApiRetentionUndo [] "api_retention_undo" "/api/v1/retention/undo" Server {
    POST: Requirement::Own, AuditAction::None => manage::retention::undo {
        "Take back all deletions of a retention run"
        .note("For administrators. A tag that was pushed since then stays.")
        .takes::<UndoRun>().answers::<RunUndone>(200, "The tags of the run.")
    };
}
/// The retention rules of all repositories.
ApiRetentionServerRules [] "api_retention_server_rules" "/api/v1/retention/rules" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::retention::server_rules {
        "Get the retention rules of all repositories"
        .note("For administrators. Those of the configuration are not among them.")
        .answers::<RetentionRules>(200, "The rules.")
    };
    PUT: Requirement::Own, AuditAction::None => manage::retention::set_server_rules {
        "Set the retention rules of all repositories"
        .note("For administrators. They apply after the rules of the configuration, and before those of owners.")
        .takes::<RetentionRules>().ends(204, "They are set.")
    };
    DELETE: Requirement::Own, AuditAction::None => manage::retention::remove_server_rules {
        "Remove the retention rules of all repositories" .ends(204, "They are removed.")
    };
}
/// The retention rules of an account.
ApiRetentionRules [user: AccountName] "api_retention_rules" "/api/v1/retention/rules/{user}" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::retention::rules {
        "Get the retention rules of a user or an organisation"
        .note("For administrators, the user, and owners of the organisation.")
        .answers::<RetentionRules>(200, "The rules.")
    };
    PUT: Requirement::Own, AuditAction::None => manage::retention::set_rules {
        "Set the retention rules of a user or an organisation for its repositories"
        .note("The rules of the configuration and those of all repositories come first.")
        .takes::<RetentionRules>().ends(204, "They are set.")
    };
    DELETE: Requirement::Own, AuditAction::None => manage::retention::remove_rules {
        "Remove the retention rules of a user or an organisation" .ends(204, "They are removed.")
    };
}
/// The rules on tags.
ApiRules [] "api_rules" "/api/v1/rules" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::rules::get {
        "List the rules on tags, and preview another rule"
        .note("For administrators. With both parameters, `preview` has the tags that such a rule would select.")
        .parameters(&[
            ("repositories", "string", "A selector of repositories, as in `[[immutable]]`."),
            ("tags", "string", "A selector of tags, as in `[[immutable]]`."),
        ])
        .answers::<Rules>(200, "The rules.")
    };
}
/// The settings in force.
ApiSettings [] "api_settings" "/api/v1/settings" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::settings::get {
        "Get the settings in force with their origin, and the certificate"
        .note("For administrators. Secrets are left out.").answers::<Settings>(200, "The settings.")
    };
}
/// Background jobs.
ApiJobs [] "api_jobs" "/api/v1/jobs" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::jobs::list {
        "List the background jobs, with their progress"
        .note("For administrators.").answers::<Jobs>(200, "All kinds of jobs that have run since the start.")
    };
}
/// Garbage collection.
ApiGarbage [] "api_gc" "/api/v1/gc" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::gc::status {
        "Look at the last garbage collection, and at the space that is kept for now"
        .note("For administrators.").answers::<GarbageStatus>(200, "The state.")
    };
    POST: Requirement::Own, AuditAction::Operate("gc.run") => manage::gc::run {
        "Collect garbage now"
        .note(
            "For administrators. The answer has a JSON object on each line (application/x-ndjson): progress while \
             it goes on, and the result on the last. With `dry_run` it is one object, GarbagePreview, and nothing \
             changes.",
        )
        .parameters(&[("dry_run", "boolean", "List what a collection would remove now, and change nothing.")])
        .streams::<GarbageLine>("application/x-ndjson", "A line.")
    };
}
/// The reasons for which content is kept.
ApiExplain [] "api_gc_explain" "/api/v1/gc/explain" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::gc::explain {
        "Explain what keeps some content, or when it is collected"
        .note("For administrators.")
        .parameters(&[
            ("digest", "string", "The digest of a manifest or blob."),
            ("repository", "string", "Only what keeps it in this repository."),
        ])
        .answers::<Explanation>(200, "The chains that keep it.")
    };
}
/// Erasure of content.
ApiErase [] "api_erase" "/api/v1/erase" Server {
    POST: Requirement::Own, AuditAction::None => manage::gc::erase {
        "Erase a manifest or blob at once, without a way back"
        .note("For administrators.").takes::<Erase>().answers::<Erased>(200, "The erased content.")
    };
}
/// The stream of events.
ApiEvents [] "api_events" "/api/v1/events" Server {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::events::get {
        "Stream the events of the repositories that the caller may pull from"
        .note(
            "Server-sent events (text/event-stream): `id` is the number of the event, `event` its kind, `data` the JSON \
             below. A client that reconnects sends the last number as `Last-Event-ID`. `event: lost` says that older \
             events are not kept any more. Events of the whole registry are for administrators.",
        )
        .parameters(&[
            ("after", "integer", "The number after which the stream begins; by default from now on."),
            ("event", "string", "Only these kinds: `push`, `tag.*`, `*`. May be repeated."),
            ("repository", "string", "Only those of this repository."),
            ("follow", "boolean", "False ends the stream after the events so far."),
        ])
        .streams::<Event>("text/event-stream", "An event.")
    };
}
/// All webhooks.
ApiWebhooks [] "api_webhooks" "/api/v1/webhooks" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::webhooks::list {
        "List the webhooks"
        .note("Administrators see all, others those of repositories that they may administer.")
        .answers::<Webhooks>(200, "All of them.")
    };
    POST: Requirement::Own, AuditAction::None => manage::webhooks::add {
        "Add a webhook for repositories"
        .note("For callers who may administer all these repositories. The receiver is in the public internet.")
        .takes::<NewWebhook>().answers::<MadeWebhook>(201, "The webhook, with its secret, which is shown this once.")
    };
}
/// A webhook.
ApiWebhook [webhook: WebhookId] "api_webhook" "/api/v1/webhooks/{webhook}" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::webhooks::get {
        "Look at a webhook" .answers::<Webhook>(200, "The webhook.")
    };
    PATCH: Requirement::Own, AuditAction::None => manage::webhooks::rotate {
        "Replace the secret of a webhook"
        .note("The old secret also signs until the next change.")
        .takes::<WebhookChange>().answers::<MadeWebhook>(200, "The webhook, with its secret.")
    };
    DELETE: Requirement::Own, AuditAction::None => manage::webhooks::remove {
        "Remove a webhook with its deliveries" .ends(204, "It is removed.")
    };
}
/// A test of a webhook.
ApiWebhookTest [webhook: WebhookId] "api_webhook_test" "/api/v1/webhooks/{webhook}/test" Server {
    POST: Requirement::Own, AuditAction::None => manage::webhooks::test {
        "Send a test event to a webhook, once" .answers::<WebhookTest>(200, "The receiver's answer.")
    };
}
/// The deliveries of a webhook.
ApiWebhookDeliveries [webhook: WebhookId] "api_webhook_deliveries" "/api/v1/webhooks/{webhook}/deliveries" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::webhooks::deliveries {
        "List the deliveries of a webhook, the latest first"
        .parameters(&[PAGE[0], PAGE[1], ("state", "string", "Only those that are `pending`, `delivered` or `parked`.")])
        .answers::<Deliveries>(200, "A page.")
    };
}
/// A replay of deliveries.
ApiWebhookReplay [webhook: WebhookId] "api_webhook_replay" "/api/v1/webhooks/{webhook}/replay" Server {
    POST: Requirement::Own, AuditAction::None => manage::webhooks::replay {
        "Send deliveries of a webhook again" .takes::<Replay>().answers::<Replayed>(200, "Their number.")
    };
}
/// The audit log.
ApiAudit [] "api_audit" "/api/v1/audit" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::audit::read {
        "Read what was done, the oldest first"
        .note("For administrators. To follow, ask again with the last `id` as `after`.")
        .parameters(&[
            ("n", "integer", "How many entries the page has at most."),
            ("after", "integer", "The `id` after which the page begins."),
            ("before", "integer", "The `id` before which the page ends; with `latest`, the page before it."),
            ("latest", "boolean", "The last entries rather than the first."),
            ("since", "integer", "Only what was done at or after this time."),
            ("account", "string", "Only what this account did."),
            ("action", "string", "Only this action, or those of this kind: `user` has `user.add`."),
            ("repository", "string", "Only what was done to this repository, and those below it."),
            ("verdict", "string", "Only what was `allowed`, `denied` or `failed`."),
        ])
        .answers::<Audit>(200, "A page.")
    };
}
/// The upstreams of the cache.
ApiUpstreams [] "api_upstreams" "/api/v1/upstreams" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::upstreams::list {
        "List the upstreams, with their state and what is cached of them"
        .note("For administrators.").answers::<Upstreams>(200, "All of them.")
    };
}
/// A test of an upstream.
ApiUpstreamTest [upstream: UpstreamName] "api_upstream_test" "/api/v1/upstreams/{upstream}/test" Server {
    POST: Requirement::Own, AuditAction::None => manage::upstreams::test {
        "Call every URL of an upstream"
        .note("For administrators.").answers::<UpstreamTest>(200, "The answer of each URL.")
    };
}
/// The cached content of an upstream.
ApiUpstreamCache [upstream: UpstreamName] "api_upstream_cache" "/api/v1/upstreams/{upstream}/cache" Server {
    DELETE: Requirement::Own, AuditAction::Operate("upstream.purge") => manage::upstreams::purge {
        "Remove what is cached of an upstream"
        .note("For administrators. It is fetched again when it is pulled.")
        .parameters(&[("repositories", "string", "A pattern of its repositories, as the upstream names them.")])
        .answers::<Purged>(200, "The repositories that were removed.")
    };
}
/// Reload of the configuration.
ApiReload [] "api_reload" "/api/v1/reload" Server {
    POST: Requirement::Own, AuditAction::Operate("server.reload") => manage::reload::reload {
        "Read the configuration, the htpasswd file and the certificate again"
        .note("For administrators. A mistake changes nothing, and is in `errors`.")
        .answers::<Reloaded>(200, "The changed settings.")
    };
}
/// Backup of the metadata and the keys.
ApiBackup [] "api_backup" "/api/v1/backup" Server {
    POST: Requirement::Own, AuditAction::Operate("server.backup") => manage::backup::backup {
        "Make a backup of the metadata, the keys and the configuration"
        .note("For commands on the machine of the registry. The answer is a tar archive.")
        .streams::<Archive>("application/x-tar", "The archive.")
    };
}
/// Move of the registry to other places of its blobs and metadata.
ApiMove [] "api_move" "/api/v1/move" Server {
    POST: Requirement::Own, AuditAction::Operate("server.move") => manage::relocation::relocate {
        "Move the blobs and the metadata to other places"
        .note(
            "For commands on the machine of the registry. The answer has a JSON object on each line \
             (application/x-ndjson): progress while it goes on, and the result on the last. Then changes are refused \
             until the server is restarted.",
        )
        .takes::<Move>()
        .streams::<MoveLine>("application/x-ndjson", "A line.")
    };
}
/// Adoption of changes that other programs made in the data directory.
ApiAdopt [] "api_adopt" "/api/v1/adopt" Server {
    POST: Requirement::Own, AuditAction::Operate("server.adopt") => manage::adopt::adopt {
        "Adopt what another program has changed in the data directory"
        .note("For administrators. It reads every link below `repositories/`, which may take minutes.")
        .takes::<Adopt>().answers::<Adopted>(200, "The changes, and the items that could not be adopted.")
    };
}
        }
    };
}

pub(crate) use rows;
