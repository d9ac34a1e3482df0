//! The access matrix: every route, for every caller, on a public, a private and an absent repository.
//!
//! Two tables hold the expectations, and neither knows how the server authorizes a request: [`may`] says
//! which right a caller has on a repository, and [`ROWS`] says which right a route requires. A test compares
//! the rows with the server's own list of routes (`wharfinger::http::routes`), so that no route is missing.

use std::collections::BTreeSet;

use oci::{Algorithm, Digest};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Ask, By, Image, PASSWORD, TestRegistry, Who, basic, eventually, random, with_accounts,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Anonymous,
    Stranger,
    Reader,
    Writer,
    Maintainer,
    Owner,
    /// A robot with a grant to pull the private repository.
    Robot,
    /// A personal token of the owner, limited to pulling the private repository.
    NarrowToken,
    /// A bearer token of the owner, limited to pulling the private repository.
    NarrowBearer,
    Administrator,
    ExpiredToken,
    /// A bearer token that another registry signed.
    ForeignBearer,
}

const CALLERS: [Caller; 12] = [
    Caller::Anonymous,
    Caller::Stranger,
    Caller::Reader,
    Caller::Writer,
    Caller::Maintainer,
    Caller::Owner,
    Caller::Robot,
    Caller::NarrowToken,
    Caller::NarrowBearer,
    Caller::Administrator,
    Caller::ExpiredToken,
    Caller::ForeignBearer,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Public,
    Private,
    Absent,
}

impl State {
    const ALL: [Self; 3] = [Self::Public, Self::Private, Self::Absent];

    const fn repository(self) -> &'static str {
        match self {
            Self::Public => "ann/public",
            Self::Private => "ann/private",
            Self::Absent => "ann/absent",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Pull,
    Push,
    Delete,
}

/// Returns whether the caller has a right on the repository.
fn may(caller: Caller, need: Need, state: State) -> bool {
    match caller {
        Caller::Administrator | Caller::Owner => true,
        Caller::Anonymous | Caller::Stranger => need == Need::Pull && state == State::Public,
        // A narrow token excludes everything else, public repositories included.
        Caller::NarrowToken | Caller::NarrowBearer => need == Need::Pull && state == State::Private,
        Caller::Reader | Caller::Robot => need == Need::Pull && state != State::Absent,
        Caller::Writer => match state {
            State::Private => need <= Need::Push,
            State::Public => need == Need::Pull,
            State::Absent => false,
        },
        Caller::Maintainer => match state {
            State::Private => matches!(need, Need::Pull | Need::Delete),
            State::Public => need == Need::Pull,
            State::Absent => false,
        },
        Caller::ExpiredToken | Caller::ForeignBearer => false,
    }
}

/// The body that a row sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Empty,
    /// 100 random bytes, whose digest is `{content}` in the address.
    Content,
    /// The image's manifest.
    Manifest,
}

/// One request of the matrix.
#[derive(Debug)]
struct Row {
    method: Method,
    /// The path in the server's list of routes.
    path: &'static str,
    /// The address that is requested, with names in braces that [`Fixture::attempt`] fills in.
    address: &'static str,
    body: Body,
    requires: Need,
    /// The status for a caller with the right, where the repository exists.
    present: u16,
    /// The same where it does not exist. A push creates it.
    absent: u16,
}

const fn row(
    method: Method,
    path: &'static str,
    address: &'static str,
    body: Body,
    requires: Need,
    (present, absent): (u16, u16),
) -> Row {
    Row { method, path, address, body, requires, present, absent }
}

const MANIFEST: &str = "/v2/{repository}/manifests/{reference}";
const BLOB: &str = "/v2/{repository}/blobs/{digest}";
const UPLOADS: &str = "/v2/{repository}/blobs/uploads/";
const UPLOAD: &str = "/v2/{repository}/blobs/uploads/{upload}";
const TAGS: &str = "/v2/{repository}/tags/list";
const REFERRERS: &str = "/v2/{repository}/referrers/{digest}";
const API_REPOSITORY: &str = "/api/v1/repositories/{repository}";
const API_TAGS: &str = "/api/v1/repositories/{repository}/_tags";
const API_MANIFEST: &str = "/api/v1/repositories/{repository}/_manifests/{reference}";
const API_HISTORY: &str = "/api/v1/repositories/{repository}/_history";
const API_UNDO: &str = "/api/v1/repositories/{repository}/_undo";
const API_TAG_1: &str = "/api/v1/repositories/{repository}/_manifests/1";

const TAG_1: &str = "/v2/{repository}/manifests/1";
const TAG_2: &str = "/v2/{repository}/manifests/2";
const BY_DIGEST: &str = "/v2/{repository}/manifests/{manifest}";
const LAYER: &str = "/v2/{repository}/blobs/{layer}";
const LOOSE: &str = "/v2/{repository}/blobs/{loose}";
const MONOLITH: &str = "/v2/{repository}/blobs/uploads/?digest={content}";
const MOUNT: &str = "/v2/{repository}/blobs/uploads/?mount={shared}&from={source}";
const REFERRERS_OF_MANIFEST: &str = "/v2/{repository}/referrers/{manifest}";

