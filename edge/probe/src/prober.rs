//! Asking one life again and again.

use std::sync::{Arc, Mutex, PoisonError};

use model::resource::{Probe, Probes};
use tokio::time::{MissedTickBehavior, interval};

use crate::ask::{Replica, ask};
use crate::thresholds::{ProbeKind, ProbeState};

/// Asks one life for its health until it is dropped.
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
    /// Why the last probe failed; `None` when the last answers were good.
    pub note: Option<Arc<str>>,
}

impl Prober {
    /// Asks for ever, and calls `tell` at first and whenever what the answers mean has changed. Cancel safe.
    ///
    /// The first question of each probe is asked at once; a probe whose answer is late skips what it has missed.
    pub async fn run(&self, tell: impl Fn(Told) + Sync) {
        let state = Mutex::new(ProbeState::new(&self.probes));
        tell(told(*lock(&state), None));
        if let Some(startup) = &self.probes.startup {
            self.watch(startup, ProbeKind::Startup, &state, &tell).await;
        }
        let watch = async |probe: &Option<Probe>, kind| match probe {
            Some(probe) => self.watch(probe, kind, &state, &tell).await,
            None => std::future::pending().await,
        };
        tokio::join!(
            watch(&self.probes.readiness, ProbeKind::Readiness),
            watch(&self.probes.liveness, ProbeKind::Liveness),
        );
    }

    /// Asks one probe at its pace; a startup probe until it has passed, the others for ever.
    async fn watch(&self, probe: &Probe, kind: ProbeKind, state: &Mutex<ProbeState>, tell: &impl Fn(Told)) {
        let mut beat = interval(probe.every.into());
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            beat.tick().await;
            let answer = ask(&self.replica, &probe.check, probe.timeout.into()).await;
            let (is_news, now) = {
                let mut state = lock(state);
                (state.answer(kind, answer.is_ok()), *state)
            };
            if is_news {
                tell(told(now, answer.err().map(|failure| failure.to_string().into())));
            }
            if kind == ProbeKind::Startup && now.has_begun() {
                return;
            }
        }
    }
}

fn told(state: ProbeState, note: Option<Arc<str>>) -> Told {
    Told { begun: state.has_begun(), ready: state.is_ready(), live: state.is_live(), note }
}

/// A state is whole after every answer.
fn lock(state: &Mutex<ProbeState>) -> std::sync::MutexGuard<'_, ProbeState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
