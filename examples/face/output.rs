//! Lines out: stdout carries data, stderr everything else.
//!
//! A reader that closes stdout (`| head`) is no error: [`Lines::is_gone`] then tells the program to stop.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Stdout, line by line. Clones share it.
#[derive(Clone)]
pub struct Lines {
    out: Arc<Mutex<BufWriter<io::Stdout>>>,
    gone: Arc<AtomicBool>,
    stop: CancellationToken,
}

impl Lines {
    /// Lines that raise `stop` when nobody reads them any more.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        let out = Arc::new(Mutex::new(BufWriter::with_capacity(64 * 1024, io::stdout())));
        Self { out, gone: Arc::default(), stop }
    }

    /// Writes one line from its parts.
    pub fn line(&self, parts: &[&[u8]]) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let written = parts.iter().try_for_each(|part| out.write_all(part)).and_then(|()| out.write_all(b"\n"));
        self.note(written);
    }

    /// Writes one JSON object as a line.
    pub fn object(&self, object: &impl serde::Serialize) {
        match serde_json::to_vec(object) {
            Ok(line) => self.line(&[&line]),
            Err(error) => complain(&format!("a line cannot be written as JSON: {error}")),
        }
    }

    /// Shows all lines so far.
    pub fn flush(&self) {
        let flushed = self.out.lock().unwrap_or_else(PoisonError::into_inner).flush();
        self.note(flushed);
    }

    /// Whether the reader has closed stdout.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn note(&self, outcome: io::Result<()>) {
        if outcome.is_err() {
            self.gone.store(true, Ordering::Relaxed);
            self.stop.cancel();
        }
    }
}

/// One line on stderr. Nobody can be told when stderr itself is closed.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
