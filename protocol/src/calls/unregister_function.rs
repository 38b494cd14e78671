//! UnregisterFunction: forget a program.

use serde::{Deserialize, Serialize};

use crate::ids::{ContextIndex, ProgramIndex};

/// Forgets a program on the receiving task.
///
/// Served by the `DistributedContext`, in the link's order: earlier calls run, later ones fail with `NotFound`. The name
/// is free again when the last session that registered it has forgotten it. Of an unknown program: `NotFound`.
///
/// ```text
/// [context u16, program u32]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnregisterFunctionRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// The program, as this link numbers it.
    pub program: ProgramIndex,
}

/// The program is forgotten.
///
/// ```text
/// []
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnregisterFunctionReply {}
