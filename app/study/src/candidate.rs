//! The policies that can be compared.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fluid::policy::calendar::Calendar;
use fluid::policy::constant::Demands;
use fluid::policy::declaration::Declaration;
use fluid::policy::hpa;
use fluid::policy::oracle::Oracle;
use fluid::policy::other_autoscalers;
use fluid::policy::surge::Surge;
use fluid::policy::trend::Trend;
use fluid::{Policy, Service};
use model::input::Declared;
use model::resource::LearnedPrice;
use model::settings::Settings;

use crate::declared::{declared, promising};

/// A policy to compare, made anew for each recording.
#[derive(Clone)]
pub struct Candidate {
    /// What it is called.
    pub name: String,
    /// What it knows.
    pub kind: Kind,
    /// What it does, as one sentence for people.
    pub about: String,
    /// Whether it has to learn from the first part of a recording before it is tried.
    pub is_taught: bool,
    make: Arc<Make>,
}

type Make = dyn Fn(&PolicyContext<'_>) -> Box<dyn Policy>;

/// What a policy is made for.
#[derive(Clone, Copy, Debug)]
pub struct PolicyContext<'a> {
    /// The service.
    pub service: &'a Service,
    /// How often each number of replicas is demanded; only those of [`Kind::Hindsight`] look at it.
    pub demands: &'a Demands,
    /// The part of the requests that is to be well, 0 to 1.
    pub promise: f64,
    /// What was learned from the first part of the load; `None` where nothing was, and where nothing better was found than what is not learned.
    pub learned: Option<LearnedPrice>,
}

/// The name of the policy that has to learn before it is tried.
pub const LEARNED: &str = "learned";

/// What a policy knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What has passed, and it is what a manifest declares.
    Declared,
    /// What has passed.
    Causal,
    /// How much load there was in all, afterwards.
    Hindsight,
    /// The load to come.
    Oracle,
}

/// The policies that are known by name.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// What it knows.
    pub kind: Kind,
    /// What it does.
    pub about: &'static str,
    make: fn(&PolicyContext<'_>) -> Box<dyn Policy>,
}

/// Those that are run beside every comparison: what can be reached, at once and without flapping.
pub const ORACLES: [&str; 2] = ["oracle", "oracle-stable"];

