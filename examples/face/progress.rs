//! Progress on stderr: a bar on a terminal, otherwise one plain line a second at most.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::output;

/// How often a plain line is written.
const EVERY: Duration = Duration::from_secs(1);

/// Shows how far a run is.
pub struct Progress {
    began: Instant,
    shown: Instant,
    form: Form,
}

enum Form {
    Silent,
    Bar(ProgressBar),
    Plain,
}

impl Progress {
    /// Progress of what the `verb` says: `sent`, `settled`.
    #[must_use]
    pub fn new(quiet: bool, verb: &str) -> Self {
        let form = if quiet {
            Form::Silent
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_message(verb.to_owned());
            Form::Bar(bar)
        } else {
            Form::Plain
        };
        let now = Instant::now();
        Self { began: now, shown: now, form }
    }

    /// Tells the count, if it is time to.
    pub fn tell(&mut self, text: impl FnOnce() -> String) {
        if self.shown.elapsed() < EVERY {
            return;
        }
        self.shown = Instant::now();
        match &self.form {
            Form::Silent => {}
            Form::Bar(bar) => bar.set_message(text()),
            Form::Plain => output::complain(&text()),
        }
    }

    /// Ends the display. Returns how long the run took, as the summary line says it: `0.1 s`.
    pub fn finish(self) -> String {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
        format!("{:.1} s", self.began.elapsed().as_secs_f64())
    }
}
