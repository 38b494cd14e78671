//! TCP, and Unix sockets in its place between processes of one machine.

use std::{
    env, fmt, fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::future::{LocalBoxFuture, select};
use remex_protocol::cluster::Address;
use tokio::net::UnixStream;

use super::{
    Connection, Fabric, FabricError, Listener,
    tcp::{Tcp, resolve},
    uds::Unix,
};

/// A socket that nobody listens on is removed when it is so much older than one that is made beside it: what is younger may
/// be about to be listened on.
const STALE_AFTER: Duration = Duration::from_secs(60);

/// TCP at `tcp://HOST:PORT`, as [`Tcp`]. A listener takes connections on a Unix socket as well, and whoever dials an address
/// of this machine tries that first: it costs less than TCP over loopback.
///
/// The socket is in a folder that its user alone may enter: `remex` in the one that `XDG_RUNTIME_DIR` names, or `remex-UID`
/// where temporary files are. Where there is no such folder, or others may enter it, it is TCP alone; so it is for a dialler
/// of another user, or in another container. The socket's name says network namespace, IP address and port, which
/// together belong to one listener: that of another container or address is never met. Payloads have no checksum there.
#[derive(Clone, Debug, Default)]
pub struct TcpOrUnix {
    tcp: Tcp,
    unix: Unix,
    folder: Option<PathBuf>,
}

impl TcpOrUnix {
    /// With checksums of payloads that leave the machine.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether payloads are sent with a checksum, wherever they go. What is received is checked whenever it has one.
    #[must_use]
    pub fn payload_checksums(mut self, on: bool) -> Self {
        (self.tcp, self.unix) = (self.tcp.payload_checksums(on), self.unix.payload_checksums(on));
        self
    }

    /// Where the sockets are, instead of in those two folders: for containers that share a network and a volume. It is
    /// made if it is not there; the one that it is in must exist.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Where sockets may be. A listener takes the first that will do; a dialler looks into all, since it may have another
    /// environment.
    fn folders(&self, user: u32) -> Vec<PathBuf> {
        if let Some(folder) = &self.folder {
            return vec![folder.clone()];
        }
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        let temporary = env::temp_dir().join(format!("remex-{user}"));
        runtime.map(|path| path.join("remex")).into_iter().chain([temporary]).collect()
    }

    /// Listens on the socket that goes with a TCP listener.
    async fn listen_beside(&self, at: SocketAddr) -> Result<Box<dyn Listener>, Refusal> {
        if has_scope(&at) {
            return Err(Refusal("the address is another one on each link".to_owned()));
        }
        let (user, namespace) = (user()?, namespace()?);
        let name = name(namespace, at.ip(), at.port());
        let mut refused = Refusal(String::new());
        for folder in self.folders(user) {
            match self.listen_in(&folder, &name, user).await {
                Ok(listener) => {
                    remove_stale(&folder, &name, namespace);
                    return Ok(listener);
                }
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    async fn listen_in(&self, folder: &Path, name: &str, user: u32) -> Result<Box<dyn Listener>, Refusal> {
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(refusal(folder.display(), e)),
            _ => check(folder, user)?,
        }
        let path = folder.join(name);
        let path = path.to_str().ok_or_else(|| refusal(folder.display(), "its name is not text"))?;
        let address: Address = format!("unix:{path}").parse().map_err(|e| refusal(path, e))?;
        Ok(self.unix.listen(&address).await?)
    }

    /// A connection to who listens at one of these, if he is on this machine and has a socket.
    async fn dial_beside(&self, address: &Address, at: &[SocketAddr]) -> Result<Connection, Refusal> {
        let mut refused = Refusal("it is not an address of this machine".to_owned());
        let here: Vec<_> = at.iter().filter(|at| is_here(at)).collect();
        if here.is_empty() {
            return Err(refused);
        }
        let (user, namespace) = (user()?, namespace()?);
        let folders = self.folders(user);
        for at in here {
            // A listener at an address of its own is preferred to one at all of them, as the system does it.
            for ip in [at.ip(), Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()] {
                let name = name(namespace, ip, at.port());
                for folder in &folders {
                    match connect(folder, &name, user).await {
                        Ok(stream) => {
                            let peer = format!("{address} over unix:{}", folder.join(name).display());
                            return Ok(self.unix.connection(stream, peer));
                        }
                        Err(why) => refused = why,
                    }
                }
            }
        }
        Err(refused)
    }
}

impl Fabric for TcpOrUnix {
    fn scheme(&self) -> &str {
        self.tcp.scheme()
    }

    fn listen<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Box<dyn Listener>, FabricError>> {
        Box::pin(async move {
            let (tcp, at) = self.tcp.bind(address).await?;
            Ok(match self.listen_beside(at).await {
                Ok(unix) => {
                    tracing::debug!(address = %tcp.address(), socket = %unix.address(), "listening on a Unix socket, too");
                    Box::new(Both { unix, tcp, unix_first: false })
                }
                Err(why) => {
                    tracing::debug!(address = %tcp.address(), %why, "listening without a Unix socket");
                    tcp
                }
            })
        })
    }

    fn dial<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Connection, FabricError>> {
        Box::pin(async move {
            let at = resolve(address).await?;
            match self.dial_beside(address, &at).await {
                Ok(connection) => {
                    tracing::debug!(peer = connection.peer, "dialled a Unix socket instead");
                    Ok(connection)
                }
                Err(why) => {
                    tracing::trace!(%address, %why, "no Unix socket: dialling by TCP");
                    self.tcp.dial_one_of(address, &at).await
                }
            }
        })
    }

    fn dial_lane<'a>(&'a self, address: &'a Address) -> Option<LocalBoxFuture<'a, Result<Connection, FabricError>>> {
        Some(self.dial(address))
    }
}

/// A listener on both. The socket goes first when it is dropped: while its file is there nobody else has the port.
#[derive(Debug)]
struct Both {
    unix: Box<dyn Listener>,
    tcp: Box<dyn Listener>,
    /// Who is asked first; they take turns, so that neither has to wait for the other's queue to be empty.
    unix_first: bool,
}

impl Listener for Both {
    fn address(&self) -> &Address {
        self.tcp.address()
    }

    fn accept(&mut self) -> LocalBoxFuture<'_, Result<Connection, FabricError>> {
        self.unix_first = !self.unix_first;
        let Self { unix, tcp, unix_first } = self;
        let address = tcp.address().clone();
        let unix: LocalBoxFuture<'_, _> = Box::pin(async move {
            let connection = unix.accept().await?;
            let peer = format!("{address} over {}", connection.peer);
            tracing::debug!(peer, "accepted on a Unix socket");
            Ok(Connection { peer, ..connection })
        });
        let (first, second) = if *unix_first { (unix, tcp.accept()) } else { (tcp.accept(), unix) };
        Box::pin(async move { select(first, second).await.factor_first().0 })
    }
}

