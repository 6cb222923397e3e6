//! A program that is watched over: started, killed, stopped, and started again, as an orchestrator does.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::program::{Program, Running, Signal};

/// What its memory has been.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// MB now, without files that are mapped.
    pub resident: u64,
    /// The most of it at any time.
    pub peak: u64,
}

/// A program in its place.
pub struct Player {
    pub name: &'static str,
    /// Its parts, one run each: a producer sends so many files, a consumer goes on without an end.
    parts: usize,
    make: Box<dyn Fn(usize) -> Program>,
    pub part: usize,
    running: Option<Running>,
    killed: bool,
    again: Instant,
    asleep: Option<Instant>,
    pub kills: u32,
}

impl Player {
    pub fn new(name: &'static str, parts: usize, make: impl Fn(usize) -> Program + 'static) -> Self {
        let (make, again) = (Box::new(make), Instant::now());
        Self { name, parts, make, part: 0, running: None, killed: false, again, asleep: None, kills: 0 }
    }

    pub fn is_done(&self) -> bool {
        self.part >= self.parts
    }

    /// Whether it runs and can be hurt.
    pub fn is_awake(&self) -> bool {
        self.running.is_some() && !self.killed && self.asleep.is_none()
    }

    pub fn kill(&mut self, away: Duration) {
        if let Some(running) = &self.running {
            running.signal(Signal::Kill);
            (self.killed, self.again) = (true, Instant::now() + away);
            self.kills += 1;
        }
    }

    pub fn stop_for(&mut self, pause: Duration) {
        if let Some(running) = &self.running {
            running.signal(Signal::Stop);
            self.asleep = Some(Instant::now() + pause);
        }
    }

    /// What is due by now: it wakes, starts again, begins its next part.
    ///
    /// # Panics
    /// If it has ended and nobody killed it, with an error or before its time.
    pub fn go_on(&mut self) {
        let now = Instant::now();
        if self.asleep.is_some_and(|until| now > until) {
            self.wake();
        }
        if self.running.as_mut().is_some_and(|running| !running.is_running())
            && let Some(ended) = self.running.take()
        {
            let ended = ended.finish(Duration::from_secs(10));
            self.write_down(&ended.stderr);
            match (ended.code(), std::mem::take(&mut self.killed)) {
                (None, true) => {}
                // It had ended before the signal came.
                (Some(0), _) if self.parts < usize::MAX => self.part += 1,
                _ => panic!("{} ended by itself: {ended}", self.name),
            }
        }
        if self.running.is_none() && !self.is_done() && now > self.again {
            self.running = Some((self.make)(self.part).start());
        }
    }

    pub fn wake(&mut self) {
        if let Some(running) = &self.running {
            running.signal(Signal::Continue);
        }
        self.asleep = None;
    }

    /// SIGTERM: it must end cleanly.
    pub fn end(&mut self) {
        if let Some(running) = self.running.take() {
            running.signal(Signal::Terminate);
            let ended = running.finish(Duration::from_secs(60)).ok();
            self.write_down(&ended.stderr);
        }
    }

    /// Keeps what it has said below `target/tmp`: the place to look when something took long.
    fn write_down(&self, said: &str) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("siege-{}.log", self.name));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let lines: String = said.lines().filter(|line| !is_progress(line)).flat_map(|line| [line, "\n"]).collect();
        file.and_then(|mut file| file.write_all(lines.as_bytes())).expect("a file below target/tmp");
    }

    /// The last number that it has told on stderr behind this word.
    pub fn told(&self, word: &str) -> u64 {
        let number = |line: &String| line.strip_prefix(word)?.trim().parse().ok();
        self.running.as_ref().and_then(|running| running.stderr().iter().rev().find_map(number)).unwrap_or(0)
    }

    /// Lines on stderr that are not progress.
    pub fn complaints(&self) -> usize {
        self.running.as_ref().map_or(0, |running| running.stderr().iter().filter(|line| !is_progress(line)).count())
    }

    /// What the system says of its memory; nothing where it says nothing.
    pub fn memory(&self) -> Memory {
        let status = self.running.as_ref().map(|running| format!("/proc/{}/status", running.id()));
        let status = status.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let megabytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
        };
        let [resident, peak] = ["VmRSS:", "VmHWM:"].map(|name| megabytes(name).unwrap_or(0));
        Memory { resident, peak }
    }
}

fn is_progress(line: &str) -> bool {
    let number = line.strip_prefix("sent ").or_else(|| line.strip_prefix("settled "));
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}
