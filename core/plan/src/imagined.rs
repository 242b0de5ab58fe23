//! Scenes as they might be: another load, another time, another word of a person.

use std::sync::Arc;
use std::time::Duration;

use model::input::Declared;
use model::memory::ScalingMemory;
use model::resource::ScaleMode;
use model::time::{Now, Wall};

use crate::rest::Rest;
use crate::scene::{Scene, begin};
use crate::term::Term;

/// Which load is imagined otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dial {
    /// That of the metric at this place of the declaration.
    One(usize),
    /// That of all metrics, alike.
    All,
}

impl Scene {
    /// The scene with a load of `ppm` millionths of what was measured.
    pub(crate) fn at_load(&self, dial: Dial, ppm: u64) -> Self {
        let mut scene = self.clone();
        let Some(spec) = &self.declared.autoscaler else { return scene };
        for (index, (taken, metric)) in scene.sight.taken.iter_mut().zip(&spec.metrics).enumerate() {
            if dial == Dial::All || dial == Dial::One(index) {
                *taken = taken.dialed(ppm, metric, &self.sight.replicas, self.now.time);
            }
        }
        scene
    }

    /// The scene of the next decision, `by` later, when nothing has changed but what this one decided and remembers.
    pub(crate) fn advance(&mut self, by: Duration, desired: u32, memory: Option<ScalingMemory>) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.now = Now {
            time: self.now.time + by,
            wall: Wall::from_millis(self.now.wall.as_millis().saturating_add(ms)),
        };
        self.term = Term::of(self.now.wall, &self.declared, self.replicas_max);
        self.sight.taken.iter_mut().for_each(|taken| taken.advance(by));
        if let Some(memory) = memory {
            self.sight.memory = Arc::new(memory);
        }
        self.desired = Some(desired);
        self.current = begin(self.desired, &self.sight.memory, (&self.declared, &self.term));
        let now = self.now.time;
        self.hold = self.hold.filter(|hold| hold.until.is_none_or(|until| now < until));
        self.pause = self.pause.filter(|pause| pause.until.is_none_or(|until| now < until));
        self.protected = self.protected.filter(|protected| now < protected.until);
    }

    /// The scene without a hold.
    pub(crate) fn released(&self) -> Self {
        Self { hold: None, ..self.clone() }
    }

    /// The scene with an autoscaler that decides.
    pub(crate) fn resumed(&self) -> Self {
        Self { pause: None, ..self.clone() }
    }

    /// The scene with one request waiting.
    pub(crate) fn asked(&self) -> Self {
        Self { rest: Some(Rest::Over { waiting: 1 }), ..self.clone() }
    }

    /// The scene with the autoscaler followed.
    pub(crate) fn followed(&self) -> Self {
        let mut spec = self.declared.spec.clone();
        spec.scale.mode = ScaleMode::On;
        let declared = Declared { spec, ..Declared::clone(&self.declared) };
        Self { declared: Arc::new(declared), ..self.clone() }
    }
}
