//! What a member of a collective says of the data that it sends.

use remex_protocol::collective::ChunkHeader;

/// The input is the header of a chunk.
pub(super) fn run(input: &[u8]) {
    let Ok(header) = ChunkHeader::from_bytes(input) else { return };
    let bytes = header.to_bytes().expect("what was read can be written");
    assert_eq!(ChunkHeader::from_bytes(&bytes).as_ref(), Ok(&header), "what was written can be read");
    // To ask for its size must not overflow.
    let _ = header.metadata().size_bytes();
}
