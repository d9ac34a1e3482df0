//! Snapshot of every error that a client can get: status, code and message, so that texts are reviewed.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use accounts::{AccountName, Right, Subject};
use http_body_util::BodyExt;
use oci::{Algorithm, Digest, MediaType, RepositoryName, Tag, TagOrDigest};
use registry::access::{Identity, PasswordRefused};
use registry::records::{ContentRefusal, ErasureMark, QuotaExcess, TagRefusal};
use serde::de::Error as _;
use upstream::AccessError;
use uuid::Uuid;

use super::*;

/// The error enums, as they are nested: the variants that lead to each, its source, and its name.
const ENUMS: &[(&str, &str, &str)] = &[
    ("", include_str!("../error.rs"), "Error"),
    ("Path", include_str!("../extract/path_part.rs"), "PathError"),
    ("Path::Name", include_str!("../../../crates/oci/src/name.rs"), "NameError"),
    ("Path::Digest", include_str!("../../../crates/oci/src/digest.rs"), "DigestError"),
    ("Path::Account", include_str!("../../../crates/accounts/src/name.rs"), "AccountNameError"),
    ("Gateway", include_str!("../gateway_error.rs"), "GatewayError"),
    ("Mirror", include_str!("../../../crates/registry/src/mirror/error.rs"), "MirrorError"),
    ("Forward", include_str!("../middleware/forward_auth.rs"), "ForwardError"),
    ("Manage", include_str!("../../../crates/registry/src/access/manage/mod.rs"), "ManageError"),
    (
        "Manage::Password",
        include_str!("../../../crates/registry/src/access/passwords/mod.rs"),
        "PasswordRefused",
    ),
    ("Registry", include_str!("../../../crates/registry/src/error.rs"), "Error"),
    ("Registry::Receive", include_str!("../../../crates/registry/src/error.rs"), "ReceiveError"),
    ("Registry::ManifestInvalid", include_str!("../../../crates/oci/src/manifest.rs"), "ManifestError"),
];

/// Variants without a sample, because another place has the text or a client never gets it.
const ELSEWHERE: &[&str] = &[
    // The samples of these are at `Path`, `Manage` and `Registry`.
    "BadDigest",
    "BadTag",
    "Gateway::Receive",
    "Manage::Name",
    "Manage::Registry",
    "Mirror::Registry",
    "Forward::Registry",
    "Registry::PasswordRefused",
    // A client gets the text of an internal error.
    "Manage::Random",
    // A registry that has opened never returns it.
    "Registry::Htpasswd",
];

/// Returns the names of the variants of an enum.
fn variants<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let (_, body) = source.split_once(&format!("enum {name} {{\n")).expect(name);
    let body = body.split("\n}\n").next().unwrap_or(body);
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    lines
        .filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()))
        .map(|line| line.split(|char: char| !char.is_alphanumeric()).next().unwrap_or(line))
        .collect()
}

/// Returns the nested variants of an error: `Registry::Receive::Idle`.
fn path(error: &Error) -> String {
    let debug = format!("{error:?}");
    let mut path = String::new();
    for part in debug.split('(') {
        let end = part.find(|char: char| !char.is_alphanumeric()).unwrap_or(part.len());
        path = if path.is_empty() { part[..end].to_owned() } else { format!("{path}::{}", &part[..end]) };
        if end < part.len() || !ENUMS.iter().any(|(nested, ..)| *nested == path) {
            break;
        }
    }
    path
}

fn name() -> RepositoryName {
    "team/app".parse().unwrap()
}

fn tag() -> Tag {
    "1.0".parse().unwrap()
}

fn digest() -> Digest {
    Algorithm::Sha256.digest(b"one")
}

fn account() -> AccountName {
    "ann".parse().unwrap()
}

fn media_type() -> MediaType {
    "application/json".parse().unwrap()
}

