//! What goes to disk first, and that everything is counted where it is.

use rand::{Rng, SeedableRng, rngs::SmallRng};
use remex_protocol::ids::{DeviceIndex, ObjectPrefix};

use super::*;

fn id(local: u64) -> ObjectId {
    ObjectId { prefix: ObjectPrefix(7), local, device: DeviceIndex(0) }
}

fn lack(task: u64) -> Lack {
    Lack { task, contexts: Vec::new() }
}

fn chosen(victims: &BTreeMap<u64, Vec<Victim>>) -> Vec<(u64, u64)> {
    victims.iter().flat_map(|(context, of)| of.iter().map(|victim| (*context, victim.object.local))).collect()
}

/// I8: the one that was used longest ago goes first, of whatever context, and no more than are needed.
#[test]
fn the_coldest_go_first() {
    let mut coldest = Coldest::default();
    let slots: Vec<_> = (1..=4).map(|n| coldest.insert(n % 2, id(n), 10)).collect();
    coldest.touch(slots[0]);
    let victims = coldest.choose(&lack(15), u64::MAX);
    assert_eq!(chosen(&victims), [(0, 2), (1, 3)]);
    assert_eq!(
        (coldest.leaving(), chosen(&coldest.choose(&lack(20), u64::MAX))),
        (20, vec![]),
        "they are on their way"
    );
    assert_eq!(chosen(&coldest.choose(&lack(21), u64::MAX)), [(0, 4)]);
}

/// I8: a context that has reached its own budget gives up its own objects.
#[test]
fn a_context_makes_room_for_itself() {
    let mut coldest = Coldest::default();
    for n in 1..=3 {
        coldest.insert(1, id(n), 10);
        coldest.insert(2, id(n + 10), 10);
    }
    let victims = coldest.choose(&Lack { task: 0, contexts: vec![(2, 11)] }, u64::MAX);
    assert_eq!(chosen(&victims), [(2, 11), (2, 12)]);
    assert!(coldest.choose(&lack(20), u64::MAX).is_empty(), "that is enough for the task, too");
}

/// I8: what is used while it is on its way stays; what is busy is looked at later, and not at once.
#[test]
fn what_is_used_does_not_leave() {
    let mut coldest = Coldest::default();
    let slot = coldest.insert(1, id(1), 10);
    let victim = coldest.choose(&lack(1), u64::MAX)[&1][0];
    coldest.begin(&victim);
    assert!(coldest.is_leaving(&victim));
    coldest.touch(slot);
    assert!(!coldest.is_leaving(&victim) && coldest.leaving() == 0);
    let again = coldest.choose(&lack(1), u64::MAX)[&1][0];
    coldest.busy(victim);
    assert!(coldest.is_leaving(&again), "it was another one's word");
    coldest.busy(again);
    assert!(coldest.choose(&lack(1), u64::MAX).is_empty() && !coldest.may_free(1, u64::MAX));
    coldest.look_again();
    assert_eq!(chosen(&coldest.choose(&lack(1), u64::MAX)), [(1, 1)]);
}

/// I8: no more goes to disk than has room there; what is chosen and not yet written counts.
#[test]
fn the_room_on_disk_is_a_bound() {
    let mut coldest = Coldest::default();
    for n in 1..=3 {
        coldest.insert(1, id(n), 10);
    }
    assert!(coldest.may_free(20, 20) && !coldest.may_free(21, 20));
    let victims = coldest.choose(&lack(30), 25);
    assert_eq!(chosen(&victims), [(1, 1), (1, 2)]);
    assert!(coldest.choose(&lack(30), 25).is_empty());
    victims[&1].iter().for_each(|victim| coldest.begin(victim));
    assert_eq!(chosen(&coldest.choose(&lack(30), 10)), [(1, 3)], "now the disk counts the others");
}

/// I8: after an error nothing is written for a while, and for longer each time.
#[test]
fn a_disk_that_fails_is_left_alone_for_longer_and_longer() {
    let mut coldest = Coldest::default();
    coldest.insert(1, id(1), 10);
    for pause in [10, 20, 40, 80, 160, 320, 600, 600] {
        let victim = coldest.choose(&lack(1), u64::MAX)[&1][0];
        coldest.failed();
        coldest.failed();
        coldest.stay(&victim);
        for tick in 0..pause {
            assert!(
                coldest.choose(&lack(1), u64::MAX).is_empty() && !coldest.may_free(1, u64::MAX),
                "{tick} of {pause}"
            );
            coldest.tick();
        }
    }
    let victim = coldest.choose(&lack(1), u64::MAX)[&1][0];
    coldest.succeeded();
    coldest.stay(&victim);
    coldest.failed();
    (0..10).for_each(|_| coldest.tick());
    assert!(coldest.may_free(1, u64::MAX));
}

/// I8: whatever is done in whatever order, every byte is counted once.
#[test]
fn every_object_is_in_one_place() {
    let seed: u64 = rand::random();
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut coldest = Coldest::default();
    let (mut slots, mut victims): (Vec<(u32, u64)>, Vec<Victim>) = (Vec::new(), Vec::new());
    for step in 0..3000 {
        match rng.random_range(0..8) {
            0 | 1 => {
                let bytes = rng.random_range(1..100);
                slots.push((coldest.insert(rng.random_range(0..3), id(step), bytes), bytes));
            }
            2 if !slots.is_empty() => coldest.remove(slots.swap_remove(rng.random_range(0..slots.len())).0),
            3 if !slots.is_empty() => coldest.touch(slots[rng.random_range(0..slots.len())].0),
            4 => {
                let contexts = vec![(rng.random_range(0..3), rng.random_range(0..200))];
                let lack = Lack { task: rng.random_range(0..500), contexts };
                victims.extend(coldest.choose(&lack, rng.random_range(0..2000)).into_values().flatten());
            }
            5 => coldest.look_again(),
            _ if !victims.is_empty() => {
                let victim = victims.swap_remove(rng.random_range(0..victims.len()));
                match rng.random_range(0..3) {
                    0 => coldest.busy(victim),
                    1 => coldest.stay(&victim),
                    _ => {
                        coldest.begin(&victim);
                        victims.push(victim);
                    }
                }
            }
            _ => {}
        }
        let sum = |stages: &[Stage]| -> u64 {
            coldest.nodes.iter().filter(|(_, node)| stages.contains(&node.stage)).map(|(_, node)| node.bytes).sum()
        };
        let counted = (coldest.listed, coldest.leaving, coldest.chosen);
        let there = (sum(&[Stage::Listed]), sum(&[Stage::Chosen, Stage::Writing]), sum(&[Stage::Chosen]));
        assert_eq!(counted, there, "step {step}, seed {seed}");
        let leaving: u64 = coldest.lists.values().map(|list| list.leaving).sum();
        assert_eq!((leaving, coldest.nodes.len()), (coldest.leaving, slots.len()), "step {step}, seed {seed}");
        for (context, list) in &coldest.lists {
            let (mut at, mut stamps) = (list.coldest, Vec::new());
            while let Some(slot) = at {
                let node = &coldest.nodes[slot as usize];
                assert_eq!((node.context, node.stage), (*context, Stage::Listed), "step {step}, seed {seed}");
                stamps.push(node.stamp);
                at = node.warmer;
            }
            assert!(stamps.is_sorted(), "step {step}, seed {seed}");
        }
    }
    slots.into_iter().for_each(|(slot, _)| coldest.remove(slot));
    assert!(coldest.lists.is_empty() && coldest.nodes.is_empty(), "seed {seed}");
}
