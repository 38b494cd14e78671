//! RegisterFunction: a program gets a name on a task.

use remex::{
    Golden,
    prelude::*,
    protocol::{calls::RegisterFunctionRequest, ids::ProgramIndex},
};

use crate::{
    raw::{ELSEWHERE, Raw, register_function},
    support::{Gate, Scale, assert_error, builder, cluster, device, elements, end, put, register, scale, task, vector},
};

async fn scaled(context: &ContextHandle, program: &ProgramHandle, x: &[f32]) -> remex::Result<Vec<f32>> {
    let x = put(context, 1, x).await;
    let call = context.execute(RemoteExecute::new(program).input(&x).handles(1)).await?;
    Ok(elements(&call.handles[0].fetch().await?))
}

#[actix::test]
async fn the_same_program_may_be_registered_twice_and_another_may_not() {
    let scaler = Scale::default();
    let compiler = scaler.clone();
    let cluster = builder(2).each(move |_, builder| builder.compiler(compiler.clone())).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let first = context.register(&task(1), scale("3")).await.unwrap();
    let second = context.register(&task(1), scale("3")).await.unwrap();
    assert_eq!((scaler.compiled(), second.signature(), second.spec()), (1, first.signature(), first.spec()));
    let error = context.register(&task(1), scale("4")).await.unwrap_err();
    assert_error(&error, ErrorCode::RemoteFunctionAlreadyExists, &["scale", &task(1), "use another name"]);
    assert_eq!(scaled(&context, &first, &[2.0]).await.unwrap(), [6.0]);
    assert_eq!(scaled(&context, &second, &[3.0]).await.unwrap(), [9.0]);
    assert_eq!(context.register(&task(0), scale("4")).await.unwrap().name(), "scale", "on another task it is free");
    end(cluster, context).await;
}

#[actix::test]
async fn a_program_that_cannot_be_compiled_leaves_nothing_behind() {
    let cluster = builder(2).each(|_, builder| builder.compiler(Scale::default())).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let other = RegisterFunction::new("scale", "prolog", "x");
    let golden = Golden { inputs: vec![vector(&[2.0])], outputs: vec![vector(&[7.0])], tolerance: 1e-6 };
    let cases: [(RegisterFunction, ErrorCode, &[&str]); 6] = [
        (scale("2\nthree"), ErrorCode::MalformedProgram, &["line 2: \"three\" is not a number", "program scale"]),
        (scale("3").entry("main"), ErrorCode::NotFound, &["no entry \"main\""]),
        (scale("panic"), ErrorCode::CompilationFailed, &["the compiler panicked"]),
        (other, ErrorCode::NotFound, &["not \"prolog\"", "native", "scale"]),
        (scale("3").golden(golden), ErrorCode::CompilationFailed, &["golden", "output 0 is 6 at element 0, not 7"]),
        (
            scale("3").outputs_on([device(1).parse().unwrap(), device(1).parse().unwrap()]),
            ErrorCode::InvalidArgument,
            &["the program has 1 outputs, but devices for 2 were given"],
        ),
    ];
    for (function, code, words) in cases {
        let error = context.register(&task(1), function).await.unwrap_err();
        assert_error(&error, code, words);
        assert_eq!(error.task(), Some(&*task(1)));
        let good = context.register(&task(1), scale("3")).await.unwrap();
        assert_eq!(scaled(&context, &good, &[1.0]).await.unwrap(), [3.0]);
        context.unregister(&good).await.unwrap();
    }
    let error = context.register(&task(1), RegisterFunction::native("nothing")).await.unwrap_err();
    assert_error(&error, ErrorCode::NotFound, &["no native program \"nothing\"", "it has add, fail, panic, three"]);
    end(cluster, context).await;
}

#[actix::test]
async fn golden_tensors_are_tried_when_it_is_registered() {
    let cluster = builder(2).each(|_, builder| builder.compiler(Scale::default())).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let golden = |x, y, tolerance| Golden { inputs: vec![vector(x)], outputs: vec![vector(y)], tolerance };
    let good = scale("3").golden(golden(&[1.0, 2.0], &[3.0, 6.0001], 1e-3));
    assert!(context.register(&task(1), good).await.is_ok());
    let add = |golden| RegisterFunction::native("sum").entry("add").golden(golden);
    let error = context.register(&task(1), add(golden(&[1.0], &[1.0, 2.0], 0.0))).await.unwrap_err();
    assert_error(&error, ErrorCode::CompilationFailed, &["output 0 is f32[1], not f32[2]"]);
    let nan = context.register(&task(1), add(golden(&[1.0], &[f32::NAN], 1.0))).await.unwrap_err();
    assert_error(&nan, ErrorCode::CompilationFailed, &["output 0 is 1 at element 0, not NaN"]);
    end(cluster, context).await;
}

