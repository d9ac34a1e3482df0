//! nginx before a registry.

use std::fs;
use std::net::TcpStream;
use std::path::Path;

use tempfile::TempDir;

use super::{Daemon, PASSWORD, Terminal, free_address};

/// A running nginx, which ends with the test.
pub(crate) struct Nginx {
    daemon: Daemon,
    address: String,
    scratch: TempDir,
}

impl Nginx {
    /// Starts nginx with this file of servers. `addresses` lists replacements: text of the file, and its
    /// substitute. The first port of the file becomes a free one of loopback. A temporary directory replaces
    /// `/etc/nginx`. It has the certificate `server.pem` with `server.key`, made with openssl as the page
    /// shows, and `passwd` with the users `ann` and `bob`.
    pub(crate) fn start(servers: &str, addresses: &[(&str, &str)]) -> Nginx {
        Nginx::start_on(free_address(), servers, addresses)
    }

    /// Starts nginx on this address. nginx does not report a chosen port, so the caller finds a free one
    /// first.
    pub(crate) fn start_on(address: String, servers: &str, addresses: &[(&str, &str)]) -> Nginx {
        let scratch = TempDir::new().expect("a temporary directory");
        let directory = scratch.path().display().to_string();
        Terminal::open().run(&format!(
            "cd {directory}; openssl genrsa -out server.key 2048 2>/dev/null; openssl req -newkey rsa:2048 -nodes \
             -keyout server.key -x509 -days 3650 -out server.pem -subj '/C=CN/ST=state/L=city/O=Co/OU=localhost' \
             2>/dev/null; htpasswd -cb passwd ann '{PASSWORD}' 2>/dev/null; htpasswd -bB passwd bob '{PASSWORD}' \
             2>/dev/null"
        ));
        let listening = servers.split_once("listen ").expect("a server listens on something").1;
        let listening = listening.split([' ', ';']).next().expect("a port");
        let mut servers = servers
            .replacen(&format!("listen {listening}"), &format!("listen {address}"), 1)
            .replace("/etc/nginx/", &format!("{directory}/"));
        for (written, real) in addresses {
            assert!(servers.contains(written), "{written} is not in\n{servers}");
            servers = servers.replace(written, real);
        }
        // The rest of Debian's nginx.conf, with writable directories.
        let configuration = format!(
            "user root; worker_processes 1; daemon off; pid {directory}/pid; error_log stderr info;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n  sendfile on; tcp_nopush on; gzip on; default_type application/octet-stream; access_log off;\n  \
             client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;\n  fastcgi_temp_path \
             {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;\n{servers}\n}}\n"
        );
        let file = scratch.path().join("nginx.conf");
        fs::write(&file, configuration).expect("a configuration file can be written");
        let arguments = ["-c".to_owned(), file.display().to_string(), "-e".to_owned(), "stderr".to_owned()];
        let daemon = Daemon::start(&Terminal::which("nginx"), &arguments, &scratch.path().join("log"));
        daemon.wait_for(|_| TcpStream::connect(&address).ok());
        Nginx { daemon, address, scratch }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns an image name behind nginx, as clients spell it.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// The directory of its certificate and its password file, in place of `/etc/nginx`.
    pub(crate) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Stops nginx. Its files stay until the returned value is dropped.
    pub(crate) fn stop(mut self) -> TempDir {
        self.daemon.stop();
        self.scratch
    }
}
