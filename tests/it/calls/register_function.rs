//! TODO register_function.
