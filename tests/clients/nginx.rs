//! nginx before a registry, configured as docs/how-to/behind-nginx.md shows, with real clients.

use crate::harness::{
    Distribution, Engine, Gateway, Image, Nginx, PASSWORD, Page, Server, Terminal, free_address,
};

const PAGE: Page = Page::BEHIND_NGINX;
const OPENDNS: &str = "opendns/nginx-auth-proxy, asking Wharfinger";

/// Starts nginx with the configuration below a heading of the page.
fn recipe(heading: &str, registry: &Server) -> Nginx {
    Nginx::start(PAGE.below(heading).block("nginx"), &[("127.0.0.1:5000", registry.address())])
}

fn login(name: &str, password: &str, registry: &str) -> String {
    format!("echo '{password}' | docker login -u {name} --password-stdin {registry}")
}

/// Builds `ann/app:1`, is refused without an account and with a wrong password, signs in as ann, pushes and
/// pulls it.
fn an_engine_signs_in_pushes_and_pulls(user: &Terminal, nginx: &Nginx) -> String {
    let image = nginx.at("ann/app:1");
    Engine::shared().builds(user, &image, &format!("behind nginx on {image}"));
    user.fails(&format!("docker push {image}"));
    user.fails(&login("ann", "wrong", nginx.address()));
    user.run(&login("ann", PASSWORD, nginx.address()));
    user.run(&format!("docker push {image} && docker rmi {image} && docker pull {image}"));
    image
}

fn is_refused_to_push(user: &Terminal, image: &str, other: &str) {
    user.run(&format!("docker tag {image} {other}"));
    let refused = user.fails(&format!("docker push {other}"));
    assert!(["denied", "403"].iter().any(|word| refused.contains(word)), "{refused}");
}

/// Returns the search results of an engine.
fn found(user: &Terminal, nginx: &Nginx) -> String {
    user.run(&format!("docker search --format '{{{{.Name}}}}' {}", nginx.at("app")))
}

/// Inspects `ann/app:1` and copies it to `ann/copy:1` with podman and skopeo.
fn podman_and_skopeo_sign_in_and_copy(nginx: &Nginx) {
    let address = nginx.address();
    let user = Terminal::open();
    let source = format!("docker://{address}/ann/app:1");
    user.fails(&format!("skopeo inspect --tls-verify=false {source}"));
    user.fails(&format!("skopeo inspect --tls-verify=false --creds ann:wrong {source}"));
    let sign_in = format!("--tls-verify=false -u ann --password-stdin {address}");
    user.run(&format!("echo '{PASSWORD}' | skopeo login {sign_in}"));
    user.run(&format!(
        "skopeo copy --src-tls-verify=false --dest-tls-verify=false {source} docker://{address}/ann/copy:1"
    ));
    let user = Terminal::open();
    user.fails(&format!("echo wrong | podman login {sign_in} || exit 1"));
    user.run(&format!("echo '{PASSWORD}' | podman login {sign_in}"));
    user.run(&format!("podman pull --tls-verify=false {address}/ann/copy:1"));
    user.run(&format!("podman push --tls-verify=false {address}/ann/copy:1 {address}/ann/podman:1"));
}

/// podman finds the repositories of ann, and nothing without her credentials.
fn podman_searches(nginx: &Nginx) {
    let user = Terminal::open();
    let search = format!("podman search --tls-verify=false --format '{{{{.Name}}}}' {}", nginx.at("app"));
    let found = user.run(&format!("{search} || true"));
    assert!(!found.contains("ann/app"), "{found}");
    user.run(&format!(
        "echo '{PASSWORD}' | podman login --tls-verify=false -u ann --password-stdin {}",
        nginx.address()
    ));
    let found = user.run(&search);
    assert!(found.ends_with("ann/app"), "{found}");
}

/// Returns the status of a path.
fn status(nginx: &Nginx, scheme: &str, options: &str, path: &str) -> String {
    let asked = format!("curl -sk -o /dev/null -w '%{{http_code}}' {options}");
    Terminal::open().run(&format!("{asked} {scheme}://{}", nginx.at(path)))
}

