//! What happened in a simulation, line by line. Pure.

use std::{fmt, sync::Arc, time::Duration};

use remex_protocol::frame::HEAD_LEN;

use super::faults::Fate;
use crate::fabric::loopback::head::describe;

/// What happened, in order: every frame with what became of it, and what befell tasks and links. Its `Display` is a script
/// for people; two runs of one seed print the same bytes.
///
/// ```text
///      12 ms  0 → 2: RemoteExecute r7.1, 118 B, +3 ms
///      15 ms  2 → 0: Completed RemoteExecute r7.1, 96 B, LOST
///     913 ms  task 2 is killed
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq)]
struct Line {
    at: Duration,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Frame { from: Arc<str>, to: Arc<str>, head: [u8; HEAD_LEN], len: usize, fate: Fate },
    Note(String),
}

impl Trace {
    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether nothing has happened.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The last lines.
    #[must_use]
    pub fn tail(&self, lines: usize) -> Self {
        Self { lines: self.lines[self.lines.len().saturating_sub(lines)..].to_vec() }
    }

    pub(super) fn note(&mut self, at: Duration, text: String) {
        self.lines.push(Line { at, what: What::Note(text) });
    }

    pub(super) fn frame(&mut self, at: Duration, from: &Arc<str>, to: &Arc<str>, frame: &[u8], fate: Fate) {
        let Some(head) = frame.first_chunk::<HEAD_LEN>() else { return };
        let what = What::Frame { from: from.clone(), to: to.clone(), head: *head, len: frame.len(), fate };
        self.lines.push(Line { at, what });
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { at, what } in &self.lines {
            write!(f, "{:>8} ms  ", at.as_millis())?;
            match what {
                What::Frame { from, to, head, len, fate } => {
                    writeln!(f, "{from} → {to}: {}, {len} B, {fate}", describe(head))?;
                }
                What::Note(text) => writeln!(f, "{text}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use remex_protocol::frame::kind;

    use super::{super::faults::Kind, *};

    #[test]
    fn it_reads_as_a_script() {
        let (a, b): (Arc<str>, Arc<str>) = ("0".into(), "1".into());
        let mut frame = [0; HEAD_LEN + 5];
        frame[0] = kind::HEARTBEAT;
        let mut trace = Trace::default();
        let fate = Fate { latency: Duration::from_millis(3), kind: Kind::Repeated };
        trace.frame(Duration::from_millis(12), &a, &b, &frame, fate);
        trace.note(Duration::from_secs(3), "task 1 is killed".to_owned());
        let len = frame.len();
        let first = format!("      12 ms  0 → 1: Heartbeat, {len} B, +3 ms, REPEATED\n");
        assert_eq!(trace.to_string(), format!("{first}    3000 ms  task 1 is killed\n"));
        assert_eq!((trace.len(), trace.tail(1).to_string().lines().count()), (2, 1));
        assert_eq!(trace.tail(9), trace);
    }
}
