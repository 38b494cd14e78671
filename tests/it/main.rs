//! Tests of the whole: one binary, so that everything is linked once.

mod tidy;
