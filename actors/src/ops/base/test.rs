//! Tests of the base set.
