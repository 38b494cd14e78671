//! One direction of a connection: bytes on their way, each lot with the time when it arrives. Pure.

use std::{collections::VecDeque, time::Duration};

/// Bytes that may be under way or unread before a writer has to wait, as with a socket.
const CAPACITY: usize = 512 << 10;
/// Bytes that were read are dropped from the front when there are so many.
const KEEP_LEN: usize = 64 << 10;

/// What is delivered at one time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lot {
    Bytes(Vec<u8>),
    /// The stream ends in good order.
    End,
    /// The connection is reset: nothing more is read, and nothing can be written.
    Reset,
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// So many bytes were taken.
    Bytes(usize),
    End,
    Reset,
    /// Nothing, and nothing on its way.
    Nothing,
    /// Nothing yet; something arrives then.
    At(Duration),
}

/// Time is that of the simulation, since its beginning.
#[derive(Debug, Default)]
pub(super) struct Way {
    under_way: VecDeque<(Duration, Lot)>,
    /// Bytes of them.
    under_way_len: usize,
    /// When the last lot has left its sender: a narrow link sends one after the other.
    sent: Duration,
    arrived: Vec<u8>,
    /// So many of `arrived` were read.
    read: usize,
    is_ended: bool,
    is_reset: bool,
}

impl Way {
    /// Sends a lot that takes `latency`, over a link of so many bytes in a second. It arrives after what is under way already:
    /// nothing overtakes.
    pub(super) fn send(&mut self, now: Duration, latency: Duration, bandwidth: Option<u64>, lot: Lot) {
        let len = if let Lot::Bytes(bytes) = &lot { bytes.len() } else { 0 };
        let takes = bandwidth.map_or(Duration::ZERO, |rate| {
            // In whole milliseconds, as tokio's timers are.
            Duration::from_millis((len as u64 * 1_000).div_ceil(rate.max(1)))
        });
        self.sent = self.sent.max(now) + takes;
        let due = self.sent + latency;
        let due = self.under_way.back().map_or(due, |(last, _)| due.max(*last));
        self.under_way_len += len;
        self.under_way.push_back((due, lot));
    }

    pub(super) fn has_room(&self) -> bool {
        self.under_way_len + self.arrived.len() - self.read < CAPACITY
    }

    pub(super) fn is_reset(&self) -> bool {
        self.is_reset
    }

    /// Ends it now, with all that is under way and unread.
    pub(super) fn reset(&mut self) {
        *self = Self { is_reset: true, ..Self::default() };
    }

    /// Lets arrive what is due, and copies as much as there is into `space`.
    pub(super) fn read(&mut self, now: Duration, space: &mut [u8]) -> Found {
        while let Some((_, lot)) = self.under_way.pop_front_if(|(due, _)| *due <= now) {
            match lot {
                Lot::Bytes(bytes) => {
                    self.under_way_len -= bytes.len();
                    self.arrived.extend_from_slice(&bytes);
                }
                Lot::End => self.is_ended = true,
                Lot::Reset => self.is_reset = true,
            }
        }
        let n = space.len().min(self.arrived.len() - self.read);
        if n > 0 {
            space[..n].copy_from_slice(&self.arrived[self.read..self.read + n]);
            self.took(n);
            return Found::Bytes(n);
        }
        match self.under_way.front() {
            _ if self.is_reset => Found::Reset,
            _ if self.is_ended => Found::End,
            Some((due, _)) => Found::At(*due),
            None => Found::Nothing,
        }
    }

    fn took(&mut self, n: usize) {
        self.read += n;
        if self.read == self.arrived.len() {
            self.arrived.clear();
            self.read = 0;
        } else if self.read > KEEP_LEN && self.read > self.arrived.len() / 2 {
            self.arrived.drain(..self.read);
            self.read = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn send(way: &mut Way, now: u64, latency: u64, text: &[u8]) {
        way.send(MS(now), MS(latency), None, Lot::Bytes(text.to_vec()));
    }

    fn read(way: &mut Way, now: u64) -> Result<Vec<u8>, Found> {
        let mut space = [0; 4];
        match way.read(MS(now), &mut space) {
            Found::Bytes(n) => Ok(space[..n].to_vec()),
            other => Err(other),
        }
    }

    #[test]
    fn bytes_arrive_when_they_are_due_and_nothing_overtakes() {
        let mut way = Way::default();
        assert_eq!(read(&mut way, 0), Err(Found::Nothing));
        send(&mut way, 0, 10, b"abcdef");
        send(&mut way, 1, 2, b"gh");
        assert_eq!(read(&mut way, 9), Err(Found::At(MS(10))));
        assert_eq!(read(&mut way, 10), Ok(b"abcd".to_vec()));
        assert_eq!(read(&mut way, 10), Ok(b"efgh".to_vec()));
        assert_eq!(read(&mut way, 10), Err(Found::Nothing));
    }

    #[test]
    fn a_narrow_link_sends_one_lot_after_the_other() {
        let mut way = Way::default();
        for _ in 0..2 {
            way.send(MS(0), MS(5), Some(1_000), Lot::Bytes(b"ab".to_vec()));
        }
        assert_eq!(read(&mut way, 0), Err(Found::At(MS(7))));
        assert_eq!(read(&mut way, 7), Ok(b"ab".to_vec()));
        assert_eq!(read(&mut way, 8), Err(Found::At(MS(9))));
    }

    #[test]
    fn an_end_comes_behind_the_bytes_and_a_reset_too_unless_it_is_now() {
        let mut way = Way::default();
        send(&mut way, 0, 1, b"ab");
        way.send(MS(0), MS(0), None, Lot::End);
        assert_eq!(read(&mut way, 1), Ok(b"ab".to_vec()));
        assert_eq!(read(&mut way, 1), Err(Found::End));
        let mut way = Way::default();
        send(&mut way, 0, 1, b"ab");
        way.send(MS(0), MS(1), None, Lot::Reset);
        assert!(!way.is_reset());
        assert_eq!(read(&mut way, 1), Ok(b"ab".to_vec()));
        assert_eq!(read(&mut way, 1), Err(Found::Reset));
        let mut way = Way::default();
        send(&mut way, 0, 1, b"ab");
        way.reset();
        assert_eq!(read(&mut way, 1), Err(Found::Reset));
    }

    #[test]
    fn what_is_under_way_or_unread_takes_room() {
        let mut way = Way::default();
        way.send(MS(0), MS(1), None, Lot::Bytes(vec![0; CAPACITY]));
        assert!(!way.has_room());
        assert!(way.read(MS(1), &mut [0; 4]) == Found::Bytes(4) && way.has_room());
    }
}
