//! `wharfinger cert`: makes, shows and checks a certificate.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use api::Settings;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Serialize;
use time::OffsetDateTime;

use super::output::{self, Exit, Failure, Format};
use super::settings::DataDir;
use super::target::Target;
use crate::config::Loaded;
use crate::host::Host;
use crate::tls::certificate::Certificate;
use crate::tls::pair::Pair;
use crate::tls::self_signed;
use crate::tls::trust::{self, Trust};
use crate::{serve, tls};

/// Certificates for HTTPS: make, show and check them
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Cert {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
Without a file, `show` and `check` look at the certificate that `serve` would use.

Examples:
  wharfinger cert make registry.example.com,192.0.2.7 --out /etc/wharfinger
  wharfinger cert show
  wharfinger cert check server.pem --key server.key --host registry.example.com

Exit codes: 0 done, or nothing is wrong with it; 1 something is wrong with it; 2 the command line or the \
configuration is wrong.";

/// The default port of HTTPS.
const HTTPS: u16 = 443;

/// The settings that name the certificate in use.
const SETTINGS: &[&str] =
    &["data", "listen", "external_url", "tls.certificate", "tls.key", "tls.acme.directory"];

#[derive(Subcommand, Debug)]
enum Command {
    /// Create a self-signed certificate with its key
    Make(Make),
    /// Show a certificate, and how to make clients trust it
    Show(Show),
    /// Check that a certificate and its key match, and that clients will accept them
    Check(Check),
}

#[derive(Args, Debug)]
struct Make {
    /// The host names and addresses of the registry, separated by commas
    #[arg(value_name = "HOST[,HOST…]", value_delimiter = ',', required = true)]
    hosts: Vec<Host>,

    /// The directory for server.pem and server.key
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,

    /// The number of days for which it is valid
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,

    #[command(flatten)]
    format: Format,
}

#[derive(Args, Debug)]
struct Show {
    /// The PEM file [default: the certificate that `serve` would use]
    certificate: Option<PathBuf>,

    /// The port of the registry, for the commands that make clients trust it [default: the one of external_url,
    /// else the one that the server listens on]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,

    #[command(flatten)]
    data: DataDir,

    #[command(flatten)]
    format: Format,
}

#[derive(Args, Debug)]
struct Check {
    /// The PEM file [default: the certificate that `serve` would use]
    certificate: Option<PathBuf>,

    /// The file with the key [default: the same file]
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,

    /// A host name or address that it must include; may be repeated
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<Host>,

    #[command(flatten)]
    data: DataDir,

    #[command(flatten)]
    format: Format,
}

/// The address of a server.
struct Address {
    external_url: Option<String>,
    /// The port that it listens on.
    port: u16,
}

/// The JSON output of a certificate.
#[derive(Serialize)]
struct Shown {
    file: PathBuf,
    subject: String,
    issuer: String,
    hosts: Vec<String>,
    not_before: i64,
    not_after: i64,
    serial: String,
    key: String,
    sha256: String,
    self_signed: bool,
    /// The reasons why clients reject it, or soon will.
    doubts: Vec<String>,
}

impl Shown {
    fn new(file: &Path, certificate: &Certificate, doubts: Vec<String>) -> Self {
        Self {
            file: file.to_owned(),
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            hosts: certificate.hosts.iter().map(ToString::to_string).collect(),
            not_before: certificate.not_before.unix_timestamp(),
            not_after: certificate.not_after.unix_timestamp(),
            serial: certificate.serial.clone(),
            key: certificate.key.clone(),
            sha256: certificate.fingerprint.clone(),
            self_signed: certificate.self_signed,
            doubts,
        }
    }

    fn for_people(&self, certificate: &Certificate) -> String {
        let hosts = if self.hosts.is_empty() { "none".to_owned() } else { self.hosts.join(", ") };
        let mut text = format!(
            "file         {}\nhosts        {hosts}\nsubject      {}\nissuer       {}\nuntil        {}\nkey          \
             {}\nserial       {}\nfingerprint  {}\n",
            self.file.display(),
            self.subject,
            self.issuer,
            certificate.until(),
            self.key,
            self.serial,
            self.sha256,
        );
        for doubt in &self.doubts {
            text += &format!("warning: {doubt}\n");
        }
        text
    }
}

impl Cert {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Make(make) => make.run(),
            Command::Show(show) => show.run().await,
            Command::Check(check) => check.run(),
        }
    }
}

impl Make {
    fn run(self) -> Result<(), Failure> {
        let (certificate, key) = (self.out.join("server.pem"), self.out.join("server.key"));
        for file in [&certificate, &key] {
            if file.exists() {
                return Err(Failure::new(format!("{} exists already", file.display()))
                    .help("remove it, or name another directory with --out"));
            }
        }
        let failed =
            |error: self_signed::CreateError| Failure::new("cannot make a certificate").because(&error);
        std::fs::create_dir_all(&self.out)
            .map_err(|error| Failure::new(format!("cannot make {}", self.out.display())).because(&error))?;
        let made = self_signed::create(&self.hosts, self.days).map_err(failed)?;
        self_signed::write(&key, &made.key, 0o600).map_err(failed)?;
        self_signed::write(&certificate, &made.certificate, 0o644).map_err(failed)?;
        let pair = read(&certificate, &key)?;
        let shown = Shown::new(&certificate, pair.certificate(), Vec::new());
        if self.format.json {
            return output::print_json(&shown);
        }
        output::print(format_args!(
            "made {} and {}\n\n{}\nwharfinger serve --tls-certificate {0} --tls-key {1}\n",
            certificate.display(),
            key.display(),
            shown.for_people(pair.certificate()),
        ))
    }
}

