//! I8: objects that memory has no room for go to disk and come back, on whole tasks.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use remex::{
    WhenFull,
    actors::testing::MemorySpill,
    prelude::*,
    testing::{SimCluster, TestCluster, ThreadCluster},
};

use crate::support::{add, assert_error, builder, elements, end, put, register, task, vector};

const SECOND: Duration = Duration::from_secs(1);
const BUDGET: u64 = 64 << 10;

/// A folder of a test's own, removed when this is dropped.
pub(crate) struct Temp(PathBuf);

impl Temp {
    pub(crate) fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("remex-spill-{}-{test}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The files below it.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let list = |path: &Path| -> Vec<PathBuf> {
            std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()).collect()
        };
        list(&self.0).iter().flat_map(|folder| list(folder)).filter(|path| !path.ends_with("lock")).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        std::fs::read_dir(&self.0).unwrap().next().is_none()
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// 4 KiB that are told from others by their number.
fn large(n: usize) -> Tensor {
    vector(&[n as f32; 1024])
}

async fn put_large(context: &ContextHandle, n: usize) -> remex::Result<ObjectRef> {
    context.put(&context.device_of(&task(1)).unwrap(), large(n)).await
}

/// Two tasks, of which the second has 64 KiB and a disk.
async fn cluster(disk: &Arc<MemorySpill>, when_full: WhenFull) -> TestCluster {
    let disk = disk.clone();
    let change = move |i, builder: remex::ServerBuilder| match i {
        1 => builder.memory_budget(BUDGET).when_full(when_full).spill_store(disk.clone()),
        _ => builder,
    };
    builder(2).each(change).start().await.unwrap()
}

/// I8: four times as many objects as memory has room for are all there, for fetches and for programs.
#[actix::test]
async fn more_objects_than_memory_has_room_for_are_kept() {
    let disk = MemorySpill::new();
    let cluster = cluster(&disk, WhenFull::Wait).await;
    let context = cluster.context().await.unwrap();
    let program = register(&context, 1, "add").await;
    let mut objects = Vec::new();
    for n in 0..64 {
        objects.push(put_large(&context, n).await.unwrap());
    }
    let stats = cluster.task(1).stats().await.unwrap();
    assert_eq!((stats.objects, stats.spilled, stats.spilled_bytes), (65, 48, 48 * 4096), "{stats:?}");
    for (n, object) in objects.iter().enumerate() {
        assert_eq!(context.fetch(object).await.unwrap(), large(n), "{n}");
    }
    // All at once: each waits for room for what it needs.
    let mut calls = Vec::new();
    for n in 0..63 {
        let call = RemoteExecute::new(&program).inputs([&objects[n], &objects[n + 1]]).handles(1);
        calls.push(context.execute(call.deadline(3600 * SECOND)).await.unwrap());
    }
    for (n, call) in calls.iter().enumerate() {
        assert_eq!(elements(&call.handles[0].fetch().await.unwrap())[1023], 2.0 * n as f32 + 1.0, "{n}");
    }
    let stats = cluster.task(1).stats().await.unwrap();
    // The sums are of unknown size.
    assert!(stats.memory_peak <= BUDGET + 2 * 4096 && stats.spill_errors == 0, "{stats:?}");
    assert!(stats.spill_reads > 48 && stats.spill_writes > 48, "{stats:?}");
    drop((objects, calls, program));
    cluster.settle().await;
    let stats = cluster.task(1).stats().await.unwrap();
    assert_eq!((stats.memory_used, stats.spilled, stats.spilled_bytes, disk.len()), (0, 0, 0, 0));
    end(cluster, context).await;
}

