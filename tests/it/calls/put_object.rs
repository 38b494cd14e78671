//! PutObject: a task is given a tensor.

use remex::{
    prelude::*,
    protocol::calls::{Origin, PutObjectRequest},
};

use crate::{
    raw::{ELSEWHERE, HERE, INDEX, Raw, fetch_object, object},
    support::{cluster, end, put, stats, task, vector},
};

#[actix::test]
async fn tensors_of_every_size_come_back_as_they_were() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    for i in 0..2 {
        let device = context.device_of(&task(i)).unwrap();
        for len in [0, 1, 65_536, 65_537, 300_000] {
            let tensor = Tensor::from_slice([len], &(0..len as i32).collect::<Vec<_>>()).unwrap();
            let object = context.put(&device, tensor.clone()).await.unwrap();
            assert_eq!(context.fetch(&object).await.unwrap(), tensor);
        }
        let scalar = Tensor::from_slice([0; 0], &[2.5f64]).unwrap();
        let object = context.put(&device, scalar.clone()).await.unwrap();
        assert_eq!(context.fetch(&object).await.unwrap(), scalar);
    }
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, 1);
    end(cluster, context).await;
}

/// I7: what does not fit is refused before it is stored.
#[actix::test]
async fn a_wrong_put_is_refused() {
    let cluster = cluster(1).await;
    let mut raw = Raw::with_context(&cluster, 0).await;
    let metadata = vector(&[1.0, 2.0]).metadata().clone();
    let put = |object| PutObjectRequest { context: INDEX, object, metadata: metadata.clone() };
    let cases = [
        (put(object(1, HERE)), 7, ErrorCode::InvalidArgument, "7 bytes, which is not what f32[2] takes"),
        (put(object(0, HERE)), 8, ErrorCode::InvalidArgument, "is not an id"),
        (put(object(1, ELSEWHERE)), 8, ErrorCode::InvalidArgument, "a device of another task"),
    ];
    for (request, bytes, code, words) in cases {
        let error = raw.ask_with(request, &vec![0; bytes]).await.unwrap_err();
        assert!(error.code == code && error.message.contains(words), "{error}");
    }
    assert_eq!(stats(&cluster, 0).await, (1, 1, 0));
    raw.ask_with(put(object(1, HERE)), &[7; 8]).await.unwrap();
    let again = raw.ask_with(put(object(1, HERE)), &[8; 8]).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::AlreadyExists);
    raw.call(fetch_object(object(1, HERE), Origin::Here), &[]).await;
    assert_eq!(raw.next().await.payload.into_bytes()[..], [7; 8]);
    cluster.stop().await.unwrap();
}

#[actix::test]
async fn a_put_on_the_own_task_needs_no_link() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    cluster.hold();
    let a = put(&context, 0, &[1.0]).await;
    assert_eq!(context.fetch(&a).await.unwrap(), vector(&[1.0]));
    cluster.release();
    drop(a);
    end(cluster, context).await;
}
