-- The webhooks of owners for their repositories. Those of the configuration are not here. patterns, events, media_types
-- and headers are JSON. previous_secret also signs until the next change of the secret.
CREATE TABLE webhooks (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    url             TEXT NOT NULL,
    secret          TEXT NOT NULL,
    previous_secret TEXT,
    events          TEXT NOT NULL,
    patterns        TEXT NOT NULL,
    format          TEXT NOT NULL,
    account         TEXT,
    created_at      INTEGER NOT NULL
);

-- The deliveries of webhooks. webhook is the name of a webhook of the configuration, or the id of another one. event is
-- JSON. state is pending, delivered or parked. status and answer are those of the last attempt.
CREATE TABLE webhook_deliveries (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook      TEXT NOT NULL,
    repository   TEXT NOT NULL,
    event        TEXT NOT NULL,
    state        TEXT NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    attempted_at INTEGER,
    status       INTEGER,
    answer       TEXT
);
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (webhook, state, id);
