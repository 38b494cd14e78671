//! `remex devices`.

use std::net::TcpListener;

use super::process::{Folder, remex, serve};

#[test]
fn workers_and_their_devices_stand_in_a_table() {
    let folder = Folder::new("devices");
    let ((_first, tcp), (_second, unix)) = (serve(0, "tcp://127.0.0.1:0"), serve(7, &folder.socket("s")));
    let connect = format!("{tcp},{unix}");
    let table = remex(["devices", "--connect", &connect]);
    table.assert_done();
    let row = |index: u32, address: &str| {
        let device = format!("/job:worker/task:{index}/device:CPU:0");
        table.stdout.iter().any(|line| line.contains(address) && line.contains(&device))
    };
    assert!(row(0, &tcp) && row(7, &unix), "{table:?}");
    assert!(["task", "address", "device", "incarnation"].iter().all(|word| table.stdout[1].contains(word)));

    let objects = remex(["devices", "--json", "--connect", &connect]);
    objects.assert_done();
    assert_eq!(objects.stdout.len(), 2);
    let device = r#""devices":["/job:worker/task:7/device:CPU:0"]"#;
    assert!(objects.stdout[1].contains(device) && objects.stdout[1].contains(&unix), "{objects:?}");
}

#[test]
fn a_worker_that_does_not_come_is_named() {
    let folder = Folder::new("nobody");
    let nobody = folder.socket("s");
    let end = remex(["devices", "--wait", "300ms", "--connect", &nobody]);
    end.assert_failed(1, &format!("{nobody} cannot be reached"));
    // Somebody who takes connections and says nothing: it is not waited for longer than for one that is not there.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", silent.local_addr().unwrap());
    let began = tokio::time::Instant::now();
    let end = remex(["devices", "--wait", "300ms", "--connect", &address]);
    end.assert_failed(1, &format!("{address} cannot be reached: no answer within 1 s"));
    assert!(began.elapsed().as_secs() < 4);
}

#[test]
fn two_workers_of_one_name_are_told_apart_by_their_addresses() {
    let ((_first, a), (_second, b)) = (serve(0, "tcp://127.0.0.1:0"), serve(0, "tcp://127.0.0.1:0"));
    let end = remex(["devices", "--connect", &format!("{a},{b}")]);
    end.assert_failed(1, &format!("/job:worker/task:0 answers at {a} and at {b}: give each task its own --index"));
    remex(["devices", "--connect", &format!("{a},{a}")]).assert_failed(2, "give each worker once");
}

#[test]
fn wrong_arguments_are_refused_with_what_is_right() {
    remex(["devices"]).assert_failed(2, "--connect <ADDRESS,...>");
    remex(["devices", "--connect", "here"]).assert_failed(2, "write tcp://HOST:PORT or unix:PATH");
    remex(["devices", "--connect", "unix:/s", "--wait", "5"]).assert_failed(2, "write a time like 30s, 250ms or 1m30s");
}
