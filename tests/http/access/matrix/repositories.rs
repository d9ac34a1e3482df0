//! The routes of a repository.

use oci::Algorithm;
use reqwest::Method;

use super::callers::{CALLERS, Caller, Fixture, Need, State, may};
use crate::harness::{Answer, Ask as _, By as _, PASSWORD, Who, basic, random};

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
pub(super) struct Row {
    pub(super) method: Method,
    /// The path in the server's list of routes.
    pub(super) path: &'static str,
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
const API_DELETE: &str = "/api/v1/repositories/{repository}/_delete";
const API_TRASH: &str = "/api/v1/repositories/{repository}/_trash";
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
pub(super) static ROWS: [Row; 37] = [
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
    row(Method::POST, API_DELETE, API_DELETE, Body::Empty, Need::Delete, (415, 415)),
    row(Method::GET, API_TRASH, API_TRASH, Body::Empty, Need::Push, (200, 200)),
    row(Method::HEAD, API_TRASH, API_TRASH, Body::Empty, Need::Push, (200, 200)),
    row(Method::POST, API_TRASH, API_TRASH, Body::Empty, Need::Push, (415, 415)),
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

impl Fixture {
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
