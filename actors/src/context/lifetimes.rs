//! What keeps objects: scopes, pins, and counts that go from hand to hand. The caller's side, and what a context makes of
//! the calls.

use std::{sync::Arc, time::Duration, time::Instant};

use bytes::Bytes;
use remex_protocol::{
    Call, ErrorCode,
    calls::*,
    ids::{CallId, ObjectId, ObjectToken},
};

use super::{
    ContextShared, TaskContext,
    plan::invalid,
    serving::{Serving, misrouted},
};
use crate::{
    Error, Result,
    handles::{ObjectRef, Scope},
    objects::Step,
};

impl Serving {
    /// What a call about pins or tokens wants of the object manager.
    pub(super) fn lifetime(&self, call: CallId, at: Instant, body: Call) -> Result<Step> {
        match body {
            Call::PinObjects(request) => {
                let PinObjectsRequest { objects, mode, .. } = *request;
                objects.iter().try_for_each(|object| self.own_device(*object))?;
                Ok(Step::Pin { call, objects, mode })
            }
            Call::ExportObject(request) => {
                self.own_device(request.object)?;
                Ok(Step::Export { call, object: request.object, at })
            }
            Call::ImportObject(request) => {
                let ImportObjectRequest { object, secret, .. } = *request;
                self.own_device(object)?;
                Ok(Step::Import { call, object, secret, at })
            }
            _ => Err(misrouted()),
        }
    }
}

impl ContextShared {
    /// Sets or takes away the pin of an object.
    pub async fn pin(self: &Arc<Self>, object: ObjectId, mode: PinMode, limit: Option<Duration>) -> Result<()> {
        let owner = self.owner_of(object)?;
        let (context, left) = self.enter(owner, limit).await?;
        let request = PinObjectsRequest { context, objects: vec![object], mode };
        let (reply, _) = self.ask(owner, request, Bytes::new(), Some(left), vec![]).await?;
        match reply.failures.into_iter().next() {
            None => Ok(()),
            Some(failure) => Err(failure.error.into()),
        }
    }

    /// A token for an object, which keeps it for its lease.
    pub async fn export(self: &Arc<Self>, object: &ObjectRef, limit: Option<Duration>) -> Result<ObjectToken> {
        object.check_lives()?;
        let (context, left) = self.enter(object.owner(), limit).await?;
        let request = ExportObjectRequest { context, object: object.id() };
        let (reply, _) = self.ask(object.owner(), request, Bytes::new(), Some(left), vec![object.clone()]).await?;
        Ok(ObjectToken { context: self.id, object: object.id(), secret: reply.secret })
    }

    /// Takes over the count of a token.
    pub async fn import(self: &Arc<Self>, token: ObjectToken, limit: Option<Duration>) -> Result<ObjectRef> {
        let ObjectToken { context, object, secret } = token;
        if context != self.id {
            return Err(invalid(format!("the token is of context {context}, this is {}: import it there", self.id)));
        }
        let owner = self.owner_of(object)?;
        let (context, left) = self.enter(owner, limit).await?;
        self.ask(owner, ImportObjectRequest { context, object, secret }, Bytes::new(), Some(left), vec![]).await?;
        let object = self.object(object);
        object.set_named();
        Ok(object)
    }

    pub(super) fn owner_of(&self, object: ObjectId) -> Result<remex_protocol::ids::TaskIndex> {
        self.owner(object.device).ok_or_else(|| {
            let message = format!("object {object} is on a device that the context does not have");
            Error::new(ErrorCode::DeviceNotFound, message)
        })
    }
}

impl TaskContext {
    /// Begins a scope: what is made with it is released together when it ends, but for what is kept.
    pub fn scope(&self) -> Scope {
        Scope::new(self)
    }

    /// Takes an object's [pin](ObjectRef::pin) away: it is freed if nobody refers to it. Fails with `NotFound` if there is no
    /// such object, with `FailedPrecondition` if it is not pinned.
    pub async fn unpin(&self, object: ObjectId) -> Result<()> {
        self.shared.pin(object, PinMode::Unpin, self.limit()).await
    }

    /// Takes over an object that another client of the context [exported](ObjectRef::export): once, within 60 s. Fails
    /// with `NotFound` (the token is unknown, or the object was deleted), `FailedPrecondition` (it was used before),
    /// `DeadlineExceeded` (it has expired), `InvalidArgument` (it is of another context).
    pub async fn import(&self, token: ObjectToken) -> Result<ObjectRef> {
        self.shared.import(token, self.limit()).await.map(|object| self.scoped(object))
    }
}
