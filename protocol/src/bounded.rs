//! Lists and texts that are refused past their limit while they are read.
//!
//! A byte of a header can stand for an element of a hundred bytes in memory (a nil for absent metadata), so that a
//! header within its own limit is no bound on what is made of it. These functions stand at the fields of the calls as
//! `deserialize_with` and count before they keep. What they refuse is a [`CodecError`](crate::CodecError), which the
//! decoder turns into the answer to that call; the link goes on.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

use crate::{
    cluster::MAX_GROUPS,
    error::MAX_VIA,
    frame::{
        MAX_ARGS, MAX_ATTR_LEN, MAX_BAGGAGE, MAX_CREDENTIALS, MAX_DATA_HEADER, MAX_DELETES, MAX_LISTED, MAX_NAME,
        MAX_TASKS, MAX_TRANSFERS,
    },
    signature::{Dim, MAX_FACTORS, MAX_TERMS},
    tensor::MAX_RANK,
};

macro_rules! lists {
    ($($(#[$doc:meta])* $name:ident, $most:ident, $what:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name<'de, D, C>(deserializer: D) -> Result<C, D::Error>
        where
            D: Deserializer<'de>,
            C: Default + IntoIterator<Item: Deserialize<'de>> + Extend<<C as IntoIterator>::Item>,
        {
            deserializer.deserialize_seq(List { most: $most, what: $what, weight: |_| 1, list: PhantomData })
        }
    )*};
}

lists! {
    /// Inputs, outputs and what is known of them.
    args, MAX_ARGS, "inputs or outputs";
    /// Objects of one delete, and those that failed.
    deletes, MAX_DELETES, "objects to delete";
    /// Objects of one page of a list.
    listed, MAX_LISTED, "objects";
    /// Tasks and devices.
    tasks, MAX_TASKS, "tasks or devices";
    /// Groups of a context.
    groups, MAX_GROUPS, "groups";
    /// Tasks of a group.
    members, MAX_TASKS, "members";
    /// Lengths of the buffers of one SendData.
    buffers, MAX_ARGS, "buffers";
    /// The way that an error came.
    via, MAX_VIA, "calls that an error came through";
    /// Lengths of a shape; for those of an argument see `dims`.
    lengths, MAX_RANK, "dimensions";
    /// What a length is the sum of.
    terms, MAX_TERMS, "terms of a length";
    /// Not used as it is: see `symbols`.
    factors, MAX_FACTORS, "symbols of a term";
    /// Numbers of frames whose payload is not whole.
    unfinished, MAX_TRANSFERS, "unfinished payloads";
    /// Not used as it is: see `baggage`.
    pairs, MAX_BAGGAGE, "baggage entries";
}

/// The elements of an attribute, of which each counts for its `weight`.
pub(crate) fn elements<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    weight: fn(&T) -> usize,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(List {
        most: MAX_ATTR_LEN,
        what: "elements of an attribute",
        weight,
        list: PhantomData,
    })
}

struct List<C: IntoIterator> {
    most: usize,
    what: &'static str,
    /// What an element counts for.
    weight: fn(&C::Item) -> usize,
    list: PhantomData<C>,
}

impl<'de, C> Visitor<'de> for List<C>
where
    C: Default + IntoIterator<Item: Deserialize<'de>> + Extend<<C as IntoIterator>::Item>,
{
    type Value = C;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} {}", self.most, self.what)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<C, A::Error> {
        let (mut list, mut count, mut failed) = (C::default(), seq.size_hint().unwrap_or(0), None);
        if count <= self.most {
            count = 0;
            list.extend(std::iter::from_fn(|| match seq.next_element() {
                Ok(Some(element)) => {
                    count += (self.weight)(&element);
                    (count <= self.most).then_some(element)
                }
                Ok(None) => None,
                Err(e) => {
                    failed = Some(e);
                    None
                }
            }));
        }
        match failed {
            Some(e) => Err(e),
            None if count > self.most => {
                Err(A::Error::custom(format!("more than {} {} in one list", self.most, self.what)))
            }
            None => Ok(list),
        }
    }
}

/// A caller's key-values.
pub(crate) fn baggage<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    let baggage: Vec<(String, String)> = pairs(deserializer)?;
    let bytes: usize = baggage.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes <= MAX_BAGGAGE {
        Ok(baggage)
    } else {
        Err(D::Error::custom(format!("{bytes} bytes of baggage, at most {MAX_BAGGAGE} are allowed")))
    }
}

/// The dimensions of an argument, if they are known.
pub(crate) fn dims<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Dim>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Dims(#[serde(deserialize_with = "lengths")] Vec<Dim>);
    Ok(Option::<Dims>::deserialize(deserializer)?.map(|dims| dims.0))
}

/// Inputs or outputs, or none.
pub(crate) fn args_or_nil<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent, bound = "T: Deserialize<'de>")]
    struct Args<T>(#[serde(deserialize_with = "args")] Vec<T>);
    Ok(Option::<Args<T>>::deserialize(deserializer)?.map(|args| args.0))
}

/// A name.
pub(crate) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked_name(String::deserialize(deserializer)?)
}

