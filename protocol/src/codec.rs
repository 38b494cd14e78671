//! msgpack, in its compact form for what two tasks of one version say, in its named form for the handshake.

use serde::{Serialize, de::DeserializeOwned};

/// How deep values may lie in each other. A registration's signature is six deep; an unknown entry of a handshake may be
/// anything, and without this it would take a stack frame for each of its bytes.
const MAX_DEPTH: usize = 16;

/// A header could not be encoded or decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(pub String);

/// Appends `value` in compact form: structs as arrays.
pub fn encode<T: Serialize>(out: &mut Vec<u8>, value: &T) -> Result<(), CodecError> {
    rmp_serde::encode::write(out, value).map_err(|e| CodecError(e.to_string()))
}

/// Appends `value` in named form: structs as maps.
pub fn encode_named<T: Serialize>(out: &mut Vec<u8>, value: &T) -> Result<(), CodecError> {
    rmp_serde::encode::write_named(out, value).map_err(|e| CodecError(e.to_string()))
}

/// Reads one value in compact form, which must take up all of `bytes`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut decoder = rmp_serde::Deserializer::new(bytes);
    decoder.set_max_depth(MAX_DEPTH);
    let value = T::deserialize(&mut decoder).map_err(|e| CodecError(e.to_string()))?;
    let rest = decoder.get_ref().len();
    if rest == 0 { Ok(value) } else { Err(CodecError(format!("{rest} bytes are left over after the value"))) }
}

/// Reads one value in named form. A map's unknown entries are passed over, so that versions can be compared.
pub fn decode_named<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_nesting_is_refused() {
        #[derive(Debug, serde::Deserialize)]
        struct Known {
            #[serde(default)]
            _a: u8,
        }
        let unknown = |depth: usize| [&[0x81, 0xa1, b'x'][..], &vec![0x91; depth], &[0xc0]].concat();
        assert!(decode_named::<Known>(&unknown(10)).is_ok());
        for depth in [16, 1000, 60_000] {
            let error = decode_named::<Known>(&unknown(depth)).unwrap_err();
            assert!(error.0.contains("depth limit exceeded"), "{error}");
        }
    }

    #[test]
    fn what_is_left_over_is_an_error() {
        let mut bytes = Vec::new();
        encode(&mut bytes, &(1u8, "a")).unwrap();
        assert_eq!(decode::<(u8, String)>(&bytes).unwrap(), (1, "a".to_owned()));
        bytes.push(0);
        assert!(decode::<(u8, String)>(&bytes).unwrap_err().0.contains("1 bytes are left over"));
    }
}
