//! Real time, real sockets, threads of their own.

use remex::{
    prelude::*,
    testing::{TestCluster, ThreadCluster},
};

use crate::support::{add, elements, put, register, task, vector};

/// Uses a context from plain tokio threads: no actix `System` is on any of them.
async fn use_from_many_threads(context: &ContextHandle) {
    let (first, second) = (register(context, 0, "add").await, register(context, 1, "add").await);
    let users: Vec<_> = (0..8)
        .map(|i| {
            let (context, first, second) = (context.clone(), first.clone(), second.clone());
            tokio::spawn(async move {
                assert!(actix::System::try_current().is_none());
                for n in 0..10 {
                    let a = put(&context, n % 2, &[i as f32]).await;
                    let sum = context.execute(RemoteExecute::new(&first).inputs([&a, &a])).await.unwrap();
                    let call = RemoteExecute::new(&second).inputs([&sum.outputs[0], &a]).handles(1);
                    let call = context.execute(call).await.unwrap();
                    let (handle, again) = (call.handles[0].clone(), call.handles[0].clone());
                    let other = tokio::spawn(async move { again.fetch().await.unwrap() });
                    assert_eq!(elements(&handle.fetch().await.unwrap()), [3.0 * i as f32]);
                    assert_eq!(elements(&other.await.unwrap()), [3.0 * i as f32]);
                    call.chain.done().await.unwrap();
                }
            })
        })
        .collect();
    for user in users {
        user.await.unwrap();
    }
}

#[test]
fn a_cluster_over_tcp_is_used_from_plain_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = ThreadCluster::start(2, |_, builder| builder.program("add", add())).await.unwrap();
        let context = cluster.context().await.unwrap();
        use_from_many_threads(&context).await;
        assert_eq!(context.close().await.unwrap(), []);
        for i in 0..2 {
            let stats = cluster.task(i).stats().await.unwrap();
            assert_eq!((stats.contexts, stats.objects, stats.jobs), (0, 0, 0));
        }
        cluster.stop().await.unwrap();
    });
}

#[test]
fn tasks_without_programs_are_a_cluster_too() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = TestCluster::threads(2).await.unwrap();
        let context = cluster.context().await.unwrap();
        let device = context.device_of(&task(1)).unwrap();
        let a = context.put(&device, vector(&[1.0])).await.unwrap();
        assert_eq!(context.fetch(&a).await.unwrap(), vector(&[1.0]));
        cluster.stop().await.unwrap();
    });
}

#[test]
fn a_cluster_over_unix_sockets_is_used_from_plain_threads() {
    let folder = std::env::temp_dir().join(format!("remex-it-{}-{:x}", std::process::id(), rand::random::<u64>()));
    std::fs::create_dir(&folder).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut config = ClusterConfig::new();
        let mut servers = Vec::new();
        for i in 0..2 {
            let path = folder.join(i.to_string());
            let builder = Server::builder().task(task(i)).listen(format!("unix:{}", path.display()));
            let server = builder.program("add", add()).start_threaded().await.unwrap();
            config.add(server.task().clone(), server.address().cloned()).unwrap();
            servers.push(server);
        }
        let context = servers[0].create_context(ContextConfig::new(config)).await.unwrap();
        use_from_many_threads(&context).await;
        assert_eq!(context.close().await.unwrap(), []);
        for server in servers {
            server.stop().await.unwrap();
        }
    });
    std::fs::remove_dir_all(&folder).unwrap();
}
