//! Where connections are left for their session. A message cannot carry one, since it belongs to its arbiter.

use std::cell::{Cell, RefCell};

use crate::{fabric::Connection, link::Point};

/// A connection whose handshake is over, with its epoch and with what its dialler has of this session's frames. The last
/// one that came, until the session takes it.
#[derive(Debug, Default)]
pub struct Door {
    control: RefCell<Option<(Connection, u64, Point)>>,
    /// Epoch and number of the lane that may come.
    expected: Cell<Option<(u64, u64)>>,
    /// A lane, and the epoch of the connection that it is for.
    lane: RefCell<Option<(Connection, u64)>>,
}

impl Door {
    /// Leaves a connection; one of an older epoch that is still there is dropped.
    pub(crate) fn leave(&self, connection: Connection, epoch: u64, point: Point) {
        let mut left = self.control.borrow_mut();
        if left.as_ref().is_none_or(|(_, other, _)| *other < epoch) {
            *left = Some((connection, epoch, point));
        }
    }

    /// A lane may come for the connection of this epoch, under this number, and no other one any more. Gives the number, or 0.
    pub(crate) fn expect_lane(&self, epoch: u64, number: Option<u64>) -> u64 {
        self.expected.set(number.map(|number| (epoch, number)));
        number.unwrap_or_default()
    }

    /// Whether it is the lane that may come.
    pub(crate) fn is_lane(&self, epoch: u64, number: u64) -> bool {
        self.expected.get() == Some((epoch, number))
    }

    /// Leaves a lane, unless it came meanwhile, or is for a connection that is gone.
    pub(crate) fn leave_lane(&self, lane: Connection, epoch: u64, number: u64) -> bool {
        let is_it = self.is_lane(epoch, number);
        if is_it {
            self.expected.set(None);
            *self.lane.borrow_mut() = Some((lane, epoch));
        }
        is_it
    }

    pub(super) fn take(&self) -> Option<(Connection, u64, Point)> {
        self.control.borrow_mut().take()
    }

    pub(super) fn take_lane(&self, epoch: u64) -> Option<Connection> {
        self.lane.borrow_mut().take().filter(|(_, of)| *of == epoch).map(|(lane, _)| lane)
    }
}
