//! `wharfinger mirror setup`: prints or writes the files that make a client use this registry as its mirror.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use reqwest::Url;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::output::{self, Failure, Format};
use crate::config::UpstreamName;

/// Print or write a client's files for this mirror
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Setup {
    /// The client
    #[arg(long = "for", value_name = "CLIENT", value_enum)]
    client: Client,

    /// The URL of this registry, as the client reaches it
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5000", value_parser = registry_url)]
    registry: Url,

    /// The upstream to mirror; may be repeated
    #[arg(long, value_name = "NAME", default_value = "docker.io")]
    upstream: Vec<UpstreamName>,

    /// A PEM file with the certificate of this registry, if the client does not trust it yet
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Write the files instead of printing them. A file that something else wrote stays: the command adds to
    /// daemon.json, and refuses to replace the others
    #[arg(long)]
    write: bool,

    /// The directory that stands for / when files are written or named
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
docker mirrors docker.io only, through its registry-mirrors; the upstream needs `default = true` in the registry. Other \
clients name the upstream in each request or path. If the mirror does not answer, every client goes on to the original \
registry.

Examples:
  wharfinger mirror setup --for containerd --registry https://r.example.com \\
    --upstream docker.io --upstream ghcr.io
  wharfinger mirror setup --for docker --registry https://r.example.com \\
    --write
      then: systemctl restart docker

Exit codes: 0 success; 1 failure; 2 invalid command line.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Client {
    /// The Docker engine
    Docker,
    /// containerd, nerdctl, and Kubernetes on it
    Containerd,
    /// podman, buildah and skopeo
    Podman,
    /// BuildKit and buildx
    Buildkit,
    /// k3s and RKE2
    K3s,
    /// CRI-O
    #[value(name = "cri-o")]
    CriO,
}

#[derive(Debug, PartialEq, Serialize)]
struct ClientFile {
    path: PathBuf,
    content: String,
}

/// The mirror, as the files name it.
struct Mirror<'a> {
    url: String,
    /// Host and port.
    host: String,
    is_plain: bool,
    upstreams: &'a [UpstreamName],
    /// The certificate to trust, and its path on the client.
    ca: Option<String>,
    /// The directory of k3s or RKE2.
    rancher: &'static str,
}

/// The first line of a file that this command may replace.
const MARK: &str = "# Written by `wharfinger mirror setup`, which may replace this file.\n";

impl Setup {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (scheme, host) = (self.registry.scheme(), self.registry.host_str().unwrap_or_default());
        if !matches!(scheme, "http" | "https") || host.is_empty() || self.registry.path() != "/" {
            return Err(Failure::usage(format!("{} is not the URL of a registry", self.registry))
                .help("write scheme, host and port, as in --registry https://registry.example.com"));
        }
        if self.client == Client::Docker && self.upstream.iter().any(|name| name.as_str() != "docker.io") {
            return Err(Failure::usage("the Docker engine mirrors docker.io only")
                .help("pull the images of other upstreams by their names here: HOST/ghcr.io/…"));
        }
        let host = match self.registry.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let ca = self.ca.as_ref().map(|path| {
            std::fs::read_to_string(path)
                .map_err(|error| Failure::new(format!("cannot read {}", path.display())).because(&error))
        });
        let mirror = Mirror {
            url: format!("{scheme}://{host}"),
            host,
            is_plain: scheme == "http",
            upstreams: &self.upstream,
            ca: ca.transpose()?,
            rancher: rancher_directory(&self.root),
        };
        let existing = |path: &str| read_existing(&below(&self.root, path));
        let mut files = files(self.client, &mirror, existing)?;
        for file in &mut files {
            file.path = below(&self.root, &file.path.to_string_lossy());
        }
        if self.write {
            for file in &files {
                check_own(file)?;
            }
            for file in &files {
                write(&file.path, &file.content).map_err(|error| {
                    Failure::new(format!("cannot write {}", file.path.display())).because(&error)
                })?;
            }
        }
        if self.format.json {
            return output::print_json(&files);
        }
        for file in &files {
            if self.write {
                output::print(format_args!("wrote {}\n", file.path.display()))?;
            } else {
                output::print(format_args!("# {}\n{}\n", file.path.display(), file.content))?;
            }
        }
        output::remark(format_args!("{}\n", next_step(self.client)));
        Ok(())
    }
}

fn registry_url(text: &str) -> Result<Url, String> {
    if !text.contains("://") {
        return Err(format!("write it with its scheme, as in https://{text}"));
    }
    text.parse().map_err(|error: <Url as std::str::FromStr>::Err| error.to_string())
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// The directory of RKE2 if only that is installed, or else that of k3s.
fn rancher_directory(root: &Path) -> &'static str {
    let [k3s, rke2] = ["/etc/rancher/k3s", "/etc/rancher/rke2"];
    if below(root, rke2).is_dir() && !below(root, k3s).is_dir() { rke2 } else { k3s }
}

