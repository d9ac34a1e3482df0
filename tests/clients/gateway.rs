//! `wharfinger gateway` before unmodified registries without accounts: Debian's docker-registry and
//! distribution 3.

use crate::harness::{Distribution, Engine, Gateway, Image, PASSWORD, Page, Server, Terminal, wait_for_log};

fn an_engine_uses_it(upstream: &Distribution) {
    let gateway = Gateway::before(&[upstream.address()], &[]);
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = gateway.at("ann/app:1");
    engine.builds(&user, &image, &format!("through a gateway to {}", upstream.address()));
    user.fails(&format!("docker push {image}"));
    user.fails(&format!("echo wrong | docker login -u ann --password-stdin {}", gateway.address));
    user.run(&gateway.login("ann"));
    user.run(&format!("docker push {image}"));
    user.run(&format!("docker rmi {image} && docker pull {image}"));
    // The same layers are mounted into her second repository.
    let second = gateway.at("ann/second:1");
    let pushed = user.run(&format!("docker tag {image} {second} && docker push {second}"));
    assert!(pushed.contains("Mounted from ann/app"), "{pushed}");
    let others = gateway.at("bob/app:1");
    user.run(&format!("docker tag {image} {others}"));
    user.fails(&format!("docker push {others}"));
    let search = format!("docker search --format '{{{{.Name}}}}' {}", gateway.at("app"));
    assert!(user.run(&search).ends_with("ann/app"));

    let second = engine.terminal();
    second.run(&gateway.login("bob"));
    second.fails(&format!("docker pull {image}"));
    assert_eq!(second.run(&search), "");
    let catalog = |who: &str| {
        let line = format!("curl -sSf -u '{who}:{PASSWORD}' http://{}/v2/_catalog", gateway.address);
        second.json(&line)["repositories"].clone()
    };
    assert_eq!(catalog("ann"), serde_json::json!(["ann/app", "ann/second"]));
    assert_eq!(catalog("bob"), serde_json::json!([]));
    gateway.says("grant add bob pull ann/app");
    second.run(&format!("docker pull {image}"));
    second.fails(&format!("docker push {image}"));
    assert_eq!(catalog("bob"), serde_json::json!(["ann/app"]));
    let log = gateway.says("audit --action manifest.push --json");
    assert!(log.contains("ann/app:1"), "{log}");

    let gone = gateway.at("ann/second:1");
    let delete =
        |who: &str| format!("skopeo delete --tls-verify=false --creds '{who}:{PASSWORD}' docker://{gone}");
    second.fails(&delete("bob"));
    user.run(&delete("ann"));
    user.fails(&format!("docker pull {gone}"));
}

#[test]
fn docker_registry_2_gets_accounts_and_search() {
    let scratch = tempfile::TempDir::new().unwrap();
    an_engine_uses_it(&Distribution::version_2_on(scratch.path()));
}

#[test]
fn distribution_3_gets_accounts_and_search() {
    let scratch = tempfile::TempDir::new().unwrap();
    an_engine_uses_it(&Distribution::version_3_on(scratch.path()));
}

