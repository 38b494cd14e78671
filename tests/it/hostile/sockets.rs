//! The same on real sockets, in short.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use remex::{Server, prelude::*, protocol::cluster::ClusterConfig};

use crate::support::{add, elements, vector};

const TASK: &str = "/job:test/task:1";

async fn goes_on(context: &ContextHandle, program: &ProgramHandle) {
    let object = context.put(&context.device_of(TASK).unwrap(), vector(&[1.0, 2.0])).await.unwrap();
    let call = RemoteExecute::new(program).inputs([&object, &object]).handles(1);
    let call = context.execute(call).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [2.0, 4.0]);
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

    let connect = || {
        let stream = TcpStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    };
    let silent: Vec<_> = (0..200).map(|_| connect()).collect();
    for (noise, closes) in [
        (&b"GET / HTTP/1.1\r\n\r\n, and then some more so that a head is there"[..], false),
        (&[0xff; 64], false),
        (&[0x01; 20], true),
        (&[], true),
    ] {
        let mut stream = connect();
        // A peer that has closed already answers a write with a reset.
        let _ = stream.write_all(noise);
        if closes {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{answer:?}");
        goes_on(&context, &program).await;
    }
    // Reset in the middle of a write.
    for _ in 0..20 {
        let mut stream = connect();
        let _ = stream.write_all(&[0x5a; 1 << 10]);
    }
    goes_on(&context, &program).await;
    for mut stream in silent {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{answer:?}");
    }
    goes_on(&context, &program).await;
    assert_eq!(worker.stats().await.unwrap().sessions, sessions);
    assert_eq!(context.close().await.unwrap(), []);
    client.stop().await.unwrap();
    worker.stop().await.unwrap();
}
