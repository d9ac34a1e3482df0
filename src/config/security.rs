//! Settings of HTTPS that do not go together.

use super::definition::Config;
use super::mistake::Mistake;

impl Config {
    /// What is wrong with the settings of `[tls]` as a whole.
    pub(super) fn tls_mistakes(&self) -> Vec<Mistake> {
        let tls = &self.tls;
        let mut mistakes = Vec::new();
        let sources = [
            ("tls.certificate", tls.certificate.is_some()),
            ("tls.self_signed", !tls.self_signed.is_empty()),
        ];
        let given: Vec<&str> = sources.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        if given.len() > 1 {
            let mistake = Mistake::new(format!(
                "there can be one certificate, and {} each name one",
                given.join(" and ")
            ));
            mistakes.push(
                mistake.help("keep the one that is meant; the flags --tls-… give these settings as well"),
            );
        }
        if tls.key.is_some() && tls.certificate.is_none() {
            let mistake = Mistake::new("tls.key is given, and tls.certificate, to which it belongs, is not");
            mistakes.push(mistake.help("name the file of the certificate as well"));
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::default();
        change(&mut config);
        config.tls_mistakes().into_iter().map(|mistake| mistake.message).collect()
    }

    #[test]
    fn one_certificate_is_enough() {
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
    fn a_key_belongs_to_a_certificate() {
        assert_eq!(mistakes(|config| config.tls.key = Some("server.key".into())).len(), 1);
    }
}
