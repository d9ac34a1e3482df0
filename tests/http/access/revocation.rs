//! Requests whose body is held back until their sender has lost its rights, and event streams of revoked
//! sign-ins.

use oci::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{By, OCI_MANIFEST, PASSWORD, RawClient, TestRegistry, Who, basic, with_accounts};

/// The bytes that are held back.
const REST: usize = 5;

/// A request that was authorized, and whose body lacks its last bytes.
pub(crate) struct Held {
    client: RawClient,
    rest: Vec<u8>,
}

impl Held {
    /// Sends the head and most of the body. The server asks for the body after it has authorized the head.
    pub(crate) async fn begin(registry: &TestRegistry, head: &str, body: &[u8]) -> Self {
        let mut client = registry.connect().await;
        let length = body.len();
        client
            .send(format!(
                "{head}\r\nHost: {}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n",
                registry.address()
            ))
            .await;
        assert_eq!(client.answer().await.status, 100, "{head}");
        let (begun, rest) = body.split_at(length - REST);
        client.send(begun).await;
        Self { client, rest: rest.to_vec() }
    }

    /// Sends the last bytes, and returns the status and the body of the answer.
    pub(crate) async fn end(mut self) -> (u16, String) {
        // The server may have refused the request already.
        let _ = self.client.try_send(&self.rest).await;
        let answer = self.client.answer().await;
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    }
}

fn head(method: &str, path: &str, who: &Who, content_type: &str) -> String {
    let authorization = who.0.as_deref().expect("credentials");
    format!("{method} {path} HTTP/1.1\r\nAuthorization: {authorization}\r\nContent-Type: {content_type}")
}

/// Makes a personal token of a user. Returns its credentials and the path to revoke it.
async fn token_of(registry: &TestRegistry, user: &str) -> (Who, String) {
    let path = format!("/api/v1/users/{user}/tokens");
    let wish = json!({ "label": "held" });
    let made = registry.send_as(&Who::user(user), Method::POST, &path, &wish).await.is(201).json();
    let secret = made["secret"].as_str().expect("a secret");
    (basic(user, secret), format!("{path}/{}", made["id"]))
}

fn assert_revoked((status, body): &(u16, String)) {
    assert_eq!(*status, 403, "{body}");
    assert!(body.contains("revoked while the request was being sent"), "{body}");
}

#[tokio::test]
async fn held_manifest_is_refused_after_revocation() {
    let registry = with_accounts().await;
    let root = Who::root();
    registry.add_user("ann").await;
    registry.add_user("bob").await;
    registry.grant("bob", &["pull", "push"], "ann/app").await;
    let repository = registry.repository("ann/app").of(&Who::user("ann"));
    let image = repository.push_image("1").await;
    let manifest = &image.manifest;
    let put =
        |who: &Who, tag: &str| head("PUT", &repository.path(format!("manifests/{tag}")), who, OCI_MANIFEST);

    // Unrelated changes do not matter.
    let held = Held::begin(&registry, &put(&Who::user("bob"), "kept"), manifest).await;
    registry.add_user("carol").await;
    assert_eq!(held.end().await.0, 201);

    let (token, path) = token_of(&registry, "ann").await;
    let held = Held::begin(&registry, &put(&token, "token"), manifest).await;
    registry.ask_as(&Who::user("ann"), Method::DELETE, &path).await.is(204);
    assert_revoked(&held.end().await);

    let held = Held::begin(&registry, &put(&Who::user("bob"), "grant"), manifest).await;
    let grant = json!({ "subject": "bob", "rights": ["pull"], "repositories": "ann/app" });
    registry.send_as(&root, Method::PUT, "/api/v1/grants", &grant).await.is(204);
    assert_revoked(&held.end().await);

    let bearer = registry.bearer(&Who::user("ann"), &["repository:ann/app:pull,push"]).await;
    for (tag, who, change) in [
        ("disabled", Who::user("ann"), json!({ "disabled": true })),
        ("enabled", Who::NOBODY, json!({ "disabled": false })),
        ("bearer", bearer, json!({ "password": "another long password" })),
    ] {
        let held = match &who.0 {
            Some(_) => Some(Held::begin(&registry, &put(&who, tag), manifest).await),
            None => None,
        };
        registry.send_as(&root, Method::PATCH, "/api/v1/users/ann", &change).await.is(200);
        if let Some(held) = held {
            assert_revoked(&held.end().await);
        }
    }
    let tags = registry.repository("ann/app").of(&root).tags().await;
    assert_eq!(tags, ["1", "kept"]);
    let audit = registry.get_as(&root, "/api/v1/audit").await.is(200).json().to_string();
    assert!(audit.contains("its rights have changed while the body arrived"), "{audit}");
}

