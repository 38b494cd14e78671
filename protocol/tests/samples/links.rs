//! What a link and a context begin and end with.

use remex_protocol::{
    Body, ErrorCode, RemoteError, Reply,
    calls::*,
    cluster::{GroupMembers, TaskInfo},
    handshake::*,
    ids::*,
};

use super::{CONTEXT, Golden, PREFIX, call, f32s, object, plain, reply};

pub(super) fn handshake() -> Vec<Golden> {
    let hello = Hello {
        magic: MAGIC.to_owned(),
        version: VERSION,
        oldest: VERSION,
        incarnation: Incarnation(0x0102_0304_0506_0708),
        task: "/job:client/task:2147483649".parse().unwrap(),
        epoch: 1,
        session: 0x2122_2324_2526_2728,
        replaces: 0,
        window_ms: 5000,
        resume: 0,
        unfinished: Vec::new(),
        lane: 0,
        limits: Limits::default(),
        credentials: b"secret".to_vec(),
    };
    let welcome = Welcome {
        version: VERSION,
        incarnation: Incarnation(0xa1a2_a3a4_a5a6_a7a8),
        task: "/job:worker/task:0".parse().unwrap(),
        epoch: 1,
        resumed: false,
        resume: 0,
        unfinished: Vec::new(),
        lease_ms: 30_000,
        lane: 0x3132_3334_3536_3738,
        credits: Credits::default(),
        limits: Limits::default(),
    };
    let refused = RemoteError::new(ErrorCode::FailedPrecondition, "this task speaks 0.1, the dialler 0.2");
    let goodbye = RemoteError::new(ErrorCode::Unavailable, "the task stops").on_task("/job:worker/task:0");
    let mut heartbeat = plain("heartbeat", "Heartbeat: kind 4, nothing but its ack", Body::Heartbeat);
    heartbeat.frame.ack = 7;
    let mut received = plain("received", "Received: kind 7, the payload of call 3.0 is whole", Body::Received);
    (received.frame.call, received.frame.ack) = (CallId::new(3, 0), 4);
    let metadata = Body::Metadata { output: 0, metadata: f32s([2, 3]) };
    let mut metadata = plain("metadata", "Metadata: kind 8, output 0 of call 4.0 is f32[2,3]", metadata);
    metadata.frame.call = CallId::new(4, 0);
    metadata.frame.ack = 5;
    let foreseen = Body::Foreseen { object: object(4), metadata: Box::new(f32s([2, 3])) };
    let mut foreseen = plain("foreseen", "Foreseen: kind 9, object 4 will be f32[2,3]", foreseen);
    foreseen.frame.ack = 5;
    vec![
        plain("hello", "Hello: kind 1, in named form", Body::Hello(Box::new(hello))),
        plain("welcome", "Welcome: kind 2, in named form", Body::Welcome(Box::new(welcome))),
        plain("refused", "Refused: kind 3, in named form", Body::Refused(Box::new(refused))),
        heartbeat,
        plain("goodbye", "Goodbye: kind 6, an error that names a task", Body::Goodbye(Box::new(goodbye))),
        received,
        metadata,
        foreseen,
    ]
}

pub(super) fn contexts() -> Vec<Golden> {
    let task = |name: &str, address: Option<&str>| TaskInfo {
        name: name.parse().unwrap(),
        address: address.map(|address| address.parse().unwrap()),
    };
    let create = CreateContextRequest {
        index: CONTEXT,
        context: ContextId(0xc0c1_c2c3_c4c5_c6c7),
        mode: ContextMode::Create,
        prefix: PREFIX,
        tasks: vec![
            task("/job:client/task:2147483649", None),
            task("/job:worker/task:0", Some("tcp://127.0.0.1:7070")),
        ],
        devices: vec!["/job:worker/task:0/device:CPU:0".parse().unwrap()],
        idle_timeout_ms: 600_000,
        groups: vec![GroupMembers { name: "all".to_owned(), members: vec![TaskIndex(1), TaskIndex(0)] }],
    };
    let join = CreateContextRequest {
        mode: ContextMode::Join,
        tasks: Vec::new(),
        devices: Vec::new(),
        groups: Vec::new(),
        ..create.clone()
    };
    let devices = GetDevicesReply {
        task: "/job:worker/task:0".parse().unwrap(),
        incarnation: Incarnation(0xa1a2_a3a4_a5a6_a7a8),
        devices: vec!["/job:worker/task:0/device:CPU:0".parse().unwrap()],
    };
    let created = CreateContextReply {
        incarnation: Incarnation(0xa1a2_a3a4_a5a6_a7a8),
        ready_chain: ObjectId { prefix: ObjectPrefix(0xa1a2_a3a4_a5a6_a7a8), local: 1, device: DeviceIndex(0) },
    };
    let name = |name: &str| name.parse().unwrap();
    let ready = SendReadyChainsRequest {
        context: create.context,
        lead: name("/job:a/task:0"),
        member: name("/job:a/task:1"),
        tasks: vec![task("/job:a/task:0", Some("tcp://10.0.0.1:7070")), task("/job:a/task:1", None)],
        groups: create.groups.clone(),
        devices: vec!["/job:a/task:1/device:CPU:0".parse().unwrap()],
        chain_prefix: PREFIX,
        time_left_ms: 30_000,
    };
    let chain = |prefix, device| ObjectId { prefix, local: 1, device: DeviceIndex(device) };
    let all_ready = SendReadyChainsReply {
        devices: vec!["/job:a/task:0/device:CPU:0".parse().unwrap(), "/job:a/task:1/device:CPU:0".parse().unwrap()],
        ready_chains: vec![chain(ObjectPrefix(5), 0), chain(PREFIX, 1)],
    };
    let (keep, close) = (KeepAliveRequest { context: CONTEXT }, CloseContextRequest { context: CONTEXT });
    vec![
        call("get_devices", "GetDevices: call 16", 1, GetDevicesRequest {}),
        reply("get_devices_reply", "GetDevices is completed", 1, Reply::GetDevices(devices)),
        call("create_context", "CreateContext: call 17, mode create", 2, create),
        call("create_context_join", "CreateContext: call 17, mode join", 2, join),
        reply("create_context_reply", "CreateContext is completed", 2, Reply::CreateContext(created)),
        call("close_context", "CloseContext: call 18", 11, close),
        reply("close_context_reply", "CloseContext is completed", 11, Reply::CloseContext(CloseContextReply {})),
        call("send_ready_chains", "SendReadyChains: call 20", 3, ready),
        reply("send_ready_chains_reply", "SendReadyChains is completed", 3, Reply::SendReadyChains(all_ready)),
        call("keep_alive", "KeepAlive: call 19", 10, keep),
        reply("keep_alive_reply", "KeepAlive is completed", 10, Reply::KeepAlive(KeepAliveReply {})),
    ]
}