/// The rules of docs/how-to/gateway.md: an open location allows pulls by everyone, a closed one nothing
/// without an account.
#[test]
fn gateway_applies_location_rules_of_nginx() {
    let scratch = tempfile::TempDir::new().unwrap();
    let upstream = Distribution::version_2_on(scratch.path());
    let rules = Page::GATEWAY.below("Rules for locations").block("toml");
    let gateway = Gateway::configured(&[upstream.address()], rules, &[]);
    for place in ["official", "internal"] {
        gateway.says(&format!("grant add ann push '{place}/**'"));
    }
    gateway.says("grant add everyone pull 'internal/**'");
    let engine = Engine::shared();
    let (owner, nobody) = (engine.terminal(), engine.terminal());
    let open = gateway.at("official/open:1");
    engine.builds(&owner, &open, "for whoever asks");
    owner.run(&gateway.login("ann"));
    let closed = gateway.at("internal/closed:1");
    owner.run(&format!("docker push {open} && docker tag {open} {closed} && docker push {closed}"));

    owner.run(&format!("docker rmi {open} {closed}"));
    nobody.run(&format!("docker pull {open}"));
    nobody.fails(&format!("docker push {open}"));
    nobody.fails(&format!("docker pull {closed}"));
    let search = format!("docker search --format '{{{{.Name}}}}' {}", gateway.at("e"));
    assert!(nobody.run(&search).ends_with("official/open"));
    nobody.run(&format!("skopeo inspect --tls-verify=false --no-creds docker://{open}"));
    nobody.fails(&format!("skopeo delete --tls-verify=false --no-creds docker://{open}"));
    let head = |name: &str| {
        nobody.run(&format!("curl -s -o /dev/null -D - http://{}/v2/{name}/manifests/1", gateway.address))
    };
    assert!(head("official/open").starts_with("HTTP/1.1 200 "));
    let asks = head("internal/closed");
    assert!(asks.starts_with("HTTP/1.1 401 ") && asks.contains("Basic realm=\"Restricted\""), "{asks}");
    // An account needs a grant to push below either location.
    let user = engine.terminal();
    user.run(&gateway.login("bob"));
    user.run(&format!("docker pull {closed} && docker pull {open}"));
    for image in [&open, &closed] {
        user.fails(&format!("docker push {image}"));
    }
}

/// Pushes, pulls and deletes as `ann`, and finds nothing afterwards.
fn ann_uses_it(gateway: &Gateway) {
    let user = Terminal::open();
    let image = Image::saved(&user, "image", "behind another lock");
    let (name, creds) = (gateway.at("ann/app:1"), format!("creds 'ann:{PASSWORD}'"));
    user.run(&format!("skopeo copy --dest-tls-verify=false --dest-{creds} oci:image:latest docker://{name}"));
    user.run(&format!("skopeo copy --src-tls-verify=false --src-{creds} docker://{name} oci:copy:1"));
    let inspect = format!("skopeo inspect --tls-verify=false --{creds} docker://{name}");
    assert_eq!(user.json(&inspect)["Digest"], image.digest.as_str());
    user.fails(&inspect.replace("ann:", "bob:"));
    user.fails(&inspect.replace(&format!("--{creds}"), "--no-creds"));
    user.run(&format!("skopeo delete --tls-verify=false --{creds} docker://{name}"));
    user.fails(&inspect);
}

/// Starts a gateway before this registry, with this line in its credentials file.
fn with_credentials(upstream: &str, desk: &Terminal, line: &str) -> Gateway {
    let file = desk.path("credentials");
    std::fs::write(&file, line).expect("a file can be written");
    Gateway::configured(&[upstream], &format!("gateway.credentials = '{}'", file.display()), &[])
}

/// The upstream gets the gateway's account, and no client's.
#[test]
fn gateway_signs_in_at_the_upstream() {
    let scratch = tempfile::TempDir::new().unwrap();
    let desk = Terminal::open();
    desk.run("htpasswd -cbB theirs gateway 'of the gateway'");
    let upstream = Distribution::version_2_with_users(scratch.path(), &desk.path("theirs"));
    ann_uses_it(&with_credentials(upstream.address(), &desk, "gateway:of the gateway\n"));

    // Missing or wrong credentials are the operator's mistake, so no client is asked for others.
    let without = Gateway::before(&[upstream.address()], &[]);
    let wrong = with_credentials(upstream.address(), &desk, "gateway:wrong\n");
    for (gateway, reason) in [
        (without, "it requires an account, and none is configured; set gateway.credentials"),
        (wrong, "it rejects the configured account; correct gateway.credentials"),
    ] {
        let tags = format!("http://{}/v2/ann/app/tags/list", gateway.address);
        let answer = desk.run(&format!("curl -s -D - -u 'ann:{PASSWORD}' {tags}"));
        assert!(answer.starts_with("HTTP/1.1 502 ") && !answer.contains("theirs"), "{answer}");
        wait_for_log(&gateway.daemon, reason);
    }
}

