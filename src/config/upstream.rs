//! `[[upstream]]`: other registries whose content this one caches.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use accounts::Pattern;
use clap::ValueEnum;
use ipnet::IpNet;
use oci::reference::Reference;
use registry::mirror::Platform;

use super::value::{
    BaseUrl, RawValue, Refused, TableRules, TomlValue, ValueType, base_url, choice, duration, list_of,
    network, optional_path, size_or_unlimited, switch, table, tables, url, word,
};

table! {
    /// Another registry, whose content this one fetches once and keeps.
    Upstream, such as r#"{ name = "docker.io", url = "https://registry-1.docker.io" }"# {
        /// The first part of its repositories' names here: `docker.io/library/ubuntu`. Clients that send `ns`
        /// name it in the same way.
        name: UpstreamName, parsed("a host name such as \"docker.io\"");

        /// Its URL, or a list of URLs with the same content: the first is asked, and the others if it fails.
        url: Vec<BaseUrl>, urls();

        /// Whether names without an upstream mean it, for dockerd's `registry-mirrors`. Repositories of this
        /// registry itself come first for clients with an account, and after the upstream for others. Only
        /// one upstream can have it.
        default: bool = false, switch();

        /// The user for the upstream. Clients' own credentials never go there.
        username: Option<String> = None, text();

        /// A file with the password or access token of `username` on its first line.
        password_file: Option<PathBuf> = None, optional_path();

        /// A file with an identity token (refresh token), in place of a user and a password.
        identity_token_file: Option<PathBuf> = None, optional_path();

        /// A credential helper of docker, such as `"ecr-login"` or the path of a program, in place of the
        /// others.
        credential_helper: Option<String> = None, text();

        /// Hosts besides the upstream's own that may get the password for a token, or have a private address
        /// as the target of a redirect.
        token_hosts: Vec<String> = Vec::new(), list_of(word());

        /// A PEM file with certificates to trust, in addition to those of the system.
        ca: Option<PathBuf> = None, optional_path();

        /// A PEM file with the client certificate for the upstream.
        client_certificate: Option<PathBuf> = None, optional_path();

        /// A PEM file with the key of that certificate; by default the same file.
        client_key: Option<PathBuf> = None, optional_path();

        /// An HTTP proxy for the upstream, which gets CONNECT requests.
        proxy: Option<BaseUrl> = None, base_url();

        /// A file with one line, `user:password`, for that proxy.
        proxy_credentials: Option<PathBuf> = None, optional_path();

        /// The version of IP: `"any"`, `"4"` or `"6"`.
        ip: IpChoice = IpChoice::Any, choice::<IpChoice>();

        /// The timeout for a connection.
        connect_timeout: Duration = Duration::from_secs(5), duration();

        /// The timeout for an answer to begin, and for each next byte.
        read_timeout: Duration = Duration::from_secs(60), duration();

        /// The namespace of names with one part; `"library"` for docker.io.
        namespace: Option<String> = None, text();

        /// Further values of `ns` that mean this upstream.
        aliases: Vec<String> = Vec::new(), list_of(word());

        /// A host name of this registry that stands for the upstream: all names below it are the upstream's.
        host: Option<String> = None, text();

        /// Patterns of the repositories that may be pulled, as the upstream names them: `"library/*"`. Empty
        /// allows all.
        allow: Vec<Pattern> = Vec::new(), list_of(parsed("a pattern such as \"library/*\""));

        /// Patterns of the repositories that may not be pulled.
        deny: Vec<Pattern> = Vec::new(), list_of(parsed("a pattern such as \"library/*\""));

        /// Networks whose clients pull and fetch without an account. Their credentials are ignored: clients
        /// of a mirror send those of other registries.
        open_to: Vec<IpNet> = Vec::new(), list_of(network());

        /// The clients for which this registry fetches missing content: `"accounts"` with the right to pull,
        /// accounts to which the right `fill` is `"granted"`, or `"everyone"` who may pull. Without accounts
        /// it is everyone.
        fill: FillChoice = FillChoice::Accounts, choice::<FillChoice>();

        /// How long a tag is served without asking the upstream. 0 asks each time.
        fresh: Duration = Duration::from_secs(5 * 60), duration().or_none();

        /// The use of kept tags while the upstream does not answer: `"serve"` or `"refuse"`. By digest they
        /// are always served.
        when_down: Unavailable = Unavailable::Serve, choice::<Unavailable>();

        /// The use of kept tags that the upstream has deleted: `"serve"` or `"refuse"`.
        when_gone: Unavailable = Unavailable::Serve, choice::<Unavailable>();

        /// Holds back a new digest of a tag for this time, such as `"7d"`, as protection against a poisoned
        /// tag. Until then the old digest is served, or 403.
        quarantine: Duration = Duration::ZERO, duration().or_none();

        /// Platforms that are fetched in the background when an index is pulled, such as `["linux/amd64"]`.
        complete: Vec<Platform> = Vec::new(), list_of(parsed("a platform such as \"linux/amd64\""));

        /// Images that are fetched on a schedule: `["ubuntu:24.04", "grafana/grafana:12.0.0"]`.
        prefetch: Vec<Reference> = Vec::new(), list_of(parsed("an image such as \"library/ubuntu:24.04\""));

        /// The period of that schedule.
        prefetch_interval: Duration = Duration::from_secs(24 * 60 * 60), duration().at_least(Duration::from_secs(60));

        /// Patterns of repositories that are never evicted.
        keep: Vec<Pattern> = Vec::new(), list_of(parsed("a pattern such as \"library/*\""));

        /// The limit of its cached content, or `"unlimited"`. The images that were pulled longest ago are
        /// evicted; `cache.max_bytes` limits all upstreams together.
        max_bytes: Option<u64> = None, size_or_unlimited();

        /// The bytes per second for all downloads from it together, or `"unlimited"`.
        bandwidth: Option<u64> = None, size_or_unlimited();

        /// Fetch a range that lies far beyond the received bytes of a layer by a second request, so that its
        /// client need not wait. Such a range is not verified here; the layer is.
        far_ranges: bool = false, switch();

        /// The search of its repositories: `"cached"` finds what is kept here, `"upstream"` also asks the
        /// upstream's own search (`/v1/search`), which Docker Hub has.
        search: SearchChoice = SearchChoice::Cached, choice::<SearchChoice>();

        /// The treatment of pushes below its name: `"refuse"`, or `"overlay"` to keep them here. A pushed tag
        /// then hides the upstream's.
        push: PushChoice = PushChoice::Refuse, choice::<PushChoice>();
    }
}

