//! nginx with the same bytes as files: what giving out bytes costs when nothing is asked about them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Ability, Paths, Peer, on_path, version_of};
use crate::client::push::{Image, MANIFEST};

pub(super) struct Nginx;

impl Peer for Nginx {
    fn name(&self) -> &'static str {
        "nginx (files)"
    }

    fn find(&self, _paths: &Paths) -> Result<PathBuf, String> {
        on_path("nginx").ok_or_else(|| "not installed: Debian's package nginx".to_owned())
    }

    fn version(&self, program: &Path) -> String {
        version_of(program, &["-v"])
    }

    fn command(&self, program: &Path, data: &Path, port: u16) -> Result<Command> {
        let state = data.with_extension("nginx");
        fs::create_dir_all(&state)?;
        let config = format!(
            "daemon off; worker_processes auto; pid {state}/pid; error_log stderr error;\n\
             events {{ worker_connections 16384; }}\n\
             http {{\n  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;\n  \
             open_file_cache max=1000;\n  client_body_temp_path {state}/body; proxy_temp_path {state}/proxy;\n  \
             fastcgi_temp_path {state}/fastcgi; uwsgi_temp_path {state}/uwsgi; scgi_temp_path {state}/scgi;\n  \
             server {{\n    listen 127.0.0.1:{port}; root {data};\n    \
             location ~ /manifests/ {{ default_type {MANIFEST}; }}\n    \
             location / {{ default_type application/octet-stream; }}\n  }}\n}}\n",
            state = state.display(),
            data = data.display(),
        );
        let file = state.join("nginx.conf");
        fs::write(&file, config)?;
        let mut command = Command::new(program);
        command.arg("-p").arg(&state).arg("-c").arg(&file).arg("-e").arg("stderr");
        Ok(command)
    }

    fn can(&self, ability: Ability) -> bool {
        matches!(ability, Ability::Manifest | Ability::Blob)
    }

    fn syncs(&self) -> &'static str {
        "takes no pushes"
    }

    fn is_limit(&self) -> bool {
        true
    }

    fn place_image(&self, data: &Path, repository: &str, tag: &str, image: &Image) -> Result<()> {
        let directory = data.join("v2").join(repository);
        fs::create_dir_all(directory.join("manifests"))?;
        fs::create_dir_all(directory.join("blobs"))?;
        fs::write(directory.join("manifests").join(tag), &image.manifest)?;
        for blob in &image.blobs {
            fs::write(directory.join("blobs").join(blob.digest()), blob.to_vec())?;
        }
        // The workers run as another user, and a temporary directory is its owner's alone.
        open_to_all(data)
    }
}

/// Lets other users read what is below, and pass the directories above that are the benchmark's own.
fn open_to_all(data: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for directory in data.ancestors().take(2) {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
