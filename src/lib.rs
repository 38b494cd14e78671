//! remex.
