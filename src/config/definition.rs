//! The definition of every setting. Everything else that knows settings is made from it: the [`Config`] struct,
//! what the file and the environment may say, the template that `wharfinger config example` prints, and the
//! listing of `wharfinger config check`.
//!
//! A setting is one entry: its description, then `key: type = default, how it is spelled;`. Adding one here, and
//! running `wharfinger config example > wharfinger.toml`, is all there is to do. The file calls a section as the
//! field of [`Config`] is called, but for those that `section_name!` knows: they stand within another one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, COOKIE, HeaderName};
use ipnet::IpNet;

use super::location::{Location, locations};
use super::value::{
    AcmeChallenge, BaseUrl, Challenge, DirectoryUrl, LogFormat, RawValue, Refused, TomlValue, UpstreamHost,
    ValueType, WebOrigin, address, base_url, choice, contact, count, count_or_unlimited, directory_url,
    duration, header_name, host, list_of, log_filter, network, optional_address, optional_path, path, size,
    size_or_unlimited, switch, url, web_origin, word,
};
use crate::host::Host;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const MIB_IN_MEMORY: usize = 1 << 20;

/// One setting, as the code that reads, lists and describes settings sees it.
pub struct Setting {
    /// The section that it stands in; `None` for those above the first section.
    pub section: Option<&'static str>,
    /// Its key in that section.
    pub key: &'static str,
    /// Section and key, as messages name it: `limits.manifest_bytes`.
    pub path: &'static str,
    /// What it is for, in lines as they were written.
    pub description: &'static str,
    /// Takes what was given for it.
    pub(super) read: fn(&mut Config, &RawValue) -> Result<(), Refused>,
    /// What it is, as the file would say it.
    pub(super) write: fn(&Config) -> TomlValue,
    /// What it takes, for a message about something that it does not take.
    pub(super) expects: fn() -> String,
}

/// Settings that stand together, under one heading in the file.
pub struct Section {
    /// Its name; `None` for the settings above the first heading.
    pub name: Option<&'static str>,
    /// What its settings are about, in lines as they were written.
    pub description: &'static str,
    /// Its settings, in the order of the template.
    pub settings: &'static [Setting],
}

/// How the file calls a section: as the field of [`Config`], unless it stands within another section.
macro_rules! section_name {
    (acme) => {
        "tls.acme"
    };
    ($section:ident) => {
        stringify!($section)
    };
}

