//! Finds the commit of the source, for `wharfinger version --json`.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=WHARFINGER_COMMIT");
    // A debug build would be compiled again after each commit.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rerun-if-changed=.git/HEAD");
        println!("cargo:rerun-if-changed=.git/refs/heads");
    }
    if let Some(commit) = std::env::var("WHARFINGER_COMMIT").ok().or_else(head) {
        // Cargo also sets this variable for tests, where variables of settings would be errors.
        println!("cargo:rustc-env=SOURCE_COMMIT={commit}");
    }
}

fn head() -> Option<String> {
    let head = Command::new("git").args(["rev-parse", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(head.stdout).ok()?;
    head.status.success().then(|| commit.trim().to_owned())
}
