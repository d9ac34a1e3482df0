//! The commands that pull content, for each client, with the options that plain HTTP or a self-signed certificate
//! needs.

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

/// A client and its lines.
pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) command: String,
    /// The key of an explanation of what the client needs before.
    pub(crate) trust: Option<&'static str>,
    /// The lines that the explanation introduces.
    pub(crate) trust_lines: Vec<String>,
}

/// Returns the commands for an image: `reference` is `team/app:1.0` or `team/app@sha256:…`.
pub(crate) fn pull(page: &Page, transport: Transport, kind: Kind, reference: &str) -> Vec<Client> {
    let image = format!("{}/{reference}", page.host);
    let host = page.host.split('/').next().unwrap_or_default();
    let plain = transport == Transport::Http;
    let loopback = transport == Transport::Loopback;
    let option = |name: &str, is_needed: bool| if is_needed { format!(" {name}") } else { String::new() };
    let certificate = |path: &str| format!("install -D -m 644 self-signed.pem {path}");
    let fetch = format!("curl -k -o self-signed.pem https://{host}/-/certificate");
    let client = |name, command, trust: Option<&'static str>, trust_lines| Client {
        name,
        command,
        trust,
        trust_lines,
    };
    let self_signed = transport == Transport::SelfSigned;
    let with_certificate = |path: String| match self_signed {
        true => (Some("trust-certificate"), vec![fetch.clone(), certificate(&path)]),
        false => (None, Vec::new()),
    };
    let with_file = || match self_signed {
        true => (Some("trust-fetch"), vec![fetch.clone()]),
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
            let (docker_trust, docker_lines) = match transport {
                Transport::Http => {
                    (Some("trust-docker-http"), vec![format!("{{ \"insecure-registries\": [\"{host}\"] }}")])
                }
                _ => with_certificate(format!("/etc/docker/certs.d/{host}/ca.crt")),
            };
            let (podman_trust, podman_lines) =
                with_certificate(format!("/etc/containers/certs.d/{host}/ca.crt"));
            let (nerdctl_trust, nerdctl_lines) =
                with_certificate(format!("/etc/containerd/certs.d/{host}/ca.crt"));
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
