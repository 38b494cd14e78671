//! The chapters: what happens, what is promised, what can be changed, how to run it, and how fast it is.

#[cfg(feature = "config")]
#[doc = include_str!("configuration.md")]
pub mod configuration {}

#[doc = include_str!("extending.md")]
pub mod extending {}

#[doc = include_str!("lifecycle.md")]
pub mod lifecycle {}

#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("ops.md")]
pub mod ops {}

#[doc = include_str!("performance.md")]
#[doc = include_str!("growth.svg")]
pub mod performance {}

#[doc = include_str!("semantics.md")]
pub mod semantics {}

#[doc = include_str!("tfrt_map.md")]
pub mod tfrt_map {}

#[doc = include_str!("wire.md")]
pub mod wire {}

#[cfg(all(test, feature = "ops"))]
mod tests {
    use remex_actors::ops::OpRegistry;

    #[test]
    fn every_op_of_the_base_set_is_in_the_table() {
        let rows: Vec<&str> = include_str!("ops.md").lines().filter(|line| line.starts_with("| `")).collect();
        let mut listed: Vec<&str> = rows
            .iter()
            .filter_map(|row| row.split('|').nth(1))
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();
        listed.sort_unstable();
        assert_eq!(listed, OpRegistry::base().names().collect::<Vec<_>>());
    }
}
