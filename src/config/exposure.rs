//! Whether the server would be as closed as its configuration says, and safe without accounts if it says nothing.

use super::definition::Config;
use super::mistake::Mistake;

impl Config {
    /// Why the server may not listen where it is told to, if it may not: beyond this machine, whoever reaches the
    /// port could do everything, and nothing less than the operator's word makes that right.
    pub fn exposed(&self) -> Option<Mistake> {
        // Requests are not judged by accounts yet. Who sets these counts on it that they are, so that to serve
        // without would be to let everyone in.
        let unset = Self::default();
        let by_account = (self.limits.requests_per_account, self.limits.bandwidth_per_account);
        if (&self.auth, &self.audit, by_account)
            != (
                &unset.auth,
                &unset.audit,
                (unset.limits.requests_per_account, unset.limits.bandwidth_per_account),
            )
        {
            let mistake = Mistake::new(
                "refusing to serve: the configuration sets `auth.*`, `audit.*` or a limit by account, and this \
                 version lets everyone in, whatever they say"
                    .to_owned(),
            );
            return Some(mistake.help(
                "remove these settings, and put a proxy that asks for passwords before the server".to_owned(),
            ));
        }
        // An IPv4 address written as an IPv6 one (::ffff:127.0.0.1) is this machine as well.
        if self.open || self.listen.ip().to_canonical().is_loopback() {
            return None;
        }
        let address = self.listen;
        let mistake = Mistake::new(format!(
            "refusing to listen on {address}: without accounts, whoever can reach that port could pull, push, \
             overwrite and delete every image"
        ));
        Some(mistake.help(format!(
            "this version has no accounts yet; either listen on this machine only (--listen 127.0.0.1:{port}) \
             and put a proxy that asks for passwords before it,\nor, on a network where everyone may do all \
             that, say --open (or `open = true`, or WHARFINGER_OPEN=true)",
            port = address.port()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposed(listen: &str, open: bool) -> bool {
        Config { listen: listen.parse().unwrap(), open, ..Config::default() }.exposed().is_some()
    }

    #[test]
    fn settings_that_nothing_enforces_are_refused() {
        let mut config = Config { open: true, ..Config::default() };
        config.auth.htpasswd = Some("passwd".into());
        assert!(config.exposed().is_some());
        let mut config = Config::default();
        config.audit.pulls = true;
        assert!(config.exposed().is_some());
        let mut config = Config::default();
        config.limits.requests_per_account = 1;
        assert!(config.exposed().is_some());
    }

    #[test]
    fn only_this_machine_is_safe_without_accounts() {
        for listen in ["127.0.0.1:5000", "127.9.9.9:0", "[::1]:5000", "[::ffff:127.0.0.1]:5000"] {
            assert!(!exposed(listen, false), "{listen}");
        }
        for listen in ["0.0.0.0:5000", "[::]:5000", "192.168.0.1:5000", "[::ffff:10.0.0.1]:5000"] {
            assert!(exposed(listen, false), "{listen}");
            assert!(!exposed(listen, true), "{listen}");
        }
    }
}
