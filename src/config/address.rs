//! A broker's address as people write it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The port of a broker whose address names none.
const DEFAULT_PORT: u16 = 9092;

/// A host, by name or number, with a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address {
    /// The host: a name, an IPv4 address, or an IPv6 address without brackets.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Reads `host:port`, `host`, `[ipv6]:port` or `[ipv6]`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = split(text).ok_or_else(|| format!("`{text}` is not host:port"))?;
        if host.is_empty() || host.chars().any(|c| c.is_whitespace() || matches!(c, '/' | '[' | ']')) {
            return Err(format!("`{text}` is not host:port"));
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(format!("`{port}` is not a port"))?,
        };
        Ok(Self { host: host.into(), port })
    }
}

fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, tail) = rest.split_once(']')?;
        return match tail.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => tail.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        None => Some((text, None)),
        Some((_, port)) if port.contains(':') => Some((text, None)),
        Some((host, port)) => Some((host, Some(port))),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Reads addresses that are separated by commas; at least one.
///
/// # Errors
/// A sentence that says which one is wrong.
pub(crate) fn parse_list(text: &str) -> Result<Vec<Address>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let addresses: Vec<Address> = parts.map(Address::parse).collect::<Result<_, _>>()?;
    if addresses.is_empty() { Err("names no broker".into()) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_bracketed_addresses_are_read_and_written_alike() {
        for (text, host, port) in [
            ("kafka:9093", "kafka", 9093),
            ("127.0.0.1", "127.0.0.1", 9092),
            ("[::1]:19092", "::1", 19092),
            ("::1", "::1", 9092),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((&*address.host, address.port), (host, port));
            assert_eq!(Address::parse(&address.to_string()).unwrap(), address);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_text() {
        for text in ["", ":9092", "kafka:", "kafka:0", "kafka:70000", "http://kafka:9092", "[::1", "a b:1"] {
            let refusal = Address::parse(text).unwrap_err();
            assert!(!refusal.is_empty(), "{text}");
        }
        assert!(parse_list(" , ").is_err());
        assert_eq!(parse_list("a:1, b:2").unwrap().len(), 2);
    }
}
