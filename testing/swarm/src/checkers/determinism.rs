//! The same inputs give the same outputs, bit for bit.

use control::{ControlLoop, Outbox};
use model::input::Input;
use model::settings::Settings;
use model::time::Now;
use sim::Simulation;

/// The name of this property.
pub(crate) const NAME: &str = "determinism";

/// Steps of each run of the loop that are recorded to be replayed: some twenty simulated minutes.
const RECORDED_MAX: usize = 10_000;

/// One in this many runs of the loop is recorded, beginning with the first: recording and replaying a step costs as much as the step.
const RUNS_PER_RECORD: u64 = 4;

/// The inputs of one run of the loop, with its outputs.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    runs: u64,
    recorded: Vec<(Now, Input, u64)>,
    first_step: u64,
    digest: u64,
    failure: Option<(String, u64)>,
}

impl Replay {
    /// Adds a step to the record.
    pub(crate) fn record(&mut self, sim: &Simulation) {
        let is_new_run = matches!(sim.input(), Input::Started(_));
        if is_new_run {
            self.failure = self.failure.take().or_else(|| self.check().err());
            self.recorded.clear();
            self.first_step = sim.steps();
            self.runs += 1;
        }
        let is_recorded = self.runs % RUNS_PER_RECORD == 1 && self.recorded.len() < RECORDED_MAX;
        if sim.out().is_empty() && !is_recorded {
            return;
        }
        let digest = sim.out().digest();
        self.digest = (self.digest.rotate_left(5) ^ digest).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if is_recorded {
            self.recorded.push((sim.clock(), sim.input().clone(), digest));
        }
    }

    /// Runs a new loop on the recorded inputs; fails with a message and the first step whose output differs.
    pub(crate) fn check(&mut self) -> Result<(), (String, u64)> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let mut control = ControlLoop::new(Settings::default());
        let mut out = Outbox::default();
        for (index, (now, input, digest)) in self.recorded.iter().enumerate() {
            out.clear();
            control.step(*now, input, &mut out);
            if out.digest() != *digest {
                let step = self.first_step + index as u64;
                return Err((
                    format!("replaying {input:?} gave other actions or events than the first time"),
                    step,
                ));
            }
        }
        Ok(())
    }

    /// The digest of all outputs so far.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }
}
