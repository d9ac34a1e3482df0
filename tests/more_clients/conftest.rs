//! conftest, which keeps policies of the Open Policy Agent in a registry.

use crate::setup::{secure, sign_in};

#[test]
fn conftest_pushes_and_pulls_policies() {
    let (registry, user) = secure();
    user.run(
        "mkdir policy && printf 'package main\\n\\ndeny contains \"no\" if input.bad\\n' > policy/a.rego",
    );
    user.run("echo '{\"bad\": true}' > bad.json && echo '{}' > good.json");
    let (policies, others) = (registry.at("ann/policies:1"), registry.at("bob/policies:1"));
    user.fails(&format!("conftest push --tls {policies} --policy policy"));
    sign_in(&registry, &user);

    user.run(&format!("conftest push --tls {policies} --policy policy"));
    user.fails(&format!("conftest push --tls {others} --policy policy"));
    user.run(&format!("conftest pull --tls oci://{policies} --policy back"));

    user.run("conftest test --policy back good.json");
    user.fails("conftest test --policy back bad.json");
}
