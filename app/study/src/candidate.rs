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

use crate::declared::{declared, slo_service};

/// A policy to compare; an instance is made for each recording.
#[derive(Clone)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// What it knows.
    pub kind: Kind,
    /// Its description in one sentence.
    pub about: String,
    /// Whether it is trained on the first part of a recording before the comparison.
    pub needs_training: bool,
    make: Arc<Make>,
}

type Make = dyn Fn(&PolicyContext<'_>) -> Box<dyn Policy>;

/// What a policy is made from.
#[derive(Clone, Copy, Debug)]
pub struct PolicyContext<'a> {
    /// The service.
    pub service: &'a Service,
    /// How often each number of replicas is demanded; only for policies of [`Kind::Hindsight`].
    pub demands: &'a Demands,
    /// The share of requests that should succeed in time, 0 to 1.
    pub objective: f64,
    /// The price that was learned from the first part of the load; `None` without training, and if it found nothing better than the untrained
    /// policy.
    pub learned: Option<LearnedPrice>,
}

/// The name of the policy that is trained before the comparison.
pub const LEARNED: &str = "learned";

/// What a policy knows about the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The past; the policy is declared in a manifest.
    Declared,
    /// The past.
    Causal,
    /// The distribution of the whole load.
    Hindsight,
    /// The future load.
    Oracle,
}

/// A built-in policy.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// What it knows.
    pub kind: Kind,
    /// Its description.
    pub about: &'static str,
    make: fn(&PolicyContext<'_>) -> Box<dyn Policy>,
}

/// The oracles in every comparison: what could be reached, exactly and without flapping.
pub const ORACLES: [&str; 2] = ["oracle", "oracle-stable"];

/// All built-in policies.
pub const BUILTINS: [Builtin; 17] = [
    Builtin {
        name: "hpa",
        kind: Kind::Causal,
        about: "the autoscaler of Kubernetes, by CPU",
        make: |on| Box::new(hpa::by_cpu(on.service)),
    },
    Builtin {
        name: "hpa-requests",
        kind: Kind::Causal,
        about: "the autoscaler of Kubernetes, by request rate",
        make: |on| Box::new(hpa::by_requests(on.service)),
    },
    Builtin {
        name: "step",
        kind: Kind::Causal,
        about: "step scaling by CPU over the last minute, as in EC2 Auto Scaling",
        make: |on| Box::new(other_autoscalers::step(on.service)),
    },
    Builtin {
        name: "target-tracking",
        kind: Kind::Causal,
        about: "CPU above its target for three minutes, or below it for fifteen, as in EC2 Auto Scaling",
        make: |on| Box::new(other_autoscalers::target_tracking(on.service)),
    },
    Builtin {
        name: "burst",
        kind: Kind::Causal,
        about: "request rate over a minute, and over seconds while that needs twice the ready replicas, as in Knative",
        make: |on| Box::new(other_autoscalers::burst(on.service)),
    },
    Builtin {
        name: "slo",
        kind: Kind::Causal,
        about: "SLO-first as in production: meets the SLO at the lowest cost, by the load forecast",
        make: |on| Candidate::slo_first(on, None),
    },
    Builtin {
        name: LEARNED,
        kind: Kind::Causal,
        about: "SLO-first as in production, with prices learned on the first two thirds; all are then scored on the rest",
        make: |on| Candidate::slo_first(on, on.learned),
    },
    Builtin {
        name: "schedule",
        kind: Kind::Causal,
        about: "the largest demand at this time of day in the last week; the first day as hpa-requests",
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
        about: "Holt's linear trend over the last minutes, two minutes ahead",
        make: |on| Box::new(Trend::of(on.service)),
    },
    Builtin {
        name: "surge",
        kind: Kind::Causal,
        about: "the load plus its rise within a start-up in 95 of 100 cases",
        make: |on| Box::new(Surge::at_target(on.service)),
    },
    Builtin {
        name: "surge-lean",
        kind: Kind::Causal,
        about: "the same for 99 of 100 cases, at 90 % utilization",
        make: |on| Box::new(Surge::lean(on.service)),
    },
    Builtin {
        name: "peak",
        kind: Kind::Hindsight,
        about: "constant: enough for the peak",
        make: |on| Box::new(on.demands.peak()),
    },
    Builtin {
        name: "p95",
        kind: Kind::Hindsight,
        about: "constant: enough for 95 % of the time",
        make: |on| Box::new(on.demands.at_least(0.95)),
    },
    Builtin {
        name: "oracle",
        kind: Kind::Oracle,
        about: "knows the load for the start-up time ahead",
        make: |on| Box::new(Oracle::exact(on.service)),
    },
    Builtin {
        name: "oracle-stable",
        kind: Kind::Oracle,
        about: "the same, holding the largest number of the last five minutes",
        make: |on| Box::new(Oracle::stable(on.service)),
    },
    Builtin {
        name: "oracle-lean",
        kind: Kind::Oracle,
        about: "the same at 95 % utilization: the lowest cost without a violation",
        make: |on| Box::new(Oracle::lean(on.service)),
    },
];

impl Builtin {
    /// The policy with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        BUILTINS.iter().find(|builtin| builtin.name == name)
    }
}

impl From<&Builtin> for Candidate {
    fn from(builtin: &Builtin) -> Self {
        let candidate = Self::new(builtin.name, builtin.kind, builtin.about, builtin.make);
        Self { needs_training: builtin.name == LEARNED, ..candidate }
    }
}

impl Candidate {
    /// A policy that is made by `make`.
    pub fn new(
        name: &str,
        kind: Kind,
        about: &str,
        make: impl Fn(&PolicyContext<'_>) -> Box<dyn Policy> + 'static,
    ) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            about: about.to_owned(),
            needs_training: false,
            make: Arc::new(make),
        }
    }

    /// The declared policy of a service, decided as in production.
    pub fn declared(declared: &Arc<Declared>) -> Self {
        let about = format!("the declared policy of {}", declared.name);
        let declared = Arc::clone(declared);
        Self::new("declared", Kind::Declared, &about, move |on| {
            Box::new(Self::declaration(&declared, on.service.tick))
        })
    }

    /// The policy of a service that only declares an SLO, with a learned price if there is one.
    fn slo_first(on: &PolicyContext<'_>, learned: Option<LearnedPrice>) -> Box<dyn Policy> {
        let service = slo_service(on.service.bounds, on.objective, learned);
        let declared = declared([&service], None).expect("a service with an SLO is valid");
        Box::new(Self::declaration(&Arc::new(declared), on.service.tick))
    }

    /// The policy of `declared`, decided as in production each `tick`.
    pub(crate) fn declaration(declared: &Arc<Declared>, tick: Duration) -> Declaration {
        let settings = Settings::default();
        // A sample covers a tick when ticks are shorter than production's windows.
        let window = settings.metric_window.min(tick);
        Declaration::of(Arc::clone(declared), settings, window)
    }

    /// An instance of the policy.
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
