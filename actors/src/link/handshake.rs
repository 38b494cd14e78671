//! What two tasks say first.

use std::{future::poll_fn, time::Duration};

use remex_protocol::{
    Body, ErrorCode, Frame, RemoteError,
    cluster::TaskName,
    handshake::{Credits, Hello, Limits, MAGIC, VERSION, Welcome},
    ids::{CallId, Incarnation},
    tensor::BufferPool,
};

use crate::{
    Error, Result,
    chance::Chance,
    fabric::{Connection, FabricError, Traffic},
};

/// A side that has not finished the handshake after so long is refused.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Who a task is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub task: TaskName,
    /// Which run of it.
    pub incarnation: Incarnation,
    /// Where its connections take memory for payloads from.
    pub buffers: BufferPool,
    /// Where the bytes of its connections are counted.
    pub traffic: Traffic,
    /// What it draws from.
    pub chance: Chance,
}

/// Why a handshake failed: the peer said no, or nobody could be talked to.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// There is a task, and it will not talk. Trying again is of no use.
    Said(RemoteError),
    /// There is none, or it broke off.
    Unreachable(String),
}

/// Where a dialler stands in its session.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Counts the connections.
    pub epoch: u64,
    /// Names the session; 0: it cannot be resumed.
    pub session: u64,
    /// A session that was given up; 0: none.
    pub replaces: u64,
    /// How long it is tried to connect again after a loss.
    pub window: Duration,
    /// Highest number that was accepted.
    pub accepted: u64,
    /// Numbers whose payload is not whole.
    pub unfinished: Vec<u64>,
    /// The number of the lane that is dialled; 0: it is no lane.
    pub lane: u64,
}

/// Introduces `who` to the task at the other end. `expected`: the name that the task should have, if it is known.
pub(crate) async fn dial(
    connection: &mut Connection,
    who: &Identity,
    expected: Option<&TaskName>,
    place: Place,
) -> Result<Welcome, Refusal> {
    connection.reader.use_buffers(&who.buffers);
    connection.count(&who.traffic);
    let hello = Hello {
        magic: MAGIC.to_owned(),
        version: VERSION,
        oldest: VERSION,
        incarnation: who.incarnation,
        task: who.task.clone(),
        epoch: place.epoch,
        session: place.session,
        replaces: place.replaces,
        window_ms: u64::try_from(place.window.as_millis()).unwrap_or(u64::MAX),
        resume: place.accepted,
        unfinished: place.unfinished,
        lane: place.lane,
        limits: Limits::default(),
        credentials: Vec::new(),
    };
    let unreachable = |error: FabricError| Refusal::Unreachable(error.to_string());
    send(connection, Body::Hello(Box::new(hello))).await.map_err(unreachable)?;
    let welcome = match first(connection).await.map_err(unreachable)? {
        Body::Welcome(welcome) => *welcome,
        Body::Refused(error) => return Err(Refusal::Said(*error)),
        other => return Err(Refusal::Unreachable(format!("the handshake was answered with {other:?}"))),
    };
    if welcome.version != VERSION {
        let message = format!("the peer speaks version {}, this task {VERSION}: run the same version", welcome.version);
        return Err(Refusal::Said(RemoteError::new(ErrorCode::FailedPrecondition, message)));
    }
    if let Some(expected) = expected.filter(|expected| **expected != welcome.task) {
        let message =
            format!("{expected} was expected there, but {} answered: mend the cluster's addresses", welcome.task);
        return Err(Refusal::Said(RemoteError::new(ErrorCode::TaskNotFound, message)));
    }
    Ok(welcome)
}

/// Reads the Hello of who dialled.
pub(crate) async fn greet(connection: &mut Connection) -> Result<Hello> {
    let refused = |message: String| Error::new(ErrorCode::FailedPrecondition, message);
    match first(connection).await {
        Ok(Body::Hello(hello)) => Ok(*hello),
        Ok(_) => Err(refused("the first frame was no Hello".to_owned())),
        Err(error) => Err(refused(format!("no handshake: {error}"))),
    }
}

/// Answers a Hello: with a welcome, or with why not, which ends the connection.
pub(crate) async fn answer(connection: &mut Connection, answer: Result<Welcome, RemoteError>) -> Result<()> {
    let (body, no) = match answer {
        Ok(welcome) => (Body::Welcome(Box::new(welcome)), None),
        Err(error) => (Body::Refused(Box::new(error.clone())), Some(Error::from(error))),
    };
    let failed = |why: String| Error::new(ErrorCode::FailedPrecondition, format!("no handshake: {why}"));
    let said = async {
        send(connection, body).await?;
        if no.is_some() {
            let _ = poll_fn(|cx| connection.writer.poll_close(cx)).await;
        }
        Ok(())
    };
    // Who does not read would hold this for ever.
    let said: Result<(), FabricError> = match tokio::time::timeout(HANDSHAKE_TIMEOUT, said).await {
        Ok(said) => said,
        Err(_) => {
            return Err(failed(format!("the peer did not read its answer within {} s", HANDSHAKE_TIMEOUT.as_secs())));
        }
    };
    said.map_err(|error| failed(error.to_string()))?;
    no.map_or(Ok(()), Err)
}

