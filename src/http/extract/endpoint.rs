//! Endpoints: the path of a request, parsed once. Handler, methods and access follow from the [`Endpoint`],
//! never from the path again.
//!
//! A repository name has any number of components, and a component may be a word of the protocol
//! (`a/manifests/b`, `blobs/uploads`). Paths below `/v2/` are therefore parsed from the right.

use std::borrow::Cow;

use accounts::{AccountName, Right, TeamName};
use hyper::Method;
use oci::{Digest, RepositoryName, TagOrDigest};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use crate::config::UpstreamName;
use crate::http::endpoints::{Area, AuditAction, Operation, Requirement, Row, endpoints};
use crate::http::extract::path_part::{PathError, PathPart, WebhookId};

macro_rules! define_endpoint {
    ($(
        $(#[$doc:meta])* $variant:ident [$($($part:ident: $type:ty),+)?] $label:literal $path:literal $area:ident {
            $($($method:ident)|+: $requirement:expr, $audit:expr => $($handler:ident)::+ $({$($openapi:tt)*})?;)+
        }
    )+) => {
        /// The endpoint that a path names.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) enum Endpoint {
            $($(#[$doc])* $variant $(($($type),+))?,)+
        }

        impl Endpoint {
            const ALL: &[Row] = &[$(define_endpoint!(@row $label $path $area {
                $([$($method),+] $requirement, $audit;)+
            })),+];

            fn row(&self) -> &'static Row {
                match self {
                    $(Self::$variant { .. } => {
                        const ROW: Row = define_endpoint!(@row $label $path $area {
                            $([$($method),+] $requirement, $audit;)+
                        });
                        &ROW
                    })+
                }
            }

            /// The position of the endpoint in the table.
            pub(crate) fn index(&self) -> usize {
                #[derive(Clone, Copy)]
                enum Position { $($variant),+ }
                let position = match self {
                    $(Self::$variant { .. } => Position::$variant,)+
                };
                position as usize
            }

            /// The repository in the path.
            pub(crate) fn repository(&self) -> Option<&RepositoryName> {
                match self {
                    $(Self::$variant $(($($part),+))? => None$($(.or($part.repository()))+)?,)+
                }
            }

            /// Parses a path whose parts are single components.
            fn parse_by_pattern(path: &str, pages: bool) -> Result<Self, PathError> {
                $(
                    if (Area::$area == Area::Page) == pages
                        && let Some(parts) = match_pattern($path, path)
                    {
                        let mut _parts = parts.into_iter();
                        return Ok(Self::$variant $(($(<$type>::parse_part(_parts.next().unwrap_or_default())?),+))?);
                    }
                )+
                Err(PathError::NoSuchPath)
            }
        }
    };
    (@row $label:literal $path:literal $area:ident { $([$($method:ident),+] $requirement:expr, $audit:expr;)+ }) => {
        Row {
            label: $label,
            path: $path,
            area: Area::$area,
            methods: &[$($(Method::$method),+),+],
            operations: &[$(Operation {
                methods: &[$(Method::$method),+],
                requirement: $requirement,
                audit: $audit,
            }),+],
        }
    };
}

endpoints!(define_endpoint);

/// The paths of all endpoints, with parameters in braces, and their methods. For tests that cover every
/// endpoint.
pub fn routes() -> impl Iterator<Item = (&'static str, &'static [Method])> {
    Endpoint::ALL.iter().map(|row| (row.path, row.methods))
}

impl Endpoint {
    /// Parses the path of a request line. Percent-encoding is decoded once, before the rules for names apply.
    pub(crate) fn parse(path: &str) -> Result<Self, PathError> {
        if !path.contains('%') {
            return Self::parse_decoded(path);
        }
        let decoded: Cow<'_, str> =
            percent_decode_str(path).decode_utf8().map_err(|_| PathError::Encoding)?;
        Self::parse_decoded(&decoded)
    }

