//! nginx before a registry, in the ways of docs/behind-nginx.md, with a real engine before both.

use crate::harness::{Distribution, Engine, Nginx, PASSWORD, Server, Terminal};

/// What nginx tells of a request that it passes on.
const FORWARDED: &str = "\
    proxy_http_version 1.1; proxy_request_buffering off; proxy_buffering off; chunked_transfer_encoding on;
    proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;";

const TRUSTING: &str = "[proxy]\ntrusted = [\"127.0.0.1\"]\n";

/// HTTPS in nginx, accounts in the registry: what most will have.
#[test]
fn https_in_nginx_and_accounts_in_the_registry() {
    let registry = Server::with_accounts(TRUSTING, &["ann", "bob"]);
    let nginx = Nginx::start(
        true,
        &[],
        "",
        &format!(
            "    location / {{ proxy_pass http://{}; {FORWARDED} proxy_set_header X-Forwarded-Prefix \"\"; }}",
            registry.address()
        ),
    );
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = nginx.at("ann/app:1");
    engine.builds(&user, &image, "behind nginx");
    let refused = user.fails(&format!("docker push {image}"));
    assert!(refused.contains("sign in to do this"), "{refused}");
    user.run(&format!("echo '{PASSWORD}' | docker login -u ann --password-stdin {}", nginx.address()));
    user.run(&format!("docker push {image}"));
    user.run(&format!("docker rmi {image} && docker pull {image}"));
    let others = nginx.at("bob/app:1");
    user.run(&format!("docker tag {image} {others}"));
    user.fails(&format!("docker push {others}"));
    let search = user.run(&format!("docker search --format '{{{{.Name}}}}' {}", nginx.at("app")));
    assert!(search.ends_with("ann/app"), "{search}");

    // Whatever address the registry tells is that of nginx.
    let head = user.run(&format!("curl -sk -D - -o /dev/null https://{}/v2/", nginx.address()));
    assert!(head.contains(&format!("realm=\"https://{}/token\"", nginx.address())), "{head}");
    let upload = user.run(&format!(
        "curl -sk -D - -o /dev/null -u 'ann:{PASSWORD}' -X POST https://{}/v2/ann/app/blobs/uploads/",
        nginx.address()
    ));
    let location =
        upload.lines().find(|line| line.to_lowercase().starts_with("location:")).expect("a Location");
    let target = location.split_once(' ').expect("a value").1.trim();
    assert!(
        target.starts_with("/v2/") || target.starts_with(&format!("https://{}/", nginx.address())),
        "{location}"
    );
}

/// The registry below a path of a server that has other things as well.
#[test]
fn below_a_path() {
    let registry = Server::with_accounts(TRUSTING, &["ann"]);
    let nginx = Nginx::start(
        true,
        &[],
        "",
        &format!(
            "    location /hub/ {{ proxy_pass http://{}/; {FORWARDED} proxy_set_header X-Forwarded-Prefix /hub; }}",
            registry.address()
        ),
    );
    let user = Terminal::open();
    let base = format!("https://{}/hub", nginx.address());
    let head = user.run(&format!("curl -sk -D - -o /dev/null {base}/v2/ann/app/tags/list"));
    assert!(head.contains(&format!("realm=\"{base}/token\"")), "{head}");
    user.run(&format!(
        "printf hello >blob; digest=sha256:$(sha256sum blob | cut -d' ' -f1); \
         next=$(curl -sSfk -D - -o /dev/null -u 'ann:{PASSWORD}' -X POST {base}/v2/ann/app/blobs/uploads/ | \
         tr -d '\\r' | sed -n 's/^[Ll]ocation: //p'); \
         case $next in /hub/*) next=https://{}$next;; esac; \
         curl -sSfk -u 'ann:{PASSWORD}' -X PUT --data-binary @blob \"$next?digest=$digest\"; \
         curl -sSfk -u 'ann:{PASSWORD}' {base}/v2/ann/app/blobs/$digest | cmp - blob",
        nginx.address()
    ));
}

/// Accounts in nginx, as many have it today: the registry itself is open, and for nginx alone.
#[test]
fn auth_basic_in_nginx() {
    let registry = Server::configured(TRUSTING);
    let terminal = Terminal::open();
    let users = terminal.run(&format!("htpasswd -nbB ann '{PASSWORD}'"));
    let nginx = Nginx::start(
        true,
        &[("passwd", &format!("{users}\n"))],
        "",
        &format!(
            "    location / {{ auth_basic Restricted; auth_basic_user_file DIR/passwd; proxy_pass http://{}; {FORWARDED}\n\
             \x20     proxy_set_header Authorization \"\"; proxy_set_header Accept-Encoding \"\"; }}",
            registry.address()
        ),
    );
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = nginx.at("team/app:1");
    engine.builds(&user, &image, "auth_basic");
    user.fails(&format!("docker push {image}"));
    user.fails(&format!("echo wrong | docker login -u ann --password-stdin {}", nginx.address()));
    user.run(&format!("echo '{PASSWORD}' | docker login -u ann --password-stdin {}", nginx.address()));
    user.run(&format!("docker push {image} && docker rmi {image} && docker pull {image}"));
}

/// Another registry, which knows nothing of accounts, behind an nginx that asks ours for each request.
#[test]
fn auth_request_before_another_registry() {
    let registry = Server::with_accounts(TRUSTING, &["ann", "bob"]);
    let scratch = tempfile::TempDir::new().unwrap();
    let upstream = Distribution::version_2_on(scratch.path());
    let nginx = Nginx::start(
        true,
        &[],
        "",
        &format!(
            "    location = /_auth {{ internal; proxy_pass http://{judge}/auth; proxy_pass_request_body off;\n\
             \x20     proxy_set_header Content-Length \"\"; proxy_set_header X-Original-URI $request_uri;\n\
             \x20     proxy_set_header X-Original-Method $request_method; proxy_set_header Host $http_host;\n\
             \x20     proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-For $remote_addr;\n\
             \x20     proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Prefix \"\"; }}\n\
             \x20   location = /token {{ proxy_pass http://{judge}; {FORWARDED} }}\n\
             \x20   location / {{ auth_request /_auth; auth_request_set $challenge $upstream_http_www_authenticate;\n\
             \x20     proxy_pass http://{upstream}; {FORWARDED} proxy_set_header Authorization \"\"; }}",
            judge = registry.address(),
            upstream = upstream.at("").trim_end_matches('/'),
        ),
    );
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = nginx.at("ann/app:1");
    engine.builds(&user, &image, "auth_request");
    user.fails(&format!("docker push {image}"));
    user.run(&format!("echo '{PASSWORD}' | docker login -u ann --password-stdin {}", nginx.address()));
    user.run(&format!("docker push {image} && docker rmi {image} && docker pull {image}"));
    let others = nginx.at("bob/app:1");
    user.run(&format!("docker tag {image} {others}"));
    user.fails(&format!("docker push {others}"));
    let tags = format!("https://{}/v2/ann/app/tags/list", nginx.address());
    let status = |who: &str| user.run(&format!("curl -sk -o /dev/null -w '%{{http_code}}' {who} {tags}"));
    assert_eq!(status(""), "401");
    assert_eq!(status(&format!("-u 'ann:{PASSWORD}'")), "200");
    assert_eq!(status(&format!("-u 'bob:{PASSWORD}'")), "403");
}
