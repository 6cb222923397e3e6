//! Tells of panics on this thread, which a runtime would swallow with the task that they ended.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

static WATCH: Once = Once::new();

/// Begins to note panics, of each thread for itself.
pub(super) fn watch() {
    WATCH.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            LAST.with(|last| *last.borrow_mut() = Some(panic.to_string()));
            before(panic);
        }));
    });
}

/// The last panic on this thread since it was asked.
pub(super) fn take() -> Option<String> {
    LAST.with(|last| last.borrow_mut().take())
}
