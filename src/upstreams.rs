//! Opens the pull-through cache of the configured upstreams.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use hyper::header::HeaderValue;
use oci::{RepositoryName, Tag, TagOrDigest};
use registry::Registry;
use registry::mirror::{
    CacheLimits, FillPolicy, Mirror, MirrorSettings, PushPolicy, UpstreamSettings, WhenUnavailable,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use upstream::{Account, Client, CredentialHelper, CredentialStore, IpVersion, Network, Proxy, Timeouts};

use crate::byte_order_mark;
use crate::config::{BaseUrl, Config, FillChoice, IpChoice, PushChoice, SearchChoice, Unavailable, Upstream};
use crate::tls::client::{self as tls_client, System};

/// Why the upstreams cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("cannot read {}, which `{setting}` of the upstream {name} names", path.display())]
    Unreadable { name: String, setting: &'static str, path: PathBuf, source: io::Error },
    #[error("{}, which `{setting}` of the upstream {name} names, contains no {what}", path.display())]
    Empty { name: String, setting: &'static str, path: PathBuf, what: &'static str },
    #[error(
        "the upstreams {0} and {1} are both marked as `default`; names without an upstream can mean one only"
    )]
    TwoDefaults(String, String),
    #[error("cache.low_mark is more than cache.high_mark; set it to at most \"{}%\"", f64::from(*high) / 100.0)]
    Marks { high: u16 },
    #[error("the address {url} of the upstream {name} has no host")]
    NoHost { name: String, url: String },
    #[error("the certificate or key of the upstream {name} cannot be used")]
    Tls { name: String, source: rustls::Error },
}

/// Facts about a public registry that its clients know without a setting.
struct Known {
    name: &'static str,
    namespace: Option<&'static str>,
    aliases: &'static [&'static str],
    token_hosts: &'static [&'static str],
    /// The server as credential helpers know it.
    helper_server: Option<&'static str>,
    /// The URL of its search, and the host of the registry that it belongs to.
    search: Option<(&'static str, &'static str)>,
}

const KNOWN: &[Known] = &[
    Known {
        name: "docker.io",
        namespace: Some("library"),
        aliases: &["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"],
        token_hosts: &["auth.docker.io"],
        helper_server: Some("https://index.docker.io/v1/"),
        search: Some(("https://index.docker.io", "registry-1.docker.io")),
    },
    Known {
        name: "registry.gitlab.com",
        namespace: None,
        aliases: &[],
        token_hosts: &["gitlab.com"],
        helper_server: None,
        search: None,
    },
    Known {
        name: "lscr.io",
        namespace: None,
        aliases: &[],
        token_hosts: &["ghcr.io"],
        helper_server: None,
        search: None,
    },
    Known {
        name: "nvcr.io",
        namespace: None,
        aliases: &[],
        token_hosts: &["authn.nvidia.com"],
        helper_server: None,
        search: None,
    },
];

/// Opens the cache, if an upstream is configured.
///
/// # Errors
/// [`UpstreamError`].
pub(crate) fn open(registry: &Registry, config: &Config) -> Result<Option<Mirror>, UpstreamError> {
    let settings = read(config)?;
    Ok((!settings.upstreams.is_empty()).then(|| Mirror::new(registry.clone(), settings)))
}

/// Returns the cache with the upstreams of another configuration, and ends the tasks of the old ones.
pub(crate) fn replace(
    mirror: Option<&Mirror>,
    registry: &Registry,
    settings: MirrorSettings,
) -> Option<Mirror> {
    match mirror {
        Some(mirror) if settings.upstreams.is_empty() => {
            mirror.retire();
            None
        }
        Some(mirror) => Some(mirror.with_upstreams(settings)),
        None => (!settings.upstreams.is_empty()).then(|| Mirror::new(registry.clone(), settings)),
    }
}

/// Reads the settings of all upstreams with the files that they name.
///
/// # Errors
/// [`UpstreamError`].
pub(crate) fn read(config: &Config) -> Result<MirrorSettings, UpstreamError> {
    let mut defaults = config.upstream.iter().filter(|upstream| upstream.default);
    if let (Some(first), Some(second)) = (defaults.next(), defaults.next()) {
        return Err(UpstreamError::TwoDefaults(first.name.to_string(), second.name.to_string()));
    }
    let cache = &config.cache;
    let limits =
        CacheLimits { max_bytes: cache.max_bytes, high_mark: cache.high_mark, low_mark: cache.low_mark };
    if limits.low_mark > limits.high_mark {
        return Err(UpstreamError::Marks { high: limits.high_mark });
    }
    let upstreams: Result<Vec<_>, _> = config.upstream.iter().map(settings).collect();
    Ok(MirrorSettings { upstreams: upstreams?, limits })
}