/// I5: calls that arrive while the program is compiled wait, in order.
#[actix::test]
async fn calls_follow_a_registration_without_waiting() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let mut inputs = Vec::new();
    for i in 0..4 {
        inputs.push(put(&context, 1, &[i as f32]).await);
    }
    gate.open(4);
    cluster.hold();
    let registering = context.begin_register(&task(1), RegisterFunction::native("gate")).await.unwrap();
    let missing = context.begin_register(&task(1), RegisterFunction::native("nothing")).await.unwrap();
    let spec = context.spec(&[&device(1)]).unwrap();
    let mut calls = Vec::new();
    for input in &inputs {
        let call = RemoteExecute::new(&registering.program).input(input).spec(spec.clone());
        calls.push(context.execute(call).await.unwrap());
    }
    let lost = context.execute(RemoteExecute::new(&missing.program).spec(spec.clone())).await.unwrap();
    let two = context.spec(&[&device(1), &device(1)]).unwrap();
    let wrong = RemoteExecute::new(&registering.program).input(&inputs[0]).spec(two).handles(2);
    let wrong = context.execute(wrong).await.unwrap();
    cluster.release();
    registering.done().await.unwrap();
    for call in calls {
        call.chain.done().await.unwrap();
    }
    assert_eq!(gate.order(), [0.0, 1.0, 2.0, 3.0]);
    let cause = missing.done().await.unwrap_err();
    assert_error(&cause, ErrorCode::NotFound, &["no native program \"nothing\""]);
    assert_eq!(lost.chain.done().await.unwrap_err().message(), cause.message());
    let error = wrong.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["the program has 1 outputs, the call names 2", "program gate"]);
    end(cluster, context).await;
}

#[actix::test]
async fn a_program_may_be_compiled_at_its_first_use() {
    let scaler = Scale::default();
    let compiler = scaler.clone();
    let cluster = builder(2).each(move |_, builder| builder.compiler(compiler.clone())).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let on = [device(1).parse().unwrap()];
    let lazy = scale("5").compile_at_first_use().outputs_on(on.clone());
    let program = context.register(&task(1), lazy).await.unwrap();
    assert_eq!(scaler.compiled(), 0);
    for _ in 0..2 {
        assert_eq!(scaled(&context, &program, &[2.0]).await.unwrap(), [10.0]);
    }
    assert_eq!(scaler.compiled(), 1);
    context.unregister(&program).await.unwrap();
    let bad = context.register(&task(1), scale("x").compile_at_first_use().outputs_on(on)).await.unwrap();
    for _ in 0..2 {
        let error = scaled(&context, &bad, &[1.0]).await.unwrap_err();
        assert_error(&error, ErrorCode::MalformedProgram, &["\"x\" is not a number"]);
    }
    end(cluster, context).await;
}

/// I7: what the facade would not send is refused, and leaves nothing behind.
#[actix::test]
async fn a_wrong_request_is_refused() {
    let cluster = cluster(1).await;
    let mut raw = Raw::with_context(&cluster, 0).await;
    let good = || register_function(1, "add");
    let cases = [
        (RegisterFunctionRequest { name: String::new(), ..good() }, &b""[..], "a program needs a name"),
        (RegisterFunctionRequest { program_bytes: 9, ..good() }, b"four", "the payload has 4 bytes, the program 9"),
        (RegisterFunctionRequest { program_bytes: 1, ..good() }, b"four", "3 bytes of the payload belong to nothing"),
        (RegisterFunctionRequest { output_devices: vec![ELSEWHERE], ..good() }, b"", "is not one of this task"),
    ];
    for (request, payload, words) in cases {
        let error = raw.ask_with(request, payload).await.unwrap_err();
        assert!(error.code == ErrorCode::InvalidArgument && error.message.contains(words), "{error}");
    }
    raw.ask(good()).await.unwrap();
    let taken = raw.ask(good()).await.unwrap_err();
    assert_eq!(taken.code, ErrorCode::AlreadyExists, "the index is taken");
    raw.ask(RegisterFunctionRequest { program: ProgramIndex(2), ..good() }).await.unwrap();
    cluster.stop().await.unwrap();
}

#[actix::test]
async fn a_name_is_one_contexts() {
    let cluster = cluster(2).await;
    let (one, two) = (cluster.context().await.unwrap(), cluster.context().await.unwrap());
    one.register(&task(1), RegisterFunction::native("f").entry("add")).await.unwrap();
    two.register(&task(1), RegisterFunction::native("f").entry("fail")).await.unwrap();
    assert_eq!(register(&one, 1, "add").await.task().to_string(), task(1));
    assert_eq!(two.close().await.unwrap(), []);
    end(cluster, one).await;
}