/// Every route of a repository: method, path, address, body, required right, statuses (present, absent).
static ROWS: [Row; 33] = [
    row(Method::GET, MANIFEST, TAG_1, Body::Empty, Need::Pull, (200, 404)),
    row(Method::HEAD, MANIFEST, TAG_1, Body::Empty, Need::Pull, (200, 404)),
    row(Method::GET, MANIFEST, BY_DIGEST, Body::Empty, Need::Pull, (200, 404)),
    row(Method::HEAD, MANIFEST, BY_DIGEST, Body::Empty, Need::Pull, (200, 404)),
    row(Method::GET, BLOB, LAYER, Body::Empty, Need::Pull, (200, 404)),
    row(Method::HEAD, BLOB, LAYER, Body::Empty, Need::Pull, (200, 404)),
    row(Method::GET, TAGS, TAGS, Body::Empty, Need::Pull, (200, 404)),
    row(Method::HEAD, TAGS, TAGS, Body::Empty, Need::Pull, (200, 404)),
    // The specification asks for an empty list, also in a repository that does not exist.
    row(Method::GET, REFERRERS, REFERRERS_OF_MANIFEST, Body::Empty, Need::Pull, (200, 200)),
    row(Method::HEAD, REFERRERS, REFERRERS_OF_MANIFEST, Body::Empty, Need::Pull, (200, 200)),
    row(Method::GET, API_REPOSITORY, API_REPOSITORY, Body::Empty, Need::Pull, (200, 404)),
    row(Method::HEAD, API_REPOSITORY, API_REPOSITORY, Body::Empty, Need::Pull, (200, 404)),
    row(Method::GET, API_TAGS, API_TAGS, Body::Empty, Need::Pull, (200, 404)),
    row(Method::HEAD, API_TAGS, API_TAGS, Body::Empty, Need::Pull, (200, 404)),
    row(Method::GET, API_MANIFEST, API_TAG_1, Body::Empty, Need::Pull, (200, 404)),
    row(Method::HEAD, API_MANIFEST, API_TAG_1, Body::Empty, Need::Pull, (200, 404)),
    row(Method::GET, API_HISTORY, API_HISTORY, Body::Empty, Need::Pull, (200, 404)),
    row(Method::HEAD, API_HISTORY, API_HISTORY, Body::Empty, Need::Pull, (200, 404)),
    // 415: the request has no JSON.
    row(Method::POST, API_UNDO, API_UNDO, Body::Empty, Need::Push, (415, 415)),
    // 400: the parts of the manifest were not pushed to the new repository.
    row(Method::PUT, MANIFEST, TAG_2, Body::Manifest, Need::Push, (201, 400)),
    row(Method::PUT, MANIFEST, BY_DIGEST, Body::Manifest, Need::Push, (201, 400)),
    row(Method::POST, UPLOADS, UPLOADS, Body::Empty, Need::Push, (202, 202)),
    row(Method::POST, UPLOADS, MONOLITH, Body::Content, Need::Push, (201, 201)),
    row(Method::POST, UPLOADS, MOUNT, Body::Empty, Need::Push, (201, 201)),
    row(Method::GET, UPLOAD, "{upload}", Body::Empty, Need::Push, (204, 204)),
    row(Method::HEAD, UPLOAD, "{upload}", Body::Empty, Need::Push, (204, 204)),
    row(Method::PATCH, UPLOAD, "{upload}", Body::Content, Need::Push, (202, 202)),
    row(Method::PUT, UPLOAD, "{upload}?digest={content}", Body::Content, Need::Push, (201, 201)),
    row(Method::DELETE, UPLOAD, "{upload}", Body::Empty, Need::Push, (204, 204)),
    row(Method::DELETE, MANIFEST, TAG_1, Body::Empty, Need::Delete, (202, 404)),
    row(Method::DELETE, MANIFEST, BY_DIGEST, Body::Empty, Need::Delete, (202, 404)),
    row(Method::DELETE, BLOB, LOOSE, Body::Empty, Need::Delete, (202, 404)),
    row(Method::DELETE, API_REPOSITORY, API_REPOSITORY, Body::Empty, Need::Delete, (202, 404)),
];

struct Fixture {
    registry: TestRegistry,
    /// The image that the absent repository would hold.
    image: Image,
    narrow_token: Who,
    narrow_bearer: Who,
    robot: Who,
    expired: Who,
    foreign: Who,
}

impl Fixture {
    async fn new() -> Self {
        let registry = with_accounts().await;
        for user in ["ann", "dave", "bob", "carl", "eve"] {
            registry.add_user(user).await;
        }
        let expired = registry.add_token("ann", &json!({ "label": "short", "expires_in": 1 })).await;
        let image = push(&registry, "ann/private").await;
        push(&registry, "ann/public").await;
        registry.grant("everyone", &["pull"], "ann/public").await;
        registry.grant("bob", &["pull"], "ann/private").await;
        registry.grant("carl", &["push"], "ann/private").await;
        registry.grant("eve", &["delete"], "ann/private").await;
        let robot = registry.add_robot("ann+ci").await;
        registry.grant("ann+ci", &["pull"], "ann/private").await;
        let narrow = json!({ "label": "ci", "rights": ["pull"], "repositories": ["ann/private"] });
        let narrow_token = basic("ann", &registry.add_token("ann", &narrow).await);
        let narrow_bearer = registry.bearer(&Who::user("ann"), &["repository:ann/private:pull"]).await;
        let expired = basic("ann", &expired);
        let has_expired = async || registry.get_as(&expired, "/v2/").await.status == 401;
        eventually("the token expires", has_expired).await;
        let foreign = with_accounts().await;
        foreign.add_user("ann").await;
        let foreign = foreign.bearer(&Who::user("ann"), &["repository:ann/private:pull,push"]).await;
        Self { registry, image, narrow_token, narrow_bearer, robot, expired, foreign }
    }

