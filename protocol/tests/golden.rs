//! The bytes of every kind of frame, pinned one by one in `tests/golden`.
//!
//! A change of these files is a change of the wire and moves its version. `REMEX_BLESS=1` writes them anew.

#![allow(clippy::unwrap_used, reason = "what helps a test is a test")]

mod samples;

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use remex_protocol::{Body, Call, Decoder, DecoderLimits, Frame, Payload, tensor::Tensor};

fn path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(format!("{name}.txt"))
}

fn blessing() -> bool {
    env::var_os("REMEX_BLESS").is_some()
}

fn to_text(says: &str, bytes: &[u8]) -> String {
    let mut text = format!("# {says}\n");
    for line in bytes.chunks(16) {
        let hex: Vec<_> = line.iter().map(|b| format!("{b:02x}")).collect();
        text.push_str(&hex.join(" "));
        text.push('\n');
    }
    text
}

fn to_bytes(text: &str) -> Vec<u8> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// The bytes of a file, which must be `bytes`; or the file is written.
fn check(name: &str, says: &str, bytes: &[u8]) -> Vec<u8> {
    let (path, text) = (path(name), to_text(says, bytes));
    if blessing() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(text, golden, "{name}: the wire has changed; move its version and run with REMEX_BLESS=1");
    to_bytes(&golden)
}

fn decode(decoder: &mut Decoder, mut bytes: &[u8]) -> Option<Frame> {
    while !bytes.is_empty() {
        let space = decoder.space();
        let n = space.len().min(bytes.len());
        space[..n].copy_from_slice(&bytes[..n]);
        decoder.advance(n).unwrap();
        bytes = &bytes[n..];
    }
    decoder.next_frame().unwrap()
}

#[test]
fn every_frame_has_these_bytes_and_comes_back() {
    for golden in samples::all() {
        let bytes = check(golden.name, golden.says, &golden.encode());
        let frame = decode(&mut Decoder::new(DecoderLimits::OPEN), &bytes).unwrap();
        assert_eq!(format!("{frame:?}"), format!("{:?}", golden.frame), "{}", golden.name);
        let again = samples::Golden { frame, ..golden };
        assert_eq!(again.encode(), bytes, "{}", again.name);
    }
}

#[test]
fn a_piece_has_these_bytes_and_finds_its_payload() {
    let bytes = check("piece", "Piece: kind 5, the first 8 bytes of the payload of call 3.0", &samples::piece());
    let mut decoder = Decoder::new(DecoderLimits::OPEN);
    let announced = decode(&mut decoder, &to_bytes(&fs::read_to_string(path("put_object_in_pieces")).unwrap()));
    assert!(matches!(announced.unwrap().payload, Payload::Announced(300_000)));
    assert!(decode(&mut decoder, &bytes).is_none());
}

#[test]
fn a_serialized_tensor_has_these_bytes_and_comes_back() {
    let bytes = check("serialized_tensor", "A serialized tensor: f32[2,3]", &samples::serialized_tensor());
    let tensor = Tensor::deserialize(bytes.into()).unwrap();
    assert_eq!(tensor.metadata().to_string(), "f32[2,3]");
    assert_eq!(tensor.elements::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn every_call_has_a_golden_request_and_reply() {
    let all = samples::all();
    for kind in 0..=u8::MAX {
        let Some(name) = Call::name_of(kind) else { continue };
        let requests = |body: &Body| matches!(body, Body::Call(call) if call.kind() == kind);
        let replies = |body: &Body| matches!(body, Body::Completed(reply) if reply.kind() == kind);
        assert!(all.iter().any(|golden| requests(&golden.frame.body)), "no golden request of {name}");
        assert!(all.iter().any(|golden| replies(&golden.frame.body)), "no golden reply of {name}");
    }
}

#[test]
fn every_file_is_checked() {
    if blessing() {
        return;
    }
    let mut files: Vec<_> =
        fs::read_dir(path("x").parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut known: Vec<_> = samples::all().iter().map(|golden| path(golden.name)).collect();
    known.extend([path("piece"), path("serialized_tensor")]);
    known.sort();
    assert_eq!(files, known);
}

/// `src/guide/wire.md` shows each file once, in a block that begins with `# NAME`; behind a `|` it says what the bytes
/// mean.
#[test]
fn the_guide_shows_these_bytes() {
    let guide = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../src/guide/wire.md");
    let guide = fs::read_to_string(&guide).unwrap();
    let mut shown = BTreeMap::new();
    for block in guide.split("```text\n# ").skip(1) {
        let (block, _) = block.split_once("```").unwrap();
        let (name, lines) = block.split_once('\n').unwrap();
        let bytes: Vec<_> = lines.lines().map(|line| line.split('|').next().unwrap()).collect();
        assert!(shown.insert(name.to_owned(), to_bytes(&bytes.join("\n"))).is_none(), "{name} stands twice");
    }
    let mut expected: BTreeMap<_, _> =
        samples::all().iter().map(|golden| (golden.name.to_owned(), golden.encode())).collect();
    expected.insert("piece".to_owned(), samples::piece());
    expected.insert("serialized_tensor".to_owned(), samples::serialized_tensor());
    assert_eq!(shown.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, bytes) in expected {
        assert_eq!(shown[&name], bytes, "{name}: the example in src/guide/wire.md is another");
    }
}
