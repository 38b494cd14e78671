//! Metadata first: along pipelines before anything has run, and without a frame where the caller can infer it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use remex::{
    Execution, Signature,
    prelude::*,
    testing::{FaultPlan, FrameFaults, SimCluster, TestCluster},
};
use tokio::time::Instant;

use crate::support::{assert_error, builder, device, elements, end, put, register, task};

const SECOND: Duration = Duration::from_secs(1);

/// A pipeline of so many stages, each on the worker after the one before it, from 1.
async fn pipeline(context: &ContextHandle, programs: &[ProgramHandle], x: &ObjectRef, stages: usize) -> Vec<Execution> {
    let mut calls: Vec<Execution> = Vec::new();
    for i in 0..stages {
        let input = calls.last().map_or(x, |call| &call.outputs[0]).clone();
        let call = RemoteExecute::new(&programs[i % programs.len()]).input(input).handles(1);
        calls.push(context.execute(call).await.unwrap());
    }
    calls
}

async fn on_workers(context: &ContextHandle, name: &str) -> Vec<ProgramHandle> {
    let mut programs = Vec::new();
    for i in 1..4 {
        let function = RegisterFunction::native(format!("{name}{i}")).entry(name);
        programs.push(context.register(&task(i), function).await.unwrap());
    }
    programs
}

/// Metadata goes through a pipeline over three workers at the speed of the network, where only the workers can infer: within a
/// round trip of the client and one way for each edge between workers. Nothing has run by then; the data comes after ten seconds.
#[actix::test]
async fn metadata_of_a_pipeline_is_known_before_anything_has_run() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    let stage = native(move |inputs| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(inputs.to_vec())
    });
    let stage = stage.inputs(1).outputs(1).infer_by(|inputs| Ok(vec![Some(inputs[0].clone())]));
    let way = Duration::from_millis(20);
    let frames = FrameFaults { latency: (way, way), ..FrameFaults::none() };
    let plan = FaultPlan { frames, program: (SECOND, SECOND), ..FaultPlan::none() };
    let cluster = SimCluster::builder(4).plan(plan).program("stage", stage).start().await.unwrap();
    let context = cluster.context(0).await.unwrap();
    let (stages, x) = (on_workers(&context, "stage").await, put(&context, 1, &[1.0, 2.0]).await);
    assert!(stages[0].signature().is_none(), "the caller is to know nothing");
    // So that the workers have met.
    let met = pipeline(&context, &stages, &x, 4).await;
    met.last().unwrap().chain.done().await.unwrap();
    drop(met);
    ended.store(0, Ordering::Relaxed);
    let begin = Instant::now();
    let calls = pipeline(&context, &stages, &x, 10).await;
    for (edges, call) in calls.iter().enumerate() {
        assert_eq!(call.handles[0].metadata().await.unwrap().to_string(), "f32[2]");
        let (took, bound) = (begin.elapsed(), way * (2 + edges as u32));
        assert!(took <= bound, "stage {edges}: {took:?}, at most {bound:?}");
    }
    assert_eq!(ended.load(Ordering::Relaxed), 0, "a program has run");
    assert!(calls.iter().all(|call| call.handles[0].try_tensor().is_none() && call.chain.try_get().is_none()));
    calls[9].chain.done().await.unwrap();
    let took = begin.elapsed();
    assert!(took >= 10 * SECOND && took <= 10 * SECOND + way * 11, "{took:?}");
    assert_eq!(elements(&calls[9].handles[0].fetch().await.unwrap()), [1.0, 2.0]);
    assert_eq!(ended.load(Ordering::Relaxed), 10);
    assert_eq!(context.close().await.unwrap(), []);
}

/// A program with this signature, which gives zeros.
fn zeros(signature: &str) -> remex::Executable {
    let signature = Signature::symbolic(signature).unwrap();
    let known = signature.clone();
    native(move |inputs| {
        let metadata: Vec<_> = inputs.iter().map(|input| input.metadata().clone()).collect();
        let outputs = known.infer(&metadata).map_err(ProgramError::invalid)?;
        let zero = |output: Option<TensorMetadata>| {
            let output = output.ok_or_else(|| ProgramError::new(ErrorCode::Internal, "it does not follow"))?;
            Ok(Tensor::from_bytes(output.clone(), vec![0; output.size_bytes().unwrap_or(0) as usize].into())?)
        };
        outputs.into_iter().map(zero).collect()
    })
    .signature(signature)
}