/// I8: one context's objects make room for another's.
#[actix::test]
async fn objects_of_all_contexts_make_room() {
    let disk = MemorySpill::new();
    let cluster = cluster(&disk, WhenFull::Wait).await;
    let (one, two) = (cluster.context().await.unwrap(), cluster.context().await.unwrap());
    let mut objects = Vec::new();
    for n in 0..16 {
        objects.push(put_large(&one, n).await.unwrap());
    }
    let other = put_large(&two, 100).await.unwrap();
    assert_eq!(disk.len(), 1);
    assert_eq!(one.fetch(&objects[0]).await.unwrap(), large(0), "the coldest was of the other one");
    assert_eq!(one.close().await.unwrap(), []);
    assert_eq!(two.fetch(&other).await.unwrap(), large(100));
    drop((objects, other, one));
    end(cluster, two).await;
    assert!(disk.is_empty());
}

/// A full disk loses nothing: what needs memory fails, until it has room again. Gives the error.
async fn fill(when_full: WhenFull) -> Error {
    let disk = MemorySpill::new();
    let cluster = cluster(&disk, when_full).await;
    let context = cluster.task(0).create_context(cluster.config().default_deadline(5 * SECOND)).await.unwrap();
    let mut objects = Vec::new();
    disk.set_full(true);
    for n in 0..16 {
        objects.push(put_large(&context, n).await.unwrap());
    }
    let error = put_large(&context, 16).await.unwrap_err();
    let stats = cluster.task(1).stats().await.unwrap();
    assert!(stats.spill_errors >= 1 && stats.spill_errors <= 4, "paced: {stats:?}");
    for (n, object) in objects.iter().enumerate() {
        assert_eq!(context.fetch(object).await.unwrap(), large(n), "{n}");
    }
    disk.set_full(false);
    cluster.advance(10 * SECOND).await;
    objects.push(put_large(&context, 16).await.unwrap());
    assert_eq!(context.fetch(&objects[0]).await.unwrap(), large(0));
    drop(objects);
    end(cluster, context).await;
    assert!(disk.is_empty());
    error
}

/// I8: while the disk is full a call waits by its deadline, as without a disk.
#[actix::test]
async fn a_full_disk_makes_calls_wait_for_others() {
    let error = fill(WhenFull::Wait).await;
    assert_eq!(error.code(), ErrorCode::DeadlineExceeded, "{error}");
}

/// I8: where nobody waits for others, a full disk is an error of what needs memory.
#[actix::test]
async fn a_full_disk_is_an_error_of_what_needs_memory() {
    let words = ["4096 bytes do not fit", "nothing can be spilled to memory: no space left", &task(1)];
    assert_error(&fill(WhenFull::Fail).await, ErrorCode::ResourceExhausted, &words);
}

/// I8: a damaged file is the loss of its object and of nothing else.
#[actix::test]
async fn a_damaged_file_is_the_loss_of_its_object() {
    let disk = MemorySpill::new();
    let cluster = cluster(&disk, WhenFull::Wait).await;
    let context = cluster.context().await.unwrap();
    let program = register(&context, 1, "add").await;
    let mut objects = Vec::new();
    for n in 0..20 {
        objects.push(put_large(&context, n).await.unwrap());
    }
    disk.damage(|file, bytes| {
        if file == 1 {
            bytes[2000] ^= 4;
        }
    });
    let call = context.execute(RemoteExecute::new(&program).inputs([&objects[0], &objects[1]])).await.unwrap();
    let error = call.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::DataLoss, &["memory/1", "the checksum of the data", &task(1)]);
    for (n, object) in objects.iter().enumerate() {
        match context.fetch(object).await {
            Ok(tensor) => assert_eq!((tensor, n != 1), (large(n), true)),
            Err(error) => assert_eq!((error.code(), n), (ErrorCode::DataLoss, 1), "{error}"),
        }
    }
    drop((objects, call, program));
    end(cluster, context).await;
    assert!(disk.is_empty());
}

