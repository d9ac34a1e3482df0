//! helm 4.

use crate::harness::PASSWORD;
use crate::setup::secure;

#[test]
fn helm_4_signs_in_pushes_and_pulls() {
    let (registry, user) = secure();
    let trust = format!("--ca-file {}", registry.certificate().display());
    let charts = format!("oci://{}", registry.at("ann/charts"));
    let login = |password: &str| {
        format!(
            "echo '{password}' | helm4 registry login {trust} -u ann --password-stdin {}",
            registry.address()
        )
    };
    user.run("helm4 create demo");
    for version in ["1.2.9", "1.2.10", "2.0.0+build.7"] {
        user.run(&format!("helm4 package demo --version {version}"));
    }
    user.fails(&login("wrong"));
    user.fails(&format!("helm4 push {trust} demo-1.2.9.tgz {charts}"));

    user.run(&login(PASSWORD));
    user.run(&format!("for chart in demo-*.tgz; do helm4 push {trust} $chart {charts}; done"));
    user.fails(&format!("helm4 push {trust} demo-1.2.9.tgz oci://{}", registry.at("bob/charts")));

    user.run(&format!("mkdir back && helm4 pull {trust} --version 1.2.9 -d back {charts}/demo"));
    user.run("cmp demo-1.2.9.tgz back/demo-1.2.9.tgz");
    let newest = user.run(&format!("helm4 show chart {trust} {charts}/demo"));
    assert!(newest.contains("version: 2.0.0+build.7"), "{newest}");
    let patched = user.run(&format!("helm4 show chart {trust} --version '~1.2.0' {charts}/demo"));
    assert!(patched.contains("version: 1.2.10"), "{patched}");
}
