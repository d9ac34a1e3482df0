//! The JSON types of the management API below `/api/v1/`, and a client of it. The server writes the types,
//! the commands read them through the client, and the OpenAPI document describes them.
//!
//! Times are in seconds since 1970. A request body with an unknown field is rejected, so that a typing error
//! is not silently ignored; an optional field that is left out has a default.

#![allow(missing_docs, reason = "most fields are described by their names")]

mod access;
mod audit;
mod check;
mod client;
mod events;
mod garbage;
mod grants;
mod history;
mod jobs;
mod organisations;
mod page;
mod quotas;
mod reload;
mod relocation;
mod repositories;
mod retention;
mod robots;
mod rules;
mod secret;
mod settings;
mod tokens;
mod upstreams;
mod users;
mod version;
mod webhooks;

pub use access::{Access, AccessReason, Session, Sessions};
pub use audit::{Audit, AuditEntry, AuditOutcome};
pub use check::{
    Adopt, Adopted, AdoptedChange, AdoptionProblem, CheckFault, CheckLine, CheckProgress, CheckReading,
    CheckReport, UnwrittenBlob, WrongCounter,
};
pub use client::{Client, ClientError, Credentials};
pub use events::Event;
pub use garbage::{
    ChainLink, Collected, Erase, Erased, Explanation, GarbageKept, GarbageLine, GarbagePreview,
    GarbageRemoval, GarbageReport, GarbageSpace, GarbageStatus, KeepingChain, RunningCollection,
    RunningDeletion,
};
pub use grants::{Grant, Grants, NewGrant};
pub use history::{DeletedManifest, History, HistoryEntry, Restore, RestoredManifests, Trash, Undo, Undone};
pub use jobs::{Job, Jobs};
pub use organisations::{
    Member, MemberRole, Members, NewOrganisation, Organisation, OrganisationChange, Organisations, Team,
    TeamMembers, Teams,
};
pub use page::Page;
pub use quotas::{QuotaEntry, Quotas};
pub use reload::Reloaded;
pub use relocation::{
    Move, MoveBlobs, MoveLine, MoveMetadata, MoveProgress, MoveReport, MovedBlobs, MovedTable,
};
pub use repositories::{
    DeleteTags, DeletedTag, DeletedTags, KeptTag, ManifestEntry, Namespaces, OwnerUsage, OwnerUsages,
    Repositories, Repository, RepositoryUsage, RepositoryUsages, SearchResult, SearchResults, TagEntry, Tags,
    Usage,
};
pub use retention::{
    RetentionDeletion, RetentionReport, RetentionRequest, RetentionRule, RetentionRules, RunTag, RunUndone,
    UndoRun,
};
pub use robots::{NewRobot, Robot, RobotChange, RobotSecret, Robots};
pub use rules::{RetentionRuleInForce, RulePreview, Rules, SelectedTag, TagRule};
pub use secret::Secret;
pub use settings::{ServerCertificate, Setting, Settings};
pub use tokens::{MadeToken, NewToken, Token, TokenChange, Tokens};
pub use upstreams::{Purged, Upstream, UpstreamProbe, UpstreamState, UpstreamTest, UpstreamUrl, Upstreams};
pub use users::{Me, MeKind, NewUser, Registration, Source, User, UserChange, Users};
pub use version::Version;
pub use webhooks::{
    Deliveries, Delivery, MadeWebhook, NewWebhook, Replay, Replayed, Webhook, WebhookChange, WebhookTest,
    Webhooks,
};
