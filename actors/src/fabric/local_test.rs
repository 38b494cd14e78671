//! TCP with Unix sockets beside it.

use std::{
    os::unix::{fs::symlink, net},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use futures_util::future::join;

use super::*;
use crate::fabric::conformance;

/// A folder that a test's sockets are in, removed at its end. It is not there at first.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let n = LAST.fetch_add(1, Ordering::Relaxed);
        Self(env::temp_dir().join(format!("remex-local-{}-{n}", std::process::id())))
    }

    fn fabric(&self) -> TcpOrUnix {
        TcpOrUnix::new().folder(&self.0)
    }

    /// As a listener there makes it.
    fn make(&self, mode: u32) {
        fs::DirBuilder::new().mode(mode).create(&self.0).unwrap();
    }

    fn files(&self) -> usize {
        fs::read_dir(&self.0).map_or(0, Iterator::count)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        let _ = fs::remove_file(&self.0);
    }
}

fn any_port() -> Address {
    "tcp://127.0.0.1:0".parse().unwrap()
}

fn port(address: &Address) -> u16 {
    address.rest().rsplit_once(':').unwrap().1.parse().unwrap()
}

fn is_over_unix(connection: &Connection) -> bool {
    assert!(connection.is_local, "{connection:?}");
    connection.peer.contains(" over unix:")
}

/// Dials a listener and says whether both ends have a Unix socket.
async fn goes_by_unix(fabric: &TcpOrUnix, listener: &mut dyn Listener, address: &Address) -> bool {
    let (dialled, accepted) = join(fabric.dial(address), listener.accept()).await;
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
    assert!(dialled.peer.starts_with(&address.to_string()), "{dialled:?}");
    assert_eq!(is_over_unix(&dialled), is_over_unix(&accepted));
    is_over_unix(&dialled)
}

#[actix_rt::test]
async fn it_does_what_every_fabric_does() {
    let dir = Dir::new();
    conformance::check_fabric(&dir.fabric(), &any_port()).await;
    conformance::check_fabric(&dir.fabric().payload_checksums(true), &any_port()).await;
    assert_eq!(dir.files(), 0, "sockets are removed with their listeners");
    let shut = Dir::new();
    fs::write(&shut.0, "no folder").unwrap();
    conformance::check_fabric(&shut.fabric(), &any_port()).await;
    conformance::check_fabric(&TcpOrUnix::new(), &any_port()).await;
}

#[actix_rt::test]
async fn both_ends_use_a_unix_socket_however_the_address_is_written() {
    let dir = Dir::new();
    for (listen, dial) in [
        ("127.0.0.1", &["127.0.0.1", "[::ffff:127.0.0.1]"][..]),
        ("0.0.0.0", &["127.0.0.1", "localhost"]),
        ("[::1]", &["[::1]"]),
        ("[::]", &["127.0.0.1", "[::1]", "localhost"]),
        ("localhost", &["localhost"]),
    ] {
        let mut listener = dir.fabric().listen(&format!("tcp://{listen}:0").parse().unwrap()).await.unwrap();
        for host in dial {
            let address = format!("tcp://{host}:{}", port(listener.address())).parse().unwrap();
            assert!(goes_by_unix(&dir.fabric(), &mut *listener, &address).await, "{listen} {host}");
        }
    }
}

#[actix_rt::test]
async fn who_listens_by_tcp_alone_and_who_dials_by_it_are_met() {
    let dir = Dir::new();
    let mut both = dir.fabric().listen(&any_port()).await.unwrap();
    let address = both.address().clone();
    let (dialled, accepted) = join(Tcp::new().dial(&address), both.accept()).await;
    assert!(!is_over_unix(&dialled.unwrap()) && !is_over_unix(&accepted.unwrap()));
    let mut tcp = Tcp::new().listen(&any_port()).await.unwrap();
    let address = tcp.address().clone();
    assert!(!goes_by_unix(&dir.fabric(), &mut *tcp, &address).await);
}

#[actix_rt::test]
async fn the_two_kinds_of_diallers_are_accepted_in_turn() {
    let dir = Dir::new();
    let mut listener = dir.fabric().listen(&any_port()).await.unwrap();
    let (mut waiting, address) = (Vec::new(), listener.address().clone());
    for _ in 0..4 {
        waiting.push(dir.fabric().dial(&address).await.unwrap());
        waiting.push(Tcp::new().dial(&address).await.unwrap());
    }
    let mut kinds = Vec::new();
    for _ in 0..8 {
        kinds.push(is_over_unix(&listener.accept().await.unwrap()));
    }
    assert_eq!(kinds, [true, false].repeat(4));
}

#[actix_rt::test]
async fn two_listeners_have_a_socket_each() {
    let dir = Dir::new();
    let mut first = dir.fabric().listen(&any_port()).await.unwrap();
    let mut second = dir.fabric().listen(&any_port()).await.unwrap();
    assert_eq!(dir.files(), 2);
    for listener in [&mut first, &mut second] {
        let address = listener.address().clone();
        assert!(goes_by_unix(&dir.fabric(), &mut **listener, &address).await);
    }
    drop(first);
    assert_eq!(dir.files(), 1);
}