/// The gateway fetches tokens with its own account.
#[test]
fn gateway_fetches_tokens_for_the_upstream() {
    let upstream = Server::with_accounts("", &["gateway"]);
    upstream.says("grant add gateway pull,push,delete ann/**");
    let desk = Terminal::open();
    ann_uses_it(&with_credentials(upstream.address(), &desk, &format!("gateway:{PASSWORD}")));
    let log = upstream.says("audit --json");
    assert!(log.contains("\"gateway\"") && !log.contains("\"ann\""), "{log}");
}

/// Existing repositories are found as well, and belong to the owner of the namespace.
#[test]
fn gateway_learns_existing_repositories() {
    let scratch = tempfile::TempDir::new().unwrap();
    let upstream = Distribution::version_2_on(scratch.path());
    let user = Terminal::open();
    Image::saved(&user, "image", "from before");
    user.run(&format!(
        "skopeo copy --dest-tls-verify=false oci:image:latest docker://{}",
        upstream.at("ann/old:1")
    ));
    let gateway = Gateway::before(&[upstream.address()], &[]);
    let found = format!(
        "curl -sSf -u 'ann:{PASSWORD}' 'http://{}/v1/search?q=old' | grep -q ann/old",
        gateway.address
    );
    user.run(&format!("for attempt in $(seq 100); do {found} && exit 0; sleep 0.1; done; exit 1"));
    user.run(&format!(
        "skopeo inspect --tls-verify=false --creds 'ann:{PASSWORD}' docker://{}",
        gateway.at("ann/old:1")
    ));
    user.fails(&format!(
        "skopeo inspect --tls-verify=false --creds 'bob:{PASSWORD}' docker://{}",
        gateway.at("ann/old:1")
    ));
}

/// A blob streams through the gateway in bounded memory, and returns unchanged.
#[test]
fn gateway_streams_a_large_blob_both_ways() {
    let scratch = tempfile::TempDir::new().unwrap();
    let upstream = Distribution::version_2_on(scratch.path());
    let gateway = Gateway::before(&[upstream.address()], &[]);
    let user = Terminal::open();
    let sent = format!("curl -sSf -u 'ann:{PASSWORD}'");
    user.run(&format!(
        "openssl rand 300000000 >blob; digest=sha256:$(sha256sum blob | cut -d' ' -f1); \
         next=$({sent} -D - -o /dev/null -X POST http://{0}/v2/ann/big/blobs/uploads/ | tr -d '\r' | \
         sed -n 's/^[Ll]ocation: //p'); case $next in /*) next=http://{0}$next;; esac; \
         case $next in *\\?*) next=\"$next&\";; *) next=\"$next?\";; esac; \
         {sent} -T blob -H 'Content-Type: application/octet-stream' \"${{next}}digest=$digest\"; \
         {sent} http://{0}/v2/ann/big/blobs/$digest | cmp - blob",
        gateway.address
    ));
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.daemon.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    assert!(kilobytes < 150_000, "{peak} for a blob of 300 MB");
}

/// The first upstream that answers is used. If none does, the client gets an error.
#[test]
fn gateway_fails_over_to_another_replica() {
    let scratch = tempfile::TempDir::new().unwrap();
    let first = Distribution::version_2_on(scratch.path());
    let second = Distribution::version_2_on(scratch.path());
    let gateway = Gateway::before(&[first.address(), second.address()], &[]);
    let user = Terminal::open();
    Image::saved(&user, "image", "on two");
    let creds = format!("--creds 'ann:{PASSWORD}'");
    user.run(&format!(
        "skopeo copy --dest-tls-verify=false --dest-creds 'ann:{PASSWORD}' oci:image:latest docker://{}",
        gateway.at("ann/app:1")
    ));
    first.stop();
    user.run(&format!(
        "skopeo copy --src-tls-verify=false --src-creds 'ann:{PASSWORD}' docker://{} oci:copy:1",
        gateway.at("ann/app:1")
    ));
    second.stop();
    user.fails(&format!("skopeo inspect --tls-verify=false {creds} docker://{}", gateway.at("ann/app:2")));
    let answer = user.run(&format!(
        "curl -s -w ' %{{http_code}}' -u 'ann:{PASSWORD}' http://{}/v2/ann/app/tags/list",
        gateway.address
    ));
    assert!(answer.ends_with(" 502"), "{answer}");
}

