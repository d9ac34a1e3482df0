//! Networks of clients and proxies.

use std::net::IpAddr;

use ipnet::IpNet;

/// Whether one of the networks has an address. An IPv4 address may be mapped into IPv6.
#[must_use]
pub fn contain(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}
