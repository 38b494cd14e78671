//! Fabrics that an application registers by name.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::LocalBoxFuture;
use remex::{
    ClusterFile,
    actors::fabric::{Connection, Fabric, FabricError, Listener, Unix},
    prelude::*,
};

use crate::support::{add, assert_error, elements, vector};

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
