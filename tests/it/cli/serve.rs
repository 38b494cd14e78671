//! `remex serve`.

use std::{fs, process::Command};

use super::process::{Folder, Process, remex, serve};

#[test]
fn a_worker_says_where_it_listens_and_stops_when_told() {
    let folder = Folder::new("serve");
    for (signal, listen) in [("TERM", "tcp://127.0.0.1:0"), ("INT", "tcp://[::1]:0"), ("TERM", &folder.socket("s"))] {
        let (worker, address) = serve(0, listen);
        match listen.strip_suffix(":0") {
            Some(host) => assert!(address.starts_with(host) && !address.ends_with(":0"), "{address}"),
            None => assert_eq!(address, listen),
        }
        worker.signal(signal);
        let end = worker.end();
        end.assert_done();
        assert!(end.stdout.is_empty(), "{end:?}");
    }
    assert!(!folder.join("s").exists(), "the socket's file is removed");
}

/// Those on the same machine come by a Unix socket by themselves, unless told otherwise.
#[test]
fn a_worker_has_a_unix_socket_beside_its_port() {
    let folder = Folder::new("beside");
    let start = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remex"));
        Process::start(command.args(arguments).env("XDG_RUNTIME_DIR", &folder))
    };
    let sockets = || fs::read_dir(folder.join("remex")).map_or(0, Iterator::count);
    for (more, beside) in [(&[][..], 1), (&["--no-unix"], 0)] {
        let mut worker = start(&[&["serve", "--log", "debug"], more].concat());
        let line = worker.line().unwrap();
        let address = line.strip_prefix("listening on tcp:").unwrap();
        assert_eq!(sockets(), beside, "{more:?}");
        start(&["devices", "--connect", &format!("tcp:{address}")]).end().assert_done();
        worker.signal("TERM");
        let end = worker.end();
        assert_eq!((end.status, sockets()), (Some(0), 0), "{end:?}");
        assert_eq!(end.stderr.contains(&format!("tcp:{address} over unix:")), beside == 1, "{end:?}");
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let folder = Folder::new("taken");
    let (_worker, address) = serve(0, &folder.socket("s"));
    remex(["serve", "--listen", &address]).assert_failed(1, &format!("cannot listen on {address}"));
    let (_worker, address) = serve(0, "tcp://127.0.0.1:0");
    remex(["serve", "--listen", &address]).assert_failed(1, &format!("cannot listen on {address}"));
}

#[test]
fn wrong_arguments_are_refused_with_what_is_right() {
    let check = |arguments: &[&str], sentence: &str| {
        remex(["serve"].iter().chain(arguments)).assert_failed(2, sentence);
    };
    check(&["--listen", "127.0.0.1:0"], "write tcp://HOST:PORT or unix:PATH");
    check(&["--listen", "carrier:pigeon"], "write tcp://HOST:PORT or unix:PATH");
    check(&["--job", "1st"], "--job 1st: \"/job:1st/task:0\" is not the name of a task");
    check(&["--index", "one"], "invalid value 'one' for '--index <N>'");
    check(&["--threads", "0"], "invalid value '0' for '--threads <N>'");
    check(&["--allow-peer", "x"], "write tcp://HOST:PORT or unix:PATH");
    check(&["--log", "remex=loud"], "--log: \"remex=loud\" is no filter");
}
