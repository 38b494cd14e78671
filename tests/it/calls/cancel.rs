//! TODO cancel.
