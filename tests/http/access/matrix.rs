//! Every route, for everyone, on repositories that are public, private and absent.
//!
//! What is expected stands in two tables that know nothing of how requests are judged: [`may`] says who may do what with
//! which repository, and [`Route::needs`] what a route takes. That no route is forgotten is compared with the server's own
//! list of them (`wharfinger::http::routes`).

use std::collections::BTreeSet;

use oci::{Algorithm, Digest};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Ask, By, Image, PASSWORD, TestRegistry, Who, basic, random, with_accounts};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Anonymous,
    Stranger,
    Reader,
    Writer,
    Maintainer,
    Owner,
    /// May pull one repository, by its grants.
    Robot,
    /// A personal token of the owner, for pulling the private repository.
    NarrowToken,
    /// A token of the token protocol, issued to the owner for pulling the private repository.
    NarrowBearer,
    Administrator,
    ExpiredToken,
    /// A token that another registry has signed.
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

/// Whether somebody may do something with a repository.
fn may(caller: Caller, need: Need, state: State) -> bool {
    match caller {
        Caller::Administrator | Caller::Owner => true,
        Caller::Anonymous | Caller::Stranger => need == Need::Pull && state == State::Public,
        // What it was made for, and nothing else, not even what everyone may.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    GetTag,
    HeadTag,
    GetManifest,
    HeadManifest,
    GetBlob,
    HeadBlob,
    Tags,
    HeadTags,
    Referrers,
    HeadReferrers,
    ApiRepository,
    HeadApiRepository,
    ApiTags,
    HeadApiTags,
    PutTag,
    PutManifest,
    BeginUpload,
    PushBlob,
    MountBlob,
    UploadStatus,
    HeadUpload,
    AppendUpload,
    FinishUpload,
    CancelUpload,
    DeleteTag,
    DeleteManifest,
    DeleteBlob,
    DeleteRepository,
}

impl Route {
    const ALL: [Self; 28] = [
        Self::GetTag,
        Self::HeadTag,
        Self::GetManifest,
        Self::HeadManifest,
        Self::GetBlob,
        Self::HeadBlob,
        Self::Tags,
        Self::HeadTags,
        Self::Referrers,
        Self::HeadReferrers,
        Self::ApiRepository,
        Self::HeadApiRepository,
        Self::ApiTags,
        Self::HeadApiTags,
        Self::PutTag,
        Self::PutManifest,
        Self::BeginUpload,
        Self::PushBlob,
        Self::MountBlob,
        Self::UploadStatus,
        Self::HeadUpload,
        Self::AppendUpload,
        Self::FinishUpload,
        Self::CancelUpload,
        Self::DeleteTag,
        Self::DeleteManifest,
        Self::DeleteBlob,
        Self::DeleteRepository,
    ];

    const fn needs(self) -> Need {
        match self {
            Self::GetTag
            | Self::HeadTag
            | Self::GetManifest
            | Self::HeadManifest
            | Self::GetBlob
            | Self::HeadBlob
            | Self::Tags
            | Self::HeadTags
            | Self::Referrers
            | Self::HeadReferrers
            | Self::ApiRepository
            | Self::HeadApiRepository
            | Self::ApiTags
            | Self::HeadApiTags => Need::Pull,
            Self::PutTag
            | Self::PutManifest
            | Self::BeginUpload
            | Self::PushBlob
            | Self::MountBlob
            | Self::UploadStatus
            | Self::HeadUpload
            | Self::AppendUpload
            | Self::FinishUpload
            | Self::CancelUpload => Need::Push,
            Self::DeleteTag | Self::DeleteManifest | Self::DeleteBlob | Self::DeleteRepository => {
                Need::Delete
            }
        }
    }

    const fn is_of_an_upload(self) -> bool {
        matches!(
            self,
            Self::UploadStatus
                | Self::HeadUpload
                | Self::AppendUpload
                | Self::FinishUpload
                | Self::CancelUpload
        )
    }

    /// Its method, and its path as the server's list has it.
    const fn in_the_list(self) -> (Method, &'static str) {
        const MANIFEST: &str = "/v2/{repository}/manifests/{reference}";
        const BLOB: &str = "/v2/{repository}/blobs/{digest}";
        const UPLOADS: &str = "/v2/{repository}/blobs/uploads/";
        const UPLOAD: &str = "/v2/{repository}/blobs/uploads/{upload}";
        const TAGS: &str = "/v2/{repository}/tags/list";
        const REFERRERS: &str = "/v2/{repository}/referrers/{digest}";
        const API_REPOSITORY: &str = "/api/v1/repositories/{repository}";
        const API_TAGS: &str = "/api/v1/repositories/{repository}/_tags";
        match self {
            Self::GetTag | Self::GetManifest => (Method::GET, MANIFEST),
            Self::HeadTag | Self::HeadManifest => (Method::HEAD, MANIFEST),
            Self::PutTag | Self::PutManifest => (Method::PUT, MANIFEST),
            Self::DeleteTag | Self::DeleteManifest => (Method::DELETE, MANIFEST),
            Self::GetBlob => (Method::GET, BLOB),
            Self::HeadBlob => (Method::HEAD, BLOB),
            Self::DeleteBlob => (Method::DELETE, BLOB),
            Self::BeginUpload | Self::PushBlob | Self::MountBlob => (Method::POST, UPLOADS),
            Self::UploadStatus => (Method::GET, UPLOAD),
            Self::HeadUpload => (Method::HEAD, UPLOAD),
            Self::AppendUpload => (Method::PATCH, UPLOAD),
            Self::FinishUpload => (Method::PUT, UPLOAD),
            Self::CancelUpload => (Method::DELETE, UPLOAD),
            Self::Tags => (Method::GET, TAGS),
            Self::HeadTags => (Method::HEAD, TAGS),
            Self::Referrers => (Method::GET, REFERRERS),
            Self::HeadReferrers => (Method::HEAD, REFERRERS),
            Self::ApiRepository => (Method::GET, API_REPOSITORY),
            Self::HeadApiRepository => (Method::HEAD, API_REPOSITORY),
            Self::DeleteRepository => (Method::DELETE, API_REPOSITORY),
            Self::ApiTags => (Method::GET, API_TAGS),
            Self::HeadApiTags => (Method::HEAD, API_TAGS),
        }
    }

    /// What whoever may is answered where the repository is there.
    const fn succeeds_with(self) -> u16 {
        match self {
            Self::GetTag
            | Self::HeadTag
            | Self::GetManifest
            | Self::HeadManifest
            | Self::GetBlob
            | Self::HeadBlob
            | Self::Tags
            | Self::HeadTags
            | Self::Referrers
            | Self::HeadReferrers
            | Self::ApiRepository
            | Self::HeadApiRepository
            | Self::ApiTags
            | Self::HeadApiTags => 200,
            Self::PutTag | Self::PutManifest | Self::PushBlob | Self::MountBlob | Self::FinishUpload => 201,
            Self::UploadStatus | Self::HeadUpload | Self::CancelUpload => 204,
            Self::BeginUpload
            | Self::AppendUpload
            | Self::DeleteTag
            | Self::DeleteManifest
            | Self::DeleteBlob
            | Self::DeleteRepository => 202,
        }
    }

    /// The same where it is not: a push makes it.
    const fn succeeds_without_repository(self) -> u16 {
        match self {
            // A list of referrers of what is not there is one of none.
            Self::Referrers | Self::HeadReferrers => 200,
            // Its parts are not there, and nothing has been pushed.
            Self::PutTag | Self::PutManifest => 400,
            _ if matches!(self.needs(), Need::Push) => self.succeeds_with(),
            _ => 404,
        }
    }
}

struct Fixture {
    registry: TestRegistry,
    /// What is in the repository, whatever was done to it before.
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
        // What may be mounted by whoever may push.
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
        while registry.get_as(&expired, "/v2/").await.status != 401 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
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

    /// Tries a route, and says what came of it.
    async fn attempt(&self, route: Route, caller: Caller, state: State) -> Answer {
        let who = self.who(caller);
        let repository = state.repository();
        let image = self.restore(state).await;
        let content = random(100);
        let digest = Algorithm::Sha256.digest(&content);
        let upload = if route.is_of_an_upload() {
            // Uploads are found by who began them; who may not push tries with that of somebody else.
            let beginner = if may(caller, Need::Push, state) { &who } else { &Who::root() };
            let path = format!("/v2/{repository}/blobs/uploads/");
            self.registry.ask_as(beginner, Method::POST, &path).await.is(202).location()
        } else {
            String::new()
        };
        let blob = image.blobs[1].0;
        let (path, body): (String, Vec<u8>) = match route {
            Route::GetTag | Route::HeadTag | Route::DeleteTag => {
                (format!("/v2/{repository}/manifests/1"), Vec::new())
            }
            Route::GetManifest | Route::HeadManifest | Route::DeleteManifest => {
                (of_manifest(repository, &image.digest), Vec::new())
            }
            Route::GetBlob | Route::HeadBlob => (format!("/v2/{repository}/blobs/{blob}"), Vec::new()),
            Route::Tags | Route::HeadTags => (format!("/v2/{repository}/tags/list"), Vec::new()),
            Route::Referrers | Route::HeadReferrers => {
                (format!("/v2/{repository}/referrers/{}", image.digest), Vec::new())
            }
            Route::ApiRepository | Route::HeadApiRepository | Route::DeleteRepository => {
                (format!("/api/v1/repositories/{repository}"), Vec::new())
            }
            Route::ApiTags | Route::HeadApiTags => {
                (format!("/api/v1/repositories/{repository}/_tags"), Vec::new())
            }
            Route::PutTag => (format!("/v2/{repository}/manifests/2"), image.manifest.clone()),
            Route::PutManifest => (of_manifest(repository, &image.digest), image.manifest.clone()),
            Route::BeginUpload => (format!("/v2/{repository}/blobs/uploads/"), Vec::new()),
            Route::PushBlob => (format!("/v2/{repository}/blobs/uploads/?digest={digest}"), content.clone()),
            Route::MountBlob => {
                // Something that whoever may push may pull as well: what is to be seen is the right to push.
                let from =
                    if may(caller, Need::Pull, State::Public) { State::Public } else { State::Private };
                let from = from.repository();
                let shared = self.push_blob(from, &content).await;
                (format!("/v2/{repository}/blobs/uploads/?mount={shared}&from={from}"), Vec::new())
            }
            Route::UploadStatus | Route::HeadUpload | Route::CancelUpload => (upload, Vec::new()),
            Route::AppendUpload => (upload, content.clone()),
            Route::FinishUpload => (format!("{upload}?digest={digest}"), content.clone()),
            Route::DeleteBlob => {
                let loose = match state {
                    State::Absent => digest,
                    _ => self.push_blob(repository, &content).await,
                };
                (format!("/v2/{repository}/blobs/{loose}"), Vec::new())
            }
        };
        let (method, _) = route.in_the_list();
        let mut request = self.registry.request(method, path).by(&who);
        if matches!(route, Route::PutTag | Route::PutManifest) {
            request = request.header("content-type", crate::harness::OCI_MANIFEST);
        }
        let answer = request.body(body).ask().await;
        if state != State::Absent && !may(caller, route.needs(), state) {
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

    /// Whatever was refused has changed nothing.
    async fn is_untouched(&self, state: State, image: &Image) {
        let repository = state.repository();
        let look = async |path: String| self.registry.get_as(&Who::root(), &path).await.status;
        assert_eq!(look(format!("/v2/{repository}/manifests/1")).await, 200);
        assert_eq!(look(format!("/v2/{repository}/manifests/2")).await, 404);
        assert_eq!(look(of_manifest(repository, &image.digest)).await, 200);
        assert_eq!(look(format!("/v2/{repository}/blobs/{}", image.blobs[1].0)).await, 200);
    }

    /// What is to be answered.
    fn expected(route: Route, caller: Caller, state: State) -> u16 {
        let need = route.needs();
        match caller {
            Caller::ExpiredToken | Caller::ForeignBearer => 401,
            _ if may(caller, need, state) && state == State::Absent => route.succeeds_without_repository(),
            _ if may(caller, need, state) => route.succeeds_with(),
            // Signing in would help, or another token would.
            Caller::Anonymous | Caller::NarrowBearer => 401,
            _ if may(caller, Need::Pull, state) || need == Need::Push => 403,
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
async fn everyone_is_answered_what_they_should_be() {
    let fixture = Fixture::new().await;
    let mut cells = 0;
    let mut wrong = Vec::new();
    for route in Route::ALL {
        for state in State::ALL {
            for caller in CALLERS {
                let answer = fixture.attempt(route, caller, state).await;
                let expected = Fixture::expected(route, caller, state);
                if answer.status != expected {
                    let said = answer.text();
                    wrong.push(format!(
                        "{caller:?} {route:?} {state:?}: {} instead of {expected}: {said}",
                        answer.status
                    ));
                }
                if answer.status == 401 && answer.header("www-authenticate").is_none() {
                    wrong.push(format!("{caller:?} {route:?} {state:?}: 401 without a challenge"));
                }
                cells += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cells} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(cells, Route::ALL.len() * State::ALL.len() * CALLERS.len());
    println!(
        "{cells} requests: {} routes, {} states of a repository, {} callers",
        Route::ALL.len(),
        State::ALL.len(),
        CALLERS.len()
    );
}

/// Routes that are no repository's and answer whoever asks.
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

/// The same ping by another name.
static OTHER_PING: (&str, &[Method]) = ("/_ping", &READ);

/// Those that want somebody to sign in.
const SIGNED_IN: [(&str, &[Method]); 3] = [
    ("/v2/", &READ),
    ("/v2/_catalog", &READ),
    ("/auth", &[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE]),
];

/// Those that show what may be pulled.
const LISTS: [(&str, &[Method]); 4] = [
    ("/v1/search", &READ),
    ("/api/v1/repositories", &READ),
    ("/api/v1/usage", &READ),
    ("/api/v1/usage/repositories", &READ),
];

const READ: [Method; 2] = [Method::GET, Method::HEAD];

/// A route that no test here walks is a route that nobody may have thought of.
#[test]
fn no_route_is_forgotten() {
    let listed = |routes: &[(&'static str, &[Method])]| -> BTreeSet<(&'static str, String)> {
        let each = |(path, methods): &(&'static str, &[Method])| {
            methods.iter().map(|method| (*path, method.to_string())).collect::<Vec<_>>()
        };
        routes.iter().flat_map(each).collect()
    };
    let mut walked = listed(&[&OPEN[..], &SIGNED_IN, &LISTS, &[("/token", &[Method::POST])]].concat());
    walked.extend(Route::ALL.iter().map(|route| {
        let (method, path) = route.in_the_list();
        (path, method.to_string())
    }));
    let there: Vec<(&str, &[Method])> = wharfinger::http::routes().collect();
    let mut there = listed(&there);
    // The others of the API are walked from its description, which is compared with the server's list as well.
    there.retain(|route| !is_of_accounts(route.0) || walked.contains(route));
    assert_eq!(walked, there);
}

/// Whether a path is one that [`accounts_are_managed_by_who_may`] walks.
fn is_of_accounts(path: &str) -> bool {
    path.starts_with("/api/v1/") && !["repositor", "usage", "openapi"].iter().any(|word| path.contains(word))
}

/// Wrong credentials are refused whatever is asked for, also where nobody needs any.
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

/// Of the repository that is private and of the one that is not there, who may see neither hears the same.
#[tokio::test]
async fn what_one_may_not_see_does_not_exist() {
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
                // The names differ in their length, and nothing else may.
                answers.push((answer.status, headers[..3].to_vec(), body));
            }
            assert_eq!(answers[0], answers[1], "{caller:?} {method} {below}");
        }
    }
}

/// Routes that are not about a repository.
#[tokio::test]
async fn routes_without_a_repository() {
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
            // A token is not to be had for a token: it would outlive it.
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
                // It was not issued for the catalog.
                Caller::NarrowBearer if *path == "/v2/_catalog" => 401,
                _ => 200,
            };
            assert_eq!(answer.status, expected, "{caller:?} {method} {path}: {}", answer.text());
        }
        for (path, method) in LISTS.iter().flat_map(|(path, methods)| methods.iter().map(move |m| (path, m)))
        {
            let answer = registry.ask_as(&who, method.clone(), path).await;
            // It was not issued for lists.
            let is_wrong = is_wrong || caller == Caller::NarrowBearer;
            let expected = if is_wrong { 401 } else { 200 };
            assert_eq!(answer.status, expected, "{caller:?} {method} {path}: {}", answer.text());
        }
        // What is in the form counts, and what is in the header is looked at all the same.
        let form = registry.request(Method::POST, "/token").by(&who);
        let form = form.header("content-type", "application/x-www-form-urlencoded").body("grant_type=x");
        assert_eq!(form.ask().await.status, if is_wrong { 401 } else { 400 }, "{caller:?}");
    }
}

/// Lists show what may be pulled, and nothing else.
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

/// A blob is mounted only out of what may be pulled; else it is to be uploaded, as if it were nowhere.
#[tokio::test]
async fn nothing_is_mounted_out_of_what_may_not_be_pulled() {
    let fixture = Fixture::new().await;
    let registry = &fixture.registry;
    let secret = fixture.push_blob("ann/private", &random(500)).await;
    let mine = |from: &str| format!("/v2/dave/app/blobs/uploads/?mount={secret}{from}");
    for from in ["&from=ann/private", ""] {
        registry.ask_as(&Who::user("dave"), Method::POST, &mine(from)).await.is(202);
    }
    let path = format!("/v2/bob/app/blobs/uploads/?mount={secret}&from=ann/private");
    registry.ask_as(&Who::user("bob"), Method::POST, &path).await.is(201);
    // A token that does not reach so far mounts nothing either.
    let path = format!("/v2/ann/app/blobs/uploads/?mount={secret}&from=ann/private");
    let token = registry.bearer(&Who::user("ann"), &["repository:ann/app:pull,push"]).await;
    registry.ask_as(&token, Method::POST, &path).await.is(202);
    let scopes = ["repository:ann/app:pull,push", "repository:ann/private:pull"];
    let token = registry.bearer(&Who::user("ann"), &scopes).await;
    registry.ask_as(&token, Method::POST, &path).await.is(201);
}

/// An upload is found by the account that began it alone.
#[tokio::test]
async fn an_upload_is_whose_it_is() {
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

/// Every operation of `/api/v1/` about accounts, from its own description, for whoever may not.
#[tokio::test]
async fn accounts_are_managed_by_who_may() {
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
            // What the operation says it takes; the values are for nobody who is refused to get as far as.
            let filled = path
                .replace("{user}", "ann")
                .replace("{organisation}", "acme")
                .replace("{team}", "devs")
                .replace("{robot}", "ann+ci")
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
    println!("{cells} requests about accounts, of those who may not");
    // Nothing of all that has had an effect.
    for path in ["/api/v1/users/ann", "/api/v1/organisations/acme", "/api/v1/robots/ann+ci"] {
        registry.get_as(&Who::root(), path).await.is(200);
    }
    registry.get_as(&Who::user("ann"), "/v2/").await.is(200);
    registry.get_as(&Who::NOBODY, "/v2/ann/public/manifests/1").await.is(200);
    registry.get_as(&fixture.robot, "/v2/ann/private/manifests/1").await.is(200);
}

/// A body that the operation would take.
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
        "/api/v1/grants" => {
            json!({ "subject": "dave", "rights": ["administer"], "repositories": "ann/private" })
        }
        _ => json!({}),
    }
}

/// How somebody who is nobody's owner and no administrator is refused, or what they may have all the same.
fn refusals(path: &str, method: &Method, caller: Caller) -> &'static [u16] {
    match caller {
        Caller::ExpiredToken | Caller::ForeignBearer => return &[401],
        _ => {}
    }
    match (path, method.as_str(), caller) {
        ("/api/v1/me", "GET", _) => &[200],
        // Nobody registers by themselves where the operator does not say so.
        ("/api/v1/registration", ..) => &[403],
        (_, _, Caller::Anonymous) => &[401],
        // With less than the rights of an account nothing is managed.
        (_, _, Caller::NarrowToken | Caller::NarrowBearer) => &[403, 404],
        // They find themselves, or nothing.
        (
            "/api/v1/users" | "/api/v1/organisations" | "/api/v1/robots" | "/api/v1/grants" | "/api/v1/audit",
            "GET",
            _,
        ) => &[200],
        _ => &[403, 404],
    }
}
