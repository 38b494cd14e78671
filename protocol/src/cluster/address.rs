//! Where a task listens: `SCHEME:REST`.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Longest address, in bytes.
pub const MAX_ADDRESS: usize = 1024;

/// An address as a person writes it: `tcp://HOST:PORT`, `unix:PATH`, `loopback:NAME`, or a scheme of the application's
/// own. The scheme finds the fabric; the fabric understands the rest. Travels as that string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Address(Arc<str>);

/// The text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address: write tcp://HOST:PORT or unix:PATH")]
pub struct AddressError(pub String);

impl Address {
    /// What finds the fabric: `tcp`, `unix`, `loopback`.
    pub fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// What the fabric understands: `HOST:PORT`, `PATH`, `NAME`.
    pub fn rest(&self) -> &str {
        let rest = self.0.split_once(':').map_or("", |(_, rest)| rest);
        rest.strip_prefix("//").unwrap_or(rest)
    }

    /// Whether the address can only be reached from this machine.
    pub fn is_local(&self) -> bool {
        match self.scheme() {
            "unix" | "loopback" => true,
            "tcp" => {
                let host = self.rest().rsplit_once(':').map_or("", |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']');
                host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
            _ => false,
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.chars().take(200).collect());
        let (scheme, _) = text.split_once(':').ok_or_else(wrong)?;
        let plain = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let address = Self(text.into());
        let good = plain && !address.rest().is_empty() && text.len() <= MAX_ADDRESS;
        // A host without a port is the commonest slip, so it is found here and not by the resolver.
        let port = scheme != "tcp"
            || address
                .rest()
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if good && port { Ok(address) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.0.as_ref().to_owned()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_a_rest() {
        fn check(text: &str, scheme: &str, rest: &str, local: bool) {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.scheme(), address.rest(), address.is_local()), (scheme, rest, local), "{text}");
        }
        check("tcp://127.0.0.1:80", "tcp", "127.0.0.1:80", true);
        check("tcp://[::1]:80", "tcp", "[::1]:80", true);
        check("tcp://example.com:80", "tcp", "example.com:80", false);
        check("unix:/run/x.sock", "unix", "/run/x.sock", true);
        check("loopback:a", "loopback", "a", true);
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in ["", "127.0.0.1:80", "tcp://", "tcp://host", "tcp://:80", "tcp://host:99999", ":x", "unix:"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
