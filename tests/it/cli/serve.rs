//! `remex serve`.

use super::process::{Folder, remex, serve};

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