async fn symbolic(signature: &str) -> (TestCluster, ContextHandle, ProgramHandle) {
    let cluster = builder(3).program("p", zeros(signature)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let program = register(&context, 1, "p").await;
    assert_eq!(program.signature().unwrap().to_string(), signature);
    (cluster, context, program)
}

async fn matrix(context: &ContextHandle, i: usize, dims: [u64; 2]) -> ObjectRef {
    let zeros = vec![0f32; (dims[0] * dims[1]) as usize];
    context.put(&context.device_of(&task(i)).unwrap(), Tensor::from_slice(dims, &zeros).unwrap()).await.unwrap()
}

fn f32(dims: [u64; 2]) -> TensorMetadata {
    TensorMetadata::new(DType::F32, dims)
}

fn known(call: &Execution) -> Vec<String> {
    let metadata = call.handles.iter().map(|handle| handle.try_metadata().expect("it is known").unwrap().to_string());
    metadata.collect()
}

/// With a symbolic signature metadata is known when `execute` returns, along a chain of calls over two workers, and before a
/// frame has left; also of outputs for which no handle was asked.
#[actix::test]
async fn a_symbolic_signature_settles_metadata_without_a_frame() {
    let (cluster, context, product) = symbolic("a: T[n,k], b: T[k,m] -> c: T[n,m], sizes: i64[n+m,2*k+1]").await;
    let other = context.register(&task(2), RegisterFunction::native("q").entry("p")).await.unwrap();
    let (a, b) = (matrix(&context, 1, [2, 3]).await, matrix(&context, 1, [3, 3]).await);
    cluster.hold();
    let mut calls = vec![context.execute(RemoteExecute::new(&product).inputs([&a, &b]).handles(2)).await.unwrap()];
    assert_eq!(known(&calls[0]), ["f32[2,3]", "i64[5,7]"]);
    for program in [&other, &product, &product, &other, &other] {
        let last = &calls.last().unwrap().outputs[0];
        let call = context.execute(RemoteExecute::new(program).inputs([last, &b]).handles(1)).await.unwrap();
        // Of the product no handle was asked for; it is known all the same.
        assert_eq!((known(&call), call.outputs[0].metadata().unwrap()), (vec!["i64[5,7]".to_owned()], f32([2, 3])));
        calls.push(call);
    }
    assert!(calls.iter().all(|call| call.chain.try_get().is_none()));
    cluster.release();
    for call in &calls {
        call.chain.done().await.unwrap();
        assert_eq!(context.fetch(&call.outputs[0]).await.unwrap().metadata(), &f32([2, 3]));
    }
    assert_eq!(calls[0].handles[1].fetch().await.unwrap().metadata().to_string(), "i64[5,7]");
    end(cluster, context).await;
}

/// I2, I3, I7: inputs that the program does not take fail the call where it is made, before a frame has left, with the error that
/// the worker gives, too; the outputs fail with it for everybody, and what comes behind has it as its cause.
#[actix::test]
async fn inputs_that_do_not_fit_fail_the_call_before_a_frame_has_left() {
    let (cluster, context, product) = symbolic("a: f32[n,k], b: f32[k,m] -> c: f32[n,m]").await;
    let (a, b) = (matrix(&context, 1, [2, 3]).await, matrix(&context, 1, [4, 5]).await);
    let row = put(&context, 1, &[1.0]).await;
    let whole = Tensor::from_slice([3, 5], &[0i64; 15]).unwrap();
    let whole = context.put(&context.device_of(&task(1)).unwrap(), whole).await.unwrap();
    let cases: [(&[&ObjectRef], &str); 4] = [
        (&[&a, &b], "input \"b\" is f32[4,5], but \"k\" is 3 in an earlier dimension and 4 here"),
        (&[&a, &row], "input \"b\" is f32[1], but the program takes f32[k,m]"),
        (&[&a, &whole], "input \"b\" is i64[3,5], but the program takes f32[k,m]"),
        (&[&a], "the program takes 2 inputs, 1 were given"),
    ];
    for (inputs, words) in cases {
        let given = context.new_object(&device(1)).unwrap();
        cluster.hold();
        let call = RemoteExecute::new(&product).inputs(inputs.iter().copied()).outputs_into([given.clone()]);
        let call = context.execute(call).await.unwrap();
        let error = call.chain.try_get().expect("it has failed").unwrap_err();
        assert_error(&error, ErrorCode::InvalidArgument, &[words]);
        assert_eq!((error.task(), error.program()), (Some(&*task(1)), Some("p")));
        assert_eq!(error.call(), Some(call.chain.call()));
        assert_eq!(call.handles[0].try_metadata().unwrap().unwrap_err(), error);
        assert_eq!(call.handles[0].try_tensor().unwrap().unwrap_err(), error);
        let behind = RemoteExecute::new(&product).inputs([&given, &given]).handles(1);
        let behind = context.execute(behind).await.unwrap();
        assert!(behind.chain.try_get().is_none());
        cluster.release();
        // What the worker says of the outputs is what it answers to the call.
        assert_eq!(context.fetch(&given).await.unwrap_err(), error);
        let caused = behind.chain.done().await.unwrap_err();
        assert_eq!((caused.message(), caused.call()), (error.message(), error.call()));
    }
    end(cluster, context).await;
}

/// I5: a call that waits for another one is judged at once all the same, and then is not sent.
#[actix::test]
async fn a_call_that_waits_and_does_not_fit_fails_at_once() {
    let (cluster, context, product) = symbolic("a: f32[n,k], b: f32[k,m] -> c: f32[n,m]").await;
    let (a, b) = (matrix(&context, 1, [2, 3]).await, matrix(&context, 1, [3, 5]).await);
    cluster.hold();
    let first = context.execute(RemoteExecute::new(&product).inputs([&a, &b])).await.unwrap();
    let fits = RemoteExecute::new(&product).inputs([&a, &b]).after(&first.chain).handles(1);
    let fits = context.execute(fits).await.unwrap();
    assert_eq!(known(&fits), ["f32[2,5]"]);
    let wrong = RemoteExecute::new(&product).inputs([&a, &a]).after(&first.chain).handles(1);
    let wrong = context.execute(wrong).await.unwrap();
    let error = wrong.chain.try_get().unwrap().unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["\"k\" is 3"]);
    cluster.release();
    fits.chain.done().await.unwrap();
    assert_error(&context.fetch(&wrong.outputs[0]).await.unwrap_err(), ErrorCode::InvalidArgument, &["\"k\" is 3"]);
    end(cluster, context).await;
}

