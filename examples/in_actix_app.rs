//! An actix-web service whose handlers execute on a worker. It calls itself eight times and ends.
//!
//! ```text
//! $ cargo run --example in_actix_app
//! GET /square/0: 0
//! GET /square/1: 1
//! ...
//! GET /square/7: 49
//! GET /square/5000000000: 400 Bad Request: OutOfRange: 5000000000 squared does not fit into a u64 ...
//! ```

#![allow(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use std::{net::SocketAddr, num::NonZeroUsize};

use actix_web::{App, HttpResponse, HttpServer, Responder, get, http::StatusCode, web};
use remex::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const WORKER: &str = "/job:worker/task:0";

/// What all handlers share. Handles are `Send + Sync`: each web thread uses the same ones, and no call passes through
/// another web thread.
struct Remote {
    context: ContextHandle,
    device: DeviceName,
    square: ProgramHandle,
}

impl Remote {
    async fn square(&self, x: u64) -> remex::Result<Tensor> {
        let x = Tensor::scalar(x).map_err(|error| Error::new(ErrorCode::InvalidArgument, error.to_string()))?;
        let x = self.context.put(&self.device, x).await?;
        let call = self.context.execute(RemoteExecute::new(&self.square).input(x).handles(1)).await?;
        call.handles[0].fetch().await
    }
}

#[get("/square/{x}")]
async fn get_square(remote: web::Data<Remote>, x: web::Path<u64>) -> impl Responder {
    let answer = remote.square(*x).await;
    match answer.as_ref().map(Tensor::elements::<u64>) {
        Ok(Ok(square)) => HttpResponse::Ok().body(square[0].to_string()),
        Ok(Err(error)) => HttpResponse::InternalServerError().body(error.to_string()),
        Err(error) => HttpResponse::build(status(error)).body(error.to_string()),
    }
}

/// Whose fault an error is, in the words of HTTP.
fn status(error: &Error) -> StatusCode {
    match error.code() {
        ErrorCode::InvalidArgument | ErrorCode::OutOfRange => StatusCode::BAD_REQUEST,
        ErrorCode::Overloaded | ErrorCode::Unavailable | ErrorCode::RpcUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A worker with one program, on a thread and in a `System` of its own.
async fn worker() -> remex::Result<ServerHandle> {
    let square = native(|inputs| {
        let x = inputs[0].elements::<u64>()?[0];
        let too_large = || ProgramError::new(ErrorCode::OutOfRange, format!("{x} squared does not fit into a u64"));
        Ok(vec![Tensor::scalar(x.checked_mul(x).ok_or_else(too_large)?)?])
    });
    let builder = Server::builder().task(WORKER).listen("tcp://127.0.0.1:0").threads(NonZeroUsize::MIN);
    builder.program("square", square.outputs(1)).start_threaded().await
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let worker = worker().await?;
    let address = worker.address().cloned().ok_or("the worker does not listen")?;
    let cluster = ClusterConfig::new().with(worker.task().clone(), address)?;
    // The client's server runs on the main arbiter; the web threads reach it through the handle.
    let client = Server::builder().start().await?;
    let context = client.create_context(ContextConfig::new(cluster)).await?;
    let square = context.register(WORKER, RegisterFunction::native("square")).await?;
    let device = context.device_of(WORKER)?;
    let remote = web::Data::new(Remote { context: context.clone(), device, square });

    let app = move || App::new().app_data(remote.clone()).service(get_square);
    let web = HttpServer::new(app).workers(4).disable_signals().bind(("127.0.0.1", 0))?;
    let address = web.addrs()[0];
    let web = web.run();
    let stop = web.handle();
    let running = actix_web::rt::spawn(web);

    let paths: Vec<_> = (0u64..8).chain([5_000_000_000]).map(|x| format!("/square/{x}")).collect();
    let answers = futures_util::future::join_all(paths.iter().map(|path| get_once(address, path))).await;
    for (path, answer) in paths.iter().zip(answers) {
        println!("GET {path}: {}", answer?);
    }

    stop.stop(true).await;
    running.await??;
    context.close().await?;
    client.stop().await?;
    Ok(worker.stop().await?)
}

/// One GET on a connection of its own: the body, and before it the status if it is not 200.
async fn get_once(address: SocketAddr, path: &str) -> Result<String, std::io::Error> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.lines().next().unwrap_or_default().trim_start_matches("HTTP/1.1 ");
    Ok(if status == "200 OK" { body.to_owned() } else { format!("{status}: {body}") })
}
