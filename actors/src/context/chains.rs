//! The chain that ops on each task are threaded on.

use std::sync::{Arc, Mutex, PoisonError};

use remex_protocol::ids::TaskIndex;

use super::ContextShared;
use crate::{
    Result,
    handles::{Chain, Execution, RemoteChain},
};

/// Per task, the chain of the op that was issued last: the next one comes after it.
#[derive(Debug)]
pub(crate) struct RemoteChainManager(Vec<Mutex<Option<Last>>>);

/// The op that was issued last.
#[derive(Debug)]
struct Last {
    chain: RemoteChain,
    done: Chain,
}

impl RemoteChainManager {
    pub(crate) fn new(tasks: usize) -> Self {
        Self((0..tasks).map(|_| Mutex::default()).collect())
    }

    /// Issues a call that comes after the last one on a task, and that the next one comes after. `issue` is given both
    /// chains; the lock is held over it, so that no two calls come after the same one. If it fails, the chain stays as it
    /// is: what was not sent holds up nobody.
    pub(crate) fn thread(
        &self,
        context: &Arc<ContextShared>,
        task: TaskIndex,
        issue: impl FnOnce(RemoteChain, RemoteChain) -> Result<Execution>,
    ) -> Result<Execution> {
        let mut last = self.0[task.position()].lock().unwrap_or_else(PoisonError::into_inner);
        // An op that is known to have failed has failed what was sent behind it; what comes now begins anew.
        let in_chain = match &*last {
            Some(last) if !matches!(last.done.try_get(), Some(Err(_))) => last.chain.clone(),
            Some(_) | None => context.ready_chain_of(task)?,
        };
        let out_chain = RemoteChain::new(context.new_object(context.first_device(task)?));
        let execution = issue(in_chain, out_chain.clone())?;
        // The old chain is dropped here, behind the call that comes after it: the task is told that it may go.
        *last = Some(Last { chain: out_chain, done: execution.chain.clone() });
        Ok(execution)
    }

    /// What lived on a task is lost, and its chains with it: what comes now begins anew.
    pub(crate) fn forget(&self, task: TaskIndex) {
        let last = self.0[task.position()].lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(last);
    }

    /// The context is over. Chains refer to it, so it must not keep them.
    pub(crate) fn clear(&self) {
        for last in &self.0 {
            drop(last.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}
