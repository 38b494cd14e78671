//! What a call is for: its context, or the server.

use remex_protocol::{
    Body, Call, ErrorCode, RemoteError,
    ids::{CallId, ContextIndex},
};

/// The context that a call names.
pub(crate) fn context_of(body: &Call) -> Option<ContextIndex> {
    match body {
        Call::GetDevices(_) | Call::ListObjects(_) | Call::Cancel(_) | Call::SendReadyChains(_) => None,
        Call::CreateContext(request) => Some(request.index),
        Call::CloseContext(request) => Some(request.context),
        Call::KeepAlive(request) => Some(request.context),
        Call::RegisterFunction(request) => Some(request.context),
        Call::UnregisterFunction(request) => Some(request.context),
        Call::RemoteExecute(request) => Some(request.context),
        Call::RemoteExecuteOp(request) => Some(request.context),
        Call::DeleteObjects(request) => Some(request.context),
        Call::FailObjects(request) => Some(request.context),
        Call::PinObjects(request) => Some(request.context),
        Call::BeginPut(request) => Some(request.context),
        Call::PutPart(request) => Some(request.context),
        Call::FetchPart(request) => Some(request.context),
        Call::ExportObject(request) => Some(request.context),
        Call::ImportObject(request) => Some(request.context),
        Call::FetchObject(request) => Some(request.context),
        Call::PutObject(request) => Some(request.context),
        Call::SendData(request) => Some(request.context),
    }
}

/// Whether a call is served by its context, not by the server.
pub(super) fn is_for_context(body: &Call) -> bool {
    match body {
        Call::GetDevices(_)
        | Call::ListObjects(_)
        | Call::CreateContext(_)
        | Call::CloseContext(_)
        | Call::KeepAlive(_)
        | Call::SendReadyChains(_)
        | Call::Cancel(_) => false,
        Call::RegisterFunction(_)
        | Call::UnregisterFunction(_)
        | Call::RemoteExecute(_)
        | Call::RemoteExecuteOp(_)
        | Call::DeleteObjects(_)
        | Call::FailObjects(_)
        | Call::PinObjects(_)
        | Call::BeginPut(_)
        | Call::PutPart(_)
        | Call::FetchPart(_)
        | Call::ExportObject(_)
        | Call::ImportObject(_)
        | Call::FetchObject(_)
        | Call::PutObject(_)
        | Call::SendData(_) => true,
    }
}

/// The answer to a call for a context that is not open.
pub(super) fn refused(body: &Call, call: CallId, index: ContextIndex) -> Body {
    let message = format!("{index} stands for no context on this link: it was closed, collected or never made");
    let error = RemoteError::new(ErrorCode::InvalidDistributedContextId, message).of_call(call);
    Body::Failed { kind: body.kind(), error: Box::new(error) }
}

/// The answer to a call that opens a context under an index in use.
pub(super) fn index_taken(body: &Call, call: CallId, index: ContextIndex) -> Body {
    let message = format!("{index} stands for a context on this link already: choose another index");
    let error = RemoteError::new(ErrorCode::AlreadyExists, message).of_call(call);
    Body::Failed { kind: body.kind(), error: Box::new(error) }
}