    fn who(&self, caller: Caller) -> Who {
        match caller {
            Caller::Anonymous => Who::NOBODY,
            Caller::Stranger => Who::user("dave"),
            Caller::Reader => Who::user("bob"),
            Caller::Writer => Who::user("carl"),
            Caller::Maintainer => Who::user("eve"),
            Caller::Owner => Who::user("ann"),
            Caller::Robot => self.robot.clone(),
            Caller::NarrowToken => self.narrow_token.clone(),
            Caller::NarrowBearer => self.narrow_bearer.clone(),
            Caller::Administrator => Who::root(),
            Caller::ExpiredToken => self.expired.clone(),
            Caller::ForeignBearer => self.foreign.clone(),
        }
    }

    async fn as_root(&self, method: Method, path: String, body: Vec<u8>) -> Answer {
        self.registry.request(method, path).by(&Who::root()).body(body).ask().await
    }

    /// Brings a repository into its state.
    async fn restore(&self, state: State) -> Image {
        if state == State::Absent {
            let gone =
                self.as_root(Method::DELETE, "/api/v1/repositories/ann/absent".to_owned(), Vec::new()).await;
            assert!([202, 404].contains(&gone.status), "{}", gone.text());
            return self.image.clone();
        }
        push(&self.registry, state.repository()).await
    }

    /// Sends the request of a row and returns its answer.
    async fn attempt(&self, row: &Row, caller: Caller, state: State) -> Answer {
        let who = self.who(caller);
        let repository = state.repository();
        let image = self.restore(state).await;
        let content = random(100);
        let digest = Algorithm::Sha256.digest(&content);
        let mut address = row
            .address
            .replace("{manifest}", &image.digest.to_string())
            .replace("{layer}", &image.blobs[1].0.to_string())
            .replace("{content}", &digest.to_string());
        if address.contains("{upload}") {
            // Only the account that began an upload finds it. A caller who may not push tries an upload of
            // another.
            let beginner = if may(caller, Need::Push, state) { &who } else { &Who::root() };
            let path = format!("/v2/{repository}/blobs/uploads/");
            let upload = self.registry.ask_as(beginner, Method::POST, &path).await.is(202).location();
            address = address.replace("{upload}", &upload);
        }
        if address.contains("{shared}") {
            // The caller may pull the source if possible, so that the right to push alone decides.
            let source = if may(caller, Need::Pull, State::Public) { State::Public } else { State::Private };
            let shared = self.push_blob(source.repository(), &content).await;
            address = address.replace("{shared}", &shared.to_string());
            address = address.replace("{source}", source.repository());
        }
        if address.contains("{loose}") {
            if state != State::Absent {
                self.push_blob(repository, &content).await;
            }
            address = address.replace("{loose}", &digest.to_string());
        }
        let mut request =
            self.registry.request(row.method.clone(), address.replace("{repository}", repository));
        request = match row.body {
            Body::Empty => request,
            Body::Content => request.body(content),
            Body::Manifest => {
                request.header("content-type", crate::harness::OCI_MANIFEST).body(image.manifest.clone())
            }
        };
        let answer = request.by(&who).ask().await;
        if state != State::Absent && !may(caller, row.requires, state) {
            self.is_untouched(state, &image).await;
        }
        answer
    }

    async fn push_blob(&self, repository: &str, content: &[u8]) -> Digest {
        let digest = Algorithm::Sha256.digest(content);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        self.as_root(Method::POST, path, content.to_vec()).await.is(201);
        digest
    }

    /// Checks that a refused request has changed nothing.
    async fn is_untouched(&self, state: State, image: &Image) {
        let repository = state.repository();
        let look = async |path: String| self.registry.get_as(&Who::root(), &path).await.status;
        assert_eq!(look(format!("/v2/{repository}/manifests/1")).await, 200);
        assert_eq!(look(format!("/v2/{repository}/manifests/2")).await, 404);
        assert_eq!(look(of_manifest(repository, &image.digest)).await, 200);
        assert_eq!(look(format!("/v2/{repository}/blobs/{}", image.blobs[1].0)).await, 200);
    }

    /// The status that a caller must get.
    fn expected(row: &Row, caller: Caller, state: State) -> u16 {
        match caller {
            Caller::ExpiredToken | Caller::ForeignBearer => 401,
            _ if may(caller, row.requires, state) && state == State::Absent => row.absent,
            _ if may(caller, row.requires, state) => row.present,
            // The caller can sign in, or get another token.
            Caller::Anonymous | Caller::NarrowBearer => 401,
            _ if may(caller, Need::Pull, state) || row.requires == Need::Push => 403,
            _ => 404,
        }
    }
}

fn of_manifest(repository: &str, digest: &Digest) -> String {
    format!("/v2/{repository}/manifests/{digest}")
}

