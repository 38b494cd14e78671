//! The store, step by step.
