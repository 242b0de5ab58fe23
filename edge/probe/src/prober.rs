//! Probing one life as often as declared.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::resource::{Probe, Probes};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};

use crate::ask::{Answer, Failure, Replica, ask};
use crate::thresholds::{ProbeKind, ProbeState};

/// Probes of this process that may be under way at the same time; further ones wait for their turn, and are late.
///
/// A hundred replicas that are probed twice a second and take 50 ms to answer need 10. The rest is for replicas that hang until the
/// timeout, and for the moment after a restart when all are probed at once.
const OPEN_QUESTIONS_MAX: usize = 64;

static OPEN_QUESTIONS: Semaphore = Semaphore::const_new(OPEN_QUESTIONS_MAX);

/// Probes one life.
#[derive(Debug)]
pub struct Prober {
    /// Whom to ask.
    pub replica: Replica,
    /// What to ask, and how often.
    pub probes: Probes,
}

/// What the probes say now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whether the startup probe has passed.
    pub begun: bool,
    /// Whether it may get traffic.
    pub ready: bool,
    /// Whether it need not be restarted.
    pub live: bool,
    /// Why the latest answer of a probe was a failure; `None` when all were successes.
    pub note: Option<Arc<str>>,
}

impl Prober {
    /// Probes for ever, and calls `tell` at the beginning and whenever something has changed. Cancel safe.
    ///
    /// Each probe asks at once for the first time. When an answer is late, the times that it has missed are skipped.
    pub async fn run(&self, tell: impl Fn(Told) + Sync) {
        let answers = Mutex::new(Answers { state: ProbeState::new(&self.probes), failures: BTreeMap::new() });
        tell(lock(&answers).told());
        if let Some(startup) = &self.probes.startup {
            self.watch(startup, ProbeKind::Startup, &answers, &tell).await;
        }
        let watch = async |probe: &Option<Probe>, kind| match probe {
            Some(probe) => self.watch(probe, kind, &answers, &tell).await,
            None => std::future::pending().await,
        };
        tokio::join!(
            watch(&self.probes.readiness, ProbeKind::Readiness),
            watch(&self.probes.liveness, ProbeKind::Liveness),
        );
    }

    /// Asks one probe as often as declared: a startup probe until it has passed, the others for ever.
    async fn watch(&self, probe: &Probe, kind: ProbeKind, answers: &Mutex<Answers>, tell: &impl Fn(Told)) {
        let mut beat = interval(probe.every.into());
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            beat.tick().await;
            let answer = {
                let _turn = OPEN_QUESTIONS.acquire().await.expect("nobody closes it");
                ask(&self.replica, &probe.check, probe.timeout.into()).await
            };
            let (before, now) = {
                let mut answers = lock(answers);
                let before = answers.told();
                answers.take(kind, answer);
                (before, answers.told())
            };
            let has_begun = now.begun;
            if before != now {
                tell(now);
            }
            if kind == ProbeKind::Startup && has_begun {
                return;
            }
        }
    }
}

/// What the answers so far mean, and why the latest ones were failures.
#[derive(Debug)]
struct Answers {
    state: ProbeState,
    failures: BTreeMap<ProbeKind, Arc<str>>,
}

impl Answers {
    /// Who could not be asked is as it was: what is not known is no failure.
    fn take(&mut self, kind: ProbeKind, answer: Answer) {
        if !matches!(answer, Err(Failure::Unasked { .. })) {
            self.state.answer(kind, answer.is_ok());
        }
        match answer {
            Ok(()) => self.failures.remove(&kind),
            Err(failure) => self.failures.insert(kind, failure.to_string().into()),
        };
    }

    fn told(&self) -> Told {
        Told {
            begun: self.state.has_begun(),
            ready: self.state.is_ready(),
            live: self.state.is_live(),
            note: self.failures.values().next().cloned(),
        }
    }
}

/// Every change leaves them whole, so a panic while they were locked does no harm.
fn lock(answers: &Mutex<Answers>) -> std::sync::MutexGuard<'_, Answers> {
    answers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_could_not_be_asked_stays_as_it_was_and_the_note_says_why() {
        let probe = r#"{"tcp": {}, "failures": 1}"#;
        let text = format!(r#"{{"readiness": {probe}, "liveness": {probe}}}"#);
        let probes: Probes = serde_json::from_str(&text).unwrap();
        let mut answers = Answers { state: ProbeState::new(&probes), failures: BTreeMap::new() };
        answers.take(ProbeKind::Readiness, Ok(()));
        let unasked = || Err(Failure::Unasked { why: "Too many open files".to_owned() });

        for kind in [ProbeKind::Readiness, ProbeKind::Liveness] {
            answers.take(kind, unasked());
        }
        let told = answers.told();
        assert!(told.ready && told.live, "{told:?}");
        assert!(told.note.is_some_and(|note| note.contains("Too many open files")));

        answers.take(ProbeKind::Readiness, Err(Failure::NoPort));
        assert!(!answers.told().ready, "a failure is one still");
    }
}
