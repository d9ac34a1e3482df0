//! The callers and the repositories of the matrix, and the rights that they have.

use oci::{Algorithm, Digest};
use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, Ask as _, By as _, Image, TestRegistry, Who, basic, eventually, with_accounts};

pub(super) const READ: [Method; 2] = [Method::GET, Method::HEAD];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
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

pub(super) const CALLERS: [Caller; 12] = [
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
pub(super) enum State {
    Public,
    Private,
    Absent,
}

impl State {
    pub(super) const ALL: [Self; 3] = [Self::Public, Self::Private, Self::Absent];

    pub(super) const fn repository(self) -> &'static str {
        match self {
            Self::Public => "ann/public",
            Self::Private => "ann/private",
            Self::Absent => "ann/absent",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    Pull,
    Push,
    Delete,
}

/// Returns whether the caller has a right on the repository.
pub(super) fn may(caller: Caller, need: Need, state: State) -> bool {
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

pub(super) struct Fixture {
    pub(super) registry: TestRegistry,
    /// The image that the absent repository would hold.
    pub(super) image: Image,
    pub(super) narrow_token: Who,
    pub(super) narrow_bearer: Who,
    pub(super) robot: Who,
    pub(super) expired: Who,
    pub(super) foreign: Who,
}

impl Fixture {
    pub(super) async fn new() -> Self {
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

    pub(super) fn who(&self, caller: Caller) -> Who {
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

    pub(super) async fn as_root(&self, method: Method, path: String, body: Vec<u8>) -> Answer {
        self.registry.request(method, path).by(&Who::root()).body(body).ask().await
    }

    /// Brings a repository into its state.
    pub(super) async fn restore(&self, state: State) -> Image {
        if state == State::Absent {
            let gone =
                self.as_root(Method::DELETE, "/api/v1/repositories/ann/absent".to_owned(), Vec::new()).await;
            assert!([202, 404].contains(&gone.status), "{}", gone.text());
            return self.image.clone();
        }
        push(&self.registry, state.repository()).await
    }

    pub(super) async fn push_blob(&self, repository: &str, content: &[u8]) -> Digest {
        let digest = Algorithm::Sha256.digest(content);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        self.as_root(Method::POST, path, content.to_vec()).await.is(201);
        digest
    }

    /// Checks that a refused request has changed nothing.
    pub(super) async fn is_untouched(&self, state: State, image: &Image) {
        let repository = state.repository();
        let look = async |path: String| self.registry.get_as(&Who::root(), &path).await.status;
        assert_eq!(look(format!("/v2/{repository}/manifests/1")).await, 200);
        assert_eq!(look(format!("/v2/{repository}/manifests/2")).await, 404);
        assert_eq!(look(of_manifest(repository, &image.digest)).await, 200);
        assert_eq!(look(format!("/v2/{repository}/blobs/{}", image.blobs[1].0)).await, 200);
    }
}

pub(super) fn of_manifest(repository: &str, digest: &Digest) -> String {
    format!("/v2/{repository}/manifests/{digest}")
}

/// Pushes an image as the administrator, tagged 1.
pub(super) async fn push(registry: &TestRegistry, repository: &str) -> Image {
    let repository = registry.repository(repository).of(&Who::root());
    repository.delete("manifests/2").await;
    repository.push_image("1").await
}
