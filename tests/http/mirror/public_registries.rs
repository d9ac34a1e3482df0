//! Fixtures of public registries: their token protocols and oddities. Facts marked with (t) rest on tests and
//! logs of other projects, those with (i) on an issue, and the others on documentation or source code.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::json;
use tempfile::{NamedTempFile, TempDir};
use wharfinger::config::Upstream;

use super::{Mirrored, hub};
use crate::harness::{Fault, FaultProxy, OCI_INDEX, TestRegistry, Who, header, index_manifest, random};
use crate::harness::{Says, Upstream as Server, with_accounts_and};

/// How a registry issues tokens.
struct Protocol {
    name: &'static str,
    token_path: &'static str,
    /// Whether the token server has another host than the registry.
    is_other_host: bool,
    /// The parameters of the challenge beside the realm.
    parameters: &'static str,
    answer: &'static str,
    /// Parts of the query that the token server requires, in lower case.
    query: &'static [&'static str],
}

const PULL: &str = "scope=repository%3ateam%2fapp%3apull";

const PROTOCOLS: [Protocol; 10] = [
    Protocol {
        name: "Docker Hub",
        token_path: "/token",
        is_other_host: true,
        parameters: r#",service="registry.docker.io",scope="repository:team/app:pull""#,
        answer: r#"{"token":"t0","access_token":"t0","expires_in":300,"issued_at":"2026-01-01T00:00:00Z"}"#,
        query: &["service=registry%2edocker%2eio", PULL],
    },
    // (t), the placeholder scope (i)
    Protocol {
        name: "GHCR",
        token_path: "/token",
        is_other_host: false,
        parameters: r#",service="ghcr.io",scope="repository:user/image:pull""#,
        answer: r#"{"token":"t0"}"#,
        query: &["service=ghcr%2eio", PULL],
    },
    Protocol {
        name: "Quay",
        token_path: "/v2/auth",
        is_other_host: false,
        parameters: r#",service="quay.io""#,
        answer: r#"{"token":"t0"}"#,
        query: &["service=quay%2eio", PULL],
    },
    // (t)
    Protocol {
        name: "ECR Public",
        token_path: "/token/",
        is_other_host: false,
        parameters: r#",service="public.ecr.aws",scope="aws""#,
        answer: r#"{"token":"t0"}"#,
        query: &["service=public%2eecr%2eaws", PULL, "scope=aws"],
    },
    // The unquoted service (t)
    Protocol {
        name: "Google",
        token_path: "/v2/token",
        is_other_host: false,
        parameters: ",service=europe-docker.pkg.dev",
        answer: r#"{"token":"t0","expires_in":3600,"issued_at":"2026-01-01T00:00:00Z"}"#,
        query: &["service=europe%2ddocker%2epkg%2edev", PULL],
    },
    Protocol {
        name: "Azure",
        token_path: "/oauth2/token",
        is_other_host: false,
        parameters: r#",service="team.azurecr.io",scope="repository:team/app:pull""#,
        answer: r#"{"access_token":"t0"}"#,
        query: &["service=team%2eazurecr%2eio", PULL],
    },
    // (t)
    Protocol {
        name: "GitLab.com",
        token_path: "/jwt/auth",
        is_other_host: true,
        parameters: r#",service="container_registry",scope="repository:team/app:pull",error="invalid_token""#,
        answer: r#"{"token":"t0"}"#,
        query: &["service=container%5fregistry", PULL],
    },
    Protocol {
        name: "Harbor",
        token_path: "/service/token",
        is_other_host: false,
        parameters: r#",service="harbor-registry""#,
        answer: r#"{"token":"t0","access_token":"","expires_in":1800,"issued_at":"2026-01-01T00:00:00Z"}"#,
        query: &["service=harbor%2dregistry", PULL],
    },
    // (t)
    Protocol {
        name: "NGC",
        token_path: "/proxy_auth",
        is_other_host: false,
        parameters: "",
        answer: r#"{"token":"t0","expires_in":0}"#,
        query: &[PULL],
    },
    // (t)
    Protocol {
        name: "Nexus",
        token_path: "/v2/token",
        is_other_host: false,
        parameters: r#",service="nexus",scope="repository:*:pull""#,
        answer: r#"{"token":"t0"}"#,
        query: &["service=nexus", PULL],
    },
];

