//! Small integers that stand for a long name on one link or in one context.
//!
//! Whoever sends the name chooses the integer, so that what follows can use it without waiting for the answer.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! index {
    ($(#[$doc:meta])* $name:ident($int:ty), $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $int);

        impl $name {
            /// The position in a table.
            pub fn position(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        }
    };
}

index! {
    /// A context on one link; chosen by the caller in `CreateContext`.
    ContextIndex(u16), "c"
}
index! {
    /// A device of a context: its position in the device table that `CreateContext` carries.
    DeviceIndex(u16), "d"
}
index! {
    /// A program on one link and in one context; chosen by the caller in `RegisterFunction`.
    ProgramIndex(u32), "p"
}
index! {
    /// A task of a context: its position in the task table that `CreateContext` carries.
    TaskIndex(u16), "t"
}
