//! The client in Python, written from the description of the wire alone.

use std::process::Command;

use super::process::{Folder, Process, file, serve};

#[test]
fn a_client_in_python_executes_on_a_worker() {
    let imports = Command::new("python3").args(["-c", "import msgpack"]).output();
    if !imports.is_ok_and(|imports| imports.status.success()) {
        println!("SKIPPED: python3 does not import msgpack");
        return;
    }
    let folder = Folder::new("python");
    for (_worker, address) in [serve(0, "tcp://127.0.0.1:0"), serve(0, &folder.socket("s"))] {
        let mut client = Command::new("python3");
        let end = Process::start(client.arg(file("examples/python/client.py")).arg(address)).end();
        end.assert_done();
        assert!(end.stdout.iter().any(|line| line == "metadata of output 0: f32[100000]"), "{end:?}");
        assert_eq!(end.stdout.last().map(String::as_str), Some("deleted and closed"));
    }
}
