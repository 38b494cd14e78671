//! Programs made known and run.

use remex_protocol::{Body, Reply, Rpc, attrs::Attrs, calls::*, ids::*, signature::*, tensor::DType};
use smallvec::smallvec;

use super::{CONTEXT, call, data, error, f32s, object, plain, reply};

pub(super) fn programs() -> Vec<super::Golden> {
    let register = RegisterFunctionRequest {
        context: CONTEXT,
        program: ProgramIndex(0),
        name: "add".to_owned(),
        format: "native".to_owned(),
        entry: None,
        when: CompileWhen::Now,
        program_bytes: 0,
        output_devices: Vec::new(),
        golden: None,
    };
    let model = RegisterFunctionRequest {
        program: ProgramIndex(1),
        name: "model".to_owned(),
        format: "onnx".to_owned(),
        entry: Some("main".to_owned()),
        when: CompileWhen::FirstUse,
        program_bytes: 5,
        output_devices: vec![DeviceIndex(0)],
        golden: Some(Golden { inputs: vec![f32s([1])], outputs: vec![f32s([1])], tolerance: 0.0001 }),
        ..register.clone()
    };
    let arg = |name: &str, dims: Option<Vec<Dim>>| Arg { name: name.to_owned(), dtype: DType::F32.into(), dims };
    let symbols = Some(vec![Dim::Symbol("n".to_owned()), Dim::Fixed(3), Dim::Any]);
    let mut any = arg("c", None);
    any.dtype = ArgType::Any;
    let registered = RegisterFunctionReply {
        signature: Some(Signature { inputs: vec![arg("a", symbols.clone()), arg("b", symbols)], outputs: vec![any] }),
        output_devices: Some(vec![DeviceIndex(0)]),
    };
    let symbolic = RegisterFunctionReply {
        signature: Some(Signature::symbolic("a: T[n,2], b: T[m] -> c: T[n+m,2*n*m+1], d: any[..]").unwrap()),
        output_devices: Some(vec![DeviceIndex(0); 2]),
    };
    let unregister = UnregisterFunctionRequest { context: CONTEXT, program: ProgramIndex(0) };
    let unregistered = Reply::UnregisterFunction(UnregisterFunctionReply {});
    let input = |local, origin| InputRef { object: object(local), origin };
    let output = |local, need_metadata| OutputRef { object: object(local), need_metadata };
    let execute = RemoteExecuteRequest {
        context: CONTEXT,
        program: ProgramIndex(0),
        inputs: smallvec![input(1, Origin::Here), input(2, Origin::Anywhere), input(3, Origin::Owner(TaskIndex(1)))],
        outputs: smallvec![output(4, true), output(5, false)],
        in_chains: smallvec![],
        out_chain: None,
        time_left_ms: 60_000,
        baggage: vec![("trace".to_owned(), "7f".to_owned())],
        readers: Vec::new(),
        released: Vec::new(),
    };
    let ordered = RemoteExecuteRequest {
        inputs: smallvec![],
        outputs: smallvec![],
        in_chains: smallvec![input(6, Origin::Here)],
        out_chain: Some(object(7)),
        baggage: Vec::new(),
        ..execute.clone()
    };
    let read = RemoteExecuteRequest {
        outputs: smallvec![output(4, true), output(5, true)],
        readers: vec![Reader { output: 1, task: TaskIndex(2) }, Reader { output: 1, task: TaskIndex(3) }],
        in_chains: smallvec![],
        out_chain: None,
        ..ordered.clone()
    };
    let releasing = RemoteExecuteRequest {
        inputs: smallvec![input(1, Origin::Here)],
        readers: Vec::new(),
        released: vec![object(1), object(2)],
        ..read.clone()
    };
    let op = RemoteExecuteOpRequest {
        context: CONTEXT,
        op: "sum".to_owned(),
        device: DeviceIndex(0),
        attrs: Attrs::new().with("axes", vec![0i64, -1]).with("keepdims", true).with("dtype", DType::F32),
        inputs: smallvec![input(4, Origin::Here)],
        outputs: smallvec![output(8, true)],
        in_chains: smallvec![input(7, Origin::Here)],
        out_chain: Some(object(9)),
        time_left_ms: 60_000,
    };
    let op_done = Reply::RemoteExecuteOp(RemoteExecuteOpReply { metadata: smallvec![Some(f32s([1, 1]))] });
    let executed = RemoteExecuteReply { metadata: smallvec![Some(f32s([2, 3])), None] };
    let mut failed = plain(
        "remote_execute_failed",
        "RemoteExecute has failed: flag FAILED, the header is an error",
        Body::Failed { kind: RemoteExecuteRequest::KIND, error: Box::new(error()) },
    );
    failed.frame.call = CallId::new(4, 0);
    (failed.frame.number, failed.frame.ack) = (5, 5);
    vec![
        call("register_function", "RegisterFunction: call 21, a native program", 3, register),
        call("register_function_model", "RegisterFunction: call 21, a model with a golden input and output", 3, model)
            .with([b"model".to_vec(), data(&[1.0, 2.0])].concat(), true),
        reply("register_function_reply", "RegisterFunction is completed", 3, Reply::RegisterFunction(registered)),
        reply(
            "register_function_reply_symbolic",
            "RegisterFunction is completed: types as symbols, lengths as sums of products",
            3,
            Reply::RegisterFunction(symbolic),
        ),
        call("unregister_function", "UnregisterFunction: call 22", 9, unregister),
        reply("unregister_function_reply", "UnregisterFunction is completed", 9, unregistered),
        call("remote_execute", "RemoteExecute: call 23, three inputs, two outputs", 5, execute),
        call("remote_execute_ordered", "RemoteExecute: call 23, after one chain and making another", 6, ordered),
        call("remote_execute_readers", "RemoteExecute: call 23, two tasks will fetch output 1", 7, read),
        call("remote_execute_releasing", "RemoteExecute: call 23, behind it two objects are released", 8, releasing),
        reply("remote_execute_reply", "RemoteExecute is completed", 5, Reply::RemoteExecute(executed)),
        failed,
        call("remote_execute_op", "RemoteExecuteOp: call 24, with attributes and chains", 7, op),
        reply("remote_execute_op_reply", "RemoteExecuteOp is completed", 7, op_done),
    ]
}
