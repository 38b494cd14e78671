//! Fabrics that an application registers by name.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::LocalBoxFuture;
use remex::{
    ClusterFile,
    actors::fabric::{Connection, Fabric, FabricError, Listener, TcpOrUnix, Unix},
    prelude::*,
};

use crate::support::{add, assert_error, elements, put, register, task, vector};

/// Unix sockets under another name; counts connections.
#[derive(Debug, Default)]
struct Counted {
    inner: Unix,
    dialled: AtomicUsize,
}

#[derive(Debug)]
struct CountedListener(Box<dyn Listener>, Address);

fn inner(address: &Address) -> Address {
    address.to_string().replacen("counted:", "unix:", 1).parse().unwrap()
}

impl Fabric for Counted {
    fn scheme(&self) -> &str {
        "counted"
    }

    fn listen<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Box<dyn Listener>, FabricError>> {
        Box::pin(async move {
            let listener = self.inner.listen(&inner(address)).await?;
            Ok(Box::new(CountedListener(listener, address.clone())) as Box<dyn Listener>)
        })
    }

    fn dial<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Connection, FabricError>> {
        self.dialled.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { self.inner.dial(&inner(address)).await })
    }
}

impl Listener for CountedListener {
    fn address(&self) -> &Address {
        &self.1
    }

    fn accept(&mut self) -> LocalBoxFuture<'_, Result<Connection, FabricError>> {
        self.0.accept()
    }
}

/// An application's fabric is found by the scheme of an address, in code and in a file.
#[actix::test]
async fn an_application_registers_a_fabric_by_name() {
    let folder = std::env::temp_dir().join(format!("remex-{}-fabric", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!("[job.worker]\ntasks = [\"counted:{}\"]\n", folder.join("s").display());
    let file: ClusterFile = text.parse().unwrap();
    let (served, used) = (Arc::new(Counted::default()), Arc::new(Counted::default()));
    let worker = file.server("worker", 0).unwrap().fabric(served.clone()).program("add", add()).start().await.unwrap();
    assert_eq!(worker.address(), file.addresses().next());
    let client = Server::builder().fabric(used.clone()).start().await.unwrap();
    let context = client.create_context(file.context()).await.unwrap();
    let task = worker.task().to_string();
    let add = context.register(&task, RegisterFunction::native("add")).await.unwrap();
    let a = context.put(&context.device_of(&task).unwrap(), vector(&[1.0, 2.0])).await.unwrap();
    let call = context.execute(RemoteExecute::new(&add).inputs([&a, &a]).handles(1)).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [2.0, 4.0]);
    assert_eq!((used.dialled.load(Ordering::Relaxed), served.dialled.load(Ordering::Relaxed)), (1, 0));
    assert_eq!(context.close().await.unwrap(), []);
    client.stop().await.unwrap();
    worker.stop().await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}

/// An address of a scheme that nobody registered is refused with those that there are; a scheme is registered once.
#[actix::test]
async fn unknown_and_repeated_schemes_are_refused() {
    let error = Server::builder().task("/job:w/task:0").listen("counted:/s").start().await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["counted:/s", "this task has the schemes tcp, unix"]);
    let twice = Server::builder().fabric(Arc::new(Counted::default())).fabric(Arc::new(Counted::default()));
    let error = twice.start().await.unwrap_err();
    assert_error(&error, ErrorCode::AlreadyExists, &["two fabrics", "\"counted\""]);
    let instead = Server::builder().fabric(Arc::new(Unix::new())).start().await.unwrap();
    instead.stop().await.unwrap();
}

/// TCP with Unix sockets beside it; remembers whom it has dialled, and how.
#[derive(Debug)]
struct Watched {
    inner: TcpOrUnix,
    dialled: Mutex<Vec<String>>,
}

impl Fabric for Watched {
    fn scheme(&self) -> &str {
        "tcp"
    }

    fn listen<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Box<dyn Listener>, FabricError>> {
        self.inner.listen(address)
    }

    fn dial<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Connection, FabricError>> {
        Box::pin(async move {
            let connection = self.inner.dial(address).await?;
            self.dialled.lock().unwrap().push(connection.peer.clone());
            Ok(connection)
        })
    }
}

/// Tasks of one machine whose addresses are TCP's use Unix sockets by themselves, worker to worker as well; one that has none
/// is reached by TCP. What they count and who may dial whom is the same.
#[actix::test]
async fn tasks_of_one_machine_use_unix_sockets_by_themselves() {
    let folder = std::env::temp_dir().join(format!("remex-{}-near", std::process::id()));
    let near = || Arc::new(Watched { inner: TcpOrUnix::new().folder(&folder), dialled: Mutex::default() });
    let (first, client_fabric) = (near(), near());
    let mut workers = Vec::new();
    for (i, fabric) in [Some(first.clone()), Some(near()), None].into_iter().enumerate() {
        let builder = Server::builder().task(task(i)).listen("tcp://127.0.0.1:0").program("add", add());
        let builder = match fabric {
            Some(fabric) => builder.fabric(fabric),
            None => builder.prefer_unix(false),
        };
        workers.push(builder.start().await.unwrap());
    }
    let mut cluster = ClusterConfig::new();
    for worker in &workers {
        cluster.add(worker.task().clone(), worker.address().cloned()).unwrap();
    }
    let client = Server::builder().fabric(client_fabric.clone()).start().await.unwrap();
    let context = client.create_context(ContextConfig::new(cluster)).await.unwrap();
    let add = register(&context, 0, "add").await;
    // Inputs of the first worker that live on the others.
    let (a, b) = (put(&context, 1, &[1.0]).await, put(&context, 2, &[2.0]).await);
    let call = context.execute(RemoteExecute::new(&add).inputs([&a, &b]).handles(1)).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [3.0]);
    for (fabric, others) in [(&client_fabric, [0, 1, 2].as_slice()), (&first, &[1, 2])] {
        let dialled = fabric.dialled.lock().unwrap().clone();
        for other in others {
            let address = workers[*other].address().unwrap().to_string();
            let mut peers = dialled.iter().filter(|peer| peer.starts_with(&address)).peekable();
            assert!(peers.peek().is_some(), "{address} of {dialled:?}");
            assert!(peers.all(|peer| peer.contains(" over unix:") == (*other < 2)), "{dialled:?}");
        }
    }
    assert!(workers[1].stats().await.unwrap().sent_bytes > 0);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    assert_eq!(context.close().await.unwrap(), []);
    client.stop().await.unwrap();
    for worker in workers {
        worker.stop().await.unwrap();
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    std::fs::remove_dir(&folder).unwrap();
}