/// Makes the structs, their defaults and [`SECTIONS`] from the list below.
macro_rules! settings {
    (
        $(#[doc = $root_doc:literal])+
        Config {
            $( $(#[doc = $doc:literal])+ $key:ident : $type:ty = $default:expr, $value:expr; )+
        }
        $(
            $(#[doc = $section_doc:literal])+
            $section:ident: $Section:ident {
                $( $(#[doc = $sdoc:literal])+ $skey:ident : $stype:ty = $sdefault:expr, $sspelling:expr; )+
            }
        )+
    ) => {
        $(#[doc = $root_doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $( $(#[doc = $doc])+ pub $key: $type, )+
            $( $(#[doc = $section_doc])+ pub $section: $Section, )+
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $( $key: $default, )+ $( $section: $Section::default(), )+ }
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
                        read: |config, given| {
                            config.$key = $value.read(given)?;
                            Ok(())
                        },
                        write: |config| $value.write(&config.$key),
                        expects: || ValueType::<$type>::expects(&$value),
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
                            read: |config, given| {
                                config.$section.$skey = $sspelling.read(given)?;
                                Ok(())
                            },
                            write: |config| $sspelling.write(&config.$section.$skey),
                            expects: || ValueType::<$stype>::expects(&$sspelling),
                        },
                    )+],
                },
            )+
        ];
    };
}

settings! {
    /// What the operator decides.
    Config {
        /// The address and port to listen on. `":5000"` is every IPv4 address of this machine, `"[::]:5000"`
        /// every address. Beyond this machine it is refused while there are no accounts, unless `open` is set.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)), address();

        /// The directory that keeps everything: images, tags and the database. Made if it is not there; a path
        /// that does not begin with `/` starts at the directory in which `wharfinger` is run.
        data: PathBuf = PathBuf::from("data"), path();

        /// Listen beyond this machine even if there are no accounts: whoever reaches the port may then pull, push,
        /// overwrite and delete. For networks where everyone may. As soon as there is an account, it has no effect.
        /// It is also the consent to open a data directory whose accounts were removed or lost.
        open: bool = false, switch();

        /// The address by which clients reach the registry, such as `"https://registry.example.com"`. Empty:
        /// redirects and upload addresses are relative, and the address where tokens are had is the one by which
        /// the client called; set it only where neither is right.
        external_url: Option<BaseUrl> = None, base_url();

        /// Speak HTTP/2 without TLS as well, to clients that begin with it ("prior knowledge"), such as a proxy on
        /// this machine. Over TLS it is spoken anyway.
        http2_clear: bool = false, switch();
    }

    /// What is logged, on standard error.
    log: Log {
        /// How a line looks: `"text"` for people, `"json"` for machines (one object a line).
        format: LogFormat = LogFormat::Text, choice::<LogFormat>();

        /// How much: `"error"`, `"warn"`, `"info"`, `"debug"`, `"trace"` or `"off"`; parts of the program can
        /// differ, as in `"info,wharfinger::http=debug"`.
        level: String = "info".to_owned(), log_filter();
    }

    /// Bounds for what clients send, and how long they are waited for.
    limits: Limits {
        /// The largest manifest that can be pushed. Clients may count on 4 MiB.
        manifest_bytes: usize = 8 * MIB_IN_MEMORY, size().at_least(4 * MIB);

        /// The largest blob (layer) that can be pushed, or `"unlimited"`.
        blob_bytes: Option<u64> = None, size_or_unlimited();

        /// How much memory the bodies of requests may take that are read whole: manifests, forms, JSON. Each client (an
        /// account, else an address) has a quarter of it. Further requests wait, and are answered 503 after 10 s.
        body_memory: u64 = 64 * MIB, size().at_least(MIB);

        /// How long a client may take to send the head of a request.
        header_timeout: Duration = Duration::from_secs(15), duration();

        /// How long to wait for the next byte of a request's body.
        body_timeout: Duration = Duration::from_secs(60), duration();

        /// How long to wait for a client to take the next byte of an answer.
        write_timeout: Duration = Duration::from_secs(60), duration();

        /// How long a connection is kept open between requests.
        idle_timeout: Duration = Duration::from_secs(75), duration();

        /// When the server is told to stop (SIGTERM, Ctrl-C): how long transfers may take to end.
        shutdown_timeout: Duration = Duration::from_secs(30), duration().or_none();

        /// How many connections may be open at once. Beyond, the longest idle ones are closed; while none is idle, further
        /// ones wait.
        connections: usize = 10_000, count().at_least(1);

        /// How many of them one address may have. Beyond, its longest idle ones are closed; while none is idle, further
        /// ones are refused. An IPv6 network of /64 counts as one address; proxies in `proxy.trusted` are exempt.
        connections_per_address: usize = 5_000, count().at_least(1);

        /// How many requests a client may have under way at once on one connection of HTTP/2.
        streams: usize = 100, count().at_least(1);

        /// How many bytes the head of a request may have.
        header_bytes: usize = 64 << 10, size().at_least(8 * KIB);

        /// How many header fields a request may have.
        headers: usize = 100, count().at_least(16);

        /// How many requests a second one address may send, over some time, or `"unlimited"`. An IPv6 network of /64
        /// counts as one address.
        requests_per_address: Option<usize> = None, count_or_unlimited();

        /// How many requests a second one account may send, over some time, or `"unlimited"`.
        requests_per_account: Option<usize> = None, count_or_unlimited();

        /// How many bytes a second one address may send and receive, all its connections together, or
        /// `"unlimited"`.
        bandwidth_per_address: Option<u64> = None, size_or_unlimited();

        /// How many bytes a second one account may send and receive, all its connections together, or
        /// `"unlimited"`.
        bandwidth_per_account: Option<u64> = None, size_or_unlimited();

        /// How many entries one page of the catalog, a tag list or a search has at most.
        page_entries: usize = 1000, count().at_least(1);
    }

    /// Who may do what. As soon as there is an account, of this registry's own (`wharfinger user add`) or of one of
    /// these sources, everything is private unless it is granted.
    auth: Auth {
        /// Do not start without an account. A registry behind a proxy needs it: there, an empty volume or a mistyped
        /// `data` would be an open registry. A data directory that has had accounts is never served without them
        /// either, unless `open` is set.
        required: bool = false, switch();

        /// A file of users as `htpasswd` writes it: bcrypt (`htpasswd -B`), and the older kinds that nginx takes. Read
        /// again when it changes. Each of its users is an account that owns its namespace. A line that cannot be used is
        /// named in a warning, and its user cannot sign in.
        htpasswd: Option<PathBuf> = None, optional_path();

        /// A server of yours that is asked who sends a request, as nginx's auth_request asks: a GET of this address
        /// with the headers below and X-Original-URI and X-Original-Method. 200 names the account in the header
        /// X-Remote-User; 401 and 403 refuse. Without that header the user of the Basic credentials counts, if these
        /// alone have earned the 200 and the account has no password here.
        forward: Option<BaseUrl> = None, base_url();

        /// The headers of a request that `forward` is given.
        forward_headers: Vec<HeaderName> = vec![AUTHORIZATION, COOKIE, HeaderName::from_static("x-docker-token")],
            list_of(header_name());

        /// How long to wait for `forward` before a request is refused with 503.
        forward_timeout: Duration = Duration::from_secs(5), duration();

        /// How long an answer of `forward` holds for requests that bring the same headers; 0 asks each time.
        forward_cache: Duration = Duration::from_secs(10), duration().or_none();

        /// How clients are asked for credentials: `"bearer"` is the token protocol, in which the password is sent once
        /// and public images are pulled without an account; `"basic"` is for clients that know nothing else.
        challenge: Challenge = Challenge::Bearer, choice::<Challenge>();

        /// Rules for parts of the registry, as nginx's `location` has them, such as
        /// `[{ path = "/v2/", auth = "basic", realm = "Restricted" }, { path = "/v2/official/", auth = "open" }]`: of
        /// those that a repository is in, the longest counts. `"open"`: whoever asks may pull, and nothing more.
        /// `"basic"` and `"token"`: nobody without an account is let in, whatever is granted to everyone, and clients
        /// are asked for a password on each request, or with the token protocol. They count once there are accounts.
        locations: Vec<Location> = Vec::new(), locations();

        /// What tokens are made out for. A token of another registry with the same key would not be taken.
        service: String = "wharfinger".to_owned(), word();

        /// How long a token of the token protocol holds. Whatever is changed or revoked counts at once all the same.
        token_lifetime: Duration = Duration::from_secs(300), duration().at_least(Duration::from_secs(60));

        /// How long a password that was found right is remembered (as a keyed hash, in memory), so that it is not
        /// checked anew with each request. It is forgotten at once when anything about accounts changes.
        remember: Duration = Duration::from_secs(60), duration().or_none();

        /// Whether people may make accounts for themselves.
        self_registration: bool = false, switch();
    }

    /// The record of who did what: `wharfinger audit`.
    audit: Audit {
        /// How long it is kept.
        retention: Duration = Duration::from_secs(90 * 24 * 60 * 60), duration().at_least(Duration::from_secs(60));

        /// Whether pulls are recorded as well. Pushes, deletions, sign-ins, refusals, and what changes accounts
        /// always are.
        pulls: bool = false, switch();

        /// Whether each entry is also a line of JSON on standard output.
        log: bool = false, switch();
    }

    /// Proxies before the registry.
    proxy: Proxy {
        /// The addresses and networks of proxies that are believed when they say who the client is and by which
        /// address it called: X-Forwarded-For, -Proto, -Host and -Prefix, X-Real-IP, Forwarded; and, to /auth, with
        /// which method: X-Original-Method, X-Forwarded-Method. A proxy in this list must set these headers itself, or
        /// remove what a client sent.
        trusted: Vec<IpNet> = Vec::new(), list_of(network());
    }

    /// Pages in browsers.
    web: Web {
        /// The origins whose pages may use the registry from a browser (CORS), such as
        /// `["https://ui.example.com"]`, for docker-registry-ui and the like. A page of such an origin may do whatever the
        /// person in front of the browser may. `["*"]` is every origin, without the passwords that a browser keeps; do
        /// not use it where the network is what protects the registry.
        cors_origins: Vec<WebOrigin> = Vec::new(), list_of(web_origin());
    }

    /// HTTPS. With a certificate from files, from here or from an authority (one of the three), the port speaks HTTPS
    /// and nothing else.
    tls: Tls {
        /// A file with the certificate as PEM: the server's own first, then the one that signed it, and so on. Read
        /// again when it changes.
        certificate: Option<PathBuf> = None, optional_path();

        /// A file with the certificate's key as PEM, without a passphrase; `""` if it is in the same file.
        key: Option<PathBuf> = None, optional_path();

        /// The names and addresses by which clients call this registry, for a certificate that is made here and kept
        /// in the data directory. How clients come to trust it is printed when the server starts.
        self_signed: Vec<Host> = Vec::new(), list_of(host());

        /// An address and port, such as `":80"`, on which plain HTTP is listened for as well: who reads there is sent to
        /// HTTPS, and who sends credentials is refused. Empty: none.
        redirect: Option<SocketAddr> = None, optional_address();

        /// HTTP/2 for the clients that know it.
        http2: bool = true, switch();

        /// How long a handshake may take.
        handshake_timeout: Duration = Duration::from_secs(10), duration();
    }

    /// A certificate from an authority that gives them to whoever proves that a name is theirs (ACME, RFC 8555). It is
    /// kept in the data directory, and renewed when the authority wants it or a third of its life is left.
    acme: Acme {
        /// Where the authority is asked. Let's Encrypt's is `"https://acme-v02.api.letsencrypt.org/directory"`, and
        /// `"https://acme-staging-v02.api.letsencrypt.org/directory"` the one to try things with. Whoever names one
        /// accepts the authority's terms of service.
        directory: Option<DirectoryUrl> = None, directory_url();

        /// The names and addresses that the certificate is for; all of them must lead to this server.
        hosts: Vec<Host> = Vec::new(), list_of(host());

        /// How the authority sees that the hosts lead here: `"tls-alpn-01"`, it connects to port 443 of each, which leads
        /// to `listen`; `"http-01"`, it connects to port 80, which leads to `tls.redirect`.
        challenge: AcmeChallenge = AcmeChallenge::TlsAlpn01, choice::<AcmeChallenge>();

        /// Where the authority can write to, such as `["mailto:ann@example.com"]`. Some authorities want one.
        contact: Vec<String> = Vec::new(), list_of(contact());

        /// A file with certificates (PEM) by which the directory's own HTTPS is trusted, in place of the system's: for
        /// an authority of your own, such as step-ca.
        ca: Option<PathBuf> = None, optional_path();

        /// A file with one line, `id:key`, as the authority gave them: for an authority that gives certificates only to
        /// those who have an account with it already (external account binding).
        external_account: Option<PathBuf> = None, optional_path();
    }

    /// `wharfinger gateway`: accounts, HTTPS and search before a registry that has none.
    gateway: Gateway {
        /// The registry behind the gateway, such as `["http://registry:5000"]`. Several are the same registry, as
        /// replicas over one storage are: the first is asked, the others when it does not answer.
        upstreams: Vec<BaseUrl> = Vec::new(), list_of(url());

        /// A file with one line, `user:password`: the account of the gateway in the registry behind it, if that
        /// wants one. No client's password ever goes there.
        credentials: Option<PathBuf> = None, optional_path();

        /// Hosts besides the upstream's own that may be sent these credentials for a token, if the upstream says so.
        token_hosts: Vec<String> = Vec::new(), list_of(word());

        /// A file with certificates (PEM) that upstreams at https:// addresses are trusted by, besides the system's.
        certificates: Option<PathBuf> = None, optional_path();

        /// Which host the upstream is told that clients call: `"client"` is the gateway's, as clients say it,
        /// `"upstream"` the upstream's own, for one that is told from others by its name.
        host: UpstreamHost = UpstreamHost::Client, choice::<UpstreamHost>();

        /// How long a manifest is answered from memory before the upstream is asked again. What is pushed or deleted
        /// through the gateway counts at once; a tag that is moved behind its back is seen after this time at the
        /// latest. 0 asks each time.
        cache: Duration = Duration::from_secs(1), duration().or_none();

        /// How often the upstream's catalog is read, from which `docker search` and the gateway's catalog are made.
        catalog_interval: Duration = Duration::from_secs(60), duration().at_least(Duration::from_secs(1));

        /// How long to wait for a connection to an upstream.
        connect_timeout: Duration = Duration::from_secs(5), duration();

        /// How long to wait for an upstream to begin its answer to a request that reads, and for each next byte of
        /// any answer.
        read_timeout: Duration = Duration::from_secs(60), duration();

        /// How long to wait for an upstream to answer a request that writes, from the last byte that it took: some
        /// registries hash and copy a whole blob before they answer.
        write_timeout: Duration = Duration::from_secs(15 * 60), duration();
    }

    /// What the registry accepts and keeps.
    registry: Registry {
        /// Accept an image index that names images which are not here: mirrors that copy some platforms only
        /// need it.
        sparse_indexes: bool = false, switch();

        /// Accept an image although its config or layers are not here. Such an image cannot be pulled whole; only
        /// where something else brings the rest, as a lazily filled mirror does, is that of use.
        sparse_images: bool = false, switch();

        /// Whether images, tags and blobs can be deleted at all.
        delete: bool = true, switch();

        /// How long an upload that was begun and not finished is kept, counted from its last byte.
        upload_expiry: Duration = Duration::from_secs(24 * 60 * 60), duration().at_least(Duration::from_secs(60));
    }

    /// What is kept in memory to answer faster.
    cache: Cache {
        /// How much memory manifests that were asked for before may take; 0 keeps none.
        manifest_bytes: u64 = 8 * MIB, size();
    }
}

/// The settings that differ between two configurations, in the order of the template.
pub fn changed_settings(before: &Config, after: &Config) -> Vec<&'static str> {
    let differs = |setting: &&Setting| (setting.write)(before) != (setting.write)(after);
    settings().filter(differs).map(|setting| setting.path).collect()
}

/// Every setting, in the order of the template.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings)
}
