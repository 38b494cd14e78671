//! The program `remex`.

fn main() {}
