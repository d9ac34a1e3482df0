//! regsync, which synchronizes repositories between registries.

use crate::harness::PASSWORD;
use crate::setup::{push_image, secure, sign_in};

#[test]
fn regsync_copies_what_its_rules_select() {
    let (registry, user) = secure();
    sign_in(&registry, &user);
    let digest = push_image(&registry, &user, "ann/app:1.0");
    for tag in ["1.1", "2.0", "edge"] {
        user.run(&format!("crane tag {} {tag}", registry.at("ann/app:1.0")));
    }
    let config = |password: &str, target: &str| {
        format!(
            "version: 1\ncreds:\n- registry: {address}\n  user: ann\n  pass: {password}\n  regcert: |\n{certificate}\n\
             defaults: {{referrers: true, digestTags: true}}\nsync:\n- source: {source}\n  target: {target}\n  \
             type: repository\n  tags: {{allow: ['1\\..*'], deny: ['edge']}}\n",
            address = registry.address(),
            certificate = indented(&std::fs::read_to_string(registry.certificate()).expect("a certificate")),
            source = registry.at("ann/app"),
            target = registry.at(target),
        )
    };
    let sync = |password: &str, target: &str| {
        std::fs::write(user.path("regsync.yml"), config(password, target)).expect("a file can be written");
        "regsync once -c regsync.yml"
    };
    user.fails(sync("wrong", "ann/mirror"));
    user.fails(sync(PASSWORD, "bob/mirror"));

    user.run(sync(PASSWORD, "ann/mirror"));
    user.run("regsync check -c regsync.yml");

    assert_eq!("1.0\n1.1", user.run(&format!("crane ls {}", registry.at("ann/mirror"))));
    assert_eq!(digest, user.run(&format!("crane digest {}", registry.at("ann/mirror:1.1"))));
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
