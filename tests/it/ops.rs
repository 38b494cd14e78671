//! Ops: issued on devices, threaded on a chain for each task.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use remex::{Attrs, Op, OpRegistry, RemoteOpHandler, Shape, prelude::*, testing::TestCluster};

use crate::support::{Gate, assert_error, builder, elements, end, put, register, stats, task};

/// Writes its number down; fails if it is told to, or if another one runs at the same time.
#[derive(Clone, Default)]
struct Write(Arc<(Mutex<Vec<i64>>, AtomicBool)>);

impl Write {
    fn numbers(&self) -> Vec<i64> {
        self.0.0.lock().unwrap().clone()
    }
}

impl Op for Write {
    fn name(&self) -> &str {
        "write"
    }

    fn check(&self, _: usize, attrs: &Attrs) -> Result<(), ProgramError> {
        attrs
            .int("number")
            .map(|_| ())
            .map_err(|error| ProgramError::new(ErrorCode::InvalidArgument, error.to_string()))
    }

    fn infer(&self, _: &[TensorMetadata], _: &Attrs) -> Result<Vec<Option<TensorMetadata>>, ProgramError> {
        Ok(vec![Some(TensorMetadata::new(DType::I64, Shape::scalar()))])
    }

    fn run(&self, _: &[Tensor], attrs: &Attrs) -> Result<Vec<Tensor>, ProgramError> {
        let number = *attrs.int("number").unwrap();
        if self.0.1.swap(true, Ordering::AcqRel) {
            return Err(ProgramError::new(ErrorCode::Internal, "two at one time"));
        }
        std::thread::yield_now();
        self.0.0.lock().unwrap().push(number);
        self.0.1.store(false, Ordering::Release);
        if *attrs.bool_or("fail", &false).unwrap() {
            return Err(ProgramError::new(ErrorCode::OutOfRange, format!("{number} is not wanted")));
        }
        if *attrs.bool_or("short", &false).unwrap() {
            return Ok(Vec::new());
        }
        Ok(vec![Tensor::from_slice(Shape::scalar(), &[number])?])
    }
}

async fn writers(tasks: usize) -> (TestCluster, Write) {
    let write = Write::default();
    let mut ops = OpRegistry::empty();
    ops.register(write.clone()).unwrap();
    let cluster = builder(tasks).each(move |_, server| server.ops(ops.clone())).start().await.unwrap();
    (cluster, write)
}

fn handler(context: &ContextHandle, i: usize) -> RemoteOpHandler {
    context.op_handler(&context.device_of(&task(i)).unwrap()).unwrap()
}

fn write(number: i64) -> RemoteExecuteOp {
    RemoteExecuteOp::new("write").attr("number", number)
}

/// Each op gives a handle with its metadata; ops of one task run in the order in which they were issued, without a round
/// trip in between; their chains are freed.
#[actix::test]
async fn ops_run_in_the_order_in_which_they_are_issued() {
    let (cluster, written) = writers(2).await;
    let context = cluster.context().await.unwrap();
    let (objects, ops) = (stats(&cluster, 1).await.1, handler(&context, 1));
    let mut issued = Vec::new();
    for number in 0..50 {
        issued.push(ops.execute(write(number)).await.unwrap());
    }
    let last = issued.last().unwrap();
    assert_eq!(last.handles[0].metadata().await.unwrap().to_string(), "i64[]");
    assert_eq!(last.handles[0].fetch().await.unwrap().elements::<i64>().unwrap(), [49]);
    assert_eq!(written.numbers(), (0..50).collect::<Vec<_>>());
    assert!(issued.iter().all(|op| op.chain.try_get() == Some(Ok(()))));
    drop(issued);
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, objects + 1, "but for the last chain");
    end(cluster, context).await;
}