/// What a killed process left is no harm to those who dial, and is replaced by the next one who listens.
#[actix_rt::test]
async fn a_dead_socket_is_passed_over_and_replaced() {
    let dir = Dir::new();
    dir.make(0o700);
    let (mut tcp, at) = Tcp::new().bind(&any_port()).await.unwrap();
    let path = dir.0.join(name(namespace().ok().unwrap(), at.ip(), at.port()));
    drop(net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let address = tcp.address().clone();
    assert!(!goes_by_unix(&dir.fabric(), &mut *tcp, &address).await);
    let mut unix = dir.fabric().listen_beside(at).await.ok().unwrap();
    let (dialled, accepted) = join(dir.fabric().dial(&address), unix.accept()).await;
    assert!(is_over_unix(&dialled.unwrap()));
    drop((accepted.unwrap(), unix));
    assert!(!path.exists());
}

/// The same port means another listener in another network namespace, and at another address.
#[actix_rt::test]
async fn a_live_socket_of_another_listener_is_not_met() {
    let dir = Dir::new();
    dir.make(0o700);
    let namespace = namespace().ok().unwrap();
    let mut tcp = Tcp::new().listen(&any_port()).await.unwrap();
    let address = tcp.address().clone();
    let (own, other) = (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(127, 0, 0, 2).into());
    let names = [name(namespace + 1, own, port(&address)), name(namespace, other, port(&address))];
    let _others = names.map(|name| net::UnixListener::bind(dir.0.join(name)).unwrap());
    assert!(!goes_by_unix(&dir.fabric(), &mut *tcp, &address).await);
}

/// TCP is all there is where somebody else might have put the socket.
#[actix_rt::test]
async fn a_folder_that_others_may_enter_is_not_used() {
    let (open, file, link, private) = (Dir::new(), Dir::new(), Dir::new(), Dir::new());
    open.make(0o750);
    private.make(0o700);
    fs::write(&file.0, "precious").unwrap();
    symlink(&private.0, &link.0).unwrap();
    let missing = Dir(private.0.join("a/b"));
    for dir in [&open, &file, &link, &missing] {
        let mut listener = dir.fabric().listen(&any_port()).await.unwrap();
        let address = listener.address().clone();
        let namespace = namespace().ok().unwrap();
        let path = dir.0.join(name(namespace, Ipv4Addr::LOCALHOST.into(), port(&address)));
        // Somebody listens there all the same, unless nobody can.
        let _somebody = net::UnixListener::bind(&path);
        assert!(!goes_by_unix(&dir.fabric(), &mut *listener, &address).await, "{}", dir.0.display());
    }
    let user = user().ok().unwrap();
    assert!(check(&private.0, user).is_ok());
    assert!(check(&private.0, user + 1).err().unwrap().0.contains("belongs to another user"));
    assert!(check(&open.0, user).err().unwrap().0.contains("others may enter it"));
    assert_eq!(fs::metadata(&private.0).unwrap().uid(), user);
}

#[actix_rt::test]
async fn only_old_sockets_of_nobody_are_swept_up() {
    let dir = Dir::new();
    dir.make(0o700);
    let namespace = namespace().ok().unwrap();
    let path = |namespace, port| dir.0.join(name(namespace, Ipv4Addr::LOCALHOST.into(), port));
    let (old, young, alive, elsewhere) =
        (path(namespace, 1), path(namespace, 2), path(namespace, 3), path(namespace + 1, 1));
    let live = net::UnixListener::bind(&alive).unwrap();
    for path in [&old, &young, &elsewhere] {
        drop(net::UnixListener::bind(path).unwrap());
    }
    let touched = Command::new("touch").args(["-d", "2001-01-01"]).args([&old, &alive, &elsewhere]).status().unwrap();
    assert!(touched.success());
    let listener = dir.fabric().listen_beside("127.0.0.1:4".parse().unwrap()).await.ok().unwrap();
    assert_eq!([&old, &young, &alive, &elsewhere].map(|path| path.exists()), [false, true, true, true]);
    drop((live, listener));
}

#[actix_rt::test]
async fn addresses_of_this_machine_are_known() {
    let is_here = |text: &str| super::is_here(&text.parse().unwrap());
    for own in ["127.0.0.1:1", "127.8.9.10:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(is_here(own), "{own}");
    }
    // Documentation's, multicast, a link's, and nobody's.
    for other in ["192.0.2.1:1", "[2001:db8::1]:1", "224.0.0.1:1", "[fe80::1%1]:1", "0.0.0.0:1"] {
        assert!(!is_here(other), "{other}");
    }
    let outward = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:1")?;
        socket.local_addr()
    });
    if let Ok(own) = outward {
        assert!(is_here(&SocketAddr::new(own.ip(), 1).to_string()), "{own}");
    }
}
