//! The books of a drill: they are kept outside of all tasks, and no fault reaches them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// So much later than its deadline may something settle.
const TOLERANCE: Duration = Duration::from_millis(1);
/// So many problems are told.
const TOLD: usize = 20;

/// The books. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    last: u64,
    /// How often the call of a number was executed.
    runs: BTreeMap<u64, u32>,
    totals: Totals,
    problems: Vec<String>,
}

/// The numbers of one drill, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Calls of all kinds.
    pub(crate) calls: u64,
    /// Calls that were answered well.
    pub(crate) answered: u64,
    /// Promises that were given out: chains, metadata, tensors, results.
    pub(crate) given: u64,
    /// Those of them that settled.
    pub(crate) settled: u64,
    /// Runs of programs and ops.
    pub(crate) executed: u64,
    /// Calls that were executed more than once.
    pub(crate) twice: u64,
    /// Effects that were gone, or never there, though the call had been answered well.
    pub(crate) lost: u64,
    /// Objects, jobs and contexts that nobody refers to.
    pub(crate) leaked: u64,
    /// Calls that ran though their error says that they did not.
    pub(crate) belied: u64,
    /// Values that are not what they should be.
    pub(crate) wrong: u64,
    /// How long after its deadline the last promise settled, while its task was running.
    pub(crate) late: Duration,
}

impl Totals {
    /// Whether everything holds that must hold.
    pub(crate) fn hold(&self) -> bool {
        let never = self.twice + self.lost + self.leaked + self.belied + self.wrong;
        never == 0 && self.settled == self.given && self.late <= TOLERANCE
    }

    /// Adds those of another drill.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { calls, answered, given, settled, executed, twice, lost, leaked, belied, wrong, late } = other;
        self.calls += calls;
        self.answered += answered;
        self.given += given;
        self.settled += settled;
        self.executed += executed;
        self.twice += twice;
        self.lost += lost;
        self.leaked += leaked;
        self.belied += belied;
        self.wrong += wrong;
        self.late = self.late.max(*late);
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "calls                                 {:>9}", self.calls)?;
        writeln!(f, "  answered well                       {:>9}", self.answered)?;
        writeln!(f, "promises given                        {:>9}", self.given)?;
        writeln!(f, "promises settled                      {:>9}", self.settled)?;
        writeln!(f, "programs and ops executed             {:>9}", self.executed)?;
        writeln!(f, "  executed twice                      {:>9}", self.twice)?;
        writeln!(f, "  executed though said not to be      {:>9}", self.belied)?;
        writeln!(f, "effects lost after an answer          {:>9}", self.lost)?;
        writeln!(f, "wrong values                          {:>9}", self.wrong)?;
        writeln!(f, "objects leaked                        {:>9}", self.leaked)?;
        writeln!(f, "longest wait past a deadline          {:>6} ms", self.late.as_secs_f64() * 1e3)
    }
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a call: no other has it.
    pub(super) fn number(&self) -> u64 {
        let mut book = self.book();
        book.last += 1;
        book.last
    }

    /// A call is made.
    pub(super) fn call(&self) {
        self.book().totals.calls += 1;
    }

    /// A call was answered well.
    pub(super) fn answered(&self) {
        self.book().totals.answered += 1;
    }

    /// The call of a number is executed.
    pub(super) fn ran(&self, number: u64) {
        let mut book = self.book();
        book.totals.executed += 1;
        let runs = book.runs.entry(number).or_default();
        *runs += 1;
        if *runs == 2 {
            book.totals.twice += 1;
            let problem = format!("call {number} was executed twice");
            book.problems.push(problem);
        }
    }

    /// How often the call of a number was executed.
    pub(super) fn runs(&self, number: u64) -> u32 {
        self.book().runs.get(&number).copied().unwrap_or_default()
    }

    pub(super) fn given(&self) {
        self.book().totals.given += 1;
    }

    /// Whoever was given a promise is gone, and the promise with it.
    pub(super) fn taken_back(&self) {
        self.book().totals.given -= 1;
    }

    /// A promise settled, so long after its deadline.
    pub(super) fn settled(&self, late: Duration, what: impl FnOnce() -> String) {
        let mut book = self.book();
        book.totals.settled += 1;
        book.totals.late = book.totals.late.max(late);
        if late > TOLERANCE {
            let problem = format!("{} settled {late:?} after its deadline", what());
            book.problems.push(problem);
        }
    }

    pub(super) fn lost(&self, problem: String) {
        let mut book = self.book();
        book.totals.lost += 1;
        book.problems.push(problem);
    }

    pub(super) fn belied(&self, problem: String) {
        let mut book = self.book();
        book.totals.belied += 1;
        book.problems.push(problem);
    }

    pub(super) fn wrong(&self, problem: String) {
        let mut book = self.book();
        book.totals.wrong += 1;
        book.problems.push(problem);
    }

    pub(super) fn leaked(&self, count: usize, problem: String) {
        let mut book = self.book();
        book.totals.leaked += count as u64;
        book.problems.push(problem);
    }

    pub(super) fn problem(&self, problem: String) {
        self.book().problems.push(problem);
    }

    /// The drill is over: what has not settled never will.
    pub(super) fn close(&self) {
        let mut book = self.book();
        let Totals { given, settled, .. } = book.totals;
        if given != settled {
            book.problems.push(format!("{given} promises were given and {settled} settled"));
        }
    }

    pub(super) fn totals(&self) -> Totals {
        self.book().totals.clone()
    }

    /// What did not hold; the first of many.
    pub(super) fn problems(&self) -> Vec<String> {
        self.book().problems.iter().take(TOLD).cloned().collect()
    }
}
