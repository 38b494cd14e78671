//! Objects put, fetched and deleted, and a call cancelled.

use remex_protocol::{
    Payload, Reply,
    calls::*,
    ids::{CallId, TokenSecret},
};

use super::{CONTEXT, call, data, error, f32s, object, reply};

pub(super) fn objects() -> Vec<super::Golden> {
    let delete =
        DeleteObjectsRequest { context: CONTEXT, objects: vec![object(4), object(9)], mode: DeleteMode::Delete };
    let deleted = DeleteObjectsReply { failures: vec![DeleteFailure { object: object(9), error: error() }] };
    let fail = FailObjectsRequest { context: CONTEXT, objects: vec![object(4), object(9)], cause: error() };
    let failed = FailObjectsReply { failures: vec![DeleteFailure { object: object(9), error: error() }] };
    let fetch = FetchObjectRequest { context: CONTEXT, object: object(4), origin: Origin::Here, time_left_ms: 60_000 };
    let fetched = FetchObjectReply { metadata: f32s([2]) };
    let put = PutObjectRequest { context: CONTEXT, object: object(1), metadata: f32s([2]) };
    let large = PutObjectRequest { metadata: f32s([75_000]), ..put.clone() };
    let mut large = call("put_object_in_pieces", "PutObject: call 27, 300000 bytes follow in pieces", 4, large);
    large.frame.payload = Payload::Announced(300_000);
    let pin = PinObjectsRequest { context: CONTEXT, objects: vec![object(4), object(9)], mode: PinMode::Pin };
    let pinned = PinObjectsReply { failures: vec![DeleteFailure { object: object(9), error: error() }] };
    let secret = TokenSecret { high: 0x0123_4567_89ab_cdef, low: 0xfedc_ba98_7654_3210 };
    let export = ExportObjectRequest { context: CONTEXT, object: object(4) };
    let import = ImportObjectRequest { context: CONTEXT, object: object(4), secret };
    let imported = ImportObjectReply { metadata: Some(f32s([2])) };
    let list = ListObjectsRequest { after: Some((1, object(3))), most: 2 };
    let listed = ListedObject {
        context: 1,
        object: object(4),
        metadata: Some(f32s([2])),
        size_bytes: 8,
        state: ObjectState::Ready,
        holders: 1,
        pinned: true,
        age_ms: 5000,
        program: Some("add".to_owned()),
    };
    let pending = ListedObject {
        object: object(9),
        metadata: None,
        size_bytes: 0,
        state: ObjectState::Pending,
        holders: 2,
        pinned: false,
        age_ms: 0,
        program: None,
        ..listed.clone()
    };
    let listed = ListObjectsReply { objects: vec![listed, pending], rest: 7 };
    let begin = BeginPutRequest { context: CONTEXT, object: object(2), metadata: f32s([2]), patience_ms: 60_000 };
    let part = PutPartRequest { context: CONTEXT, object: object(2), offset: 4 };
    let wanted = FetchPartRequest {
        context: CONTEXT,
        object: object(2),
        origin: Origin::Here,
        offset: 4,
        len: 65_536,
        time_left_ms: 60_000,
    };
    let some = FetchPartReply { metadata: f32s([2]) };
    let cancel = CancelRequest { call: CallId::new(4, 0) };
    vec![
        call("delete_objects", "DeleteObjects: call 25", 7, delete),
        reply(
            "delete_objects_reply",
            "DeleteObjects is completed; one id was unknown",
            7,
            Reply::DeleteObjects(deleted),
        ),
        call("fetch_object", "FetchObject: call 26", 6, fetch),
        reply("fetch_object_reply", "FetchObject is completed", 6, Reply::FetchObject(fetched))
            .with(data(&[11.0, 22.0]), true),
        call("put_object", "PutObject: call 27, with a checksum of its payload", 4, put).with(data(&[1.0, 2.0]), true),
        large,
        reply("put_object_reply", "PutObject is completed", 4, Reply::PutObject(PutObjectReply {})),
        call("cancel", "Cancel: call 29", 8, cancel),
        call("fail_objects", "FailObjects: call 30", 10, fail),
        reply("fail_objects_reply", "FailObjects is completed; one id was in use", 10, Reply::FailObjects(failed)),
        call("pin_objects", "PinObjects: call 31", 14, pin),
        reply("pin_objects_reply", "PinObjects is completed; one id was unknown", 14, Reply::PinObjects(pinned)),
        call("export_object", "ExportObject: call 32", 15, export),
        reply(
            "export_object_reply",
            "ExportObject is completed",
            15,
            Reply::ExportObject(ExportObjectReply { secret }),
        ),
        call("import_object", "ImportObject: call 33", 16, import),
        reply("import_object_reply", "ImportObject is completed", 16, Reply::ImportObject(imported)),
        call("list_objects", "ListObjects: call 34", 17, list),
        reply(
            "list_objects_reply",
            "ListObjects is completed; seven more are behind these",
            17,
            Reply::ListObjects(listed),
        ),
        call("begin_put", "BeginPut: call 35", 18, begin),
        reply("begin_put_reply", "BeginPut is completed", 18, Reply::BeginPut(BeginPutReply {})),
        call("put_part", "PutPart: call 36", 19, part).with(data(&[2.0]), true),
        reply("put_part_reply", "PutPart is completed", 19, Reply::PutPart(PutPartReply {})),
        call("fetch_part", "FetchPart: call 37", 20, wanted),
        reply("fetch_part_reply", "FetchPart is completed", 20, Reply::FetchPart(some)).with(data(&[2.0]), true),
        reply("cancel_reply", "Cancel is completed", 8, Reply::Cancel(CancelReply {})),
    ]
}
