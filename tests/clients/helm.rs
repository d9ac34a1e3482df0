//! helm: package, push, pull, show.

use crate::harness::{Server, Terminal};

#[test]
fn helm_pushes_and_pulls_a_chart() {
    let registry = Server::start();
    let user = Terminal::open();
    user.run("helm create demo && helm package demo --version 1.2.3");

    user.run(&format!("helm push demo-1.2.3.tgz --plain-http oci://{}", registry.at("charts")));
    let chart = registry.at("charts/demo");
    user.run(&format!(
        "mkdir back && helm pull --plain-http --destination back --version 1.2.3 oci://{chart}"
    ));

    user.run("cmp demo-1.2.3.tgz back/demo-1.2.3.tgz");
    let shown = user.run(&format!("helm show chart --plain-http --version 1.2.3 oci://{chart}"));
    assert!(shown.contains("version: 1.2.3"), "{shown}");
}

#[test]
fn helm_finds_the_newest_version() {
    let registry = Server::start();
    let user = Terminal::open();
    user.run("helm create demo");
    for version in ["1.2.9", "1.2.10", "2.0.0+build.7"] {
        user.run(&format!("helm package demo --version {version}"));
        user.run(&format!("helm push demo-{version}.tgz --plain-http oci://{}", registry.at("charts")));
    }

    let chart = registry.at("charts/demo");
    let newest = user.run(&format!("helm show chart --plain-http oci://{chart}"));
    let patched = user.run(&format!("helm show chart --plain-http --version '~1.2.0' oci://{chart}"));

    assert!(newest.contains("version: 2.0.0+build.7"), "{newest}");
    assert!(patched.contains("version: 1.2.10"), "{patched}");
}
