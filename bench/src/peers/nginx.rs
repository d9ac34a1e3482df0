//! nginx with the same bytes as files: what giving out bytes costs when nothing is asked about them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Ability, FILES, Front, Part, Paths, Peer, Setup, alone, on_path, version_of};
use crate::client::push::{Image, MANIFEST};

pub(super) struct Nginx;

impl Peer for Nginx {
    fn name(&self) -> &'static str {
        FILES
    }

    fn find(&self, _paths: &Paths) -> Result<Vec<PathBuf>, String> {
        Ok(vec![program()?])
    }

    fn version(&self, programs: &[PathBuf]) -> String {
        version_of(&programs[0], &["-v"])
    }

    fn speaks(&self, front: Front) -> bool {
        // 1.22 takes HTTP/1.1 and HTTP/2 on one port only where TLS tells which it is.
        matches!(front, Front::Plain | Front::Https)
    }

    fn parts(&self, programs: &[PathBuf], setup: Setup<'_>) -> Result<Vec<Part>> {
        let http = "sendfile on; tcp_nopush on; open_file_cache max=1000;";
        let locations = format!(
            "root {data}; location ~ /manifests/ {{ default_type {MANIFEST}; }}\n    \
             location / {{ default_type application/octet-stream; }}",
            data = setup.data.display(),
        );
        alone(command(&programs[0], setup, http, &locations)?, setup)
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
        Ok(())
    }
}

/// Where the program is.
pub(super) fn program() -> Result<PathBuf, String> {
    on_path("nginx").ok_or_else(|| "not installed: Debian's package nginx".to_owned())
}

/// nginx with these directives, those of every server here besides: no log, and connections that are kept.
pub(super) fn command(program: &Path, setup: Setup<'_>, http: &str, server: &str) -> Result<Command> {
    let state = setup.data.with_extension("nginx");
    fs::create_dir_all(&state)?;
    // The workers run as another user, and a temporary directory is its owner's alone.
    open_to_all(setup.data)?;
    let (listen, tls) = match setup.front {
        // The protocols are those of Debian's own nginx.conf, the ciphers OpenSSL's.
        Front::Https => (
            " ssl http2",
            format!(
                "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.2 TLSv1.3;",
                setup.security.certificate.display(),
                setup.security.key.display()
            ),
        ),
        Front::Plain | Front::ClearHttp2 => ("", String::new()),
    };
    let config = format!(
        "daemon off; worker_processes auto; pid {state}/pid; error_log stderr error;\n\
         events {{ worker_connections 16384; }}\n\
         http {{\n  access_log off; keepalive_requests 1000000000; client_max_body_size 0;\n  {http}\n  \
         client_body_temp_path {state}/body; proxy_temp_path {state}/proxy;\n  \
         fastcgi_temp_path {state}/fastcgi; uwsgi_temp_path {state}/uwsgi; scgi_temp_path {state}/scgi;\n  \
         server {{\n    listen 127.0.0.1:{port}{listen};\n    {tls}\n    {server}\n  }}\n}}\n",
        state = state.display(),
        port = setup.port,
    );
    let file = state.join("nginx.conf");
    fs::write(&file, config)?;
    let mut command = Command::new(program);
    command.arg("-p").arg(&state).arg("-c").arg(&file).arg("-e").arg("stderr");
    Ok(command)
}

/// Lets other users read what is below, and pass the directories above that are the benchmark's own.
fn open_to_all(data: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for directory in data.ancestors().take(2) {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
