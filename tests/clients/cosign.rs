//! cosign: sign and verify with a local key, without a transparency log.

use crate::harness::{Image, Server, Terminal};

#[test]
fn cosign_verifies_a_signature_under_a_tag() {
    let registry = Server::start();
    let user = terminal();
    let image = Image::saved(&user, "app", "signed by tag");
    user.run(&format!("crane push app {}", registry.at("team/app:1")));
    let app = format!("{}@{}", registry.at("team/app"), image.digest);

    user.run(&format!("cosign sign --yes {PLAIN} --key cosign.key {app}"));

    user.run(&format!("cosign verify {IGNORE_LOG} --key cosign.pub {app}"));
    let tag = image.digest.replace(':', "-");
    assert_eq!(format!("1\n{tag}.sig"), user.run(&format!("crane ls {}", registry.at("team/app"))));
    let shown = registry.says("inspect team/app:1");
    assert!(shown.contains(&format!("{tag}.sig")) && shown.contains("  signature  "), "{shown}");
}

#[test]
fn cosign_verifies_a_signature_in_a_referrer() {
    let registry = Server::start();
    let mut user = terminal();
    user.set("COSIGN_EXPERIMENTAL", "1");
    let image = Image::saved(&user, "app", "signed by referrer");
    user.run(&format!("crane push app {}", registry.at("team/app:1")));
    let app = format!("{}@{}", registry.at("team/app"), image.digest);

    user.run(&format!("cosign sign --yes {PLAIN} --registry-referrers-mode=oci-1-1 --key cosign.key {app}"));

    user.run(&format!("cosign verify {IGNORE_LOG} --experimental-oci11 --key cosign.pub {app}"));
    assert_eq!("1", user.run(&format!("crane ls {}", registry.at("team/app"))));
    let tree = user.json(&format!("oras discover --plain-http --format json {app}"));
    assert_eq!(1, tree["referrers"].as_array().map_or(0, Vec::len), "{tree}");
}

#[test]
fn cosign_refuses_unsigned_image_and_wrong_key() {
    let registry = Server::start();
    let user = terminal();
    let [signed, unsigned] = ["signed", "unsigned"].map(|name| {
        let image = Image::saved(&user, name, name);
        user.run(&format!("crane push {name} {}", registry.at(&format!("team/{name}:1"))));
        format!("{}@{}", registry.at(&format!("team/{name}")), image.digest)
    });
    user.run(&format!("cosign sign --yes {PLAIN} --key cosign.key {signed}"));
    user.run("cosign generate-key-pair --output-key-prefix other");

    user.fails(&format!("cosign verify {IGNORE_LOG} --key other.pub {signed}"));
    user.fails(&format!("cosign verify {IGNORE_LOG} --key cosign.pub {unsigned}"));
}

#[test]
fn cosign_verifies_an_attestation() {
    let registry = Server::start();
    let user = terminal();
    let image = Image::saved(&user, "app", "attested");
    user.run(&format!("crane push app {}", registry.at("team/app:1")));
    let app = format!("{}@{}", registry.at("team/app"), image.digest);
    user.run("echo '{\"built\": \"here\"}' > predicate.json");

    user.run(&format!("cosign attest --yes {PLAIN} --key cosign.key --predicate predicate.json {app}"));

    user.run(&format!("cosign verify-attestation {IGNORE_LOG} --key cosign.pub {app}"));
}

const PLAIN: &str = "--allow-http-registry --tlog-upload=false";
const IGNORE_LOG: &str = "--allow-http-registry --insecure-ignore-tlog";

/// Opens a terminal with a key pair in its directory.
fn terminal() -> Terminal {
    let mut terminal = Terminal::open();
    terminal.set("COSIGN_PASSWORD", "");
    terminal.run("cosign generate-key-pair");
    terminal
}
