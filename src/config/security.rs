//! Checks settings of access and HTTPS that depend on each other.

use super::definition::Config;
use super::error::ConfigError;
use super::value::AcmeChallenge;

impl Config {
    /// Checks the settings of access against each other.
    pub(super) fn access_mistakes(&self) -> Vec<ConfigError> {
        if !(self.open && self.auth.required) {
            return Vec::new();
        }
        let error = ConfigError::new(
            "open and auth.required contradict each other: one allows to serve without accounts, the other forbids it",
        );
        vec![error.help("remove `open` (--open, WHARFINGER_OPEN), or auth.required").about("open")]
    }

    /// Checks the settings of `[tls]` against each other.
    pub(super) fn tls_mistakes(&self) -> Vec<ConfigError> {
        let tls = &self.tls;
        let mut mistakes = Vec::new();
        let sources = [
            ("tls.certificate", tls.certificate.is_some()),
            ("tls.self_signed", !tls.self_signed.is_empty()),
            ("tls.acme.directory", self.acme.directory.is_some()),
        ];
        let given: Vec<&str> = sources.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        if given.len() > 1 {
            let error = ConfigError::new(format!(
                "there can be one certificate, and {} each name one",
                given.join(" and ")
            ));
            mistakes.push(
                error.help("keep the one that is meant; the flags --tls-… give these settings as well"),
            );
        }
        if tls.key.is_some() && tls.certificate.is_none() {
            let error =
                ConfigError::new("tls.key is given, and tls.certificate, to which it belongs, is not");
            mistakes.push(error.help("name the file of the certificate as well"));
        }
        if let Some(redirect) = tls.redirect {
            if given.is_empty() {
                let error =
                    ConfigError::new("tls.redirect sends to HTTPS, and there is no certificate for that");
                mistakes
                    .push(error.help("name one (tls.certificate, tls.self_signed or tls.acme.directory)"));
            }
            if redirect == self.listen && redirect.port() != 0 {
                let error = ConfigError::new(format!("tls.redirect and listen are both {redirect}"));
                mistakes.push(error.help(
                    "listen is for HTTPS, such as \":443\"; tls.redirect for plain HTTP, such as \":80\"",
                ));
            }
        }
        mistakes.extend(self.acme_mistakes());
        mistakes.into_iter().map(|error| error.about("tls")).collect()
    }

    /// Checks the settings of `[tls.acme]` against each other.
    fn acme_mistakes(&self) -> Vec<ConfigError> {
        let acme = &self.acme;
        let mut mistakes = Vec::new();
        if acme.directory.is_none() {
            let others = [
                ("tls.acme.hosts", !acme.hosts.is_empty()),
                ("tls.acme.contact", !acme.contact.is_empty()),
                ("tls.acme.ca", acme.ca.is_some()),
                ("tls.acme.external_account", acme.external_account.is_some()),
            ];
            if let Some((name, _)) = others.iter().find(|(_, given)| *given) {
                let error = ConfigError::new(format!(
                    "{name} is given, and tls.acme.directory, the authority to be asked, is not"
                ));
                mistakes.push(error.help(
                    "name one; Let's Encrypt's is directory = \"https://acme-v02.api.letsencrypt.org/directory\"",
                ));
            }
            return mistakes;
        }
        if acme.hosts.is_empty() {
            let error = ConfigError::new(
                "tls.acme.directory is given without tls.acme.hosts, the hosts of the certificate",
            );
            mistakes.push(error.help("name the hosts, as in hosts = [\"registry.example.com\"]"));
        }
        if acme.challenge == AcmeChallenge::Http01 && self.tls.redirect.is_none() {
            let error = ConfigError::new(
                "tls.acme.challenge is \"http-01\", and tls.redirect, where the authority would be answered, is not given",
            );
            mistakes.push(error.help(
                "write redirect = \":80\" in [tls]; or challenge = \"tls-alpn-01\", for which port 443 is enough",
            ));
        }
        for host in acme.hosts.iter().filter(|host| host.is_wildcard()) {
            let error = ConfigError::new(format!(
                "tls.acme.hosts names {host}, and no authority takes it as proof for all names below a domain that one \
                 server answers"
            ));
            mistakes.push(error.help(
                "name each host; or have a certificate for the domain made elsewhere, and name it in tls.certificate",
            ));
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::Sources;
    use super::*;

    fn mistakes(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::default();
        change(&mut config);
        config.tls_mistakes().into_iter().map(|error| error.message).collect()
    }

    #[test]
    fn open_and_required_accounts_contradict() {
        let mut config = Config { open: true, ..Config::default() };
        assert!(config.access_mistakes().is_empty());
        config.auth.required = true;
        assert_eq!(config.access_mistakes().len(), 1);
    }

    #[test]
    fn second_certificate_is_rejected() {
        assert_eq!(mistakes(|config| config.tls.self_signed = vec!["a.example".parse().unwrap()]), [""; 0]);
        let two = mistakes(|config| {
            config.tls.self_signed = vec!["a.example".parse().unwrap()];
            config.tls.certificate = Some("server.pem".into());
        });
        assert_eq!(
            two,
            ["there can be one certificate, and tls.certificate and tls.self_signed each name one"]
        );
    }

    #[test]
    fn acme_directory_requires_hosts() {
        let directory = |config: &mut Config| {
            let url = "https://acme.example/directory".to_owned();
            let sources = Sources {
                environment: vec![
                    ("WHARFINGER_TLS_ACME_DIRECTORY".into(), url.into()),
                    ("WHARFINGER_TLS_ACME_HOSTS".into(), "a.example".into()),
                ],
                file: Some("/dev/null".into()),
                flags: Vec::new(),
            };
            config.acme = Config::load(&sources).unwrap().config.acme;
        };
        assert_eq!(mistakes(directory), [""; 0]);
        let alone = |change: fn(&mut Config)| {
            let told = mistakes(|config| {
                directory(config);
                change(config);
            });
            assert_eq!(told.len(), 1, "{told:?}");
            told[0].clone()
        };
        let two = alone(|config| config.tls.self_signed = vec!["a.example".parse().unwrap()]);
        assert_eq!(
            two,
            "there can be one certificate, and tls.self_signed and tls.acme.directory each name one"
        );
        assert!(alone(|config| config.tls.certificate = Some("server.pem".into())).contains("each name one"));
        assert!(alone(|config| config.acme.directory = None).contains("tls.acme.directory"));
        assert!(alone(|config| config.acme.challenge = AcmeChallenge::Http01).contains("tls.redirect"));
        let both = mistakes(|config| {
            directory(config);
            config.acme.challenge = AcmeChallenge::Http01;
            config.tls.redirect = Some("0.0.0.0:80".parse().unwrap());
        });
        assert_eq!(both, [""; 0]);
        assert!(alone(|config| config.acme.hosts.clear()).contains("tls.acme.hosts"));
        assert!(
            alone(|config| config.acme.hosts.push("*.a.example".parse().unwrap())).contains("*.a.example")
        );
    }

    #[test]
    fn redirect_requires_a_certificate() {
        let redirect = |config: &mut Config| config.tls.redirect = Some(config.listen);
        assert_eq!(mistakes(redirect).len(), 2);
        let to_itself = mistakes(|config| {
            redirect(config);
            config.tls.self_signed = vec!["a.example".parse().unwrap()];
        });
        assert_eq!(to_itself, ["tls.redirect and listen are both 127.0.0.1:5000"]);
    }

    #[test]
    fn key_requires_a_certificate() {
        assert_eq!(mistakes(|config| config.tls.key = Some("server.key".into())).len(), 1);
    }
}
