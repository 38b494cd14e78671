//! Unix sockets: between processes of one machine.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::PathBuf,
};

use futures_util::future::LocalBoxFuture;
use remex_protocol::cluster::Address;
use tokio::net::{UnixListener, UnixStream};

use super::{Connection, Fabric, FabricError, Listener, is_of_scheme, is_passing, stream};

/// Longest path of a socket, in bytes.
const MAX_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Unix sockets at `unix:PATH`. Payloads are sent without a checksum: they do not leave the machine.
///
/// The socket's file is removed when its listener is dropped. One that a killed process left behind is replaced; two
/// processes that do so in the same instant can leave one of them unreachable.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unix {
    payload_crc: bool,
}

impl Unix {
    /// Without checksums of payloads.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether payloads are sent with a checksum. What is received is checked whenever it has one.
    #[must_use]
    pub fn payload_checksums(mut self, on: bool) -> Self {
        self.payload_crc = on;
        self
    }

    pub(super) fn connection(self, stream: UnixStream, peer: String) -> Connection {
        let (reader, writer) = stream.into_split();
        stream::connection(reader, writer, peer, true, self.payload_crc)
    }
}

impl Fabric for Unix {
    fn scheme(&self) -> &str {
        "unix"
    }

    fn listen<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Box<dyn Listener>, FabricError>> {
        Box::pin(async move {
            let path = path_of(address)?;
            let failed = |e| FabricError::io("listen on", address, &e);
            let listener = match UnixListener::bind(&path) {
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                    remove_stale(address, &path).await?;
                    UnixListener::bind(&path)
                }
                result => result,
            };
            let listener = listener.map_err(failed)?;
            let file = fs::symlink_metadata(&path).map_err(failed)?;
            let listener: Box<dyn Listener> = Box::new(UnixListening {
                listener,
                address: address.clone(),
                fabric: *self,
                identity: (file.dev(), file.ino()),
                path,
            });
            Ok(listener)
        })
    }

    fn dial<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Connection, FabricError>> {
        Box::pin(async move {
            let path = path_of(address)?;
            let stream = UnixStream::connect(path).await;
            let stream = stream.map_err(|e| FabricError::io("dial", address, &e))?;
            Ok(self.connection(stream, address.to_string()))
        })
    }

    fn dial_lane<'a>(&'a self, address: &'a Address) -> Option<LocalBoxFuture<'a, Result<Connection, FabricError>>> {
        Some(self.dial(address))
    }
}

fn path_of(address: &Address) -> Result<PathBuf, FabricError> {
    is_of_scheme(address, "unix", "unix:PATH")?;
    let path = address.rest();
    let why = if path.len() > MAX_PATH {
        format!("its path has {} bytes; a socket's path has at most {MAX_PATH}", path.len())
    } else if path.contains('\0') {
        "its path contains a zero byte".to_owned()
    } else {
        return Ok(path.into());
    };
    Err(FabricError::BadAddress { address: address.clone(), why })
}

/// Removes a socket on which nobody listens any more; anything else at that path is left alone and is an error.
async fn remove_stale(address: &Address, path: &PathBuf) -> Result<(), FabricError> {
    let failed = |e| FabricError::io("listen on", address, &e);
    let file = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result.map_err(failed)?,
    };
    if !file.file_type().is_socket() {
        return Err(FabricError::BadAddress {
            address: address.clone(),
            why: "there is something at that path that is not a socket; choose another path".to_owned(),
        });
    }
    match UnixStream::connect(path).await {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        // Whoever answers, or is too busy to, or may not be asked, lives.
        Ok(_) | Err(_) => Err(failed(io::ErrorKind::AddrInUse.into())),
    }
}

#[derive(Debug)]
struct UnixListening {
    listener: UnixListener,
    address: Address,
    fabric: Unix,
    path: PathBuf,
    /// Device and inode of the socket's file.
    identity: (u64, u64),
}

