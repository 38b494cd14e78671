//! What is written and read by hand is what the codec writes and reads.

use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::*;
use crate::{
    codec,
    ids::{DeviceIndex, ObjectId, ObjectPrefix},
};

/// A number of any length.
fn any(rng: &mut SmallRng) -> u64 {
    rng.random::<u64>() >> rng.random_range(0..64)
}

fn request(rng: &mut SmallRng) -> RemoteExecuteRequest {
    let object = |rng: &mut SmallRng| ObjectId {
        prefix: ObjectPrefix(any(rng)),
        local: any(rng),
        device: DeviceIndex(any(rng) as u16),
    };
    let (inputs, outputs) = (rng.random_range(0..20), rng.random_range(0..20));
    let released = if rng.random() { 0 } else { rng.random_range(0..20) };
    RemoteExecuteRequest {
        context: ContextIndex(any(rng) as u16),
        program: ProgramIndex(any(rng) as u32),
        inputs: (0..inputs)
            .map(|_| InputRef { object: object(rng), origin: (any(rng) as u16 as u32).into() })
            .collect(),
        outputs: (0..outputs).map(|_| OutputRef { object: object(rng), need_metadata: rng.random() }).collect(),
        in_chains: SmallVec::new(),
        out_chain: None,
        time_left_ms: any(rng),
        baggage: Vec::new(),
        readers: Vec::new(),
        released: (0..released).map(|_| object(rng)).collect(),
    }
}

fn delete(rng: &mut SmallRng) -> DeleteObjectsRequest {
    let object = |_| ObjectId { prefix: ObjectPrefix(any(rng)), local: any(rng), device: DeviceIndex(any(rng) as u16) };
    let objects: Vec<_> = (0..20).map(object).collect();
    let objects = objects[..rng.random_range(0..20)].to_vec();
    let mode = if rng.random() { DeleteMode::Delete } else { DeleteMode::Release };
    DeleteObjectsRequest { context: ContextIndex(any(rng) as u16), objects, mode }
}

fn reply(rng: &mut SmallRng) -> RemoteExecuteReply {
    let metadata = |rng: &mut SmallRng| {
        let dims: Vec<u64> = (0..rng.random_range(0..=MAX_RANK)).map(|_| any(rng)).collect();
        TensorMetadata {
            dtype: DType::ALL[rng.random_range(0..DType::ALL.len())],
            shape: Shape::try_from(dims).unwrap(),
        }
    };
    let outputs = rng.random_range(0..20);
    let outputs = (0..outputs).map(|_| rng.random::<bool>().then(|| metadata(rng)));
    RemoteExecuteReply { metadata: outputs.collect() }
}

/// `by_hand` reads what the codec reads or leaves it, whatever is damaged.
fn check<T: std::fmt::Debug + PartialEq + serde::Serialize + serde::de::DeserializeOwned>(
    rng: &mut SmallRng,
    value: &T,
    bytes: &[u8],
    by_hand: fn(&[u8]) -> Option<T>,
) {
    let mut by_codec = Vec::new();
    codec::encode(&mut by_codec, value).unwrap();
    assert_eq!(bytes, by_codec, "{value:?}");
    assert_eq!(by_hand(bytes).as_ref(), Some(value));
    for _ in 0..20 {
        let mut damaged = bytes.to_vec();
        let at = rng.random_range(0..damaged.len());
        match rng.random_range(0..3) {
            0 => damaged[at] = rng.random(),
            1 => damaged.truncate(at),
            _ => damaged.insert(at, rng.random()),
        }
        if let Some(read) = by_hand(&damaged) {
            assert_eq!(Ok(read), codec::decode(&damaged), "{damaged:02x?}");
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_codec() {
    let mut rng = SmallRng::seed_from_u64(5);
    for _ in 0..2000 {
        let (request, reply, delete) = (request(&mut rng), reply(&mut rng), delete(&mut rng));
        let mut bytes = Vec::new();
        assert!(encode_request(&mut bytes, &request));
        check(&mut rng, &request, &bytes, decode_request);
        bytes.clear();
        encode_reply(&mut bytes, &reply);
        check(&mut rng, &reply, &bytes, decode_reply);
        bytes.clear();
        encode_delete(&mut bytes, &delete);
        check(&mut rng, &delete, &bytes, decode_delete);
    }
}

#[test]
fn what_is_unusual_is_left_to_the_codec() {
    let mut rng = SmallRng::seed_from_u64(6);
    let mut request = request(&mut rng);
    request.baggage.push(("k".to_owned(), "v".to_owned()));
    let mut bytes = Vec::new();
    assert!(!encode_request(&mut bytes, &request) && bytes.is_empty());
    codec::encode(&mut bytes, &request).unwrap();
    assert_eq!(decode_request(&bytes), None);
    request.baggage.clear();
    request.out_chain = Some(ObjectId { prefix: ObjectPrefix(1), local: 1, device: DeviceIndex(0) });
    bytes.clear();
    assert!(!encode_request(&mut bytes, &request) && bytes.is_empty());
    codec::encode(&mut bytes, &request).unwrap();
    assert_eq!(decode_request(&bytes), None);
    let more_than_allowed = [&[0x91, 0xdc, 0x04, 0x01][..], &[NIL; MAX_ARGS + 1]].concat();
    assert_eq!(decode_reply(&more_than_allowed), None);
    assert!(decode_reply(&[&[0x91, 0xdc, 0x04, 0x00][..], &[NIL; MAX_ARGS]].concat()).is_some());
}

/// Of a reply only the one is read by hand that says nothing; and nothing is allocated on the word of a peer.
#[test]
fn deletes_are_read_or_left_to_the_codec() {
    let mut bytes = Vec::new();
    codec::encode(&mut bytes, &DeleteObjectsReply::default()).unwrap();
    assert_eq!(decode_deleted(&bytes), Some(DeleteObjectsReply::default()));
    assert_eq!(decode_deleted(&[0x91, 0x91, NIL]), None);
    assert_eq!(decode_delete(&[0x93, 1, 0xdc, 0xff, 0xff]), None);
    assert_eq!(decode_delete(&[0x93, 1, 0x90, 7]), None, "no such mode");
}
