//! Whether the address that is listened on is safe without accounts.

use super::definition::Config;
use super::mistake::Mistake;

impl Config {
    /// Why the server may not listen where it is told to, if it may not: beyond this machine, while there are no
    /// accounts (`in_force`), whoever reaches the port could do everything, and nothing less than the operator's word
    /// makes that right.
    pub fn exposed(&self, in_force: bool) -> Option<Mistake> {
        // An IPv4 address written as an IPv6 one (::ffff:127.0.0.1) is this machine as well.
        if in_force || self.open || self.listen.ip().to_canonical().is_loopback() {
            return None;
        }
        let address = self.listen;
        let mistake = Mistake::new(format!(
            "refusing to listen on {address}: without accounts, whoever can reach that port could pull, push, \
             overwrite and delete every image"
        ));
        Some(mistake.about("listen").help(format!(
            "make an account first (wharfinger user add NAME --admin --password-stdin), or name a file of users \
             (--htpasswd FILE);\nor listen on this machine only (--listen 127.0.0.1:{port});\nor, on a network \
             where everyone may do all that, say --open (or `open = true`, or WHARFINGER_OPEN=true)",
            port = address.port()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposed(listen: &str, open: bool) -> bool {
        let config = Config { listen: listen.parse().unwrap(), open, ..Config::default() };
        assert!(config.exposed(true).is_none(), "where there are accounts, every address is all right");
        config.exposed(false).is_some()
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