/// The URL of a proxy, which its own answers contain.
#[derive(Clone, Default)]
struct OwnUrl(Arc<OnceLock<String>>);

impl OwnUrl {
    fn is(&self, url: String) {
        self.0.set(url).expect("one proxy has it");
    }

    fn get(&self) -> String {
        self.0.get().cloned().unwrap_or_default()
    }

    /// A challenge with a realm at this URL.
    fn challenge(&self, path: &str, parameters: &str) -> Fault {
        challenge(&format!("{}{path}", self.get()), parameters)
    }
}

fn challenge(realm: &str, parameters: &str) -> Fault {
    let line = format!("www-authenticate: Bearer realm=\"{realm}\"{parameters}\r\n");
    Fault::answer("401 Unauthorized", &line, "")
}

fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

fn file(content: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

/// Trusts the name under which fixtures have another host.
fn trusts_other_host(hub: &mut Upstream) {
    hub.token_hosts = vec!["localhost".to_owned()];
}

#[tokio::test]
async fn token_protocols_of_public_registries_are_spoken() {
    let password = file("secret\n");
    for protocol in &PROTOCOLS {
        for has_account in [false, true] {
            let url = OwnUrl::default();
            let own = url.clone();
            let fault = move |head: &str| {
                if path(head).split('?').next() == Some(protocol.token_path) {
                    let is_complete = protocol.query.iter().all(|part| path(head).contains(part));
                    let status = if is_complete { "200 OK" } else { "400 Bad Request" };
                    return Fault::answer(status, "content-type: application/json\r\n", protocol.answer);
                }
                if header(head, "authorization") == Some("bearer t0") {
                    return Fault::None;
                }
                own.challenge(protocol.token_path, protocol.parameters)
            };
            let mirrored = Mirrored::with_faults(fault, |hub| {
                if protocol.is_other_host {
                    trusts_other_host(hub);
                }
                if has_account {
                    hub.username = Some("ann".to_owned());
                    hub.password_file = Some(password.path().to_owned());
                }
            })
            .await;
            let host = if protocol.is_other_host { "localhost" } else { "127.0.0.1" };
            url.is(mirrored.proxy.url().replace("127.0.0.1", host));
            let image = mirrored.upstream.repository("team/app").push_image("1").await;
            let cached = mirrored.cache.repository("hub/team/app");
            let name = protocol.name;
            assert_eq!(cached.get("manifests/1").await.status, 200, "{name}, account: {has_account}");
            for (digest, content) in &image.blobs {
                let answer = cached.get(format_args!("blobs/{digest}")).await;
                assert!(answer.body == *content, "{name}: {}", answer.status);
            }
            let (tokens, all) = (mirrored.proxy.asked(protocol.token_path), mirrored.proxy.asked(""));
            assert_eq!(tokens.len(), 1, "{name}");
            let with_password = all.iter().filter(|head| head.contains("authorization: basic"));
            assert_eq!(
                with_password.count(),
                usize::from(has_account),
                "{name}: the token server alone gets it"
            );
        }
    }
}

/// GHCR and GitLab.com refuse a token for a repository that is private or absent (i).
#[tokio::test]
async fn refused_token_means_an_absent_repository() {
    let denied = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    for (body, status) in [(denied, 404), ("<h1>blocked by a firewall</h1>", 503)] {
        let url = OwnUrl::default();
        let own = url.clone();
        let fault = move |head: &str| match path(head).starts_with("/token") {
            true => Fault::answer("403 Forbidden", "", body),
            false => own.challenge("/token", r#",service="ghcr.io""#),
        };
        let mirrored = Mirrored::with_faults(fault, |_| {}).await;
        url.is(mirrored.proxy.url());
        mirrored.cache.get("/v2/hub/team/app/manifests/1").await.is(status);
    }
}

/// Azure lists no tags to a token for pulls.
#[tokio::test]
async fn tags_are_listed_with_the_scope_of_azure() {
    let url = OwnUrl::default();
    let own = url.clone();
    let fault = move |head: &str| {
        let wants_metadata = path(head).contains("metadata%5fread");
        if path(head).starts_with("/oauth2/token") {
            let token = if wants_metadata { "for-metadata" } else { "for-pulls" };
            return Fault::answer("200 OK", "", &format!(r#"{{"access_token":"{token}"}}"#));
        }
        let (action, token) = match path(head).contains("/tags/list") {
            true => ("metadata_read", "bearer for-metadata"),
            false => ("pull", "bearer for-pulls"),
        };
        if header(head, "authorization") == Some(token) {
            return Fault::None;
        }
        let scope = format!(r#",service="team.azurecr.io",scope="repository:team/app:{action}""#);
        own.challenge("/oauth2/token", &scope)
    };
    let mirrored = Mirrored::with_faults(fault, |hub| hub.fresh = std::time::Duration::ZERO).await;
    url.is(mirrored.proxy.url());
    for tag in ["1", "2"] {
        mirrored.upstream.repository("team/app").push_image(tag).await;
    }
    let cached = mirrored.cache.repository("hub/team/app");
    cached.get("manifests/1").await.is(200);
    assert_eq!(cached.tags().await, ["1", "2"]);
    cached.get("manifests/2").await.is(200);
    assert_eq!(cached.tags().await, ["1", "2"]);
    assert_eq!(mirrored.proxy.asked("/oauth2/token").len(), 2, "each scope has its cached token");
}

/// A Harbor that is a proxy of Docker Hub redirects bare names, and the other name needs another token.
#[tokio::test]
async fn redirect_of_harbor_gets_its_own_token() {
    let url = OwnUrl::default();
    let own = url.clone();
    let fault = move |head: &str| {
        if let Some(query) = path(head).strip_prefix("/service/token?") {
            let scope = query.split("scope=").nth(1).unwrap_or_default();
            return Fault::answer("200 OK", "", &format!(r#"{{"token":"{scope}","access_token":""}}"#));
        }
        let name = path(head).trim_start_matches("/v2/").split(['/', '?']).collect::<Vec<_>>();
        let repository = match name[..] {
            ["proxy", "library", "app", ..] => "proxy%2flibrary%2fapp",
            _ => "proxy%2fapp",
        };
        let token = format!("bearer repository%3a{repository}%3apull");
        if header(head, "authorization") != Some(&token) {
            return own.challenge("/service/token", r#",service="harbor-registry""#);
        }
        if repository == "proxy%2fapp" {
            let target = path(head).replacen("/proxy/", "/proxy/library/", 1);
            return Fault::answer("301 Moved Permanently", &format!("location: {target}\r\n"), "");
        }
        Fault::None
    };
    let mirrored = Mirrored::with_faults(fault, |_| {}).await;
    url.is(mirrored.proxy.url());
    let image = mirrored.upstream.repository("proxy/library/app").push_image("1").await;
    let cached = mirrored.cache.repository("hub/proxy/app");
    assert_eq!(cached.digest_of("1").await, image.digest);
    for (digest, content) in &image.blobs {
        assert!(cached.get(format_args!("blobs/{digest}")).await.is(200).body == *content);
    }
}

/// ECR takes the password itself, and answers 403 once it has expired (t).
#[tokio::test]
async fn expired_password_of_ecr_is_replaced() {
    let directory = TempDir::new().unwrap();
    let helper = directory.path().join("helper");
    let log = directory.path().join("log");
    let script = format!(
        "#!/bin/sh\necho run >> {log}\n\
         if [ $(wc -l < {log}) = 1 ]; then secret=old; else secret=new; fi\n\
         echo \"{{\\\"Username\\\":\\\"AWS\\\",\\\"Secret\\\":\\\"$secret\\\"}}\"\n",
        log = log.display()
    );
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let fault = |head: &str| match header(head, "authorization") {
        // AWS:new, in lower case as the whole head
        Some("basic qvdtom5ldw==") if path(head).contains("/forbidden/") => {
            Fault::answer("403 Forbidden", "", r#"{"errors":[{"code":"DENIED"}]}"#)
        }
        Some("basic qvdtom5ldw==") => Fault::None,
        Some(_) => {
            let body = r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired."}]}"#;
            Fault::answer("403 Forbidden", "", body)
        }
        None => {
            let challenge = "www-authenticate: Basic realm=\"https://1.dkr.ecr.eu-west-1.amazonaws.com/\",\
                             service=\"ecr.amazonaws.com\"\r\ncontent-type: text/plain\r\n";
            Fault::answer("401 Unauthorized", challenge, "Not Authorized")
        }
    };
    let mirrored =
        Mirrored::with_faults(fault, |hub| hub.credential_helper = Some(helper.display().to_string())).await;
    let image = mirrored.upstream.repository("team/app").push_image("1").await;
    assert_eq!(mirrored.cache.repository("hub/team/app").digest_of("1").await, image.digest);
    let forbidden = mirrored.cache.get("/v2/hub/forbidden/app/manifests/1").await;
    forbidden.fails(404, "MANIFEST_UNKNOWN");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "run\nrun\n");
}

/// A kept tag of an upstream whose password has expired is not a deleted one.
#[tokio::test]
async fn expired_password_is_no_deletion() {
    let is_expired = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let expired = is_expired.clone();
    let fault = move |head: &str| match header(head, "authorization") {
        Some(_) if expired.load(Ordering::Relaxed) => Fault::answer("403 Forbidden", "", ""),
        Some(_) => Fault::None,
        None => Fault::answer("401 Unauthorized", "www-authenticate: Basic realm=\"ecr\"\r\n", ""),
    };
    let password = file("secret\n");
    let mirrored = Mirrored::with_faults(fault, |hub| {
        hub.fresh = std::time::Duration::ZERO;
        hub.when_gone = wharfinger::config::Unavailable::Refuse;
        hub.username = Some("AWS".to_owned());
        hub.password_file = Some(password.path().to_owned());
    })
    .await;
    mirrored.upstream.repository("app").push_image("1").await;
    let cached = mirrored.cache.repository("hub/app");
    cached.get("manifests/1").await.is(200);
    is_expired.store(true, Ordering::Relaxed);
    cached.get("manifests/1").await.is(200).has("cache-status", "wharfinger; hit; detail=upstream-down");
    cached.get("manifests/2").await.is(503);
}

/// Google challenges at `/v2/` alone, and redirects blobs within its host (t).
#[tokio::test]
async fn google_registry_challenges_at_root_and_redirects() {
    let url = OwnUrl::default();
    let own = url.clone();
    let content = random(300_000);
    let layer = content.clone();
    let fault = move |head: &str| {
        let path = path(head);
        if path.starts_with("/v2/token") {
            return Fault::answer("200 OK", "", r#"{"token":"t0","expires_in":3600}"#);
        }
        if path.starts_with("/artifacts-downloads/") {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", layer.len());
            return Fault::Answer([head.as_bytes(), &layer].concat());
        }
        match header(head, "authorization") {
            Some("bearer t0") if path.contains("/blobs/") => {
                Fault::answer("302 Found", "location: /artifacts-downloads/signed?x=1\r\n", "")
            }
            Some("bearer t0") => Fault::None,
            _ if path == "/v2/" => own.challenge("/v2/token", ",service=europe-docker.pkg.dev"),
            _ => Fault::answer("401 Unauthorized", "", ""),
        }
    };
    let mirrored = Mirrored::with_faults(fault, |_| {}).await;
    url.is(mirrored.proxy.url());
    let image = mirrored.upstream.repository("project/repo/app").push_image("1").await;
    let cached = mirrored.cache.repository("hub/project/repo/app");
    assert_eq!(cached.digest_of("1").await, image.digest);
    let digest = oci::Algorithm::Sha256.digest(&content);
    assert!(cached.get(format_args!("blobs/{digest}")).await.is(200).body == content);
}

/// `registry.k8s.io` needs no token, and redirects manifests too.
#[tokio::test]
async fn redirected_manifests_are_verified_and_kept() {
    let upstream = TestRegistry::start().await;
    let image = upstream.repository("pause").push_image("1").await;
    let storage = FaultProxy::start(upstream.address(), |_| Fault::None).await;
    let target = storage.url().replace("127.0.0.1", "localhost");
    let redirect = move |head: &str| {
        let location = format!("location: {target}{}\r\n", path(head));
        match path(head) {
            "/v2/" => Fault::None,
            _ => Fault::answer("307 Temporary Redirect", &location, ""),
        }
    };
    let mirrored = Mirrored::with_faults(redirect, trusts_other_host).await;
    let cached = mirrored.cache.repository("hub/pause");
    assert_eq!(cached.digest_of("1").await, image.digest);
    for (digest, content) in &image.blobs {
        assert!(cached.get(format_args!("blobs/{digest}")).await.is(200).body == *content);
    }
    let requests = mirrored.proxy.asked("/pause/").len();
    cached.get(format_args!("manifests/{}", image.digest)).await.is(200);
    assert_eq!(mirrored.proxy.asked("/pause/").len(), requests);
}

/// NGC names another token server once a token has expired, which gives none without an account (i).
#[tokio::test]
async fn token_server_that_moves_is_not_followed() {
    let other = Server::start(|_| Says::ok("", r#"{"token":"of-another"}"#)).await;
    let elsewhere = format!("{}/token", other.url().replace("127.0.0.1", "localhost"));
    let url = OwnUrl::default();
    let own = url.clone();
    let issued = AtomicUsize::new(0);
    let fault = move |head: &str| {
        if path(head).starts_with("/proxy_auth") {
            let number = issued.fetch_add(1, Ordering::Relaxed);
            return Fault::answer("200 OK", "", &format!(r#"{{"token":"t{number}"}}"#));
        }
        match header(head, "authorization") {
            Some("bearer t0") if path(head).contains("/blobs/") => challenge(&elsewhere, ""),
            Some("bearer t0" | "bearer t1") => Fault::None,
            _ => own.challenge("/proxy_auth", ""),
        }
    };
    let mirrored = Mirrored::with_faults(fault, trusts_other_host).await;
    url.is(mirrored.proxy.url());
    let image = mirrored.upstream.repository("app").push_image("1").await;
    let cached = mirrored.cache.repository("hub/app");
    cached.get("manifests/1").await.is(200);
    for (digest, content) in &image.blobs {
        assert!(cached.get(format_args!("blobs/{digest}")).await.is(200).body == *content);
    }
    assert_eq!(other.asked("").len(), 0);
}

/// Quay has pages of 100 and absolute links, and Azure a relative link that ends in `&orderby=`. Nexus sends
/// null (i), Artifactory lists digests among the tags (i), and Google adds members (t).
#[tokio::test]
async fn odd_tag_lists_are_read() {
    let fault = |head: &str| {
        let page = |link: &str, body: &str| {
            let link = format!("content-type: application/json\r\n{link}");
            Fault::answer("200 OK", &link, body)
        };
        match path(head) {
            path if path.contains("/absent/") => {
                Fault::answer("404 Not Found", "content-type: text/html\r\n", "<html>Nexus</html>")
            }
            path if path.contains("next_page=abc") => page(
                "link: </v2/team/app/tags/list?last=b&n=1000&orderby=>; rel=\"next\"\r\n",
                r#"{"name":"team/app","tags":["b"],"child":[],"manifest":{"sha256:0":{"tag":["b"]}}}"#,
            ),
            path if path.contains("orderby=") => page("", r#"{"name":"team/app","tags":null}"#),
            _ => page(
                "link: <https://quay.io/v2/team/app/tags/list?n=100&next_page=abc>; rel=\"next\"\r\n",
                r#"{"name":"team/app","tags":["a",null,"sha256:0123"]}"#,
            ),
        }
    };
    let mirrored = Mirrored::with_faults(fault, |_| {}).await;
    let answer = mirrored.cache.get("/v2/hub/team/app/tags/list").await.is(200).has_no("link");
    assert_eq!(answer.list("tags"), ["a", "b"]);
    assert!(mirrored.proxy.asked("").iter().all(|head| head.contains("host: 127.0.0.1")));
    mirrored.cache.get("/v2/hub/absent/app/tags/list").await.fails(404, "NAME_UNKNOWN");
}

/// GHCR redirects the referrers to a page for people (i). Their fallback tag has them.
#[tokio::test]
async fn referrers_behind_a_page_are_in_the_fallback_tag() {
    let page = Server::start(|_| Says::ok("content-type: text/html\r\n", "<html>GitHub</html>")).await;
    let location = format!("location: {}/\r\n", page.url().replace("127.0.0.1", "localhost"));
    for is_reached in [true, false] {
        let location = location.clone();
        let redirect = move |head: &str| match path(head).contains("/referrers/") {
            true => Fault::answer("303 See Other", &location, ""),
            false => Fault::None,
        };
        let mirrored = Mirrored::with_faults(redirect, |hub| {
            if is_reached {
                trusts_other_host(hub);
            }
        })
        .await;
        let upstream = mirrored.upstream.repository("team/app");
        let (image, signature) = (upstream.push_image("1").await, upstream.push_image("signature").await);
        let mut entry = signature.part().json();
        entry["artifactType"] = json!("application/x.signature");
        let mut index = index_manifest(&[]);
        index["manifests"] = json!([entry]);
        let tag = image.digest.to_string().replace(':', "-");
        upstream.put_manifest_as(&tag, OCI_INDEX, index.to_string()).await.is(201);
        let cached = mirrored.cache.repository("hub/team/app");
        let listed = cached.get(format_args!("referrers/{}", image.digest)).await.is(200).json();
        assert_eq!(listed["manifests"][0]["digest"], signature.digest.to_string(), "reached: {is_reached}");
    }
}

/// Docker Hub tells the rest of the limit with each manifest.
#[tokio::test]
async fn rate_limit_of_docker_hub_is_shown() {
    let upstream = TestRegistry::start().await;
    upstream.repository("app").push_image("1").await;
    let line = "ratelimit-limit: 100;w=21600\r\nratelimit-remaining: 76;w=21600";
    let proxy = FaultProxy::start(upstream.address(), move |_| Fault::AddHeader(line)).await;
    let mut settings = hub(&proxy.url());
    settings.open_to = vec!["127.0.0.0/8".parse().unwrap()];
    let cache = with_accounts_and(|config| config.upstream.push(settings)).await;
    cache.get("/v2/hub/app/manifests/1").await.is(200);
    let listed = cache.get_as(&Who::root(), "/api/v1/upstreams").await.is(200).json();
    let url = &listed["upstreams"][0]["urls"][0];
    assert_eq!((url["rate_limit"].as_u64(), url["rate_remaining"].as_u64()), (Some(100), Some(76)));
    let metrics = cache.get_as(&Who::root(), "/metrics").await.is(200);
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let metric = "wharfinger_upstream_rate_limit_remaining{upstream=\"hub\"} 76";
    assert!(metrics.lines().any(|line| line == metric), "{metrics}");
}
