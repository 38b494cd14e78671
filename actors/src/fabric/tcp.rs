//! TCP: between machines.

use std::net::SocketAddr;

use futures_util::future::LocalBoxFuture;
use remex_protocol::cluster::Address;
use tokio::net::{TcpListener, TcpStream};

use super::{Connection, Fabric, FabricError, Listener, is_of_scheme, is_passing, stream};

/// How its addresses are written.
const FORM: &str = "tcp://HOST:PORT";

/// TCP at `tcp://HOST:PORT`; a listener at port 0 takes a free port. Small frames are not delayed (`TCP_NODELAY`);
/// payloads that leave the machine are sent with a checksum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp {
    payload_crc: Option<bool>,
}

impl Tcp {
    /// With checksums of payloads that leave the machine.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether payloads are sent with a checksum, wherever they go. What is received is checked whenever it has one.
    #[must_use]
    pub fn payload_checksums(mut self, on: bool) -> Self {
        self.payload_crc = Some(on);
        self
    }

    /// Listens; gives where, as the system sees it, too.
    pub(super) async fn bind(self, address: &Address) -> Result<(Box<dyn Listener>, SocketAddr), FabricError> {
        is_of_scheme(address, "tcp", FORM)?;
        let failed = |e| FabricError::io("listen on", address, &e);
        let listener = TcpListener::bind(address.rest()).await.map_err(failed)?;
        let at = listener.local_addr().map_err(failed)?;
        // The host stays as it was written: others may know it by that name.
        let (host, port) = (address.rest().rsplit_once(':').map_or("", |(host, _)| host), at.port());
        let address = format!("tcp://{host}:{port}").parse().map_err(|_| FabricError::BadAddress {
            address: address.clone(),
            why: "with its port it is too long".to_owned(),
        })?;
        Ok((Box::new(TcpListening { listener, address, fabric: self }), at))
    }

    /// Connects to whichever of these answers first in their order; `address` is what they are called.
    pub(super) async fn dial_one_of(self, address: &Address, at: &[SocketAddr]) -> Result<Connection, FabricError> {
        let failed = |e| FabricError::io("dial", address, &e);
        let stream = TcpStream::connect(at).await.map_err(failed)?;
        self.connection(stream, address.to_string()).map_err(failed)
    }

    fn connection(self, stream: TcpStream, peer: String) -> std::io::Result<Connection> {
        stream.set_nodelay(true)?;
        let there = stream.peer_addr()?.ip();
        let is_local = there.to_canonical().is_loopback() || there == stream.local_addr()?.ip();
        let (reader, writer) = stream.into_split();
        let payload_crc = self.payload_crc.unwrap_or(!is_local);
        Ok(stream::connection(reader, writer, peer, is_local, payload_crc))
    }
}

/// What an address names.
pub(super) async fn resolve(address: &Address) -> Result<Vec<SocketAddr>, FabricError> {
    is_of_scheme(address, "tcp", FORM)?;
    let found = tokio::net::lookup_host(address.rest()).await;
    Ok(found.map_err(|e| FabricError::io("dial", address, &e))?.collect())
}

impl Fabric for Tcp {
    fn scheme(&self) -> &str {
        "tcp"
    }

    fn listen<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Box<dyn Listener>, FabricError>> {
        Box::pin(async move { Ok(self.bind(address).await?.0) })
    }

    fn dial<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Connection, FabricError>> {
        Box::pin(async move { self.dial_one_of(address, &resolve(address).await?).await })
    }

    fn dial_lane<'a>(&'a self, address: &'a Address) -> Option<LocalBoxFuture<'a, Result<Connection, FabricError>>> {
        Some(self.dial(address))
    }
}

#[derive(Debug)]
struct TcpListening {
    listener: TcpListener,
    address: Address,
    fabric: Tcp,
}

impl Listener for TcpListening {
    fn address(&self) -> &Address {
        &self.address
    }

    fn accept(&mut self) -> LocalBoxFuture<'_, Result<Connection, FabricError>> {
        Box::pin(async {
            loop {
                let accepted = self.listener.accept().await;
                match accepted.and_then(|(stream, peer)| self.fabric.connection(stream, format!("tcp://{peer}"))) {
                    Err(e) if is_passing(&e) => {}
                    result => return result.map_err(|e| FabricError::io("accept a connection on", &self.address, &e)),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::fabric::conformance;

    fn any_port() -> Address {
        "tcp://127.0.0.1:0".parse().unwrap()
    }

    #[actix_rt::test]
    async fn it_does_what_every_fabric_does() {
        conformance::check_fabric(&Tcp::new(), &any_port()).await;
        conformance::check_fabric(&Tcp::new().payload_checksums(true), &any_port()).await;
    }

    #[actix_rt::test]
    async fn port_zero_becomes_a_port_and_peers_are_named() {
        let mut listener = Tcp::new().listen(&any_port()).await.unwrap();
        let address = listener.address().clone();
        assert!(!address.rest().ends_with(":0"), "{address}");
        let dialled = Tcp::new().dial(&address).await.unwrap();
        let accepted = listener.accept().await.unwrap();
        assert_eq!((dialled.peer, dialled.is_local), (address.to_string(), true));
        assert!(accepted.peer.starts_with("tcp://127.0.0.1:"), "{}", accepted.peer);
        assert!(accepted.is_local);
    }

    #[actix_rt::test]
    async fn garbage_breaks_the_protocol() {
        let mut listener = Tcp::new().listen(&any_port()).await.unwrap();
        let mut stream = TcpStream::connect(listener.address().rest()).await.unwrap();
        stream.write_all(&[b'x'; 100]).await.unwrap();
        let mut accepted = listener.accept().await.unwrap();
        let error = conformance::read(&mut *accepted.reader).await.unwrap_err();
        assert!(matches!(error, FabricError::Frame(_)), "{error:?}");
    }

    #[actix_rt::test]
    async fn an_unknown_host_is_named() {
        let address = "tcp://no.such.host.invalid:1".parse().unwrap();
        let error = Tcp::new().dial(&address).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot dial tcp://no.such.host.invalid:1: "), "{error}");
    }
}
