//! TODO extend.