/// The symbols of a term.
pub(crate) fn symbols<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Symbol(#[serde(deserialize_with = "name")] String);
    let symbols: Vec<Symbol> = factors(deserializer)?;
    Ok(symbols.into_iter().map(|symbol| symbol.0).collect())
}

/// A name, or none.
pub(crate) fn name_or_nil<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(checked_name).transpose()
}

/// Gives `name` back if it is no longer than a name may be.
pub(crate) fn checked_name<E: Error>(name: String) -> Result<String, E> {
    let len = name.len();
    if len <= MAX_NAME {
        Ok(name)
    } else {
        Err(E::custom(format!("a name of {len} bytes, at most {MAX_NAME} are allowed")))
    }
}

/// Proof of who the sender is.
pub(crate) fn credentials<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    bytes(deserializer, MAX_CREDENTIALS, "credentials")
}

/// What a sender of data says beside it.
pub(crate) fn data_header<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    bytes(deserializer, MAX_DATA_HEADER, "a header")
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D, most: usize, what: &str) -> Result<Vec<u8>, D::Error> {
    let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
    let len = bytes.len();
    if len <= most {
        Ok(bytes)
    } else {
        Err(D::Error::custom(format!("{what} of {len} bytes, at most {most} are allowed")))
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        RemoteError,
        calls::*,
        decode, encode,
        ids::{ContextIndex, DeviceIndex, ObjectId, ObjectPrefix},
        signature::{Arg, ArgType, Signature},
    };

    use super::*;

    /// A list of `n` of these encoded elements, alone in its struct.
    fn list(n: usize, element: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x91, 0xdd];
        bytes.extend_from_slice(&(n as u32).to_be_bytes());
        bytes.extend_from_slice(&element.repeat(n));
        bytes
    }

    #[test]
    fn a_list_is_read_up_to_its_limit_and_no_further() {
        let nil = [0xc0];
        let reply = decode::<RemoteExecuteReply>(&list(MAX_ARGS, &nil)).unwrap();
        assert_eq!(reply.metadata.len(), MAX_ARGS);
        // A MiB of nils would be 56 MiB in memory.
        let error = decode::<RemoteExecuteReply>(&list(1 << 20, &nil)).unwrap_err();
        assert_eq!(error.0, "more than 1024 inputs or outputs in one list");
        // The count alone is enough: the elements need not be there.
        let error = decode::<RemoteExecuteReply>(&[0x91, 0xdd, 0xff, 0xff, 0xff, 0xff]).unwrap_err();
        assert_eq!(error.0, "more than 1024 inputs or outputs in one list");
    }

    #[test]
    fn every_named_limit_holds() {
        fn check<T: serde::Serialize + serde::de::DeserializeOwned>(good: bool, value: &T, expected: &str) {
            let mut bytes = Vec::new();
            encode(&mut bytes, value).unwrap();
            match decode::<T>(&bytes) {
                Ok(_) => assert!(good, "accepted, expected: {expected}"),
                Err(e) => assert!(!good && e.0 == expected, "{e}"),
            }
        }
        for (more, good) in [(0, true), (1, false)] {
            let object = ObjectId { prefix: ObjectPrefix(1), local: 1, device: DeviceIndex(0) };
            let delete = DeleteObjectsRequest {
                context: ContextIndex(0),
                objects: vec![object; MAX_DELETES + more],
                mode: DeleteMode::Delete,
            };
            check(good, &delete, "more than 16384 objects to delete in one list");
            let devices = GetDevicesReply {
                task: "/job:a/task:0".parse().unwrap(),
                incarnation: crate::ids::Incarnation(1),
                devices: vec!["/job:a/task:0/device:CPU:0".parse().unwrap(); MAX_TASKS + more],
            };
            check(good, &devices, "more than 4096 tasks or devices in one list");
            let arg = |name: usize, rank: usize| Signature {
                inputs: vec![Arg { name: "n".repeat(name), dtype: ArgType::Any, dims: Some(vec![Dim::Any; rank]) }],
                outputs: Vec::new(),
            };
            check(good, &arg(MAX_NAME + more, 1), "a name of 257 bytes, at most 256 are allowed");
            check(good, &arg(1, MAX_RANK + more), "more than 32 dimensions in one list");
            let symbol = Dim::Symbol("n".repeat(MAX_NAME + more));
            check(good, &symbol, "a name of 257 bytes, at most 256 are allowed");
            let mut error = RemoteError::new(crate::ErrorCode::Internal, "");
            error.via = vec![String::new(); MAX_VIA + more];
            check(good, &error, "more than 16 calls that an error came through in one list");
            let execute = RemoteExecuteRequest {
                context: ContextIndex(0),
                program: crate::ids::ProgramIndex(0),
                inputs: Default::default(),
                outputs: Default::default(),
                in_chains: Default::default(),
                out_chain: None,
                time_left_ms: 0,
                baggage: vec![("k".to_owned(), "v".repeat(MAX_BAGGAGE - 1 + more))],
                readers: Vec::new(),
                released: Vec::new(),
            };
            check(good, &execute, "4097 bytes of baggage, at most 4096 are allowed");
            let execute =
                RemoteExecuteRequest { baggage: Vec::new(), released: vec![object; MAX_DELETES + more], ..execute };
            check(good, &execute, "more than 16384 objects to delete in one list");
        }
    }
}