/// Reads a file that may be absent.
fn read_existing(path: &Path) -> Result<String, Failure> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new(format!("cannot read {}", path.display())).because(&error))
        }
        read => Ok(read.unwrap_or_default()),
    }
}

/// Refuses to replace settings that something else wrote.
fn check_own(file: &ClientFile) -> Result<(), Failure> {
    let existing = read_existing(&file.path)?;
    if !file.content.starts_with(MARK) || existing.starts_with(MARK) || existing.trim().is_empty() {
        return Ok(());
    }
    let path = file.path.display();
    Err(Failure::new(format!("{path} has settings that this command did not write; nothing was changed"))
        .help("without --write it prints the lines: add them to that file"))
}

/// Writes a file whole: a client never reads half of it. An existing file keeps its permissions.
fn write(path: &Path, content: &str) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    let partial = path.with_extension("wharfinger.new");
    let mut file = std::fs::File::create(&partial)?;
    if let Ok(existing) = std::fs::metadata(path) {
        file.set_permissions(existing.permissions())?;
    }
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(partial, path)
}

fn next_step(client: Client) -> &'static str {
    match client {
        Client::Docker => "restart the engine: systemctl restart docker",
        Client::Containerd => {
            "containerd reads this directory if its config_path is \"/etc/containerd/certs.d\"; no restart is needed"
        }
        Client::Podman => "the next pull uses it",
        Client::Buildkit => "restart buildkitd; for buildx: docker buildx create --buildkitd-config FILE",
        Client::K3s => "restart the service: systemctl restart k3s (or k3s-agent, rke2-server, rke2-agent)",
        Client::CriO => "reload the service: systemctl reload crio",
    }
}

/// Returns the files of a client. `existing` reads a file that may be there.
fn files(
    client: Client,
    mirror: &Mirror<'_>,
    existing: impl Fn(&str) -> Result<String, Failure>,
) -> Result<Vec<ClientFile>, Failure> {
    let file = |path: &str, content: String| ClientFile { path: path.into(), content };
    let mut files = Vec::new();
    match client {
        Client::Docker => {
            const PATH: &str = "/etc/docker/daemon.json";
            files.push(file(PATH, daemon_json(mirror, PATH, &existing(PATH)?)?));
            files.extend(trust_directory("/etc/docker/certs.d", mirror));
        }
        Client::Containerd => {
            for upstream in mirror.upstreams {
                let directory = format!("/etc/containerd/certs.d/{upstream}");
                let mut content = format!(
                    "{MARK}server = \"{}\"\n\n[host.\"{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n",
                    original(upstream),
                    mirror.url
                );
                if let Some(ca) = &mirror.ca {
                    content.push_str("  ca = \"wharfinger-ca.crt\"\n");
                    files.push(file(&format!("{directory}/wharfinger-ca.crt"), ca.clone()));
                }
                files.push(file(&format!("{directory}/hosts.toml"), content));
            }
        }
        Client::Podman | Client::CriO => {
            files.push(file("/etc/containers/registries.conf.d/50-wharfinger.conf", registries_conf(mirror)));
            files.extend(trust_directory("/etc/containers/certs.d", mirror));
        }
        Client::Buildkit => {
            let mut content = MARK.to_owned();
            for upstream in mirror.upstreams {
                content
                    .push_str(&format!("[registry.\"{upstream}\"]\n  mirrors = [\"{}\"]\n\n", mirror.host));
            }
            content.push_str(&format!("[registry.\"{}\"]\n", mirror.host));
            if mirror.is_plain {
                content.push_str("  http = true\n");
            }
            if let Some(ca) = &mirror.ca {
                content.push_str("  ca = [\"/etc/buildkit/wharfinger-ca.crt\"]\n");
                files.push(file("/etc/buildkit/wharfinger-ca.crt", ca.clone()));
            }
            files.push(file("/etc/buildkit/buildkitd.toml", content));
        }
        Client::K3s => {
            let mut content = format!("{MARK}mirrors:\n");
            for upstream in mirror.upstreams {
                content.push_str(&format!("  {upstream}:\n    endpoint:\n      - \"{}\"\n", mirror.url));
            }
            if let Some(ca) = &mirror.ca {
                content.push_str(&format!(
                    "configs:\n  \"{}\":\n    tls:\n      ca_file: {}/wharfinger-ca.crt\n",
                    mirror.host, mirror.rancher
                ));
                files.push(file(&format!("{}/wharfinger-ca.crt", mirror.rancher), ca.clone()));
            }
            files.push(file(&format!("{}/registries.yaml", mirror.rancher), content));
        }
    }
    Ok(files)
}

/// The address of the original registry, to which containerd goes on.
fn original(upstream: &UpstreamName) -> String {
    match upstream.as_str() {
        "docker.io" => "https://registry-1.docker.io".to_owned(),
        name => format!("https://{name}"),
    }
}

