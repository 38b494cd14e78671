//! ONNX models as programs: bytes in, a model out. Knows no actor, no clock and no socket.
//!
//! ```text
//! bytes ──▶ gate ──▶ signature::declared ──▶ engine ─────────────────────────▶ OnnxModel ──run──▶ outputs
//!           decodes   names, types, shapes    rten: opset (refuses), mend,        ▲
//!           checks                            gate::seal, load                    inputs, checked by the signature
//!                                             ort:  the user's shared library
//! ```
//!
//! What reaches an engine is decoded, checked and, for rten, written anew: the invariants GT-1 to GT-3 are in `gate.rs`.
//! What rten is known to compute wrongly is refused (`opset.rs`) or said in operators that it computes right (`mend.rs`).
//!
//! Everything here blocks its thread, and an engine may panic on a model that is wrong in a new way: callers run it on the
//! compute pool, under `catch_unwind`.

mod compiler;
mod convert;
mod engine;
mod error;
mod gate;
mod growth;
mod mend;
mod model;
mod opset;
#[cfg(feature = "ort")]
mod ort_engine;
mod proto;
mod rten_engine;
mod signature;
mod split;
#[cfg(test)]
mod test_model;

pub use compiler::OnnxCompiler;
pub use engine::EngineKind;
pub use error::OnnxError;
pub use model::{OnnxModel, OnnxOptions};
pub use split::split;