/// The version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IpChoice {
    /// Both
    Any,
    /// IPv4
    #[value(name = "4")]
    V4,
    /// IPv6
    #[value(name = "6")]
    V6,
}

/// The clients for which missing content is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FillChoice {
    /// Accounts that may pull
    Accounts,
    /// Accounts with the right
    Granted,
    /// Everyone who may pull
    Everyone,
}

/// The use of a kept tag without a confirmation of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Unavailable {
    /// Serve the kept tag
    Serve,
    /// Refuse
    Refuse,
}

/// Where to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SearchChoice {
    /// The repositories that are kept here
    Cached,
    /// Also the upstream's own search
    Upstream,
}

/// The treatment of pushes below the name of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PushChoice {
    /// Refuse them
    Refuse,
    /// Keep them here
    Overlay,
}

/// The name of an upstream: one component of a repository name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamName(String);

impl UpstreamName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UpstreamName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if oci::name::is_component(text) && text.len() < 128 {
            return Ok(Self(text.to_owned()));
        }
        Err("it is a part of repository names: a-z and 0-9, joined by `.`, `_` or `-`, without a port")
    }
}

impl fmt::Display for UpstreamName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TableRules for Upstream {
    const UNIQUE: &'static str = "name";

    fn check(&self) -> Result<(), (&'static str, String)> {
        let accounts = [
            ("password_file", self.password_file.is_some()),
            ("identity_token_file", self.identity_token_file.is_some()),
            ("credential_helper", self.credential_helper.is_some()),
        ];
        let mut given = accounts.iter().filter(|(_, is_given)| *is_given).map(|(key, _)| *key);
        if let (Some(first), Some(second)) = (given.next(), given.next()) {
            return Err((second, format!("`{first}` and `{second}` exclude each other")));
        }
        match (&self.username, &self.password_file) {
            (Some(_), None) => return Err(("username", "`username` needs a `password_file`".to_owned())),
            (None, Some(_)) => {
                return Err(("password_file", "`password_file` needs a `username`".to_owned()));
            }
            _ => {}
        }
        if self.proxy.as_ref().is_some_and(|url| !url.as_str().starts_with("http://")) {
            let text = "`proxy` begins with http://; inside its tunnel, an https:// upstream has TLS";
            return Err(("proxy", text.to_owned()));
        }
        if self.proxy_credentials.is_some() && self.proxy.is_none() {
            return Err(("proxy_credentials", "`proxy_credentials` needs a `proxy`".to_owned()));
        }
        if self.client_key.is_some() && self.client_certificate.is_none() {
            return Err(("client_key", "`client_key` needs a `client_certificate`".to_owned()));
        }
        if self.url.is_empty() {
            return Err(("url", "`url` names no address".to_owned()));
        }
        Ok(())
    }
}

impl Upstream {
    /// Whether the table names files, such as a password or certificates.
    #[must_use]
    pub fn has_files(&self) -> bool {
        [&self.password_file, &self.identity_token_file, &self.ca, &self.client_certificate, &self.client_key]
            .into_iter()
            .any(Option::is_some)
    }

    /// Reads the argument `NAME=URL` of `--upstream`. Several URLs are separated by commas.
    ///
    /// # Errors
    /// A text for the user.
    pub fn from_argument(argument: &str) -> Result<Self, String> {
        let expected = || "expected NAME=URL, such as docker.io=https://registry-1.docker.io".to_owned();
        let (name, url) = argument.split_once('=').ok_or_else(expected)?;
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let list: Vec<String> = url.split(',').map(|url| quoted(url.trim())).collect();
        let text = format!("[{{ name = {}, url = [{}] }}]", quoted(name.trim()), list.join(", "));
        let read = tables::<Self>().read(&RawValue::Text(text));
        let read = read.map_err(|refused| refused.part.map_or_else(expected, |part| part.wrong))?;
        read.into_iter().next().ok_or_else(expected)
    }
}

