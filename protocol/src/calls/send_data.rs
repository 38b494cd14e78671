//! SendData: hand buffers to whoever waits for them on a task, by a key.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::ids::{ContextIndex, InstanceKey};

/// Who on the receiving task takes the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Purpose {
    /// 0: one value for one receiver; the `Rendezvous` takes it.
    Value,
    /// 1: a part of a collective, whose name the key is; the header is a [`ChunkHeader`](crate::collective::ChunkHeader).
    Collective,
}

impl From<Purpose> for u8 {
    fn from(purpose: Purpose) -> u8 {
        match purpose {
            Purpose::Value => 0,
            Purpose::Collective => 1,
        }
    }
}

impl TryFrom<u8> for Purpose {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(Purpose::Value),
            1 => Ok(Purpose::Collective),
            _ => Err(format!("{number} is neither a value (0) nor a part of a collective (1)")),
        }
    }
}

/// Hands buffers to whoever waits, or will wait, for `key` on the receiving task.
///
/// Sent by a program or a client to another task of the context. The buffers stand one behind the other in the payload.
/// Of purpose `Value` it is served by the `Rendezvous`: the receiver may have come before or may come later; a value that
/// nobody claims is thrown away when `time_left_ms` is over. Refused with `AlreadyExists` (a value for that key is there,
/// or was claimed and its time is not over: nothing is changed), `ResourceExhausted`, `DeadlineExceeded` (no time left),
/// `InvalidArgument` (the lengths are not the payload's). Sent again, a value is refused as a duplicate.
///
/// ```text
/// [context u16, key str, purpose u8 (0 value, 1 collective), header bin, buffers [length u64], time_left_ms u64]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendDataRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// What both sides call this exchange.
    pub key: InstanceKey,
    /// Who takes it.
    pub purpose: Purpose,
    /// The sender's words to the receiver, at most `MAX_DATA_HEADER` bytes; this system does not look at them in a value.
    #[serde(serialize_with = "serde_bytes::serialize", deserialize_with = "crate::bounded::data_header")]
    pub header: Vec<u8>,
    /// The length of each buffer in the payload, in bytes and in order; at most `MAX_ARGS`. Their sum is the payload's.
    #[serde(deserialize_with = "crate::bounded::buffers")]
    pub buffers: SmallVec<[u64; 2]>,
    /// How long the data is worth keeping from now, in milliseconds.
    pub time_left_ms: u64,
}

/// The lengths of the buffers are not those of the payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the buffers have {} bytes together, the payload has {payload}", .total.map_or("more than 2^64".to_owned(), |n| n.to_string()))]
pub struct BuffersError {
    /// Bytes of the buffers; `None` if that is more than 2⁶⁴ − 1.
    pub total: Option<u64>,
    /// Bytes of the payload.
    pub payload: u64,
}

impl SendDataRequest {
    /// Whether a payload of so many bytes is what the buffers take.
    pub fn check_payload(&self, payload: u64) -> Result<(), BuffersError> {
        let total = self.buffers.iter().try_fold(0u64, |sum, &len| sum.checked_add(len));
        if total == Some(payload) { Ok(()) } else { Err(BuffersError { total, payload }) }
    }

    /// Cuts the payload into the buffers, without a copy.
    pub fn split(&self, mut payload: Bytes) -> Result<Vec<Bytes>, BuffersError> {
        self.check_payload(payload.len() as u64)?;
        // Each length is at most the payload's, which is in memory.
        Ok(self.buffers.iter().map(|&len| payload.split_to(len as usize)).collect())
    }
}

/// The data is in the receiving task's hands: claimed, or kept until its time is over.
///
/// ```text
/// []
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendDataReply {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decode, encode,
        frame::{MAX_ARGS, MAX_DATA_HEADER},
    };

    fn request(header: usize, buffers: &[u64]) -> SendDataRequest {
        SendDataRequest {
            context: ContextIndex(0),
            key: "k".try_into().unwrap(),
            purpose: Purpose::Value,
            header: vec![7; header],
            buffers: SmallVec::from_slice(buffers),
            time_left_ms: 1000,
        }
    }

    fn through_the_codec(request: &SendDataRequest) -> Result<SendDataRequest, String> {
        let mut bytes = Vec::new();
        encode(&mut bytes, request).unwrap();
        decode(&bytes).map_err(|e| e.0)
    }

    #[test]
    fn a_payload_is_cut_into_its_buffers() {
        let payload = Bytes::from_static(b"abcdef");
        let cut = request(0, &[1, 0, 5]).split(payload.clone()).unwrap();
        assert_eq!(cut, [&b"a"[..], b"", b"bcdef"]);
        assert!(request(0, &[]).split(Bytes::new()).unwrap().is_empty());
        let error = request(0, &[1, 4]).split(payload.clone()).unwrap_err();
        assert_eq!(error.to_string(), "the buffers have 5 bytes together, the payload has 6");
        assert_eq!(request(0, &[u64::MAX, 7]).split(payload.clone()).unwrap_err().total, None);
        assert!(request(0, &[]).split(payload).is_err());
    }

    #[test]
    fn the_limits_hold_while_reading() {
        for (header, buffers) in [(0, 0), (MAX_DATA_HEADER, MAX_ARGS)] {
            let request = request(header, &vec![1; buffers]);
            assert_eq!(through_the_codec(&request).as_ref(), Ok(&request));
        }
        let error = through_the_codec(&request(MAX_DATA_HEADER + 1, &[])).unwrap_err();
        assert_eq!(error, "a header of 1025 bytes, at most 1024 are allowed");
        let error = through_the_codec(&request(0, &vec![1; MAX_ARGS + 1])).unwrap_err();
        assert!(error.contains("more than 1024 buffers"), "{error}");
        let mut bytes = Vec::new();
        encode(&mut bytes, &(0u16, "k".repeat(257), 0u8, serde_bytes::Bytes::new(b""), [0u64; 0], 1u64)).unwrap();
        assert!(decode::<SendDataRequest>(&bytes).unwrap_err().0.contains("1 to 256"));
    }
}
