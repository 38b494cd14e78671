//! Rust types that a tensor's elements can be read as.

use half::{bf16, f16};

use super::DType;

/// A Rust type that is laid out as the elements of one [`DType`].
pub trait Element: bytemuck::Pod + bytemuck::AnyBitPattern + Send + Sync + std::fmt::Debug {
    /// The element type that it is laid out as.
    const DTYPE: DType;
}

/// A truth value of a tensor: one byte, 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(transparent)]
pub struct Bool(pub u8);

impl From<bool> for Bool {
    fn from(value: bool) -> Self {
        Self(u8::from(value))
    }
}

impl From<Bool> for bool {
    fn from(value: Bool) -> bool {
        value.0 != 0
    }
}

macro_rules! elements {
    ($($ty:ty => $dtype:ident,)*) => {$(
        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
        }
    )*};
}

elements! {
    Bool => Bool,
    i8 => I8,
    u8 => U8,
    i16 => I16,
    u16 => U16,
    i32 => I32,
    u32 => U32,
    i64 => I64,
    u64 => U64,
    f16 => F16,
    bf16 => Bf16,
    f32 => F32,
    f64 => F64,
}
