//! ko, which builds Go programs into images.

use std::process::Command;

use crate::setup::{push_image, secure, sign_in};

#[test]
fn ko_builds_and_pushes_a_program() {
    let (registry, mut user) = secure();
    sign_in(&registry, &user);
    push_image(&registry, &user, "ann/base:1");
    user.run("mkdir hello && printf 'module example.com/hello\\n' > hello/go.mod");
    user.run("printf 'package main\\n\\nfunc main() { println(\"hello\") }\\n' > hello/main.go");
    // The machine's compiled standard library, which would take a minute to build again.
    for variable in ["GOCACHE", "GOROOT"] {
        let told = Command::new("go").args(["env", variable]).output().expect("go is on the PATH");
        user.set(variable, String::from_utf8_lossy(&told.stdout).trim());
    }
    user.set("KO_DEFAULTBASEIMAGE", registry.at("ann/base:1"));
    let build = |name: &str, more: &str| {
        format!(
            "cd hello && KO_DOCKER_REPO={} ko build --bare --sbom=spdx --tags 1,2 {more} .",
            registry.at(name)
        )
    };

    let built = user.run(&build("ann/hello", ""));
    user.fails(&build("bob/hello", ""));

    user.run(&format!("crane validate --remote {built}"));
    let tags = user.run(&format!("crane ls {}", registry.at("ann/hello")));
    assert!(tags.starts_with("1\n2"), "{tags}");
    user.run(&format!("crane export {built} - | tar --list | grep --quiet ko-app/hello"));
}
