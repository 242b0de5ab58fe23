//! The bounds that hold now: the declared ones, or those of the schedules whose windows are open.

use std::borrow::Cow;

use model::decision::Limit;
use model::input::Declared;
use model::quantity::Replicas;
use model::resource::{AutoscalerSpec, Bounds, Schedule, Window};
use model::time::Wall;

/// The bounds of a service at one time, and what makes them so.
#[derive(Clone, Debug)]
pub(crate) struct EffectiveBounds {
    /// Never more than the guard lets run: what it would refuse is not asked of it.
    pub(crate) bounds: Bounds,
    /// The most that are declared, where the guard lets fewer run.
    beyond: Option<u32>,
    /// The open windows, each of the schedule with this number.
    open: Vec<(usize, Window)>,
}

impl EffectiveBounds {
    /// The bounds of `declared` at `at`, where the guard allows at most `replicas_max` replicas.
    pub(crate) fn of(at: Wall, declared: &Declared, replicas_max: u32) -> Self {
        let schedule = &declared.spec.scale.schedule;
        let open = schedule.iter().enumerate().filter_map(|(i, schedule)| Some((i, schedule.window(at)?)));
        let open: Vec<_> = open.collect();
        let Bounds { min, max } = declared.usual_bounds().under(open.iter().map(|(i, _)| &schedule[*i]));
        let bounds = Bounds { min: min.min(replicas_max), max: max.min(replicas_max) };
        Self { bounds, beyond: (max > replicas_max).then_some(max), open }
    }

    /// What the guard makes of the bounds, where `desired` is as many as it lets run and more are declared.
    pub(crate) fn guarded(&self, desired: u32) -> Option<Limit> {
        let declared = self.beyond.filter(|_| desired == self.bounds.max)?;
        Some(beyond(declared, "declared", desired))
    }

    /// Whether requests make no difference: a schedule wants replicas anyway, or none at all.
    pub(crate) fn is_fixed(&self, declared: &Declared) -> bool {
        self.bounds.max == 0
            || self.schedules(declared).any(|(schedule, _)| schedule.min.is_some_and(|min| min > 0))
    }

    /// The autoscaler between these bounds.
    pub(crate) fn bound<'a>(&self, spec: &'a AutoscalerSpec) -> Cow<'a, AutoscalerSpec> {
        between(self.bounds, spec)
    }

    /// Which schedules hold and until when; `None` when none does.
    pub(crate) fn note(&self, declared: &Declared) -> Option<String> {
        let notes: Vec<String> =
            self.schedules(declared).map(|(schedule, window)| note(schedule, window)).collect();
        (!notes.is_empty()).then(|| notes.join(", and "))
    }

    fn schedules<'a>(&'a self, declared: &'a Declared) -> impl Iterator<Item = (&'a Schedule, Window)> {
        let schedule = &declared.spec.scale.schedule;
        self.open.iter().filter_map(|(i, window)| Some((schedule.get(*i)?, *window)))
    }
}

/// The limit where more are asked for than the guard lets run; `how` says by whom.
pub(crate) fn beyond(asked: u32, how: &str, desired: u32) -> Limit {
    let note =
        format!("{} {how}, but the guard lets at most {desired} of one service run", Replicas(asked).are());
    Limit { name: "Guard", from: asked, to: desired, note: note.into() }
}

/// `spec` between these bounds.
pub(crate) fn between(bounds: Bounds, spec: &AutoscalerSpec) -> Cow<'_, AutoscalerSpec> {
    if spec.bounds() == bounds {
        return Cow::Borrowed(spec);
    }
    let Bounds { min, max } = bounds;
    Cow::Owned(AutoscalerSpec { min, max, ..spec.clone() })
}

fn note(schedule: &Schedule, window: Window) -> String {
    let bounds = match (schedule.min, schedule.max) {
        (Some(min), Some(max)) => format!("{min} to {}", Replicas(max)),
        (Some(min), None) => format!("at least {}", Replicas(min)),
        (None, Some(max)) => format!("at most {}", Replicas(max)),
        (None, None) => "nothing".to_owned(),
    };
    let until = schedule.timezone().show(window.until);
    format!(
        "schedule {:?} in {} wants {bounds} until {until}",
        schedule.cron().to_string(),
        schedule.timezone()
    )
}