/// Checks that every URL of an answer begins with the address that the client called.
fn no_address_is_wrong(head: &str, base: &str) {
    let path = format!("/{}", base.splitn(4, '/').nth(3).unwrap_or("")).trim_end_matches('/').to_owned();
    for line in head.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("location") {
            let value = value.trim();
            assert!(
                value.starts_with(&format!("{base}/v2/")) || value.starts_with(&format!("{path}/v2/")),
                "{head}"
            );
        }
        if name.eq_ignore_ascii_case("www-authenticate") {
            assert!(value.contains(&format!("realm=\"{base}/token\"")), "{head}");
        }
    }
}

#[test]
fn nginx_terminates_https_for_registry_accounts() {
    let heading = "HTTPS in nginx, accounts in the registry";
    let settings = format!("{}{}", PAGE.block("toml"), PAGE.below(heading).block("toml"));
    let registry = Server::with_accounts(&settings, &["ann", "bob"]);
    let nginx = recipe(heading, &registry);
    let user = Engine::shared().terminal();
    let image = an_engine_signs_in_pushes_and_pulls(&user, &nginx);
    is_refused_to_push(&user, &image, &nginx.at("bob/app:1"));
    assert_eq!(found(&user, &nginx), "ann/app");
    user.run(&format!("docker logout {}", nginx.address()));
    assert_eq!(found(&user, &nginx), "");
    registry.says("grant add everyone pull ann/*");
    assert_eq!(found(&user, &nginx), "ann/app");
    registry.says("grant remove everyone ann/*");
    podman_and_skopeo_sign_in_and_copy(&nginx);
    podman_searches(&nginx);

    let base = format!("https://{}", nginx.address());
    let challenge = user.run(&format!("curl -sk -D - -o /dev/null {base}/v2/"));
    assert!(challenge.to_lowercase().contains("www-authenticate: bearer"), "{challenge}");
    no_address_is_wrong(&challenge, &base);
    let begun = user.run(&format!(
        "curl -sSfk -D - -o /dev/null -u 'ann:{PASSWORD}' -X POST {base}/v2/ann/app/blobs/uploads/"
    ));
    assert!(begun.to_lowercase().contains("location: "), "{begun}");
    no_address_is_wrong(&begun, &base);
    // The log has the client's real address, not the forged one.
    user.run(&format!(
        "curl -sk -o /dev/null -H 'X-Forwarded-For: 192.0.2.66' -H 'Forwarded: for=192.0.2.66' -u ann:wrong {base}/v2/"
    ));
    let failed = registry.says("audit --json");
    assert!(failed.contains("127.0.0.1") && !failed.contains("192.0.2.66"), "{failed}");
}

/// Headers of a common guide: the host, without the scheme.
/// nginx stores answers to requests with credentials, unless they are private.
#[test]
fn nginx_cache_shows_nobody_private_content() {
    let servers = r#"
proxy_cache_path /etc/nginx/cache keys_zone=all:1m;
server {
    listen 5001;
    location / {
        proxy_pass http://127.0.0.1:5000;
        proxy_cache all;
        add_header X-Cache $upstream_cache_status always;
    }
}
"#;
    let registry = Server::with_accounts("", &["ann"]);
    registry.says("grant add everyone pull open/**");
    let nginx = Nginx::start(servers, &[("127.0.0.1:5000", registry.address())]);
    let user = Terminal::open();
    let image = Image::saved(&user, "image", "for ann");
    user.run(&format!("crane auth login -u ann -p '{PASSWORD}' {}", registry.address()));
    user.run(&format!("crane push image {}", registry.at("ann/app:1")));
    user.run(&format!("crane auth login -u root -p '{PASSWORD}' {}", registry.address()));
    user.run(&format!("crane push image {}", registry.at("open/app:1")));
    let get = |account: &str, path: &str| {
        user.run(&format!(
            "curl -sS -o /dev/null -w '%{{http_code}} %header{{x-cache}}' {account} http://{}/v2/{path}",
            nginx.address()
        ))
    };
    let digest = &image.digest;
    for path in [format!("ann/app/manifests/{digest}"), "ann/app/manifests/1".to_owned()] {
        for _ in 0..2 {
            assert_eq!(get(&format!("-u 'ann:{PASSWORD}'"), &path), "200 MISS");
        }
        assert_eq!(get("", &path), "401 MISS");
    }
    // Content that anyone may pull is stored.
    let open = format!("open/app/manifests/{digest}");
    assert_eq!((get("", &open).as_str(), get("", &open).as_str()), ("200 MISS", "200 HIT"));
}