/// A value that is parsed from text.
fn parsed<T>(expects: &'static str) -> Parsed<T> {
    Parsed(expects, PhantomData)
}

struct Parsed<T>(&'static str, PhantomData<T>);

impl<T> ValueType<T> for Parsed<T>
where
    T: FromStr<Err: fmt::Display> + fmt::Display,
{
    fn read(&self, raw: &RawValue) -> Result<T, Refused> {
        let text = raw.text().ok_or_else(Refused::default)?;
        text.parse().map_err(|error: T::Err| Refused::because(error.to_string()))
    }

    fn write(&self, value: &T) -> TomlValue {
        TomlValue::String(value.to_string())
    }

    fn expects(&self) -> String {
        self.0.to_owned()
    }
}

/// Text, or `""` for none.
fn text() -> Text {
    Text
}

struct Text;

impl ValueType<Option<String>> for Text {
    fn read(&self, raw: &RawValue) -> Result<Option<String>, Refused> {
        let text = raw.text().ok_or_else(Refused::default)?;
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    fn write(&self, value: &Option<String>) -> TomlValue {
        TomlValue::String(value.clone().unwrap_or_default())
    }

    fn expects(&self) -> String {
        "text, or \"\" for none".to_owned()
    }
}

/// One URL as text, or a list of URLs.
fn urls() -> Urls {
    Urls
}

struct Urls;

impl ValueType<Vec<BaseUrl>> for Urls {
    fn read(&self, raw: &RawValue) -> Result<Vec<BaseUrl>, Refused> {
        match raw {
            RawValue::List(_) => list_of(url()).read(raw),
            _ => url().read(raw).map(|url| vec![url]),
        }
    }

    fn write(&self, value: &Vec<BaseUrl>) -> TomlValue {
        match value.as_slice() {
            [one] => url().write(one),
            _ => list_of(url()).write(value),
        }
    }

    fn expects(&self) -> String {
        "an address such as \"https://registry-1.docker.io\", or a list of addresses".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Upstream>, Refused> {
        tables().read(&RawValue::Text(text.to_owned()))
    }

    fn wrong(members: &str) -> String {
        let refused = read(&format!("[{{ {members} }}]")).unwrap_err();
        refused.part.map(|part| part.wrong).unwrap_or_default()
    }

    #[test]
    fn upstreams_are_written_as_they_are_read() {
        let text = r#"[{ name = "docker.io", url = "https://registry-1.docker.io", default = true, allow = ["library/*"], open_to = ["10.0.0.0/8"], fresh = "0s", quarantine = "168h", complete = ["linux/amd64"], prefetch = ["library/ubuntu:24.04"] }, { name = "ghcr.io", url = ["https://a.example", "https://b.example"] }]"#;
        let upstreams = read(text).unwrap();
        assert_eq!(upstreams[0].quarantine, Duration::from_secs(7 * 24 * 60 * 60));
        assert_eq!(upstreams[1].url.len(), 2);
        assert_eq!(tables().write(&upstreams).to_string(), text);
    }

    #[test]
    fn invalid_upstream_is_rejected() {
        assert_eq!(wrong(r#"name = "docker.io""#), "`url` is missing");
        assert!(wrong(r#"name = "docker.io:5000", url = "http://r""#).starts_with("`name` is "));
        assert!(wrong(r#"name = "a", url = "ftp://r""#).starts_with("`url` is "));
        assert!(wrong(r#"name = "a", url = "http://r", when_down = "wait""#).contains("serve"));
        let name = r#"name = "a", url = "http://r""#;
        assert!(wrong(&format!(r#"{name}, username = "u""#)).contains("password_file"));
        assert!(
            wrong(&format!(r#"{name}, identity_token_file = "t", credential_helper = "h""#))
                .contains("exclude")
        );
        assert!(wrong(&format!(r#"{name}, complete = ["linux"]"#)).contains("linux/amd64"));
        assert!(wrong(&format!(r#"{name}, proxy = "https://p:3128""#)).contains("begins with http://"));
        let twice = read(&format!("[{{ {name} }}, {{ {name} }}]")).unwrap_err();
        assert_eq!(twice.part.unwrap().wrong, r#"two tables have the name "a""#);
    }

    #[test]
    fn argument_is_a_name_and_a_url() {
        let upstream = Upstream::from_argument("docker.io=http://127.0.0.1:5001").unwrap();
        assert_eq!(
            (upstream.name.as_str(), upstream.url[0].as_str()),
            ("docker.io", "http://127.0.0.1:5001")
        );
        for argument in ["docker.io", "docker.io=", "=http://r", "docker.io=r"] {
            assert!(Upstream::from_argument(argument).is_err(), "{argument}");
        }
    }
}
