//! Where connections are left for their session. A message cannot carry one, since it belongs to its arbiter.

use std::cell::RefCell;

use crate::{fabric::Connection, link::Point};

/// A connection whose handshake is over, with its epoch and with what its dialler has of this session's frames. The last
/// one that came, until the session takes it.
#[derive(Debug, Default)]
pub struct Door(RefCell<Option<(Connection, u64, Point)>>);

impl Door {
    /// Leaves a connection; one of an older epoch that is still there is dropped.
    pub(crate) fn leave(&self, connection: Connection, epoch: u64, point: Point) {
        let mut left = self.0.borrow_mut();
        if left.as_ref().is_none_or(|(_, other, _)| *other < epoch) {
            *left = Some((connection, epoch, point));
        }
    }

    pub(super) fn take(&self) -> Option<(Connection, u64, Point)> {
        self.0.borrow_mut().take()
    }
}
