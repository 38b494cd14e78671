//! A cluster in a TOML file: its tasks, where they listen, what they have, and its groups.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use remex_protocol::cluster::{Address, ClusterConfig, CollectiveGroup, TaskName, resolve_groups};
use serde::Deserialize;
use toml::Spanned;

use crate::{ContextConfig, Server, ServerBuilder};

/// A cluster as a file describes it; [`guide::configuration`](crate::guide::configuration) has the keys.
///
/// ```
/// # use remex::ClusterFile;
/// let file: ClusterFile = r#"
///     deadline = "30s"
///
///     [job.worker]
///     tasks = ["tcp://10.0.0.1:7000", "tcp://10.0.0.2:7000"]
///     devices = ["CPU", "CPU"]
///
///     [group.all]
///     members = ["/job:worker/task:0", "/job:worker/task:1"]
/// "#.parse()?;
/// assert_eq!(file.cluster().tasks().len(), 2);
/// let worker = file.server("worker", 1)?; // a builder: listens at tcp://10.0.0.2:7000, may dial the other one
/// # drop(worker);
/// # Ok::<(), remex::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClusterFile {
    cluster: ClusterConfig,
    jobs: BTreeMap<String, Job>,
    groups: Vec<CollectiveGroup>,
    deadline: Option<Duration>,
    idle_timeout: Option<Duration>,
    wait: Option<Duration>,
}

/// What the tasks of a job have in common.
#[derive(Clone, Debug)]
struct Job {
    devices: Vec<String>,
    threads: Option<NonZeroUsize>,
    prefer_unix: Option<bool>,
    spill_dir: Option<PathBuf>,
    spill_limit: Option<u64>,
}

/// What is wrong with a configuration: where, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The line, from 1; `None` if it is not one line's fault.
    pub line: Option<usize>,
    /// The key, as `job.worker.tasks`; empty where there is none.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    deadline: Option<Spanned<String>>,
    idle_timeout: Option<Spanned<String>>,
    wait: Option<Spanned<String>>,
    job: BTreeMap<Spanned<String>, RawJob>,
    #[serde(default)]
    group: BTreeMap<Spanned<String>, RawGroup>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJob {
    tasks: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    devices: Vec<Spanned<String>>,
    threads: Option<Spanned<usize>>,
    prefer_unix: Option<bool>,
    spill_dir: Option<PathBuf>,
    spill_limit: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    members: Spanned<Vec<Spanned<String>>>,
}

impl ClusterFile {
    /// Reads a file. The error names it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let named = |message: String| format!("{}: {message}", path.display());
        let text = fs::read_to_string(path).map_err(|error| ConfigError {
            line: None,
            key: String::new(),
            message: named(error.to_string()),
        })?;
        text.parse().map_err(|error: ConfigError| ConfigError {
            line: None,
            key: String::new(),
            message: named(error.to_string()),
        })
    }

    /// All tasks and where they listen.
    pub fn cluster(&self) -> &ClusterConfig {
        &self.cluster
    }

    /// Where the tasks listen.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.cluster.tasks().iter().filter_map(|task| task.address.as_ref())
    }

    /// A context of all tasks, with the groups and the times of the file.
    pub fn context(&self) -> ContextConfig {
        let mut config = ContextConfig::new(self.cluster.clone());
        for CollectiveGroup { name, members } in &self.groups {
            config = config.group(name, members.iter().cloned());
        }
        config.default_deadline = self.deadline.unwrap_or(config.default_deadline);
        config.idle_timeout = self.idle_timeout.unwrap_or(config.idle_timeout);
        config.wait = self.wait.unwrap_or(config.wait);
        config
    }

    /// The server of a task: its name, its address, its devices, and leave to dial all others of the cluster.
    pub fn server(&self, job: &str, index: u32) -> Result<ServerBuilder, ConfigError> {
        let error = |message: String| ConfigError { line: None, key: format!("job.{job}"), message };
        let known: Vec<_> = self.jobs.keys().map(String::as_str).collect();
        let Job { devices, threads, prefer_unix, spill_dir, spill_limit } =
            self.jobs.get(job).ok_or_else(|| error(format!("there is no such job; there are {}", known.join(", "))))?;
        let name = format!("/job:{job}/task:{index}");
        let mut others = self.cluster.tasks().iter();
        let own = others.clone().find(|task| task.name.to_string() == name).ok_or_else(|| {
            let tasks = others.by_ref().filter(|task| task.name.job() == job).count();
            error(format!("there is no task {index}: the job has {tasks} tasks, numbered from 0"))
        })?;
        let mut builder = Server::builder().task(name);
        if let Some(address) = &own.address {
            builder = builder.listen(address.to_string());
        }
        builder = devices.iter().fold(builder, |builder, device| builder.device(device, None));
        builder = threads.iter().fold(builder, |builder, threads| builder.threads(*threads));
        builder = prefer_unix.iter().fold(builder, |builder, on| builder.prefer_unix(*on));
        builder = spill_dir.iter().fold(builder, ServerBuilder::spill_dir);
        builder = spill_limit.iter().fold(builder, |builder, bytes| builder.spill_limit(*bytes));
        let peers = self.cluster.tasks().iter().filter(|task| task.name != own.name);
        let addresses = peers.filter_map(|task| task.address.as_ref());
        Ok(addresses.fold(builder, |builder, address| builder.allow_peer(address.to_string())))
    }
}

