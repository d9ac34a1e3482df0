//! The usual stack of today: nginx with TLS and an htpasswd file before Debian's docker-registry.

use std::path::PathBuf;

use anyhow::Result;

use super::distribution::Distribution;
use super::{Ability, Front, Part, Paths, Peer, STACK, Setup, nginx, version_of};

pub(super) struct Stack;

impl Peer for Stack {
    fn name(&self) -> &'static str {
        STACK
    }

    fn find(&self, paths: &Paths) -> Result<Vec<PathBuf>, String> {
        let mut programs = Distribution::second().find(paths)?;
        programs.push(nginx::program()?);
        Ok(programs)
    }

    fn version(&self, programs: &[PathBuf]) -> String {
        let behind = Distribution::second().version(&programs[..1]);
        format!("{} + {behind}", version_of(&programs[1], &["-v"]))
    }

    fn speaks(&self, front: Front) -> bool {
        front == Front::Https
    }

    fn parts(&self, programs: &[PathBuf], setup: Setup<'_>) -> Result<Vec<Part>> {
        let (behind, mut parts) = Distribution::behind(&programs[..1], setup)?;
        let http = format!("upstream behind {{ server 127.0.0.1:{behind}; keepalive 64; }}");
        let server = format!(
            "location / {{\n      auth_basic Registry; auth_basic_user_file {users}; proxy_pass http://behind;\n      \
             proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off;\n      \
             proxy_set_header Connection \"\"; proxy_set_header Authorization \"\";\n      \
             proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr;\n      \
             proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https;\n    }}",
            users = setup.security.users.display(),
        );
        let command = nginx::command(&programs[1], setup, &http, &server)?;
        parts.push(Part { command, port: setup.port });
        Ok(parts)
    }

    fn can(&self, ability: Ability) -> bool {
        matches!(ability, Ability::Manifest | Ability::Blob | Ability::Registry)
    }

    fn syncs(&self) -> &'static str {
        Distribution::second().syncs()
    }
}