/// TFRT §3.3-3: the chain is taken and put back in one step. Ops that are issued from many threads run one after the other,
/// each once; old chains are freed, and inputs that failed are an error and no assertion.
#[actix::test]
async fn the_chain_is_threaded_atomically() {
    let (cluster, written) = writers(2).await;
    let context = cluster.context().await.unwrap();
    let (objects, ops) = (stats(&cluster, 1).await.1, handler(&context, 1));
    let threads: Vec<_> = (0..8i64)
        .map(|thread| {
            let ops = ops.clone();
            std::thread::spawn(move || {
                let issue = |i| ops.try_execute(write(thread * 100 + i)).unwrap();
                (0..50).map(issue).collect::<Vec<_>>()
            })
        })
        .collect();
    let issued: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    for op in &issued {
        op.chain.done().await.unwrap();
    }
    let mut numbers = written.numbers();
    for thread in 0..8 {
        assert!(numbers.iter().filter(|n| **n / 100 == thread).is_sorted(), "the order of each thread is kept");
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..8).flat_map(|thread| (0..50).map(move |i| thread * 100 + i)).collect::<Vec<_>>());
    drop(issued);
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, objects + 1, "but for the last chain");
    let id = context.new_object(&crate::support::device(1)).unwrap();
    context.fail_objects(std::slice::from_ref(&id), &remex::Error::new(ErrorCode::DataLoss, "gone")).await.unwrap();
    let bad = ops.execute(write(1).input(&id)).await.unwrap();
    assert_error(&bad.handles[0].tensor().await.unwrap_err(), ErrorCode::DataLoss, &["gone", "program write"]);
    end(cluster, context).await;
}

/// TFRT §3.3-1: when an op fails, or gives the wrong number of results, or its link is lost, its chain, its metadata and its
/// tensors all fail, with one cause.
#[actix::test]
async fn a_failed_op_settles_everything_that_it_promised() {
    let (cluster, _) = writers(3).await;
    let context = cluster.context().await.unwrap();
    let ops = handler(&context, 1);
    let cases = [
        (write(7).attr("fail", true), ErrorCode::OutOfRange, "7 is not wanted"),
        (write(7).attr("short", true), ErrorCode::Internal, "0 outputs, the call names 1"),
        (write(7).outputs(2), ErrorCode::InvalidArgument, "has 1 outputs, the call names 2"),
        (RemoteExecuteOp::new("wirte"), ErrorCode::NotFound, "did you mean \"write\"?"),
    ];
    for (op, code, words) in cases {
        let issued = ops.execute(op).await.unwrap();
        for handle in &issued.handles {
            assert_error(&handle.tensor().await.unwrap_err(), code, &[words, &task(1)]);
            if code != ErrorCode::OutOfRange && words != "0 outputs, the call names 1" {
                assert_error(&handle.metadata().await.unwrap_err(), code, &[words]);
            }
        }
        assert_error(&issued.chain.done().await.unwrap_err(), code, &[words]);
        assert_error(&context.fetch(&issued.outputs[0]).await.unwrap_err(), code, &[words]);
    }
    let far = handler(&context, 2);
    cluster.hold();
    let issued = far.execute(write(1)).await.unwrap();
    cluster.cut(0, 2);
    cluster.release();
    cluster.advance(Duration::from_secs(4)).await;
    assert_error(&issued.handles[0].metadata().await.unwrap_err(), ErrorCode::RpcUnavailable, &[&task(2)]);
    assert_error(&issued.handles[0].tensor().await.unwrap_err(), ErrorCode::RpcUnavailable, &[&task(2)]);
    assert_error(&issued.chain.done().await.unwrap_err(), ErrorCode::RpcUnavailable, &[&task(2)]);
    cluster.heal(0, 2);
    context.close().await.unwrap();
    cluster.stop().await.unwrap();
}

