//! What somebody would write by hand who means harm.

use remex_protocol::frame::{HEAD_LEN, MAX_HEADER, PIECE_LEN};

/// A head that says so; its checksum is the target's business.
fn head(kind: u8, flags: u8, header: u32, payload: u64, call: u32, number: u64) -> Vec<u8> {
    let mut bytes = vec![0; HEAD_LEN];
    (bytes[0], bytes[1]) = (kind, flags);
    bytes[4..8].copy_from_slice(&header.to_le_bytes());
    bytes[8..16].copy_from_slice(&payload.to_le_bytes());
    bytes[16..20].copy_from_slice(&call.to_le_bytes());
    bytes[24..32].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// Streams of frames.
pub(super) fn streams() -> Vec<(String, Vec<u8>)> {
    const PUT: u8 = 27;
    let piece = PIECE_LEN as u64;
    // A header that is no request: its call is answered, and its payload is read all the same.
    let announce = |call, len: u64| [head(PUT, 1, 1, len, call, 1), vec![0xc1]].concat();
    let part = |call, offset, len: u64| [head(5, 0, 0, len, call, offset), vec![7; len as usize]].concat();
    let streams: [(&str, Vec<Vec<u8>>); 14] = [
        ("nothing", vec![vec![]]),
        ("noise of a web browser", vec![b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()]),
        ("only zeros", vec![vec![0; 200]]),
        ("only ones", vec![vec![0xff; 200]]),
        ("the longest header, which never comes", vec![head(PUT, 0, MAX_HEADER as u32, 0, 0, 1)]),
        ("a longer header", vec![head(PUT, 0, u32::MAX, 0, 0, 1)]),
        ("the longest payload, which never comes", vec![announce(0, 16 << 30)]),
        ("a longer payload", vec![announce(0, u64::MAX)]),
        ("many payloads that never come", (0..40).map(|call| announce(call, 1 << 20)).collect()),
        ("a piece of nothing", vec![part(0, 0, 4)]),
        ("a piece twice", vec![announce(0, piece + 8), part(0, 0, 8), part(0, 0, 8)]),
        ("pieces that overlap", vec![announce(0, piece + 8), part(0, 0, 8), part(0, 4, 8)]),
        ("a piece too long", vec![announce(0, piece + 8), part(0, 0, 4), head(5, 0, 0, piece + 1, 0, 4)]),
        ("an announcement twice", vec![announce(0, piece + 8), announce(0, piece + 8)]),
    ];
    streams.into_iter().map(|(name, frames)| (name.to_owned(), frames.concat())).collect()
}

/// Headers in msgpack.
pub(super) fn headers() -> Vec<(String, Vec<u8>)> {
    let counts = |n: usize| [vec![0x98; n], vec![0xdd, 0xff, 0xff, 0xff, 0xff]].concat();
    let headers: [(&str, Vec<u8>); 12] = [
        ("nothing", vec![]),
        ("a byte that is never used", vec![0xc1]),
        ("arrays in arrays", vec![0x91; 4096]),
        ("maps in maps", [0x81, 0xa1, b'x'].repeat(1000)),
        ("a map in an unknown field", [&[0x81, 0xa1, b'x'][..], &[0x81, 0xa1, b'y'].repeat(1000)].concat()),
        ("a list of four thousand million", counts(0)),
        ("the same, in a list", counts(1)),
        ("the same, deeper", counts(3)),
        ("a thousand nils", [&[0x91, 0xdc, 0x04, 0x00][..], &[0xc0; 1024]].concat()),
        ("a nil too many", [&[0x91, 0xdc, 0x04, 0x01][..], &[0xc0; 1025]].concat()),
        ("a text that is none", vec![0x93, 0xa2, 0xff, 0xfe, 0, 0]),
        ("numbers too large", vec![0x98, 0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x90, 0x90]),
    ];
    headers.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

/// Files of numpy's.
pub(super) fn npys() -> Vec<(String, Vec<u8>)> {
    let file = |dict: &str, data: &[u8]| {
        let len = (dict.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &len[..], dict.as_bytes(), data].concat()
    };
    let dict = |descr: &str, order: &str, shape: &str| {
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n")
    };
    let huge = "(18446744073709551615, 18446744073709551615)";
    let files: [(&str, Vec<u8>); 10] = [
        ("big-endian", file(&dict(">i4", "False", "(2,)"), &[0, 0, 0, 1, 0, 0, 0, 2])),
        ("columns first", file(&dict("<i2", "True", "(2, 3)"), &[1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0])),
        ("no dimensions", file(&dict("|u1", "False", "()"), &[1])),
        ("more than there is", file(&dict("<f8", "False", huge), &[])),
        ("sixteen gigabytes", file(&dict("|u1", "True", "(17179869184,)"), &[])),
        ("a bool of two", file(&dict("|b1", "False", "(1,)"), &[2])),
        ("objects", file(&dict("|O", "False", "(1,)"), b"cos\nsystem\n")),
        ("parentheses", file(&"(".repeat(5_000), &[])),
        ("dimensions", file(&dict("|u1", "False", &format!("({})", "1, ".repeat(40))), &[1])),
        ("a header of four gigabytes", b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec()),
    ];
    files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}
