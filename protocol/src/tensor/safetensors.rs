//! Reading and writing the layout of `.safetensors` files: a length, a JSON dictionary of tensors, their bytes.
//!
//! ```text
//! header length u64 | {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {..}} | data
//! ```

use std::io::{self, Read};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{DType, Shape, TensorMetadata};

/// Longest header that is read, in bytes.
pub const MAX_HEADER: u64 = 16 << 20;

/// The name of a tensor that is written without one.
pub const DEFAULT_NAME: &str = "tensor";

/// The file is not what this reads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// The stream failed, or ended within the header.
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
    /// The header is over [`MAX_HEADER`], or none.
    #[error("not a .safetensors file: its header would have {0} bytes, 2 to {MAX_HEADER} are allowed")]
    HeaderLength(u64),
    /// The header is not the dictionary that it should be.
    #[error("the header is damaged: {0}")]
    Header(String),
    /// There is no tensor of that name, or several where none was named.
    #[error("{wanted}; it has {known}")]
    Which {
        /// What was asked for.
        wanted: String,
        /// The names of the first ones.
        known: String,
    },
}

/// A tensor in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Element type and shape.
    pub metadata: TensorMetadata,
    /// Where its first byte is, from the beginning of the file.
    pub offset: u64,
}

#[derive(Deserialize)]
struct Said {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// Reads the header of a file, and finds the tensor of this name in it, or its only one. Whether the file has all the bytes
/// is not looked at.
pub fn read_layout(from: &mut impl Read, name: Option<&str>) -> Result<Entry, SafetensorsError> {
    let mut len = [0; 8];
    from.read_exact(&mut len)?;
    let len = u64::from_le_bytes(len);
    if !(2..=MAX_HEADER).contains(&len) {
        return Err(SafetensorsError::HeaderLength(len));
    }
    let mut text = vec![0; len as usize];
    from.read_exact(&mut text)?;
    let damaged = |why: String| SafetensorsError::Header(why);
    let mut all: Map<String, Value> = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    all.remove("__metadata__");
    let name = match name {
        Some(name) => Some(name.to_owned()).filter(|name| all.contains_key(name)),
        None => all.keys().next().cloned().filter(|_| all.len() == 1),
    };
    let Some(said) = name.as_ref().and_then(|name| all.remove(name)) else {
        let known: Vec<_> = all.keys().take(10).map(|name| format!("{name:?}")).collect();
        let known = format!("{} tensors: {}", all.len(), known.join(", "));
        return Err(SafetensorsError::Which { wanted: "name one of the file's tensors".to_owned(), known });
    };
    let name = name.unwrap_or_default();
    let Said { dtype, shape, data_offsets: (begin, end) } =
        serde_json::from_value(said).map_err(|error| damaged(format!("tensor {name:?}: {error}")))?;
    let dtype = DType::ALL.iter().copied().find(|known| code(*known) == dtype);
    let dtype = dtype.ok_or_else(|| damaged(format!("tensor {name:?} has elements of a type that no tensor has")))?;
    let shape = Shape::try_from(shape).map_err(|error| damaged(format!("tensor {name:?}: {error}")))?;
    let metadata = TensorMetadata { dtype, shape };
    if end.checked_sub(begin) != metadata.size_bytes() || metadata.size_bytes().is_none() {
        return Err(damaged(format!(
            "tensor {name:?} has the bytes {begin} to {end}, which is not what {metadata} takes"
        )));
    }
    let offset =
        begin.checked_add(8 + len).ok_or_else(|| damaged(format!("tensor {name:?} begins beyond any file")))?;
    Ok(Entry { name, metadata, offset })
}

/// What stands before the data of a file with one tensor.
pub fn layout(name: &str, metadata: &TensorMetadata) -> Vec<u8> {
    let (dims, size) = (metadata.shape.dims(), metadata.size_bytes().unwrap_or_default());
    let said = json!({ name: { "dtype": code(metadata.dtype), "shape": dims, "data_offsets": [0, size] } });
    let mut text = said.to_string().into_bytes();
    // The data begin at a multiple of 8.
    text.resize(text.len().next_multiple_of(8), b' ');
    [&(text.len() as u64).to_le_bytes()[..], &text].concat()
}

fn code(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "BOOL",
        DType::I8 => "I8",
        DType::U8 => "U8",
        DType::I16 => "I16",
        DType::U16 => "U16",
        DType::I32 => "I32",
        DType::U32 => "U32",
        DType::I64 => "I64",
        DType::U64 => "U64",
        DType::F16 => "F16",
        DType::F32 => "F32",
        DType::F64 => "F64",
        DType::Bf16 => "BF16",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
    }

    #[test]
    fn a_layout_is_read_as_it_is_written() {
        for &dtype in DType::ALL {
            let metadata = TensorMetadata::new(dtype, [2, 3]);
            let written = layout("a \"b\"", &metadata);
            assert!(written.len().is_multiple_of(8));
            let entry = read_layout(&mut &written[..], None).unwrap();
            assert_eq!(entry, Entry { name: "a \"b\"".to_owned(), metadata, offset: written.len() as u64 });
        }
    }

    #[test]
    fn one_of_several_is_found_by_its_name() {
        let two = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
            "b":{"dtype":"F32","shape":[],"data_offsets":[4,8]}}"#;
        let entry = read_layout(&mut &file(two)[..], Some("b")).unwrap();
        assert_eq!((entry.offset, entry.metadata.to_string()), (8 + two.len() as u64 + 4, "f32[]".to_owned()));
        for name in [None, Some("c")] {
            let error = read_layout(&mut &file(two)[..], name).unwrap_err().to_string();
            assert!(error.contains("name one of the file's tensors; it has 2 tensors: \"a\", \"b\""), "{error}");
        }
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let of = |entry: &str| file(&format!("{{\"a\":{entry}}}"));
        let cases = [
            (of(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,4]}"#), "which is not what f32[2] takes"),
            (of(r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#), "which is not what f32[2] takes"),
            (of(r#"{"dtype":"F8","shape":[2],"data_offsets":[0,2]}"#), "a type that no tensor has"),
            (of(r#"{"dtype":"U8","shape":[18446744073709551615,9],"data_offsets":[0,7]}"#), "takes"),
            (of(r#"{"dtype":"U8","shape":[-1],"data_offsets":[0,7]}"#), "tensor \"a\""),
            (of("7"), "tensor \"a\""),
            (file("[]"), "damaged"),
            (file("{}"), "it has 0 tensors"),
            (u64::MAX.to_le_bytes().to_vec(), "its header would have"),
            (vec![1, 2, 3], "cannot read"),
            (vec![9, 0, 0, 0, 0, 0, 0, 0, b'{'], "cannot read"),
        ];
        for (bytes, words) in cases {
            let error = read_layout(&mut &bytes[..], None).unwrap_err().to_string();
            assert!(error.contains(words), "{words:?} is not in {error}");
        }
    }
}
