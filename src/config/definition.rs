//! The definition of every setting. It generates the [`Config`] struct, the keys of the file, the environment
//! variables, the template of `wharfinger config example`, and the list of `wharfinger config check`.
//!
//! A setting is one entry: its description, then `key: type = default, type of the value;`. To add one, write
//! it here and run `wharfinger config example > wharfinger.toml`. An array of tables has the type
//! `tables::<T>()` of `value/tables.rs`. Sections have the name of their field in [`Config`], unless
//! `section_name!` gives another.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, COOKIE, HeaderName};
use ipnet::IpNet;
use registry::rules::Schedule;
use registry::{Redirect, Reserve};

use super::location::Location;
use super::rules::{Immutable, Protected, Quota, Retention};
use super::upstream::Upstream;
use super::value::{
    AcmeChallenge, BaseUrl, BucketUrl, Challenge, DatabaseUrl, DirectoryUrl, Key, LogFormat, RawValue,
    Refused, TomlValue, UpstreamHost, ValueType, WebOrigin, address, base_url, bucket_url, choice, contact,
    count, count_or_unlimited, database_url, directory_url, duration, duration_or_off, header_name, host,
    list_of, log_filter, network, optional_address, optional_path, path, percent, redirect, reserve,
    schedule, size, size_or_unlimited, switch, tables, text_or_none, url, web_origin, word,
};
use super::webhook::Webhook;
use crate::host::Host;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MIB_IN_MEMORY: usize = 1 << 20;

/// One setting, for the code that reads, lists and describes settings.
pub struct Setting {
    /// The section; `None` for settings above the first section.
    pub section: Option<&'static str>,
    pub key: &'static str,
    /// Section and key, as in messages: `limits.manifest_bytes`.
    pub path: &'static str,
    /// The description, in the lines of the source.
    pub description: &'static str,
    /// Stores a raw value in the configuration.
    pub(super) read: fn(&mut Config, &RawValue) -> Result<(), Refused>,
    /// Copies the value from one configuration to another.
    pub(super) copy: fn(&mut Config, &Config),
    /// Whether the value differs between two configurations. The text of a secret would not tell.
    pub(super) differs: fn(&Config, &Config) -> bool,
    /// The value in the syntax of the file.
    pub(super) write: fn(&Config) -> TomlValue,
    /// The accepted values, for messages.
    pub(super) expects: fn() -> String,
    /// The keys of an array of tables; empty for other settings.
    pub(super) keys: fn() -> &'static [Key],
}

/// The settings below one heading of the file.
pub struct Section {
    /// The heading; `None` for the settings above the first one.
    pub name: Option<&'static str>,
    /// The description, in the lines of the source.
    pub description: &'static str,
    pub settings: &'static [Setting],
}

/// The heading of a section: the field of [`Config`], unless it is nested in another section.
macro_rules! section_name {
    (acme) => {
        "tls.acme"
    };
    ($section:ident) => {
        stringify!($section)
    };
}

