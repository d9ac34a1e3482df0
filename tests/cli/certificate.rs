//! `wharfinger cert`.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::{WHARFINGER, success};

/// Behind a mapped port, clients have the address of `external_url`.
#[test]
fn shown_trust_has_the_address_of_external_url() {
    let scratch = TempDir::new().unwrap();
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let (data, config) = (path("data"), path("server.toml"));
    fs::write(&config, "external_url = \"https://registry.example.com\"\n").unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", &data, "--config", &config];
    let serve = [&serve[..], &["--tls-self-signed", "127.0.0.1,registry.example.com"]].concat();
    let show = |flags: &[&str], url: &str| {
        let mut command = Command::new(WHARFINGER);
        let command = command.args(["cert", "show", "--data", &data]).args(flags).current_dir(scratch.path());
        success("cert show", &command.env("WHARFINGER_EXTERNAL_URL", url).output().unwrap())
    };
    let first = "docker:\n  install -D -m 644 ";
    let trusts = |shown: &str, host: &str| {
        let line = shown.split(first).nth(1).and_then(|rest| rest.lines().next()).unwrap();
        assert!(line.ends_with(&format!(" /etc/docker/certs.d/{host}/ca.crt")), "{host}\n{shown}");
    };

    let mut server = Daemon::start(WHARFINGER, &serve, &scratch.path().join("log"));
    server.address();
    trusts(&server.wait_for(|log| log.contains("podman").then(|| log.to_owned())), "registry.example.com");
    // The server has another configuration than the command.
    trusts(&show(&[], ""), "registry.example.com");
    trusts(&show(&["--port", "5000"], ""), "registry.example.com:5000");
    server.stop();
    trusts(&show(&[], "https://127.0.0.1:8443"), "127.0.0.1:8443");
    trusts(&show(&[], ""), "127.0.0.1:5000");
}
