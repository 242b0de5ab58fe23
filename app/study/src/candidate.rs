//! The policies that can be compared.

use std::fmt;
use std::sync::Arc;

use fluid::policy::calendar::Calendar;
use fluid::policy::constant::Demands;
use fluid::policy::declaration::Declaration;
use fluid::policy::hpa;
use fluid::policy::oracle::Oracle;
use fluid::policy::surge::Surge;
use fluid::policy::trend::Trend;
use fluid::{Policy, Service};
use model::input::Declared;
use model::settings::Settings;

/// A policy to compare, made anew for each recording.
#[derive(Clone)]
pub struct Candidate {
    /// What it is called.
    pub name: String,
    /// What it knows.
    pub kind: Kind,
    /// What it does, as one sentence for people.
    pub about: String,
    make: Arc<Make>,
}

type Make = dyn Fn(&Service, &Demands) -> Box<dyn Policy>;

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
    make: fn(&Service, &Demands) -> Box<dyn Policy>,
}

/// Those that are run beside every comparison: what can be reached, at once and without flapping.
pub const ORACLES: [&str; 2] = ["oracle", "oracle-stable"];

/// All that are known by name.
pub const BUILTINS: [Builtin; 12] = [
    Builtin {
        name: "hpa",
        kind: Kind::Causal,
        about: "Kubernetes' autoscaler by processor time",
        make: |service, _| Box::new(hpa::by_cpu(service)),
    },
    Builtin {
        name: "hpa-requests",
        kind: Kind::Causal,
        about: "Kubernetes' autoscaler by the rate of requests",
        make: |service, _| Box::new(hpa::by_requests(service)),
    },
    Builtin {
        name: "schedule",
        kind: Kind::Causal,
        about: "the largest demand at this time of the day in the last week; the first day as hpa-requests",
        make: |service, _| Box::new(Calendar::alone(service, hpa::by_requests(service))),
    },
    Builtin {
        name: "schedule+hpa",
        kind: Kind::Causal,
        about: "the larger of schedule and hpa-requests",
        make: |service, _| Box::new(Calendar::with(service, hpa::by_requests(service))),
    },
    Builtin {
        name: "trend",
        kind: Kind::Causal,
        about: "Holt's line over the last minutes, two minutes on",
        make: |service, _| Box::new(Trend::of(service)),
    },
    Builtin {
        name: "surge",
        kind: Kind::Causal,
        about: "the load and what it rises by within a start-up in 95 of 100 cases",
        make: |service, _| Box::new(Surge::at_target(service)),
    },
    Builtin {
        name: "surge-lean",
        kind: Kind::Causal,
        about: "the same for 99 of 100 cases, with 90 % of each replica used",
        make: |service, _| Box::new(Surge::lean(service)),
    },
    Builtin {
        name: "peak",
        kind: Kind::Hindsight,
        about: "always as many as the peak needs",
        make: |_, demands| Box::new(demands.peak()),
    },
    Builtin {
        name: "p95",
        kind: Kind::Hindsight,
        about: "always as many as 95 % of the time need",
        make: |_, demands| Box::new(demands.at_least(0.95)),
    },
    Builtin {
        name: "oracle",
        kind: Kind::Oracle,
        about: "knows the load for as long as a replica takes to start",
        make: |service, _| Box::new(Oracle::exact(service)),
    },
    Builtin {
        name: "oracle-stable",
        kind: Kind::Oracle,
        about: "the same, and holds the largest number of the last five minutes",
        make: |service, _| Box::new(Oracle::stable(service)),
    },
    Builtin {
        name: "oracle-lean",
        kind: Kind::Oracle,
        about: "the same with 95 % of each replica used: the least cost without a violation",
        make: |service, _| Box::new(Oracle::lean(service)),
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
        Self::new(builtin.name, builtin.kind, builtin.about, builtin.make)
    }
}

impl Candidate {
    /// A policy that is made by `make` for a service of which it may know how often each number of replicas was demanded; only those of
    /// [`Kind::Hindsight`] look at that.
    pub fn new(
        name: &str,
        kind: Kind,
        about: &str,
        make: impl Fn(&Service, &Demands) -> Box<dyn Policy> + 'static,
    ) -> Self {
        Self { name: name.to_owned(), kind, about: about.to_owned(), make: Arc::new(make) }
    }

    /// What a service declares, decided as in production.
    pub fn declared(declared: &Arc<Declared>) -> Self {
        let about = format!("what {} declares", declared.name);
        let declared = Arc::clone(declared);
        let settings = Settings::default();
        Self::new("declared", Kind::Declared, &about, move |service, _| {
            // A sample covers a tick when ticks are shorter than production's windows.
            let window = settings.metric_window.min(service.tick);
            Box::new(Declaration::of(Arc::clone(&declared), settings.clone(), window))
        })
    }

    /// The policy, made for a service.
    pub fn policy(&self, service: &Service, demands: &Demands) -> Box<dyn Policy> {
        (self.make)(service, demands)
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
