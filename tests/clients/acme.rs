//! ACME certificates, with pebble as the authority.

use crate::harness::{Distribution, Gateway, PASSWORD, Pebble, Ports, Server, Terminal, free_address};

/// Longer than any test.
const LONG: u32 = 24 * 60 * 60;

/// Returns a shell loop that tries a command for a minute, longer than the registry's first retries.
fn until(command: &str) -> String {
    format!("for attempt in $(seq 300); do {command} && exit 0; sleep 0.2; done; exit 1")
}

/// Returns a curl command that trusts the authority.
fn calls(pebble: &Pebble, url: &str) -> String {
    format!("curl -sSf --cacert {} {url}/healthz", pebble.root().display())
}

/// Returns `https://localhost:port` for an address.
fn by_name(address: &str) -> String {
    address.replace("127.0.0.1", "https://localhost")
}

#[test]
fn acme_obtains_and_keeps_a_certificate() {
    let ports = Ports::choose();
    let user = Terminal::open();
    let data = user.path("data");
    let pebble = Pebble::start(&ports, LONG);
    let settings = ports.settings(&["localhost"]);
    let registry = Server::configured_at(&ports.https, &data, &settings);
    let url = by_name(&ports.https);
    user.run(&until(&calls(&pebble, &url)));
    user.fails(&format!("curl -sSf {url}/healthz"));
    assert_eq!(pebble.orders(), 1);
    // The challenge is over, so the challenge certificate is no longer served.
    user.fails(&format!("openssl s_client -alpn acme-tls/1 -connect {} </dev/null", ports.https));

    let shown = format!(
        "{} cert show --json --config {} --data {}",
        env!("CARGO_BIN_EXE_wharfinger"),
        user.path("w.toml").display(),
        data.display()
    );
    std::fs::write(user.path("w.toml"), &settings).expect("a file can be written");
    let first = user.json(&shown);
    assert_eq!(first["hosts"], serde_json::json!(["localhost"]));
    assert!(first["issuer"].as_str().is_some_and(|issuer| issuer.contains("Pebble")), "{first}");
    let kept = "find data/wharfinger/tls/acme -type f -printf '%f %m\\n' | sort";
    assert_eq!(user.run(kept), "account.json 600\ncertificate.pem 600");

    // A restart reuses the certificate, and needs no authority.
    drop(registry);
    drop(pebble);
    let registry = Server::configured_at(&ports.https, &data, &settings);
    let served = format!(
        "openssl s_client -connect {} -servername localhost </dev/null 2>/dev/null | openssl x509 -noout -fingerprint \
         -sha256",
        ports.https
    );
    assert!(user.run(&served).ends_with(first["sha256"].as_str().expect("a fingerprint")));
    drop(registry);

    // The authority has lost the account, and the settings have one more host: an address.
    let pebble = Pebble::start(&ports, LONG);
    let settings = ports.settings(&["localhost", "127.0.0.1"]);
    let registry = Server::configured_at(&ports.https, &data, &settings);
    user.run(&until(&calls(&pebble, &format!("https://{}", ports.https))));
    user.run(&calls(&pebble, &url));
    let log = registry.log();
    assert!(log.contains("the current one does not cover 127.0.0.1"), "{log}");
    assert!(log.contains("created an account"), "{log}");
    assert_ne!(user.json(&shown)["serial"], first["serial"]);
}

#[test]
fn acme_renews_a_certificate_in_time() {
    let ports = Ports::choose();
    let user = Terminal::open();
    let pebble = Pebble::start(&ports, 30);
    let registry = Server::configured_at(&ports.https, &user.path("data"), &ports.settings(&["localhost"]));
    let url = by_name(&ports.https);
    user.run(&until(&calls(&pebble, &url)));
    let serial = format!(
        "openssl s_client -connect {} -servername localhost </dev/null 2>/dev/null | openssl x509 -noout -serial",
        ports.https
    );
    let first = user.run(&serial);
    user.run(&until(&format!("test \"$({serial})\" != '{first}'")));
    user.run(&calls(&pebble, &url));
    assert!(pebble.orders() > 1);
    registry.wait_for_log("the current one is due for renewal since");
}

