//! What the compiler cannot check: the repository's rooms, its layers, and what its tests have to name.
//!
//! A rule is a function from a file to faults. It is tried on samples that it must refuse, then on every file, so a
//! rule that finds nothing has been seen to find something. All faults of a rule are reported at once.

mod code;
mod layers;
mod limits;
mod rooms;
mod seed;
mod testing;
mod tree;
