//! The objects of a task, for those who look: asked for here, and answered to others.

use actix::{Context, Handler, Message, ResponseFuture};
use bytes::Bytes;
use remex_protocol::{
    Body, Frame, Reply,
    calls::{ListObjectsReply, ListObjectsRequest},
    cluster::Address,
    frame::MAX_LISTED,
    ids::ObjectId,
};

use super::{Server, bring_up::CONTROL_TIMEOUT};
use crate::{
    Result,
    envelope::{ask, post},
    objects::List,
    session::{Change, Control, Controlled},
};

/// Which objects has the task at this address?
#[derive(Debug, Message)]
#[rtype(result = "Result<ListObjectsReply>")]
pub struct ListObjects {
    /// Where it listens.
    pub address: Address,
    /// Those behind this one, the last of the page before; `None` begins.
    pub after: Option<(u64, ObjectId)>,
    /// How many are wanted; a page has 1,000 at most.
    pub most: u32,
}

impl Handler<ListObjects> for Server {
    type Result = ResponseFuture<Result<ListObjectsReply>>;

    fn handle(&mut self, ListObjects { address, after, most }: ListObjects, _: &mut Context<Self>) -> Self::Result {
        let receiver = self.directory.receiver(None, &address);
        Box::pin(async move {
            let receiver = receiver?;
            receiver.connect().await?;
            let request = ListObjectsRequest { after, most };
            receiver.call(request, Bytes::new(), CONTROL_TIMEOUT).await.map(|(reply, _)| reply)
        })
    }
}

impl Server {
    /// Answers who asked, when every context has.
    pub(super) fn list(&self, control: &Control, request: &ListObjectsRequest) {
        let ListObjectsRequest { after, most } = *request;
        let from = after.map_or(0, |(context, _)| context);
        let mut contexts: Vec<_> = self.contexts.iter().filter(|context| context.serial >= from).collect();
        contexts.sort_by_key(|context| context.serial);
        let ways: Vec<_> = contexts.iter().map(|known| (known.serial, known.parts.objects.list.clone())).collect();
        let (call, answer) = (control.call, control.answer.clone());
        actix::spawn(async move {
            let (mut page, most) = (ListObjectsReply::default(), (most as usize).min(MAX_LISTED));
            for (context, list) in ways {
                let after = after.filter(|(of, _)| *of == context).map(|(_, object)| object);
                let wanted = List { after, most: most - page.objects.len(), context };
                // A manager that has died has no objects; its context is about to be closed.
                let found = ask(&list, wanted).await.unwrap_or_default();
                page.objects.extend(found.objects);
                page.rest += found.rest;
                page.objects.truncate(most);
            }
            let frame = Frame::new(call, Body::Completed(Reply::ListObjects(page)));
            post(&answer, Controlled { frame, change: Change::None });
        });
    }
}