/// Pushes an image as the administrator, tagged 1.
async fn push(registry: &TestRegistry, repository: &str) -> Image {
    let repository = registry.repository(repository).of(&Who::root());
    repository.delete("manifests/2").await;
    repository.push_image("1").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_caller_gets_the_expected_status() {
    let fixture = Fixture::new().await;
    let mut wrong = Vec::new();
    for row in &ROWS {
        for state in State::ALL {
            for caller in CALLERS {
                let answer = fixture.attempt(row, caller, state).await;
                let expected = Fixture::expected(row, caller, state);
                let request = format!("{caller:?} {} {} {state:?}", row.method, row.address);
                if answer.status != expected {
                    wrong.push(format!(
                        "{request}: {} instead of {expected}: {}",
                        answer.status,
                        answer.text()
                    ));
                }
                if answer.status == 401 && answer.header("www-authenticate").is_none() {
                    wrong.push(format!("{request}: 401 without a challenge"));
                }
            }
        }
    }
    let cells = ROWS.len() * State::ALL.len() * CALLERS.len();
    assert!(wrong.is_empty(), "{} of {cells} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    println!(
        "{cells} requests: {} routes, {} states, {} callers",
        ROWS.len(),
        State::ALL.len(),
        CALLERS.len()
    );
}

/// Routes without a repository that answer every caller.
const OPEN: [(&str, &[Method]); 8] = [
    ("/", &READ),
    ("/healthz", &READ),
    ("/readyz", &READ),
    ("/v1/_ping", &READ),
    ("/.well-known/jwks.json", &READ),
    ("/token", &READ),
    ("/api/v1/me", &READ),
    ("/api/v1/openapi.json", &READ),
];

/// Pages without a repository that answer every caller.
const OPEN_PAGES: [(&str, &[Method]); 4] = [
    ("/-/assets/{asset}", &READ),
    ("/-/sign-in", &READ),
    ("/-/api", &READ),
    // Only with a self-signed certificate.
    ("/-/certificate", &READ),
];

/// Forms that need no account.
const OPEN_FORMS: [(&str, &[Method]); 3] =
    [("/-/sign-in", &POST), ("/-/sign-out", &POST), ("/-/language", &POST)];

/// Pages of the caller's own account.
const OWN_PAGES: [(&str, &[Method]); 2] = [("/-/account", &PAGE), ("/-/organisations", &PAGE)];

/// Pages of administrators.
const ADMIN_PAGES: [(&str, &[Method]); 6] = [
    ("/-/admin/rules", &PAGE),
    ("/-/admin", &READ),
    ("/-/admin/accounts", &PAGE),
    ("/-/admin/grants", &PAGE),
    ("/-/admin/audit", &READ),
    ("/-/admin/usage", &READ),
];

/// Pages that answer by the object that they name.
const OTHER_PAGES: [(&str, &[Method]); 2] =
    [("/-/access", &READ), ("/-/organisations/{organisation}", &PAGE)];

const POST: [Method; 1] = [Method::POST];
const PAGE: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];

/// A page of a repository: method, path, address, required right, statuses (present, absent).
type PageRow = (Method, &'static str, &'static str, Need, (u16, u16));

/// Every page of a repository.
static PAGES: [PageRow; 23] = [
    (Method::GET, "/-/history/{repository}", "/-/history/{repository}", Need::Pull, (200, 404)),
    (Method::HEAD, "/-/history/{repository}", "/-/history/{repository}", Need::Pull, (200, 404)),
    // The tag has no such change.
    (
        Method::POST,
        "/-/history/{repository}",
        "/-/history/{repository}?tag=9&digest={layer}",
        Need::Push,
        (404, 404),
    ),
    (Method::GET, "/-/trash/{repository}", "/-/trash/{repository}", Need::Push, (200, 200)),
    (Method::HEAD, "/-/trash/{repository}", "/-/trash/{repository}", Need::Push, (200, 200)),
    (Method::POST, "/-/trash/{repository}", "/-/trash/{repository}?digest={layer}", Need::Push, (404, 404)),
    (Method::GET, "/{repository}", "/{repository}", Need::Pull, (200, 404)),
    (Method::HEAD, "/{repository}", "/{repository}", Need::Pull, (200, 404)),
    (Method::GET, "/{repository}:{reference}", "/{repository}:1", Need::Pull, (200, 404)),
    (Method::HEAD, "/{repository}:{reference}", "/{repository}:1", Need::Pull, (200, 404)),
    (Method::GET, "/{repository}:{reference}", "/{repository}@{manifest}", Need::Pull, (200, 404)),
    (Method::GET, "/-/file/{repository}@{digest}", "/-/file/{repository}@{layer}", Need::Pull, (200, 404)),
    (Method::HEAD, "/-/file/{repository}@{digest}", "/-/file/{repository}@{layer}", Need::Pull, (200, 404)),
    (Method::GET, "/-/compare/{repository}", "/-/compare/{repository}?from=1&to=1", Need::Pull, (200, 404)),
    (Method::HEAD, "/-/compare/{repository}", "/-/compare/{repository}", Need::Pull, (200, 404)),
    (Method::GET, "/-/delete/{repository}:{reference}", "/-/delete/{repository}:1", Need::Delete, (200, 404)),
    (
        Method::HEAD,
        "/-/delete/{repository}:{reference}",
        "/-/delete/{repository}:1",
        Need::Delete,
        (200, 404),
    ),
    (
        Method::POST,
        "/-/retag/{repository}:{reference}",
        "/-/retag/{repository}:1?tag=3",
        Need::Push,
        (303, 404),
    ),
    (
        Method::POST,
        "/-/delete/{repository}:{reference}",
        "/-/delete/{repository}:1?confirmation=1",
        Need::Delete,
        (303, 404),
    ),
    (
        Method::POST,
        "/-/delete/{repository}:{reference}",
        "/-/delete/{repository}@{manifest}?confirmation={hex}",
        Need::Delete,
        (303, 404),
    ),
    (Method::GET, "/-/delete/{repository}", "/-/delete/{repository}", Need::Delete, (200, 404)),
    (Method::HEAD, "/-/delete/{repository}", "/-/delete/{repository}", Need::Delete, (200, 404)),
    (
        Method::POST,
        "/-/delete/{repository}",
        "/-/delete/{repository}?confirmation={repository}",
        Need::Delete,
        (303, 404),
    ),
];

