//! Redirect: which clients download blobs from the object store by themselves.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::networks;

/// The clients that are redirected to the object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// No client: all content passes through this server.
    Never,
    /// Every client.
    Always,
    /// Clients in these networks.
    Networks(Vec<IpNet>),
}

impl Redirect {
    /// Whether a client with this address is redirected.
    #[must_use]
    pub fn applies_to(&self, client: IpAddr) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Networks(networks) => networks::contain(networks, client),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_redirect_their_clients_alone() {
        let inside = Redirect::Networks(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        for (client, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("fd00::1", true),
            ("192.0.2.1", false),
            ("::1", false),
        ] {
            let client = client.parse().unwrap();
            assert_eq!(inside.applies_to(client), expected, "{client}");
            assert!(Redirect::Always.applies_to(client) && !Redirect::Never.applies_to(client));
        }
    }
}
