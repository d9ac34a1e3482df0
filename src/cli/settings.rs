//! The flags for settings that several commands share. [`crate::config`] combines them with the other
//! sources.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, ConfigError, ConfigErrors, Flag, Loaded, LogFormat, Sources};

/// The flags of a command that works on the data directory.
#[derive(Args, Clone, Debug, Default)]
pub struct DataDir {
    /// The configuration file [default: $WHARFINGER_CONFIG, ./wharfinger.toml or
    /// /etc/wharfinger/wharfinger.toml, whichever is there first]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The data directory [default: data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
}

impl DataDir {
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        self.load_with(Vec::new())
    }

    /// Loads the configuration for a command that uses the settings `needed` alone, with the errors of the
    /// others.
    ///
    /// # Errors
    /// All errors, if one of them may concern a needed setting.
    pub(super) fn load_for(&self, needed: &[&str]) -> Result<(Loaded, ConfigErrors), ConfigErrors> {
        Config::load_for(&self.sources(Vec::new()), needed)
    }

    fn load_with(&self, flags: Vec<Flag>) -> Result<Loaded, ConfigErrors> {
        Config::load(&self.sources(flags))
    }

    fn sources(&self, mut flags: Vec<Flag>) -> Sources {
        flags.extend(flag("--data", "data", self.data.clone()));
        Sources { file: self.config.clone(), environment: std::env::vars_os().collect(), flags }
    }
}

/// The flags for the certificate of HTTPS.
#[derive(Args, Clone, Debug, Default)]
pub struct Tls {
    /// Serve HTTPS with a self-signed certificate for these host names and addresses, kept in the data
    /// directory; the commands that make clients trust it are printed
    #[arg(long = "tls-self-signed", value_name = "HOST[,HOST…]")]
    self_signed: Option<String>,

    /// Serve HTTPS with the certificate in this PEM file; changes are read automatically
    #[arg(long = "tls-certificate", value_name = "FILE")]
    certificate: Option<String>,

    /// The PEM file with the key of that certificate [default: the same file]
    #[arg(long = "tls-key", value_name = "FILE")]
    key: Option<String>,
}

impl Tls {
    pub fn flags(&self) -> impl Iterator<Item = Flag> {
        [
            flag("--tls-self-signed", "tls.self_signed", self.self_signed.clone()),
            flag("--tls-certificate", "tls.certificate", self.certificate.clone()),
            flag("--tls-key", "tls.key", self.key.clone()),
        ]
        .into_iter()
        .flatten()
    }
}

/// The flags of the server.
#[derive(Args, Clone, Debug, Default)]
pub struct Settings {
    #[command(flatten)]
    data: DataDir,

    /// The address and port to listen on; ":5000" is every IPv4 address [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,

    /// An address and port of its own for /metrics, such as 127.0.0.1:9464 [default: none]
    #[arg(long, value_name = "ADDRESS")]
    metrics_listen: Option<String>,

    /// A bucket for the blobs, such as s3://images/registry or az://images/registry; the server of the bucket
    /// and its key are settings below [blobs], or variables such as AWS_ACCESS_KEY_ID or
    /// AZURE_STORAGE_ACCOUNT_KEY [default: files in the data directory]
    #[arg(long, value_name = "URL")]
    blobs: Option<String>,

    /// A database in PostgreSQL for the metadata, such as postgres://wharfinger@db.example.com/wharfinger;
    /// its password is best in the file of metadata.password_file [default: a file in the data directory]
    #[arg(long, value_name = "URL")]
    metadata: Option<String>,

    /// A file of users in the format of htpasswd; each user is an account
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<String>,

    /// Listen beyond this machine even without accounts: everyone who reaches the port has all rights
    #[arg(long)]
    open: bool,

    #[command(flatten)]
    tls: Tls,

    /// The format of log lines: text or json [default: text]
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    log_format: Option<LogFormat>,

    /// The log level: error, warn, info, debug, trace, off, or a list such as "info,hyper=debug" [default:
    /// info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Settings {
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        self.load_with(None)
    }

    /// Reads the configuration as far as possible, with all errors.
    pub(super) fn read(&self) -> (Loaded, Vec<ConfigError>) {
        Config::read(&self.data.sources(self.flags(None)))
    }

    /// Loads the configuration with a further flag of the command.
    pub(super) fn load_with(&self, more: Option<Flag>) -> Result<Loaded, ConfigErrors> {
        self.data.load_with(self.flags(more))
    }

    fn flags(&self, more: Option<Flag>) -> Vec<Flag> {
        use clap::ValueEnum as _;
        let format = self.log_format.and_then(|format| format.to_possible_value());
        let flags = [
            flag("--listen", "listen", self.listen.clone()),
            flag("--metrics-listen", "metrics.listen", self.metrics_listen.clone()),
            flag("--blobs", "blobs.url", self.blobs.clone()),
            flag("--metadata", "metadata.url", self.metadata.clone()),
            flag("--htpasswd", "auth.htpasswd", self.htpasswd.clone()),
            flag("--open", "open", self.open.then(|| "true".to_owned())),
            flag("--log-format", "log.format", format.map(|value| value.get_name().to_owned())),
            flag("--log-level", "log.level", self.log_level.clone()),
        ];
        flags.into_iter().flatten().chain(self.tls.flags()).chain(more).collect()
    }

    /// Replaces the configuration file by that of an argument, if given.
    pub(super) fn or_file(mut self, file: Option<PathBuf>) -> Self {
        self.data.config = file.or(self.data.config);
        self
    }
}

pub(super) fn flag(name: &'static str, setting: &'static str, value: Option<String>) -> Option<Flag> {
    value.map(|value| Flag { name, setting, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Origin, settings};

    #[test]
    fn every_flag_sets_its_setting() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("empty.toml");
        std::fs::write(&config, "").unwrap();
        let flags = Settings {
            data: DataDir { config: Some(config), data: Some("d".to_owned()) },
            listen: Some(":1".to_owned()),
            metrics_listen: Some(":2".to_owned()),
            blobs: Some("s3://images".to_owned()),
            metadata: Some("postgres://ann@db/images".to_owned()),
            htpasswd: Some("users".to_owned()),
            open: true,
            tls: Tls {
                self_signed: None,
                certificate: Some("server.pem".to_owned()),
                key: Some("server.key".to_owned()),
            },
            log_format: Some(LogFormat::Json),
            log_level: Some("warn".to_owned()),
        };
        let loaded = flags.load().unwrap();
        let paths = [
            "listen",
            "data",
            "metrics.listen",
            "blobs.url",
            "metadata.url",
            "auth.htpasswd",
            "open",
            "tls.certificate",
            "tls.key",
            "log.format",
            "log.level",
        ];
        for path in paths {
            assert!(settings().any(|setting| setting.path == path));
            assert!(matches!(loaded.origin(path), Origin::Flag { .. }), "{path}");
        }
        assert_eq!(loaded.config.log.format, LogFormat::Json);
    }
}