/// Generates the structs, their defaults and [`SECTIONS`] from the list below.
macro_rules! settings {
    (
        $(#[doc = $root_doc:literal])+
        Config {
            $( $(#[doc = $doc:literal])+ $key:ident : $type:ty = $default:expr, $value:expr; )+
        }
        $(
            $(#[doc = $section_doc:literal])+
            $section:ident: $Section:ident {
                $( $(#[doc = $sdoc:literal])+ $skey:ident : $stype:ty = $sdefault:expr, $svalue:expr; )+
            }
        )+
    ) => {
        $(#[doc = $root_doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $( $(#[doc = $doc])+ pub $key: $type, )+
            $( $(#[doc = $section_doc])+ pub $section: $Section, )+
            /// The file that was read. No setting.
            pub source: Option<PathBuf>,
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $( $key: $default, )+ $( $section: $Section::default(), )+ source: None }
            }
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section {
                $( $(#[doc = $sdoc])+ pub $skey: $stype, )+
            }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $( $skey: $sdefault, )+ }
                }
            }
        )+

        /// Every setting there is, in the order of the template.
        pub static SECTIONS: &[Section] = &[
            Section {
                name: None,
                description: concat!($($root_doc, "\n"),+),
                settings: &[$(
                    Setting {
                        section: None,
                        key: stringify!($key),
                        path: stringify!($key),
                        description: concat!($($doc, "\n"),+),
                        read: |config, raw| {
                            config.$key = $value.read(raw)?;
                            Ok(())
                        },
                        copy: |to, from| to.$key = from.$key.clone(),
                        differs: |one, other| one.$key != other.$key,
                        write: |config| $value.write(&config.$key),
                        expects: || ValueType::<$type>::expects(&$value),
                        keys: || ValueType::<$type>::keys(&$value),
                    },
                )+],
            },
            $(
                Section {
                    name: Some(section_name!($section)),
                    description: concat!($($section_doc, "\n"),+),
                    settings: &[$(
                        Setting {
                            section: Some(section_name!($section)),
                            key: stringify!($skey),
                            path: concat!(section_name!($section), ".", stringify!($skey)),
                            description: concat!($($sdoc, "\n"),+),
                            read: |config, raw| {
                                config.$section.$skey = $svalue.read(raw)?;
                                Ok(())
                            },
                            copy: |to, from| to.$section.$skey = from.$section.$skey.clone(),
                            differs: |one, other| one.$section.$skey != other.$section.$skey,
                            write: |config| $svalue.write(&config.$section.$skey),
                            expects: || ValueType::<$stype>::expects(&$svalue),
                            keys: || ValueType::<$stype>::keys(&$svalue),
                        },
                    )+],
                },
            )+
        ];
    };
}

settings! {
    /// The configuration.
    Config {
        /// The address and port to listen on. `":5000"` is every IPv4 address of this machine, `"[::]:5000"`
        /// every address. Without accounts, only addresses of this machine itself are allowed, unless `open`
        /// is set.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)), address();

        /// The directory for all data: images, tags and the database. Created if it does not exist. A
        /// relative path starts at the working directory.
        data: PathBuf = PathBuf::from("data"), path();

        /// Listen on all addresses even without accounts: everyone who reaches the port may then pull, push,
        /// overwrite and delete. Only for networks where everyone may do so; it has no effect once there is
        /// an account. It also allows to open a data directory whose accounts were removed or lost.
        open: bool = false, switch();

        /// The public URL of the registry, such as `"https://registry.example.com"`. If empty, redirects and
        /// upload URLs are relative, and the token endpoint is at the host that the client requested. Set it
        /// only if these are wrong.
        external_url: Option<BaseUrl> = None, base_url();

        /// Accept HTTP/2 without TLS, for clients that begin with it ("prior knowledge"), such as a proxy on
        /// this machine. HTTP/2 over TLS has the setting `tls.http2`.
        http2_clear: bool = false, switch();

        /// Other registries whose images this one fetches once and keeps (a pull-through cache). An image of
        /// Docker Hub is then pulled as `registry.example.com/docker.io/library/ubuntu`, or without a change
        /// of its name by clients that use this registry as a mirror: `wharfinger mirror setup` writes their
        /// files.
        upstream: Vec<Upstream> = Vec::new(), tables::<Upstream>();
        /// Receivers of events, which get each event at least once and in the order of its repository.
        webhook: Vec<Webhook> = Vec::new(), tables::<Webhook>();

        /// Tags that can neither be moved nor deleted, such as `[{ repositories = "**", tags = ">=1.0" }]`. A
        /// push of the same image succeeds. Rules also apply to administrators.
        immutable: Vec<Immutable> = Vec::new(), tables::<Immutable>();

        /// Tags that only administrators may delete, such as `[{ repositories = "**", tags = "prod-*" }]`.
        protected: Vec<Protected> = Vec::new(), tables::<Protected>();

        /// Limits on space and tags, such as `[{ owner = "ann", bytes = "50GB" }]`. A push beyond a limit is
        /// refused. Content that several repositories of one quota share counts once. At 80 %, a warning is
        /// logged.
        quota: Vec<Quota> = Vec::new(), tables::<Quota>();

        /// Rules that delete old tags, such as `[{ repositories = "ci/**", keep_pulled_within = "30d" }]`.
        /// The first rule that selects a tag decides on it. `wharfinger retention preview` shows the effect.
        retention: Vec<Retention> = Vec::new(), tables::<Retention>();

        /// The time of the retention runs, in the syntax of cron (minute, hour, day, month, day of the week)
        /// and in UTC; empty for none.
        retention_schedule: Option<Schedule> = "0 3 * * *".parse().ok(), schedule();

        /// The time since its last push or pull for which no retention rule deletes a tag.
        retention_minimum_age: Duration = Duration::from_secs(24 * 60 * 60), duration().or_none();
    }

    /// The disk.
    storage: Storage {
        /// The free space that uploads leave: a size, or a part of the disk such as `"5%"`. Uploads beyond it
        /// get 507; pulls and deletions go on. 0 uses the whole disk.
        reserve: Reserve = Reserve::Share(100), reserve();
    }

    /// The place of the blobs: layers, configs and manifests.
    blobs: Blobs {
        /// A bucket for the blobs, such as `"s3://images/registry"`, or a container of Azure,
        /// `"az://images/registry"`. The database stays in the data directory, with the uploads in progress.
        /// Empty for files in the data directory. `wharfinger move` moves a registry that exists.
        url: Option<BucketUrl> = None, bucket_url();

        /// The URL of a server that is not the provider's, such as `"https://s3.example.com"`. Empty for
        /// `AWS_ENDPOINT_URL`, else for Amazon's or Azure's.
        endpoint: Option<BaseUrl> = None, base_url();

        /// The region of the bucket. Empty for `AWS_REGION`, else for `us-east-1`.
        region: String = String::new(), text_or_none();

        /// Whether requests name the bucket in their path. Otherwise it is a part of the host name.
        path_style: bool = true, switch();

        /// The id of the access key, or the account of Azure. Empty for `AWS_ACCESS_KEY_ID` and the other
        /// variables of the provider's tools, else for the role of the machine or the container.
        access_key: String = String::new(), text_or_none();

        /// The file with the secret of the access key.
        secret_key_file: Option<PathBuf> = None, optional_path();

        /// The way to blobs of a bucket. `"never"`: the server sends the blobs. `"always"`: it redirects
        /// clients to a signed URL of the bucket, which they must reach. A list of networks, such as
        /// `["10.0.0.0/8"]`, redirects only their clients. HEAD is never redirected.
        redirect: Redirect = Redirect::Never, redirect();

        /// Whether the links of `repositories/` are also written to the bucket, so that `registry:2` can be
        /// started on it.
        view: bool = false, switch();

        /// The limit of the disk cache of a bucket, in `cache` of the data directory. It keeps small and
        /// repeatedly read blobs, and evicts the least recently used. 0 keeps none.
        cache: u64 = GIB, size();

        /// How often the database is shipped to the bucket. A server with an empty data directory restores it
        /// from there. Changes of up to this time are lost with the machine. With 0, each change waits until
        /// it is in the bucket. The bucket then holds password hashes and keys. `"off"` ships nothing.
        ship_metadata: Option<Duration> = None, duration_or_off();
    }

    /// The place of the metadata: repositories, tags, accounts, rights.
    metadata: Metadata {
        /// A database in PostgreSQL for the metadata, such as
        /// `"postgres://wharfinger@db.example.com/wharfinger?sslmode=verify-full"`. One server uses it, or
        /// several with `cluster.address`. Empty for a file in the data directory. `wharfinger move` moves a
        /// registry that exists.
        url: Option<DatabaseUrl> = None, database_url();

        /// The file with the password of the database's user.
        password_file: Option<PathBuf> = None, optional_path();

        /// The number of connections to PostgreSQL for reads. Each server has up to three more.
        pool_size: usize = 8, count().at_least(1);
    }

    /// Several servers for one registry, with `metadata.url` and `blobs.url`. One of them, the primary, makes
    /// all changes; the others answer pulls, and forward all other requests to it. When it ends, another one
    /// takes its place.
    cluster: Cluster {
        /// The URL at which the other servers reach this one, such as `"http://10.0.0.5:5000"`. Empty for one
        /// server.
        address: Option<BaseUrl> = None, base_url();

        /// A file with certificates that sign those of the other servers, besides the system's.
        ca: Option<PathBuf> = None, optional_path();
    }

    /// Backups of the metadata, made by the server: the database with accounts and keys, certificates that
    /// the server made, and the configuration. Blobs are not in them.
    backup: Backup {
        /// The directory for backups, best on another disk. Empty for none. `wharfinger backup` needs no
        /// setting.
        directory: Option<PathBuf> = None, optional_path();

        /// The time of the backups, in the syntax of cron and in UTC. The next start makes a missed backup.
        schedule: Option<Schedule> = "0 2 * * *".parse().ok(), schedule();

        /// The number of backups to keep. Older ones are removed.
        keep: usize = 7, count().at_least(1);
    }

    /// The log, on standard error.
    log: Log {
        /// The format of a line: `"text"` for people, `"json"` for machines (one object per line).
        format: LogFormat = LogFormat::Text, choice::<LogFormat>();

        /// The level: `"error"`, `"warn"`, `"info"`, `"debug"`, `"trace"` or `"off"`. Parts of the program
        /// can differ, as in `"info,wharfinger::http=debug"`.
        level: String = "info".to_owned(), log_filter();
    }

    /// Metrics for Prometheus. They name no repository, no account and no address.
    metrics: Metrics {
        /// An address and port of its own for `/metrics`, such as `"127.0.0.1:9464"`, over plain HTTP.
        /// Everyone who reaches it may read the metrics. Empty for none: then only administrators may read
        /// them, on the main port, if `listen` is a loopback address.
        listen: Option<SocketAddr> = None, optional_address();
    }

    /// Traces for OpenTelemetry. A span names the path of a request and its id, but no account, address or
    /// query.
    tracing: Tracing {
        /// The URL of a collector that takes OTLP over HTTP (protobuf), such as `"http://127.0.0.1:4318"`.
        /// `/v1/traces` is added to it. Empty for none. Spans that it does not take in time are dropped.
        endpoint: Option<BaseUrl> = None, base_url();

        /// The share of requests that are traced. A request with `traceparent` is traced if its client says
        /// so.
        sample: u16 = 10_000, percent();
    }

    /// Limits for requests and connections, and timeouts.
    limits: Limits {
        /// The largest manifest that can be pushed. Clients may rely on 4 MiB.
        manifest_bytes: usize = 8 * MIB_IN_MEMORY, size().at_least(4 * MIB);

        /// The largest blob (layer) that can be pushed, or `"unlimited"`.
        blob_bytes: Option<u64> = None, size_or_unlimited();

        /// The memory for request bodies that are read whole: manifests, forms, JSON. Each client (an
        /// account, else an address) may use a quarter of it. Further requests wait, and get 503 after 10 s.
        /// If there are accounts, anonymous clients share an eighth as much beside it.
        body_memory: u64 = 64 * MIB, size().at_least(MIB);

        /// The timeout for the head of a request.
        header_timeout: Duration = Duration::from_secs(15), duration();

        /// The timeout for the next byte of a request body.
        body_timeout: Duration = Duration::from_secs(60), duration();

        /// The timeout for a client to receive the next byte of a response.
        write_timeout: Duration = Duration::from_secs(60), duration();

        /// The idle timeout of a connection between requests.
        idle_timeout: Duration = Duration::from_secs(75), duration();

        /// The time for transfers to end when the server is stopped (SIGTERM, Ctrl-C).
        shutdown_timeout: Duration = Duration::from_secs(30), duration().or_none();

        /// The largest number of open connections. Beyond it, the connections that are idle longest are
        /// closed. If none is idle, new connections wait.
        connections: usize = 10_000, count().at_least(1);

        /// The largest number of connections per address. Beyond it, the address's connections that are idle
        /// longest are closed. If none is idle, new ones are refused. An IPv6 /64 network counts as one
        /// address. Proxies in `proxy.trusted` are exempt.
        connections_per_address: usize = 5_000, count().at_least(1);

        /// The largest number of concurrent requests on one HTTP/2 connection.
        streams: usize = 100, count().at_least(1);

        /// The largest size of the head of a request.
        header_bytes: usize = 64 << 10, size().at_least(8 * KIB);

        /// The largest number of header fields in a request.
        headers: usize = 100, count().at_least(16);

        /// The rate limit for an address, in requests per second averaged over some time, or `"unlimited"`.
        /// An IPv6 /64 network counts as one address. Each of several servers counts on its own.
        requests_per_address: Option<usize> = None, count_or_unlimited();

        /// The rate limit for an account, in requests per second averaged over some time, or `"unlimited"`.
        /// Each of several servers counts on its own.
        requests_per_account: Option<usize> = None, count_or_unlimited();

        /// The bytes per second that an address may send and receive, over all its connections, or
        /// `"unlimited"`. Each of several servers counts on its own.
        bandwidth_per_address: Option<u64> = None, size_or_unlimited();

        /// The bytes per second that an account may send and receive, over all its connections, or
        /// `"unlimited"`. Each of several servers counts on its own.
        bandwidth_per_account: Option<u64> = None, size_or_unlimited();

        /// The largest number of entries in a page of the catalog, a tag list or a search.
        page_entries: usize = 1000, count().at_least(1);
    }

    /// Accounts and access. As soon as there is an account, in this registry (`wharfinger user add`) or from
    /// one of these sources, repositories are private unless access is granted.
    auth: Auth {
        /// Refuse to start without an account. Set it behind a proxy: there, an empty volume or a mistyped
        /// `data` would be an open registry. A data directory that has had accounts is never served without
        /// them, unless `open` is set.
        required: bool = false, switch();

        /// A file of users in the format of `htpasswd`: bcrypt (`htpasswd -B`), and the older formats that
        /// nginx accepts. Changes are read automatically. Each user is an account that owns its namespace. An
        /// invalid line is logged as a warning, and its user cannot log in.
        htpasswd: Option<PathBuf> = None, optional_path();

        /// A server of yours that authenticates requests, as in nginx's auth_request: it gets a GET of this
        /// URL with the headers below, X-Original-URI and X-Original-Method. Status 200 names the account in
        /// the header X-Remote-User; 401 and 403 deny access. Without that header, the user of the Basic
        /// credentials is the account, if these credentials alone lead to the 200 and the account has no
        /// password here.
        forward: Option<BaseUrl> = None, base_url();

        /// The request headers that are sent to `forward`.
        forward_headers: Vec<HeaderName> = vec![AUTHORIZATION, COOKIE, HeaderName::from_static("x-docker-token")],
            list_of(header_name());

        /// The timeout for `forward`, after which a request gets 503.
        forward_timeout: Duration = Duration::from_secs(5), duration();

        /// The TTL of cached responses of `forward` for requests with the same headers; 0 disables the cache.
        forward_cache: Duration = Duration::from_secs(10), duration().or_none();

        /// The challenge for credentials: `"bearer"` is the token protocol, in which clients send the
        /// password once and pull public images without an account; `"basic"` is for clients that support
        /// nothing else.
        challenge: Challenge = Challenge::Bearer, choice::<Challenge>();

        /// Rules for parts of the registry, like nginx's `location`, such as `[{ path = "/v2/", auth =
        /// "basic", realm = "Restricted" }, { path = "/v2/official/", auth = "open" }]`. The rule with the
        /// longest matching path applies. Rules apply once there are accounts.
        locations: Vec<Location> = Vec::new(), tables::<Location>();

        /// The service (audience) in tokens. A token of another registry with the same key is not accepted.
        service: String = "wharfinger".to_owned(), word();

        /// The lifetime of tokens of the token protocol. Changes and revocations apply at once nevertheless.
        token_lifetime: Duration = Duration::from_secs(300), duration().at_least(Duration::from_secs(60));

        /// The TTL of verified passwords in the credential cache (as keyed hashes, in memory), so that not
        /// every request hashes the password. Any change of accounts invalidates the cache at once.
        remember: Duration = Duration::from_secs(60), duration().or_none();

        /// Whether people may create accounts for themselves.
        self_registration: bool = false, switch();
    }

    /// The audit log: `wharfinger audit`.
    audit: Audit {
        /// The time for which entries are kept.
        retention: Duration = Duration::from_secs(90 * 24 * 60 * 60), duration().at_least(Duration::from_secs(60));

        /// Whether pulls are recorded as well. Pushes, deletions, logins, denials and changes of accounts
        /// always are.
        pulls: bool = false, switch();

        /// Whether each entry is also written to standard output as a line of JSON.
        log: bool = false, switch();
    }

    /// Proxies in front of the registry.
    proxy: Proxy {
        /// The addresses and networks of trusted proxies. Their headers tell the client's address and the
        /// requested URL: X-Forwarded-For, -Proto, -Host and -Prefix, X-Real-IP, Forwarded; and, at /auth,
        /// the method: X-Original-Method, X-Forwarded-Method. A trusted proxy must set these headers itself,
        /// or remove those of the client.
        trusted: Vec<IpNet> = Vec::new(), list_of(network());
    }

    /// Events, which webhooks and `wharfinger events` announce.
    events: Events {
        /// The time for which events are kept for clients that resume the stream `/api/v1/events`, at most
        /// the last 100,000 changes. 0 keeps none.
        retention: Duration = Duration::from_secs(24 * 60 * 60), duration().or_none();

        /// Announces one of every N pulls as an event; 0 announces none.
        pulls: usize = 0, count();
    }

    /// Web pages in browsers.
    web: Web {
        /// Whether the registry has pages for browsers, on the same port. Without them, `/` is a line of
        /// text.
        enabled: bool = true, switch();

        /// How long a browser stays signed in. A sign-out and a new password end it earlier.
        session_lifetime: Duration = Duration::from_secs(14 * 24 * 60 * 60), duration();

        /// The origins whose pages may use the registry from a browser (CORS), such as
        /// `["https://ui.example.com"]`, for docker-registry-ui and the like. A page of such an origin has
        /// the rights of the person at the browser. `["*"]` is every origin, without the credentials that a
        /// browser stores; do not use it if the registry is protected by its network only.
        cors_origins: Vec<WebOrigin> = Vec::new(), list_of(web_origin());
    }

    /// HTTPS. With a certificate from files, a self-signed one or one from ACME (one of the three), the port
    /// accepts HTTPS only.
    tls: Tls {
        /// A PEM file with the certificate chain: the server's own certificate first, then its issuers.
        /// Changes are read automatically.
        certificate: Option<PathBuf> = None, optional_path();

        /// A PEM file with the private key, without a passphrase; `""` if it is in the same file.
        key: Option<PathBuf> = None, optional_path();

        /// The host names and addresses of this registry, for a self-signed certificate that is created and
        /// kept in the data directory. At start, the server prints how to make clients trust it.
        self_signed: Vec<Host> = Vec::new(), list_of(host());

        /// A second address and port, such as `":80"`, for plain HTTP: requests that read are redirected to
        /// HTTPS, and requests with credentials are refused. Empty for none.
        redirect: Option<SocketAddr> = None, optional_address();

        /// Accept HTTP/2 over TLS.
        http2: bool = true, switch();

        /// The timeout for the TLS handshake.
        handshake_timeout: Duration = Duration::from_secs(10), duration();
    }

    /// A certificate from an authority by ACME (RFC 8555), such as Let's Encrypt. It is kept in the data
    /// directory, and renewed when the authority suggests it or a third of its lifetime is left.
    acme: Acme {
        /// The directory URL of the authority. Let's Encrypt's is
        /// `"https://acme-v02.api.letsencrypt.org/directory"`;
        /// `"https://acme-staging-v02.api.letsencrypt.org/directory"` is for tests. Naming an authority
        /// accepts its terms of service.
        directory: Option<DirectoryUrl> = None, directory_url();

        /// The host names and addresses of the certificate; all of them must lead to this server.
        hosts: Vec<Host> = Vec::new(), list_of(host());

        /// The proof that the hosts lead here. For `"tls-alpn-01"`, the authority connects to port 443 of
        /// each host, which must lead to `listen`; for `"http-01"`, to port 80, which must lead to
        /// `tls.redirect`.
        challenge: AcmeChallenge = AcmeChallenge::TlsAlpn01, choice::<AcmeChallenge>();

        /// The contact for the authority, such as `["mailto:ann@example.com"]`. Some authorities require one.
        contact: Vec<String> = Vec::new(), list_of(contact());

        /// A PEM file with the certificates that sign the directory's own HTTPS, instead of those of the
        /// system: for an authority of your own, such as step-ca.
        ca: Option<PathBuf> = None, optional_path();

        /// A file with one line, `id:key`, from the authority: for authorities that require an existing
        /// account (external account binding).
        external_account: Option<PathBuf> = None, optional_path();
    }

    /// `wharfinger gateway`: accounts, HTTPS and search in front of a registry that has none.
    gateway: Gateway {
        /// The URL of the upstream registry, such as `["http://registry:5000"]`. Several URLs are replicas of
        /// one registry over one storage: requests go to the first, and to the others if it does not respond.
        upstreams: Vec<BaseUrl> = Vec::new(), list_of(url());

        /// A file with one line, `user:password`: the gateway's account in the upstream registry, if it
        /// requires one. Passwords of clients are never sent there.
        credentials: Option<PathBuf> = None, optional_path();

        /// Further hosts that may receive these credentials for a token, if the upstream names them in its
        /// challenge.
        token_hosts: Vec<String> = Vec::new(), list_of(word());

        /// A PEM file with certificates to trust for https:// upstreams, in addition to those of the system.
        certificates: Option<PathBuf> = None, optional_path();

        /// The Host header for the upstream: `"client"` is the host that the client requested, `"upstream"`
        /// the upstream's own, for upstreams that are selected by name.
        host: UpstreamHost = UpstreamHost::Client, choice::<UpstreamHost>();

        /// The TTL of cached manifests. Pushes and deletions through the gateway apply at once; a tag that is
        /// moved in the upstream directly is seen after this time at the latest. 0 disables the cache.
        cache: Duration = Duration::from_secs(1), duration().or_none();

        /// The interval at which the upstream's catalog is read, for `docker search` and the gateway's
        /// catalog.
        catalog_interval: Duration = Duration::from_secs(60), duration().at_least(Duration::from_secs(1));

        /// The timeout for a connection to an upstream.
        connect_timeout: Duration = Duration::from_secs(5), duration();

        /// The timeout for an upstream to begin its response to a read request, and for each next byte of a
        /// response.
        read_timeout: Duration = Duration::from_secs(60), duration();

        /// The timeout for an upstream to respond to a write request, after the last byte sent: some
        /// registries hash and copy a whole blob before they respond.
        write_timeout: Duration = Duration::from_secs(15 * 60), duration();
    }

    /// Content that the registry accepts and keeps.
    registry: Registry {
        /// Accept an image index whose images are not all in the repository, as mirrors of some platforms
        /// only need it.
        sparse_indexes: bool = false, switch();

        /// Accept an image whose config or layers are missing. Such an image cannot be pulled completely; use
        /// it only if something else adds the rest, such as a mirror that is filled on demand.
        sparse_images: bool = false, switch();

        /// Whether images, tags and blobs can be deleted at all.
        delete: bool = true, switch();

        /// The time after its last byte for which an unfinished upload is kept.
        upload_expiry: Duration = Duration::from_secs(24 * 60 * 60), duration().at_least(Duration::from_secs(60));
    }

    /// The integrity check: `wharfinger check`.
    check: Check {
        /// The interval at which the server reads all content and verifies its digests; 0 disables it. The
        /// log names missing and damaged content. A check resumes after a restart.
        interval: Duration = Duration::from_secs(30 * 24 * 60 * 60), duration().or_none();

        /// The bytes per second that a check reads at most, or `"unlimited"`. It also limits
        /// `wharfinger check --read`.
        read_rate: Option<u64> = Some(64 * MIB), size_or_unlimited();
    }

    /// Garbage collection: reclaims the space of deleted images while the registry serves.
    gc: GarbageCollection {
        /// The interval of collections. A collection also runs when the grace period of a deletion ends. 0
        /// turns collections in the background off; `wharfinger gc --now` still runs one.
        interval: Duration = Duration::from_secs(60 * 60), duration().or_none();

        /// The time for which deleted tags, images and repositories can be restored. Then their space is
        /// reclaimed. 0 reclaims it with the next collection.
        grace: Duration = Duration::from_secs(24 * 60 * 60), duration().or_none();

        /// The time after its last push or pull for which an image without a tag is kept, such as `"30d"`. An
        /// image loses its tag when another one is pushed with the same tag. `"off"` keeps such images,
        /// because deployments may name them by their digest.
        untagged: Option<Duration> = None, duration_or_off();
    }

    /// Caches: manifests in memory, and content of upstreams on the disk.
    cache: Cache {
        /// The memory for cached manifests; 0 disables the cache.
        manifest_bytes: u64 = 8 * MIB, size();

        /// The limit of the cached content of all upstreams together, or `"unlimited"`. Content that is being
        /// fetched is not counted yet. A layer that is larger is passed on and not kept.
        max_bytes: Option<u64> = None, size_or_unlimited();

        /// The part of this limit, and of `max_bytes` of an upstream, at which an eviction begins.
        high_mark: u16 = 9_500, percent();

        /// The part of the limit to which an eviction goes.
        low_mark: u16 = 8_500, percent();
    }
}

/// The settings that differ between two configurations, in the order of the template.
pub fn changed_settings(before: &Config, after: &Config) -> Vec<&'static Setting> {
    settings().filter(|setting| (setting.differs)(before, after)).collect()
}

/// Copies the settings with these paths from one configuration to another.
pub fn copy_settings(to: &mut Config, from: &Config, paths: &[&str]) {
    for setting in settings().filter(|setting| paths.contains(&setting.path)) {
        (setting.copy)(to, from);
    }
}

/// Every setting, in the order of the template.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings)
}
