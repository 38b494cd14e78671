//! RegisterFunction: make a program known by name on a task.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ContextIndex, DeviceIndex, ProgramIndex},
    signature::Signature,
    tensor::TensorMetadata,
};

/// When a program is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum CompileWhen {
    /// Before the registration is answered.
    Now,
    /// At the first call; the registration is answered when the bytes are stored.
    FirstUse,
}

impl From<CompileWhen> for u8 {
    fn from(when: CompileWhen) -> u8 {
        match when {
            CompileWhen::Now => 0,
            CompileWhen::FirstUse => 1,
        }
    }
}

impl TryFrom<u8> for CompileWhen {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(CompileWhen::Now),
            1 => Ok(CompileWhen::FirstUse),
            _ => Err(format!("{number} is neither now (0) nor first use (1)")),
        }
    }
}

/// Makes a program known on the receiving task.
///
/// Served by the `DistributedContext`; compiled off the arbiter. From this frame on `program` stands for it on this link:
/// calls may follow at once and wait, each until its own deadline. The same name with the same format, entry and bytes is
/// the same registration; with others it is refused with `RemoteFunctionAlreadyExists`. Refused with `NotFound` (no such
/// entry, no such format), `MalformedProgram`, `CompilationFailed`, `ResourceExhausted`; then nothing is left behind and
/// calls that wait for it fail with that error.
///
/// The payload is the program's bytes (`program_bytes` of them), then the data of the golden inputs, then of the golden
/// outputs.
///
/// ```text
/// [context u16, program u32, name str, format str, entry str or nil, when u8 (0 now, 1 first use), program_bytes u64,
///  output_devices [u16], golden nil or [inputs [[dtype u8, shape [u64]]], outputs [..], tolerance f64]]
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegisterFunctionRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// What stands for the program on this link and in this context from now on. Chosen by the sender.
    pub program: ProgramIndex,
    /// The name; at most `MAX_NAME` bytes.
    #[serde(deserialize_with = "crate::bounded::name")]
    pub name: String,
    /// What finds the compiler: `native`, `onnx`, or a format of the application's.
    #[serde(deserialize_with = "crate::bounded::name")]
    pub format: String,
    /// Which function inside the program; what it means is the format's.
    #[serde(deserialize_with = "crate::bounded::name_or_nil")]
    pub entry: Option<String>,
    /// When to compile.
    pub when: CompileWhen,
    /// How many bytes of the payload are the program.
    pub program_bytes: u64,
    /// The devices of the outputs, in order; empty: all outputs on the device that the program runs on.
    #[serde(deserialize_with = "crate::bounded::args")]
    pub output_devices: Vec<DeviceIndex>,
    /// Inputs, and the outputs that they must give, tried once when compiled.
    pub golden: Option<Golden>,
}

/// Inputs and the outputs they must give; the data is in the payload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    /// Element types and shapes of the inputs, in order.
    #[serde(deserialize_with = "crate::bounded::args")]
    pub inputs: Vec<TensorMetadata>,
    /// Element types and shapes of the outputs, in order.
    #[serde(deserialize_with = "crate::bounded::args")]
    pub outputs: Vec<TensorMetadata>,
    /// Largest allowed difference of an element: `|a - b| <= tolerance * max(1, |b|)`.
    pub tolerance: f64,
}

/// The program is known.
///
/// ```text
/// [signature nil or [inputs [arg], outputs [arg]], output_devices nil or [u16]]
/// arg: [name str, dtype u8 | str | nil, dims nil or [u64 | str | [term] | nil]]     term: [factor u64, symbols [str]]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterFunctionReply {
    /// What it takes and gives, if the format says so and it was compiled.
    pub signature: Option<Signature>,
    /// The devices of the outputs, in order; none if the program does not say how many it has.
    #[serde(deserialize_with = "crate::bounded::args_or_nil")]
    pub output_devices: Option<Vec<DeviceIndex>>,
}