/// HTTPS before an upstream without it.
#[test]
fn gateway_adds_https() {
    let scratch = tempfile::TempDir::new().unwrap();
    let upstream = Distribution::version_2_on(scratch.path());
    let gateway = Gateway::before(&[upstream.address()], &["--tls-self-signed", "127.0.0.1"]);
    let user = Terminal::open();
    Image::saved(&user, "image", "over HTTPS");
    let certificate = gateway.terminal.path("data/wharfinger/tls/self-signed.pem").display().to_string();
    user.run(&format!("install -D {certificate} certs/ca.crt"));
    user.run(&format!(
        "skopeo copy --dest-cert-dir certs --dest-creds 'ann:{PASSWORD}' oci:image:latest docker://{0}; \
         skopeo copy --src-cert-dir certs --src-creds 'ann:{PASSWORD}' docker://{0} oci:copy:1",
        gateway.at("ann/app:1")
    ));
    let head = user
        .run(&format!("curl -s --cacert {certificate} -D - -o /dev/null https://{}/v2/", gateway.address));
    assert!(head.contains(&format!("realm=\"https://{}/token\"", gateway.address)), "{head}");
}

#[test]
fn gateway_says_that_registry2_deletes_no_tag() {
    let scratch = tempfile::TempDir::new().unwrap();
    let upstream = Distribution::version_2_on(scratch.path());
    let gateway = Gateway::before(&[upstream.address()], &[]);
    let user = Terminal::open();
    Image::saved(&user, "image", "with a tag");
    user.run(&format!(
        "skopeo copy --dest-tls-verify=false --dest-creds 'ann:{PASSWORD}' oci:image:latest docker://{}",
        gateway.at("ann/app:1")
    ));
    let program = env!("CARGO_BIN_EXE_wharfinger");
    let refused = user.fails(&format!(
        "echo '{PASSWORD}' | {program} rm ann/app:1 --server http://{} --user ann --password-stdin",
        gateway.address
    ));
    assert!(refused.contains("wharfinger rm ann/app@sha256:"), "{refused}");
}

/// Runs a command that signs in to the gateway as `ann`, and returns its output.
fn command(gateway: &Gateway, user: &Terminal, line: &str) -> String {
    let program = env!("CARGO_BIN_EXE_wharfinger");
    user.run(&format!(
        "echo '{PASSWORD}' | {program} {line} --server http://{} --user ann --password-stdin",
        gateway.address
    ))
}

/// The commands of `wharfinger` through a gateway, with an image of each manifest kind.
fn commands_work_through_it(upstream: &Distribution) {
    let gateway = Gateway::before(&[upstream.address()], &[]);
    let user = Terminal::open();
    let image = Image::saved(&user, "image", "for our own commands");
    for (format, tag) in [("oci", "1"), ("v2s2", "docker")] {
        user.run(&format!(
            "skopeo copy --format {format} --dest-tls-verify=false --dest-creds 'ann:{PASSWORD}' \
             oci:image:latest docker://{}",
            gateway.at(&format!("ann/app:{tag}"))
        ));
        let shown = command(&gateway, &user, &format!("inspect ann/app:{tag}"));
        let media_type = if format == "oci" { "application/vnd.oci.image" } else { "application/vnd.docker" };
        assert!(shown.contains(media_type), "{shown}");
        command(&gateway, &user, &format!("tag ann/app:{tag} ann/copy:{tag}"));
        let copied = command(&gateway, &user, &format!("inspect ann/copy:{tag}"));
        let digest =
            |text: &str| text.lines().find(|line| line.contains("  digest")).expect("a digest").to_owned();
        assert_eq!(digest(&copied), digest(&shown));
    }
    let listed = command(&gateway, &user, "ls");
    let row = listed.lines().find(|line| line.contains("ann/app")).expect("a row");
    assert!(!row.contains("0 B") && row.split_whitespace().nth(1) == Some("-"), "{listed}");
    command(&gateway, &user, &format!("rm ann/app@{}", image.digest));
    let gone = user.run(&format!(
        "curl -s -o /dev/null -w '%{{http_code}}' -u 'ann:{PASSWORD}' http://{}/v2/ann/app/manifests/{}",
        gateway.address, image.digest
    ));
    assert_eq!(gone, "404");
}