#[test]
fn nginx_without_forwarded_headers_works() {
    let heading = "An nginx that does not say how it was called";
    let settings = PAGE.below(heading).block("toml");
    assert!(settings.contains("https://registry.example.com"), "{settings}");
    let address = free_address();
    let settings = settings.replace("registry.example.com", &address);
    let registry = Server::with_accounts(&settings, &["ann", "bob"]);
    let servers = r#"
server {
    listen 443 ssl;
    ssl_certificate /etc/nginx/server.pem; ssl_certificate_key /etc/nginx/server.key;
    client_max_body_size 0;
    proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-By $server_addr:$server_port;
    location / { proxy_pass http://127.0.0.1:5000; }
}
"#;
    let nginx = Nginx::start_on(address, servers, &[("127.0.0.1:5000", registry.address())]);
    let user = Engine::shared().terminal();
    let image = an_engine_signs_in_pushes_and_pulls(&user, &nginx);
    is_refused_to_push(&user, &image, &nginx.at("bob/app:1"));
    assert_eq!(found(&user, &nginx), "ann/app");
    podman_and_skopeo_sign_in_and_copy(&nginx);
    podman_searches(&nginx);
    let base = format!("https://{}", nginx.address());
    let begun = user.run(&format!(
        "curl -sSfk -D - -o /dev/null -u 'ann:{PASSWORD}' -X POST {base}/v2/ann/app/blobs/uploads/; \
         curl -sk -D - -o /dev/null {base}/v2/"
    ));
    assert!(begun.to_lowercase().contains("location: "), "{begun}");
    assert!(begun.to_lowercase().contains("www-authenticate: bearer"), "{begun}");
    no_address_is_wrong(&begun, &base);
}

#[test]
fn nginx_serves_the_registry_below_a_path() {
    let registry = Server::with_accounts(PAGE.block("toml"), &["ann"]);
    let nginx = recipe("Below a path", &registry);
    let user = Terminal::open();
    let base = format!("https://{}/hub", nginx.address());
    let challenge = user.run(&format!("curl -sk -D - -o /dev/null {base}/v2/ann/app/tags/list"));
    assert!(challenge.to_lowercase().contains("www-authenticate: bearer"), "{challenge}");
    no_address_is_wrong(&challenge, &base);
    user.run("printf hello >blob");
    let sent = format!("curl -sSfk -u 'ann:{PASSWORD}'");
    user.run(&format!(
        "digest=sha256:$(sha256sum blob | cut -d' ' -f1); \
         {sent} -D begun -o /dev/null -X POST {base}/v2/ann/app/blobs/uploads/; \
         next=$(tr -d '\\r' <begun | sed -n 's/^[Ll]ocation: //p'); \
         case $next in /*) next=https://{}$next;; esac; \
         {sent} -D done -X PUT --data-binary @blob \"$next?digest=$digest\"; \
         {sent} {base}/v2/ann/app/blobs/$digest | cmp - blob",
        nginx.address()
    ));
    for head in ["begun", "done"] {
        let head = String::from_utf8(user.reads(head)).expect("a head is text");
        assert!(head.to_lowercase().contains("location: "), "{head}");
        no_address_is_wrong(&head, &base);
    }
    // A token from the realm is valid below the path.
    let answer =
        user.json(&format!("{sent} '{base}/token?service=wharfinger&scope=repository:ann/app:pull'"));
    let token = answer["token"].as_str().expect("a token");
    user.run(&format!(
        "curl -sSfk -H 'Authorization: Bearer {token}' \
         {base}/v2/ann/app/blobs/sha256:$(sha256sum blob | cut -d' ' -f1) | cmp - blob"
    ));
}

#[test]
fn nginx_keeps_the_accounts() {
    let registry = Server::configured(PAGE.block("toml"));
    let nginx = recipe("Accounts in nginx", &registry);
    let user = Engine::shared().terminal();
    an_engine_signs_in_pushes_and_pulls(&user, &nginx);
    assert_eq!(found(&user, &nginx), "ann/app");
    user.run(&format!("docker logout {}", nginx.address()));
    user.fails(&format!("docker search {}", nginx.at("app")));
    podman_and_skopeo_sign_in_and_copy(&nginx);
    podman_searches(&nginx);
}

/// A common guide's configuration, with which every client may push.
#[test]
fn nginx_with_open_v2_leaves_writes_open() {
    let servers = r#"
upstream docker-registry { server 127.0.0.1:5000; }
server {
    listen 443;
    ssl on; ssl_certificate /etc/nginx/server.pem; ssl_certificate_key /etc/nginx/server.key;
    client_max_body_size 0;
    auth_basic_user_file /etc/nginx/passwd;
    proxy_set_header Host $http_host;            proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header Authorization "";           proxy_set_header Accept-Encoding "";
    proxy_set_header X-Forwarded-By $server_addr:$server_port;
    proxy_set_header X-Forwarded-For $remote_addr;
    location /      { auth_basic "Restricted"; proxy_pass http://docker-registry; }
    location /v2/   { auth_basic off;          proxy_pass http://docker-registry; }
    location /auth/ { auth_basic "Restricted"; auth_basic_user_file /etc/nginx/passwd; proxy_pass http://docker-registry; }
}
"#;
    for settings in ["", PAGE.block("toml")] {
        let registry = Server::configured(settings);
        let nginx = Nginx::start(servers, &[("127.0.0.1:5000", registry.address())]);
        let user = Engine::shared().terminal();
        let image = nginx.at("official/ubuntu:14.04");
        Engine::shared().builds(&user, &image, &format!("as in a guide, {settings}"));
        user.run(&format!("docker push {image} && docker rmi {image} && docker pull {image}"));
        let base = format!("https://{}", nginx.address());
        let begun = user.run(&format!("curl -sSfk -D - -o /dev/null -X POST {base}/v2/a/b/blobs/uploads/"));
        assert!(begun.to_lowercase().contains("location: "), "{begun}");
        no_address_is_wrong(&begun, &base);
        assert_eq!(status(&nginx, "https", "", "auth/"), "401");
    }
}

/// A registry without accounts behind an nginx that asks a gateway for each request.
#[test]
fn nginx_before_another_registry_asks_wharfinger() {
    let heading = "nginx before another registry, asking Wharfinger";
    let scratch = tempfile::TempDir::new().unwrap();
    let upstream = Distribution::version_2_on(scratch.path());
    let settings = format!("{}[gateway]\ncatalog_interval = \"1s\"\n", PAGE.block("toml"));
    let gateway = Gateway::configured(&[upstream.address()], &settings, &[]);
    let nginx = Nginx::start(
        PAGE.below(heading).block("nginx"),
        &[("127.0.0.1:5000", &gateway.address), ("127.0.0.1:5001", upstream.address())],
    );
    let user = Engine::shared().terminal();
    let image = an_engine_signs_in_pushes_and_pulls(&user, &nginx);
    is_refused_to_push(&user, &image, &nginx.at("bob/app:1"));
    // The other registry has the image.
    let digest = user.run(&format!("crane digest {}", upstream.at("ann/app:1")));
    assert!(digest.starts_with("sha256:"), "{digest}");
    podman_and_skopeo_sign_in_and_copy(&nginx);
    let search = format!("docker search --format '{{{{.Name}}}}' {}", nginx.at("app"));
    user.run(&format!(
        "for attempt in $(seq 100); do [ \"$({search})\" != ann/app ] || exit 0; sleep 0.1; done; exit 1"
    ));
    podman_searches(&nginx);
    let catalog = |who: &str| {
        user.run(&format!("curl -sSfk -u '{who}:{PASSWORD}' https://{}", nginx.at("v2/_catalog")))
    };
    assert!(catalog("ann").contains("ann/app"));
    assert!(!catalog("bob").contains("ann/app"));

    let bob = format!("-u 'bob:{PASSWORD}'");
    let https = |options: &str, path: &str| status(&nginx, "https", options, path);
    assert_eq!(https("", "v2/ann/app/tags/list"), "401");
    assert_eq!(https(&bob, "v2/ann/app/tags/list"), "403");
    gateway.says("grant add bob pull ann/app");
    assert_eq!(https(&bob, "v2/ann/app/tags/list"), "200");
    let other = Engine::shared().terminal();
    other.run(&login("bob", PASSWORD, nginx.address()));
    other.run(&format!("docker rmi {image} && docker pull {image}"));
    is_refused_to_push(&other, &image, &nginx.at("ann/app:2"));
    // No header of a client changes the request that is authorized.
    for header in [
        "X-Original-Method: GET",
        "X-Original-URI: /v2/bob/app/blobs/uploads/",
        "X-Forwarded-Method: GET",
        "X-Forwarded-Uri: /healthz",
        "X-Forwarded-Prefix: /v2/ann",
        "X-Docker-Token: true",
        "X-Remote-User: ann",
    ] {
        let options = format!("{bob} -X POST -H '{header}'");
        assert_eq!(https(&options, "v2/ann/app/blobs/uploads/"), "403", "{header}");
    }
    assert_eq!(https(&bob, "auth"), "404");
}

/// Returns a server in the form of opendns/nginx-auth-proxy's `nginx.default`, with more lines in its
/// sub-request.
fn nginx_auth_proxy(judge: &str, registry: &str, more: &str) -> Nginx {
    let servers = format!(
        r#"
server {{
    listen 80;
    client_max_body_size 0;
    chunked_transfer_encoding on;
    proxy_set_header Host $http_host;
    proxy_set_header X-Real-IP $remote_addr;
    location = /auth {{
        proxy_pass http://{judge};
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
        proxy_set_header X-Original-URI $request_uri;
        proxy_set_header X-Docker-Token "";
        {more}
    }}
    location / {{
        proxy_pass http://{registry};
        auth_request /auth;
        proxy_next_upstream error timeout invalid_header http_500 http_502 http_503 http_504;
        proxy_buffering off;
    }}
    location /v1/_ping {{ auth_basic off; proxy_pass http://{registry}; }}
    location /_ping {{ auth_basic off; proxy_pass http://{registry}; }}
}}
"#
    );
    Nginx::start(&servers, &[])
}

#[test]
fn nginx_auth_proxy_as_it_is_asks_wharfinger() {
    let scratch = tempfile::TempDir::new().unwrap();
    let upstream = Distribution::version_2_on(scratch.path());
    let judge = Server::with_accounts(PAGE.below(OPENDNS).block("toml"), &["ann", "bob"]);
    let nginx = nginx_auth_proxy(judge.address(), upstream.address(), "");
    let user = Engine::shared().terminal();
    let image = an_engine_signs_in_pushes_and_pulls(&user, &nginx);
    is_refused_to_push(&user, &image, &nginx.at("bob/app:1"));
    podman_and_skopeo_sign_in_and_copy(&nginx);

    // Without the method, the right to pull is not enough, whatever the client sends.
    judge.says("grant add bob pull ann/app");
    let bob = format!("-u 'bob:{PASSWORD}'");
    let http = |options: &str, path: &str| status(&nginx, "http", options, path);
    assert_eq!(http(&bob, "v2/ann/app/tags/list"), "200");
    assert_eq!(http(&bob, "v2/ann/app/manifests/1"), "403");
    for header in
        ["X-Original-Method: GET", "X-Forwarded-Method: GET", "X-Original-URI: /v2/bob/app/tags/list"]
    {
        assert_eq!(http(&format!("{bob} -H '{header}'"), "v2/ann/app/manifests/1"), "403", "{header}");
        let begins = format!("{bob} -X POST -H '{header}'");
        assert_eq!(http(&begins, "v2/ann/app/blobs/uploads/"), "403", "{header}");
    }
    let challenge = user.run(&format!("curl -s -D - -o /dev/null http://{}", nginx.at("v2/")));
    assert!(challenge.to_lowercase().contains("www-authenticate: basic"), "{challenge}");
}

#[test]
fn nginx_auth_proxy_with_method_asks_wharfinger() {
    let scratch = tempfile::TempDir::new().unwrap();
    let upstream = Distribution::version_2_on(scratch.path());
    let settings = format!("{}{}", PAGE.block("toml"), PAGE.below(OPENDNS).block("toml"));
    let judge = Server::with_accounts(&settings, &["ann", "bob"]);
    let nginx = nginx_auth_proxy(judge.address(), upstream.address(), PAGE.below(OPENDNS).block("nginx"));
    let user = Engine::shared().terminal();
    let image = an_engine_signs_in_pushes_and_pulls(&user, &nginx);
    let other = Engine::shared().terminal();
    other.run(&login("bob", PASSWORD, nginx.address()));
    other.fails(&format!("docker pull {image}"));
    judge.says("grant add bob pull ann/app");
    other.run(&format!("docker rmi {image} && docker pull {image}"));
    is_refused_to_push(&other, &image, &nginx.at("ann/app:2"));
    let lying = format!("-u 'bob:{PASSWORD}' -X POST -H 'X-Original-Method: GET'");
    assert_eq!(status(&nginx, "http", &lying, "v2/ann/app/blobs/uploads/"), "403");
}

/// The backend of nginx-auth-proxy authenticates for the registry: here an nginx with a password file.
#[test]
fn forward_auth_asks_the_old_backend() {
    let heading = "Wharfinger, asking what nginx-auth-proxy asked";
    let settings = PAGE.below(heading).block("toml");
    assert!(settings.contains("127.0.0.1:8090"), "{settings}");
    let location = PAGE.below(heading).block("nginx");
    let naming = "    add_header X-Remote-User $remote_user;\n";
    assert!(location.contains(naming), "{location}");
    // The account is named, or follows from the verified credentials.
    for location in [location.to_owned(), location.replace(naming, "")] {
        let backend = Nginx::start(&format!("server {{\nlisten 8090;\n{location}}}\n"), &[]);
        an_engine_is_let_in_by(&settings.replace("127.0.0.1:8090", backend.address()));
    }
}

/// An nginx that also accepts a token, and then has an unverified name in `$remote_user`.
#[test]
fn nginx_with_other_token_proves_no_basic_name() {
    let heading = "Wharfinger, asking what nginx-auth-proxy asked";
    let location = PAGE.below(heading).block("nginx");
    let token = "if ($http_x_docker_token = evetoken) { return 204; }\n";
    let location = location.replace("auth_basic Restricted;", &format!("{token}auth_basic Restricted;"));
    assert!(location.contains(token), "{location}");
    let backend = Nginx::start(&format!("server {{\nlisten 8090;\n{location}}}\n"), &[]);
    let settings = PAGE.below(heading).block("toml").replace("127.0.0.1:8090", backend.address());
    let registry = Server::configured(&settings);
    let user = Terminal::open();
    let status = |options: &str| {
        user.run(&format!("curl -s -o /dev/null -w '%{{http_code}}' {options} http://{}", registry.at("v2/")))
    };
    for token in ["", "-H 'X-Docker-Token: evetoken'"] {
        assert_eq!(status(&format!("{token} -u ann:{PASSWORD:?}")), "200", "{token}");
        assert_eq!(status(&format!("{token} -u ann:nonsense")), "401", "{token}");
        assert_eq!(status(&format!("{token} -u root:nonsense")), "401", "{token}");
    }
}

/// Another registry's `/auth` is a valid backend.
#[test]
fn forward_auth_asks_another_wharfinger() {
    let heading = "Wharfinger, asking what nginx-auth-proxy asked";
    let backend = Server::with_accounts("", &["ann", "bob"]);
    let settings = PAGE.below(heading).block("toml").replace("127.0.0.1:8090", backend.address());
    an_engine_is_let_in_by(&settings);
}

/// Starts a registry without users. The backend knows `ann` and `bob`.
fn an_engine_is_let_in_by(settings: &str) {
    let registry = Server::configured(settings);
    let user = Engine::shared().terminal();
    let image = registry.at("ann/app:1");
    Engine::shared().builds(&user, &image, settings);
    user.fails(&format!("docker push {image}"));
    user.fails(&login("ann", "wrong", registry.address()));
    user.run(&login("ann", PASSWORD, registry.address()));
    user.run(&format!("docker push {image} && docker rmi {image} && docker pull {image}"));
    is_refused_to_push(&user, &image, &registry.at("bob/app:1"));
    let other = Engine::shared().terminal();
    other.run(&login("bob", PASSWORD, registry.address()));
    other.fails(&format!("docker pull {image}"));
}
