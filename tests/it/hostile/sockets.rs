//! The same on real sockets, in short.

use std::time::Duration;

use remex::{Server, prelude::*, protocol::cluster::ClusterConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{add, elements, vector};

const TASK: &str = "/job:test/task:1";

async fn goes_on(context: &ContextHandle, program: &ProgramHandle) {
    let object = context.put(&context.device_of(TASK).unwrap(), vector(&[1.0, 2.0])).await.unwrap();
    let call = RemoteExecute::new(program).inputs([&object, &object]).handles(1);
    let call = context.execute(call).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [2.0, 4.0]);
}

/// The worker closes the stream without a word.
async fn is_thrown_out(mut stream: TcpStream) {
    let mut answer = Vec::new();
    // An end or a reset.
    let ended = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok() && answer.is_empty(), "{ended:?} {answer:?}");
}

/// Noise, silence, half-closed streams and resets on a TCP socket: the worker goes on, and no session is left.
#[actix::test]
async fn strangers_on_a_socket_harm_nobody() {
    let worker = Server::builder().task(TASK).listen("tcp://127.0.0.1:0").program("add", add()).start().await.unwrap();
    let client = Server::builder().task("/job:test/task:0").start().await.unwrap();
    let address = worker.address().unwrap().clone();
    let socket = address.rest().to_owned();
    let mut config = ClusterConfig::new();
    config.add(TASK.parse().unwrap(), Some(address)).unwrap();
    let context = client.create_context(remex::ContextConfig::new(config)).await.unwrap();
    let program = context.register(TASK, RegisterFunction::native("add")).await.unwrap();
    let sessions = worker.stats().await.unwrap().sessions;

    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(&socket).await.unwrap());
    }
    for (noise, closes) in [
        (&b"GET / HTTP/1.1\r\n\r\n, and then some more so that a head is there"[..], false),
        (&[0xff; 64], false),
        (&[0x01; 20], true),
        (&[], true),
    ] {
        let mut stream = TcpStream::connect(&socket).await.unwrap();
        // A peer that has closed already answers a write with a reset.
        let _ = stream.write_all(noise).await;
        if closes {
            stream.shutdown().await.unwrap();
        }
        is_thrown_out(stream).await;
        goes_on(&context, &program).await;
    }
    // Reset in the middle of a write.
    for _ in 0..20 {
        let mut stream = TcpStream::connect(&socket).await.unwrap();
        let _ = stream.write_all(&[0x5a; 1 << 10]).await;
    }
    goes_on(&context, &program).await;
    for stream in silent {
        is_thrown_out(stream).await;
    }
    goes_on(&context, &program).await;
    assert_eq!(worker.stats().await.unwrap().sessions, sessions);
    assert_eq!(context.close().await.unwrap(), []);
    client.stop().await.unwrap();
    worker.stop().await.unwrap();
}
