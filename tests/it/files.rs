//! Tensors that go from files to tasks and back, part by part.

use std::{fs, io::Write, path::PathBuf};

use remex::{prelude::*, tensor::npy};

use crate::support::{assert_error, cluster, device, end, fail, put, stats};

/// A folder of a test's own, removed when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("remex-files-{}-{test}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Of sizes below, at and above a part and the window of parts.
#[actix::test]
async fn files_go_to_a_task_and_come_back() {
    let (folder, cluster) = (Folder::new("round"), cluster(2).await);
    let context = cluster.context().await.unwrap();
    for i in 0..2 {
        let device = device(i).parse().unwrap();
        for len in [0, 1, 65_535, 65_536, 65_537, 65_536 * 20 + 3] {
            let tensor = Tensor::from_slice([len], &(0..len as i32).collect::<Vec<_>>()).unwrap();
            let (npy_file, tensors) = (folder.join("a.npy"), folder.join("b.safetensors"));
            fs::write(&npy_file, npy::to_bytes(&tensor).unwrap()).unwrap();
            let object = context.put_file(&device, &npy_file, None).await.unwrap();
            assert_eq!(context.fetch(&object).await.unwrap(), tensor);
            assert_eq!(context.fetch_to_file(&object, &tensors).await.unwrap(), *tensor.metadata());
            let object = context.put_file(&device, &tensors, Some("tensor")).await.unwrap();
            context.fetch_to_file(&object, &npy_file).await.unwrap();
            assert_eq!(npy::from_bytes(&fs::read(&npy_file).unwrap().into()).unwrap(), tensor);
        }
    }
    assert_eq!(folder.names(), ["a.npy", "b.safetensors"], "nothing else is left");
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, 1);
    end(cluster, context).await;
}

/// Nothing is left on the task or in the folder of what could not be done.
#[actix::test]
async fn files_that_are_wrong_are_refused() {
    let (folder, cluster) = (Folder::new("wrong"), cluster(2).await);
    let context = cluster.context().await.unwrap();
    let device = device(1).parse().unwrap();
    let tensor = Tensor::from_slice([2, 2], &[1f32; 4]).unwrap();
    let plain = npy::to_bytes(&tensor).unwrap();
    let replaced = |from: &str, to: &str| {
        let at = plain.windows(from.len()).position(|bytes| bytes == from.as_bytes()).unwrap();
        [&plain[..at], to.as_bytes(), &plain[at + from.len()..]].concat()
    };
    let files = [
        ("big.npy", replaced("<f4", ">f4"), "are big-endian or column-major"),
        ("column.npy", replaced("False", "True "), "are big-endian or column-major"),
        ("short.npy", plain[..plain.len() - 1].to_vec(), "do not fit that"),
        ("long.npy", [&plain[..], b"x"].concat(), "do not fit that"),
        ("text.npy", b"hello there".to_vec(), "not a .npy file"),
        ("text.safetensors", b"hello there".to_vec(), "not a .safetensors file"),
        ("a.txt", plain.clone(), "is neither .npy nor .safetensors"),
    ];
    for (name, bytes, words) in files {
        fs::write(folder.join(name), bytes).unwrap();
        let error = context.put_file(&device, folder.join(name), None).await.unwrap_err();
        assert_error(&error, ErrorCode::InvalidArgument, &[words, name]);
    }
    let error = context.put_file(&device, folder.join("none.npy"), None).await.unwrap_err();
    assert_error(&error, ErrorCode::NotFound, &["none.npy"]);
    let before = folder.names();
    let object = put(&context, 1, &[1.0]).await;
    let error = context.fetch_to_file(&object, folder.join("no/such.npy")).await.unwrap_err();
    assert_error(&error, ErrorCode::NotFound, &["cannot be written"]);
    context.delete(std::slice::from_ref(&object)).await.unwrap();
    fs::write(folder.join("kept.npy"), b"as it was").unwrap();
    let error = context.fetch_to_file(&object, folder.join("kept.npy")).await.unwrap_err();
    assert_error(&error, ErrorCode::NotFound, &["there is no object"]);
    assert_eq!(fs::read(folder.join("kept.npy")).unwrap(), b"as it was");
    fs::remove_file(folder.join("kept.npy")).unwrap();
    assert_eq!((folder.names(), stats(&cluster, 1).await.1), (before, 1));
    end(cluster, context).await;
}

/// The object of a file that changes under way never becomes ready, and is freed.
#[actix::test]
async fn a_file_that_changes_is_noticed() {
    let (folder, cluster) = (Folder::new("changed"), cluster(2).await);
    let context = cluster.context().await.unwrap();
    let (device, file) = (device(1).parse().unwrap(), folder.join("a.npy"));
    for change in ["longer", "shorter"] {
        let tensor = Tensor::from_slice([1 << 20], &vec![1f32; 1 << 20]).unwrap();
        fs::write(&file, npy::to_bytes(&tensor).unwrap()).unwrap();
        cluster.hold();
        let changed = async {
            // The put waits for its first answer; the file is open.
            cluster.settle().await;
            let mut open = fs::OpenOptions::new().append(true).open(&file).unwrap();
            match change {
                "longer" => open.write_all(b"more").unwrap(),
                _ => open.set_len(1 << 20).unwrap(),
            }
            cluster.release();
        };
        let (put, ()) = tokio::join!(context.put_file(&device, &file, None), changed);
        let error = put.unwrap_err();
        assert_error(&error, ErrorCode::FailedPrecondition, &["changed while it was read", "a.npy"]);
        cluster.settle().await;
        assert_eq!(
            (stats(&cluster, 1).await.1, cluster.task(1).stats().await.unwrap().memory_used),
            (1, 0),
            "{change}"
        );
    }
    end(cluster, context).await;
}

#[actix::test]
async fn a_handle_saves_what_is_made() {
    let (folder, cluster) = (Folder::new("save"), crate::support::builder(2));
    let cluster = cluster.program("never", fail()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (add, never) =
        (crate::support::register(&context, 1, "add").await, crate::support::register(&context, 1, "never").await);
    let a = put(&context, 1, &[1.0, 2.0]).await;
    let call = context.execute(RemoteExecute::new(&add).inputs([&a, &a]).handles(1)).await.unwrap();
    let metadata = call.handles[0].save(folder.join("sum.npy")).await.unwrap();
    assert_eq!(metadata.to_string(), "f32[2]");
    let saved = npy::from_bytes(&fs::read(folder.join("sum.npy")).unwrap().into()).unwrap();
    assert_eq!(crate::support::elements(&saved), [2.0, 4.0]);
    let call = context.execute(RemoteExecute::new(&never).input(&a).handles(1)).await.unwrap();
    let error = call.handles[0].save(folder.join("never.npy")).await.unwrap_err();
    assert_error(&error, ErrorCode::OutOfRange, &["the sky is not the limit"]);
    assert_eq!(folder.names(), ["sum.npy"]);
    end(cluster, context).await;
}
