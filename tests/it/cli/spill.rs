//! `remex serve --spill-dir`.

use std::time::Duration;

use remex::{Address, ClusterConfig, ContextConfig, Server};

use super::process::{Process, remex};
use crate::{spill::Temp, support::vector};

fn serve(index: &str, folder: &Temp) -> (Process, Address) {
    let path = folder.path().display().to_string();
    let mut worker = Process::remex([
        "serve",
        "--index",
        index,
        "--memory",
        "65536",
        "--spill-dir",
        &path,
        "--spill-limit",
        "1000000",
    ]);
    let line = worker.line().unwrap_or_default();
    (worker, line.strip_prefix("listening on ").unwrap().parse().unwrap())
}

/// Puts 32 objects of 4 KiB on a worker and fetches them all; they are still there afterwards.
fn use_worker(address: &Address, then: impl FnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Server::builder().start_threaded().await.unwrap();
        let mut cluster = ClusterConfig::new();
        let found = client.discover(vec![address.clone()], Duration::from_secs(10)).await.unwrap();
        cluster.add(found[0].task.clone(), Some(address.clone())).unwrap();
        let context = client.create_context(ContextConfig::new(cluster)).await.unwrap();
        let device = context.device_of(&found[0].task.to_string()).unwrap();
        let mut objects = Vec::new();
        for n in 0..32 {
            objects.push(context.put(&device, vector(&[n as f32; 1024])).await.unwrap());
        }
        for (n, object) in objects.iter().enumerate() {
            assert_eq!(context.fetch(object).await.unwrap(), vector(&[n as f32; 1024]));
        }
        then();
        client.stop().await.unwrap();
    });
}

/// I8: a worker that is killed leaves its files to the next one, which removes them, and nobody else's.
#[test]
fn what_a_killed_worker_leaves_the_next_one_removes() {
    let folder = Temp::new("killed");
    let (killed, address) = serve("0", &folder);
    use_worker(&address, || {
        killed.signal("KILL");
        killed.end();
    });
    let left = folder.files();
    assert!(left.len() >= 16, "{left:?}");
    let (one, address) = serve("0", &folder);
    assert!(folder.files().is_empty(), "what was left is gone: {:?}", folder.files());
    use_worker(&address, || {
        // The file of what was read last may just be going.
        let (two, _) = serve("1", &folder);
        assert!(folder.files().len() >= 16, "the first one lives: {:?}", folder.files());
        two.signal("TERM");
        two.end().assert_done();
        assert!(folder.files().len() >= 16, "{:?}", folder.files());
    });
    one.signal("TERM");
    one.end().assert_done();
    assert!(folder.is_empty());
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let folder = Temp::new("named");
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let path = file.display().to_string();
    remex(["serve", "--spill-dir", &path]).assert_failed(1, &format!("cannot spill to {path}"));
    remex(["serve", "--spill-limit", "5"]).assert_failed(2, "--spill-dir");
}
