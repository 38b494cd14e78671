//! The targets, one a file.

mod chunks;
mod frames;
pub(crate) mod headers;
mod names;
mod npy;
mod tensors;
mod wire;

#[cfg(feature = "worker")]
mod config;
#[cfg(feature = "worker")]
mod onnx;

/// Something that takes bytes of strangers.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Panics if these bytes do what none may.
    pub run: fn(&[u8]),
    /// How many mutations the tests try.
    pub rounds: u32,
}

/// All of them.
pub fn all() -> Vec<Target> {
    #[cfg_attr(not(feature = "worker"), expect(unused_mut, reason = "without the worker's targets nothing is added"))]
    let mut all = vec![
        Target { name: "frames", run: frames::run, rounds: 20_000 },
        Target { name: "handshake", run: headers::handshake, rounds: 60_000 },
        Target { name: "calls", run: headers::calls, rounds: 60_000 },
        Target { name: "replies", run: headers::replies, rounds: 60_000 },
        Target { name: "chunks", run: chunks::run, rounds: 100_000 },
        Target { name: "names", run: names::run, rounds: 100_000 },
        Target { name: "npy", run: npy::run, rounds: 30_000 },
        Target { name: "tensors", run: tensors::run, rounds: 100_000 },
    ];
    #[cfg(feature = "worker")]
    all.extend([
        Target { name: "config", run: config::run, rounds: 20_000 },
        Target { name: "onnx", run: onnx::run, rounds: 5_000 },
    ]);
    all
}

/// The target of this name.
///
/// # Panics
///
/// If there is none.
pub fn named(name: &str) -> Target {
    all().into_iter().find(|target| target.name == name).unwrap_or_else(|| panic!("there is no target {name:?}"))
}
