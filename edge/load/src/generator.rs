//! The run itself: a thread that sends requests when they are due.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::exchange::{Failure, Pool};
use crate::pacer::Pacer;
use crate::plan::{LoadPlan, RequestTemplate};
use crate::report::{Progress, Report};
use crate::tally::{Moments, Tally};

/// The shortest time between two rounds of sending.
///
/// 250 µs: at most 4,000 rounds a second, some 3 % of a core, and no request is sent later than that because of
/// it. The accuracy on a busy machine of two cores is p50 50 µs and p99 1 ms up to 1,000/s, p50 170 µs and
/// p99 1 ms at 10,000/s; each run reports its own. Below 4,000 requests/s each has its own round.
const ROUND_MIN: Duration = Duration::from_micros(250);

/// The most requests sent in one round before the answers are read.
///
/// 256 × about 17 µs a request = 4 ms, the longest that an answer waits to be timed when the generator must
/// catch up after a pause of the machine. At 50,000/s, more than it can send, a round has 13.
const ROUND_REQUESTS_MAX: usize = 256;

/// How often progress is published: ten times a second looks live.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// The most addresses of the target that are tried; a name with more is a mistake.
const ADDRESSES_MAX: usize = 16;

/// Why a run could not start. No request was sent.
#[derive(Debug, Error)]
pub enum RunError {
    /// The plan contradicts itself.
    #[error(
        "the load plan names no request to send or a timeout of zero; give it at least one request and some time"
    )]
    Plan,
    /// The name of the target has no address, or could not be resolved.
    #[error("could not find the address of {host}; check the host of the URL")]
    Resolve {
        /// The host of the URL.
        host: String,
        /// What the resolver answered.
        source: io::Error,
    },
    /// The thread, its runtime or its timer could not be made.
    #[error("could not start the load generator; the machine may be out of threads or open files")]
    Start {
        /// What the system answered.
        source: io::Error,
    },
}

/// Sends the load of `plan` and returns the results.
///
/// Runs on a thread of its own, so that pacing and caller do not disturb each other. Ends
/// when the profile has ended and each request was answered or given up, at most one timeout later. `stop` ends
/// the sending early; outstanding answers are still awaited. Dropping the future ends everything at once.
/// `progress` is published ten times a second and once at the end.
///
/// Cost: about 17 µs of CPU a request, which is 17 % of a core at 10,000/s; beyond some 40,000/s requests become late,
/// which the report counts.
///
/// An error means that nothing was sent: for a target that does not answer, the report counts failures.
///
/// # Panics
///
/// When the generator's own thread does, which is a bug.
pub async fn run(
    plan: LoadPlan,
    stop: CancellationToken,
    progress: watch::Sender<Progress>,
) -> Result<Report, RunError> {
    if plan.requests.is_empty() || plan.timeout.is_zero() {
        return Err(RunError::Plan);
    }
    let addresses = resolve(&plan).await?;
    let (done, report) = oneshot::channel();
    let abandoned = CancellationToken::new();
    let _abandon_when_dropped: DropGuard = abandoned.clone().drop_guard();
    let thread = std::thread::Builder::new().name("load".to_owned());
    let on_thread = move || {
        let run = Run { plan, stop, progress, addresses };
        if let Some(result) = run.on_this_thread(&abandoned) {
            // Fails when the caller has just dropped the future.
            let _ = done.send(result);
        }
    };
    let thread = thread.spawn(on_thread).map_err(|source| RunError::Start { source })?;
    match report.await {
        Ok(result) => result,
        Err(_) => {
            let panic =
                thread.join().expect_err("a thread that ends without a report, and is awaited, has panicked");
            std::panic::resume_unwind(panic)
        }
    }
}

async fn resolve(plan: &LoadPlan) -> Result<Vec<SocketAddr>, RunError> {
    let failed = |source| RunError::Resolve { host: plan.target.host().to_owned(), source };
    let found = tokio::net::lookup_host((plan.target.host(), plan.target.port())).await.map_err(failed)?;
    let addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    if addresses.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Ok(addresses)
}

/// The inputs of the thread.
struct Run {
    plan: LoadPlan,
    stop: CancellationToken,
    progress: watch::Sender<Progress>,
    addresses: Vec<SocketAddr>,
}

impl Run {
    /// Runs to the end; `None` when the caller has gone before.
    fn on_this_thread(&self, abandoned: &CancellationToken) -> Option<Result<Report, RunError>> {
        let failed = |source| Err(RunError::Start { source });
        let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(source) => return Some(failed(source)),
        };
        LocalSet::new().block_on(&runtime, async {
            let pacer = match Pacer::new() {
                Ok(pacer) => pacer,
                Err(source) => return Some(failed(source)),
            };
            // If the caller has gone, the generator is dropped in the middle of the run.
            tokio::select! {
                report = Generator::start(self, pacer).send_all() => Some(report.or_else(failed)),
                () = abandoned.cancelled() => None,
            }
        })
    }
}