fn settings(upstream: &Upstream) -> Result<UpstreamSettings, UpstreamError> {
    let name = upstream.name.as_str();
    let known = KNOWN.iter().find(|known| known.name == name);
    let namespace = known.and_then(|known| known.namespace).map(str::to_owned);
    let namespace = upstream.namespace.clone().or(namespace);
    let full_name = |path: &str| -> Option<RepositoryName> {
        let full = match &namespace {
            Some(namespace) if !path.contains('/') => format!("{name}/{namespace}/{path}"),
            _ => format!("{name}/{path}"),
        };
        full.parse().ok()
    };
    let mut prefetch = Vec::new();
    for image in &upstream.prefetch {
        let target = image.target.clone().unwrap_or_else(|| TagOrDigest::Tag(Tag::latest()));
        prefetch.extend(full_name(image.repository.as_str()).map(|repository| (repository, target)));
    }
    let when = |choice: Unavailable| match choice {
        Unavailable::Serve => WhenUnavailable::Serve,
        Unavailable::Refuse => WhenUnavailable::Refuse,
    };
    let mut aliases: Vec<String> = upstream.aliases.iter().map(|alias| alias.to_ascii_lowercase()).collect();
    aliases.extend(known.iter().flat_map(|known| known.aliases).map(|alias| (*alias).to_owned()));
    Ok(UpstreamSettings {
        name: name.parse().map_err(|_| no_host(upstream, name))?,
        aliases,
        host: upstream.host.as_ref().map(|host| host.to_ascii_lowercase()),
        client: client(upstream, known, &urls(upstream))?,
        namespace,
        is_default: upstream.default,
        fresh: upstream.fresh,
        when_down: when(upstream.when_down),
        when_gone: when(upstream.when_gone),
        allow: upstream.allow.clone(),
        deny: upstream.deny.clone(),
        complete: upstream.complete.clone(),
        max_bytes: upstream.max_bytes,
        quarantine: upstream.quarantine,
        push: match upstream.push {
            PushChoice::Refuse => PushPolicy::Refuse,
            PushChoice::Overlay => PushPolicy::Overlay,
        },
        fill: match upstream.fill {
            FillChoice::Accounts => FillPolicy::Accounts,
            FillChoice::Granted => FillPolicy::Granted,
            FillChoice::Everyone => FillPolicy::Everyone,
        },
        open_to: upstream.open_to.clone(),
        bandwidth: upstream.bandwidth,
        keep: upstream.keep.clone(),
        prefetch,
        prefetch_interval: upstream.prefetch_interval,
        far_ranges: upstream.far_ranges,
        search: match upstream.search {
            SearchChoice::Cached => None,
            SearchChoice::Upstream => Some(client(upstream, known, &search_urls(upstream, known))?),
        },
    })
}

fn urls(upstream: &Upstream) -> Vec<&str> {
    upstream.url.iter().map(BaseUrl::as_str).collect()
}

/// The URLs of the upstream's search. Docker Hub has it on another host than its registry.
fn search_urls<'a>(upstream: &'a Upstream, known: Option<&Known>) -> Vec<&'a str> {
    let search = known.and_then(|known| known.search);
    urls(upstream)
        .into_iter()
        .map(|url| match search {
            Some((own, host)) if url.ends_with(&format!("://{host}")) => own,
            _ => url,
        })
        .collect()
}

