//! Calls that are made again, by whoever asked for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use remex::{CallContext, CancelHandle, prelude::*};

use crate::support::{Gate, assert_error, builder, device, elements, end, put, register};

/// A program that says that it is not there, so many times, and then gives its input.
fn flaky(failures: u32, runs: Arc<AtomicU32>) -> remex::Executable {
    native(move |inputs| match runs.fetch_add(1, Ordering::Relaxed) {
        run if run < failures => Err(ProgramError::new(ErrorCode::Unavailable, "come back later")),
        _ => Ok(vec![inputs[0].clone()]),
    })
    .outputs(1)
}

/// A call of a program that may run twice is made again, each time with new ids; of another it is not.
#[actix::test]
async fn an_idempotent_call_is_made_again() {
    let runs = Arc::new(AtomicU32::new(0));
    let cluster = builder(2).program("flaky", flaky(2, runs.clone())).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "flaky").await, put(&context, 1, &[4.0]).await);
    let execute = || RemoteExecute::new(&program).input(&a).handles(1);
    let call = CallContext::new().attempts(3);
    let error = context.execute_with(execute(), &call).await.unwrap_err();
    assert_error(&error, ErrorCode::Unavailable, &["come back later"]);
    assert_eq!(runs.load(Ordering::Relaxed), 1, "it may have had an effect");
    let done = context.execute_with(execute(), &call.idempotent()).await.unwrap();
    assert_eq!((runs.load(Ordering::Relaxed), done.chain.try_get()), (3, Some(Ok(()))));
    assert_eq!(elements(&context.fetch_with(&done.outputs[0], &CallContext::new()).await.unwrap()), [4.0]);
    end(cluster, context).await;
}

/// A cancel ends the attempt that runs, on the worker too.
#[actix::test]
async fn a_cancel_handle_ends_calls_of_several_kinds() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[4.0]).await);
    let cancel = CancelHandle::new();
    let call = CallContext::new().cancel_with(&cancel).deadline(Duration::from_secs(9));
    let nothing = context.new_object(&device(1)).unwrap();
    let run = context.execute_with(RemoteExecute::new(&program).input(&a), &call);
    let fetch = context.fetch_with(&nothing, &call);
    let (run, fetch, ()) = tokio::join!(run, fetch, async {
        cluster.settle().await;
        assert_eq!(gate.runs(), (1, 0, 0));
        cancel.cancel();
    });
    assert_error(&run.unwrap_err(), ErrorCode::Cancelled, &["the caller cancelled"]);
    assert_error(&fetch.unwrap_err(), ErrorCode::Cancelled, &["the caller cancelled"]);
    cluster.settle().await;
    assert_eq!(gate.runs(), (1, 0, 1), "the program was dropped");
    end(cluster, context).await;
}

#[actix::test]
async fn ids_of_the_caller_are_made_once() {
    let cluster = builder(2).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[4.0]).await);
    let given = || [context.new_object(&device(1)).unwrap()];
    let call = CallContext::new().attempts(2);
    let error =
        context.execute_with(RemoteExecute::new(&add).input(&a).outputs_into(given()), &call).await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["cannot be made twice"]);
    context.execute_with(RemoteExecute::new(&add).input(&a).outputs_into(given()), &CallContext::new()).await.unwrap();
    end(cluster, context).await;
}
