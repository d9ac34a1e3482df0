//! `wharfinger gateway` before registries that know nothing of accounts: Debian's docker-registry and distribution 3, as
//! they are.

use crate::harness::{Distribution, Engine, Gateway, Image, PASSWORD, Terminal};

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
    // The same layers in another repository of hers are mounted.
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

/// What was there before is found as well, and is its owner's.
#[test]
fn what_is_there_already_is_learnt() {
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

/// A blob passes through without being held: memory does not grow with it. And what comes back is what went up.
#[test]
fn a_large_blob_streams_both_ways() {
    let scratch = tempfile::TempDir::new().unwrap();
    let upstream = Distribution::version_2_on(scratch.path());
    let gateway = Gateway::before(&[upstream.address()], &[]);
    let user = Terminal::open();
    let sent = format!("curl -sSf -u 'ann:{PASSWORD}'");
    user.run(&format!(
        "openssl rand 300000000 >blob; digest=sha256:$(sha256sum blob | cut -d' ' -f1); \
         next=$({sent} -D - -o /dev/null -X POST http://{0}/v2/ann/big/blobs/uploads/ | tr -d '\\r' | \
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

/// The first registry that answers is asked; if none does, that is said.
#[test]
fn another_replica_is_asked_when_one_is_gone() {
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

/// HTTPS before a registry that has none.
#[test]
fn https_before_a_registry_that_has_none() {
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
