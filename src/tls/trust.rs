//! What to type so that clients trust a certificate that no authority has signed.

use std::fmt::{self, Write as _};
use std::path::Path;

use crate::host::Host;

/// The port that names of images leave out.
const HTTPS: u16 = 443;

/// The lines that make docker, podman and its kin, containerd and the system trust a certificate, for a person to
/// copy. Each stands on its own and can be run as it is.
pub struct Trust<'a> {
    /// Where the certificate is.
    pub certificate: &'a Path,
    /// The hosts that it is for.
    pub hosts: &'a [Host],
    /// The port by which the registry is reached.
    pub port: u16,
}

impl Trust<'_> {
    /// The hosts as clients write them before an image's name. Wildcards are nobody's name.
    fn registries(&self) -> impl Iterator<Item = String> {
        let names = self.hosts.iter().filter(|host| !matches!(host, Host::Name(name) if name.contains('*')));
        names.map(|host| registry(host, self.port))
    }

    /// What each client keeps for itself.
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

/// A registry with HTTPS as clients write it before an image's name: without the usual port, if it is told from the
/// first part of a name by its dots then. Where a client finds the certificates of a registry is named as it names it.
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
            "No authority vouches for this certificate. Each machine that uses the registry has to be told to trust it;"
        )?;
        writeln!(f, "there, as root, with {file} copied from here:")?;
        writeln!(f)?;
        // One that names no host is for none of them.
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

/// A word for a shell, in quotes if it needs them.
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
    fn there_is_a_line_for_each_client_and_host() {
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
    fn a_certificate_for_no_host_can_be_trusted_by_the_whole_system_alone() {
        let text = lines(&[], 5000);
        assert!(text.contains("wharfinger-registry.crt") && !text.contains("docker:"), "{text}");
    }

    #[test]
    fn the_usual_port_is_left_out() {
        assert!(lines(&["a.example"], 443).contains("/etc/docker/certs.d/a.example/ca.crt\n"));
        // docker would look for hub/app on Docker Hub.
        assert!(lines(&["hub"], 443).contains("/etc/docker/certs.d/hub:443/ca.crt\n"));
    }

    #[test]
    fn what_a_shell_would_take_apart_is_quoted() {
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
        assert!(lines(&["::1"], 5000).contains("'/etc/docker/certs.d/[::1]:5000/ca.crt'"));
    }
}
