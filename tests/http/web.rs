//! Pages for browsers: content, sessions, forms, headers. `access::matrix` walks their rights, and
//! `tests/browser` uses them in a browser.

mod admin;
mod audit;
mod compression;
mod confirmation;
mod delete_tags;
mod escaping;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::access::revocation::Held;
use crate::harness::{
    Answer, Ask, By, OCI_MANIFEST, PASSWORD, Part, TestRegistry, Who, image_manifest, with_accounts,
    with_accounts_and,
};

const HTML: &str = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";

/// The token of the forms for a browser with this secret cookie.
pub(crate) fn form_token(seed: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("form:{seed}")))
}

trait Html {
    /// Returns the whole body; `text` is for messages.
    fn html(&self) -> String;
}

impl Html for Answer {
    fn html(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// A browser: it keeps its cookies.
struct Browser<'r> {
    registry: &'r TestRegistry,
    cookies: Vec<(String, String)>,
}

impl<'r> Browser<'r> {
    fn new(registry: &'r TestRegistry) -> Self {
        Self { registry, cookies: Vec::new() }
    }

    fn cookie(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn seed(&self) -> &str {
        let find = |wanted: &str| self.cookies.iter().find(|(name, _)| name == wanted);
        find("wharfinger-session").or_else(|| find("wharfinger-form")).map_or("", |(_, value)| value)
    }

    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(other, _)| other != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    async fn open(&mut self, path: &str) -> Answer {
        let request = self.registry.request(Method::GET, path).header("accept", HTML);
        let answer = request.header("cookie", self.cookie()).ask().await;
        self.keep(&answer);
        answer
    }

    async fn send(&mut self, path: &str, fields: &str) -> Answer {
        let form = format!("form_token={}&{fields}", form_token(self.seed()));
        let request = self.registry.request(Method::POST, path).header("cookie", self.cookie());
        let request =
            request.header("accept", HTML).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(form).ask().await;
        self.keep(&answer);
        answer
    }

    /// Signs in, from a first visit.
    async fn signed_in(registry: &'r TestRegistry, name: &str) -> Self {
        let mut browser = Self::new(registry);
        browser.open("/-/sign-in").await.is(200);
        browser
            .send("/-/sign-in", &format!("name={name}&password={PASSWORD}&to=/"))
            .await
            .is(303)
            .has("location", "/");
        browser
    }
}

#[tokio::test]
async fn pages_are_for_requests_that_name_html() {
    let registry = TestRegistry::start().await;
    let image = registry.repository("team/app").push_image("1.0").await;
    let text = registry.get("/").await.is(200).has("content-type", "text/plain; charset=utf-8").html();
    assert!(text.starts_with("Wharfinger"));
    registry.get("/team/app").await.fails(404, "UNSUPPORTED");
    let mut browser = Browser::new(&registry);
    for path in [
        "/".to_owned(),
        "/team/app".to_owned(),
        "/team/app:1.0".to_owned(),
        format!("/team/app@{}", image.digest),
    ] {
        let page = browser.open(&path).await.is(200).has("content-type", "text/html; charset=utf-8");
        assert!(page.html().contains("team/app"), "{path}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    browser.open("/team/absent").await.is(404).has("content-type", "text/html; charset=utf-8");
    browser.open("/team/app:none").await.is(404);
    // The API answers a browser as it answers every client.
    browser.open("/v2/").await.is(200).has("content-type", "application/json");
}

#[tokio::test]
async fn pages_can_be_switched_off() {
    let registry = TestRegistry::start_with(|config| config.web.enabled = false).await;
    registry.repository("team/app").push_image("1.0").await;
    let mut browser = Browser::new(&registry);
    browser.open("/").await.is(200).has("content-type", "text/plain; charset=utf-8");
    for path in ["/team/app", "/-/sign-in", "/-/api"] {
        browser.open(path).await.fails(404, "UNSUPPORTED");
    }
}

#[tokio::test]
async fn content_of_the_protocol_runs_in_no_browser() {
    let registry = TestRegistry::start().await;
    let image = registry.repository("team/app").push_image("1.0").await;
    for path in [
        "/v2/".to_owned(),
        "/v2/team/app/manifests/1.0".to_owned(),
        "/v2/team/app/manifests/absent".to_owned(),
        format!("/v2/team/app/blobs/{}", image.blobs[1].0),
    ] {
        // The second answer to a manifest comes from the cache.
        for _ in 0..2 {
            let answer = registry.get(&path).await;
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
            let policy = answer.header("content-security-policy");
            assert_eq!(policy, Some("sandbox; default-src 'none'"), "{path}");
        }
    }
}

/// The script copies the count into a live region that no search replaces.
#[tokio::test]
async fn count_of_a_search_is_outside_its_live_region() {
    let registry = TestRegistry::start().await;
    registry.repository("team/app").push_image("1.0").await;
    let page = Browser::new(&registry).open("/?q=app").await.is(200).html();
    let (content, rest) = page.split_once("</main>").unwrap();
    assert!(content.contains("data-announce>1 repository</p>") && !content.contains("aria-live"), "{page}");
    assert!(rest.contains("<p id=\"announcer\" class=\"hidden\" aria-live=\"polite\"></p>"), "{page}");
}

#[tokio::test]
async fn assets_are_cached_for_ever() {
    let registry = TestRegistry::start().await;
    let page = Browser::new(&registry).open("/").await.html();
    for kind in ["style.", "script.", "icon."] {
        let name = page.split("/-/assets/").find(|rest| rest.starts_with(kind)).unwrap();
        let name = name.split('"').next().unwrap();
        let asset = registry.get(format!("/-/assets/{name}")).await.is(200);
        assert!(asset.header("cache-control").unwrap().contains("immutable"));
    }
    registry.get("/-/assets/style.css").await.is(404);
}

#[tokio::test]
async fn empty_registry_shows_the_commands_for_its_host() {
    let registry = TestRegistry::start().await;
    let page = Browser::new(&registry).open("/").await.is(200).html();
    assert!(page.contains(&format!("docker push {}/team/my-image:1.0", registry.address())), "{page}");
    assert!(!page.contains("insecure-registries"), "docker trusts its own machine");
    let request = registry.request(Method::GET, "/").header("accept", HTML);
    let page = request.header("host", "registry.example.com").ask().await.is(200).html();
    assert!(
        page.contains("insecure-registries") && page.contains("docker push registry.example.com/"),
        "{page}"
    );
}

#[tokio::test]
async fn home_without_visible_images_does_not_say_empty() {
    const EMPTY: &str = "This registry is empty";
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    registry.add_user("bob").await;
    let administrator = Browser::signed_in(&registry, "root").await.open("/").await.is(200).html();
    assert!(administrator.contains(EMPTY), "{administrator}");
    registry.repository("ann/secret").of(&Who::user("ann")).push_image("1").await;
    let public = Browser::new(&registry).open("/").await.is(200).html();
    assert!(public.contains("No public repositories") && !public.contains(EMPTY), "{public}");
    let bob = Browser::signed_in(&registry, "bob").await.open("/").await.is(200).html();
    assert!(bob.contains("No repositories for you yet") && !bob.contains(EMPTY), "{bob}");
    assert!(bob.contains(&format!("docker push {}/bob/my-image:1.0", registry.address())), "{bob}");
}

#[tokio::test]
async fn private_names_are_in_no_page() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    registry.add_user("bob").await;
    for name in ["ann/secret-one", "ann/shared"] {
        registry.repository(name).of(&Who::user("ann")).push_image("1").await;
    }
    registry.grant("everyone", &["pull"], "ann/shared").await;
    for mut browser in [Browser::new(&registry), Browser::signed_in(&registry, "bob").await] {
        for path in ["/", "/?q=ann", "/?q=secret", "/?namespace=ann", "/?sort=pushed"] {
            let page = browser.open(path).await.is(200).html();
            assert!(!page.contains("secret-one"), "{path}: {page}");
            assert_eq!(page.contains("ann/shared"), path != "/?q=secret", "{path}");
        }
    }
    let mut ann = Browser::signed_in(&registry, "ann").await;
    assert!(ann.open("/").await.html().contains("ann/secret-one"));
}

#[tokio::test]
async fn session_ends_with_sign_out_and_password() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    let mut first = Browser::signed_in(&registry, "ann").await;
    let mut second = Browser::signed_in(&registry, "ann").await;
    let page = second.open("/-/account").await.is(200).html();
    assert_eq!(page.matches("value=\"end-session\"").count(), 2, "{page}");
    // A session is for pages only.
    let api = registry.request(Method::GET, "/api/v1/me").header("cookie", first.cookie()).ask().await;
    assert_eq!(api.json()["kind"], "anonymous");

    let copy = first.cookies.clone();
    first.send("/-/sign-out", "").await.is(303);
    first.cookies = copy;
    first.open("/-/account").await.is(303);
    let fields =
        format!("action=password&old={PASSWORD}&new=another-long-password&again=another-long-password");
    let wrong = fields.replace(PASSWORD, "not-the-old-one");
    assert!(second.send("/-/account", &wrong).await.is(400).html().contains("present password is wrong"));
    second.send("/-/account", &fields).await;
    second.open("/-/account").await.is(303);
    registry.get_as(&crate::harness::basic("ann", "another-long-password"), "/v2/").await.is(200);
}

#[tokio::test]
async fn session_is_listed_and_ended_over_the_api() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    let mut browser = Browser::signed_in(&registry, "ann").await;
    let sessions = registry.get_as(&Who::user("ann"), "/api/v1/users/ann/sessions").await.is(200).json();
    let session = &sessions["sessions"][0];
    assert!(session["browser"].as_str().unwrap().contains("127.0.0.1"), "{session}");
    let path = format!("/api/v1/users/ann/sessions/{}", session["id"]);
    registry.ask_as(&Who::user("ann"), Method::DELETE, &path).await.is(204);
    browser.open("/-/account").await.is(303);
}

#[tokio::test]
async fn held_form_is_refused_after_its_session() {
    let registry = with_accounts().await;
    let repository = registry.repository("root/app").of(&Who::root());
    repository.push_image("1").await;
    let browser = Browser::signed_in(&registry, "root").await;
    let form = format!("form_token={}&confirmation=1", form_token(browser.seed()));
    let head =
        format!("POST /-/delete/root/app:1 HTTP/1.1\r\nCookie: {}\r\nAccept: {HTML}", browser.cookie());
    let held = Held::begin(&registry, &head, form.as_bytes()).await;
    let sessions = registry.get_as(&Who::root(), "/api/v1/users/root/sessions").await.is(200).json();
    let path = format!("/api/v1/users/root/sessions/{}", sessions["sessions"][0]["id"]);
    registry.ask_as(&Who::root(), Method::DELETE, &path).await.is(204);
    assert_eq!(held.end().await.0, 403);
    repository.head("manifests/1").await.is(200);
}

#[tokio::test]
async fn form_needs_its_token() {
    let registry = with_accounts().await;
    let repository = registry.repository("root/app");
    repository.of(&Who::root()).push_image("1").await;
    let mut browser = Browser::signed_in(&registry, "root").await;
    let session = browser.cookie();
    for token in ["", "form_token=&", "form_token=AAAA&", &format!("form_token={}&", form_token("other"))] {
        let request = registry.request(Method::POST, "/-/delete/root/app:1").header("cookie", &session);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(format!("{token}confirmation=1")).ask().await.is(403);
    }
    // A browser names the site of a form.
    let form = format!("form_token={}&confirmation=1", form_token(browser.seed()));
    let request = registry.request(Method::POST, "/-/delete/root/app:1").header("cookie", &session);
    request.header("sec-fetch-site", "cross-site").body(form).ask().await.is(403);
    // Without the name nothing is deleted.
    let page = browser.send("/-/delete/root/app:1", "confirmation=2").await.is(200).html();
    assert!(page.contains("<h1>Delete <span class=\"name\">root/app:1</span></h1>"), "{page}");
    browser.open("/root/app:1").await.is(200);
    browser.send("/-/delete/root/app:1", "confirmation=1").await.is(303);
    browser.open("/root/app:1").await.is(404);
}

#[tokio::test]
async fn sign_in_returns_to_this_host_only() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    for (to, expected) in
        [("/-/account", "/-/account"), ("//evil", "/"), ("/\\evil", "/"), ("https://evil/", "/")]
    {
        let mut browser = Browser::new(&registry);
        browser.open("/-/sign-in").await.is(200);
        let to = to.replace('\\', "%5C");
        let answer = browser.send("/-/sign-in", &format!("name=ann&password={PASSWORD}&to={to}")).await;
        answer.is(303).has("location", expected);
    }
}

