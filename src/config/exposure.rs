//! Checks before serving: the addresses that are safe without accounts, and whether accounts are required.

use std::path::Path;

use super::definition::Config;
use super::error::ConfigError;

impl Config {
    /// The reason not to serve a registry without accounts on any address: they are required, or they
    /// `existed` and are lost.
    pub fn accounts_lost(&self, data: &Path, existed: bool) -> Option<ConfigError> {
        let data = data.display();
        let make = format!("wharfinger user add NAME --admin --password-stdin --data {data}");
        if self.auth.required {
            let error = ConfigError::new(format!(
                "auth.required is set, and {data} holds no account: refusing to serve an open registry"
            ));
            return Some(error.help(format!(
                "check that `data` names the right directory and that its volume is mounted;\nfor a new registry, make \
                 an account first ({make}), or start with --admin NAME --admin-password-file FILE"
            )));
        }
        if existed && !self.open {
            let database = match &self.metadata.url {
                Some(url) => url.database.place(),
                None => format!("{data}/wharfinger/metadata.db"),
            };
            let error = ConfigError::new(format!(
                "{data} has had accounts, and its database holds none now: refusing to serve an open registry"
            ));
            return Some(error.help(format!(
                "if the database was lost, restore {database} from a backup;\nor make a new account \
                 ({make});\nor, if everyone may pull, push, overwrite and delete, say --open"
            )));
        }
        None
    }

    /// Whether passwords and images would cross a network in clear text: plain HTTP beyond this machine,
    /// without a configured proxy that terminates TLS.
    pub fn is_clear_text(&self) -> bool {
        let has_tls = self.tls.certificate.is_some()
            || !self.tls.self_signed.is_empty()
            || self.acme.directory.is_some();
        let is_behind_tls = !self.proxy.trusted.is_empty()
            || self.external_url.as_ref().is_some_and(|url| url.as_str().starts_with("https:"));
        !has_tls && !is_behind_tls && !self.listen.ip().to_canonical().is_loopback()
    }

    /// The reason not to listen on the configured address: beyond this machine and without accounts
    /// (`in_force`), everyone would have all rights. Only the operator may decide that.
    pub fn exposed(&self, in_force: bool) -> Option<ConfigError> {
        // An IPv4-mapped IPv6 address (::ffff:127.0.0.1) is this machine as well.
        if in_force || self.open || self.listen.ip().to_canonical().is_loopback() {
            return None;
        }
        let address = self.listen;
        let error = ConfigError::new(format!(
            "refusing to listen on {address}: without accounts, everyone who can reach that port could pull, push, \
             overwrite and delete every image"
        ));
        Some(error.about("listen").help(format!(
            "make an account first (wharfinger user add NAME --admin --password-stdin --data {data}), or name a file of users \
             (--htpasswd FILE), or the first account (WHARFINGER_ADMIN and WHARFINGER_ADMIN_PASSWORD);\nor listen on this machine only (--listen 127.0.0.1:{port});\nor, on a network \
             where everyone may do all that, set --open (or `open = true`, or WHARFINGER_OPEN=true)",
            data = self.data.display(),
            port = address.port()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_accounts_are_refused() {
        let data = Path::new("/srv/registry");
        let lost = |change: fn(&mut Config), existed| {
            let mut config = Config::default();
            change(&mut config);
            config.accounts_lost(data, existed).map(|error| error.message)
        };
        assert_eq!(lost(|_| {}, false), None);
        assert!(lost(|_| {}, true).unwrap().starts_with("/srv/registry has had accounts"));
        assert_eq!(lost(|config| config.open = true, true), None);
        let required = lost(|config| config.auth.required = true, false).unwrap();
        assert!(
            required.starts_with("auth.required is set, and /srv/registry holds no account"),
            "{required}"
        );
    }

    #[test]
    fn clear_text_is_http_beyond_this_machine() {
        let clear = |listen: &str, change: fn(&mut Config)| {
            let mut config = Config { listen: listen.parse().unwrap(), ..Config::default() };
            change(&mut config);
            config.is_clear_text()
        };
        assert!(clear("0.0.0.0:5000", |_| {}));
        assert!(!clear("127.0.0.1:5000", |_| {}));
        assert!(!clear("0.0.0.0:5000", |config| config.tls.certificate = Some("server.pem".into())));
        assert!(!clear("0.0.0.0:5000", |config| config.proxy.trusted = vec!["10.0.0.1/32".parse().unwrap()]));
    }

    fn exposed(listen: &str, open: bool) -> bool {
        let config = Config { listen: listen.parse().unwrap(), open, ..Config::default() };
        assert!(config.exposed(true).is_none(), "with accounts, every address is safe");
        let refused = config.exposed(false);
        if let Some(refused) = &refused {
            let help = refused.help.as_deref().unwrap_or_default();
            assert!(help.contains("--password-stdin --data data)"), "{help}");
        }
        refused.is_some()
    }

    #[test]
    fn exposed_without_accounts_is_refused() {
        for listen in ["127.0.0.1:5000", "127.9.9.9:0", "[::1]:5000", "[::ffff:127.0.0.1]:5000"] {
            assert!(!exposed(listen, false), "{listen}");
        }
        for listen in ["0.0.0.0:5000", "[::]:5000", "192.168.0.1:5000", "[::ffff:10.0.0.1]:5000"] {
            assert!(exposed(listen, false), "{listen}");
            assert!(!exposed(listen, true), "{listen}");
        }
    }
}
