//! TODO threads.