    fn parse_decoded(path: &str) -> Result<Self, PathError> {
        if let Some(rest) = path.strip_prefix("/v2/") {
            return Self::parse_v2(rest);
        }
        if let Some(name) = path.strip_prefix("/api/v1/repositories/") {
            return Self::parse_api_repository(name);
        }
        match path {
            "/v2" => Ok(Self::Base),
            "/_ping" => Ok(Self::Ping),
            "/auth/" => Ok(Self::Auth),
            _ => Self::parse_by_pattern(path, false),
        }
    }

    /// Parses the path of a request of a browser. Paths of the API keep their meaning.
    pub(crate) fn parse_page(path: &str) -> Result<Self, PathError> {
        let decoded = percent_decode_str(path).decode_utf8().map_err(|_| PathError::Encoding)?;
        let path = &*decoded;
        if path == "/" {
            return Ok(Self::PageHome);
        }
        if let Some(rest) = path.strip_prefix("/-/") {
            return Self::parse_below_dash(path, rest);
        }
        match Self::parse_decoded(path) {
            Err(_) if !path.starts_with("/v2/") && !path.starts_with("/api/") => {
                Self::parse_image(path.trim_matches('/'), Self::PageRepository, Self::PageManifest)
            }
            parsed => parsed,
        }
    }

    /// Parses a path below `/-/`. A repository name may have several components, so it is the end of its
    /// path.
    fn parse_below_dash(path: &str, rest: &str) -> Result<Self, PathError> {
        let (page, image) = rest.split_once('/').unwrap_or((rest, ""));
        match page {
            "file" => {
                let (name, digest) = image.split_once('@').ok_or(PathError::NoSuchPath)?;
                Ok(Self::PageFile(name.parse()?, digest.parse()?))
            }
            "compare" => Ok(Self::PageCompare(image.parse()?)),
            "history" => Ok(Self::PageHistory(image.parse()?)),
            "trash" => Ok(Self::PageTrash(image.parse()?)),
            "delete-tags" => Ok(Self::PageDeleteTags(image.parse()?)),
            "delete" => Self::parse_image(image, Self::PageDeleteRepository, Self::PageDelete),
            "retag" => Self::parse_image(image, |_| Self::PageHome, Self::PageRetag).and_then(|parsed| {
                if parsed == Self::PageHome { Err(PathError::NoSuchPath) } else { Ok(parsed) }
            }),
            _ => Self::parse_by_pattern(path, true),
        }
    }