/// An authority asks for renewals when it must revoke certificates.
#[test]
fn acme_renews_when_the_authority_asks() {
    let ports = Ports::choose();
    let user = Terminal::open();
    let data = user.path("data");
    let pebble = Pebble::start_current(&ports, LONG);
    let settings = ports.settings(&["localhost"]);
    let registry = Server::configured_at(&ports.https, &data, &settings);
    let url = by_name(&ports.https);
    user.run(&until(&calls(&pebble, &url)));
    drop(registry);
    let file = user.run("find data/wharfinger/tls/acme -name certificate.pem");
    pebble.wants_renewed(&ports, &user.path(&file));
    user.run(&format!("cp {file} first.pem"));
    let registry = Server::configured_at(&ports.https, &data, &settings);
    registry.wait_for_log("the authority suggests renewal of the current one since 2020-01-01T");
    user.run(&until(&format!("test \"$(cat {file})\" != \"$(cat first.pem)\"")));
    user.run(&calls(&pebble, &url));
    assert_eq!(pebble.orders(), 2, "{}", registry.log());
    assert!(!registry.log().contains("issued no certificate"), "{}", registry.log());
}

#[test]
fn acme_retries_an_unreachable_authority() {
    let ports = Ports::choose();
    let user = Terminal::open();
    let registry = Server::configured_at(&ports.https, &user.path("data"), &ports.settings(&["localhost"]));
    registry.wait_for_log("the authority issued no certificate: it cannot be reached");
    let url = by_name(&ports.https);
    user.fails(&format!("curl -sSkf {url}/healthz"));
    let pebble = Pebble::start(&ports, LONG);
    user.run(&until(&calls(&pebble, &url)));
    assert_eq!(pebble.orders(), 1);
}

#[test]
fn acme_failure_names_a_host_that_leads_elsewhere() {
    let ports = Ports::choose();
    let user = Terminal::open();
    let _pebble = Pebble::start(&ports, LONG);
    // The authority connects to another port than the registry's.
    let registry = Server::configured_at("127.0.0.1:0", &user.path("data"), &ports.settings(&["localhost"]));
    registry.wait_for_log("it could not validate localhost: ");
    registry.wait_for_log("it connects to port 443 of that host");
}

#[test]
fn acme_sends_the_external_account() {
    let ports = Ports::choose();
    let user = Terminal::open();
    let member = ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W");
    let pebble = Pebble::start_for(&ports, LONG, Some(member));
    let settings = ports.settings(&["localhost"]);
    let stranger = Server::configured_at(&ports.https, &user.path("stranger"), &settings);
    stranger.wait_for_log("tls.acme.external_account");
    drop(stranger);
    std::fs::write(user.path("member"), format!("{}:{}\n", member.0, member.1))
        .expect("a file can be written");
    let settings = format!("{settings}external_account = \"{}\"\n", user.path("member").display());
    let _registry = Server::configured_at(&ports.https, &user.path("data"), &settings);
    user.run(&until(&calls(&pebble, &by_name(&ports.https))));
}

#[test]
fn acme_proves_hosts_by_http_01() {
    let ports = Ports::choose();
    let user = Terminal::open();
    let pebble = Pebble::start(&ports, LONG);
    // Nothing listens on the port of the other challenge.
    let address = free_address();
    let settings = format!(
        "[tls]\nredirect = \"{}\"\n{}challenge = \"http-01\"\n",
        ports.http,
        ports.settings(&["localhost"])
    );
    let _registry = Server::configured_at(&address, &user.path("data"), &settings);
    user.run(&until(&calls(&pebble, &by_name(&address))));
    assert_eq!(pebble.orders(), 1);
    let asked = "curl -sS -o /dev/null -w '%{http_code}'";
    let of_no_order = format!("http://{}/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17", ports.http);
    assert_eq!(user.run(&format!("{asked} {of_no_order}")), "404");
    // Other plain requests are redirected to HTTPS.
    let sent =
        format!("curl -sSfL --cacert {} -w '%{{url_effective}}' -o /dev/null", pebble.root().display());
    let plain = by_name(&ports.http).replace("https://", "http://");
    assert_eq!(
        user.run(&format!("{sent} {plain}/healthz?a=b")),
        format!("{}/healthz?a=b", by_name(&address))
    );
    assert_eq!(user.run(&format!("{asked} -u 'ann:{PASSWORD}' {plain}/v2/")), "403");
}

#[test]
fn acme_serves_a_gateway() {
    let scratch = tempfile::TempDir::new().expect("a temporary directory");
    let upstream = Distribution::version_2_on(scratch.path());
    let ports = Ports::choose();
    let gateway =
        Gateway::configured_at(&ports.https, &[upstream.address()], &ports.settings(&["localhost"]));
    let pebble = Pebble::start(&ports, LONG);
    let url = by_name(&ports.https);
    gateway.terminal.run(&until(&calls(&pebble, &url)));
    let root = pebble.root();
    gateway.terminal.run(&format!("curl -sSf -u 'ann:{PASSWORD}' --cacert {} {url}/v2/", root.display()));
}