/// What a Hello is answered with, if it begins a session.
pub fn welcome(hello: &Hello, who: &Identity, credits: Credits) -> Result<Welcome, RemoteError> {
    let no = |code, message| Err(RemoteError::new(code, message).on_task(&who.task));
    if hello.magic != MAGIC {
        return no(ErrorCode::InvalidArgument, format!("the magic word is {MAGIC:?}, not {:?}", hello.magic));
    }
    if hello.version < VERSION || hello.oldest > VERSION {
        let message = format!(
            "{} speaks versions {} to {}, this task {VERSION}: run the same version",
            hello.task, hello.oldest, hello.version
        );
        return no(ErrorCode::FailedPrecondition, message);
    }
    if hello.session == 0 && hello.resume != 0 {
        let message = "a session without a name cannot be resumed: begin a fresh one, or give each session a name";
        return no(ErrorCode::FailedPrecondition, message.to_owned());
    }
    Ok(Welcome {
        version: VERSION,
        incarnation: who.incarnation,
        task: who.task.clone(),
        epoch: hello.epoch,
        resumed: false,
        resume: 0,
        unfinished: Vec::new(),
        lease_ms: 0,
        lane: 0,
        credits,
        limits: Limits::default(),
    })
}

async fn send(connection: &mut Connection, body: Body) -> Result<(), FabricError> {
    connection.writer.push(Frame::new(CallId::default(), body))?;
    poll_fn(|cx| connection.writer.poll_flush(cx)).await
}

/// The first frame of the other side. Nothing may follow it before this side has spoken again.
async fn first(connection: &mut Connection) -> Result<Body, FabricError> {
    let mut frames = Vec::new();
    let read = poll_fn(|cx| connection.reader.poll_read(cx, &mut frames));
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, read).await {
        Err(_) => Err(FabricError::Closed),
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) => frames.into_iter().next().map(|frame| frame.body).ok_or(FabricError::Closed),
    }
}

#[cfg(test)]
mod tests {
    use remex_protocol::handshake::Version;

    use super::*;

    fn hello() -> Hello {
        Hello {
            magic: MAGIC.to_owned(),
            version: VERSION,
            oldest: VERSION,
            incarnation: Incarnation(1),
            task: "/job:client/task:0".parse().unwrap(),
            epoch: 1,
            session: 0,
            replaces: 0,
            window_ms: 0,
            resume: 0,
            unfinished: Vec::new(),
            lane: 0,
            limits: Limits::default(),
            credentials: Vec::new(),
        }
    }

    fn worker() -> Identity {
        Identity {
            task: "/job:worker/task:0".parse().unwrap(),
            incarnation: Incarnation(2),
            buffers: BufferPool::default(),
            traffic: Traffic::default(),
            chance: Chance::of_system(),
        }
    }

    /// I8: neither a Welcome nor a refusal waits for ever to be read.
    #[tokio::test]
    async fn who_does_not_read_the_answer_is_given_up() {
        tokio::time::pause();
        let welcome = welcome(&hello(), &worker(), Credits::default());
        for said in [welcome, Err(RemoteError::new(ErrorCode::Unavailable, "no"))] {
            let (here, _there) = tokio::io::duplex(16);
            let (reader, writer) = tokio::io::split(here);
            let mut connection = crate::fabric::stream::connection(reader, writer, "a pipe".to_owned(), true, false);
            let begin = tokio::time::Instant::now();
            let error = answer(&mut connection, said).await.unwrap_err();
            assert!(error.message().contains("did not read its answer within 5 s"), "{error}");
            assert!((5_000..5_010).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
        }
    }

    #[test]
    fn another_version_is_refused_with_both_named() {
        let who = worker();
        assert!(welcome(&hello(), &who, Credits::default()).is_ok());
        let old = Version { major: 0, minor: 0 };
        let error = welcome(&Hello { version: old, oldest: old, ..hello() }, &who, Credits::default()).unwrap_err();
        assert!(error.message.contains("0.0") && error.message.contains("0.1"), "{error}");
        let error = welcome(&Hello { magic: "x".to_owned(), ..hello() }, &who, Credits::default()).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        let error = welcome(&Hello { resume: 1, ..hello() }, &who, Credits::default()).unwrap_err();
        assert!(error.message.contains("cannot be resumed"), "{error}");
    }
}
