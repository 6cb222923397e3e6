//! What the log says, for as long as a test listens.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the warnings and errors of this thread: a test on one thread hears all of its own, and nothing of the others'.
///
/// One listener serves all threads: those that come and go are missed now and then by what others log at that moment.
pub(crate) struct Heard(());

impl Heard {
    pub(crate) fn listen() -> Self {
        static EAR: Once = Once::new();
        EAR.call_once(|| tracing::subscriber::set_global_default(Ear).unwrap());
        LINES.with_borrow_mut(Vec::clear);
        Self(())
    }

    /// Whether a line has these words.
    pub(crate) fn has(&self, words: &str) -> bool {
        LINES.with_borrow(|lines| lines.iter().any(|line| line.contains(words)))
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        LINES.with_borrow(Clone::clone)
    }
}

struct Ear;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        LINES.with_borrow_mut(|lines| lines.push(line.0));
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}
