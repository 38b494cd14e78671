//! Which slots name calls in flight. Pure.

use remex_protocol::ids::CallId;

/// Hands out slots; one that comes back is handed out again with another generation, so that a late reply to its former
/// use is known.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    generations: Vec<u32>,
    free: Vec<u32>,
}

impl Tickets {
    /// A slot that no call has.
    pub(crate) fn take(&mut self) -> CallId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            (self.generations.len() - 1) as u32
        });
        CallId::new(index, self.generations[index as usize])
    }

    /// The call is answered; its slot may be used again. A ticket that was given back already is passed over.
    pub(crate) fn give_back(&mut self, call: CallId) {
        if let Some(generation) = self.generations.get_mut(call.index as usize)
            && *generation == call.generation
        {
            *generation = generation.wrapping_add(1);
            self.free.push(call.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_under_another_name() {
        let mut tickets = Tickets::default();
        let (a, b) = (tickets.take(), tickets.take());
        assert_ne!(a.index, b.index);
        tickets.give_back(a);
        tickets.give_back(a);
        let (c, d) = (tickets.take(), tickets.take());
        assert_eq!(c, CallId::new(a.index, a.generation + 1));
        assert!(d.index != b.index && d.index != c.index);
    }
}