/// TFRT §3.3-2: a bad attribute never wedges a worker. One that can be seen here is refused before the chain is touched; one
/// that the worker refuses fails its op and what is on its way behind it, and what is issued afterwards runs.
#[actix::test]
async fn a_bad_attribute_wedges_nothing() {
    let (cluster, written) = writers(2).await;
    let context = cluster.context().await.unwrap();
    let ops = handler(&context, 1);
    ops.execute(write(1)).await.unwrap();
    let error = ops.execute(write(2).attr("list", vec![0i64; 5000])).await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["\"list\" has 5000 elements, at most 4096", "program write"]);
    ops.execute(write(3)).await.unwrap().chain.done().await.unwrap();
    let bad = ops.execute(RemoteExecuteOp::new("write").attr("number", "four")).await.unwrap();
    let behind = ops.execute(write(5)).await.unwrap();
    let words = ["\"number\" must be an integer, it is a text"];
    assert_error(&behind.handles[0].tensor().await.unwrap_err(), ErrorCode::InvalidArgument, &words);
    assert_error(&bad.handles[0].metadata().await.unwrap_err(), ErrorCode::InvalidArgument, &words);
    assert_error(&bad.chain.done().await.unwrap_err(), ErrorCode::InvalidArgument, &words);
    ops.execute(write(6)).await.unwrap().chain.done().await.unwrap();
    assert_eq!(written.numbers(), [1, 3, 6]);
    end(cluster, context).await;
}

/// TFRT §3.2-11: a call is answered once, whatever fails of it; the device that runs the op and the devices of its outputs are
/// both checked, and an in-chain of another task is refused.
#[actix::test]
async fn an_op_is_checked_where_it_runs() {
    let (cluster, written) = writers(3).await;
    let context = cluster.context().await.unwrap();
    let nowhere = context.op_handler(&"/job:test/task:1/device:GPU:0".parse().unwrap()).unwrap_err();
    assert_error(&nowhere, ErrorCode::DeviceNotFound, &["GPU:0", "it has"]);
    let error = context.execute_op(write(1)).await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["does not say on which device", "program write"]);
    let nameless = handler(&context, 1).execute(RemoteExecuteOp::new("")).await.unwrap_err();
    assert_error(&nameless, ErrorCode::InvalidArgument, &["1 to 256 bytes"]);
    let as_message = context.addr().send(write(2).on(&context.device_of(&task(2)).unwrap())).await.unwrap().unwrap();
    as_message.chain.done().await.unwrap();
    assert_eq!(written.numbers(), [2]);
    end(cluster, context).await;
}

/// Ops and programs meet: an op after a program on another task, a program on an op's output.
#[actix::test]
async fn ops_and_programs_work_together() {
    let gate = Gate::new();
    let written = Write::default();
    let mut ops = OpRegistry::empty();
    ops.register(written.clone()).unwrap();
    let cluster = builder(3).program("gate", gate.program());
    let cluster = cluster.each(move |_, server| server.ops(ops.clone())).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, three) = (register(&context, 2, "gate").await, register(&context, 1, "three").await);
    let before = context.execute(RemoteExecute::new(&program).input(&put(&context, 2, &[1.0]).await)).await.unwrap();
    let ops = handler(&context, 1);
    let first = ops.execute(write(1).after(&before.chain)).await.unwrap();
    let second = ops.execute(write(2)).await.unwrap();
    cluster.settle().await;
    assert!(second.chain.try_get().is_none() && written.numbers().is_empty());
    let device = context.device_of(&task(1)).unwrap().to_string();
    let spec = context.spec(&[&device, &device, &device]).unwrap();
    let user = RemoteExecute::new(&three).input(&first.outputs[0]).spec(spec).handles(1);
    let user = context.execute(user).await.unwrap();
    gate.open(1);
    assert_eq!(user.handles[0].fetch().await.unwrap().elements::<i64>().unwrap(), [1]);
    second.chain.done().await.unwrap();
    assert_eq!(written.numbers(), [1, 2]);
    assert_eq!(elements(&context.fetch(&before.outputs[0]).await.unwrap()), [1.0]);
    end(cluster, context).await;
}