#[tokio::test]
async fn page_throttles_wrong_passwords_like_the_api() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    let mut browser = Browser::new(&registry);
    browser.open("/-/sign-in").await.is(200);
    let wrong = browser.send("/-/sign-in", "name=ann&password=wrong-password").await.is(403).html();
    assert!(wrong.contains("The name or the password is wrong"));
    for _ in 1..10 {
        registry.get_as(&crate::harness::basic("ann", "wrong-password"), "/v2/").await.is(401);
    }
    // Of two further attempts one waits for its turn, and the other is refused at once.
    let mut other = Browser { registry: &registry, cookies: browser.cookies.clone() };
    let refused = tokio::select! {
        one = browser.send("/-/sign-in", "name=ann&password=wrong-1") => one,
        two = other.send("/-/sign-in", "name=ann&password=wrong-2") => two,
    };
    assert!(refused.is(429).html().contains("Too many attempts"));
}

#[tokio::test]
async fn language_follows_browser_and_switch() {
    let registry = TestRegistry::start().await;
    let open = async |language: &str, cookie: &str| {
        let request = registry.request(Method::GET, "/").header("accept", HTML);
        request.header("accept-language", language).header("cookie", cookie).ask().await.html()
    };
    assert!(open("en", "").await.contains("lang=\"en\""));
    assert!(open("zh-CN,zh;q=0.9", "").await.contains("lang=\"zh-CN\""));
    assert!(open("zh-CN", "wharfinger-language=en").await.contains("lang=\"en\""));
    let mut browser = Browser::new(&registry);
    browser.open("/").await;
    browser.send("/-/language", "language=zh-CN&to=/").await.is(303).has("location", "/");
    assert!(browser.open("/").await.html().contains("lang=\"zh-CN\""));
}