impl Listener for UnixListening {
    fn address(&self) -> &Address {
        &self.address
    }

    fn accept(&mut self) -> LocalBoxFuture<'_, Result<Connection, FabricError>> {
        Box::pin(async {
            loop {
                let stream = match self.listener.accept().await {
                    Err(e) if is_passing(&e) => continue,
                    Err(e) => return Err(FabricError::io("accept a connection on", &self.address, &e)),
                    Ok((stream, _)) => stream,
                };
                // The dialler has no path; its process says more than nothing.
                let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
                let peer = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
                return Ok(self.fabric.connection(stream, format!("{}{peer}", self.address)));
            }
        })
    }
}

impl Drop for UnixListening {
    /// Removes the file, unless another listener has put its own in its place.
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(address = %self.address, %error, "cannot remove the socket");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::fabric::conformance;

    /// A directory of its own for each test, removed at its end.
    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
            static LAST: AtomicU32 = AtomicU32::new(0);
            let n = LAST.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("remex-uds-{}-{n}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn path(&self) -> PathBuf {
            self.0.join("s")
        }

        fn address(&self) -> Address {
            format!("unix:{}", self.path().display()).parse().unwrap()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[actix_rt::test]
    async fn it_does_what_every_fabric_does() {
        let dir = Dir::new();
        conformance::check_fabric(&Unix::new(), &dir.address()).await;
        conformance::check_fabric(&Unix::new().payload_checksums(true), &dir.address()).await;
    }

    #[actix_rt::test]
    async fn the_file_is_removed_with_its_listener_unless_it_is_anothers() {
        let dir = Dir::new();
        let listener = Unix::new().listen(&dir.address()).await.unwrap();
        assert!(dir.path().exists());
        drop(listener);
        assert!(!dir.path().exists());

        let first = Unix::new().listen(&dir.address()).await.unwrap();
        fs::remove_file(dir.path()).unwrap();
        fs::write(dir.path(), "keeps the inode of the first from being used again").unwrap();
        drop(first);
        assert!(dir.path().exists());
    }

    #[actix_rt::test]
    async fn a_dead_socket_is_replaced() {
        let dir = Dir::new();
        // The standard library leaves the file where it was, like a process that was killed.
        drop(std::os::unix::net::UnixListener::bind(dir.path()).unwrap());
        assert!(dir.path().exists());
        conformance::connect(&Unix::new(), &dir.address()).await;
    }

    #[actix_rt::test]
    async fn what_is_not_a_socket_is_left_alone() {
        let dir = Dir::new();
        fs::write(dir.path(), "precious").unwrap();
        let error = Unix::new().listen(&dir.address()).await.unwrap_err();
        assert!(error.to_string().contains("not a socket"), "{error}");
        assert_eq!(fs::read(dir.path()).unwrap(), b"precious");
    }

    #[actix_rt::test]
    async fn a_path_that_is_too_long_is_refused_with_the_limit() {
        let address = format!("unix:/{}", "x".repeat(MAX_PATH)).parse().unwrap();
        for error in [Unix::new().listen(&address).await.unwrap_err(), Unix::new().dial(&address).await.unwrap_err()] {
            let text = error.to_string();
            assert!(text.contains(&MAX_PATH.to_string()) && text.contains(&(MAX_PATH + 1).to_string()), "{text}");
        }
    }

    #[actix_rt::test]
    async fn garbage_breaks_the_protocol() {
        let dir = Dir::new();
        let mut listener = Unix::new().listen(&dir.address()).await.unwrap();
        let mut stream = UnixStream::connect(dir.path()).await.unwrap();
        stream.write_all(&[b'x'; 100]).await.unwrap();
        let mut accepted = listener.accept().await.unwrap();
        let error = conformance::read(&mut *accepted.reader).await.unwrap_err();
        assert!(matches!(error, FabricError::Frame(_)), "{error:?}");
    }
}
