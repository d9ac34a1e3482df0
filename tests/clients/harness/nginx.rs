//! nginx, as operators put it before a registry.

use std::fs;

use tempfile::TempDir;

use super::{Daemon, Terminal};

/// A running nginx, which ends with the test.
pub(crate) struct Nginx {
    _daemon: Daemon,
    address: String,
    _scratch: TempDir,
}

impl Nginx {
    /// Starts one with a server of these directives, which listens with TLS if `tls`. In the directives, `DIR` stands
    /// for its directory, in which the certificate `server.pem` with `server.key` is, made with openssl as the
    /// walk-through does, and the files that `files` names.
    pub(crate) fn start(tls: bool, files: &[(&str, &str)], http: &str, server: &str) -> Nginx {
        let scratch = TempDir::new().expect("a temporary directory");
        let terminal = Terminal::open();
        let directory = scratch.path().display().to_string();
        terminal.run(&format!(
            "openssl req -newkey rsa:2048 -nodes -keyout {directory}/server.key -x509 -days 3650 -out \
             {directory}/server.pem -subj '/C=CN/ST=state/L=city/O=Co/OU=localhost' 2>/dev/null"
        ));
        for (name, content) in files {
            fs::write(scratch.path().join(name), content).expect("a file of nginx can be written");
        }
        // nginx does not say which port it got, so that a free one is found first.
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = format!("127.0.0.1:{}", port.expect("a free port").port());
        let listen = if tls {
            format!(
                "listen {address} ssl; ssl_certificate {directory}/server.pem; ssl_certificate_key \
                 {directory}/server.key;"
            )
        } else {
            format!("listen {address};")
        };
        let configuration = format!(
            "user root; worker_processes 1; daemon off; pid {directory}/pid; error_log stderr info;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n  access_log off; client_max_body_size 0; client_body_temp_path {directory}/body;\n  \
             proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;\n  uwsgi_temp_path \
             {directory}/uwsgi; scgi_temp_path {directory}/scgi;\n{http}\n  server {{\n    {listen}\n{server}\n  }}\n}}\n"
        )
        .replace("DIR", &directory);
        let file = scratch.path().join("nginx.conf");
        fs::write(&file, configuration).expect("a configuration file can be written");
        let arguments = ["-c".to_owned(), file.display().to_string(), "-e".to_owned(), "stderr".to_owned()];
        let daemon = Daemon::start(&Terminal::which("nginx"), &arguments, &scratch.path().join("log"));
        daemon.wait_for(|_| std::net::TcpStream::connect(&address).ok());
        Nginx { _daemon: daemon, address, _scratch: scratch }
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A name behind it, as clients spell it.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}