/// The generator, and the state that requests in flight share with it. One thread, so no locks.
struct Generator<'a> {
    run: &'a Run,
    pacer: Pacer,
    start: Instant,
    pool: Rc<Pool>,
    tally: Rc<RefCell<Tally>>,
    /// Owns the requests in flight: none outlives the run.
    in_flight: JoinSet<()>,
    next_progress: Duration,
}

impl<'a> Generator<'a> {
    fn start(run: &'a Run, pacer: Pacer) -> Self {
        Self {
            run,
            pacer,
            start: Instant::now(),
            pool: Rc::new(Pool::new(run.addresses.clone())),
            tally: Rc::new(RefCell::new(Tally::for_run_of(run.plan.profile.duration()))),
            in_flight: JoinSet::new(),
            next_progress: Duration::ZERO,
        }
    }

    /// Sends each request when it is due, then waits for the last answers.
    async fn send_all(mut self) -> io::Result<Report> {
        let Run { plan, stop, .. } = self.run;
        let end = plan.profile.duration();
        let mut schedule = plan.profile.schedule(plan.arrivals).peekable();
        let mut templates = plan.requests.iter().cycle();
        while !stop.is_cancelled() {
            let now = self.start.elapsed();
            while self.in_flight.try_join_next().is_some() {}
            let due_by_now = std::iter::from_fn(|| schedule.next_if(|due| *due <= now));
            let round = due_by_now.zip(templates.by_ref()).take(ROUND_REQUESTS_MAX);
            let sent = round.map(|(due, template)| self.send_or_skip(due, now, template)).count();
            self.publish_if_due(now);
            match schedule.peek() {
                // Behind schedule: let the answers be read, then continue at once.
                Some(_) if sent == ROUND_REQUESTS_MAX => tokio::task::yield_now().await,
                None if now >= end => break,
                next => {
                    let wake = next.map_or(end, |due| (*due).max(now + ROUND_MIN)).min(self.next_progress);
                    // Both are cancel-safe: a token keeps its state, and the pacer is set again in the next round.
                    tokio::select! {
                        woken = self.pacer.sleep_until(self.start + wake) => woken?,
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
        let sending_ended = self.start.elapsed().min(end);
        self.finish(sending_ended).await
    }

    /// Sends a request that is due, unless all connections are busy.
    fn send_or_skip(&mut self, due: Duration, now: Duration, template: &RequestTemplate) {
        let plan = &self.run.plan;
        if self.in_flight.len() >= usize::from(plan.connections.get()) {
            self.tally.borrow_mut().record_skipped(now);
            return;
        }
        let request = template.for_target(&plan.target);
        let (start, timeout) = (self.start, plan.timeout);
        let (pool, tally) = (Rc::clone(&self.pool), Rc::clone(&self.tally));
        self.in_flight.spawn_local(async move {
            let sent = start.elapsed();
            tally.borrow_mut().record_sent(due, sent);
            let exchanged = tokio::time::timeout_at(start + sent + timeout, pool.exchange(request)).await;
            let moments = Moments { due, sent, ended: start.elapsed() };
            match exchanged {
                Ok(Ok((answer, connection))) => {
                    tally.borrow_mut().record_end(moments, Ok(answer));
                    // Settling after an answer is immediate unless the server misbehaves.
                    let _ = tokio::time::timeout(timeout, pool.keep(connection)).await;
                }
                Ok(Err(failure)) => tally.borrow_mut().record_end(moments, Err(failure)),
                Err(_elapsed) => tally.borrow_mut().record_end(moments, Err(Failure::Timeout)),
            }
        });
    }

    /// Waits for the answers that are still due, at most one timeout, and reports.
    async fn finish(mut self, sending_ended: Duration) -> io::Result<Report> {
        while !self.in_flight.is_empty() {
            // Both are cancel-safe: the set keeps what was not taken, and the pacer is set again.
            tokio::select! {
                _ended = self.in_flight.join_next() => {}
                woken = self.pacer.sleep_until(self.start + self.next_progress) => woken?,
            }
            self.publish_if_due(self.start.elapsed());
        }
        let plan = &self.run.plan;
        self.publish(self.start.elapsed());
        let tally =
            Rc::into_inner(self.tally).expect("every request that shared the tally has ended").into_inner();
        let stopped = sending_ended < plan.profile.duration();
        Ok(tally.report(sending_ended, stopped, self.pool.opened()))
    }

    fn publish_if_due(&mut self, now: Duration) {
        if now >= self.next_progress {
            self.publish(now);
            self.next_progress = now + PROGRESS_EVERY;
        }
    }

    fn publish(&self, now: Duration) {
        let profile = &self.run.plan.profile;
        let counted = self.tally.borrow_mut().progress(now);
        let target = Some(profile.rate_at(now));
        // Fails when there is no receiver, which does not matter.
        self.run.progress.send_replace(Progress { duration: profile.duration(), target, ..counted });
    }
}
