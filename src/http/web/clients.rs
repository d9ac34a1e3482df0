//! The commands that pull content, for each client, with the options that plain HTTP or a self-signed
//! certificate needs.

use super::document::Kind;
use super::page::Page;

/// How clients reach the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// HTTPS with a certificate that clients trust.
    Https,
    /// HTTPS with a self-signed certificate.
    SelfSigned,
    /// HTTP on the client's own machine, which docker and podman accept.
    Loopback,
    Http,
}

impl Transport {
    pub(crate) fn of(page: &Page, secure: bool, self_signed: bool) -> Self {
        let host = page.host.split(['/', ':']).next().unwrap_or_default();
        match (secure, self_signed) {
            (true, true) => Self::SelfSigned,
            (true, false) => Self::Https,
            (false, _) if host == "localhost" || host.starts_with("127.") => Self::Loopback,
            (false, _) => Self::Http,
        }
    }
}

pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) command: String,
    /// The translation key of the client's preparation steps.
    pub(crate) trust: Option<&'static str>,
    /// The lines that the explanation introduces.
    pub(crate) trust_lines: Vec<String>,
}

/// Returns the translation key of docker's preparation steps, and their lines.
pub(crate) fn docker_trust(page: &Page, transport: Transport) -> (Option<&'static str>, Vec<String>) {
    let host = page.host.split('/').next().unwrap_or_default();
    match transport {
        Transport::Http => {
            (Some("trust-docker-http"), vec![format!("{{ \"insecure-registries\": [\"{host}\"] }}")])
        }
        Transport::SelfSigned => (Some("trust-certificate"), certificate_lines(host, "/etc/docker/certs.d")),
        Transport::Https | Transport::Loopback => (None, Vec::new()),
    }
}

/// Returns the lines that fetch the self-signed certificate and install it for a client.
fn certificate_lines(host: &str, directory: &str) -> Vec<String> {
    vec![fetch_certificate(host), format!("install -D -m 644 self-signed.pem {directory}/{host}/ca.crt")]
}

fn fetch_certificate(host: &str) -> String {
    format!("curl -k -o self-signed.pem https://{host}/-/certificate")
}

/// Returns the commands for an image: `reference` is `team/app:1.0` or `team/app@sha256:…`.
pub(crate) fn pull(page: &Page, transport: Transport, kind: Kind, reference: &str) -> Vec<Client> {
    let image = format!("{}/{reference}", page.host);
    let host = page.host.split('/').next().unwrap_or_default();
    let plain = transport == Transport::Http;
    let loopback = transport == Transport::Loopback;
    let option = |name: &str, is_needed: bool| if is_needed { format!(" {name}") } else { String::new() };
    let client = |name, command, trust: Option<&'static str>, trust_lines| Client {
        name,
        command,
        trust,
        trust_lines,
    };
    let self_signed = transport == Transport::SelfSigned;
    let with_certificate = |directory: &str| match self_signed {
        true => (Some("trust-certificate"), certificate_lines(host, directory)),
        false => (None, Vec::new()),
    };
    let with_file = || match self_signed {
        true => (Some("trust-fetch"), vec![fetch_certificate(host)]),
        false => (None, Vec::new()),
    };
    match kind {
        Kind::Chart => {
            let (name, version) = reference.rsplit_once(':').unwrap_or((reference, ""));
            let version = if version.is_empty() || reference.contains('@') {
                String::new()
            } else {
                format!(" --version {version}")
            };
            let name = name.split('@').next().unwrap_or(name);
            let options = format!(
                "{}{}",
                option("--plain-http", plain || loopback),
                option("--ca-file self-signed.pem", self_signed)
            );
            let chart = format!("oci://{}/{name}{version}{options}", page.host);
            let (trust, lines) = with_file();
            vec![
                client("helm pull", format!("helm pull {chart}"), trust, lines.clone()),
                client("helm install", format!("helm install my-release {chart}"), trust, lines),
            ]
        }
        Kind::Image | Kind::Index | Kind::Cache => {
            let (docker_trust, docker_lines) = docker_trust(page, transport);
            let (podman_trust, podman_lines) = with_certificate("/etc/containers/certs.d");
            let (nerdctl_trust, nerdctl_lines) = with_certificate("/etc/containerd/certs.d");
            vec![
                client("docker", format!("docker pull {image}"), docker_trust, docker_lines),
                client(
                    "podman",
                    format!("podman pull{} {image}", option("--tls-verify=false", plain || loopback)),
                    podman_trust,
                    podman_lines,
                ),
                client(
                    "containerd",
                    format!("nerdctl pull{} {image}", option("--insecure-registry", plain)),
                    nerdctl_trust,
                    nerdctl_lines,
                ),
            ]
        }
        _ => {
            let options = format!(
                "{}{}",
                option("--plain-http", plain || loopback),
                option("--ca-file self-signed.pem", self_signed)
            );
            let (trust, lines) = with_file();
            vec![client("oras", format!("oras pull{options} {image}"), trust, lines)]
        }
    }
}
