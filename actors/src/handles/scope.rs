//! Objects that are released together.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use remex_protocol::ErrorCode;

use super::ObjectRef;
use crate::{Error, Result, context::TaskContext};

/// A context whose objects go together. What is made with it (outputs under new ids, ids allocated, tensors put, tokens
/// imported; by clones of its [`TaskContext`] and by its op handlers too) is released when the scope is dropped: in the
/// order in which it was made, in one message to each task, whatever clones of the references there are. Using one of
/// those afterwards fails with `NotFound`. Calls that were made before still get what they name.
///
/// What a scope holds takes memory on the workers until its end, unless it is deleted before.
pub struct Scope {
    context: TaskContext,
    objects: Arc<ScopeObjects>,
}

/// What was made in a scope.
#[derive(Debug, Default)]
pub(crate) struct ScopeObjects {
    /// In the order of making; `None`: the scope is over, and what is made with a clone of its context is nobody's.
    made: Mutex<Option<Vec<ObjectRef>>>,
    /// The scope around it.
    around: Option<Arc<ScopeObjects>>,
}

impl ScopeObjects {
    /// They were made in the scope, or else in the one around it.
    pub(crate) fn add(&self, objects: &[ObjectRef]) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut *made, &self.around) {
            (Some(made), _) => made.extend_from_slice(objects),
            (None, Some(around)) => around.add(objects),
            (None, None) => {}
        }
    }
}

impl Scope {
    pub(crate) fn new(context: &TaskContext) -> Self {
        let around = context.scope_objects().cloned();
        let objects = Arc::new(ScopeObjects { made: Mutex::new(Some(Vec::new())), around });
        Self { context: context.in_scope(objects.clone()), objects }
    }

    /// Takes an object out of the scope: it is released as others are, with its last reference, or with the scope around
    /// this one if that was used to begin it. Fails with `NotFound` if it was not made in this scope, or was taken out before.
    pub fn keep(&self, object: &ObjectRef) -> Result<()> {
        let mut made = self.objects.made.lock().unwrap_or_else(PoisonError::into_inner);
        let at = made.as_ref().and_then(|made| made.iter().position(|other| other.is_same(object)));
        let (Some(made), Some(at)) = (&mut *made, at) else {
            let message = format!("object {} was not made in this scope, or was kept before", object.id());
            return Err(Error::new(ErrorCode::NotFound, message));
        };
        let kept = made.remove(at);
        if let Some(around) = &self.objects.around {
            around.add(&[kept]);
        }
        Ok(())
    }

    /// How many objects it holds.
    pub fn len(&self) -> usize {
        self.objects.made.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, Vec::len)
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends it, as dropping it does.
    pub fn end(self) {}
}

impl Deref for Scope {
    type Target = TaskContext;

    fn deref(&self) -> &TaskContext {
        &self.context
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let made = self.objects.made.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        let released = made.iter().filter_map(ObjectRef::give_up).collect();
        self.context.release_all(released);
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({} objects of {})", self.len(), self.context.id())
    }
}