fn samples() -> Vec<Error> {
    let path = [
        PathError::NoSuchPath,
        PathError::Encoding,
        PathError::Upload,
        "".parse::<RepositoryName>().unwrap_err().into(),
        "a".repeat(300).parse::<RepositoryName>().unwrap_err().into(),
        "Team".parse::<RepositoryName>().unwrap_err().into(),
        "-".parse::<Tag>().unwrap_err().into(),
        "sha256".parse::<Digest>().unwrap_err().into(),
        "md5:00".parse::<Digest>().unwrap_err().into(),
        "sha256:00".parse::<Digest>().unwrap_err().into(),
        format!("sha256:{}", "A".repeat(64)).parse::<Digest>().unwrap_err().into(),
        "".parse::<AccountName>().unwrap_err().into(),
        "a".repeat(2000).parse::<AccountName>().unwrap_err().into(),
        "a b".parse::<AccountName>().unwrap_err().into(),
        "ann+CI".parse::<AccountName>().unwrap_err().into(),
        "everyone".parse::<AccountName>().unwrap_err().into(),
        PathError::Team(accounts::TeamNameError),
    ];
    let denied = |reason| {
        let host = Some("registry.example.com".to_owned());
        Error::Denied(Denied { reason, challenge: None, host })
    };
    let own = [
        Error::BadHost,
        Error::NotServing,
        Error::LocalOnly,
        Error::LocalMove,
        Error::MetricsElsewhere,
        Error::Method,
        Error::BadParameter { parameter: "n", expected: "a whole number, such as 100" },
        Error::DigestMissing { of: "the whole blob" },
        Error::BadContentRange,
        Error::BadContentType,
        Error::NoUpstream("docker.io".to_owned()),
        Error::NotReady(registry::Error::Full),
        denied(DenyReason::SignIn),
        denied(DenyReason::Wrong),
        denied(DenyReason::Expired),
        denied(DenyReason::Scope),
        denied(DenyReason::Forbidden),
        Error::CrossSite { origin: "https://other.example".to_owned() },
        Error::ForeignHost { host: "other.example:5000".to_owned() },
        Error::NoJson,
        Error::BadRetention("keep is 0".to_owned()),
        Error::BadJson(serde_json::Error::custom("missing field `name`")),
        Error::UnexpectedBody { example: "?dry_run=true" },
        Error::BodyTooLarge { limit: 65_536 },
        Error::NoForm,
        Error::Template(askama::Error::Fmt),
        Error::FormExpired,
        Error::TooMany { wait: Duration::from_millis(1500) },
        Error::Overloaded,
        Error::NotPrimary,
        Error::OnlyPrimary { primary: "http://10.0.0.5:5000".to_owned() },
        Error::NoPrimary,
        Error::PreconditionFailed,
        Error::RangeNotSatisfiable { size: 10 },
    ];
    let rights = [Right::Pull, Right::Push, Right::Delete, Right::Administer, Right::Fill];
    let rights = rights.map(|right| Error::NoRight(NoRight::of(&Identity::Anonymous, right, &name())));
    let mut samples: Vec<Error> = own.into_iter().chain(rights).collect();
    samples.extend(path.map(Error::Path));
    samples.extend(gateway());
    samples.extend(mirror());
    samples.extend(forward());
    samples.extend(manage().into_iter().map(Error::Manage));
    samples.extend(registry_errors().into_iter().map(Error::Registry));
    samples
}

fn gateway() -> Vec<Error> {
    let gateway = [
        GatewayError::Unreachable("connection refused".into()),
        GatewayError::TimedOut,
        GatewayError::AccessDenied(AccessError::AccountRejected),
        GatewayError::InvalidResponse("no digest".to_owned()),
        GatewayError::UpstreamFailed(StatusCode::BAD_GATEWAY, "nginx".to_owned()),
        GatewayError::TooLarge(1 << 30),
        GatewayError::Unproven { repository: name(), digest: digest() },
        GatewayError::Unsupported,
        GatewayError::NoTagDeletion { repository: name() },
    ];
    gateway.map(Error::Gateway).into()
}

fn mirror() -> Vec<Error> {
    let upstream = || "docker.io".to_owned();
    let repository: RepositoryName = "docker.io/library/ubuntu".parse().unwrap();
    let reason = || "connection refused".to_owned();
    let target = TagOrDigest::Tag(tag());
    let mirror = [
        MirrorError::NotAllowed { upstream: upstream(), repository: repository.clone() },
        MirrorError::MayNotFill { upstream: upstream(), repository: repository.clone() },
        MirrorError::ManifestAbsent { upstream: upstream(), repository: repository.clone(), target },
        MirrorError::BlobAbsent { upstream: upstream(), repository: repository.clone(), digest: digest() },
        MirrorError::Limited { upstream: upstream(), retry_after: Duration::from_secs(60) },
        MirrorError::Down { upstream: upstream(), reason: reason() },
        MirrorError::Invalid { upstream: upstream(), reason: reason() },
        MirrorError::Quarantined {
            upstream: upstream(),
            repository: repository.clone(),
            tag: tag(),
            digest: digest(),
            until: SystemTime::UNIX_EPOCH,
        },
        MirrorError::PushRefused { upstream: upstream(), repository },
        MirrorError::UnknownNamespace("quay.io".to_owned()),
    ];
    let by_name = mirror.clone().map(|error| Error::Mirror(error, Reach::Name));
    by_name.into_iter().chain(mirror.map(|error| Error::Mirror(error, Reach::Mirror))).collect()
}