#[test]
fn commands_work_before_docker_registry_2() {
    let scratch = tempfile::TempDir::new().unwrap();
    commands_work_through_it(&Distribution::version_2_on(scratch.path()));
}

#[test]
fn commands_work_before_distribution_3() {
    let scratch = tempfile::TempDir::new().unwrap();
    commands_work_through_it(&Distribution::version_3_on(scratch.path()));
}

/// Requests every way for a blob of another repository, and for a range beyond its end.
fn keeps_blobs_apart(upstream: &Distribution) {
    let gateway = Gateway::before(&[upstream.address()], &[]);
    let user = Terminal::open();
    let as_user = |name: &str| format!("curl -sS -u '{name}:{PASSWORD}'");
    let at = format!("http://{}/v2", gateway.address);
    Image::saved(&user, "image", "of bob");
    for (name, repository) in [("bob", "bob/open:1"), ("ann", "ann/own:1")] {
        user.run(&format!(
            "skopeo copy --dest-tls-verify=false --dest-creds '{name}:{PASSWORD}' oci:image:latest docker://{}",
            gateway.at(repository)
        ));
    }
    user.run("printf secret >secret");
    let digest = format!("sha256:{}", user.run("sha256sum secret | cut -d' ' -f1").trim());
    let uploads = |repository: &str| format!("{at}/{repository}/blobs/uploads/");
    let next = user.run(&format!(
        "{} -D - -o /dev/null -X POST {} | tr -d '\r' | sed -n 's/^[Ll]ocation: //p'",
        as_user("ann"),
        uploads("ann/secret")
    ));
    let next = next.trim();
    let next =
        if next.starts_with('/') { format!("http://{}{next}", gateway.address) } else { next.to_owned() };
    let finish = format!("{} -o /dev/null -w '%{{http_code}}' --data-binary @secret -X PUT", as_user("ann"));
    // curl declares a form by default.
    assert_eq!(user.run(&format!("{finish} '{next}&digest={digest}'")), "201");
    let status = |line: &str| user.run(&format!("{line} -o /dev/null -w '%{{http_code}}'"));
    let blob = |repository: &str| format!("{at}/{repository}/blobs/{digest}");
    assert_eq!(status(&format!("{} -I {}", as_user("ann"), blob("ann/secret"))), "200");
    assert_eq!(status(&format!("{} {}", as_user("bob"), blob("ann/secret"))), "404");
    for mount in [
        format!("-X POST '{}?mount={digest}&from=ann/secret'", uploads("bob/open")),
        format!("-X POST '{}?mount={digest}&from=bob/open'", uploads("bob/open")),
        format!("-X POST '{}?mount={digest}'", uploads("bob/open")),
        format!("-X POST -d 'mount={digest}&from=ann/secret' '{}'", uploads("bob/open")),
        format!("-X POST -F 'mount={digest}' -F from=ann/secret '{}'", uploads("bob/open")),
        format!(
            "-X POST -d 'mount={digest}&from=ann/secret' '{}?mount={digest}&from=bob/open'",
            uploads("bob/open")
        ),
    ] {
        assert_eq!(status(&format!("{} {mount}", as_user("bob"))), "202", "{mount}");
        assert_eq!(status(&format!("{} {}", as_user("bob"), blob("bob/open"))), "404", "{mount}");
    }
    let range = user.run(&format!("{} -D - -r 100-200 {}", as_user("ann"), blob("ann/secret")));
    assert!(range.starts_with("HTTP/1.1 416 ") && range.contains("\"errors\""), "{range}");
    assert!(range.to_lowercase().contains("content-range: bytes */6"), "{range}");
}

#[test]
fn docker_registry_2_keeps_blobs_apart() {
    let scratch = tempfile::TempDir::new().unwrap();
    keeps_blobs_apart(&Distribution::version_2_on(scratch.path()));
}

#[test]
fn distribution_3_keeps_blobs_apart() {
    let scratch = tempfile::TempDir::new().unwrap();
    keeps_blobs_apart(&Distribution::version_3_on(scratch.path()));
}