/// All that are known by name.
pub const BUILTINS: [Builtin; 17] = [
    Builtin {
        name: "hpa",
        kind: Kind::Causal,
        about: "Kubernetes' autoscaler by processor time",
        make: |on| Box::new(hpa::by_cpu(on.service)),
    },
    Builtin {
        name: "hpa-requests",
        kind: Kind::Causal,
        about: "Kubernetes' autoscaler by the rate of requests",
        make: |on| Box::new(hpa::by_requests(on.service)),
    },
    Builtin {
        name: "step",
        kind: Kind::Causal,
        about: "steps over the processor time of the last minute, as EC2 Auto Scaling",
        make: |on| Box::new(other_autoscalers::step(on.service)),
    },
    Builtin {
        name: "target-tracking",
        kind: Kind::Causal,
        about: "processor time above its target for three minutes, or below it for fifteen, as EC2 Auto Scaling",
        make: |on| Box::new(other_autoscalers::target_tracking(on.service)),
    },
    Builtin {
        name: "burst",
        kind: Kind::Causal,
        about: "the rate of requests of a minute, and of seconds while that asks for twice what is ready, as Knative",
        make: |on| Box::new(other_autoscalers::burst(on.service)),
    },
    Builtin {
        name: "slo",
        kind: Kind::Causal,
        about: "SLO-first as in production: what keeps the promise at least cost, by the load ahead",
        make: |on| Candidate::promising(on, None),
    },
    Builtin {
        name: LEARNED,
        kind: Kind::Causal,
        about: "SLO-first as in production, with prices that were learned on the first two thirds; all are then judged on the rest",
        make: |on| Candidate::promising(on, on.learned),
    },
    Builtin {
        name: "schedule",
        kind: Kind::Causal,
        about: "the largest demand at this time of the day in the last week; the first day as hpa-requests",
        make: |on| Box::new(Calendar::alone(on.service, hpa::by_requests(on.service))),
    },
    Builtin {
        name: "schedule+hpa",
        kind: Kind::Causal,
        about: "the larger of schedule and hpa-requests",
        make: |on| Box::new(Calendar::with(on.service, hpa::by_requests(on.service))),
    },
    Builtin {
        name: "trend",
        kind: Kind::Causal,
        about: "Holt's line over the last minutes, two minutes on",
        make: |on| Box::new(Trend::of(on.service)),
    },
    Builtin {
        name: "surge",
        kind: Kind::Causal,
        about: "the load and what it rises by within a start-up in 95 of 100 cases",
        make: |on| Box::new(Surge::at_target(on.service)),
    },
    Builtin {
        name: "surge-lean",
        kind: Kind::Causal,
        about: "the same for 99 of 100 cases, with 90 % of each replica used",
        make: |on| Box::new(Surge::lean(on.service)),
    },
    Builtin {
        name: "peak",
        kind: Kind::Hindsight,
        about: "always as many as the peak needs",
        make: |on| Box::new(on.demands.peak()),
    },
    Builtin {
        name: "p95",
        kind: Kind::Hindsight,
        about: "always as many as 95 % of the time need",
        make: |on| Box::new(on.demands.at_least(0.95)),
    },
    Builtin {
        name: "oracle",
        kind: Kind::Oracle,
        about: "knows the load for as long as a replica takes to start",
        make: |on| Box::new(Oracle::exact(on.service)),
    },
    Builtin {
        name: "oracle-stable",
        kind: Kind::Oracle,
        about: "the same, and holds the largest number of the last five minutes",
        make: |on| Box::new(Oracle::stable(on.service)),
    },
    Builtin {
        name: "oracle-lean",
        kind: Kind::Oracle,
        about: "the same with 95 % of each replica used: the least cost without a violation",
        make: |on| Box::new(Oracle::lean(on.service)),
    },
];

impl Builtin {
    /// The policy of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        BUILTINS.iter().find(|builtin| builtin.name == name)
    }
}

impl From<&Builtin> for Candidate {
    fn from(builtin: &Builtin) -> Self {
        let candidate = Self::new(builtin.name, builtin.kind, builtin.about, builtin.make);
        Self { is_taught: builtin.name == LEARNED, ..candidate }
    }
}

impl Candidate {
    /// A policy that is made by `make`, which says why when there is none for such a service.
    pub fn new(
        name: &str,
        kind: Kind,
        about: &str,
        make: impl Fn(&PolicyContext<'_>) -> Box<dyn Policy> + 'static,
    ) -> Self {
        Self { name: name.to_owned(), kind, about: about.to_owned(), is_taught: false, make: Arc::new(make) }
    }

    /// What a service declares, decided as in production.
    pub fn declared(declared: &Arc<Declared>) -> Self {
        let about = format!("what {} declares", declared.name);
        let declared = Arc::clone(declared);
        Self::new("declared", Kind::Declared, &about, move |on| {
            Box::new(Self::declaration(&declared, on.service.tick))
        })
    }

    /// A service that declares nothing but its promise, and what was learned of that.
    fn promising(on: &PolicyContext<'_>, learned: Option<LearnedPrice>) -> Box<dyn Policy> {
        let service = promising(on.service.bounds, on.promise, learned);
        let declared = declared([&service], None).expect("a promise can be decided on");
        Box::new(Self::declaration(&Arc::new(declared), on.service.tick))
    }

    /// The policy that `declared` has, decided as in production each `tick`.
    pub(crate) fn declaration(declared: &Arc<Declared>, tick: Duration) -> Declaration {
        let settings = Settings::default();
        // A sample covers a tick when ticks are shorter than production's windows.
        let window = settings.metric_window.min(tick);
        Declaration::of(Arc::clone(declared), settings, window)
    }

    /// The policy, made for a service.
    pub fn policy(&self, on: &PolicyContext<'_>) -> Box<dyn Policy> {
        (self.make)(on)
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
