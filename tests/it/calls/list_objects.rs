//! ListObjects: who looks sees all objects of a task, a page at a time.

use std::time::Duration;

use remex::{
    prelude::*,
    protocol::{
        calls::{ListObjectsRequest, ListedObject, ObjectState},
        frame::MAX_LISTED,
    },
    testing::TestCluster,
};

use crate::{
    raw::Raw,
    support::{Gate, builder, cluster, end, put, register},
};

/// All of a task, in pages of this size; each says right how many are behind it.
async fn list(cluster: &TestCluster, i: usize, most: u32) -> Vec<ListedObject> {
    let (mut all, mut after, mut rests) = (Vec::<ListedObject>::new(), None, Vec::new());
    loop {
        let address = cluster.task(i).address().unwrap().clone();
        let page = cluster.task(0).objects(address, after, most).await.unwrap();
        assert!(page.objects.len() <= (most as usize).min(MAX_LISTED));
        after = page.objects.last().map(|last| (last.context, last.object));
        all.extend(page.objects);
        rests.push(page.rest + all.len() as u64);
        if page.rest == 0 {
            assert!(rests.iter().all(|total| *total == all.len() as u64), "{rests:?}");
            return all;
        }
    }
}

#[actix::test]
async fn every_state_is_listed_with_its_maker_and_age() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, fail) = (register(&context, 1, "gate").await, register(&context, 1, "fail").await);
    let a = put(&context, 1, &[1.0, 2.0]).await;
    cluster.advance(Duration::from_secs(5)).await;
    let pending = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    let given_up = context.execute(RemoteExecute::new(&program).input(&a).out_chain()).await.unwrap();
    let failed = context.execute(RemoteExecute::new(&fail).input(&a)).await.unwrap();
    failed.chain.done().await.unwrap_err();
    let gone = given_up.outputs[0].id();
    drop(given_up);
    a.pin().await.unwrap();
    let token = a.export().await.unwrap();
    cluster.settle().await;
    let listed = list(&cluster, 1, 2).await;
    let find = |id| listed.iter().find(|object| object.object == id).unwrap_or_else(|| panic!("{id}: {listed:#?}"));
    let one = find(a.id());
    assert_eq!((one.state, one.size_bytes, one.holders, one.pinned), (ObjectState::Ready, 8, 2, true));
    assert_eq!((one.age_ms, &one.program, one.context), (5000, &None, 1));
    assert_eq!(one.metadata.as_ref().unwrap().to_string(), "f32[2]");
    let one = find(pending.outputs[0].id());
    assert_eq!((one.state, one.size_bytes, one.age_ms, one.holders), (ObjectState::Pending, 0, 0, 1));
    assert_eq!(one.program.as_deref(), Some("gate"));
    assert_eq!((find(gone).state, find(gone).holders), (ObjectState::GivenUp, 0));
    assert_eq!(find(failed.outputs[0].id()).state, ObjectState::Failed);
    assert!(listed.iter().any(|object| object.state == ObjectState::Ready && object.metadata.is_none()), "a chain");
    gate.open(2);
    pending.chain.done().await.unwrap();
    let listed = list(&cluster, 1, 100).await;
    let one = listed.iter().find(|object| object.object == pending.outputs[0].id()).unwrap();
    assert_eq!((one.state, one.size_bytes), (ObjectState::Ready, 8));
    let ids: Vec<_> = listed.iter().map(|object| object.object).collect();
    assert!(ids.is_sorted() && !ids.contains(&gone), "{ids:?}");
    drop(context.import(token).await.unwrap());
    end(cluster, context).await;
}

/// I8: pages are bounded whatever is asked for, and together they are all there is, over several contexts.
#[actix::test]
async fn pages_are_bounded_and_complete() {
    let cluster = cluster(2).await;
    let (first, second) = (cluster.context().await.unwrap(), cluster.context().await.unwrap());
    let mut objects = Vec::new();
    for i in 0..MAX_LISTED + 20 {
        objects.push(put(if i % 5 == 0 { &first } else { &second }, 1, &[i as f32]).await);
    }
    let listed = list(&cluster, 1, u32::MAX).await;
    assert_eq!(listed.len(), objects.len() + 2, "each context has its ready chain too");
    assert_eq!(list(&cluster, 1, 7).await, listed);
    let order: Vec<_> = listed.iter().map(|object| (object.context, object.object)).collect();
    assert!(order.is_sorted() && order.first().unwrap().0 == 1 && order.last().unwrap().0 == 2);
    let address = cluster.task(1).address().unwrap().clone();
    let counted = cluster.task(0).objects(address, None, 0).await.unwrap();
    assert_eq!((counted.objects.len(), counted.rest), (0, listed.len() as u64));
    first.close().await.unwrap();
    assert!(list(&cluster, 1, 300).await.iter().all(|object| object.context == 2));
    end(cluster, second).await;
}

/// Who has made no context may look, and learns no number that opens one.
#[actix::test]
async fn a_stranger_sees_objects_and_not_the_contexts_number() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let a = put(&context, 1, &[1.0]).await;
    let mut raw = Raw::dial(&cluster, 1).await;
    let request = ListObjectsRequest { after: None, most: 10 };
    let reply = raw.ask(request).await.unwrap();
    assert_eq!(reply.objects.len(), 2);
    assert!(reply.objects.iter().any(|object| object.object == a.id()));
    assert!(reply.objects.iter().all(|object| object.context == 1 && object.context != context.id().0));
    drop(a);
    end(cluster, context).await;
}
