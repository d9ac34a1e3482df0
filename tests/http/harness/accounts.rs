//! Registries with accounts, and the credentials of callers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use wharfinger::config::Config;
use wharfinger::serve::FirstAdministrator;

use super::{Answer, Ask, TestRegistry};

/// The password of every test user.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A caller: the value of its `Authorization` header, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who(pub(crate) Option<String>);

/// Returns Basic credentials.
pub(crate) fn basic(name: &str, password: &str) -> Who {
    Who(Some(format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))))
}

impl Who {
    pub(crate) const NOBODY: Self = Self(None);

    /// Returns the credentials of a test user.
    pub(crate) fn user(name: &str) -> Self {
        basic(name, PASSWORD)
    }

    pub(crate) fn root() -> Self {
        Self::user("root")
    }

    pub(crate) fn bearer(token: &str) -> Self {
        Self(Some(format!("Bearer {token}")))
    }
}

/// Adds credentials to a request.
pub(crate) trait By {
    fn by(self, who: &Who) -> Self;
}

impl By for RequestBuilder {
    fn by(self, who: &Who) -> Self {
        match &who.0 {
            Some(authorization) => self.header("authorization", authorization),
            None => self,
        }
    }
}

/// Starts a registry with the administrator `root`.
pub(crate) async fn with_accounts() -> TestRegistry {
    with_accounts_and(|_| {}).await
}

/// Starts a registry with the administrator `root` and changed settings.
pub(crate) async fn with_accounts_and(change: impl FnOnce(&mut Config)) -> TestRegistry {
    let root = FirstAdministrator { name: "root".parse().expect("a name"), password: PASSWORD.to_owned() };
    TestRegistry::start_as(Some(root), change).await
}

impl TestRegistry {
    /// Sends a request with credentials.
    pub(crate) async fn ask_as(&self, who: &Who, method: Method, path: &str) -> Answer {
        self.request(method, path).by(who).ask().await
    }

    pub(crate) async fn get_as(&self, who: &Who, path: &str) -> Answer {
        self.ask_as(who, Method::GET, path).await
    }

    /// Sends JSON with credentials.
    pub(crate) async fn send_as(&self, who: &Who, method: Method, path: &str, body: &Value) -> Answer {
        self.request(method, path).by(who).json(body).ask().await
    }

    /// Creates a test user.
    pub(crate) async fn add_user(&self, name: &str) -> Who {
        let user = json!({ "name": name, "password": PASSWORD });
        self.send_as(&Who::root(), Method::POST, "/api/v1/users", &user).await.is(201);
        Who::user(name)
    }

    pub(crate) async fn add_organisation(&self, name: &str, owner: &str) {
        let organisation = json!({ "name": name, "owner": owner });
        self.send_as(&Who::root(), Method::POST, "/api/v1/organisations", &organisation).await.is(201);
    }

    /// Creates a robot and returns the credentials with its secret.
    pub(crate) async fn add_robot(&self, name: &str) -> Who {
        let robot = json!({ "name": name });
        let made = self.send_as(&Who::root(), Method::POST, "/api/v1/robots", &robot).await.is(201).json();
        basic(name, made["secret"].as_str().expect("a secret"))
    }

    pub(crate) async fn grant(&self, subject: &str, rights: &[&str], repositories: &str) {
        let grant = json!({ "subject": subject, "rights": rights, "repositories": repositories });
        self.send_as(&Who::root(), Method::PUT, "/api/v1/grants", &grant).await.is(204);
    }

    /// Creates a personal token for a user.
    pub(crate) async fn add_token(&self, user: &str, wish: &Value) -> String {
        let path = format!("/api/v1/users/{user}/tokens");
        let made = self.send_as(&Who::user(user), Method::POST, &path, wish).await.is(201).json();
        made["secret"].as_str().expect("a secret").to_owned()
    }

    /// Fetches a bearer token with credentials.
    pub(crate) async fn bearer(&self, who: &Who, scopes: &[&str]) -> Who {
        let scopes: String = scopes.iter().map(|scope| format!("&scope={scope}")).collect();
        let answer = self.get_as(who, &format!("/token?service=wharfinger{scopes}")).await.is(200);
        Who::bearer(answer.json()["token"].as_str().expect("a token"))
    }
}