fn forward() -> Vec<Error> {
    let request = reqwest::Client::new().get("no URL").build().unwrap_err();
    let forward = [
        ForwardError::Forbidden,
        ForwardError::Request(request),
        ForwardError::Status(StatusCode::IM_A_TEAPOT),
        ForwardError::Name("a b".to_owned()),
    ];
    forward.map(Error::Forward).into()
}

fn manage() -> Vec<ManageError> {
    let passwords = [
        PasswordRefused::TooShort,
        PasswordRefused::TooLong,
        PasswordRefused::Obvious,
        PasswordRefused::ControlCharacter,
        PasswordRefused::LooksLikeToken,
    ];
    let manage = [
        ManageError::SignIn("authentication required: log in first"),
        ManageError::Denied("only an administrator may do this"),
        ManageError::NotFound { what: "user", name: "bob".to_owned() },
        ManageError::NameTaken(account()),
        ManageError::TeamTaken("acme/dev".to_owned()),
        ManageError::NamespaceInUse(account()),
        ManageError::NameReserved("docker.io".parse().unwrap()),
        ManageError::NameUnfit { name: "ann+ci".parse().unwrap(), what: "an organisation" },
        ManageError::OwnerUnknown("bob".to_owned()),
        ManageError::SubjectUnknown(Subject::Account(account())),
        ManageError::NoRights,
        ManageError::PatternUnfit("team/***".parse().unwrap()),
        ManageError::NotAMember { user: account(), of: "acme".to_owned() },
        ManageError::LastAdministrator,
        ManageError::LastUser,
        ManageError::LastOwner { user: account(), organisations: "acme, team".to_owned() },
        ManageError::HasRepositories { name: account(), repository: "ann/app".parse().unwrap() },
        ManageError::NotOfThisKind("acme".parse().unwrap()),
        ManageError::PasswordElsewhere(account()),
        ManageError::InTheFile(account()),
        ManageError::LimitReached { what: "tokens", limit: 1000 },
        ManageError::TextTooLong,
        ManageError::Token("a token needs at least one right"),
        ManageError::RegistrationClosed,
        ManageError::TooMany { retry_after: Duration::from_secs(60) },
    ];
    manage.into_iter().chain(passwords.map(ManageError::Password)).collect()
}

