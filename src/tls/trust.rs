//! Shell commands that make clients trust a self-signed certificate.

use std::fmt::{self, Write as _};
use std::path::Path;

use reqwest::Url;

use crate::host::Host;

/// The default port, which image names omit.
const HTTPS: u16 = 443;

/// Prints the commands for docker, podman, containerd and the system. Each line can be run on its own.
pub struct Trust<'a> {
    pub certificate: &'a Path,
    pub hosts: &'a [Host],
    pub port: u16,
}

/// Returns hosts and port of a registry as clients see them. Those of its `external_url` come first: its port
/// may be mapped to the one that the server listens on.
#[must_use]
pub fn seen_by_clients(external_url: Option<&str>, hosts: &[Host], port: u16) -> (Vec<Host>, u16) {
    let Some(url) = external_url.and_then(|url| Url::parse(url).ok()) else { return (hosts.to_vec(), port) };
    let host = url.host_str().and_then(|host| host.parse::<Host>().ok());
    // Clients of a host that the certificate lacks refuse it in any case.
    let host = host.filter(|host| hosts.iter().any(|covered| covered.covers(host)));
    let others = hosts.iter().filter(|other| Some(*other) != host.as_ref()).cloned();
    let port = url.port_or_known_default().unwrap_or(port);
    (host.iter().cloned().chain(others).collect(), port)
}

impl Trust<'_> {
    /// The hosts as in image names, without wildcards.
    fn registries(&self) -> impl Iterator<Item = String> {
        let names = self.hosts.iter().filter(|host| !matches!(host, Host::Name(name) if name.contains('*')));
        names.map(|host| registry(host, self.port))
    }

    /// Writes the commands for the trust stores of single clients.
    fn write_clients(&self, f: &mut fmt::Formatter<'_>, file: &str) -> fmt::Result {
        writeln!(f, "docker:")?;
        for registry in self.registries() {
            writeln!(
                f,
                "  install -D -m 644 {file} {}",
                quoted(&format!("/etc/docker/certs.d/{registry}/ca.crt"))
            )?;
        }
        writeln!(f, "podman, buildah, skopeo:")?;
        for registry in self.registries() {
            let ca = format!("/etc/containers/certs.d/{registry}/ca.crt");
            writeln!(f, "  install -D -m 644 {file} {}", quoted(&ca))?;
        }
        writeln!(f, "containerd, nerdctl (config_path = \"/etc/containerd/certs.d\"):")?;
        for registry in self.registries() {
            let directory = format!("/etc/containerd/certs.d/{registry}");
            let ca = format!("{directory}/ca.crt");
            writeln!(f, "  install -D -m 644 {file} {}", quoted(&ca))?;
            let mut hosts = String::new();
            write!(hosts, "[host.\"https://{registry}\"]\\n  ca = \"{ca}\"\\n")?;
            writeln!(f, "  printf '{hosts}' > {}", quoted(&format!("{directory}/hosts.toml")))?;
        }
        Ok(())
    }
}

/// The registry's host and port as in image names. The default port is omitted if a dot makes clear that it
/// is a host. Clients name the directories of their trust stores like this.
#[must_use]
pub fn registry(host: &Host, port: u16) -> String {
    match host {
        Host::Name(name) if port == HTTPS && name.contains('.') => name.clone(),
        Host::Address(address) if port == HTTPS && address.is_ipv4() => address.to_string(),
        host => host.with_port(port),
    }
}

impl fmt::Display for Trust<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = quoted(&self.certificate.display().to_string());
        writeln!(
            f,
            "This certificate is self-signed. Each machine that uses the registry must be configured to trust it:"
        )?;
        writeln!(f, "copy {file} there, and run there as root:")?;
        writeln!(f)?;
        // A certificate without hosts has no directory in these trust stores.
        if self.registries().next().is_some() {
            self.write_clients(f, &file)?;
        }
        writeln!(f, "the whole system (Debian, Ubuntu; restart docker afterwards):")?;
        let name = self.hosts.first().map_or_else(|| "registry".to_owned(), |host| host.to_string());
        let name = name.replace(':', "-").replace("*.", "");
        let installed = quoted(&format!("/usr/local/share/ca-certificates/wharfinger-{name}.crt"));
        writeln!(f, "  install -D -m 644 {file} {installed} && update-ca-certificates")
    }
}

/// Quotes a word for a shell if necessary.
fn quoted(word: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-+:=@,".contains(char);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(hosts: &[&str], port: u16) -> String {
        let hosts: Vec<Host> = hosts.iter().map(|host| host.parse().unwrap()).collect();
        Trust { certificate: Path::new("/srv/r/self-signed.pem"), hosts: &hosts, port }.to_string()
    }

    #[test]
    fn each_client_and_host_has_a_line() {
        let text = lines(&["registry.example.com", "192.0.2.7", "*.example.com"], 5000);
        for line in [
            "  install -D -m 644 /srv/r/self-signed.pem /etc/docker/certs.d/registry.example.com:5000/ca.crt\n",
            "  install -D -m 644 /srv/r/self-signed.pem /etc/docker/certs.d/192.0.2.7:5000/ca.crt\n",
            "  install -D -m 644 /srv/r/self-signed.pem /etc/containers/certs.d/192.0.2.7:5000/ca.crt\n",
            "  printf '[host.\"https://192.0.2.7:5000\"]\\n  ca = \
             \"/etc/containerd/certs.d/192.0.2.7:5000/ca.crt\"\\n' > \
             /etc/containerd/certs.d/192.0.2.7:5000/hosts.toml\n",
            " /usr/local/share/ca-certificates/wharfinger-registry.example.com.crt && update-ca-certificates\n",
        ] {
            assert!(text.contains(line), "{line}\nis not in\n{text}");
        }
        assert!(!text.contains('*'), "{text}");
    }

    #[test]
    fn certificate_without_hosts_has_the_system_line_only() {
        let text = lines(&[], 5000);
        assert!(text.contains("wharfinger-registry.crt") && !text.contains("docker:"), "{text}");
    }

    #[test]
    fn default_port_is_omitted() {
        assert!(lines(&["a.example"], 443).contains("/etc/docker/certs.d/a.example/ca.crt\n"));
        // docker would look for hub/app on Docker Hub.
        assert!(lines(&["hub"], 443).contains("/etc/docker/certs.d/hub:443/ca.crt\n"));
    }

    #[test]
    fn external_url_has_the_first_host_and_the_port() {
        let seen = |url, hosts: &[&str]| {
            let hosts: Vec<Host> = hosts.iter().map(|host| host.parse().unwrap()).collect();
            let (hosts, port) = seen_by_clients(url, &hosts, 5000);
            (hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(","), port)
        };
        let both = ["10.0.0.1", "a.example"];
        assert_eq!(seen(None, &both), ("10.0.0.1,a.example".to_owned(), 5000));
        assert_eq!(seen(Some("https://a.example"), &both), ("a.example,10.0.0.1".to_owned(), 443));
        assert_eq!(
            seen(Some("https://a.example:8443/r"), &["*.example"]),
            ("a.example,*.example".to_owned(), 8443)
        );
        assert_eq!(seen(Some("https://other.example"), &["a.example"]), ("a.example".to_owned(), 443));
        assert_eq!(seen(Some("https://[::1]:5001"), &["::1"]), ("::1".to_owned(), 5001));
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
        assert!(lines(&["::1"], 5000).contains("'/etc/docker/certs.d/[::1]:5000/ca.crt'"));
    }
}