/// A second path of the ping.
static OTHER_PING: (&str, &[Method]) = ("/_ping", &READ);

/// Routes that require an account.
static SIGNED_IN: &[(&str, &[Method])] = &[
    ("/api/v1/version", &READ),
    ("/v2/", &READ),
    ("/v2/_catalog", &READ),
    ("/auth", &[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE]),
];

/// Routes for administrators.
static ADMINISTRATORS: [(&str, &[Method]); 1] = [("/metrics", &READ)];

/// Lists, filtered by the right to pull.
const LISTS: [(&str, &[Method]); 6] = [
    (EVENTS, &READ),
    ("/v1/search", &READ),
    ("/api/v1/repositories", &READ),
    ("/api/v1/usage", &READ),
    ("/api/v1/usage/repositories", &READ),
    ("/api/v1/usage/quotas", &READ),
];

/// A stream, which ends only with `follow=false`.
const EVENTS: &str = "/api/v1/events";

const READ: [Method; 2] = [Method::GET, Method::HEAD];

/// The tables above hold every route of the server.
#[test]
fn matrix_covers_every_route_of_the_server() {
    let listed = |routes: &[(&'static str, &[Method])]| -> BTreeSet<(&'static str, String)> {
        let each = |(path, methods): &(&'static str, &[Method])| {
            methods.iter().map(|method| (*path, method.to_string())).collect::<Vec<_>>()
        };
        routes.iter().flat_map(each).collect()
    };
    let mut walked =
        listed(&[&OPEN[..], SIGNED_IN, &ADMINISTRATORS, &LISTS, &[("/token", &[Method::POST])]].concat());
    walked.extend(ROWS.iter().map(|row| (row.path, row.method.to_string())));
    walked.extend(listed(&[&OPEN_PAGES[..], &OPEN_FORMS, &OWN_PAGES, &ADMIN_PAGES, &OTHER_PAGES].concat()));
    walked.extend(PAGES.iter().map(|(method, path, ..)| (*path, method.to_string())));
    let there: Vec<(&str, &[Method])> = wharfinger::http::routes().collect();
    let mut there = listed(&there);
    // The account routes are tested from the OpenAPI document, which has its own comparison with the server's
    // list.
    there.retain(|route| !is_of_accounts(route.0) || walked.contains(route));
    assert_eq!(walked, there);
}

/// Returns whether [`account_management_refuses_every_other_caller`] covers the path.
fn is_of_accounts(path: &str) -> bool {
    let needs_account = |(route, _): &(&str, &[Method])| *route == path;
    path.starts_with("/api/v1/")
        && !["repositor", "usage", "openapi", "events"].iter().any(|word| path.contains(word))
        && !SIGNED_IN.iter().any(needs_account)
}

/// Wrong credentials are refused on every route, also on those that need none.
#[tokio::test]
async fn wrong_credentials_are_refused_everywhere() {
    let fixture = Fixture::new().await;
    for who in [basic("ann", "not the password"), basic("nobody", PASSWORD), Who(Some("Basic !".to_owned()))]
    {
        for path in
            ["/v2/", "/healthz", "/v2/ann/public/manifests/1", "/v2/ann/private/manifests/1", "/token"]
        {
            fixture.registry.get_as(&who, path).await.fails(401, "UNAUTHORIZED");
        }
    }
    let two = fixture.registry.request(Method::GET, "/v2/");
    let (first, second) = (Who::root().0.unwrap(), Who::user("ann").0.unwrap());
    two.header("authorization", first).header("authorization", second).ask().await.fails(401, "UNAUTHORIZED");
}

/// A caller without rights gets equal answers for a private and an absent repository.
#[tokio::test]
async fn private_repository_looks_like_an_absent_one() {
    let fixture = Fixture::new().await;
    for caller in [Caller::Anonymous, Caller::Stranger] {
        let who = fixture.who(caller);
        let digest = &fixture.image.digest;
        for (method, below) in [
            (Method::GET, "manifests/1".to_owned()),
            (Method::HEAD, "manifests/1".to_owned()),
            (Method::GET, format!("manifests/{digest}")),
            (Method::GET, format!("blobs/{}", fixture.image.blobs[0].0)),
            (Method::GET, "tags/list".to_owned()),
            (Method::GET, format!("referrers/{digest}")),
            (Method::DELETE, "manifests/1".to_owned()),
            (Method::POST, "blobs/uploads/".to_owned()),
            (Method::PUT, "manifests/1".to_owned()),
            (Method::POST, "tags/list".to_owned()),
        ] {
            let mut answers = Vec::new();
            for repository in ["ann/private", "ann/absent"] {
                let path = format!("/v2/{repository}/{below}");
                let answer = fixture.registry.ask_as(&who, method.clone(), &path).await;
                let headers: Vec<String> = ["www-authenticate", "allow", "content-type", "content-length"]
                    .iter()
                    .map(|name| answer.header(name).unwrap_or("-").replace(repository, "NAME").to_owned())
                    .collect();
                let body = answer.text().replace(repository, "NAME");
                // Only the lengths of the names may differ.
                answers.push((answer.status, headers[..3].to_vec(), body));
            }
            assert_eq!(answers[0], answers[1], "{caller:?} {method} {below}");
        }
    }
}

/// Routes that are not about a repository.
#[tokio::test]
async fn global_routes_answer_every_caller_as_expected() {
    let fixture = Fixture::new().await;
    let registry = &fixture.registry;
    for caller in CALLERS {
        let who = fixture.who(caller);
        let is_wrong = matches!(caller, Caller::ExpiredToken | Caller::ForeignBearer);
        let walk = OPEN.iter().chain([&OTHER_PING]);
        for (path, method) in
            walk.flat_map(|(path, methods)| methods.iter().map(move |method| (path, method)))
        {
            let answer = registry.ask_as(&who, method.clone(), path).await;
            // A bearer token cannot buy a new one, which would outlive it.
            let is_wrong = is_wrong || (caller, *path) == (Caller::NarrowBearer, "/token");
            let expected = if is_wrong { 401 } else { 200 };
            assert_eq!(answer.status, expected, "{caller:?} {method} {path}: {}", answer.text());
        }
        let walk =
            SIGNED_IN.iter().flat_map(|(path, methods)| methods.iter().map(move |method| (path, method)));
        for (path, method) in walk {
            let answer = registry.ask_as(&who, method.clone(), path).await;
            let expected = match caller {
                Caller::Anonymous => 401,
                _ if is_wrong => 401,
                // The token was not issued for the catalog.
                Caller::NarrowBearer if *path == "/v2/_catalog" => 401,
                _ => 200,
            };
            assert_eq!(answer.status, expected, "{caller:?} {method} {path}: {}", answer.text());
        }
        for (path, method) in
            ADMINISTRATORS.iter().flat_map(|(path, methods)| methods.iter().map(move |method| (path, method)))
        {
            let answer = registry.ask_as(&who, method.clone(), path).await;
            let expected = match caller {
                Caller::Administrator => 200,
                Caller::Anonymous => 401,
                _ if is_wrong => 401,
                _ => 403,
            };
            assert_eq!(answer.status, expected, "{caller:?} {method} {path}: {}", answer.text());
        }
        for (path, method) in LISTS.iter().flat_map(|(path, methods)| methods.iter().map(move |m| (path, m)))
        {
            let address = if *path == EVENTS { "/api/v1/events?follow=false" } else { path };
            let answer = registry.ask_as(&who, method.clone(), address).await;
            // The token was not issued for lists.
            let is_wrong = is_wrong || caller == Caller::NarrowBearer;
            let expected = if is_wrong { 401 } else { 200 };
            assert_eq!(answer.status, expected, "{caller:?} {method} {path}: {}", answer.text());
        }
        // The form decides, but wrong credentials in the header are refused all the same.
        let form = registry.request(Method::POST, "/token").by(&who);
        let form = form.header("content-type", "application/x-www-form-urlencoded").body("grant_type=x");
        assert_eq!(form.ask().await.status, if is_wrong { 401 } else { 400 }, "{caller:?}");
    }
}

impl Fixture {
    /// Requests a page. A form is sent with its token, and the query of the address as its fields.
    async fn open_page(&self, method: &Method, address: &str, who: &Who) -> Answer {
        const SEED: &str = "a-seed-of-thirty-two-characters-";
        let token = crate::web::form_token(SEED);
        let (path, fields) = match address.split_once('?') {
            Some((path, fields)) if *method == Method::POST => (path, fields),
            _ => (address, ""),
        };
        let request = self.registry.request(method.clone(), path).header("accept", "text/html");
        let request = request.header("cookie", format!("wharfinger-form={SEED}"));
        let request = if *method == Method::POST {
            let form = format!("form_token={token}&{fields}");
            request.header("content-type", "application/x-www-form-urlencoded").body(form)
        } else {
            request
        };
        request.by(who).ask().await
    }
}

/// Pages need the rights that the API needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_gets_the_expected_status() {
    let fixture = Fixture::new().await;
    let mut wrong = Vec::new();
    for (method, _, address, requires, (present, absent)) in &PAGES {
        for state in State::ALL {
            for caller in CALLERS {
                let image = fixture.restore(state).await;
                let address = address
                    .replace("{repository}", state.repository())
                    .replace("{manifest}", &image.digest.to_string())
                    .replace("{hex}", &image.digest.hex()[..12])
                    .replace("{layer}", &image.blobs[1].0.to_string());
                let answer = fixture.open_page(method, &address, &fixture.who(caller)).await;
                let signs_in = answer.status == 303
                    && answer.header("location").is_some_and(|to| to.starts_with("/-/sign-in?to="));
                let is_expected = match caller {
                    Caller::ForeignBearer => answer.status == 401,
                    Caller::ExpiredToken => signs_in,
                    _ if may(caller, *requires, state) => {
                        !signs_in && answer.status == if state == State::Absent { *absent } else { *present }
                    }
                    Caller::Anonymous | Caller::NarrowBearer => signs_in,
                    _ if may(caller, Need::Pull, state) || *requires == Need::Push => answer.status == 403,
                    _ => answer.status == 404,
                };
                if !is_expected {
                    wrong.push(format!("{caller:?} {method} {address}: {} {}", answer.status, answer.text()));
                }
                if !may(caller, *requires, state) && state != State::Absent {
                    fixture.is_untouched(state, &image).await;
                    assert!(!answer.text().contains(&image.blobs[0].0.to_string()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn global_pages_answer_callers_as_expected() {
    let fixture = Fixture::new().await;
    for caller in CALLERS {
        let who = fixture.who(caller);
        let is_wrong = matches!(caller, Caller::ExpiredToken | Caller::ForeignBearer);
        let is_narrow = matches!(caller, Caller::NarrowToken | Caller::NarrowBearer);
        let walk = |pages: &'static [(&str, &[Method])]| {
            let each = |(path, methods): &(&'static str, &'static [Method])| {
                let (path, methods) = (*path, *methods);
                methods.iter().filter(|method| **method != Method::POST).map(move |method| (path, method))
            };
            pages.iter().flat_map(each).collect::<Vec<_>>()
        };
        for (path, method) in walk(&OPEN_PAGES) {
            let answer = fixture.open_page(method, &path.replace("{asset}", "none.css"), &who).await;
            let is_there = !path.contains("{asset}") && path != "/-/certificate";
            let is_expected = if is_wrong {
                [303, 401].contains(&answer.status)
            } else {
                (answer.status == 200) == is_there
            };
            assert!(is_expected, "{caller:?} {method} {path}: {}", answer.status);
        }
        for (path, method) in walk(&OWN_PAGES) {
            let answer = fixture.open_page(method, path, &who).await;
            let expected: &[u16] = match caller {
                _ if is_wrong => &[303, 401],
                Caller::Anonymous => &[303],
                _ if is_narrow => &[403],
                // A robot has no page.
                Caller::Robot => &[200, 403, 404],
                _ => &[200],
            };
            assert!(expected.contains(&answer.status), "{caller:?} {method} {path}: {}", answer.status);
        }
        for (path, method) in walk(&ADMIN_PAGES) {
            let answer = fixture.open_page(method, path, &who).await;
            let expected: &[u16] = match caller {
                _ if is_wrong => &[303, 401],
                Caller::Anonymous => &[303],
                Caller::Administrator => &[200],
                _ => &[403],
            };
            assert!(expected.contains(&answer.status), "{caller:?} {method} {path}: {}", answer.status);
        }
        // A stranger finds neither the rights of others nor an organisation.
        if caller == Caller::Stranger {
            let access =
                fixture.open_page(&Method::GET, "/-/access?account=ann&repository=ann/private", &who);
            assert_eq!(access.await.status, 403);
            assert_eq!(fixture.open_page(&Method::GET, "/-/organisations/acme", &who).await.status, 404);
        }
    }
}

#[tokio::test]
async fn version_is_open_without_accounts() {
    let registry = TestRegistry::start().await;
    let version = registry.get("/api/v1/version").await.is(200).json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["schema_version"].as_u64().unwrap() >= 8);
}

#[tokio::test]
async fn lists_show_what_may_be_pulled() {
    let fixture = Fixture::new().await;
    let registry = &fixture.registry;
    for caller in CALLERS {
        if matches!(caller, Caller::ExpiredToken | Caller::ForeignBearer | Caller::NarrowBearer) {
            continue;
        }
        let who = fixture.who(caller);
        let expected: Vec<&str> = [State::Private, State::Public]
            .into_iter()
            .filter(|state| may(caller, Need::Pull, *state))
            .map(State::repository)
            .collect();
        if caller != Caller::Anonymous {
            assert_eq!(registry.get_as(&who, "/v2/_catalog").await.is(200).list("repositories"), expected);
        }
        let names = |answer: &Answer, list: &str| -> Vec<String> {
            let mut names: Vec<String> = answer.json()[list]
                .as_array()
                .unwrap()
                .iter()
                .map(|found| found["name"].as_str().unwrap().to_owned())
                .collect();
            names.sort();
            names
        };
        let found = registry.get_as(&who, "/v1/search?q=ann").await.is(200);
        assert_eq!(names(&found, "results"), expected, "{caller:?}");
        assert_eq!(found.json()["num_results"], expected.len(), "{caller:?}");
        let found = registry.get_as(&who, "/api/v1/repositories").await.is(200);
        assert_eq!(names(&found, "repositories"), expected, "{caller:?}");
        let found = registry.get_as(&who, "/api/v1/usage/repositories").await.is(200);
        assert_eq!(names(&found, "repositories"), expected, "{caller:?}");
        let usage = registry.get_as(&who, "/api/v1/usage").await.is(200).json();
        assert_eq!(usage["repositories"], expected.len(), "{caller:?}: {usage}");
    }
}

/// A mount from a repository that the caller may not pull becomes an upload, as for an absent blob.
#[tokio::test]
async fn mount_needs_the_right_to_pull_the_source() {
    let fixture = Fixture::new().await;
    let registry = &fixture.registry;
    let secret = fixture.push_blob("ann/private", &random(500)).await;
    let mine = |from: &str| format!("/v2/dave/app/blobs/uploads/?mount={secret}{from}");
    for from in ["&from=ann/private", ""] {
        registry.ask_as(&Who::user("dave"), Method::POST, &mine(from)).await.is(202);
    }
    let path = format!("/v2/bob/app/blobs/uploads/?mount={secret}&from=ann/private");
    registry.ask_as(&Who::user("bob"), Method::POST, &path).await.is(201);
    // A token without the scope of the source mounts nothing.
    let path = format!("/v2/ann/app/blobs/uploads/?mount={secret}&from=ann/private");
    let token = registry.bearer(&Who::user("ann"), &["repository:ann/app:pull,push"]).await;
    registry.ask_as(&token, Method::POST, &path).await.is(202);
    let scopes = ["repository:ann/app:pull,push", "repository:ann/private:pull"];
    let token = registry.bearer(&Who::user("ann"), &scopes).await;
    registry.ask_as(&token, Method::POST, &path).await.is(201);
}

#[tokio::test]
async fn upload_is_found_by_its_account_alone() {
    let fixture = Fixture::new().await;
    let registry = &fixture.registry;
    let begun =
        registry.ask_as(&Who::user("carl"), Method::POST, "/v2/ann/private/blobs/uploads/").await.is(202);
    let upload = begun.location();
    let owner = Who::user("ann");
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        registry.ask_as(&owner, method, &upload).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
    }
    registry.ask_as(&Who::user("carl"), Method::GET, &upload).await.is(204);
}

/// Every account operation of the OpenAPI document refuses callers without the right.
#[tokio::test]
async fn account_management_refuses_every_other_caller() {
    let fixture = Fixture::new().await;
    let registry = &fixture.registry;
    registry.add_organisation("acme", "ann").await;
    let team = "/api/v1/organisations/acme/teams/devs";
    registry.ask_as(&Who::root(), Method::PUT, team).await.is(204);
    let description = registry.get_as(&Who::NOBODY, "/api/v1/openapi.json").await.is(200).json();
    let mut cells = 0;
    for (path, operations) in description["paths"].as_object().unwrap() {
        if !is_of_accounts(path) {
            continue;
        }
        for method in operations.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let filled = path
                .replace("{user}", "ann")
                .replace("{organisation}", "acme")
                .replace("{team}", "devs")
                .replace("{robot}", "ann+ci")
                .replace("{upstream}", "docker.io")
                .replace("{webhook}", "1")
                .replace("{id}", "1");
            let method: Method = method.to_uppercase().parse().unwrap();
            for caller in [
                Caller::Anonymous,
                Caller::Stranger,
                Caller::Reader,
                Caller::Writer,
                Caller::Maintainer,
                Caller::Robot,
                Caller::NarrowToken,
                Caller::NarrowBearer,
                Caller::ExpiredToken,
                Caller::ForeignBearer,
            ] {
                let who = fixture.who(caller);
                let mut request = registry.request(method.clone(), &filled).by(&who);
                if method == Method::POST || method == Method::PUT || method == Method::PATCH {
                    request = request.json(&body_of(path));
                }
                if path == "/api/v1/grants" && method == Method::DELETE {
                    request = request.query(&[("subject", "everyone"), ("repositories", "ann/public")]);
                }
                if path == "/api/v1/access" {
                    request = request.query(&[("account", "ann"), ("repository", "ann/private")]);
                }
                let answer = request.ask().await;
                let allowed = refusals(path, &method, caller);
                assert!(
                    allowed.contains(&answer.status),
                    "{caller:?} {method} {filled}: {} is not among {allowed:?}: {}",
                    answer.status,
                    answer.text()
                );
                cells += 1;
            }
        }
    }
    assert!(cells > 300, "{cells} cells");
    println!("{cells} account requests by callers without the right");
    // None of them had an effect.
    for path in ["/api/v1/users/ann", "/api/v1/organisations/acme", "/api/v1/robots/ann+ci"] {
        registry.get_as(&Who::root(), path).await.is(200);
    }
    registry.get_as(&Who::user("ann"), "/v2/").await.is(200);
    registry.get_as(&Who::NOBODY, "/v2/ann/public/manifests/1").await.is(200);
    registry.get_as(&fixture.robot, "/v2/ann/private/manifests/1").await.is(200);
}

/// Returns a body that the operation accepts.
fn body_of(path: &str) -> Value {
    match path {
        "/api/v1/registration" => json!({ "name": "mallory", "password": PASSWORD }),
        "/api/v1/users" => json!({ "name": "mallory", "password": PASSWORD, "administrator": true }),
        "/api/v1/users/{user}" => json!({ "password": "mallory knows this one" }),
        "/api/v1/users/{user}/tokens" => json!({ "label": "mallory" }),
        "/api/v1/organisations" => json!({ "name": "mallory", "owner": "dave" }),
        "/api/v1/organisations/{organisation}" => json!({ "description": "mallory" }),
        "/api/v1/organisations/{organisation}/members/{user}" => json!({ "role": "reader" }),
        "/api/v1/robots" => json!({ "name": "ann+mallory" }),
        "/api/v1/robots/{robot}" => json!({ "disabled": true }),
        "/api/v1/erase" => {
            json!({ "repository": "ann/private", "digest": format!("sha256:{}", "0".repeat(64)) })
        }
        "/api/v1/webhooks" => {
            json!({ "url": "https://example.com/", "repositories": ["ann/private"] })
        }
        "/api/v1/grants" => {
            json!({ "subject": "dave", "rights": ["administer"], "repositories": "ann/private" })
        }
        _ => json!({}),
    }
}

/// Returns the statuses that a caller without administrative rights may get.
fn refusals(path: &str, method: &Method, caller: Caller) -> &'static [u16] {
    match caller {
        Caller::ExpiredToken | Caller::ForeignBearer => return &[401],
        _ => {}
    }
    match (path, method.as_str(), caller) {
        ("/api/v1/me", "GET", _) => &[200],
        // Self-registration is off.
        ("/api/v1/registration", ..) => &[403],
        (_, _, Caller::Anonymous) => &[401],
        // Limited tokens manage nothing.
        (_, _, Caller::NarrowToken | Caller::NarrowBearer) => &[403, 404],
        // The lists contain the caller alone, or nothing.
        (
            "/api/v1/users"
            | "/api/v1/organisations"
            | "/api/v1/robots"
            | "/api/v1/grants"
            | "/api/v1/audit"
            | "/api/v1/webhooks",
            "GET",
            _,
        ) => &[200],
        _ => &[403, 404],
    }
}