impl FromStr for ClusterFile {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let root: Root = toml::from_str(text).map_err(|error| {
            let at = error.span().map(|span| span.start);
            ConfigError { line: at.map(|at| line_of(text, at)), key: String::new(), message: one_line(error.message()) }
        })?;
        let reader = Reader(text);
        let (mut cluster, mut jobs, mut seen) = (ClusterConfig::new(), BTreeMap::new(), BTreeSet::new());
        for (job, raw) in root.job {
            let key = format!("job.{}", job.get_ref());
            if raw.tasks.get_ref().is_empty() {
                return Err(reader.error(&raw.tasks, &format!("{key}.tasks"), "name at least one address"));
            }
            for (index, address) in raw.tasks.get_ref().iter().enumerate() {
                let key = format!("{key}.tasks[{index}]");
                let name = format!("/job:{}/task:{index}", job.get_ref());
                let name: TaskName = name.parse().map_err(|error| reader.error(&job, &key, error))?;
                let parsed: Address = address.get_ref().parse().map_err(|error| reader.error(address, &key, error))?;
                if !seen.insert(parsed.clone()) {
                    let message = format!("{parsed} is the address of another task: give each task its own");
                    return Err(reader.error(address, &key, message));
                }
                cluster.add(name, Some(parsed)).map_err(|error| reader.error(address, &key, error))?;
            }
            for (i, device) in raw.devices.iter().enumerate() {
                let (task, key) = (format!("/job:{}/task:0", job.get_ref()), format!("{key}.devices[{i}]"));
                let task: TaskName = task.parse().map_err(|error| reader.error(&job, &key, error))?;
                remex_protocol::DeviceName::new(task, device.get_ref(), 0)
                    .map_err(|error| reader.error(device, &key, error))?;
            }
            let threads = raw.threads.map(|threads| {
                let allowed = "it must be 1 or more: how many programs run at one time";
                NonZeroUsize::new(*threads.get_ref())
                    .ok_or_else(|| reader.error(&threads, &format!("{key}.threads"), allowed))
            });
            let (threads, prefer_unix, spill_dir) = (threads.transpose()?, raw.prefer_unix, raw.spill_dir);
            if let (None, Some(limit)) = (&spill_dir, &raw.spill_limit) {
                let message = "it is of no use without a folder: give spill_dir, too";
                return Err(reader.error(limit, &format!("{key}.spill_limit"), message));
            }
            let spill_limit = raw.spill_limit.map(Spanned::into_inner);
            let devices = raw.devices.into_iter().map(Spanned::into_inner).collect();
            jobs.insert(job.into_inner(), Job { devices, threads, prefer_unix, spill_dir, spill_limit });
        }
        let names: Vec<_> = cluster.tasks().iter().map(|task| task.name.clone()).collect();
        let mut groups: Vec<CollectiveGroup> = Vec::new();
        for (name, raw) in root.group {
            let key = format!("group.{}.members", name.get_ref());
            let members =
                raw.members.get_ref().iter().map(|member| {
                    member.get_ref().parse::<TaskName>().map_err(|error| reader.error(member, &key, error))
                });
            let group = CollectiveGroup { name: name.get_ref().clone(), members: members.collect::<Result<_, _>>()? };
            resolve_groups(std::slice::from_ref(&group), &names)
                .map_err(|error| reader.error(&raw.members, &key, error))?;
            groups.push(group);
        }
        Ok(Self {
            cluster,
            jobs,
            groups,
            deadline: reader.duration(root.deadline, "deadline")?,
            idle_timeout: reader.duration(root.idle_timeout, "idle_timeout")?,
            wait: reader.duration(root.wait, "wait")?,
        })
    }
}

