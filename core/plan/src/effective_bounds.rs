//! The bounds that hold now: the declared ones, or those of the schedules whose windows are open.

use std::borrow::Cow;

use model::decision::Limit;
use model::input::Declared;
use model::quantity::Replicas;
use model::resource::{AutoscalerSpec, Bounds, Schedule, Window};
use model::time::Wall;

/// The bounds of a service at one time, and where they come from.
#[derive(Clone, Debug)]
pub(crate) struct EffectiveBounds {
    /// At most what the guard allows, so that no plan asks for more.
    pub(crate) bounds: Bounds,
    /// The declared maximum, where the guard allows less.
    declared_max: Option<u32>,
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
        Self { bounds, declared_max: (max > replicas_max).then_some(max), open }
    }

    /// The limit of the guard, where `desired` is as many as it allows and more are declared.
    pub(crate) fn guard_limit(&self, desired: u32) -> Option<Limit> {
        let declared = self.declared_max.filter(|_| desired == self.bounds.max)?;
        Some(guard_limit(declared, "declared", desired))
    }

    /// Whether the service cannot scale to zero by itself: a schedule sets a minimum above 0, or the maximum is 0 already.
    pub(crate) fn is_fixed(&self, declared: &Declared) -> bool {
        self.bounds.max == 0
            || self.schedules(declared).any(|(schedule, _)| schedule.min.is_some_and(|min| min > 0))
    }

    /// The autoscaler between these bounds.
    pub(crate) fn bound<'a>(&self, spec: &'a AutoscalerSpec) -> Cow<'a, AutoscalerSpec> {
        between(self.bounds, spec)
    }

    /// The open schedules and until when they are open, for people; `None` when none is.
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

/// The limit where `wanted` is more than the guard allows; `how` says by whom it is wanted, such as `declared`.
pub(crate) fn guard_limit(wanted: u32, how: &str, desired: u32) -> Limit {
    let note =
        format!("{} {how}, but the guard lets at most {desired} of one service run", Replicas(wanted).are());
    Limit { name: "Guard", from: wanted, to: desired, note: note.into() }
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
