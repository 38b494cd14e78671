//! The side that answers.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use remex::{
    DType, ErrorCode, Tensor, TensorMetadata,
    actors::fabric::{Connection, FabricError},
    protocol::{
        Body, Call, Frame, RemoteError, Reply,
        calls::{FetchObjectReply, RemoteExecuteReply, RemoteExecuteRequest},
        ids::ObjectId,
    },
};
use tokio::sync::oneshot;

use super::{Failure, exchange, fabric, object};
use crate::cli::bench::worker::announce;

type Table = HashMap<ObjectId, TensorMetadata, RandomState>;

/// Listens and answers everyone until it is told to end.
pub(in crate::cli::bench) async fn serve(
    listen: &str,
    bulk: Tensor,
    mut end: oneshot::Receiver<()>,
) -> Result<(), Failure> {
    let address = listen.parse().map_err(Failure::usage)?;
    let fabric = fabric(&address);
    let mut listener = fabric.listen(&address).await?;
    announce([listener.address()])?;
    loop {
        tokio::select! {
            biased;
            _ = &mut end => return Ok(()),
            connection = listener.accept() => drop(actix::spawn(answer_all(connection?, bulk.clone()))),
        }
    }
}

/// Answers until the other side closes.
async fn answer_all(mut connection: Connection, bulk: Tensor) -> Result<(), FabricError> {
    connection.reader.open();
    let matrix = TensorMetadata::new(DType::F32, [1024, 1024]);
    let mut table = Table::from_iter([(object(1), matrix.clone()), (object(2), matrix)]);
    let (mut frames, mut number) = (Vec::new(), 0);
    loop {
        exchange(&mut connection, &mut frames).await?;
        for frame in frames.drain(..) {
            number += 1;
            let mut reply = answer(&frame, &mut table, &bulk);
            (reply.number, reply.ack) = (number, frame.number);
            connection.writer.push(reply)?;
        }
    }
}

fn answer(frame: &Frame, table: &mut Table, bulk: &Tensor) -> Frame {
    let reply = match &frame.body {
        Body::Call(Call::RemoteExecute(request)) => execute(request, table).map(Reply::RemoteExecute),
        Body::Call(Call::FetchObject(_)) => {
            let reply = Reply::FetchObject(FetchObjectReply { metadata: bulk.metadata().clone() });
            return Frame::new(frame.call, Body::Completed(reply)).with_payload(bulk.bytes().clone());
        }
        _ => Err("this worker answers RemoteExecute and FetchObject".to_owned()),
    };
    match reply {
        Ok(reply) => Frame::new(frame.call, Body::Completed(reply)),
        Err(message) => {
            let kind = if let Body::Call(call) = &frame.body { call.kind() } else { 0 };
            let error = Box::new(RemoteError::new(ErrorCode::InvalidArgument, message));
            Frame::new(frame.call, Body::Failed { kind, error })
        }
    }
}

fn execute(request: &RemoteExecuteRequest, table: &mut Table) -> Result<RemoteExecuteReply, String> {
    let mut found = None;
    for input in &request.inputs {
        found = Some(table.get(&input.object).ok_or_else(|| format!("there is no {}", input.object))?);
    }
    let metadata = found.ok_or("a call needs an input")?.clone();
    for output in &request.outputs {
        table.insert(output.object, metadata.clone());
    }
    Ok(RemoteExecuteReply { metadata: request.outputs.iter().map(|_| Some(metadata.clone())).collect() })
}
