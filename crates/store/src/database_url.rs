//! Settings of a metadata database in PostgreSQL: the URL of the server, and its encryption.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// The time for a connection to be made. Requests wait for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The time for which sent bytes may stay unacknowledged before the connection counts as broken.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The database of the metadata on a server of PostgreSQL.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    pub(crate) config: Config,
    pub(crate) encryption: Encryption,
    pub(crate) role: ServerRole,
    /// The number of concurrent reads. Each waits for the network most of the time.
    pub(crate) readers: u32,
}

/// The number of connections for reads, unless it is set.
pub const READERS: u32 = 8;

/// The role of a server among those that use one database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerRole {
    /// No other server uses the database.
    #[default]
    Alone,
    /// It makes all changes. Replicas use the database, too.
    Primary,
    /// It reads. The only changes that it makes are counts and times of pulls and sign-ins.
    Replica,
}

/// The check of the server's certificate. The names and meanings of `sslmode` are those of libpq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// `disable`, `prefer` and `require`: no certificate is checked.
    Unverified,
    /// `verify-full`: against the certificates in the file, or those of the system.
    Verified { roots: Option<PathBuf> },
}

impl DatabaseUrl {
    /// Parses `postgres://user@host:port/database?sslmode=verify-full`.
    ///
    /// # Errors
    /// The reason why it cannot be used.
    pub fn parse(url: &str) -> Result<Self, String> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err("it must be postgres://USER@HOST/DATABASE".to_owned());
        }
        // The driver knows three of libpq's modes, and no file with certificates.
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut others) = ("prefer", None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = value,
                Some(("sslrootcert", value)) => roots = Some(PathBuf::from(decode(value)?)),
                _ => others.push(pair),
            }
        }
        let url = match &*others {
            [] => address.to_owned(),
            others => format!("{address}?{}", others.join("&")),
        };
        let mut config: Config =
            url.parse().map_err(|error: tokio_postgres::Error| match error.into_source() {
                Some(reason) => reason.to_string(),
                None => "it is not a PostgreSQL URL".to_owned(),
            })?;
        if config.get_hosts().is_empty() || config.get_dbname().is_none() || config.get_user().is_none() {
            return Err("it needs a user, a host and a database: postgres://USER@HOST/DATABASE".to_owned());
        }
        let encryption = match (mode, roots) {
            ("disable" | "prefer" | "require", None) => Encryption::Unverified,
            // libpq checks the certificate as well if it has a file for it.
            ("require" | "verify-full", roots) => Encryption::Verified { roots },
            ("disable" | "prefer", Some(_)) => {
                return Err(format!("sslmode={mode} ignores sslrootcert: use sslmode=verify-full"));
            }
            _ => {
                return Err(format!("sslmode={mode} is none of disable, prefer, require and verify-full"));
            }
        };
        config.ssl_mode(match mode {
            "disable" => SslMode::Disable,
            "prefer" => SslMode::Prefer,
            _ => SslMode::Require,
        });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNACKNOWLEDGED);
        }
        if !others.iter().any(|pair| pair.starts_with("keepalives_idle=")) {
            config.keepalives_idle(KEEPALIVE);
        }
        if config.get_application_name().is_none() {
            config.application_name("wharfinger");
        }
        Ok(Self { config, encryption, role: ServerRole::Alone, readers: READERS })
    }

    /// The time for a session to begin. `connect_timeout` is that for one address of a host, and ends before
    /// the TLS handshake.
    pub(crate) fn connect_within(&self) -> Duration {
        let for_each = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(u32::MAX);
        for_each.saturating_mul(hosts.saturating_mul(2))
    }

    /// The same database with at most this number of connections for reads.
    #[must_use]
    pub fn with_readers(self, readers: u32) -> Self {
        Self { readers, ..self }
    }

    /// The same database for a server with this role.
    #[must_use]
    pub fn with_role(self, role: ServerRole) -> Self {
        Self { role, ..self }
    }

    /// The same database with a password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.config.password(password);
        self
    }

    /// The database without user and password, as messages name it.
    #[must_use]
    pub fn place(&self) -> String {
        let ports = self.config.get_ports();
        let hosts: Vec<_> = self
            .config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(index, host)| {
                let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
                match host {
                    Host::Tcp(name) if name.contains(':') => format!("[{name}]:{port}"),
                    Host::Tcp(name) => format!("{name}:{port}"),
                    Host::Unix(path) => format!("{}:{port}", path.display()),
                }
            })
            .collect();
        format!("postgres://{}/{}", hosts.join(","), self.config.get_dbname().unwrap_or_default())
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place())
    }
}

/// Decodes the percent-encoding of a value.
fn decode(value: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let code = tail.get(..2).and_then(|code| str::from_utf8(code).ok());
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(byte.ok_or_else(|| format!("{value:?} is not percent-encoded"))?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("{value:?} is not text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_names_user_host_and_database() {
        let url = DatabaseUrl::parse("postgres://ann:pass@db.example.com/images").unwrap();
        assert_eq!(url.place(), "postgres://db.example.com:5432/images");
        assert_eq!(url.encryption, Encryption::Unverified);
        assert!(!format!("{url:?}").contains("pass"));
        let two =
            DatabaseUrl::parse("postgresql://ann@a,b:6000/images?target_session_attrs=read-write").unwrap();
        assert_eq!(two.config.get_hosts().len(), 2);
        let socket = DatabaseUrl::parse("postgres://ann@%2Frun%2Fpostgresql/images").unwrap();
        assert_eq!(socket.place(), "postgres:///run/postgresql:5432/images");
        for url in [
            "",
            "images",
            "mysql://a@b/c",
            "postgres://db/images",
            "postgres://ann@db",
            "postgres://ann@/images",
        ] {
            DatabaseUrl::parse(url).unwrap_err();
        }
    }

    #[test]
    fn sslmode_decides_on_certificates() {
        let encryption = |query: &str| {
            DatabaseUrl::parse(&format!("postgres://ann@db/images?{query}")).map(|url| url.encryption)
        };
        assert_eq!(encryption("sslmode=require"), Ok(Encryption::Unverified));
        assert_eq!(encryption("sslmode=verify-full"), Ok(Encryption::Verified { roots: None }));
        let roots = Some(PathBuf::from("/etc/ca 1.pem"));
        assert_eq!(
            encryption("sslmode=verify-full&sslrootcert=/etc/ca%201.pem&connect_timeout=3"),
            Ok(Encryption::Verified { roots })
        );
        encryption("sslmode=verify-ca").unwrap_err();
        encryption("sslmode=prefer&sslrootcert=/etc/ca.pem").unwrap_err();
        encryption("unknown=1").unwrap_err();
    }
}
