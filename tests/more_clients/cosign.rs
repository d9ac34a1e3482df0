//! cosign 3, which keeps its signatures as bundles among the referrers.

use crate::setup::{push_image, secure, sign_in};

#[test]
fn cosign_3_keeps_bundles_as_referrers() {
    let (registry, mut user) = secure();
    sign_in(&registry, &user);
    let image = format!("{}@{}", registry.at("ann/app"), push_image(&registry, &user, "ann/app:1"));
    user.set("COSIGN_PASSWORD", "");
    user.run("cosign3 generate-key-pair && echo '{\"built\": \"here\"}' > predicate.json");
    let local = "--yes --use-signing-config=false --tlog-upload=false --key cosign.key";
    let verify = "--insecure-ignore-tlog --key cosign.pub";
    user.fails(&format!("cosign3 verify {verify} {image}"));

    user.run(&format!("cosign3 sign {local} {image}"));
    user.run(&format!("cosign3 attest {local} --predicate predicate.json {image}"));

    user.run(&format!("cosign3 verify {verify} {image}"));
    user.run(&format!("cosign3 verify-attestation {verify} {image}"));
    assert_eq!("1", user.run(&format!("crane ls {}", registry.at("ann/app"))));
    let referrers = user.json(&format!("oras discover --format json {image}"));
    assert_eq!(referrers["referrers"].as_array().map(Vec::len), Some(2), "{referrers}");
    user.run(&format!("crane auth logout {}", registry.address()));
    user.fails(&format!("cosign3 sign {local} {image}"));
}