fn registry_errors() -> Vec<registry::Error> {
    use registry::Error as E;
    let (id, text) = (Uuid::from_u128(7), || "team/app".to_owned());
    let other = Algorithm::Sha512.digest(b"other");
    let rule = |is_immutable| TagRefusal { is_immutable, pattern: "v*".to_owned() };
    let refused =
        |is_immutable| E::TagRefused { repository: name(), tag: tag(), refusal: rule(is_immutable) };
    let content = |is_immutable| {
        let rule = rule(is_immutable);
        E::ContentRefused(Box::new(ContentRefusal { digest: digest(), repository: name(), tag: tag(), rule }))
    };
    let excess = |is_bytes, limit, unfinished, deleted| {
        let scope = "owner ann".to_owned();
        E::QuotaExceeded(Box::new(QuotaExcess { scope, is_bytes, used: limit, limit, unfinished, deleted }))
    };
    let field = "layers";
    let manifest = [
        ManifestError::Malformed("expected value at line 1 column 1".to_owned()),
        ManifestError::SchemaOne,
        ManifestError::SchemaVersion,
        ManifestError::MediaTypeMismatch {
            content_type: media_type(),
            media_type: oci::media_type::OCI_INDEX.parse().unwrap(),
        },
        ManifestError::UnsupportedMediaType(media_type()),
        ManifestError::TwoDocuments("layers", "manifests"),
        ManifestError::StrayField { media_type: oci::media_type::OCI_INDEX.parse().unwrap(), field },
        ManifestError::MissingField { media_type: oci::media_type::OCI_MANIFEST.parse().unwrap(), field },
        ManifestError::UnknownKind,
    ];
    let receive = [
        ReceiveError::Torn("connection reset".to_owned()),
        ReceiveError::Idle(60),
        ReceiveError::Slow(300),
        ReceiveError::Revoked,
        ReceiveError::Unchecked,
    ];
    let own = [
        E::NameUnknown(name()),
        E::ManifestUnknown { repository: name(), target: TagOrDigest::Tag(tag()) },
        E::BlobUnknown { repository: name(), digest: digest() },
        E::ContentUnknown { digest: digest(), repository: None },
        E::ContentUnknown { digest: digest(), repository: Some(name()) },
        E::BlobDamaged { repository: name(), digest: digest() },
        E::ManifestDamaged { repository: name(), digest: digest() },
        E::UploadUnknown(id),
        E::UploadBusy(id),
        E::PartsMissing { repository: name(), missing: vec![digest()] },
        E::PartSize { digest: digest(), claimed: 3, actual: 4 },
        E::PartMediaType {
            digest: digest(),
            claimed: media_type(),
            actual: oci::media_type::OCI_INDEX.parse().unwrap(),
        },
        E::TooManyParts { parts: 20_000 },
        E::ManifestTooLarge { limit: 8 << 20 },
        E::BlobTooLarge { limit: 1 << 30 },
        E::DigestMismatch { expected: digest(), actual: other },
        E::OutOfOrder { id, offset: 10 },
        E::ChunkLength { expected: 10, actual: 9 },
        E::NotAdopted { repository: name(), problems: 2 },
        E::DeleteDisabled,
        refused(true),
        refused(false),
        content(true),
        content(false),
        E::TooManyUploads { account: Some(account()), limit: 1000 },
        E::TooManyUploads { account: None, limit: 10_000 },
        excess(true, 5 << 30, 0, 0),
        excess(true, 5 << 30, 0, 1 << 30),
        excess(true, 5 << 30, 1 << 20, 0),
        excess(false, 1, 0, 0),
        excess(false, 10, 0, 0),
        E::ReserveReached { free: 1 << 20, reserve: 1 << 30 },
        E::NoHistory { repository: name(), tag: tag() },
        E::NothingToUndo { repository: name(), tag: tag(), reason: "it did not exist at that time" },
        E::ManifestGone { repository: name(), target: TagOrDigest::Digest(digest()), erasure: None },
        E::ManifestGone {
            repository: name(),
            target: TagOrDigest::Digest(digest()),
            erasure: Some(Box::new(ErasureMark {
                at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
                account: Some("ann".to_owned()),
            })),
        },
        E::NotInHistory { repository: name(), digest: digest() },
        E::NoRun("r7".to_owned()),
        E::Full,
        E::ReadOnly,
        E::Moving,
        E::Replica,
        E::Unavailable(StoreError::ContentGone("/secret".into())),
        E::Busy,
        E::NameUnfit("ann+ci".parse().unwrap()),
        E::Store(StoreError::Damaged(text())),
        E::Store(StoreError::Closed),
    ];
    let own = own.into_iter();
    own.chain(manifest.map(E::ManifestInvalid)).chain(receive.map(E::Receive)).collect()
}

#[tokio::test]
async fn texts_of_errors_match_the_snapshot() {
    let (mut text, mut seen) = (String::new(), BTreeSet::new());
    for error in samples() {
        let path = path(&error);
        let (links, id) = (Links::new(""), HeaderValue::from_static("id7"));
        let response = error.into_response(ErrorFormat::Registry, None, &links, &id);
        let (head, body) = response.into_parts();
        let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        for item in body["errors"].as_array().unwrap() {
            let (code, message) = (item["code"].as_str().unwrap(), item["message"].as_str().unwrap());
            text += &format!("{path}\n  {} {code}\n  {message}\n", head.status.as_str());
            if let Some(detail) = item.get("detail") {
                text += &format!("  {detail}\n");
            }
        }
        seen.insert(path);
    }
    let missing: Vec<String> = ENUMS
        .iter()
        .flat_map(|(prefix, source, name)| {
            let separator = if prefix.is_empty() { "" } else { "::" };
            variants(source, name).into_iter().map(move |variant| format!("{prefix}{separator}{variant}"))
        })
        .filter(|path| !seen.contains(path) && !ELSEWHERE.contains(&path.as_str()))
        .filter(|path| !ENUMS.iter().any(|(nested, ..)| nested == path))
        .collect();
    assert!(missing.is_empty(), "variants without a sample: {missing:?}");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../tests/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("http_errors", text));
}