#[tokio::test]
async fn held_blob_is_refused_after_revocation() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    let repository = registry.repository("ann/app").of(&Who::user("ann"));
    for (number, way) in ["POST", "PUT", "PATCH"].into_iter().enumerate() {
        // More than one piece of the body.
        let content = [vec![b'a' + number as u8; 300_000], crate::harness::random(8)].concat();
        let digest = Algorithm::Sha256.digest(&content);
        let (token, revocation) = token_of(&registry, "ann").await;
        let location = match way {
            "POST" => repository.path(format!("blobs/uploads/?digest={digest}")),
            _ => registry.repository("ann/app").of(&token).begin_upload().await,
        };
        let query = if location.contains('?') { '&' } else { '?' };
        let path = if way == "PUT" { format!("{location}{query}digest={digest}") } else { location.clone() };
        let held =
            Held::begin(&registry, &head(way, &path, &token, "application/octet-stream"), &content).await;
        registry.ask_as(&Who::user("ann"), Method::DELETE, &revocation).await.is(204);
        assert_revoked(&held.end().await);
        repository.head(format!("blobs/{digest}")).await.is(404);
    }
}

#[tokio::test]
async fn held_change_is_refused_after_demotion() {
    let registry = with_accounts().await;
    let (root, hal) = (Who::root(), registry.add_user("hal").await);
    let change = async |change: Value| {
        registry.send_as(&root, Method::PATCH, "/api/v1/users/hal", &change).await.is(200);
    };
    let body = json!({ "name": "backdoor", "password": PASSWORD, "administrator": true }).to_string();
    for end in [json!({ "administrator": false }), json!({ "disabled": true })] {
        change(json!({ "administrator": true })).await;
        let post = head("POST", "/api/v1/users", &hal, "application/json");
        let held = Held::begin(&registry, &post, body.as_bytes()).await;
        change(end).await;
        assert_revoked(&held.end().await);
        registry.get_as(&root, "/api/v1/users/backdoor").await.is(404);
    }
}

#[tokio::test]
async fn event_stream_ends_with_its_token() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    let repository = registry.repository("ann/app").of(&ann);
    let (token, revocation) = token_of(&registry, "ann").await;
    let mut stream = registry.request(Method::GET, "/api/v1/events").by(&token).send().await.unwrap();
    repository.push_image("before").await;
    let mut text = String::new();
    while !text.contains("event: tag.moved") {
        text.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().expect("the stream goes on")));
    }
    registry.ask_as(&ann, Method::DELETE, &revocation).await.is(204);
    repository.push_image("after").await;
    let mut rest = String::new();
    while let Some(piece) = stream.chunk().await.unwrap() {
        rest.push_str(&String::from_utf8_lossy(&piece));
    }
    assert!(!rest.contains("after"), "{rest}");
}

#[tokio::test]
async fn event_stream_ends_when_its_token_expires() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    let wish = json!({ "label": "short", "expires_in": 3 });
    let token = basic("ann", &registry.add_token("ann", &wish).await);
    let stream = registry.request(Method::GET, "/api/v1/events").by(&token).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    // No change of accounts follows.
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), stream.bytes()).await;
    ended.expect("the stream ends").unwrap();
}