/// The text that is read, to find lines in.
struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn error<T>(&self, at: &Spanned<T>, key: &str, message: impl fmt::Display) -> ConfigError {
        let line = Some(line_of(self.0, at.span().start));
        ConfigError { line, key: key.to_owned(), message: one_line(&message.to_string()) }
    }

    fn duration(&self, text: Option<Spanned<String>>, key: &str) -> Result<Option<Duration>, ConfigError> {
        let Some(text) = text else { return Ok(None) };
        match humantime::parse_duration(text.get_ref()) {
            Ok(duration) if !duration.is_zero() => Ok(Some(duration)),
            Ok(_) => Err(self.error(&text, key, "it must not be zero: write a time like 30s or 1m30s")),
            Err(error) => Err(self.error(&text, key, format!("{error}; write a time like 30s or 1m30s"))),
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
deadline = "30s"
wait = "1m"

[job.worker]
tasks = ["tcp://127.0.0.1:7000", "unix:/run/w1"]
devices = ["CPU", "GPU"]
threads = 3
prefer_unix = false
spill_dir = "spilled"

[job.eval]
tasks = ["tcp://127.0.0.1:7001"]

[group.all]
members = ["/job:worker/task:1", "/job:eval/task:0"]
"#;

    #[test]
    fn a_file_is_a_cluster() {
        let file: ClusterFile = GOOD.parse().unwrap();
        let tasks: Vec<_> = file.cluster().tasks().iter().map(|task| task.name.to_string()).collect();
        assert_eq!(tasks, ["/job:eval/task:0", "/job:worker/task:0", "/job:worker/task:1"]);
        let context = file.context();
        assert_eq!((context.default_deadline, context.wait), (Duration::from_secs(30), Duration::from_secs(60)));
        assert_eq!(context.idle_timeout, Duration::from_secs(600));
        assert_eq!(context.groups[0].members[0].to_string(), "/job:worker/task:1");
        assert!(file.server("worker", 1).is_ok());
        let error = file.server("worker", 2).unwrap_err().to_string();
        assert_eq!(error, "job.worker: there is no task 2: the job has 2 tasks, numbered from 0");
        let error = file.server("werker", 0).unwrap_err().to_string();
        assert_eq!(error, "job.werker: there is no such job; there are eval, worker");
    }

    /// Every mistake is explained with its line, its key and what is allowed, in one line.
    #[test]
    fn a_mistake_is_explained_with_line_key_and_what_is_allowed() {
        for (from, to, line, words) in [
            ("threads = 3", "thread = 3", 8, &["unknown field `thread`", "`threads`"][..]),
            ("threads = 3", "threads = 0", 8, &["job.worker.threads", "1 or more"]),
            ("threads = 3", "threads = \"3\"", 8, &["invalid type: string", "expected usize"]),
            ("prefer_unix = false", "prefer_unix = 0", 9, &["invalid type: integer", "expected a boolean"]),
            ("spill_dir = \"spilled\"", "spill_limit = 5", 10, &["job.worker.spill_limit", "give spill_dir, too"]),
            ("spill_dir = \"spilled\"", "spill_dir = \"x\"\nspill_limit = -1", 11, &["invalid value", "expected u64"]),
            ("deadline = \"30s\"", "deadline = 30", 2, &["invalid type: integer", "expected a string"]),
            ("deadline = \"30s\"", "deadline = \"30\"", 2, &["deadline", "write a time like 30s"]),
            ("wait = \"1m\"", "wait = \"0s\"", 3, &["wait", "must not be zero"]),
            ("unix:/run/w1", "localhost", 6, &["job.worker.tasks[1]", "tcp://HOST:PORT"]),
            ("unix:/run/w1", "tcp://127.0.0.1:7000", 6, &["job.worker.tasks[1]", "give each task its own"]),
            ("\"GPU\"", "\"G P\"", 7, &["job.worker.devices[1]"]),
            ("[job.eval]", "[job.\"ev al\"]", 12, &["ev al"]),
            (
                "/job:eval/task:0",
                "/job:eval/task:4",
                16,
                &["group.all.members", "/job:eval/task:4", "none of the context's tasks"],
            ),
            ("/job:eval/task:0", "eval:0", 16, &["group.all.members", "/job:NAME/task:N"]),
            ("[job.eval]\ntasks = [\"tcp://127.0.0.1:7001\"]", "[job.eval]\ntasks = []", 13, &["at least one"]),
            ("[group.all]\nmembers", "[group.all]\nnames", 16, &["unknown field `names`", "`members`"]),
            ("[job.worker]", "[job.worker", 5, &[]),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let error = text.parse::<ClusterFile>().err().unwrap_or_else(|| panic!("{to} was accepted"));
            let said = error.to_string();
            assert_eq!(error.line, Some(line), "{to}: {said}");
            assert!(!said.contains('\n'), "{said}");
            for words in words {
                assert!(said.contains(words), "{words:?} is not in {said:?}");
            }
        }
        assert!("".parse::<ClusterFile>().unwrap_err().message.contains("missing field `job`"));
    }
}
