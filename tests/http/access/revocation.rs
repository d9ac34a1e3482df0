//! Revoked rights during a request: held bodies and event streams.

use reqwest::Method;
use serde_json::json;

use crate::harness::{By, RawClient, TestRegistry, Who, basic, with_accounts};

/// A request whose head has arrived, and whose body is held back.
struct Held {
    client: RawClient,
    body: Vec<u8>,
}

impl Held {
    async fn begin(
        registry: &TestRegistry,
        who: &Who,
        request: &str,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let body = body.into();
        let mut client = registry.connect().await;
        let authorization = who.0.as_deref().expect("credentials");
        let head = format!(
            "{request} HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\ncontent-type: {content_type}\r\n\
             content-length: {}\r\nexpect: 100-continue\r\n\r\n",
            body.len()
        );
        client.send(head).await;
        assert_eq!(client.answer().await.status, 100, "{request}: it is authorized, and the body is awaited");
        Self { client, body }
    }

    async fn send(mut self) -> (u16, String) {
        self.client.send(&self.body).await;
        let answer = self.client.answer().await;
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    }

    async fn is_refused(self) {
        let (status, body) = self.send().await;
        assert_eq!(status, 403, "{body}");
        assert!(body.contains("revoked while the request was being sent"), "{body}");
    }
}

#[tokio::test]
async fn held_request_fails_after_the_revocation() {
    let registry = with_accounts().await;
    let (root, ann) = (Who::root(), registry.add_user("ann").await);
    let (bob, hal) = (registry.add_user("bob").await, registry.add_user("hal").await);
    registry.add_user("eve").await;
    let change = async |user: &str, change| {
        registry.send_as(&root, Method::PATCH, &format!("/api/v1/users/{user}"), &change).await.is(200);
    };
    change("hal", json!({ "administrator": true })).await;
    registry.grant("bob", &["pull", "push"], "ann/app").await;
    let image = registry.repository("ann/app").of(&ann).push_image("1").await;
    let token = registry.add_token("ann", &json!({ "label": "ci" })).await;
    let token = basic("ann", &token);
    let json_type = "application/json";

    // An administrator that no longer is one.
    let user = json!({ "name": "backdoor", "password": crate::harness::PASSWORD, "administrator": true });
    let held = Held::begin(&registry, &hal, "POST /api/v1/users", json_type, user.to_string()).await;
    change("hal", json!({ "administrator": false })).await;
    held.is_refused().await;
    registry.get_as(&root, "/api/v1/users/backdoor").await.is(404);

    // A revoked token, a removed grant, and a disabled account.
    let push = "PUT /v2/ann/app/manifests/2";
    let manifest_type = crate::harness::OCI_MANIFEST;
    let held = Held::begin(&registry, &token, push, manifest_type, image.manifest.clone()).await;
    let tokens = registry.get_as(&ann, "/api/v1/users/ann/tokens").await.is(200).json();
    let id = &tokens["tokens"][0]["id"];
    registry.ask_as(&ann, Method::DELETE, &format!("/api/v1/users/ann/tokens/{id}")).await.is(204);
    held.is_refused().await;
    let held = Held::begin(&registry, &bob, push, manifest_type, image.manifest.clone()).await;
    let upload = "POST /v2/ann/app/blobs/uploads/?digest=";
    let digest = oci::Algorithm::Sha256.digest(b"content");
    let blob = Held::begin(&registry, &bob, &format!("{upload}{digest}"), "a/b", "content").await;
    let grant = "/api/v1/grants?subject=bob&repositories=ann/app";
    registry.ask_as(&ann, Method::DELETE, grant).await.is(204);
    held.is_refused().await;
    blob.is_refused().await;
    let held = Held::begin(&registry, &ann, push, manifest_type, image.manifest.clone()).await;
    change("ann", json!({ "disabled": true })).await;
    held.is_refused().await;
    change("ann", json!({ "disabled": false })).await;
    registry.get_as(&ann, "/v2/ann/app/manifests/2").await.is(404);

    // A change of another account does not matter.
    let held = Held::begin(&registry, &ann, push, manifest_type, image.manifest.clone()).await;
    change("eve", json!({ "description": "another" })).await;
    assert_eq!(held.send().await.0, 201);
}

#[tokio::test]
async fn event_stream_of_a_revoked_token_ends() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    let token = basic("ann", &registry.add_token("ann", &json!({ "label": "ci" })).await);
    let mut response = registry.request(Method::GET, "/api/v1/events").by(&token).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.chunk().await.unwrap().expect("the stream begins");
    let tokens = registry.get_as(&ann, "/api/v1/users/ann/tokens").await.is(200).json();
    let id = &tokens["tokens"][0]["id"];
    registry.ask_as(&ann, Method::DELETE, &format!("/api/v1/users/ann/tokens/{id}")).await.is(204);
    registry.repository("ann/app").of(&ann).push_image("1").await;
    let mut told = Vec::new();
    while let Some(piece) = response.chunk().await.unwrap() {
        told.extend_from_slice(&piece);
    }
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(!told.contains("event: push"), "{told}");
}
