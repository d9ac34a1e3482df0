//! `auth.forward`: a backend of the operator authenticates requests.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wharfinger::config::{Auth, Config, Sources};
use wharfinger::serve::FirstAdministrator;

use crate::harness::{Answer, Ask, By, PASSWORD, TestRegistry, Who, basic};

/// The request head that the backend gets.
struct Head(String);

impl Head {
    fn header(&self, name: &str) -> Option<&str> {
        let fields = self.0.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// Returns the user of Basic credentials with the right password.
    fn user(&self) -> Option<&str> {
        let header = self.header("authorization")?;
        ["ann", "bob", "root"].into_iter().find(|name| Who::user(name).0.as_deref() == Some(header))
    }

    /// Returns nginx's `$remote_user`, which is unverified.
    fn claimed(&self) -> Option<String> {
        let encoded = self.header("authorization")?.strip_prefix("Basic ")?;
        let text = STANDARD_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?;
        Some(String::from_utf8(text).ok()?.split_once(':')?.0.to_owned())
    }
}

/// A backend on loopback.
struct Backend {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Backend {
    /// Starts a backend that answers with this status line and these headers.
    async fn start(answer: fn(&Head) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/check", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heads = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let heads = heads.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => return,
                        }
                    }
                    let head = Head(String::from_utf8(head).unwrap());
                    let answer = answer(&head);
                    heads.lock().unwrap().push(head.0);
                    let answer =
                        format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { url, asked }
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// Starts a registry that asks the backend, with the administrator `root`.
    async fn registry(&self) -> TestRegistry {
        let root =
            FirstAdministrator { name: "root".parse().unwrap(), password: "root's own one".to_owned() };
        TestRegistry::start_as(Some(root), |config| config.auth = forwarded_to(&self.url)).await
    }
}

/// Settings with a backend.
fn forwarded_to(url: &str) -> Auth {
    let settings = [("WHARFINGER_AUTH_FORWARD".into(), url.into())];
    let sources = Sources { environment: settings.to_vec(), ..Default::default() };
    Config::load(&sources).unwrap().config.auth
}

const NO: &str = "401 Unauthorized";

fn yes(name: &str) -> String {
    format!("200 OK\r\nX-Remote-User: {name}")
}

/// Accepts a token and names the account, or accepts Basic credentials and names none (nginx-auth-proxy).
fn by_token_or_password(head: &Head) -> String {
    match (head.header("x-docker-token"), head.header("cookie")) {
        (Some("ann"), _) => yes("ann"),
        (Some("eve"), _) | (_, Some("session=eve")) => "200 OK".to_owned(),
        (Some("banned"), _) => "403 Forbidden".to_owned(),
        (Some("broken"), _) => "500 Internal Server Error".to_owned(),
        _ if head.user().is_some() => "200 OK".to_owned(),
        _ => NO.to_owned(),
    }
}

/// Accepts a cookie or a password, and names the claimed user, as nginx with `$remote_user`.
fn echoing(head: &Head) -> String {
    let is_let_in = head.user().is_some() || head.header("cookie").is_some();
    match (is_let_in, head.claimed()) {
        (true, Some(claimed)) => yes(&claimed),
        (true, None) => "200 OK".to_owned(),
        (false, _) => NO.to_owned(),
    }
}

/// Accepts every request by its address, and names no account.
fn everybody(_: &Head) -> String {
    "200 OK".to_owned()
}

/// Names users differently from their login names.
fn mapping(head: &Head) -> String {
    head.user().map_or(NO.to_owned(), |user| yes(&format!("{user}-of-acme")))
}

/// Requires a password and a second factor.
fn both(head: &Head) -> String {
    match (head.user(), head.header("x-docker-token")) {
        (Some(_), Some("123456")) => "200 OK".to_owned(),
        _ => NO.to_owned(),
    }
}

async fn who(registry: &TestRegistry, header: (&str, &str), who: &Who) -> Answer {
    registry.request(Method::GET, "/api/v1/me").header(header.0, header.1).by(who).ask().await
}

async fn form(registry: &TestRegistry, name: &str, password: &str) -> Answer {
    let form = [("grant_type", "password"), ("username", name), ("password", password)];
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = registry.request(Method::POST, "/token").body(form);
    request.header("content-type", "application/x-www-form-urlencoded").ask().await
}

#[tokio::test]
async fn forward_auth_backend_names_the_account() {
    let backend = Backend::start(by_token_or_password).await;
    let registry = TestRegistry::start_with(|config| config.auth = forwarded_to(&backend.url)).await;
    let with = async |token: &str, method: Method, path: &str| {
        registry.request(method, path).header("x-docker-token", token).ask().await
    };
    with("ann", Method::POST, "/v2/ann/app/blobs/uploads/").await.is(202);
    with("ann", Method::POST, "/v2/bob/app/blobs/uploads/").await.fails(403, "DENIED");
    with("banned", Method::GET, "/v2/").await.is(403);
    with("broken", Method::GET, "/v2/").await.is(503);
    with("nobody", Method::GET, "/v2/").await.is(401);
    registry.get("/v2/").await.is(401);
    let head = backend.asked.lock().unwrap()[0].to_lowercase();
    assert!(head.starts_with("get /check"), "{head}");
    assert!(head.contains("x-original-uri: /v2/ann/app/blobs/uploads/"), "{head}");
    assert!(head.contains("x-original-method: post"), "{head}");
    assert!(!head.contains("content-length") || head.contains("content-length: 0"), "{head}");
    // The answer for the same headers is cached for a while.
    let before = backend.count();
    for _ in 0..5 {
        with("ann", Method::GET, "/v2/ann/app/tags/list").await.is(404);
    }
    assert!(backend.count() <= before + 1);
}

#[tokio::test]
async fn forward_auth_without_backend_refuses() {
    let registry = TestRegistry::start_with(|config| config.auth = forwarded_to("http://127.0.0.1:9/")).await;
    registry.request(Method::GET, "/v2/").header("x-docker-token", "ann").ask().await.is(503);
}

#[tokio::test]
async fn forward_auth_ignores_unproved_names() {
    let unpadded = Who(Some(format!("Basic {}", STANDARD_NO_PAD.encode("root:nonsense"))));
    let newcomer = basic("mallory", "nonsense");
    for answer in [by_token_or_password, echoing, everybody] {
        let backend = Backend::start(answer).await;
        let registry = backend.registry().await;
        for header in [("x-docker-token", "eve"), ("cookie", "session=eve"), ("accept", "*/*")] {
            for claim in
                [basic("root", "nonsense"), basic("ROOT", "nonsense"), unpadded.clone(), newcomer.clone()]
            {
                who(&registry, header, &claim).await.fails(401, "UNAUTHORIZED");
            }
            // Accounts of the registry still sign in.
            let own = basic("root", "root's own one");
            assert_eq!(who(&registry, header, &own).await.is(200).json()["name"], "root");
        }
        let root = basic("root", "root's own one");
        registry.get_as(&root, "/api/v1/users/mallory").await.is(404);
    }
}

#[tokio::test]
async fn forward_auth_proves_known_credentials() {
    for answer in [by_token_or_password, echoing] {
        let backend = Backend::start(answer).await;
        let registry = backend.registry().await;
        for header in [("accept", "*/*"), ("cookie", "session=eve"), ("x-docker-token", "true")] {
            let me = who(&registry, header, &Who::user("ann")).await.is(200).json();
            assert_eq!((&me["name"], &me["administrator"]), (&json!("ann"), &json!(false)), "{header:?}");
        }
        who(&registry, ("accept", "*/*"), &basic("ann", "wrong")).await.is(401);
    }
    // The backend's `root` is the registry's `root` only if the backend names it.
    let backend = Backend::start(by_token_or_password).await;
    who(&backend.registry().await, ("accept", "*/*"), &Who::user("root")).await.is(401);
}

#[tokio::test]
async fn forward_auth_accepts_credentials_with_a_header() {
    let backend = Backend::start(both).await;
    let registry = backend.registry().await;
    let me = who(&registry, ("x-docker-token", "123456"), &Who::user("ann")).await.is(200).json();
    assert_eq!(me["name"], "ann");
    who(&registry, ("x-docker-token", "1"), &Who::user("ann")).await.is(401);
    who(&registry, ("x-docker-token", "123456"), &basic("ann", "wrong")).await.is(401);
}

#[tokio::test]
async fn forward_auth_token_carries_the_backends_name() {
    let backend = Backend::start(mapping).await;
    let registry = backend.registry().await;
    let scope = "scope=repository:ann-of-acme/app:push,pull&service=wharfinger";
    let answer = registry.get_as(&Who::user("ann"), &format!("/token?account=ann&{scope}")).await.is(200);
    let bearer = Who::bearer(answer.json()["token"].as_str().unwrap());
    registry.ask_as(&bearer, Method::POST, "/v2/ann-of-acme/app/blobs/uploads/").await.is(202);
}

#[tokio::test]
async fn forward_auth_without_a_name_signs_nobody_in() {
    let backend = Backend::start(by_token_or_password).await;
    let registry = backend.registry().await;
    for header in [("x-docker-token", "eve"), ("cookie", "session=eve")] {
        // `docker login` asks this path.
        let asked = registry.request(Method::GET, "/v2/").header(header.0, header.1);
        asked.ask().await.fails(401, "UNAUTHORIZED");
    }
}

/// containerd signs in with a form.
#[tokio::test]
async fn forward_auth_is_asked_for_token_forms() {
    let backend = Backend::start(mapping).await;
    let registry = backend.registry().await;
    for _ in 0..30 {
        form(&registry, "ann", PASSWORD).await.is(200);
    }
    form(&registry, "ann", "wrong").await.fails(401, "UNAUTHORIZED");
    form(&registry, "root", "root's own one").await.is(200);
    form(&registry, "ann", PASSWORD).await.is(200);
}

#[tokio::test]
async fn forward_auth_account_is_in_the_audit_log() {
    let backend = Backend::start(by_token_or_password).await;
    let registry = backend.registry().await;
    who(&registry, ("accept", "*/*"), &Who::user("ann")).await.is(200);
    let root = basic("root", "root's own one");
    let log = registry.get_as(&root, "/api/v1/audit?action=user.add").await.is(200).json();
    let entries: Vec<_> = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| json!([entry["account"], entry["object"], entry["address"]]))
        .collect();
    assert_eq!(entries, [json!(["(operator)", "root", null]), json!(["(auth.forward)", "ann", "127.0.0.1"])]);
}
