//! Files made by numpy 2.4.6, files made here, and damaged ones.

use bytes::Bytes;

use super::*;
use crate::tensor::{Bool, Element, Shape};

/// `np.arange(6, dtype='<f4').reshape(2, 3)`
const F32: &[u8] = b"\x93NUMPY\x01\x00v\x00\
    {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }                                                          \x0a\
    \x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00@\x00\x00@@\x00\x00\x80@\x00\x00\xa0@";

/// `the same through np.asfortranarray`
const F32_FORTRAN: &[u8] = b"\x93NUMPY\x01\x00v\x00\
    {'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }                                                           \x0a\
    \x00\x00\x00\x00\x00\x00@@\x00\x00\x80?\x00\x00\x80@\x00\x00\x00@\x00\x00\xa0@";

/// `np.array([[1, -2], [3, 70000]], dtype='>i4'), version (2, 0)`
const I32_BIG: &[u8] = b"\x93NUMPY\x02\x00t\x00\x00\x00\
    {'descr': '>i4', 'fortran_order': False, 'shape': (2, 2), }                                                        \x0a\
    \x00\x00\x00\x01\xff\xff\xff\xfe\x00\x00\x00\x03\x00\x01\x11p";

/// `np.array([1, 65535], dtype='<u2'), version (3, 0)`
const U16: &[u8] = b"\x93NUMPY\x03\x00t\x00\x00\x00\
    {'descr': '<u2', 'fortran_order': False, 'shape': (2,), }                                                          \x0a\
    \x01\x00\xff\xff";

/// `np.array(True)`
const BOOL: &[u8] = b"\x93NUMPY\x01\x00v\x00\
    {'descr': '|b1', 'fortran_order': False, 'shape': (), }                                                              \x0a\
    \x01";

/// `np.asfortranarray(np.arange(8, dtype='>i8').reshape(2, 2, 2))`
const I64_BOTH: &[u8] = b"\x93NUMPY\x01\x00v\x00\
    {'descr': '>i8', 'fortran_order': True, 'shape': (2, 2, 2), }                                                        \x0a\
    \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x02\
    \x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05\
    \x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x07";

/// `np.zeros((0, 4), dtype='<f2')`
const EMPTY: &[u8] = b"\x93NUMPY\x01\x00v\x00\
    {'descr': '<f2', 'fortran_order': False, 'shape': (0, 4), }                                                          \x0a";

/// `np.zeros(1, dtype=[('a', '<i4')])`
const RECORD: &[u8] = b"\x93NUMPY\x01\x00v\x00\
    {'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (1,), }                                                   \x0a\
    \x00\x00\x00\x00";

/// Reads `file` from a stream and from memory, which must agree.
fn read_both(file: &[u8]) -> Result<Tensor, NpyError> {
    let streamed = read(&mut &*file);
    let in_memory = from_bytes(&Bytes::copy_from_slice(file));
    match (&streamed, &in_memory) {
        (Ok(a), Ok(b)) => assert_eq!(a, b),
        (Err(NpyError::TooShort { what: a, .. }), Err(NpyError::TooShort { what: b, .. })) => assert_eq!(a, b),
        (Err(a), Err(b)) => assert_eq!(a.to_string(), b.to_string()),
        _ => panic!("{streamed:?} from a stream, {in_memory:?} from memory"),
    }
    streamed
}

#[test]
fn files_of_numpy_are_read() {
    fn check<T: Element + PartialEq>(file: &[u8], metadata: &str, elements: &[T]) {
        let tensor = read_both(file).unwrap();
        assert_eq!(tensor.metadata().to_string(), metadata);
        assert_eq!(tensor.elements::<T>().unwrap(), elements);
    }
    let f32s = [0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0];
    check(F32, "f32[2,3]", &f32s);
    check(F32_FORTRAN, "f32[2,3]", &f32s);
    check(I32_BIG, "i32[2,2]", &[1, -2, 3, 70_000]);
    check(U16, "u16[2]", &[1u16, 65_535]);
    check(BOOL, "bool[]", &[Bool(1)]);
    check(I64_BOTH, "i64[2,2,2]", &[0i64, 1, 2, 3, 4, 5, 6, 7]);
    check::<half::f16>(EMPTY, "f16[0,4]", &[]);
}

#[test]
fn files_are_written_as_numpy_writes_them() {
    for file in [F32, BOOL, EMPTY] {
        let tensor = read_both(file).unwrap();
        assert_eq!(to_bytes(&tensor).unwrap(), file);
        let mut streamed = Vec::new();
        write(&mut streamed, &tensor).unwrap();
        assert_eq!(streamed, file);
    }
}

#[test]
fn every_type_but_bf16_comes_back() {
    for &dtype in DType::ALL {
        let deep = Shape::try_from(vec![1; crate::tensor::MAX_RANK]).unwrap();
        for shape in [Shape::scalar(), Shape::from([3]), Shape::from([2, 0]), Shape::from([4, 5]), deep] {
            let tensor = Tensor::zeros(TensorMetadata::new(dtype, shape)).unwrap();
            match to_bytes(&tensor) {
                Ok(file) => assert_eq!(read_both(&file).unwrap(), tensor),
                Err(e) => {
                    assert_eq!(dtype, DType::Bf16);
                    assert_eq!(e.to_string(), "bf16 has no .npy type: convert the tensor to f32 first");
                }
            }
        }
    }
}

