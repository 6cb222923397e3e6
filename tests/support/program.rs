//! A program as a child process: its input, its lines as they come, its end within a deadline.
//!
//! ```text
//! Program (what to run) -- start() --> Running (lines so far, signals) -- finish(within) --> Finished (code, output)
//!                       -- run(within) ------------------------------------------------------------^
//! ```
//! Whatever becomes of the test, no process stays behind: dropping [`Running`] kills the child, and where nothing is
//! dropped (SIGKILL, Ctrl-C) a guard process does, which notices the end of the test by the end of its own stdin.

use std::ffi::OsStr;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::wait;

/// What to run, and with which input.
#[derive(Debug)]
pub struct Program {
    command: Command,
    input: Vec<u8>,
}

impl Program {
    pub fn new(path: impl AsRef<OsStr>) -> Self {
        Self { command: Command::new(path), input: Vec::new() }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub fn folder(mut self, folder: impl AsRef<std::path::Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// What the program reads from stdin; after it, the end.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// If there is no such program.
    pub fn start(mut self) -> Running {
        let line = format!("{:?}", self.command).replace('"', "");
        let stdio = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = stdio.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // A thread of its own, because the child may write before it has read all.
        std::thread::spawn(move || stdin.write_all(&self.input));
        let stdout = Lines::of(child.stdout.take().expect("stdout is piped"));
        let stderr = Lines::of(child.stderr.take().expect("stderr is piped"));
        let guard = guard(child.id());
        Running { line, child, guard, stdout, stderr }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it has not ended `within` that time; then it is killed.
    pub fn run(self, within: Duration) -> Finished {
        self.start().finish(within)
    }
}

/// A program that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    guard: Child,
    stdout: Lines,
    stderr: Lines,
}

/// What a process can be told.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    Interrupt,
    Terminate,
    Kill,
    Stop,
    Continue,
    /// SIGUSR1.
    User,
}

impl Signal {
    /// Sends it to a process; one that has ended is no error.
    pub fn send(self, process: u32) {
        let name = match self {
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
            Self::User => "USR1",
        };
        let mut kill = Command::new("kill");
        let sent = kill.args([format!("-{name}"), process.to_string()]).stderr(Stdio::null()).status();
        sent.expect("the command `kill` runs");
    }
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        signal.send(self.id());
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// The stdout lines so far.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.so_far()
    }

    /// The stderr lines so far.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.so_far()
    }

    /// Waits for a stdout line.
    ///
    /// # Panics
    /// When it does not come `within` that time; the message has what came instead.
    #[track_caller]
    pub fn await_stdout(&self, what: &str, within: Duration, wanted: impl Fn(&str) -> bool) -> String {
        self.await_line(what, within, || self.stdout().into_iter().find(|line| wanted(line)))
    }

    /// As [`Running::await_stdout`], for stderr.
    #[track_caller]
    pub fn await_stderr(&self, what: &str, within: Duration, wanted: impl Fn(&str) -> bool) -> String {
        self.await_line(what, within, || self.stderr().into_iter().find(|line| wanted(line)))
    }

    /// Waits until `count` stdout lines have come that are `wanted`.
    ///
    /// # Panics
    /// As [`Running::await_stdout`].
    #[track_caller]
    pub fn await_stdout_lines(&self, what: &str, count: usize, within: Duration, wanted: impl Fn(&str) -> bool) {
        self.await_line(what, within, || (self.stdout.count(&wanted) >= count).then(String::new));
    }

    #[track_caller]
    fn await_line(&self, what: &str, within: Duration, find: impl FnMut() -> Option<String>) -> String {
        wait::until_or(within, find).unwrap_or_else(|| {
            let [out, err] = [&self.stdout, &self.stderr].map(Lines::last);
            panic!("{}: waited {within:?} in vain until {what}\nstdout:\n{out}\nstderr:\n{err}", self.line)
        })
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it has not ended `within` that time; then it is killed.
    #[track_caller]
    pub fn finish(mut self, within: Duration) -> Finished {
        let ended = wait::until_or(within, || (!self.is_running()).then_some(()));
        if ended.is_none() {
            self.child.kill().expect("a child can be killed");
        }
        drop(self.guard.kill());
        let status = self.child.wait().expect("a child can be awaited");
        let (stdout, stderr) = (self.stdout.join(), self.stderr.join());
        let finished = Finished { line: self.line.clone(), status, stdout, stderr };
        assert!(ended.is_some(), "killed after {within:?}: {finished}");
        finished
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The guard first: the child's number may be another's once it has been waited for.
        for process in [&mut self.guard, &mut self.child] {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

/// A process that kills `child` when this one has ended without doing so. In a group of its own, so that Ctrl-C on a
/// terminal does not reach it.
fn guard(child: u32) -> Child {
    let mut guard = Command::new("sh");
    guard.args(["-c", "cat; kill -KILL $0", &child.to_string()]).process_group(0);
    guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    guard.spawn().expect("the command `sh` runs")
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub struct Finished {
    line: String,
    status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The exit code; `None` if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Demands exit code 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.with_code(0)
    }

    /// Demands an exit code.
    #[track_caller]
    pub fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{self}");
        self
    }

    pub fn stdout_lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, status, stdout, stderr } = self;
        let signal = status.signal().map(|signal| format!(" by signal {signal}")).unwrap_or_default();
        write!(f, "{line}\nended with {:?}{signal}\nstdout:\n{stdout}\nstderr:\n{stderr}", status.code())
    }
}

/// The lines of a pipe, read by a thread as they come, so that a full pipe never holds the child up.
#[derive(Debug)]
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                sink.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { lines, reader: Some(reader) }
    }

    fn so_far(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, wanted: impl Fn(&str) -> bool) -> usize {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| wanted(line)).count()
    }

    /// How many they are, and the last of them: enough for a person to see what goes on.
    fn last(&self) -> String {
        let lines = self.so_far();
        let shown = lines.len().saturating_sub(20);
        format!("({} lines)\n{}", lines.len(), lines[shown..].join("\n"))
    }

    /// All of them, once the child has ended.
    fn join(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("a reader that does not panic");
        }
        self.so_far().join("\n")
    }
}
