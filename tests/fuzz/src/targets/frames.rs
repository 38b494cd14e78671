//! A stream of frames, cut anywhere.

use remex_protocol::{DecoderLimits, frame::PIECE_LEN};

use super::wire;
use crate::memory;

/// What a decoder may hold beside what came: its first read, one payload of one frame that was announced, tables.
const BASE: usize = (64 << 10) + PIECE_LEN;
/// What may become of one byte that came: a nil of metadata is 56 bytes in memory, and lists grow by doubling.
const PER_BYTE: usize = 256;

/// The first byte chooses the cuts and the limits and whether checksums are put right; the rest is the stream.
pub(super) fn run(input: &[u8]) {
    let Some((&how, stream)) = input.split_first() else { return };
    let mut stream = stream.to_vec();
    if how & 1 == 0 {
        wire::mend(&mut stream);
    }
    let limits = if how & 2 == 0 { DecoderLimits::OPEN } else { DecoderLimits::HANDSHAKE };
    let (whole, error) = wire::decode(limits, &stream, || usize::MAX);
    let mut step = u32::from(how >> 2);
    let cuts = || {
        step = step.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (step >> 24) as usize % 97
    };
    let ((cut, cut_error), usage) = memory::measure(|| wire::decode(limits, &stream, cuts));
    assert_eq!(format!("{cut:?}"), format!("{whole:?}"), "the cuts changed what was said");
    assert_eq!(cut_error, error, "the cuts changed what was wrong");
    // What is announced in pieces is a buffer of its own each, with which `tests/pages.rs` is concerned.
    let announced: u64 = announcements(&stream);
    let most = BASE as u64 + PER_BYTE as u64 * stream.len() as u64 + announced;
    assert!(usage.peak as u64 <= most, "{} bytes came, {usage:?}", stream.len());
    if limits == DecoderLimits::HANDSHAKE {
        assert!(usage.largest <= 128 << 10, "before the handshake: {usage:?}");
    }
    whole.iter().for_each(wire::must_come_back);
}

/// Bytes of the heap that the payloads in pieces take: those of 4 MiB and more are pages of the system's.
fn announcements(stream: &[u8]) -> u64 {
    let flagged = stream.windows(16).filter(|head| head[1] & 1 != 0);
    let lens = flagged.map(|head| head[8..16].iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte)));
    lens.filter(|len| *len < 4 << 20).map(|len| len + 64).sum()
}
