//! Bring-up of a context by a single client: who is there, make it everywhere, or nowhere.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use remex_protocol::{
    DeviceName, Effect, ErrorCode, RemoteError,
    calls::{CloseContextRequest, ContextMode, CreateContextRequest, GetDevicesRequest, KeepAliveRequest},
    cluster::{Address, TaskInfo, TaskName, resolve_groups},
    ids::{ContextIndex, TaskIndex},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{ContextConfig, Discovered};
use crate::{
    Error, Result,
    chance::Chance,
    client::{Receiver, is_unanswered},
    context::{ContextShared, Peer, PeerLink, leave_unanswered},
    deadline,
    server::{Directory, directory::own_address},
};

/// A task may take so long to answer a control call of the bring-up.
pub(super) const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);
/// A task that can be reached may take so long to say who it is, however short the wait.
const LEAST_ATTEMPT: Duration = Duration::from_secs(1);
/// First and longest pause between two attempts to reach a task.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Asks the tasks at these addresses who they are; tries again until `wait` is over.
pub(super) async fn discover(directory: &Directory, addresses: &[Address], wait: Duration) -> Result<Vec<Discovered>> {
    let deadline = deadline::from_now(wait);
    let found = addresses.iter().map(|address| async move {
        let receiver = directory.receiver(None, address)?;
        get_devices(directory.chance(), &receiver, deadline).await
    });
    let found: Vec<Discovered> = join_all(found).await.into_iter().collect::<Result<_>>()?;
    let mut names: BTreeMap<&TaskName, &Address> = BTreeMap::new();
    for task in &found {
        if let Some(other) = names.insert(&task.task, &task.address) {
            let message =
                format!("{} answers at {other} and at {}: give each task its own --index", task.task, task.address);
            return Err(Error::new(ErrorCode::AlreadyExists, message));
        }
    }
    Ok(found)
}