#[test]
fn aligned_data_is_shared() {
    let file = to_bytes(&Tensor::from_slice([2], &[1.0f32, 2.0]).unwrap()).unwrap();
    let mut buf = AlignedBuf::zeroed(file.len()).unwrap();
    buf.as_mut_slice().copy_from_slice(&file);
    let file = buf.freeze();
    let tensor = from_bytes(&file).unwrap();
    assert_eq!(tensor.bytes().as_ptr(), file[file.len() - 8..].as_ptr());
}

/// A file of version 1.0 with this header and data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.extend_from_slice(&[1, 0]);
    file.extend_from_slice(&(header.len() as u16).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(data);
    file
}

#[test]
fn any_spelling_of_the_dictionary_is_read() {
    fn check(header: &str) {
        let tensor = read_both(&file(header, &[1, 0, 2, 0])).unwrap();
        assert_eq!(tensor.elements::<i16>().unwrap(), [1, 2], "{header}");
    }
    check("{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }\n");
    check("{\"shape\":(2,),\"fortran_order\":False,\"descr\":\"<i2\"}");
    check(" {\t'shape' : ( 2L , ) ,\n'descr': 'i2' , 'fortran_order' : True }  \n\n");
    check("{'descr': '=i2', 'fortran_order': False, 'shape': (2,)}");
}

#[test]
fn damaged_headers_say_what_is_wrong() {
    fn check(header: &str, expected: &str) {
        let error = read_both(&file(header, &[0; 8])).unwrap_err().to_string();
        assert!(error.contains(expected), "{header}: {error}");
    }
    let of = |shape: &str| format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}");
    check("", "at byte 0: expected '{', found the end");
    check("{", "expected a string in quotes, found the end");
    check("{}", "the key \"descr\" is missing");
    check("[1]", "expected '{', found '['");
    check("{'descr", "expected the end of a plain string, found the end");
    check("{'descr'", "expected ':', found the end");
    check("{'descr': '<f8'", "expected '}', found the end");
    check("{'descr': '<f8' 'shape': ()}", "expected '}', found '\\''");
    check("{'descr': '<f8', 'descr': '<f8'}", "the key \"descr\" stands twice");
    check("{'x': 1}", "found \"x\"");
    check("{'fortran_order': 1}", "expected True or False, found '1'");
    check("{'shape': ()}", "the key \"descr\" is missing");
    check("{'descr': '<f8', 'shape': ()}", "the key \"fortran_order\" is missing");
    check("{'descr': '<f8', 'fortran_order': False}", "the key \"shape\" is missing");
    check(&of("1"), "expected '(', found '1'");
    check(&of("(1)"), "(n) is a number");
    check(&of("(1 1)"), "expected ',' or ')', found '1'");
    check(&of("(-1,)"), "expected a length below 2^64, found '-'");
    check(&of("(18446744073709551616,)"), "expected a length below 2^64");
    check(&of("(,)"), "expected a length");
    check(&of(&format!("({})", "1,".repeat(33))), "33 dimensions, at most 32");
    check(&format!("{}x", of("(1,)")), "expected the end of the header, found 'x'");
    check(&of("(4294967296, 4294967296)"), "over the limit");
    check(&of("(18446744073709551615, 2)"), "over the limit");
    check("{'descr': '<V2', 'fortran_order': False, 'shape': ()}", "\"<V2\" cannot be read");
    check("{'descr': '<<f8', 'fortran_order': False, 'shape': ()}", "\"<<f8\" cannot be read");
    check("{'descr': '<c8', 'fortran_order': False, 'shape': ()}", "\"<c8\" cannot be read");
    check("{'descr': 'é', 'fortran_order': False, 'shape': ()}", "expected the end of a plain string");
}

#[test]
fn records_bad_bools_and_other_files_are_refused() {
    fn check(file: &[u8], expected: &str) {
        let error = read_both(file).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    check(RECORD, "a record of several fields");
    check(b"PK\x03\x04 and more", "not a .npy file: it begins with [50, 4b, 03, 04");
    check(b"", "ends after 0 of the 8 bytes of its magic and version");
    check(b"\x93NUMPY\x01", "ends after 7 of the 8 bytes");
    check(b"\x93NUMPY\x04\x00", "of version 4.0");
    check(b"\x93NUMPY\x01\x01", "of version 1.1");
    check(b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "has 4294967295 bytes, at most 65536");
    check(b"\x93NUMPY\x01\x00\x10\x00{", "ends after 1 of the 16 bytes of its header");
    let bool_of_two = [&BOOL[..BOOL.len() - 1], &[2]].concat();
    check(&bool_of_two, "element 0 of a bool tensor is 2");
}

#[test]
fn too_few_and_too_many_bytes_are_errors() {
    for file in [F32, F32_FORTRAN, I32_BIG, U16, BOOL, I64_BOTH] {
        for end in 0..file.len() {
            let error = read_both(&file[..end]).unwrap_err();
            assert!(matches!(error, NpyError::TooShort { .. }), "{end}: {error}");
        }
        let error = read_both(&[file, &[0]].concat()).unwrap_err();
        assert!(matches!(error, NpyError::TooLong { .. }), "{error}");
    }
}

#[test]
fn a_flipped_bit_never_panics() {
    for original in [F32, F32_FORTRAN, I32_BIG, I64_BOTH] {
        for bit in 0..original.len() * 8 {
            let mut damaged = original.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // Most are refused; a flip in the data, or `<` into `>`, makes another sound file.
            let _ = read_both(&damaged);
        }
    }
}
