//! Work of a given amount of CPU time, on few threads with a bounded queue.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio_util::task::AbortOnDropHandle;

/// The threads that make pages: the blocking threads of the runtime.
#[derive(Debug)]
pub(crate) struct Workers {
    page: Page,
    /// A permit for each request in the queue or in progress.
    permits: Arc<Semaphore>,
}

/// The cost of a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    /// CPU time.
    pub(crate) work: Duration,
    /// Time that its thread waits, without using CPU.
    pub(crate) wait: Duration,
}

/// The queue is full: the request is refused immediately instead of being answered too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// The CPU time that a job has to use.
#[derive(Debug)]
pub(crate) struct CpuBudget {
    cost: Duration,
    began: Duration,
}

impl Workers {
    /// Returns workers for at most `queue` jobs at the same time, each of the cost `page`.
    pub(crate) fn new(page: Page, queue: NonZeroUsize) -> Self {
        Self { page, permits: Arc::new(Semaphore::new(queue.get().min(Semaphore::MAX_PERMITS))) }
    }

    /// Runs a job on a worker. Dropping the future while the job is queued removes it from the queue.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(CpuBudget) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| Busy)?;
        let Page { work, wait } = self.page;
        let done = AbortOnDropHandle::new(spawn_blocking(move || {
            std::thread::sleep(wait);
            let result = job(CpuBudget::of(work));
            drop(permit);
            result
        }));
        // A panic has been reported on standard error; the client gets the response of a busy server.
        done.await.map_err(|_| Busy)
    }
}

impl CpuBudget {
    /// Returns a budget of `cost`, counted from now on this thread.
    pub(crate) fn of(cost: Duration) -> Self {
        Self { cost, began: thread_cpu_time() }
    }

    /// Whether the job has used less than its budget.
    ///
    /// Counts the CPU time of this thread, without time spent waiting for a CPU or throttled, so that a busy machine does the
    /// same work in a longer time.
    pub(crate) fn is_left(&self) -> bool {
        thread_cpu_time().saturating_sub(self.began) < self.cost
    }
}

fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("CPU time is not negative");
    Duration::new(seconds, u32::try_from(time.tv_nsec).expect("nanoseconds are below a second"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(cost: Duration, queue: usize) -> Workers {
        let page = Page { work: cost, wait: Duration::ZERO };
        Workers::new(page, NonZeroUsize::new(queue).unwrap())
    }

    #[tokio::test]
    async fn a_job_costs_its_cpu_time() {
        let cost = Duration::from_millis(20);
        let spent = workers(cost, 1)
            .run(|budget| {
                while budget.is_left() {
                    std::hint::spin_loop();
                }
                thread_cpu_time() - budget.began
            })
            .await
            .unwrap();
        assert!(spent >= cost, "{spent:?}");
    }

    #[tokio::test]
    async fn jobs_beyond_the_queue_are_refused() {
        let workers = workers(Duration::ZERO, 1);
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let first = workers.run(move |_| wait.recv().is_err());
        let second = async {
            let refused = workers.run(|_| ()).await;
            drop(release);
            refused
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!((first, second), (Ok(true), Err(Busy)));
        assert_eq!(workers.run(|_| 7).await, Ok(7), "there is a free permit again");
    }

    #[tokio::test]
    async fn a_waiting_page_uses_no_cpu_and_takes_its_time() {
        let page = Page { work: Duration::ZERO, wait: Duration::from_millis(20) };
        let begun = tokio::time::Instant::now();
        let spent =
            Workers::new(page, NonZeroUsize::MIN).run(|budget| thread_cpu_time() - budget.began).await;
        assert!(begun.elapsed() >= page.wait, "{:?}", begun.elapsed());
        assert!(spent.unwrap() < page.wait, "{spent:?}");
    }
}
