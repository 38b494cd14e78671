//! Serialized tensors: there and back, and whatever else the bytes may be.

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{Bool, DType, MAX_RANK, SerialError, Shape, Tensor, TensorMetadata};

fn sample() -> Tensor {
    Tensor::from_slice([2, 3], &[1i16, 2, 3, 4, 5, 6]).unwrap()
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    tensor.serialize().to_contiguous().unwrap().to_vec()
}

/// Bytes of a header that are changed, with the checksum made right again.
fn with_header(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = bytes(&sample());
    change(&mut bytes);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..20]), &bytes[24..64]);
    bytes[20..24].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn error(bytes: Vec<u8>) -> SerialError {
    Tensor::deserialize(bytes.into()).unwrap_err()
}

#[test]
fn every_type_and_rank_comes_back() {
    for &dtype in DType::ALL {
        for rank in [0, 1, 4, 5, 6, MAX_RANK] {
            let metadata = TensorMetadata::new(dtype, Shape::try_from(vec![1; rank]).unwrap());
            let tensor = Tensor::zeros(metadata.clone()).unwrap();
            let serialized = tensor.serialize();
            assert!(serialized.header.len().is_multiple_of(64));
            assert_eq!(Tensor::deserialize(serialized.to_contiguous().unwrap()).as_ref(), Ok(&tensor));
            assert_eq!(Tensor::deserialize_parts(&serialized.header, serialized.data).as_ref(), Ok(&tensor));
            assert_eq!(TensorMetadata::of_serialized(&serialized.header), Ok(metadata));
        }
    }
    let empty = Tensor::from_slice::<f64>([3, 0], &[]).unwrap();
    assert_eq!(Tensor::deserialize(bytes(&empty).into()).unwrap(), empty);
}

#[test]
fn neither_way_copies_aligned_data() {
    let tensor = sample();
    assert_eq!(tensor.serialize().data.as_ptr(), tensor.bytes().as_ptr());
    let contiguous = tensor.serialize().to_contiguous().unwrap();
    let again = Tensor::deserialize(contiguous.clone()).unwrap();
    assert_eq!(again.bytes().as_ptr(), contiguous[64..].as_ptr());
}

/// TFRT §3.1-2: metadata of fewer than eight bytes was read past its end, and metadata that could not be read was no
/// error. Here each length that is too short is one.
#[test]
fn bytes_that_end_early_are_an_error() {
    let whole = bytes(&sample());
    for len in 0..whole.len() {
        let error = error(whole[..len].to_vec());
        let what = if len < 64 { "the header" } else { "the data" };
        assert!(matches!(error, SerialError::Short { what: said, .. } if said == what), "{len}: {error}");
        assert_eq!(TensorMetadata::of_serialized(&whole[..len]).is_ok(), len >= 64);
    }
    let mut more = whole.clone();
    more.push(0);
    assert_eq!(error(more), SerialError::LeftOver(1));
    let (header, data) = (&whole[..65], Bytes::copy_from_slice(&whole[64..]));
    assert_eq!(Tensor::deserialize_parts(header, data), Err(SerialError::LeftOver(1)));
}

#[test]
fn what_a_header_may_not_say_is_named() {
    fn check(change: impl FnOnce(&mut [u8]), expected: &str) {
        let error = error(with_header(change)).to_string();
        assert!(error.contains(expected), "{error}");
    }
    check(|h| h[0] = b'X', "not a serialized tensor");
    check(|h| h[4] = 2, "of version 2; this is version 1");
    check(|h| h[5] = 0, "0 is not the number of an element type");
    check(|h| h[6] = 33, "33 dimensions, at most 32");
    check(|h| h[7] = 9, "byte 7 of the header must be zero and is 9");
    check(|h| h[63] = 1, "byte 63 of the header must be zero and is 1");
    check(|h| h[6] = 1, "byte 32 of the header must be zero and is 3");
    check(|h| h[8] = 13, "says 13 bytes of data, but i16[2,3] takes 12");
    check(|h| h[24..40].fill(0xff), "takes more than 2^64");
    check(|h| h[16] ^= 1, "the checksum of the data");
    let mut damaged = bytes(&sample());
    damaged[24] = 9;
    assert!(matches!(error(damaged), SerialError::Checksum { what: "the header", .. }));
    let mut damaged = bytes(&sample());
    damaged[70] ^= 0x80;
    assert!(matches!(error(damaged), SerialError::Checksum { what: "the data", .. }));
}

#[test]
fn a_bool_that_is_none_is_refused() {
    let tensor = Tensor::from_slice([1], &[Bool(1)]).unwrap();
    let mut parts = tensor.serialize();
    parts.data = Bytes::from_static(&[2]);
    let mut header = parts.header.to_vec();
    header[16..20].copy_from_slice(&crc32c::crc32c(&[2]).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..20]), &header[24..]);
    header[20..24].copy_from_slice(&crc.to_le_bytes());
    let error = Tensor::deserialize_parts(&header, parts.data).unwrap_err();
    assert_eq!(error.to_string(), "element 0 of a bool tensor is 2, not 0 or 1");
}

#[test]
fn damaged_bytes_never_give_another_tensor() {
    let (tensor, seed) = (sample(), 7);
    let whole = bytes(&tensor);
    let mut rng = SmallRng::seed_from_u64(seed);
    for round in 0..10_000 {
        let mut bytes = whole.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        bytes.truncate(rng.random_range(0..=bytes.len()));
        if let Ok(again) = Tensor::deserialize(bytes.into()) {
            assert_eq!(again, tensor, "round {round}");
        }
    }
}
