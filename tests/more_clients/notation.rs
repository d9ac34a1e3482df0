//! notation: signatures of the Notary Project as referrers.

use serde_json::json;

use crate::harness::PASSWORD;
use crate::setup::{push_image, secure, sign_in};

#[test]
fn notation_signs_lists_and_verifies() {
    let (registry, mut user) = secure();
    sign_in(&registry, &user);
    let image = format!("{}@{}", registry.at("ann/app"), push_image(&registry, &user, "ann/app:1"));
    user.run(&format!("crane auth logout {}", registry.address()));
    user.run("notation cert generate-test --default ann.example.com");
    let policy = json!({"version": "1.0", "trustPolicies": [{
        "name": "all", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:ann.example.com"], "trustedIdentities": ["*"],
    }]});
    std::fs::write(user.path("policy.json"), policy.to_string()).expect("a policy can be written");
    user.run("notation policy import policy.json");
    user.fails(&format!("notation sign {image}"));
    user.set("NOTATION_USERNAME", "ann");
    user.set("NOTATION_PASSWORD", PASSWORD);
    user.fails(&format!("notation verify {image}"));

    user.run(&format!("notation sign {image}"));

    user.run(&format!("notation verify {image}"));
    let listed = user.run(&format!("notation list {image}"));
    assert!(listed.contains("application/vnd.cncf.notary.signature"), "{listed}");
}