    /// Parses `name`, `name:tag`, `name@digest` or `name:tag@digest`.
    fn parse_image(
        image: &str,
        of_repository: impl FnOnce(RepositoryName) -> Self,
        of_manifest: impl FnOnce(RepositoryName, TagOrDigest) -> Self,
    ) -> Result<Self, PathError> {
        let (name, digest) = match image.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (image, None),
        };
        let (name, tag) = match name.split_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (name, None),
        };
        match digest.or(tag) {
            Some(reference) => Ok(of_manifest(name.parse()?, reference.parse()?)),
            None => Ok(of_repository(name.parse()?)),
        }
    }

    /// Parses a path below `/api/v1/repositories/`. No component of a name begins with an underscore.
    fn parse_api_repository(path: &str) -> Result<Self, PathError> {
        if let Some(name) = path.strip_suffix("/_tags") {
            return Ok(Self::ApiTags(name.parse()?));
        }
        if let Some(name) = path.strip_suffix("/_delete") {
            return Ok(Self::ApiDelete(name.parse()?));
        }
        if let Some(name) = path.strip_suffix("/_history") {
            return Ok(Self::ApiHistory(name.parse()?));
        }
        if let Some(name) = path.strip_suffix("/_undo") {
            return Ok(Self::ApiUndo(name.parse()?));
        }
        if let Some(name) = path.strip_suffix("/_trash") {
            return Ok(Self::ApiTrash(name.parse()?));
        }
        if let Some((name, reference)) = path.rsplit_once("/_manifests/") {
            return Ok(Self::ApiManifest(name.parse()?, reference.parse()?));
        }
        Ok(Self::ApiRepository(path.parse()?))
    }

    fn parse_v2(rest: &str) -> Result<Self, PathError> {
        match rest {
            "" => return Ok(Self::Base),
            "_catalog" => return Ok(Self::Catalog),
            _ => {}
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags(name.parse()?));
        }
        if let Some(name) = rest.strip_suffix('/').unwrap_or(rest).strip_suffix("/blobs/uploads") {
            return Ok(Self::Uploads(name.parse()?));
        }
        let (before, last) = rest.rsplit_once('/').ok_or(PathError::NoSuchPath)?;
        if let Some(name) = before.strip_suffix("/manifests") {
            return Ok(Self::Manifest(name.parse()?, last.parse()?));
        }
        if let Some(name) = before.strip_suffix("/blobs/uploads") {
            return Ok(Self::Upload(name.parse()?, Uuid::parse_part(last)?));
        }
        if let Some(name) = before.strip_suffix("/blobs") {
            return Ok(Self::Blob(name.parse()?, last.parse()?));
        }
        if let Some(name) = before.strip_suffix("/referrers") {
            return Ok(Self::Referrers(name.parse()?, last.parse()?));
        }
        Err(PathError::NoSuchPath)
    }

    /// Replaces the repository of a path below `/v2/`.
    pub(crate) fn with_repository(&self, name: RepositoryName) -> Self {
        match self.clone() {
            Self::Tags(_) => Self::Tags(name),
            Self::Manifest(_, target) => Self::Manifest(name, target),
            Self::Blob(_, digest) => Self::Blob(name, digest),
            Self::Uploads(_) => Self::Uploads(name),
            Self::Upload(_, id) => Self::Upload(name, id),
            Self::Referrers(_, digest) => Self::Referrers(name, digest),
            other => other,
        }
    }

    /// The name of the endpoint in logs and metrics. It does not depend on the repository.
    pub(crate) fn label(&self) -> &'static str {
        self.row().label
    }

    /// The labels of all endpoints, in the order of the table.
    pub(crate) fn labels() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|row| row.label)
    }

    /// The methods that the endpoint takes, for the `Allow` header of a 405.
    pub(crate) fn methods(&self) -> &'static [Method] {
        self.row().methods
    }

    fn operation(&self, method: &Method) -> Option<&'static Operation> {
        self.row().operations.iter().find(|operation| operation.methods.contains(method))
    }

    /// The access that a method needs. Other methods need the strongest access of the endpoint, so that a 405
    /// does not reveal a repository.
    pub(crate) fn requirement(&self, method: &Method) -> Requirement {
        let operation = self.operation(method).or(self.row().operations.last());
        operation.map_or(Requirement::Own, |operation| operation.requirement)
    }

    /// The audit entry of a method.
    pub(crate) fn audit(&self, method: &Method) -> AuditAction {
        let look = || match self.requirement(method) {
            Requirement::Repository(_) => AuditAction::Look("repository.look"),
            _ => AuditAction::None,
        };
        self.operation(method).map_or_else(look, |operation| operation.audit)
    }

    /// Whether the endpoint belongs to the registry protocol. `/auth` admits no other.
    pub(crate) fn is_protocol(&self) -> bool {
        matches!(self.row().area, Area::Protocol | Area::ProtocolContent)
    }

    /// Whether the endpoint needs content, which a gateway does not store.
    pub(crate) fn is_content(&self) -> bool {
        matches!(self.row().area, Area::Content | Area::ProtocolContent)
    }

    /// Whether it is a page for browsers.
    pub(crate) fn is_page(&self) -> bool {
        self.row().area == Area::Page
    }

    /// Whether it is a page that shows documents of pushers.
    pub(crate) fn shows_content(&self) -> bool {
        matches!(self, Self::PageManifest(..) | Self::PageCompare(..) | Self::PageRepository(..))
    }

    /// Whether it tells of this server alone, also while the database is away.
    pub(crate) fn is_of_server(&self) -> bool {
        matches!(self, Self::Health | Self::Ready | Self::Metrics)
    }

    /// Whether it belongs to the management API.
    pub(crate) fn is_api(&self) -> bool {
        self.row().path.starts_with("/api/")
    }

    /// Whether the path begins with `/v2/`.
    pub(crate) fn is_v2(&self) -> bool {
        self.row().path.starts_with("/v2/")
    }
}