async fn get_devices(chance: &Chance, receiver: &Receiver, deadline: Instant) -> Result<Discovered> {
    let mut pause = BACKOFF.0;
    loop {
        let limit = LEAST_ATTEMPT.max(deadline.saturating_duration_since(Instant::now()));
        let error = match tokio::time::timeout(limit, ask_devices(receiver)).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => error,
            Err(_) => return Err(silent(receiver, limit)),
        };
        let again = matches!(error.code(), ErrorCode::RpcUnavailable | ErrorCode::Unavailable);
        if !again || Instant::now() + pause >= deadline {
            return Err(error);
        }
        // Half of the pause at random, so that many clients do not knock together.
        tokio::time::sleep(chance.between(pause / 2, pause)).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// Somebody took the connection and said nothing.
fn silent(receiver: &Receiver, limit: Duration) -> Error {
    let message = format!("{} cannot be reached: no answer within {:.0} s", receiver.address, limit.as_secs_f64());
    RemoteError::new(ErrorCode::RpcUnavailable, message).with_effect(Effect::NotSent).into()
}

async fn ask_devices(receiver: &Receiver) -> Result<Discovered> {
    receiver.connect().await?;
    let (reply, _) = receiver.call(GetDevicesRequest {}, Bytes::new(), CONTROL_TIMEOUT).await?;
    Ok(Discovered {
        address: receiver.address.clone(),
        task: reply.task,
        incarnation: reply.incarnation,
        devices: reply.devices,
    })
}

/// Finds all tasks of a cluster and makes the tables of a context that spans them and this task. Nothing is made on a
/// task yet.
pub(super) async fn tables(
    directory: &Directory,
    own: TaskInfo,
    own_devices: &[DeviceName],
    config: &ContextConfig,
    id: remex_protocol::ids::ContextId,
    prefix: remex_protocol::ids::ObjectPrefix,
) -> Result<ContextShared> {
    let names = config.cluster.tasks().iter().map(|task| task.name.clone()).filter(|name| *name != own.name);
    let names: Vec<_> = names.chain([own.name.clone()]).collect();
    let groups = resolve_groups(&config.groups, &names)
        .map_err(|error| Error::new(ErrorCode::InvalidArgument, error.to_string()))?;
    let deadline = deadline::from_now(config.wait);
    let others = config.cluster.tasks().iter().filter(|task| task.name != own.name);
    let found = others.map(|task| async move {
        let Some(address) = &task.address else { return Ok((task.clone(), None, Vec::new())) };
        let receiver = directory.receiver(Some(&task.name), address)?;
        let found = get_devices(directory.chance(), &receiver, deadline)
            .await
            .map_err(|error| error.map(|error| error.on_task(&task.name)))?;
        if found.task != task.name {
            let message = format!("{} was expected at {address}, but {} answered", task.name, found.task);
            return Err(Error::new(ErrorCode::TaskNotFound, message));
        }
        Ok((task.clone(), Some(receiver), found.devices))
    });
    let mut peers = Vec::new();
    let mut devices = Vec::new();
    for found in join_all(found).await {
        let (info, receiver, its_devices) = found?;
        devices.extend(its_devices);
        peers.push(Peer::new(info, receiver.map(link).transpose()?));
    }
    devices.extend_from_slice(own_devices);
    let receiver = directory.receiver(Some(&own.name), &own_address())?;
    peers.push(Peer::new(own, Some(link(receiver)?)));
    let own = TaskIndex(peers.len() as u16 - 1);
    Ok(ContextShared::new(id, prefix, own, peers, devices, config.default_deadline)?
        .with_groups(groups)
        .with_maker(config.idle_timeout))
}

pub(super) fn link(receiver: Arc<Receiver>) -> Result<PeerLink> {
    let index = receiver.indexes.take()?;
    Ok(PeerLink::new(receiver, index, 0))
}

/// Makes a context on all its tasks, this one first: there it exists already and is only joined. If one fails, it is
/// closed again on the others.
pub(super) async fn create(shared: &Arc<ContextShared>, own: &TaskName, idle_timeout: Duration) -> Result<()> {
    let tasks: Vec<_> = shared.tasks().cloned().collect();
    let created = shared.peers.iter().filter_map(|peer| peer.link.as_ref().map(|link| (peer, link)));
    let created = created.map(|(peer, link)| {
        let mode = if peer.info.name == *own { ContextMode::Join } else { ContextMode::Create };
        let is_own = mode == ContextMode::Join;
        let request = CreateContextRequest {
            index: link.index,
            context: shared.id,
            mode,
            prefix: shared.prefix,
            tasks: if is_own { Vec::new() } else { tasks.clone() },
            devices: if is_own { Vec::new() } else { shared.devices.clone() },
            idle_timeout_ms: idle_timeout.as_millis() as u64,
            groups: if is_own { Vec::new() } else { shared.groups().to_vec() },
        };
        async move {
            let at = format!("{} at {}", peer.info.name, link.receiver.address);
            let reply = link.receiver.call(request, Bytes::new(), CONTROL_TIMEOUT).await.map_err(|error| {
                if is_unanswered(&error) {
                    let _ = link.unanswered.set(());
                }
                let message = format!("the context could not be made on {at}: {}", error.message());
                error.map(|error| RemoteError { message, ..error }.on_task(&peer.info.name))
            })?;
            let _ = link.ready_chain.set(reply.0.ready_chain);
            Ok(())
        }
    });
    let failed = join_all(created).await.into_iter().find_map(Result::err);
    match failed {
        None => Ok(()),
        Some(error) => {
            close(shared).await;
            Err(error)
        }
    }
}

/// An unreachable task is reported, not awaited longer than this.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Closes a context on all its tasks; gives the errors of those where that failed.
pub(super) async fn close(shared: &Arc<ContextShared>) -> Vec<Error> {
    let closed = shared.peers.iter().filter_map(|peer| peer.link.as_ref().map(|link| (peer, link)));
    let closed = closed.map(|(peer, link)| async move {
        if peer.is_made_again() {
            // The index is given back by whoever made the link again.
            let Some(link) = peer.last_link().filter(|link| link.lost.get().is_none()) else { return Ok(()) };
            let closed = close_on(&link.receiver, link.index).await;
            return closed.map_err(|error| error.map(|error| error.on_task(&peer.info.name)));
        }
        if link.unanswered.get().is_some() {
            leave_unanswered(link);
            return Ok(());
        }
        // A task that has forgotten the context still has its index on the link.
        let linked = |error: &Error| error.code() == ErrorCode::InvalidDistributedContextId;
        let created = link.ready_chain.get().is_some() && link.lost.get().is_none_or(linked);
        let result = if created { close_on(&link.receiver, link.index).await } else { Ok(()) };
        link.receiver.indexes.ended(link.index, &result);
        result.map_err(|error| error.map(|error| error.on_task(&peer.info.name)))
    });
    join_all(closed).await.into_iter().filter_map(Result::err).collect()
}

async fn close_on(receiver: &Receiver, context: ContextIndex) -> Result<()> {
    match receiver.call(CloseContextRequest { context }, Bytes::new(), CLOSE_TIMEOUT).await {
        // It has ended with all that lived there.
        Err(error) if error.code() != ErrorCode::DataLoss => Err(error),
        _ => Ok(()),
    }
}

/// Keeps the context alive until it is closed.
pub(super) fn spawn_keep_alive(shared: &Arc<ContextShared>, idle_timeout: Duration) {
    actix::spawn(keep_alive(Arc::downgrade(shared), shared.over.clone(), idle_timeout));
}

/// Tells all tasks that the context is wanted, at half the idle time-out, for as long as it is open.
async fn keep_alive(shared: std::sync::Weak<ContextShared>, over: Arc<Notify>, idle_timeout: Duration) {
    // Not a pause longer than the context: it would keep its memory.
    while timeout(idle_timeout / 2, over.notified()).await.is_err() {
        let Some(shared) = shared.upgrade().filter(|shared| shared.closed.get().is_none()) else { return };
        let made = shared.peers.iter().filter(|peer| peer.link.is_some()).filter_map(Peer::last_link);
        let links = made.filter(|link| link.lost.get().is_none());
        let told = links.map(|link| async move {
            let request = KeepAliveRequest { context: link.index };
            let told = link.receiver.call(request, Bytes::new(), CONTROL_TIMEOUT).await;
            (link, told)
        });
        for (link, told) in join_all(told).await {
            let Err(error) = told else { continue };
            tracing::warn!(context = %shared.id, %error, "keep-alive failed");
            if error.code() == ErrorCode::InvalidDistributedContextId {
                // What lived there is gone; calls need not be sent to learn that.
                let _ = link.lost.set(error);
            }
        }
    }
}
