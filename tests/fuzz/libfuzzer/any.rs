//! Any of the targets, which `REMEX_FUZZ` names: one binary is built once.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use remex_fuzz::{Target, memory::Counting, targets};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(|input: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let names = targets::all().iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
        targets::named(&std::env::var("REMEX_FUZZ").unwrap_or_else(|_| panic!("set REMEX_FUZZ to one of {names}")))
    });
    (target.run)(input);
});
