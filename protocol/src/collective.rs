//! What members of a collective say to each other: the header of each chunk.

use serde::{Deserialize, Serialize};

use crate::{
    CodecError, codec,
    tensor::{DType, Shape, TensorMetadata},
};

/// Most bytes of data in one chunk: it travels in one frame.
pub const CHUNK_LEN: usize = crate::frame::PIECE_LEN;

/// How the members' elements are made into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reduction {
    /// Their sum. Integers wrap around.
    Sum,
    /// The least. A NaN among them gives NaN.
    Min,
    /// The greatest. A NaN among them gives NaN.
    Max,
    /// Their sum, divided once at the end by the number of members. Of integers it is rounded toward zero; their sum
    /// wraps around before.
    Mean,
    /// Their product. Integers wrap around.
    Prod,
}

impl Reduction {
    /// All of them, in the order of their numbers, from 0.
    pub const ALL: [Reduction; 5] = [Reduction::Sum, Reduction::Min, Reduction::Max, Reduction::Mean, Reduction::Prod];

    /// The short name: `sum`.
    pub fn name(self) -> &'static str {
        match self {
            Reduction::Sum => "sum",
            Reduction::Min => "min",
            Reduction::Max => "max",
            Reduction::Mean => "mean",
            Reduction::Prod => "prod",
        }
    }
}

/// What the members do together. Travels as `[kind u8, argument u16]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "(u8, u16)", try_from = "(u8, u16)")]
#[non_exhaustive]
pub enum CollectiveOp {
    /// 1: all get all members' elements made into one; the argument is the reduction.
    AllReduce(Reduction),
    /// 2: the same, of which each member gets its part of the first dimension.
    ReduceScatter(Reduction),
    /// 3: all get the tensor of one member, the argument.
    Broadcast {
        /// The member that gives it.
        root: u16,
    },
    /// 4: all get all tensors, of one shape, joined along an axis, the argument.
    AllGather {
        /// The axis.
        axis: u16,
    },
    /// 5: the same of tensors whose lengths along that axis may differ.
    AllGatherAnyShape {
        /// The axis.
        axis: u16,
    },
    /// 6: nobody goes on before all have come.
    Barrier,
    /// 7: it failed in the view of the member that is the argument; the payload is a `RemoteError`.
    Abort {
        /// Who failed first.
        member: u16,
    },
}

impl From<CollectiveOp> for (u8, u16) {
    fn from(op: CollectiveOp) -> Self {
        let number = |reduction| Reduction::ALL.iter().position(|&other| other == reduction).unwrap_or_default() as u16;
        match op {
            CollectiveOp::AllReduce(reduction) => (1, number(reduction)),
            CollectiveOp::ReduceScatter(reduction) => (2, number(reduction)),
            CollectiveOp::Broadcast { root } => (3, root),
            CollectiveOp::AllGather { axis } => (4, axis),
            CollectiveOp::AllGatherAnyShape { axis } => (5, axis),
            CollectiveOp::Barrier => (6, 0),
            CollectiveOp::Abort { member } => (7, member),
        }
    }
}

impl TryFrom<(u8, u16)> for CollectiveOp {
    type Error = String;

    fn try_from((kind, argument): (u8, u16)) -> Result<Self, String> {
        let reduction = || {
            let known = Reduction::ALL.get(usize::from(argument)).copied();
            known.ok_or_else(|| format!("{argument} is not the number of a reduction"))
        };
        Ok(match kind {
            1 => CollectiveOp::AllReduce(reduction()?),
            2 => CollectiveOp::ReduceScatter(reduction()?),
            3 => CollectiveOp::Broadcast { root: argument },
            4 => CollectiveOp::AllGather { axis: argument },
            5 => CollectiveOp::AllGatherAnyShape { axis: argument },
            6 => CollectiveOp::Barrier,
            7 => CollectiveOp::Abort { member: argument },
            _ => return Err(format!("{kind} is not the number of a collective")),
        })
    }
}

impl std::fmt::Display for CollectiveOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CollectiveOp::AllReduce(reduction) => write!(f, "all-reduce ({})", reduction.name()),
            CollectiveOp::ReduceScatter(reduction) => write!(f, "reduce-scatter ({})", reduction.name()),
            CollectiveOp::Broadcast { root } => write!(f, "broadcast from member {root}"),
            CollectiveOp::AllGather { axis } => write!(f, "all-gather along axis {axis}"),
            CollectiveOp::AllGatherAnyShape { axis } => write!(f, "all-gather of any shape along axis {axis}"),
            CollectiveOp::Barrier => f.write_str("barrier"),
            CollectiveOp::Abort { member } => write!(f, "abort by member {member}"),
        }
    }
}

/// Stands in `SendDataRequest::header` of a chunk; the key there is the collective's name, the payload the chunk's data.
/// Every chunk says the whole of what its sender believes, so that both sides can compare.
///
/// ```text
/// [group u16, run u64, op [kind u8, argument u16], dtype u8, shape [u64], step u16, part u16, offset u64]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkHeader {
    /// Which of the context's groups.
    pub group: u16,
    /// Which use of the name in that group, from 0.
    pub run: u64,
    /// What is done.
    pub op: CollectiveOp,
    /// The type of the elements.
    pub dtype: DType,
    /// The shape of the tensor that the data belongs to: a member's input; in an abort empty.
    pub shape: Shape,
    /// How many members handed the chunk on before; in an all-reduce the way of the results goes on counting.
    pub step: u16,
    /// Which part of the tensor (all-reduce, reduce-scatter), or whose tensor (else).
    pub part: u16,
    /// Where in that part the data begins, in elements.
    pub offset: u64,
}

impl ChunkHeader {
    /// Element type and shape together.
    pub fn metadata(&self) -> TensorMetadata {
        TensorMetadata::new(self.dtype, self.shape.clone())
    }

    /// The bytes that travel.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::with_capacity(48);
        codec::encode(&mut bytes, self)?;
        Ok(bytes)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) made.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame::MAX_DATA_HEADER, tensor::MAX_RANK};

    fn ops() -> Vec<CollectiveOp> {
        let mut ops: Vec<_> = Reduction::ALL.map(CollectiveOp::AllReduce).into();
        ops.extend(Reduction::ALL.map(CollectiveOp::ReduceScatter));
        ops.extend([
            CollectiveOp::Broadcast { root: u16::MAX },
            CollectiveOp::AllGather { axis: 3 },
            CollectiveOp::AllGatherAnyShape { axis: 0 },
            CollectiveOp::Barrier,
            CollectiveOp::Abort { member: 31 },
        ]);
        ops
    }

    #[test]
    fn the_largest_header_comes_back_and_fits() {
        for op in ops() {
            let shape = Shape::try_from(vec![u64::MAX; MAX_RANK]).unwrap();
            let (run, step, part, offset) = (u64::MAX, u16::MAX, u16::MAX, u64::MAX);
            let header = ChunkHeader { group: u16::MAX, run, op, dtype: DType::F64, shape, step, part, offset };
            let bytes = header.to_bytes().unwrap();
            assert!(bytes.len() <= MAX_DATA_HEADER, "{} bytes", bytes.len());
            assert_eq!(ChunkHeader::from_bytes(&bytes).unwrap(), header);
        }
    }

    #[test]
    fn unknown_numbers_are_refused() {
        assert!(CollectiveOp::try_from((0, 0)).is_err() && CollectiveOp::try_from((8, 0)).is_err());
        assert!(CollectiveOp::try_from((1, 5)).unwrap_err().contains("5 is not the number of a reduction"));
    }
}