fn client(upstream: &Upstream, known: Option<&Known>, addresses: &[&str]) -> Result<Client, UpstreamError> {
    let mut token_hosts = upstream.token_hosts.clone();
    token_hosts.extend(known.iter().flat_map(|known| known.token_hosts).map(|host| (*host).to_owned()));
    let mut urls = Vec::new();
    for url_text in addresses {
        let url: Uri = url_text.parse().map_err(|_| no_host(upstream, url_text))?;
        let account = account(upstream, known, &url)?;
        let credentials = CredentialStore::with_account(account, token_hosts.clone());
        let url = upstream::Upstream::new(urls.len(), &url, credentials);
        urls.push(url.ok_or_else(|| no_host(upstream, url_text))?);
    }
    let timeouts = Timeouts {
        connect: upstream.connect_timeout,
        read: upstream.read_timeout,
        write: upstream.read_timeout,
    };
    let proxy = upstream.proxy.as_ref().and_then(|url| url.as_str().parse().ok());
    let network = Network {
        // Token servers of public registries need no private address, so their hosts are not listed here.
        private_hosts: Some(upstream.token_hosts.clone()),
        ip: match upstream.ip {
            IpChoice::Any => IpVersion::Any,
            IpChoice::V4 => IpVersion::V4,
            IpChoice::V6 => IpVersion::V6,
        },
        proxy: match proxy {
            Some(url) => Some(Proxy { url, authorization: proxy_authorization(upstream)? }),
            None => None,
        },
    };
    Ok(Client::new(urls, timeouts, tls(upstream)?, &network))
}

fn proxy_authorization(upstream: &Upstream) -> Result<Option<HeaderValue>, UpstreamError> {
    let Some(path) = &upstream.proxy_credentials else { return Ok(None) };
    let credentials = first_line(upstream, "proxy_credentials", path, "user:password")?;
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials)))
        .map_err(|_| empty(upstream, "proxy_credentials", path, "user:password"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn account(upstream: &Upstream, known: Option<&Known>, url: &Uri) -> Result<Account, UpstreamError> {
    if let (Some(user), Some(path)) = (&upstream.username, &upstream.password_file) {
        let password = first_line(upstream, "password_file", path, "password")?;
        return Ok(Account::Password { user: user.clone(), password });
    }
    if let Some(path) = &upstream.identity_token_file {
        return Ok(Account::IdentityToken(first_line(upstream, "identity_token_file", path, "token")?));
    }
    if let Some(command) = &upstream.credential_helper {
        // The helpers of cloud registries read the account or region from the host.
        let host = url.authority().map_or("", hyper::http::uri::Authority::as_str);
        let server = known.and_then(|known| known.helper_server).unwrap_or(host);
        return Ok(Account::Helper(CredentialHelper::new(command, server.to_owned())));
    }
    Ok(Account::None)
}

fn tls(upstream: &Upstream) -> Result<rustls::ClientConfig, UpstreamError> {
    let named = match &upstream.ca {
        Some(path) => certificates(upstream, "ca", path)?,
        None => Vec::new(),
    };
    let identity = match &upstream.client_certificate {
        Some(path) => {
            let chain = certificates(upstream, "client_certificate", path)?;
            let key_path = upstream.client_key.as_ref().unwrap_or(path);
            let pem = read_file(upstream, "client_key", key_path)?;
            let key = PrivateKeyDer::from_pem_slice(byte_order_mark::strip(&pem));
            Some((chain, key.map_err(|_| empty(upstream, "client_key", key_path, "private key"))?))
        }
        None => None,
    };
    let config = tls_client::config_with_identity(named, System::Trusted, identity);
    config.map_err(|source| UpstreamError::Tls { name: upstream.name.to_string(), source })
}

fn certificates(
    upstream: &Upstream,
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, UpstreamError> {
    let pem = read_file(upstream, setting, path)?;
    let pem = byte_order_mark::strip(&pem);
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
    if certificates.is_empty() {
        Err(empty(upstream, setting, path, "certificate"))
    } else {
        Ok(certificates)
    }
}

fn first_line(
    upstream: &Upstream,
    setting: &'static str,
    path: &Path,
    what: &'static str,
) -> Result<String, UpstreamError> {
    let text = read_file(upstream, setting, path)?;
    let text = String::from_utf8_lossy(byte_order_mark::strip(&text)).into_owned();
    match text.lines().next().map(str::trim_end) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(empty(upstream, setting, path, what)),
    }
}

fn read_file(upstream: &Upstream, setting: &'static str, path: &Path) -> Result<Vec<u8>, UpstreamError> {
    std::fs::read(path).map_err(|source| UpstreamError::Unreadable {
        name: upstream.name.to_string(),
        setting,
        path: path.to_owned(),
        source,
    })
}

fn empty(upstream: &Upstream, setting: &'static str, path: &Path, what: &'static str) -> UpstreamError {
    UpstreamError::Empty { name: upstream.name.to_string(), setting, path: path.to_owned(), what }
}

fn no_host(upstream: &Upstream, url: &str) -> UpstreamError {
    UpstreamError::NoHost { name: upstream.name.to_string(), url: url.to_owned() }
}