/// Why there is no Unix socket; for the log.
struct Refusal(String);

fn refusal(what: impl fmt::Display, why: impl fmt::Display) -> Refusal {
    Refusal(format!("{what}: {why}"))
}

impl From<FabricError> for Refusal {
    fn from(error: FabricError) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `user` alone may enter a folder.
fn check(folder: &Path, user: u32) -> Result<(), Refusal> {
    let found = fs::symlink_metadata(folder).map_err(|e| refusal(folder.display(), e))?;
    let why = if !found.is_dir() {
        "it is not a folder"
    } else if found.uid() != user {
        "it belongs to another user"
    } else if found.mode() & 0o077 != 0 {
        "others may enter it"
    } else {
        return Ok(());
    };
    Err(refusal(folder.display(), why))
}

/// Connects to a socket in a folder of `user`'s that a process of `user`'s listens on.
async fn connect(folder: &Path, name: &str, user: u32) -> Result<UnixStream, Refusal> {
    let path = folder.join(name);
    let failed = |e: io::Error| refusal(path.display(), e);
    check(folder, user)?;
    let stream = UnixStream::connect(&path).await.map_err(failed)?;
    match stream.peer_cred().map_err(failed)?.uid() {
        peer if peer == user => Ok(stream),
        // The folder has been another one in between.
        peer => Err(refusal(path.display(), format_args!("the user {peer} listens there"))),
    }
}

/// Who this process is, as others see it: who may do what belongs to that user.
fn user() -> Result<u32, Refusal> {
    let of_pair = || UnixStream::pair()?.0.peer_cred();
    Ok(of_pair().map_err(|e| refusal("this process's user", e))?.uid())
}

/// The network namespace that sockets are made in here. IP addresses and ports mean nothing outside of it, though files may
/// be seen from several.
fn namespace() -> Result<u64, Refusal> {
    if cfg!(not(target_os = "linux")) {
        return Ok(0);
    }
    let path = "/proc/thread-self/ns/net";
    Ok(fs::metadata(path).map_err(|e| refusal(path, e))?.ino())
}

/// What all names in a namespace begin with.
fn prefix(namespace: u64) -> String {
    format!("{namespace:x}-")
}

/// The name of the socket that goes with a TCP listener.
fn name(namespace: u64, ip: IpAddr, port: u16) -> String {
    format!("{}{}-{port}", prefix(namespace), ip.to_canonical())
}

/// Whether an address means something else on each link: its IP address alone tells no listener from another.
fn has_scope(at: &SocketAddr) -> bool {
    matches!(at, SocketAddr::V6(at) if at.scope_id() != 0)
}

/// Whether an address is one of this machine's. Nothing is sent: the system says which own address it would use, which is
/// the same one then.
fn is_here(at: &SocketAddr) -> bool {
    let ip = at.ip().to_canonical();
    if ip.is_loopback() || has_scope(at) {
        return ip.is_loopback();
    }
    let any: IpAddr = if at.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let own = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(at).and_then(|()| socket.local_addr()));
    own.is_ok_and(|own| own.ip().to_canonical() == ip)
}

/// Removes sockets of processes that were killed, whose ports nobody may ever use again. `own` is a new one beside them.
fn remove_stale(folder: &Path, own: &str, namespace: u64) {
    let made = |path: &Path| fs::symlink_metadata(path).and_then(|file| file.modified());
    let Ok(now) = made(&folder.join(own)) else { return };
    let is_old = |path: &Path| made(path).is_ok_and(|then| now.duration_since(then).is_ok_and(|age| age > STALE_AFTER));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let old: Vec<_> = names.filter(|name| name.starts_with(&prefix(namespace)) && is_old(&folder.join(name))).collect();
    if old.is_empty() {
        return;
    }
    // Read after the folder was: who is not in it does not listen. Other namespaces have lists of their own.
    let Ok(listening) = fs::read_to_string("/proc/thread-self/net/unix") else { return };
    let alive: Vec<_> = listening.lines().filter_map(|line| Some(line.rsplit_once('/')?.1)).collect();
    for name in old.iter().filter(|name| !alive.contains(&name.as_str())) {
        // Another one may remove them at the same time.
        let _ = fs::remove_file(folder.join(name));
    }
}

#[cfg(test)]
#[path = "local_test.rs"]
mod tests;
