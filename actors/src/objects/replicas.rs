//! Objects of other tasks that are kept here for as long as a call uses them. Pure.
//!
//! A copy that came for one call serves every other one that names the object before the last of them has ended: one transfer
//! for all of them, and the memory is that of one.

use std::collections::BTreeMap;

use remex_protocol::ids::ObjectId;
use smallvec::SmallVec;

use super::jobs::JobId;

/// Who uses which object of another task.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    objects: BTreeMap<ObjectId, Users>,
    jobs: BTreeMap<JobId, SmallVec<[ObjectId; 2]>>,
}

#[derive(Debug, Default)]
struct Users {
    /// Once for each time that a job names it.
    count: u32,
    /// Whether the table has the copy, which goes with the last user.
    kept: bool,
}

impl Replicas {
    /// A job takes an object of another task, whether or not it is here yet.
    pub(super) fn enter(&mut self, job: JobId, object: ObjectId) {
        self.objects.entry(object).or_default().count += 1;
        self.jobs.entry(job).or_default().push(object);
    }

    /// The object has come. False if nobody uses it any more: it is not kept.
    pub(super) fn keep(&mut self, object: ObjectId) -> bool {
        let users = self.objects.get_mut(&object);
        users.map(|users| users.kept = true).is_some()
    }

    /// A job has ended. Says which objects nobody uses any more.
    #[must_use]
    pub(super) fn leave(&mut self, job: JobId) -> SmallVec<[ObjectId; 2]> {
        // Nearly always: no job here takes anything from elsewhere.
        if self.jobs.is_empty() {
            return SmallVec::new();
        }
        let mut unused = SmallVec::new();
        for object in self.jobs.remove(&job).unwrap_or_default() {
            let Some(users) = self.objects.get_mut(&object) else { continue };
            users.count -= 1;
            if users.count == 0 {
                if users.kept {
                    unused.push(object);
                }
                self.objects.remove(&object);
            }
        }
        unused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::rig::id;

    #[test]
    fn a_copy_is_kept_until_its_last_user_has_ended() {
        let (mut replicas, jobs) = (Replicas::default(), [1, 2, 3].map(JobId));
        // One job takes an object twice.
        for (job, object) in [(0, 7), (0, 7), (0, 8), (1, 7)] {
            replicas.enter(jobs[job], id(object));
        }
        assert!(replicas.keep(id(7)) && !replicas.keep(id(9)));
        assert!(replicas.leave(jobs[0]).is_empty(), "another one uses 7, and 8 has not come");
        assert!(!replicas.keep(id(8)), "nobody waits for it any more");
        assert!(replicas.leave(jobs[2]).is_empty());
        assert_eq!(replicas.leave(jobs[1])[..], [id(7)]);
        assert!(replicas.objects.is_empty() && replicas.jobs.is_empty());
        assert!(!replicas.keep(id(7)));
    }
}
