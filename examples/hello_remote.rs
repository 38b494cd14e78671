//! A worker and a client in one process, connected by TCP: the shortest complete program.
//!
//! ```text
//! $ cargo run --example hello_remote
//! f32[3]
//! [2.0, 4.0, 6.0]
//! ```

#![allow(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use remex::prelude::*;

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let double = native(|inputs| {
        let doubled: Vec<f32> = inputs[0].elements()?.iter().map(|x: &f32| 2.0 * x).collect();
        Ok(vec![Tensor::from_slice(inputs[0].shape().clone(), &doubled)?])
    });
    let worker = Server::builder().task("/job:worker/task:0").listen("tcp://127.0.0.1:0");
    let worker = worker.program("double", double.outputs(1)).start().await?;
    let address = worker.address().cloned().ok_or("the worker does not listen")?;
    let cluster = ClusterConfig::new().with(worker.task().clone(), address)?;

    let client = Server::builder().start().await?;
    let context = client.create_context(ContextConfig::new(cluster)).await?;
    let double = context.register("/job:worker/task:0", RegisterFunction::native("double")).await?;
    let device = context.device_of("/job:worker/task:0")?;
    let x = context.put(&device, Tensor::from_slice([3], &[1f32, 2.0, 3.0])?).await?;
    let call = context.execute(RemoteExecute::new(&double).input(&x).handles(1)).await?;
    println!("{}", call.handles[0].metadata().await?);
    println!("{:?}", call.handles[0].fetch().await?.elements::<f32>()?);

    client.stop().await?;
    Ok(worker.stop().await?)
}