/// What the caller does not know it does not say: of an id, of an object that only the worker can describe yet, and of a program
/// whose registration was not answered. What the worker tells is known from then on.
#[actix::test]
async fn what_is_not_known_here_is_said_by_the_worker() {
    let cluster = builder(2).program("p", zeros("x: T[n] -> y: T[2*n]")).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (add, x) = (register(&context, 1, "add").await, put(&context, 1, &[1.0, 2.0]).await);
    let registering = context.begin_register(&task(1), RegisterFunction::native("p")).await.unwrap();
    let double = registering.program.clone();
    let spec = context.spec(&[device(1).as_str()]).unwrap();
    let call = |input: &ObjectRef| RemoteExecute::new(&double).input(input).spec(spec.clone()).handles(1);
    cluster.hold();
    let early = context.execute(call(&x)).await.unwrap();
    assert!(double.signature().is_none() && early.handles[0].try_metadata().is_none());
    cluster.release();
    registering.done().await.unwrap();
    assert_eq!(double.signature().unwrap().to_string(), "x: T[n] -> y: T[2*n]");
    assert_eq!(early.handles[0].metadata().await.unwrap().to_string(), "f32[4]");
    cluster.hold();
    let sum = context.execute(RemoteExecute::new(&add).inputs([&x, &x]).handles(1)).await.unwrap();
    let of_sum = context.execute(call(&sum.outputs[0])).await.unwrap();
    let of_id = RemoteExecute::new(&double).input(x.id()).handles(1);
    let of_id = context.execute(of_id).await.unwrap();
    let of_early = context.execute(call(&early.outputs[0])).await.unwrap();
    assert!(of_sum.handles[0].try_metadata().is_none() && of_id.handles[0].try_metadata().is_none());
    assert_eq!(known(&of_early), ["f32[8]"], "what the worker told of the input is known");
    cluster.release();
    for (call, expected) in [(&of_sum, "f32[4]"), (&of_id, "f32[4]"), (&of_early, "f32[8]")] {
        call.chain.done().await.unwrap();
        assert_eq!(known(call), [expected]);
    }
    cluster.hold();
    let now = context.execute(call(&sum.outputs[0])).await.unwrap();
    assert_eq!(known(&now), ["f32[4]"]);
    cluster.release();
    now.chain.done().await.unwrap();
    end(cluster, context).await;
}

/// A model's dimensions that have names are symbols: a caller knows the outputs of a batch before it is sent.
#[cfg(feature = "onnx")]
#[actix::test]
async fn a_models_named_dimensions_are_symbols() {
    let model = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/digits/stage2.onnx")).unwrap();
    let cluster = builder(2).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let program = context.register(&task(1), RegisterFunction::onnx("digits", model)).await.unwrap();
    let signature = program.signature().unwrap().clone();
    let takes = signature.inputs[0].dims.as_ref().unwrap();
    assert!(matches!(&takes[0], remex::Dim::Symbol(_)), "{signature}");
    for batch in [1u64, 7] {
        let len = |dim: &remex::Dim| if let remex::Dim::Fixed(len) = dim { *len } else { batch };
        let dims: Vec<u64> = takes.iter().map(len).collect();
        let x = vec![0.25f32; dims.iter().product::<u64>() as usize];
        let x = Tensor::from_slice(remex::Shape::try_from(dims).unwrap(), &x).unwrap();
        let x = context.put(&context.device_of(&task(1)).unwrap(), x).await.unwrap();
        cluster.hold();
        let call = context.execute(RemoteExecute::new(&program).input(&x).handles(2)).await.unwrap();
        let inferred = known(&call);
        cluster.release();
        assert_eq!(inferred, [format!("f32[{batch},10]"), format!("i64[{batch}]")]);
        for (handle, inferred) in call.handles.iter().zip(&inferred) {
            assert_eq!(handle.fetch().await.unwrap().metadata().to_string(), *inferred);
        }
    }
    end(cluster, context).await;
}
