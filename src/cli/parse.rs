//! Arguments that several commands take.

use std::{collections::BTreeSet, path::Path, time::Duration};

use remex::{Address, ClusterFile, protocol::cluster::AddressError};

use super::Failure;

/// An address that the program has a fabric for. `localhost:80` would be one of the scheme `localhost`.
pub(crate) fn address(text: &str) -> Result<Address, AddressError> {
    text.parse::<Address>().and_then(|address| match address.scheme() {
        "tcp" | "unix" => Ok(address),
        _ => Err(AddressError(text.to_owned())),
    })
}

/// A cluster in a file.
pub(crate) fn cluster(file: &Path) -> Result<ClusterFile, Failure> {
    ClusterFile::read(file).map_err(Failure::usage)
}

/// A time as a person writes it: `30s`, `1m 30s`, `250ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write a time like 30s, 250ms or 1m30s"))
}

/// Whether each address is given once.
pub(crate) fn distinct(addresses: &[Address]) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    match addresses.iter().find(|address| !seen.insert(*address)) {
        None => Ok(()),
        Some(twice) => Err(Failure::usage(format!("--connect names {twice} twice: give each worker once"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        for text in ["", "5", "s", "-1s", "5 parsecs"] {
            assert!(duration(text).unwrap_err().contains("write a time like 30s"), "{text}");
        }
    }

    #[test]
    fn an_address_is_one_of_tcp_or_unix() {
        assert!(address("tcp://[::1]:80").is_ok() && address("unix:a").is_ok());
        for text in ["localhost:80", "loopback:a", "tcp:80", "a"] {
            assert!(address(text).unwrap_err().to_string().contains("write tcp://HOST:PORT"), "{text}");
        }
    }

    #[test]
    fn an_address_that_stands_twice_is_named() {
        let addresses: Vec<Address> = ["unix:/a", "unix:/b", "unix:/a"].map(|text| text.parse().unwrap()).into();
        assert!(distinct(&addresses[..2]).is_ok());
        assert!(format!("{:?}", distinct(&addresses).unwrap_err()).contains("unix:/a twice"));
    }
}