/// I8: on real threads and in a real folder, which is empty again when the task has stopped.
#[test]
fn a_folder_holds_what_memory_does_not_until_the_task_stops() {
    let temp = Temp::new("folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let path = temp.path().to_owned();
        let change = move |i, builder: remex::ServerBuilder| match i {
            1 => builder.program("add", add()).memory_budget(BUDGET).spill_dir(&path),
            _ => builder,
        };
        let cluster = ThreadCluster::start(2, change).await.unwrap();
        let context = cluster.context().await.unwrap();
        let program = register(&context, 1, "add").await;
        let mut objects = Vec::new();
        for n in 0..64 {
            objects.push(put_large(&context, n).await.unwrap());
        }
        assert!(temp.files().len() >= 48, "{:?}", temp.files());
        for n in (0..63).rev() {
            let call = RemoteExecute::new(&program).inputs([&objects[n], &objects[n + 1]]).handles(1);
            let call = context.execute(call).await.unwrap();
            assert_eq!(elements(&call.handles[0].fetch().await.unwrap())[0], 2.0 * n as f32 + 1.0, "{n}");
        }
        let stats = cluster.task(1).stats().await.unwrap();
        assert!(stats.spill_errors == 0 && stats.spill_reads >= 48, "{stats:?}");
        assert_eq!(context.close().await.unwrap(), []);
        cluster.stop().await.unwrap();
    });
    assert!(temp.is_empty());
}

/// A folder that cannot be used is said at the start.
#[actix::test]
async fn a_folder_that_cannot_be_used_is_refused() {
    let temp = Temp::new("refused");
    let file = temp.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = Server::builder().spill_dir(&file).start().await.unwrap_err();
    assert_error(&error, ErrorCode::FailedPrecondition, &["cannot spill to", &file.display().to_string()]);
    let error = Server::builder().spill_limit(5).start().await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["give spill_dir, too"]);
}

/// I8: writes and reads take time in a simulation, and the same seed is the same run.
#[test]
fn spilling_is_simulated() {
    let run = |seed| {
        actix::System::new().block_on(async move {
            let disk = MemorySpill::new();
            let own = disk.clone();
            let change = move |i, builder: remex::ServerBuilder| match i {
                1 => builder.memory_budget(16).spill_store(own.clone()),
                _ => builder,
            };
            let cluster = SimCluster::builder(2).seed(seed).each(change).start().await.unwrap();
            let context = cluster.task(0).unwrap().create_context(cluster.config()).await.unwrap();
            let device = context.device_of(&cluster.name(1).to_string()).unwrap();
            let mut objects = Vec::new();
            for n in 0..20 {
                objects.push(context.put(&device, vector(&[n as f32, 0.0])).await.unwrap());
            }
            for (n, object) in objects.iter().enumerate() {
                assert_eq!(elements(&context.fetch(object).await.unwrap())[0], n as f32);
            }
            assert!(disk.len() >= 18);
            let trace = cluster.trace().to_string();
            cluster.calm().await.unwrap();
            context.close().await.unwrap();
            trace
        })
    };
    let traces: Vec<String> = [1, 1, 2].into_iter().map(run).collect();
    assert!(traces[0] == traces[1] && traces[0] != traces[2]);
}

/// I8: what is deleted, in whatever order, leaves nothing in memory and nothing on disk.
#[actix::test]
async fn small_objects_on_a_small_budget_come_and_go() {
    let disk = MemorySpill::new();
    let cluster = cluster(&disk, WhenFull::Wait).await;
    let context = cluster.context().await.unwrap();
    let (small, mut kept) = (put(&context, 1, &[1.0]).await, Vec::new());
    for n in 0..100 {
        kept.push((n, put_large(&context, n).await.unwrap()));
        if n % 3 == 2 {
            let (n, object) = kept.remove((n * 7) % kept.len());
            assert_eq!(context.fetch(&object).await.unwrap(), large(n));
            context.delete(&[object]).await.unwrap();
        }
    }
    let stats = cluster.task(1).stats().await.unwrap();
    assert_eq!(stats.memory_used + stats.spilled_bytes, kept.len() as u64 * 4096 + 4);
    assert!(stats.memory_peak <= BUDGET);
    drop((kept, small));
    cluster.settle().await;
    assert_eq!((cluster.task(1).stats().await.unwrap().memory_used, disk.len()), (0, 0));
    end(cluster, context).await;
}