impl Show {
    async fn run(self) -> Result<(), Failure> {
        let (file, configured) = match &self.certificate {
            Some(file) => (file.clone(), None),
            None => {
                let (Loaded { config, .. }, _) = self.data.load_for(SETTINGS)?;
                let (certificate, _) = in_use(&config)?;
                let external_url = config.external_url.map(|url| url.as_str().to_owned());
                (certificate, Some(Address { external_url, port: config.listen.port() }))
            }
        };
        let chain = tls::pair::certificates(&file)
            .map_err(|error| Failure::new("cannot read the certificate").because(&error))?;
        let certificate = &chain[0];
        let shown = Shown::new(&file, certificate, certificate.warnings(OffsetDateTime::now_utc()));
        if self.format.json {
            return output::print_json(&shown);
        }
        output::print(shown.for_people(certificate))?;
        if certificate.self_signed {
            let Address { external_url, port } = match configured {
                Some(configured) => self.in_force(configured).await,
                None => Address { external_url: None, port: HTTPS },
            };
            let (hosts, port) = trust::seen_by_clients(external_url.as_deref(), &certificate.hosts, port);
            let port = self.port.unwrap_or(port);
            let trust = Trust { certificate: &file, hosts: &hosts, port };
            output::print(format_args!("\n{trust}"))?;
        }
        Ok(())
    }

    /// Returns the address of the running server, whose command line may name another than the configuration.
    async fn in_force(&self, configured: Address) -> Address {
        match self.running().await {
            // The system chose a port for 0.
            Some(running) if running.port == 0 => Address { port: configured.port, ..running },
            Some(running) => running,
            None => configured,
        }
    }

    async fn running(&self) -> Option<Address> {
        let server = Target::of(self.data.clone()).connect_running().await.ok()?;
        let settings = server.json::<Settings>(server.request(Method::GET, "/api/v1/settings")).await;
        server.close().await;
        let settings = settings.ok()?.settings;
        let value = |key| {
            settings.iter().find(|setting| setting.key == key).map(|found| found.value.trim_matches('"'))
        };
        let listen: SocketAddr = value("listen")?.parse().ok()?;
        let external_url = value("external_url").filter(|url| !url.is_empty()).map(str::to_owned);
        Some(Address { external_url, port: listen.port() })
    }
}

impl Check {
    fn run(self) -> Result<(), Failure> {
        let (certificate, key) = match self.certificate {
            Some(certificate) => {
                let key = self.key.unwrap_or_else(|| certificate.clone());
                (certificate, key)
            }
            None => in_use(&self.data.load_for(SETTINGS)?.0.config)?,
        };
        let pair = read(&certificate, &key)?;
        let mut doubts = pair.warnings(OffsetDateTime::now_utc());
        for host in &self.hosts {
            if !pair.certificate().covers(host) {
                doubts.push(format!("it is not for {host}"));
            }
        }
        let shown = Shown::new(&certificate, pair.certificate(), doubts);
        let failed = !shown.doubts.is_empty();
        if self.format.json {
            output::print_json(&shown)?;
        } else {
            output::print(shown.for_people(pair.certificate()))?;
        }
        if failed { Err(Failure::reported(Exit::Failed)) } else { Ok(()) }
    }
}

/// The certificate and key files that `serve` would use.
fn in_use(config: &crate::config::Config) -> Result<(PathBuf, PathBuf), Failure> {
    if let Some(certificate) = &config.tls.certificate {
        let key = config.tls.key.clone().unwrap_or_else(|| certificate.clone());
        return Ok((certificate.clone(), key));
    }
    let directory = serve::tls_directory(config);
    if let Some(url) = &config.acme.directory {
        let file = directory.map(|directory| tls::acme::file(url, &directory)).filter(|file| file.exists());
        return file.map(|file| (file.clone(), file)).ok_or_else(|| {
            Failure::new("there is no certificate yet").help(
                "`wharfinger serve` obtains one from the authority that tls.acme.directory names; its log says what \
                 keeps it from that",
            )
        });
    }
    let files = directory.map(|directory| self_signed::files(&directory));
    files.filter(|(certificate, _)| certificate.exists()).ok_or_else(|| {
        Failure::new("there is no certificate").help(
            "name a file, or the data directory with --data; `wharfinger serve --tls-self-signed HOST` makes one, and \
             so does `wharfinger cert make`",
        )
    })
}

fn read(certificate: &Path, key: &Path) -> Result<Pair, Failure> {
    Pair::read(certificate, key)
        .map_err(|error| Failure::new("this cannot be used for HTTPS").because(&error))
}
