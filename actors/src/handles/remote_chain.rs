//! An object without data that orders work on its task.

use std::{fmt, sync::Arc};

use remex_protocol::{cluster::TaskName, ids::ObjectId};

use super::ObjectRef;
use crate::context::ContextShared;

/// An object without data on a task: it is ready when the call that makes it is done, and failed when that call failed.
/// A call that names it with [`RemoteExecute::in_chain`](crate::context::RemoteExecute::in_chain) does not run before, and
/// nobody has to wait for an answer in between. Clones share it.
#[derive(Clone)]
pub struct RemoteChain(ObjectRef);

impl RemoteChain {
    pub(crate) fn new(object: ObjectRef) -> Self {
        Self(object)
    }

    /// The chain that is ready from the beginning. It is nobody's to release.
    pub(crate) fn ready(context: &Arc<ContextShared>, id: ObjectId) -> Self {
        let object = context.object(id);
        object.set_deleted();
        Self(object)
    }

    /// Its id.
    pub fn id(&self) -> ObjectId {
        self.0.id()
    }

    /// The task that it orders work on.
    pub fn task(&self) -> &TaskName {
        self.0.task()
    }

    pub(crate) fn object(&self) -> &ObjectRef {
        &self.0
    }
}

impl fmt::Debug for RemoteChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteChain({} on {})", self.id(), self.task())
    }
}