/// The most parameters that a pattern has.
const PARAMETERS: usize = 3;

/// Matches a path with a pattern such as `/api/v1/users/{user}`. Returns the parameters.
fn match_pattern<'p>(pattern: &str, path: &'p str) -> Option<[&'p str; PARAMETERS]> {
    let mut parameters = [""; PARAMETERS];
    let mut free = parameters.iter_mut();
    let mut components = path.split('/');
    for expected in pattern.split('/') {
        let component = components.next()?;
        if expected.starts_with('{') {
            *free.next()? = component;
        } else if expected != component {
            return None;
        }
    }
    components.next().is_none().then_some(parameters)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use oci::Algorithm;
    use oci::digest::DigestError;
    use oci::name::NameError;
    use oci::tag::TagError;
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    fn digest() -> Digest {
        Algorithm::Sha256.digest(b"content")
    }

    #[test]
    fn paths_are_parsed_as_endpoints() {
        let id = Uuid::new_v4();
        let tag = TagOrDigest::Tag("14.04".parse().unwrap());
        let (ubuntu, digest) = (name("official/ubuntu"), digest());
        for (path, endpoint) in [
            ("/".to_owned(), Endpoint::Root),
            ("/healthz".to_owned(), Endpoint::Health),
            ("/readyz".to_owned(), Endpoint::Ready),
            ("/_ping".to_owned(), Endpoint::Ping),
            ("/v1/_ping".to_owned(), Endpoint::Ping),
            ("/v1/search".to_owned(), Endpoint::Search),
            ("/token".to_owned(), Endpoint::Token),
            ("/.well-known/jwks.json".to_owned(), Endpoint::Jwks),
            ("/auth".to_owned(), Endpoint::Auth),
            ("/auth/".to_owned(), Endpoint::Auth),
            ("/v2".to_owned(), Endpoint::Base),
            ("/v2/".to_owned(), Endpoint::Base),
            ("/v2/_catalog".to_owned(), Endpoint::Catalog),
            ("/v2/official/ubuntu/tags/list".to_owned(), Endpoint::Tags(ubuntu.clone())),
            ("/v2/official/ubuntu/manifests/14.04".to_owned(), Endpoint::Manifest(ubuntu.clone(), tag)),
            (
                format!("/v2/official/ubuntu/manifests/{digest}"),
                Endpoint::Manifest(ubuntu.clone(), TagOrDigest::Digest(digest)),
            ),
            (format!("/v2/official/ubuntu/blobs/{digest}"), Endpoint::Blob(ubuntu.clone(), digest)),
            ("/v2/official/ubuntu/blobs/uploads/".to_owned(), Endpoint::Uploads(ubuntu.clone())),
            ("/v2/official/ubuntu/blobs/uploads".to_owned(), Endpoint::Uploads(ubuntu.clone())),
            (format!("/v2/official/ubuntu/blobs/uploads/{id}"), Endpoint::Upload(ubuntu.clone(), id)),
            (format!("/v2/official/ubuntu/referrers/{digest}"), Endpoint::Referrers(ubuntu.clone(), digest)),
            ("/api/v1/repositories".to_owned(), Endpoint::ApiRepositories),
            ("/api/v1/repositories/official/ubuntu".to_owned(), Endpoint::ApiRepository(ubuntu.clone())),
            ("/api/v1/repositories/official/ubuntu/_tags".to_owned(), Endpoint::ApiTags(ubuntu)),
            ("/api/v1/usage".to_owned(), Endpoint::ApiUsage),
        ] {
            assert_eq!(Endpoint::parse(&path), Ok(endpoint), "{path}");
        }
    }

    #[test]
    fn every_path_is_parsed_as_its_row() {
        let digest = digest().to_string();
        let upload = Uuid::new_v4().to_string();
        let parts = [
            ("{repository}", "a/b"),
            ("{reference}", "1.0"),
            ("{digest}", &*digest),
            ("{upload}", &*upload),
            ("{user}", "ann"),
            ("{id}", "7"),
            ("{organisation}", "acme"),
            ("{team}", "devs"),
            ("{robot}", "acme+ci"),
            ("{asset}", "style.css"),
            ("{webhook}", "ci"),
            ("{upstream}", "docker.io"),
        ];
        let mut labels = BTreeSet::new();
        for row in Endpoint::ALL {
            let path =
                parts.iter().fold(row.path.to_owned(), |path, (name, value)| path.replace(name, value));
            let parse = if row.area == Area::Page { Endpoint::parse_page } else { Endpoint::parse };
            let endpoint = parse(&path).unwrap();
            assert_eq!(endpoint.row().path, row.path);
            assert_eq!(endpoint.repository().is_some(), row.path.contains("{repository}"), "{path}");
            let needs_repository =
                |operation: &Operation| matches!(operation.requirement, Requirement::Repository(_));
            assert_eq!(
                row.operations.iter().any(needs_repository),
                endpoint.repository().is_some(),
                "{path}"
            );
            assert!(labels.insert(row.label), "two endpoints have the label {}", row.label);
        }
    }

    #[test]
    fn page_paths_are_those_of_docker_pull() {
        let parse = Endpoint::parse_page;
        let digest = digest();
        let tag = |text: &str| TagOrDigest::Tag(text.parse().unwrap());
        assert_eq!(parse("/"), Ok(Endpoint::PageHome));
        for path in ["/team/app", "/team/app/", "/team%2Fapp"] {
            assert_eq!(parse(path), Ok(Endpoint::PageRepository(name("team/app"))), "{path}");
        }
        assert_eq!(parse("/team/app:1.0"), Ok(Endpoint::PageManifest(name("team/app"), tag("1.0"))));
        for path in [format!("/team/app@{digest}"), format!("/team/app:1.0@{digest}")] {
            let expected = Endpoint::PageManifest(name("team/app"), TagOrDigest::Digest(digest));
            assert_eq!(parse(&path), Ok(expected), "{path}");
        }
        // The API keeps its paths.
        assert_eq!(parse("/token"), Ok(Endpoint::Token));
        assert_eq!(parse("/v2/a/tags/list"), Ok(Endpoint::Tags(name("a"))));
        assert_eq!(parse("/api/v1/nothing"), Err(PathError::NoSuchPath));
        assert_eq!(parse("/-/nothing"), Err(PathError::NoSuchPath));
        assert_eq!(parse("/-/retag/a"), Err(PathError::NoSuchPath));
        parse("/Team").unwrap_err();
        // Without a request for HTML there are no pages.
        assert_eq!(Endpoint::parse("/team/app"), Err(PathError::NoSuchPath));
        assert_eq!(Endpoint::parse("/-/sign-in"), Err(PathError::NoSuchPath));
        assert_eq!(Endpoint::parse("/"), Ok(Endpoint::Root));
    }

    #[test]
    fn requirement_follows_the_method() {
        let name = name("team/app");
        let manifest = Endpoint::Manifest(name.clone(), TagOrDigest::Digest(digest()));
        let blob = Endpoint::Blob(name.clone(), digest());
        let upload = Endpoint::Upload(name.clone(), Uuid::nil());
        for (endpoint, method, right) in [
            (&manifest, "GET", Right::Pull),
            (&manifest, "HEAD", Right::Pull),
            (&manifest, "PUT", Right::Push),
            (&manifest, "DELETE", Right::Delete),
            (&blob, "GET", Right::Pull),
            (&blob, "DELETE", Right::Delete),
            (&Endpoint::Tags(name.clone()), "GET", Right::Pull),
            (&Endpoint::Referrers(name.clone(), digest()), "GET", Right::Pull),
            (&Endpoint::Uploads(name.clone()), "POST", Right::Push),
            (&upload, "GET", Right::Push),
            (&upload, "PATCH", Right::Push),
            (&upload, "PUT", Right::Push),
            (&upload, "DELETE", Right::Push),
            (&Endpoint::ApiRepository(name.clone()), "GET", Right::Pull),
            (&Endpoint::ApiRepository(name.clone()), "DELETE", Right::Delete),
            (&Endpoint::ApiTags(name.clone()), "GET", Right::Pull),
            // Unknown methods reveal nothing.
            (&manifest, "PATCH", Right::Delete),
            (&blob, "TRACE", Right::Delete),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(
                endpoint.requirement(&method),
                Requirement::Repository(right),
                "{method} {endpoint:?}"
            );
        }
    }

    #[test]
    fn name_may_contain_words_of_the_protocol() {
        for repository in [
            "manifests",
            "blobs",
            "uploads",
            "tags",
            "list",
            "referrers",
            "a/manifests/b",
            "blobs/uploads",
            "a/blobs/uploads",
            "tags/list",
            "a/tags/list",
            "referrers/manifests",
            "v2",
            "manifests/manifests",
        ] {
            let id = Uuid::new_v4();
            let digest = digest();
            let named = name(repository);
            let parse = |rest: &str| Endpoint::parse(&format!("/v2/{repository}/{rest}"));
            assert_eq!(parse("tags/list"), Ok(Endpoint::Tags(named.clone())));
            let latest = TagOrDigest::Tag(oci::Tag::latest());
            assert_eq!(parse("manifests/latest"), Ok(Endpoint::Manifest(named.clone(), latest)));
            let list = TagOrDigest::Tag("list".parse().unwrap());
            assert_eq!(parse("manifests/list"), Ok(Endpoint::Manifest(named.clone(), list)));
            assert_eq!(parse(&format!("blobs/{digest}")), Ok(Endpoint::Blob(named.clone(), digest)));
            assert_eq!(parse("blobs/uploads/"), Ok(Endpoint::Uploads(named.clone())));
            assert_eq!(parse(&format!("blobs/uploads/{id}")), Ok(Endpoint::Upload(named.clone(), id)));
            assert_eq!(parse(&format!("referrers/{digest}")), Ok(Endpoint::Referrers(named, digest)));
        }
    }

    #[test]
    fn api_paths_take_valid_names_only() {
        let parse = |path: &str| Endpoint::parse(&format!("/api/v1/{path}"));
        let user = |name: &str| Endpoint::ApiUser(name.parse().unwrap());
        assert_eq!(parse("users/ann%40example.org"), Ok(user("ann@example.org")));
        assert_eq!(parse("users/users"), Ok(user("users")));
        for path in ["users/", "users//tokens", "users/a%20b", "robots/a+", "organisations/x/members/a:b"] {
            assert!(matches!(parse(path), Err(PathError::Account(_))), "{path}");
        }
        assert!(matches!(parse("organisations/acme/teams/Devs"), Err(PathError::Team(_))));
        for path in [
            "user",
            "users/ann/x",
            "users/ann/tokens/x",
            "users/ann/tokens/0",
            "users/ann/tokens/+1",
            "users/ann/tokens/01",
            "me/",
            "grants/x",
            "users/ann%2Ftokens/x",
            "organisations/a/teams/b/members/c/d",
            "organisations/a/teams/b/members/c/d/e/f",
        ] {
            assert_eq!(parse(path), Err(PathError::NoSuchPath), "{path}");
        }
    }

    #[test]
    fn percent_encoding_is_decoded_once() {
        let ubuntu = name("official/ubuntu");
        let parse = Endpoint::parse;
        assert_eq!(parse("/v2/official%2Fubuntu/tags/list"), Ok(Endpoint::Tags(ubuntu)));
        let encoded = digest().to_string().replace(':', "%3A");
        assert_eq!(parse(&format!("/v2/a/blobs/{encoded}")), Ok(Endpoint::Blob(name("a"), digest())));
        assert_eq!(parse("/v2/a%252Fb/tags/list"), Err(PathError::Name(NameError::Malformed)));
        assert_eq!(parse("/v2/%ff%fe/tags/list"), Err(PathError::Encoding));
        assert_eq!(parse("/v2/a%00/tags/list"), Err(PathError::Name(NameError::Malformed)));
        assert_eq!(parse("/v2/a%zz/tags/list"), Err(PathError::Name(NameError::Malformed)));
    }

    #[test]
    fn invalid_parameters_are_refused() {
        let malformed = Err(PathError::Name(NameError::Malformed));
        for name in
            ["..", "../..", "a/..", ".", "A", "a//b", "/a", "a/", "-a", "a_", "a b", "a%2e%2e%2fb", "%2e%2e"]
        {
            assert_eq!(Endpoint::parse(&format!("/v2/{name}/manifests/latest")), malformed, "{name}");
        }
        assert_eq!(Endpoint::parse("/v2//tags/list"), Err(PathError::Name(NameError::Empty)));
        let long = "a".repeat(256);
        assert_eq!(
            Endpoint::parse(&format!("/v2/{long}/tags/list")),
            Err(PathError::Name(NameError::TooLong))
        );
        let blob = |digest: &str| Endpoint::parse(&format!("/v2/a/blobs/{digest}"));
        assert_eq!(blob("sha256:abc"), Err(PathError::Digest(DigestError::WrongLength)));
        assert_eq!(blob("md5:abc"), Err(PathError::Digest(DigestError::UnsupportedAlgorithm)));
        assert_eq!(blob(".."), Err(PathError::Digest(DigestError::Malformed)));
        let upper = digest().to_string().to_uppercase().replace("SHA", "sha");
        assert_eq!(blob(&upper), Err(PathError::Digest(DigestError::NotLowerHex)));
        assert_eq!(Endpoint::parse("/v2/a/manifests/.x"), Err(PathError::Tag(TagError)));
        let id = Uuid::new_v4();
        for text in
            [id.simple().to_string(), id.to_string().to_uppercase(), id.urn().to_string(), "1".to_owned()]
        {
            if text != id.to_string() {
                assert_eq!(
                    Endpoint::parse(&format!("/v2/a/blobs/uploads/{text}")),
                    Err(PathError::Upload),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn unknown_paths_are_refused() {
        for path in [
            "",
            "*",
            "//",
            "/v2/a",
            "/v2/tags/list",
            "/v2/manifests/latest",
            "/v1/",
            "/v3/",
            "/v2x",
            "/api/v1/",
            "/api/v2/usage",
            "/api/v1/repositoriesx",
            "/v2/a/manifest/b",
            "/healthz/",
            "/v2/_catalog/",
        ] {
            assert_eq!(Endpoint::parse(path), Err(PathError::NoSuchPath), "{path}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_paths_do_not_panic(path in ".{0,80}") {
            let _ = Endpoint::parse(&path);
        }

        #[test]
        fn repository_name_round_trips(repository in "[a-z0-9]{1,8}(/(blobs|uploads|manifests|tags|list|[a-z0-9]{1,4})){0,4}") {
            let parsed = Endpoint::parse(&format!("/v2/{repository}/tags/list"));
            prop_assert_eq!(parsed, Ok(Endpoint::Tags(repository.parse().unwrap())));
        }
    }
}
