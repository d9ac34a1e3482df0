//! Ours.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Ability, Front, OURS, Part, Paths, Peer, Setup, alone, given, version_of};

pub(super) struct Wharfinger;

impl Peer for Wharfinger {
    fn name(&self) -> &'static str {
        OURS
    }

    fn find(&self, paths: &Paths) -> Result<Vec<PathBuf>, String> {
        Ok(vec![program(paths)?])
    }

    fn version(&self, programs: &[PathBuf]) -> String {
        version_of(&programs[0], &["--version"])
    }

    fn speaks(&self, _front: Front) -> bool {
        true
    }

    fn parts(&self, programs: &[PathBuf], setup: Setup<'_>) -> Result<Vec<Part>> {
        let mut command = Command::new(&programs[0]);
        command.arg("serve").args(arguments(setup));
        match setup.front {
            Front::Plain => {}
            Front::Https => _ = command.args(secure(setup)),
            Front::ClearHttp2 => _ = command.env("WHARFINGER_HTTP2_CLEAR", "true"),
        }
        alone(command, setup)
    }

    fn can(&self, _ability: Ability) -> bool {
        true
    }

    fn syncs(&self) -> &'static str {
        "the metadata transaction, which holds small content; larger files and their directories"
    }
}

/// Where the program is.
pub(super) fn program(paths: &Paths) -> Result<PathBuf, String> {
    if let Some(path) = &paths.wharfinger {
        return given(path, "--wharfinger");
    }
    // Cargo puts the programs of one build beside each other.
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("wharfinger")));
    beside
        .filter(|path| path.is_file())
        .ok_or_else(|| "not built: `cargo build --profile dist`, or give --wharfinger".to_owned())
}

/// The arguments of every instance.
pub(super) fn arguments(setup: Setup<'_>) -> [OsString; 6] {
    let listen = format!("127.0.0.1:{}", setup.port);
    [
        "--listen".into(),
        listen.into(),
        "--data".into(),
        setup.data.into(),
        "--log-level".into(),
        "warn".into(),
    ]
}

/// The arguments for HTTPS with accounts.
pub(super) fn secure(setup: Setup<'_>) -> [OsString; 6] {
    let security = setup.security;
    [
        "--tls-certificate".into(),
        security.certificate.as_os_str().to_owned(),
        "--tls-key".into(),
        security.key.as_os_str().to_owned(),
        "--htpasswd".into(),
        security.users.as_os_str().to_owned(),
    ]
}
