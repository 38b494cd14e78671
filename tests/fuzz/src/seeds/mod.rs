//! Where mutations begin: the golden frames, what somebody nasty would write by hand, and the files of the corpora.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

mod models;
mod nasty;

use remex_protocol::{
    collective::{ChunkHeader, CollectiveOp, Reduction},
    frame::HEAD_LEN,
    tensor::{DType, Shape, Tensor, npy},
};

use crate::targets::headers::{CALLS, GOODBYE, METADATA};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Inputs by name, of the target of this name.
///
/// # Errors
///
/// If a file of the repository cannot be read.
pub fn of(target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut seeds = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target), |_| true)?;
    match target {
        "frames" => seeds.extend(frames()?),
        "handshake" => seeds.extend(headers(|kind| (1..=3).contains(&kind).then(|| kind - 1), 3)?),
        "calls" => seeds.extend(headers(|kind| (16..16 + CALLS).contains(&kind).then(|| kind - 16), CALLS)?),
        "replies" => seeds.extend(headers(reply, 2 * CALLS)?),
        "chunks" => seeds.extend(chunks()),
        "names" => seeds.extend(names()),
        "npy" => seeds.extend(npys()?),
        "tensors" => seeds.extend(tensors()),
        "config" => seeds.push(("plain".to_owned(), CLUSTER.as_bytes().to_vec())),
        "onnx" => {
            seeds.extend(files(&top().join("examples/digits"), |name| name.ends_with("stage2.onnx"))?);
            seeds.extend(models::models());
        }
        _ => {}
    }
    Ok(seeds)
}

/// Files of a folder, in the order of their names; none, if there is no such folder.
fn files(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    if !folder.is_dir() {
        return Ok(all);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if wanted(&name) {
            all.push((name, fs::read(entry.path())?));
        }
    }
    all.sort();
    Ok(all)
}

/// The golden frames of the protocol, as bytes.
fn golden() -> io::Result<Vec<(String, Vec<u8>)>> {
    let texts = files(&top().join("protocol/tests/golden"), |name| name.ends_with(".txt"))?;
    let bytes = |text: Vec<u8>| {
        let text = String::from_utf8_lossy(&text).into_owned();
        let digits = text.lines().skip(1).flat_map(str::split_whitespace);
        digits.filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
    };
    let frames = texts.into_iter().filter(|(name, _)| !name.starts_with("serialized"));
    Ok(frames.map(|(name, text)| (name, bytes(text))).collect())
}

/// Streams: each frame by itself, all in a row, and those that nobody of ours would send. In front of each what the
/// target takes its first byte for: checksums put right, cuts, the limits after the handshake.
fn frames() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut all = golden()?;
    let one = |name: &str| all.iter().find(|(other, _)| other.starts_with(name)).map_or(vec![], |(_, b)| b.clone());
    let pieces = [one("put_object_in_pieces"), one("piece"), one("piece"), one("heartbeat")].concat();
    let row = all.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    all.extend([("pieces".to_owned(), pieces), ("all in a row".to_owned(), row)]);
    all.extend(nasty::streams());
    Ok(all.into_iter().map(|(name, bytes)| (name, [&[0b1100][..], &bytes].concat())).collect())
}

/// Headers of the golden frames whose kind `which` gives a number, with that number in front, and nasty ones for each of
/// `kinds` numbers.
fn headers(which: impl Fn(u8) -> Option<u8>, kinds: u8) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    for (name, bytes) in golden()? {
        let failed = bytes[1] & 4;
        // The number of a failed reply: see the target.
        if let Some(number) = which(bytes[0]).map(|number| if failed != 0 { number + CALLS - 1 } else { number }) {
            let len = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
            all.push((name, [&[number][..], &bytes[HEAD_LEN..HEAD_LEN + len]].concat()));
        }
    }
    for number in 0..kinds {
        let named = |(name, header): (String, Vec<u8>)| (format!("{number} {name}"), [&[number][..], &header].concat());
        all.extend(nasty::headers().into_iter().map(named));
    }
    Ok(all)
}

fn reply(kind: u8) -> Option<u8> {
    match kind {
        8 => Some(METADATA),
        6 => Some(GOODBYE),
        kind => kind.checked_sub(0x80 + 16).filter(|number| *number < CALLS - 1),
    }
}

fn chunks() -> Vec<(String, Vec<u8>)> {
    let shape = Shape::from([3, 4]);
    let (run, step, part, offset) = (1, 2, 3, 4);
    let ops = [CollectiveOp::AllReduce(Reduction::Mean), CollectiveOp::AllGather { axis: 1 }, CollectiveOp::Barrier];
    let header = |op| ChunkHeader { group: 0, run, op, dtype: DType::F32, shape: shape.clone(), step, part, offset };
    let bytes = |op: CollectiveOp| Some((op.to_string(), header(op).to_bytes().ok()?));
    ops.into_iter().filter_map(bytes).chain(nasty::headers()).collect()
}

fn names() -> Vec<(String, Vec<u8>)> {
    let texts = [
        "/job:worker/task:0",
        "/job:a_1/task:4294967295/device:CPU:0",
        "/job:/task:00",
        "tcp://127.0.0.1:7000",
        "tcp://[::1]:0",
        "unix:/tmp/a",
        "loopback:x",
        ":",
    ];
    texts.iter().map(|text| ((*text).to_owned(), text.as_bytes().to_vec())).collect()
}

/// Some of each element type, the shapes of which are a number, a row, a block and nothing.
fn some_tensors() -> Vec<Tensor> {
    let f32s = (0..24).map(|n| n as f32).collect::<Vec<_>>();
    [
        Tensor::from_slice(Shape::from([2, 3, 4]), &f32s),
        Tensor::from_slice([2u64], &[1i64, -1]),
        Tensor::from_slice([0u64, 7], &[] as &[u8]),
        Tensor::from_slice(Shape::default(), &[1.5f64]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn npys() -> io::Result<Vec<(String, Vec<u8>)>> {
    let written = |(n, tensor): (usize, Tensor)| Some((format!("tensor {n}"), npy::to_bytes(&tensor).ok()?));
    let mut all: Vec<_> = some_tensors().into_iter().enumerate().filter_map(written).collect();
    all.extend(files(&top().join("examples/digits"), |name| name == "expected_logits.npy")?);
    all.extend(nasty::npys());
    Ok(all)
}

fn tensors() -> Vec<(String, Vec<u8>)> {
    let tensors = some_tensors().into_iter().enumerate();
    let bytes = |(n, tensor): (usize, Tensor)| {
        let all = tensor.serialize().to_contiguous()?;
        Some((format!("tensor {n}"), [&[0][..], &all].concat()))
    };
    tensors.filter_map(bytes).collect()
}

const CLUSTER: &str = r#"
deadline = "30s"
idle_timeout = "1h"
wait = "1m"

[job.worker]
tasks = ["tcp://127.0.0.1:7000", "unix:/run/w1"]
devices = ["CPU", "GPU"]
threads = 3

[job.eval]
tasks = ["tcp://127.0.0.1:7001"]

[group.all]
members = ["/job:worker/task:1", "/job:eval/task:0"]
"#;
