//! Tokens with which objects are handed over: each has one count of its object until it is used or its lease is over.
//! Pure: time is passed in.
//!
//! # Invariants
//! - **I8 (bounded).** Live and remembered tokens together have a limit.
//! - A count leaves with exactly one of: the one who imports, the end of the lease.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use remex_protocol::ids::{ObjectId, TokenSecret};

use crate::chance::Chance;

/// How long a token can be used, and how long it is remembered afterwards, so that who comes late is told why.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// What became of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Live,
    Used,
    Expired,
}

/// Why a token gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nobody made it for this object, or it is not remembered any more.
    Unknown,
    /// Somebody had it before.
    Used,
    /// It came after its lease.
    Expired,
}

/// The tokens of one context on one task.
#[derive(Debug)]
pub(crate) struct Tokens {
    chance: Chance,
    known: BTreeMap<TokenSecret, (ObjectId, Fate)>,
    /// When leases end. All are equally long, so the order is that of making.
    leases: VecDeque<(Instant, TokenSecret)>,
    /// When those whose lease is over are forgotten.
    remembered: VecDeque<(Instant, TokenSecret)>,
}

impl Tokens {
    /// None yet. What makes them hard to guess is drawn from `chance`.
    pub(crate) fn new(chance: Chance) -> Self {
        Self { chance, known: BTreeMap::new(), leases: VecDeque::new(), remembered: VecDeque::new() }
    }

    /// How many are live or remembered.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// A token for an object, of which the caller gives it one count.
    pub(crate) fn make(&mut self, object: ObjectId, now: Instant) -> TokenSecret {
        let secret = loop {
            let secret = TokenSecret { high: self.chance.bits(), low: self.chance.bits() };
            if !self.known.contains_key(&secret) {
                break secret;
            }
        };
        self.known.insert(secret, (object, Fate::Live));
        self.leases.push_back((now + LEASE, secret));
        secret
    }

    /// The count of a token is its bearer's from now on.
    pub(crate) fn take(&mut self, object: ObjectId, secret: TokenSecret) -> Result<(), Refused> {
        match self.known.get_mut(&secret).filter(|(of, _)| *of == object) {
            None => Err(Refused::Unknown),
            Some((_, Fate::Used)) => Err(Refused::Used),
            Some((_, Fate::Expired)) => Err(Refused::Expired),
            Some((_, fate)) => {
                *fate = Fate::Used;
                Ok(())
            }
        }
    }

    /// Ends leases and forgets tokens. Gives the objects of which nobody took the count.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<ObjectId> {
        let mut unused = Vec::new();
        while let Some((until, secret)) = self.leases.pop_front_if(|(until, _)| *until <= now) {
            self.remembered.push_back((until + LEASE, secret));
            if let Some((object, fate @ Fate::Live)) = self.known.get_mut(&secret) {
                *fate = Fate::Expired;
                unused.push(*object);
            }
        }
        while let Some((_, secret)) = self.remembered.pop_front_if(|(until, _)| *until <= now) {
            self.known.remove(&secret);
        }
        unused
    }

    /// When there is something to [expire](Self::expire).
    pub(crate) fn earliest(&self) -> Option<Instant> {
        let first = |queue: &VecDeque<(Instant, TokenSecret)>| queue.front().map(|(at, _)| *at);
        first(&self.leases).into_iter().chain(first(&self.remembered)).min()
    }
}