/// Adds the mirror to the engine's settings, and leaves all others as they are.
fn daemon_json(mirror: &Mirror<'_>, path: &str, existing: &str) -> Result<String, Failure> {
    let mut settings: Value = if existing.trim().is_empty() {
        json!({})
    } else {
        serde_json::from_str(existing)
            .map_err(|error| Failure::new(format!("{path} is not JSON")).because(&error))?
    };
    let Some(members) = settings.as_object_mut() else {
        return Err(Failure::new(format!("{path} is not a JSON object")));
    };
    let mut add = |key: &str, value: &str| {
        let list = members.entry(key).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut()
            && !list.iter().any(|item| item == value)
        {
            list.insert(0, json!(value));
        }
    };
    add("registry-mirrors", &mirror.url);
    if mirror.is_plain {
        add("insecure-registries", &mirror.host);
    }
    let text = serde_json::to_string_pretty(&settings).map_err(|error| Failure::new(error.to_string()))?;
    Ok(text + "\n")
}

/// The mirrors of podman and CRI-O. They send no namespace, so the path has it.
fn registries_conf(mirror: &Mirror<'_>) -> String {
    let mut content = MARK.to_owned();
    for upstream in mirror.upstreams {
        content.push_str(&format!(
            "[[registry]]\nprefix = \"{upstream}\"\nlocation = \"{upstream}\"\n\n[[registry.mirror]]\nlocation = \
             \"{}/{upstream}\"\n",
            mirror.host
        ));
        if mirror.is_plain {
            content.push_str("insecure = true\n");
        }
        content.push('\n');
    }
    content
}

/// The certificate in the directory where docker and podman look for it.
fn trust_directory(directory: &str, mirror: &Mirror<'_>) -> Option<ClientFile> {
    let ca = mirror.ca.clone()?;
    Some(ClientFile { path: format!("{directory}/{}/ca.crt", mirror.host).into(), content: ca })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(client: Client, url: &str, existing: &str, ca: Option<&str>) -> Vec<(String, String)> {
        let (scheme, host) = url.split_once("://").unwrap();
        let upstreams = ["docker.io".parse().unwrap()];
        let mirror = Mirror {
            url: url.to_owned(),
            host: host.to_owned(),
            is_plain: scheme == "http",
            upstreams: &upstreams,
            ca: ca.map(str::to_owned),
            rancher: "/etc/rancher/k3s",
        };
        let files = files(client, &mirror, |_| Ok(existing.to_owned()));
        let files = files.unwrap_or_else(|_| panic!("no files"));
        files.into_iter().map(|file| (file.path.display().to_string(), file.content)).collect()
    }

    #[test]
    fn docker_settings_keep_other_keys() {
        let existing = r#"{"debug": true, "registry-mirrors": ["https://other"]}"#;
        let files = content(Client::Docker, "http://m:5000", existing, None);
        let settings: Value = serde_json::from_str(&files[0].1).unwrap();
        assert_eq!(settings["debug"], true);
        assert_eq!(settings["registry-mirrors"], json!(["http://m:5000", "https://other"]));
        assert_eq!(settings["insecure-registries"], json!(["m:5000"]));
        let again = content(Client::Docker, "http://m:5000", &files[0].1, None);
        assert_eq!(again, files);
    }

    #[test]
    fn trust_is_included() {
        for client in
            [Client::Docker, Client::Containerd, Client::Podman, Client::Buildkit, Client::K3s, Client::CriO]
        {
            let files = content(client, "https://m", "", Some("PEM"));
            assert!(
                files.iter().any(|(path, content)| path.ends_with(".crt") && content == "PEM"),
                "{client:?}"
            );
        }
    }

    #[test]
    fn files_of_others_are_not_replaced() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("buildkitd.toml");
        let own = || ClientFile { path: path.clone(), content: format!("{MARK}[registry]\n") };
        assert!(check_own(&own()).is_ok(), "there is none");
        std::fs::write(&path, "[worker.oci]\n  gc = true\n").unwrap();
        check_own(&own()).unwrap_err();
        std::fs::write(&path, format!("{MARK}old = 1\n")).unwrap();
        check_own(&own()).unwrap();
    }

    #[test]
    fn rke2_has_a_directory_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(rancher_directory(root.path()), "/etc/rancher/k3s");
        std::fs::create_dir_all(root.path().join("etc/rancher/rke2")).unwrap();
        assert_eq!(rancher_directory(root.path()), "/etc/rancher/rke2");
        std::fs::create_dir(root.path().join("etc/rancher/k3s")).unwrap();
        assert_eq!(rancher_directory(root.path()), "/etc/rancher/k3s");
    }

    #[test]
    fn toml_files_are_valid() {
        for client in [Client::Containerd, Client::Podman, Client::Buildkit] {
            for (path, content) in content(client, "http://m:5000", "", Some("PEM")) {
                assert!(
                    path.ends_with(".crt") || content.parse::<toml::Table>().is_ok(),
                    "{path}: {content}"
                );
            }
        }
    }
}
