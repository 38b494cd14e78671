//! A counted reference to an object on some task.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
};

use remex_protocol::{
    DeviceName, Effect, ErrorCode, RemoteError,
    calls::{Origin, PinMode},
    cluster::TaskName,
    ids::{ObjectId, ObjectToken, TaskIndex},
    tensor::TensorMetadata,
};

use super::known::Known;
use crate::{Result, context::ContextShared, promise::CallCell};

/// An object on some task. Clones share it; when the last is dropped, the object is released: calls that were sent
/// before still get it. Dropping never blocks and needs no runtime.
#[derive(Clone)]
pub struct ObjectRef(Arc<Inner>);

struct Inner {
    context: Arc<ContextShared>,
    id: ObjectId,
    owner: TaskIndex,
    /// Which life of its task it belongs to; of one that is new none yet.
    life: AtomicU32,
    /// One of the constants below.
    state: AtomicU8,
    known: Known,
}

/// Nothing that was sent to its task says that it will be made.
const NEW: u8 = 0;
/// A call has named it to its task: there is something to release.
const NAMED: u8 = 1;
/// It was deleted, or is not this reference's to release.
const DELETED: u8 = 2;
/// It stays when the last reference is gone.
const KEPT: u8 = 3;
/// Another task made it, or will: there is something to release, and it may not be there yet.
const ADOPTED: u8 = 4;

impl ObjectRef {
    pub(crate) fn new(context: Arc<ContextShared>, id: ObjectId, owner: TaskIndex) -> Self {
        let life = AtomicU32::new(context.life_of(owner));
        Self(Arc::new(Inner { context, id, owner, life, state: AtomicU8::new(NEW), known: Known::default() }))
    }

    /// Its id.
    pub fn id(&self) -> ObjectId {
        self.0.id
    }

    /// The device that it lives on.
    pub fn device(&self) -> &DeviceName {
        self.0.context.device_name(self.0.id.device)
    }

    /// The task that it lives on.
    pub fn task(&self) -> &TaskName {
        self.0.context.task_name(self.0.owner)
    }

    /// Element type and shape, if this task knows them by now: because it put the object, or because the call that makes it has
    /// settled, or could infer, what this output will be. A handle's [`metadata`](super::TensorHandle::metadata) waits for them.
    pub fn metadata(&self) -> Option<TensorMetadata> {
        self.0.known.metadata()
    }

    /// This is what the object is.
    pub(crate) fn set_metadata(&self, metadata: TensorMetadata) {
        self.0.known.say(metadata);
    }

    /// A call makes the object: it is what the call promises of this output.
    pub(crate) fn set_made_by(&self, cell: &CallCell, output: usize) {
        self.0.known.promise(cell.clone(), output);
    }

    /// Lets the object stay when its last reference is dropped, until somebody deletes it or the context ends; gives its id,
    /// for somebody else to [adopt](crate::context::TaskContext::adopt). Of an object that a call makes it is said behind the
    /// call; then the object stays also when this task is lost.
    pub fn keep(&self) -> ObjectId {
        let kept = |state| if state == DELETED { None } else { Some(KEPT) };
        // Of what was deleted there is nothing to keep: then it stays as it is.
        let before = self.0.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, kept);
        if before == Ok(NAMED) {
            self.0.context.keep(self.0.owner, self.0.id);
        }
        self.0.id
    }

    /// Lets the object stay on its task though nobody refers to it, until it is [unpinned](crate::context::TaskContext::unpin)
    /// or its context ends; gives its id, by which calls can name it. To pin what is pinned changes nothing; an explicit
    /// delete of it fails. Fails with `NotFound` if there is no such object, `ResourceExhausted` if the task pins no more.
    pub async fn pin(&self) -> Result<ObjectId> {
        self.check_lives()?;
        self.0.context.pin(self.0.id, PinMode::Pin, None).await.map(|()| self.0.id)
    }

    /// A token with which another client of the context takes the object over, with
    /// [`import`](crate::context::TaskContext::import): once, within 60 s. The object stays so long, whatever becomes of
    /// this reference. Who has the token has the object: hand it on where nobody listens. Fails with `NotFound` if there is
    /// no such object, `ResourceExhausted` if the task has too many tokens.
    pub async fn export(&self) -> Result<ObjectToken> {
        self.0.context.export(self, None).await
    }

    /// Gives the object up, whatever clones there are: says whether there is something to release, and where.
    pub(crate) fn give_up(&self) -> Option<(TaskIndex, ObjectId)> {
        let Inner { id, owner, state, .. } = &*self.0;
        let given_up = |state| if state == KEPT { None } else { Some(DELETED) };
        let before = state.fetch_update(Ordering::AcqRel, Ordering::Acquire, given_up).ok()?;
        (matches!(before, NAMED | ADOPTED) && self.0.lives()).then_some((*owner, *id))
    }

    /// Whether both are clones of one reference.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The object is this reference's to release from now on.
    pub(crate) fn adopted(self) -> Self {
        self.0.state.store(ADOPTED, Ordering::Release);
        self
    }

    pub(crate) fn owner(&self) -> TaskIndex {
        self.0.owner
    }

    pub(crate) fn is_of(&self, context: &Arc<ContextShared>) -> bool {
        Arc::ptr_eq(&self.0.context, context)
    }

    pub(crate) fn context(&self) -> &Arc<ContextShared> {
        &self.0.context
    }

    /// An error if the object was lost with all that lived on its task.
    pub(crate) fn check_lives(&self) -> Result<()> {
        let Inner { context, id, owner, .. } = &*self.0;
        if self.0.state.load(Ordering::Acquire) == NEW || self.0.lives() {
            return Ok(());
        }
        let why = context.peers[owner.position()].ended();
        let why = why.map(|error| format!(": {}", error.message())).unwrap_or_default();
        let error = RemoteError::new(ErrorCode::DataLoss, format!("object {id} is lost{why}"));
        Err(error.on_task(self.task()).with_effect(Effect::NotSent).into())
    }

    /// A call that is about to be sent makes the object. False if it was deleted before.
    pub(crate) fn set_named(&self) -> bool {
        if self.0.state.load(Ordering::Acquire) == NEW {
            self.0.life.store(self.0.context.life_of(self.0.owner), Ordering::Release);
        }
        self.0.state.compare_exchange(NEW, NAMED, Ordering::AcqRel, Ordering::Acquire) != Err(DELETED)
    }

    /// It was deleted: there is nothing to release any more.
    pub(crate) fn set_deleted(&self) {
        self.0.state.store(DELETED, Ordering::Release);
    }

    /// How `receiver` gets at it (I4a).
    pub(crate) fn origin(&self, receiver: TaskIndex) -> Origin {
        match (self.0.owner == receiver, self.0.state.load(Ordering::Acquire)) {
            (false, _) => Origin::Owner(self.0.owner),
            (true, NEW | KEPT | ADOPTED) => Origin::Anywhere,
            (true, _) => Origin::Here,
        }
    }
}

impl Inner {
    fn lives(&self) -> bool {
        self.life.load(Ordering::Acquire) == self.context.life_of(self.owner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if matches!(*self.state.get_mut(), NAMED | ADOPTED) && self.lives() {
            self.context.release(self.owner, self.id);
        }
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectRef({} on {})", self.0.id, self.task())
    }
}
