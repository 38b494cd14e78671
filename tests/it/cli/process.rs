//! Processes and folders that tests make, and that end with them.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

/// Longer than anything here takes on a machine that is busy with other things.
const LIMIT: Duration = Duration::from_secs(90);

/// A process that runs. It is killed when this is dropped.
pub(super) struct Process {
    id: u32,
    lines: Receiver<String>,
    end: Receiver<End>,
    has_ended: bool,
}

/// How a process ended.
#[derive(Debug)]
pub(super) struct End {
    /// Its status; `None` if a signal ended it.
    pub(super) status: Option<i32>,
    /// The lines on stdout that were not asked for before.
    pub(super) stdout: Vec<String>,
    pub(super) stderr: String,
}

impl Process {
    pub(super) fn remex(arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> Self {
        Self::start(Command::new(env!("CARGO_BIN_EXE_remex")).args(arguments))
    }

    pub(super) fn start(command: &mut Command) -> Self {
        let command = command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let id = child.id();
        let (say_line, lines) = channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| say_line.send(line))
        });
        let (say_end, end) = channel();
        thread::spawn(move || {
            let mut said = String::new();
            stderr.read_to_string(&mut said).unwrap();
            let status = child.wait().unwrap().code();
            say_end.send(End { status, stdout: Vec::new(), stderr: said })
        });
        Self { id, lines, end, has_ended: false }
    }

    /// The next line on stdout; `None` if there is none any more.
    pub(super) fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line on stdout within {LIMIT:?}"),
        }
    }

    /// Sends a signal: `TERM`, `KILL`.
    pub(super) fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.id)).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(super) fn end(mut self) -> End {
        let mut end = self.end.recv_timeout(LIMIT).expect("it ends in time");
        self.has_ended = true;
        end.stdout = self.lines.iter().collect();
        end
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended && self.end.try_recv().is_err() {
            self.signal("KILL");
        }
    }
}

/// Starts a worker and waits until it listens; gives its address.
pub(super) fn serve(index: u32, listen: &str) -> (Process, String) {
    let mut worker = Process::remex(["serve", "--index", &index.to_string(), "--listen", listen]);
    let line = worker.line().unwrap_or_default();
    let address = line.strip_prefix("listening on ").map(str::to_owned);
    match address {
        Some(address) => (worker, address),
        None => panic!("it said {line:?} and ended with {:?}", worker.end()),
    }
}

/// Runs the program to its end.
pub(super) fn remex(arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> End {
    Process::remex(arguments).end()
}

impl End {
    /// It failed, with this status and a sentence on stderr that contains this.
    pub(super) fn assert_failed(&self, status: i32, sentence: &str) {
        assert!(self.status == Some(status) && self.stderr.contains(sentence), "expected {sentence:?} of {self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "one sentence: {self:?}");
    }

    pub(super) fn assert_done(&self) {
        assert!(self.status == Some(0) && self.stderr.is_empty(), "{self:?}");
    }
}

/// A folder of a test's own, removed when this is dropped. Its path is short enough for a socket in it.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// `test` tells it from those of other tests.
    pub(super) fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("remex-{}-{test}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The address of a socket in it.
    pub(super) fn socket(&self, name: &str) -> String {
        format!("unix:{}", self.0.join(name).display())
    }
}

impl AsRef<OsStr> for Folder {
    fn as_ref(&self) -> &OsStr {
        self.0.as_os_str()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file of the repository.
pub(super) fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