#[tokio::test]
async fn pages_work_behind_a_path_prefix() {
    let registry =
        with_accounts_and(|config| config.proxy.trusted = vec!["127.0.0.1/32".parse().unwrap()]).await;
    registry.repository("root/app").of(&Who::root()).push_image("1").await;
    let request = registry.request(Method::GET, "/root/app").by(&Who::root()).header("accept", HTML);
    let request = request.header("x-forwarded-prefix", "/hub").header("x-forwarded-proto", "https");
    let answer = request.header("x-forwarded-host", "registry.example.com").ask().await.is(200);
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    assert!(cookie.contains("Path=/hub") && cookie.contains("; Secure"), "{cookie}");
    let page = answer.html();
    assert!(page.contains("href=\"/hub/root/app:1\""), "{page}");
    assert!(page.contains("docker pull registry.example.com/hub/root/app:1"), "{page}");
    assert!(!page.contains("href=\"/root") && !page.contains("action=\"/-/"), "{page}");
}

#[tokio::test]
async fn repositories_are_sorted_and_paged() {
    let registry = TestRegistry::start().await;
    for number in 0..55 {
        registry.repository(&format!("many/app{number:02}")).push_image("1").await;
    }
    let mut browser = Browser::new(&registry);
    for (sort, first, last) in [("name", "app00", "app54"), ("pushed", "app54", "app00")] {
        let page = browser.open(&format!("/?sort={sort}")).await.is(200).html();
        assert!(
            page.contains(&format!("many/{first}\"")) && !page.contains(&format!("many/{last}\"")),
            "{sort}"
        );
        assert!(page.len() < 60 * 1024, "{} bytes", page.len());
        let next = page
            .split("rel=\"next\" href=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .replace("&#38;", "&");
        let page = browser.open(&next).await.is(200).html();
        assert!(
            page.contains(&format!("many/{last}\"")) && !page.contains(&format!("many/{first}\"")),
            "{sort}"
        );
    }
    for sort in ["size", "pulls"] {
        let page = browser.open(&format!("/?sort={sort}")).await.is(200).html();
        assert!(page.contains("aria-sort=\"descending\"") && page.contains("rel=\"next\""), "{page}");
    }
}

#[tokio::test]
async fn tags_are_sorted_by_push_and_filtered() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("team/app");
    let image = app.push_image("v1").await;
    for tag in ["nightly-2", "v2", "nightly-1"] {
        app.put_manifest_as(tag, OCI_MANIFEST, image.manifest.clone()).await.is(201);
    }
    let mut browser = Browser::new(&registry);
    let mut tags = async |address: &str| -> String {
        let page = browser.open(address).await.is(200).html();
        let links = page.split("<a class=\"name\" href=\"/team/app:").skip(1);
        links.map(|link| link.split('"').next().unwrap()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(tags("/team/app").await, "nightly-1 v2 nightly-2 v1");
    assert_eq!(tags("/team/app?sort=name").await, "nightly-1 nightly-2 v1 v2");
    assert_eq!(tags("/team/app?tag=nightly").await, "nightly-1 nightly-2");
    assert_eq!(tags("/team/app?sort=name&tag=2").await, "nightly-2 v2");
    assert_eq!(tags("/team/app?tag=none").await, "");
    for number in 0..55 {
        app.put_manifest_as(format!("b{number:02}"), OCI_MANIFEST, image.manifest.clone()).await.is(201);
    }
    // Pages of both orders, and of the API, have each tag once.
    for (first, newest) in [("/team/app", "b54"), ("/team/app?sort=name", "b00")] {
        let (mut seen, mut next) = (Vec::new(), Some(first.to_owned()));
        while let Some(address) = next {
            seen.extend(tags(&address).await.split(' ').map(str::to_owned));
            let page = Browser::new(&registry).open(&address).await.html();
            let link = page.split("rel=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next());
            next = link.map(|link| link.replace("&#38;", "&"));
        }
        assert_eq!((seen.len(), seen[0].as_str()), (59, newest), "{seen:?}");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 59);
    }
    let (mut seen, mut next) =
        (Vec::new(), Some("/api/v1/repositories/team/app/_tags?sort=pushed&n=20&q=b".to_owned()));
    while let Some(address) = next {
        let answer = registry.get(&address).await.is(200);
        let list = answer.json();
        seen.extend(
            list["tags"].as_array().unwrap().iter().map(|tag| tag["tag"].as_str().unwrap().to_owned()),
        );
        let link = answer
            .header("link")
            .map(|link| link.trim_start_matches('<').split('>').next().unwrap().to_owned());
        next = link;
    }
    let expected: Vec<String> = (0..55).rev().map(|number| format!("b{number:02}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn owner_grants_and_revokes_on_own_repositories() {
    let registry = with_accounts().await;
    for name in ["ann", "bob"] {
        registry.add_user(name).await;
    }
    registry.repository("ann/app").of(&Who::user("ann")).push_image("1").await;
    let mut ann = Browser::signed_in(&registry, "ann").await;
    let page = ann.open("/ann/app").await.is(200).html();
    assert!(page.contains("href=\"/-/grants?repository=ann%2Fapp\""), "{page}");
    let address = "/-/grants?repository=ann/app";
    let page = ann.open(address).await.is(200).html();
    assert!(page.contains("value=\"ann/app\"") && page.contains("There are no grants"), "{page}");
    registry.get("/v2/ann/app/manifests/1").await.is(401);
    let granted = ann.send(address, "action=set&subject=everyone&repositories=ann/app&rights=pull").await;
    assert!(granted.is(200).html().contains("The grant was set"));
    registry.get("/v2/ann/app/manifests/1").await.is(200);
    let page = ann.open("/-/grants").await.is(200).html();
    assert!(page.contains("everyone") && page.contains("Webhooks"), "{page}");
    for beyond in ["bob/**", "**", "*/app"] {
        let fields = format!("action=set&subject=ann&repositories={beyond}&rights=pull");
        ann.send("/-/grants", &fields).await.is(400);
    }
    let mut bob = Browser::signed_in(&registry, "bob").await;
    bob.open(address).await.is(403);
    bob.open("/-/grants?owner=ann").await.is(403);
    assert!(!bob.open("/-/grants").await.is(200).html().contains("ann/app"));
    bob.send("/-/grants", "action=remove&subject=everyone&repositories=ann/app").await.is(400);
    assert!(!bob.open("/ann/app").await.is(200).html().contains("/-/grants?repository"));
    ann.send("/-/grants", "action=remove&subject=everyone&repositories=ann/app").await.is(200);
    registry.get("/v2/ann/app/manifests/1").await.is(401);

    // The owner of an organisation finds its grants.
    let grant = json!({ "name": "acme", "owner": "ann" });
    registry.send_as(&Who::root(), Method::POST, "/api/v1/organisations", &grant).await.is(201);
    ann.send("/-/grants?owner=acme", "action=set&subject=bob&repositories=acme/**&rights=push").await.is(200);
    let page = ann.open("/-/grants?owner=acme").await.is(200).html();
    assert!(page.contains("acme/**") && page.contains("href=\"/-/grants?owner=ann\""), "{page}");
    assert!(!ann.open("/-/grants").await.is(200).html().contains("acme/**</code>"));
}

#[tokio::test]
async fn access_is_explained_with_its_reasons() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    registry.add_user("bob").await;
    registry.grant("bob", &["push"], "ann/*").await;
    registry.grant("everyone", &["pull"], "ann/app").await;
    let explain =
        async |who: &Who, query: &str| registry.get_as(who, &format!("/api/v1/access?{query}")).await;
    let access = explain(&Who::user("ann"), "account=bob&repository=ann/app").await.is(200).json();
    assert_eq!(access["rights"], json!(["pull", "push"]));
    let kinds: Vec<_> =
        access["reasons"].as_array().unwrap().iter().map(|reason| reason["subject"].clone()).collect();
    assert_eq!(kinds, [json!("bob"), json!("everyone")]);
    let own = explain(&Who::user("bob"), "account=bob&repository=bob/x").await.is(200).json();
    assert_eq!(own["reasons"][0]["kind"], "owner");
    explain(&Who::user("bob"), "account=ann&repository=ann/x").await.is(403);
    let nobody = explain(&Who::root(), "repository=ann/app").await.is(200).json();
    assert_eq!(nobody["rights"], json!(["pull"]));

    let request = registry.request(Method::GET, "/-/access?account=bob&repository=ann/app").by(&Who::root());
    let request = request.header("accept", HTML).header("accept-language", "zh-CN");
    let page = request.ask().await.is(200).html();
    assert!(page.contains("对 ann/* 的授权（账号 bob）："), "{page}");
    assert!(page.contains("对 ann/app 的授权（所有人）：拉取"), "{page}");
}

#[tokio::test]
async fn page_of_a_missing_image_leads_to_its_repository() {
    let registry = TestRegistry::start().await;
    registry.repository("team/app").push_image("1").await;
    let mut browser = Browser::new(&registry);
    for missing in ["/team/app:none".to_owned(), format!("/team/app@sha256:{}", "0".repeat(64))] {
        let page = browser.open(&missing).await.is(404).html();
        assert!(page.contains("<a href=\"/team/app\">"), "{missing}: {page}");
    }
    assert!(!browser.open("/team/other:1").await.is(404).html().contains("href=\"/team/other\""));
}

#[tokio::test]
async fn zero_time_of_an_image_is_unknown() {
    let registry = TestRegistry::start().await;
    let repository = registry.repository("team/app");
    for (tag, created, shown) in [
        ("zero", "0001-01-01T00:00:00Z", "<span>Created unknown</span>"),
        ("epoch", "1970-01-01T00:00:00Z", "<span>Created 1 Jan 1970, 00:00 UTC"),
    ] {
        let config =
            json!({ "architecture": "amd64", "os": "linux", "created": created }).to_string().into_bytes();
        repository.push_blob(config.clone()).await;
        let manifest = image_manifest(&Part::config(&config), &[]);
        repository.put_manifest_as(tag, OCI_MANIFEST, manifest.to_string()).await.is(201);
        let page = Browser::new(&registry).open(&format!("/team/app:{tag}")).await.is(200).html();
        assert!(page.contains(shown), "{page}");
    }
}

#[tokio::test]
async fn administrator_manages_accounts_by_forms() {
    let registry = with_accounts().await;
    let mut root = Browser::signed_in(&registry, "root").await;
    let path = "/-/admin/accounts";
    root.send(path, &format!("action=add&name=ann&password={PASSWORD}")).await.is(200);
    registry.get_as(&Who::user("ann"), "/v2/").await.is(200);
    root.send(path, &format!("action=add&name=ann&password={PASSWORD}")).await.is(400);
    root.send(path, "action=disable&name=ann&confirmation=ann").await.is(200);
    registry.get_as(&Who::user("ann"), "/v2/").await.is(401);
    root.send(path, "action=remove&name=ann&confirmation=an").await.is(400);
    root.send(path, "action=remove&name=ann&confirmation=ann").await.is(200);
    root.send(path, "action=demote&name=root&confirmation=root").await.is(400);
    root.send("/-/grants", "action=set&subject=everyone&repositories=pub/**&rights=pull").await.is(200);
    let audit = root.open("/-/admin/audit?action=user").await.is(200).html();
    assert!(audit.contains("user.remove"), "{audit}");
    let export =
        root.open("/-/admin/audit?format=json").await.is(200).has("content-type", "application/x-ndjson");
    assert!(export.html().lines().all(|line| line.starts_with('{')));
    for path in ["/-/admin", "/-/admin/usage", "/-/organisations", "/-/api"] {
        root.open(path).await.is(200);
    }
}

#[tokio::test]
async fn own_account_makes_tokens_and_robots() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    let mut ann = Browser::signed_in(&registry, "ann").await;
    let secret = |page: &str, prefix: &str| {
        let start = page.find(prefix).unwrap();
        page[start..].split('<').next().unwrap().to_owned()
    };
    let fields = "action=add-token&label=ci&rights=pull&repositories=ann/app&days=30";
    let made = ann.send("/-/account", fields).await.is(200).has("cache-control", "no-store").html();
    let token = secret(&made, "wfp_");
    registry.get_as(&crate::harness::basic("ann", &token), "/v2/").await.is(200);
    assert!(!ann.open("/-/account").await.html().contains(&token), "it is shown once");
    let made = ann.send("/-/account", "action=add-robot&robot=ci&description=builds").await.is(200).html();
    registry.get_as(&crate::harness::basic("ann+ci", &secret(&made, "wfr_")), "/v2/").await.is(200);
}

#[tokio::test]
async fn long_list_says_that_it_is_cut() {
    const CUT: &str = "There are more than these.";
    let registry = with_accounts().await;
    let mut root = Browser::signed_in(&registry, "root").await;
    for number in 0..200 {
        registry.add_token("root", &json!({ "label": format!("token-{number}") })).await;
    }
    let page = root.open("/-/account").await.is(200).html();
    assert!(page.contains("token-199<") && !page.contains(CUT), "{page}");
    registry.add_token("root", &json!({ "label": "one-more" })).await;
    let page = root.open("/-/account").await.is(200).html();
    assert!(page.contains("token-199<") && !page.contains("one-more") && page.contains(CUT), "{page}");
}

#[tokio::test]
async fn gateway_shows_the_images_of_its_upstream() {
    let upstream = TestRegistry::start().await;
    let image = upstream.repository("team/app").push_image("1.0").await;
    let url = format!("http://{}", upstream.address());
    let gateway = crate::harness::gateway(&[&url], &[]).await;
    let mut browser = Browser { registry: &gateway, cookies: Vec::new() };
    browser.open("/-/sign-in").await;
    browser.send("/-/sign-in", &format!("name=root&password={PASSWORD}&to=/")).await;
    let page = browser.open("/team/app").await.is(200).html();
    assert!(page.contains("href=\"/team/app:1.0\"") && page.contains("linux/amd64"), "{page}");
    let page = browser.open("/team/app:1.0").await.is(200).html();
    assert!(page.contains(&image.blobs[1].0.to_string()), "{page}");
    let file = browser.open(&format!("/-/file/team/app@{}", image.blobs[1].0)).await.is(200);
    assert_eq!(file.body, image.blobs[1].1);
    browser.open("/team/absent").await.is(404);
    browser.open("/team/app:absent").await.is(404);
}

#[tokio::test]
async fn deleted_image_is_restored_with_its_tags() {
    let registry = TestRegistry::start().await;
    let image = registry.repository("team/app").push_image("1.0").await;
    registry.repository("team/app").push_image("2.0").await;
    let mut browser = Browser::new(&registry);
    let confirmation = format!("confirmation={}", &image.digest.hex()[..12]);
    browser.open("/").await;
    browser.send(&format!("/-/delete/team/app@{}", image.digest), &confirmation).await.is(303);
    browser.open("/team/app:1.0").await.is(404);
    let page = browser.open("/-/trash/team/app").await.is(200).html();
    assert!(page.contains(&image.digest.to_string()) && page.contains("1.0"), "{page}");
    browser.send("/-/trash/team/app", &format!("digest={}", image.digest)).await.is(303);
    browser.open("/team/app:1.0").await.is(200);
}

/// The files of deleted content may be removed by hand. Then the image is back, and cannot be pulled.
#[tokio::test]
async fn undo_and_restoration_show_missing_content() {
    const FAULT: &str = "content of it is missing or damaged in the storage";
    let mut registry = TestRegistry::start().await;
    let image = registry.repository("team/app").push_image("1.0").await;
    registry.delete(format!("/v2/team/app/manifests/{}", image.digest)).await.is(202);
    for gone in [image.blobs[1].0, image.digest] {
        // The files are written, and nothing of them is in memory.
        registry.restart().await;
        std::fs::remove_file(registry.blob_file(&gone)).unwrap();
        let mut browser = Browser::new(&registry);
        browser.open("/").await;
        for (form, fields, page) in [
            ("/-/trash/team/app", format!("digest={}", image.digest), "/team/app"),
            ("/-/history/team/app", format!("tag=1.0&digest={}", image.digest), "/-/history/team/app"),
        ] {
            let sent = browser.send(form, &fields).await.is(303);
            assert!(sent.location().starts_with(page), "{gone}: {}", sent.location());
            let shown = browser.open(&sent.location()).await.is(200).html();
            assert!(shown.contains(FAULT), "{gone}, {form}: {shown}");
        }
        let confirmation = format!("confirmation={}", &image.digest.hex()[..12]);
        browser.send(&format!("/-/delete/team/app@{}", image.digest), &confirmation).await.is(303);
    }
}

/// Pushers choose the number and the length of annotations. A page is small all the same.
#[tokio::test]
async fn page_of_a_large_manifest_is_bounded() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("team/app");
    let annotations = |count: usize| {
        let many = (0..count).map(|number| (format!("key-{number:06}"), json!("value")));
        json!({ "annotations": many.collect::<serde_json::Map<_, _>>() })
    };
    app.push_image_saying("many", annotations(20_000)).await;
    app.push_image_saying("huge", annotations(120_000)).await;
    let direction = json!({ "annotations": { "note": "safe\u{202e}elif\u{1b}[2J" } });
    app.push_image_saying("hostile", direction).await;
    let mut browser = Browser::new(&registry);
    for address in ["/team/app", "/team/app:many", "/team/app:huge", "/-/compare/team/app?from=many&to=huge"]
    {
        let page = browser.open(address).await.is(200).html();
        assert!(page.len() < 100 * 1024, "{address}: {} bytes", page.len());
    }
    let many = browser.open("/team/app:many").await.is(200).html();
    assert!(many.contains("key-000199") && !many.contains("key-000200"), "{many}");
    assert!(many.contains("19,800 entries are not shown"), "{many}");
    let huge = browser.open("/team/app:huge").await.is(200).html();
    assert!(huge.contains("too large for a page") && !huge.contains("key-"), "{huge}");
    let hostile = browser.open("/team/app:hostile").await.is(200).html();
    assert!(hostile.contains("safe\u{fffd}elif\u{fffd}[2J"), "{hostile}");
}

/// An account that is enabled again has no session of before.
#[tokio::test]
async fn sessions_end_with_a_disabled_account() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    let mut ann = Browser::signed_in(&registry, "ann").await;
    ann.open("/-/account").await.is(200);
    for disabled in [true, false] {
        let change = json!({ "disabled": disabled });
        registry.send_as(&Who::root(), Method::PATCH, "/api/v1/users/ann", &change).await.is(200);
        let refused = ann.open("/-/account").await.is(303);
        assert!(refused.location().contains("/-/sign-in"), "disabled: {disabled}");
    }
    Browser::signed_in(&registry, "ann").await.open("/-/account").await.is(200);
}

#[tokio::test]
async fn errors_on_chinese_pages_are_in_chinese() {
    let registry = with_accounts().await;
    let root = Who::root();
    registry.repository("root/app").of(&root).push_image("1").await;
    let ask = async |address: &str| {
        let request = registry.request(Method::GET, address).by(&root).header("accept", HTML);
        request.header("accept-language", "zh-CN").ask().await
    };
    for (address, status, text) in [
        ("/root/absent", 404, "没有仓库 root/absent"),
        ("/root/app:none", 404, "没有镜像 root/app:none"),
        ("/-/no-such-page", 404, "没有这个地址的页面"),
        ("/?sort=size&after=x", 400, "参数 last 无效"),
    ] {
        let page = ask(address).await.is(status).html();
        assert!(
            page.contains(text) && !page.contains("<p class=\"muted wrap\" lang=\"en\">"),
            "{address}: {page}"
        );
    }
}
