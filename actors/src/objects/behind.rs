//! Calls that lack nothing but what other calls of the same turn will give: they go to the executor together with these.
//!
//! Without it each step of a chain of small calls costs a message to the executor and one back. What goes along is an offer:
//! an executor that does not take it up, or finds that what comes before failed, leaves the call as it is, and it is started
//! when its inputs are here, as any other. It runs once (I6): what was offered is not started before the executor has said how
//! the run before it ended, and with that whether it ran.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::{
    jobs::{Input, JobId, Work},
    memory::{Held, Holds},
    reserving::outputs,
    store::Store,
    table::Value,
};
use crate::executor::{Behind, Given, Task};

/// Which input of a call is which output of which task of the batch.
type Links = SmallVec<[(u32, u32, u32); 3]>;

impl Store {
    /// What can go behind `tasks`, in an order in which everything comes after what it takes.
    pub(crate) fn behind(&mut self, tasks: &[Task]) -> Vec<Behind> {
        // Nearly always: nobody waits.
        if tasks.is_empty() || self.spills || self.jobs.len() == tasks.len() {
            return Vec::new();
        }
        let mut behind: Vec<Behind> = Vec::new();
        let mut links: BTreeMap<JobId, Links> = BTreeMap::new();
        let mut next = 0usize;
        loop {
            let task = match next.checked_sub(tasks.len()) {
                None => &tasks[next],
                Some(i) if i < behind.len() => &behind[i].task,
                Some(_) => return behind,
            };
            if task.program.is_always_inline() {
                self.follow(JobId(task.job), next as u32, &mut links, &mut behind);
            }
            next += 1;
        }
    }

    /// Whoever waits for what a task makes has one input more; those that then lack none go behind.
    fn follow(&mut self, maker: JobId, place: u32, links: &mut BTreeMap<JobId, Links>, behind: &mut Vec<Behind>) {
        let Some(run) = self.run_job(maker) else { return };
        let made: SmallVec<[_; 3]> = run.outputs.iter().map(|output| output.id).chain(run.out_chain).collect();
        for (output, object) in made.into_iter().enumerate() {
            let waiters: SmallVec<[_; 2]> = self.table.waiters(object).iter().copied().collect();
            for waiter in waiters {
                let Some(job) = self.jobs.get_mut(waiter.job) else { continue };
                let missing = job.missing as usize;
                let link = (waiter.input, place, output as u32);
                let found = match missing {
                    1 => [link].into_iter().collect(),
                    _ => {
                        let found = links.entry(waiter.job).or_default();
                        found.push(link);
                        if found.len() < missing {
                            continue;
                        }
                        links.remove(&waiter.job).unwrap_or_default()
                    }
                };
                if let Some(sent) = self.send_behind(waiter.job, &found) {
                    behind.push(sent);
                    self.offered.entry(maker).or_default().push(waiter.job);
                }
            }
        }
    }

    fn send_behind(&mut self, id: JobId, links: &Links) -> Option<Behind> {
        let job = self.jobs.get_mut(id)?;
        let (given, deadline) = (job.given(), job.deadline);
        // Memory is asked for, and inputs are looked at, when they are here.
        if job.room.is_some() || outputs(job) > 0 {
            return None;
        }
        let Work::Run(run) = &mut job.work else { return None };
        let program = run.program.clone().filter(|program| program.is_always_inline() && !program.infers())?;
        if run.ahead || run.running {
            return None;
        }
        let mut holds = Holds::new();
        let mut inputs = SmallVec::with_capacity(given);
        for (i, input) in job.inputs[..given].iter().enumerate() {
            inputs.push(match input {
                Input::Here(Held { value: Value::Tensor(tensor), lease }) => {
                    holds.extend(lease.clone());
                    Given::Here(tensor.clone())
                }
                Input::Waiting(_) => {
                    let (_, task, output) = links.iter().find(|(input, ..)| *input as usize == i)?;
                    Given::Output { task: *task, output: *output }
                }
                Input::Here(_) | Input::Kept(_) => return None,
            });
        }
        // A chain that it comes after is an output like the others, and is not given to the program.
        let after = links.iter().filter(|(input, ..)| *input as usize >= given).map(|(_, task, _)| *task).collect();
        run.ahead = true;
        let task = Task {
            job: id.0,
            name: run.name.clone(),
            program,
            inputs: Vec::new(),
            outputs: run.outputs.len(),
            output_ids: Vec::new(),
            baggage: run.baggage.clone(),
            deadline,
            lane: run.lane,
            holds,
            reserved: 0,
        };
        Some(Behind { task, inputs, after })
    }

    /// The executor has said how the runs ended that calls were offered behind. Which of these ran, it has said in the same
    /// message; the others go on as if they had not been offered.
    pub(super) fn start_left(&mut self) {
        for id in std::mem::take(&mut self.left) {
            let Some(job) = self.jobs.get_mut(id) else { continue };
            let missing = job.missing;
            if let Work::Run(run) = &mut job.work {
                run.ahead = false;
            }
            if missing == 0 {
                self.start(id);
            }
        }
    }
}
