//! Tensors that go part by part: what a context makes of the calls.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use remex_protocol::{Call, DeviceName, Payload, calls::*, ids::CallId, tensor::TensorMetadata};

use super::{
    TaskContext,
    plan::invalid,
    serving::{Serving, misrouted, until},
};
use crate::{
    Result, deadline,
    handles::ObjectRef,
    objects::{Part, Step},
};

impl Serving {
    /// What a call about parts wants of the object manager.
    pub(super) fn part(&self, call: CallId, at: Instant, body: Call, payload: Payload) -> Result<Step> {
        match body {
            Call::BeginPut(request) => {
                let BeginPutRequest { object, metadata, patience_ms, .. } = *request;
                self.own_device(object)?;
                if !payload.is_empty() {
                    return Err(invalid("the parts of a tensor come behind the call that begins them".to_owned()));
                }
                let patience = Duration::from_millis(patience_ms).min(deadline::FAR);
                Ok(Step::Begin { call, object, metadata, patience })
            }
            Call::PutPart(request) => {
                let PutPartRequest { object, offset, .. } = *request;
                self.own_device(object)?;
                match payload {
                    Payload::Announced(len) => {
                        Err(invalid(format!("a part of {len} bytes travels in pieces itself: send smaller ones")))
                    }
                    payload => Ok(Step::Part { call, object, offset, data: payload.into_bytes(), at }),
                }
            }
            Call::FetchPart(request) => {
                let FetchPartRequest { object, origin, offset, len, time_left_ms, .. } = *request;
                self.own_device(object)?;
                let (origin, part) = (self.local(origin)?, Some(Part { offset, len }));
                Ok(Step::Await { call, object, origin, part, deadline: until(at, time_left_ms) })
            }
            _ => Err(misrouted()),
        }
    }
}

impl TaskContext {
    /// Stores the tensor of a `.npy` or `.safetensors` file on a device and waits until it is there: of a `.safetensors` file
    /// with several tensors the one of that name. The file may be larger than memory here: it is read once, and 4 MiB of it
    /// are in memory. Each part may take the context's deadline.
    ///
    /// Fails with `FailedPrecondition` if the file was changed meanwhile, with `InvalidArgument` if it is not what its name
    /// says, big-endian or column-major, with `NotFound` or `PermissionDenied` as the system says.
    pub async fn put_file(&self, device: &DeviceName, path: impl AsRef<Path>, name: Option<&str>) -> Result<ObjectRef> {
        let put = self.shared.put_file(device, path.as_ref(), name, self.limit()).await;
        put.map(|object| self.scoped(object))
    }

    /// Writes an object's data into a `.npy` or `.safetensors` file, there under the name `tensor`; waits until the object is
    /// ready. 4 MiB of it are in memory here. The file is there when it is whole, in the place of one that was there; if that
    /// fails nothing is changed. Each part may take the context's deadline.
    pub async fn fetch_to_file(&self, object: &ObjectRef, path: impl AsRef<Path>) -> Result<TensorMetadata> {
        self.shared.fetch_to_file(object, path.as_ref(), self.limit()).await
    }
}
