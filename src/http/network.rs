//! Whose an address is, as far as limits and shares go.

use std::net::{IpAddr, Ipv6Addr};

/// The address, or the 64 bits of an IPv6 address that one customer is given at least.
pub fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}
