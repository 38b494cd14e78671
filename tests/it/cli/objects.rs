//! `remex objects`.

use remex::{Server, prelude::*};

use super::process::{Folder, remex, serve};

/// The row of an object, as cells.
fn row<'a>(table: &'a [String], id: &str) -> Vec<&'a str> {
    let line = table.iter().find(|line| line.contains(id)).unwrap_or_else(|| panic!("no {id} in {table:#?}"));
    line.trim_matches(['│', ' ']).split('┆').map(str::trim).collect()
}

#[actix::test]
async fn objects_of_a_worker_stand_in_a_table() {
    let folder = Folder::new("objects");
    let (_worker, address) = serve(0, &folder.socket("s"));
    let client = Server::builder().start().await.unwrap();
    let cluster = ClusterConfig::new().with("/job:worker/task:0".parse().unwrap(), address.parse().unwrap()).unwrap();
    let context = client.create_context(ContextConfig::new(cluster)).await.unwrap();
    let add = context.register("/job:worker/task:0", RegisterFunction::native("add")).await.unwrap();
    let device = context.device_of("/job:worker/task:0").unwrap();
    let a = context.put(&device, Tensor::from_slice([2, 3], &[1f32; 6]).unwrap()).await.unwrap();
    let b = context.put(&device, Tensor::from_slice([1], &[1f32]).unwrap()).await.unwrap();
    let sum = context.execute(RemoteExecute::new(&add).inputs([&a, &a]).handles(1)).await.unwrap();
    let failed = context.execute(RemoteExecute::new(&add).inputs([&a, &b]).handles(1)).await.unwrap();
    sum.chain.done().await.unwrap();
    failed.chain.done().await.unwrap_err();
    let pinned = a.pin().await.unwrap();
    let _token = a.export().await.unwrap();

    let arguments = |more: &[&'static str]| {
        let all = ["objects", "--connect"].map(str::to_owned).into_iter().chain([address.clone()]);
        all.chain(more.iter().map(|more| (*more).to_owned())).collect::<Vec<_>>()
    };
    // The program is waited for by a thread, so that this task can go on with its links.
    let run = |more: &[&'static str]| {
        tokio::task::spawn_blocking({
            let arguments = arguments(more);
            move || remex(arguments)
        })
    };
    let end = run(&[]).await.unwrap();
    end.assert_done();
    let table = &end.stdout;
    let header: Vec<_> = table[1].trim_matches(['│', ' ']).split('┆').map(str::trim).collect();
    assert_eq!(
        header,
        ["worker", "context", "id", "dtype", "shape", "bytes", "state", "holders", "age", "made by"],
        "{end:?}"
    );
    let of = |object: &ObjectRef| row(table, &format!("{} ", object.id()));
    assert_eq!(of(&a)[3..8], ["f32", "[2,3]", "24", "ready, pinned", "2"]);
    assert_eq!((of(&a)[0], of(&a)[1], of(&a)[9]), ("/job:worker/task:0", "1", "-"));
    assert_eq!(of(&sum.outputs[0])[3..8], ["f32", "[2,3]", "24", "ready", "1"]);
    assert_eq!(of(&sum.outputs[0])[9], "add");
    assert_eq!((of(&failed.outputs[0])[6], of(&failed.outputs[0])[9]), ("failed", "add"));
    assert!(of(&a)[8].ends_with('s'), "an age has a unit: {:?}", of(&a));
    assert!(table.iter().any(|line| line.contains("chain")), "the ready chain: {table:#?}");

    let end = run(&["--json", "--limit", "5"]).await.unwrap();
    end.assert_done();
    let objects: Vec<serde_json::Value> = end.stdout.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 5);
    let listed = objects.iter().find(|object| object["id"] == pinned.to_string()).unwrap();
    assert_eq!(
        (&listed["shape"], &listed["pinned"], &listed["holders"]),
        (&serde_json::json!([2, 3]), &true.into(), &2.into())
    );
    assert_eq!((&listed["state"], &listed["program"]), (&"ready".into(), &serde_json::Value::Null));

    let end = run(&["--limit", "2"]).await.unwrap();
    assert!(end.stdout.last().unwrap().contains("3 more on /job:worker/task:0: --limit lists more"), "{end:?}");
    client.stop().await.unwrap();
}

#[test]
fn a_worker_without_objects_has_an_empty_table() {
    let folder = Folder::new("no-objects");
    let (_worker, address) = serve(3, &folder.socket("s"));
    let end = remex(["objects", "--connect", &address]);
    end.assert_done();
    assert!(end.stdout[1].contains("made by") && !end.stdout.iter().any(|line| line.contains("task:3")), "{end:?}");
    remex(["objects", "--json", "--connect", &address]).assert_done();
    remex(["objects"]).assert_failed(2, "--connect <ADDRESS,...>");
    remex(["objects", "--connect", &address, "--limit", "0"]).assert_failed(2, "invalid value '0' for '--limit");
    remex(["objects", "--connect", &folder.socket("nobody"), "--wait", "300ms"]).assert_failed(1, "cannot be reached");
}
