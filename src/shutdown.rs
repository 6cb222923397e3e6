//! Tasks that are owned: each one is told to stop, and awaited within a deadline.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one handle. Dropping it tells them to stop; [`Tasks::finish`] also waits for them.
#[derive(Debug, Default)]
pub struct Tasks {
    stop: CancellationToken,
    running: TaskTracker,
}

impl Tasks {
    /// No task yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The signal that the tasks watch. It is raised once and stays raised.
    #[must_use]
    pub fn stop_signal(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task that belongs to this set. It must end soon after [`Tasks::stop_signal`] is raised.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.running.spawn(task);
    }

    /// Tells all tasks to stop and waits for them at most `within`. Returns whether all have ended.
    ///
    /// # Cancel safety
    /// The tasks have been told to stop even if the returned future is dropped.
    pub async fn finish(&self, within: Duration) -> bool {
        self.stop.cancel();
        self.running.close();
        tokio::time::timeout(within, self.running.wait()).await.is_ok()
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn finishing_waits_for_tasks_that_stop_and_gives_up_on_one_that_does_not() {
        let tasks = Tasks::new();
        let stop = tasks.stop_signal();
        tasks.spawn(async move { stop.cancelled().await });
        assert!(tasks.finish(Duration::from_secs(1)).await);

        let stuck = Tasks::new();
        stuck.spawn(std::future::pending());
        assert!(!stuck.finish(Duration::from_secs(1)).await);
    }

    #[tokio::test]
    async fn dropping_the_set_tells_its_tasks_to_stop() {
        let tasks = Tasks::new();
        let stop = tasks.stop_signal();
        drop(tasks);
        assert!(stop.is_cancelled());
    }
}
