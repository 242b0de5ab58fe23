//! What the agent sees, told to the loop: changes at once, measurements in a steady beat, and everything now and then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::identity::{Incarnation, Ordinal, ReplicaId};
use model::input::{Allotted, Declared, Demand, Ejected, ExitStatus, Input, Report, Traffic};
use model::name::ServiceName;
use model::resource::{ForecastMode, ServiceSpec};
use platform::{Event, Life, LifeState, RunEnd, RunRequest};
use probe::{Prober, RunBeside, Told};
use proxy::{Asked, EndpointTraffic, Histogram, ServiceTraffic};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::agent::Inner;
use crate::balancers::Elsewhere;
use crate::desk::{ReplicaDesk, Standing};
use crate::obey::spawn;
use crate::{latency, routes, routing};

/// From one report of traffic to the next: the loop sees a rise within this time, without scraping.
const TRAFFIC_EVERY: Duration = Duration::from_millis(250);

/// An unchanged report of traffic is left out at most so many times in a row: silence must not look like a broken sensor.
const TRAFFIC_SILENCE_MAX: u32 = 3;

/// From one report of latencies to the next, in beats: windows of five seconds end on time to a fifth.
const LATENCIES_EVERY: u32 = 4;

/// From one report of who is ejected to the next, in beats, while somebody is.
const EJECTED_EVERY: u32 = 4;

/// From one report of processor time and memory to the next.
const USAGE_EVERY: Duration = Duration::from_millis(500);

/// From one report of everything to the next: what was lost on the way is made good within this time.
const INVENTORY_EVERY: Duration = Duration::from_secs(10);

/// Starts the tasks that report by themselves.
pub(crate) fn start(inner: &Arc<Inner>) {
    spawn(inner, ends(Arc::clone(inner)));
    spawn(inner, usage(Arc::clone(inner)));
    spawn(inner, traffic(Arc::clone(inner)));
    spawn(inner, inventories(Arc::clone(inner)));
}

/// Hands something to the loop; when that has ended, there is nobody left to tell.
pub(crate) fn tell(inner: &Inner, input: Input) {
    if inner.loop_handle.report(input).is_err() {
        tracing::debug!("loop_has_ended");
    }
}

/// Tells of replicas that end, the moment they do; and takes them out of the traffic before that.
async fn ends(inner: Arc<Inner>) {
    let mut events = inner.platform.events();
    loop {
        match events.recv().await {
            Ok(Event::Ended(life)) => ended(&inner, &life),
            // Some ends were missed: the list of everything has them.
            Err(RecvError::Lagged(_)) => inventory(Arc::clone(&inner)).await,
            Err(RecvError::Closed) => return,
        }
    }
}

/// Takes a life that has ended out of the traffic, and tells how it ended.
pub(crate) fn ended(inner: &Inner, life: &Life) {
    routing::take_out(&inner.table, life);
    let observed = {
        let mut desk = inner.desk();
        let service = desk.service(&life.replica.service);
        let ordinal = life.replica.ordinal;
        if service.replicas.get(&ordinal).is_none_or(|known| known.life.incarnation <= life.incarnation) {
            if let Some(old) = service.replicas.remove(&ordinal) {
                old.probing.cancel();
            }
            routing::route(inner, &life.replica.service, service);
            routes::let_go(&inner.table, &mut desk, &life.replica.service);
        }
        life.observed(Standing::UNASKED.state())
    };
    tell(inner, Input::Report(Report::Replica(observed)));
}

async fn inventories(inner: Arc<Inner>) {
    let mut beat = interval(INVENTORY_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        inventory(Arc::clone(&inner)).await;
    }
}

/// Tells of every replica there is, and takes up those that the desk does not know.
pub(crate) async fn inventory(inner: Arc<Inner>) {
    let up_to = inner.desk().settled_up_to();
    let lives = match inner.platform.inventory().await {
        Ok(lives) => lives,
        Err(error) => {
            // No list is no empty list: the loop is told nothing.
            tracing::warn!(error = %error, "inventory_failed");
            return;
        }
    };
    let allotted: Vec<Allotted> = lives.iter().filter_map(allotted).collect();
    let mut desk = inner.desk();
    let replicas = lives
        .into_iter()
        .map(|life| {
            let replicas = &mut desk.service(&life.replica.service).replicas;
            let ordinal = life.replica.ordinal;
            if matches!(life.state, LifeState::Exited(_)) {
                return life.observed(Standing::UNASKED.state());
            }
            let known = replicas.get_mut(&ordinal).filter(|known| known.life.incarnation == life.incarnation);
            match known {
                Some(known) => {
                    known.life = life;
                    known.observed()
                }
                None => {
                    let met = ReplicaDesk::of(life);
                    let observed = met.observed();
                    if let Some(old) = replicas.insert(ordinal, met) {
                        old.probing.cancel();
                    }
                    observed
                }
            }
        })
        .collect();
    routes::retry(&inner, &mut desk);
    drop(desk);
    let node = inner.node.clone();
    tell(&inner, Input::Report(Report::Inventory { node, up_to, replicas }));
    if !allotted.is_empty() {
        tell(&inner, Input::Report(Report::Allotted(allotted)));
    }
}

/// What a running life may use; `None` where that is not known.
fn allotted(life: &Life) -> Option<Allotted> {
    let resources = life.resources?;
    let (replica, incarnation) = (life.replica.clone(), life.incarnation);
    (life.state == LifeState::Running).then_some(Allotted { replica, incarnation, resources })
}

async fn usage(inner: Arc<Inner>) {
    let mut beat = interval(USAGE_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        match inner.platform.usage().await {
            Ok(samples) if samples.is_empty() => {}
            Ok(samples) => tell(&inner, Input::Report(Report::Usage(samples))),
            Err(error) => tracing::warn!(error = %error, "usage_failed"),
        }
    }
}

/// What was reported last, to tell a change from none.
#[derive(Default)]
struct Last {
    latency: BTreeMap<(Arc<str>, balance::EndpointId), Histogram>,
    report: Vec<Traffic>,
    silent_for: u32,
    demand: LastDemand,
}

/// The demand that was reported last.
#[derive(Default)]
struct LastDemand {
    report: Vec<Demand>,
    silent_for: u32,
}

impl LastDemand {
    /// Whether a request waits where none did.
    fn wakes(&self, demand: &[Demand]) -> bool {
        let waited = |service: &ServiceName| {
            self.report.iter().any(|before| before.service == *service && before.waiting > 0)
        };
        demand.iter().any(|now| now.waiting > 0 && !waited(&now.service))
    }

    /// Whether it is to be told with this beat: when it is news, or was not told for as long as may be.
    fn is_due(&mut self, demand: &[Demand]) -> bool {
        self.silent_for += 1;
        !demand.is_empty() && (self.report != demand || self.silent_for > TRAFFIC_SILENCE_MAX)
    }
}

fn tell_demand(inner: &Inner, last: &mut LastDemand, demand: Vec<Demand>) {
    *last = LastDemand { report: demand.clone(), silent_for: 0 };
    tell(inner, Input::Report(Report::Demand(demand)));
}

/// What is asked of the services that may rest, and of those of which it is forecast.
fn read_demand(inner: &Inner) -> Vec<Demand> {
    let is_told = |declared: &Arc<Declared>| {
        declared.spec.scale.to_zero.is_some() || declared.forecast_mode() != ForecastMode::Off
    };
    let names: Vec<ServiceName> = {
        let desk = inner.desk();
        let may_rest = |spec: &Arc<ServiceSpec>| spec.scale.to_zero.is_some();
        let told = desk.services.iter().filter(|(_, desk)| {
            desk.exposed.as_ref().is_some_and(is_told) || desk.routed.as_ref().is_some_and(may_rest)
        });
        told.map(|(name, _)| name.clone()).collect()
    };
    let demand = |name: ServiceName| {
        let asked = inner.table.asked(name.as_str())?;
        let Asked { requests, waiting, in_flight } = asked;
        Some(Demand { service: name, requests, waiting, in_flight })
    };
    names.into_iter().filter_map(demand).collect()
}

async fn traffic(inner: Arc<Inner>) {
    let mut beat = interval(TRAFFIC_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut beats) = (Last::default(), 0_u32);
    loop {
        // Both are cancel safe: a beat that is not waited for comes next, and so does a notice.
        let is_beat = tokio::select! {
            _ = beat.tick() => true,
            () = inner.table.awaited() => false,
        };
        let demand = read_demand(&inner);
        if !is_beat {
            // Most requests that wait are told with the next beat; the first one of a service that rests at once.
            if last.demand.wakes(&demand) {
                tell_demand(&inner, &mut last.demand, demand);
            }
            continue;
        }
        beats = beats.wrapping_add(1);
        if beats.is_multiple_of(LATENCIES_EVERY) {
            latency::report(&inner);
        }
        if last.demand.is_due(&demand) {
            tell_demand(&inner, &mut last.demand, demand);
        }
        let all = inner.table.traffic();
        if beats.is_multiple_of(EJECTED_EVERY) {
            tell_ejected(&inner, &all);
        }
        let report = read_traffic(&inner, &mut last, all);
        let is_news = report.iter().map(counters).ne(last.report.iter().map(counters));
        last.silent_for = if is_news { 0 } else { last.silent_for + 1 };
        if report.is_empty() || (last.silent_for > 0 && last.silent_for <= TRAFFIC_SILENCE_MAX) {
            continue;
        }
        last.silent_for = 0;
        last.report.clone_from(&report);
        tell(&inner, Input::Report(Report::Traffic(report)));
    }
}

fn counters(traffic: &Traffic) -> (&ServiceName, Ordinal, Incarnation, u64, u64, u32) {
    let Traffic { service, ordinal, incarnation, requests, errors, in_flight, .. } = traffic;
    (service, *ordinal, *incarnation, *requests, *errors, *in_flight)
}

/// Tells whom the proxy goes around, while it is somebody.
fn tell_ejected(inner: &Inner, all: &[ServiceTraffic]) {
    let ejected: Vec<Ejected> = all.iter().flat_map(ejected_of).collect();
    if !ejected.is_empty() {
        tell(inner, Input::Report(Report::Ejected(ejected)));
    }
}

fn ejected_of(service: &ServiceTraffic) -> impl Iterator<Item = Ejected> {
    let name = ServiceName::parse(&service.service).ok();
    let endpoints = service.endpoints.iter().filter(|endpoint| endpoint.is_ejected());
    endpoints.filter_map(move |endpoint| {
        let replica = ReplicaId { service: name.clone()?, ordinal: Ordinal(endpoint.id.ordinal) };
        Some(Ejected { replica, incarnation: Incarnation(endpoint.id.incarnation) })
    })
}

fn read_traffic(inner: &Inner, last: &mut Last, all: Vec<ServiceTraffic>) -> Vec<Traffic> {
    let mut latency = BTreeMap::new();
    let mut elsewhere = Elsewhere::default();
    let mut report = Vec::new();
    let now = inner.loop_handle.now().time;
    inner.errors().take(now, all.iter().map(|service| (&service.service, service.errors())));
    let routes = inner.table.route_traffic();
    inner.route_rates().take(now, routes.iter().map(|route| (&route.route, route.requests)));
    for service in all {
        // The proxy's names are those that the desk gave it.
        let Ok(name) = ServiceName::parse(&service.service) else { continue };
        for endpoint in service.endpoints {
            let key = (Arc::clone(&service.service), endpoint.id);
            let window = match last.latency.get(&key) {
                Some(earlier) => endpoint.counts.latency.since(earlier),
                None => endpoint.counts.latency.clone(),
            };
            report.push(Traffic {
                in_flight: endpoint.in_flight + elsewhere.under_way(inner, &name, &endpoint),
                ..sample(name.clone(), &endpoint, &window)
            });
            latency.insert(key, endpoint.counts.latency);
        }
    }
    last.latency = latency;
    report
}

/// The counters of one service as they are now, between two beats: whoever waits for a drained replica need not wait longer.
pub(crate) fn traffic_of(inner: &Inner, name: &ServiceName) {
    let all = inner.table.traffic();
    let mut elsewhere = Elsewhere::default();
    let samples: Vec<Traffic> = all
        .iter()
        .filter(|service| *service.service == *name.as_str())
        .flat_map(|service| &service.endpoints)
        .map(|endpoint| Traffic {
            in_flight: endpoint.in_flight + elsewhere.under_way(inner, name, endpoint),
            ..sample(name.clone(), endpoint, &Histogram::default())
        })
        .collect();
    if !samples.is_empty() {
        tell(inner, Input::Report(Report::Traffic(samples)));
    }
}

fn sample(service: ServiceName, endpoint: &EndpointTraffic, window: &Histogram) -> Traffic {
    let counts = &endpoint.counts;
    Traffic {
        service,
        ordinal: Ordinal(endpoint.id.ordinal),
        incarnation: Incarnation(endpoint.id.incarnation),
        requests: counts.requests.saturating_sub(u64::from(endpoint.in_flight)),
        errors: counts.failed_attempts(),
        in_flight: endpoint.in_flight,
        latency_p99: window.quantile(0.99).unwrap_or_default(),
    }
}

/// Asks a life for its health as declared, in place of how it was asked before.
pub(crate) fn probe(inner: &Arc<Inner>, known: &mut ReplicaDesk, declared: &Declared) {
    known.probing.cancel();
    known.probing = CancellationToken::new();
    let (replica, incarnation) = (known.life.replica.clone(), known.life.incarnation);
    let prober = Prober {
        replica: probe::Replica {
            ports: known.life.ports.clone(),
            first_port: declared.spec.first_port().map(|port| port.name.clone()),
            run_beside: run_beside(inner, &replica, incarnation),
        },
        probes: declared.spec.probes.clone(),
    };
    let (teller, cancelled) = (Arc::clone(inner), known.probing.clone());
    spawn(inner, async move {
        let tell = |told| health(&teller, &replica, incarnation, told);
        // Both are cancel safe: an answer that is not waited for any more is about a life that is over.
        tokio::select! {
            () = cancelled.cancelled() => {}
            () = prober.run(tell) => {}
        }
    });
}

/// Takes what the probes of a life say: first into the routes, then to the loop.
fn health(inner: &Inner, replica: &ReplicaId, incarnation: Incarnation, told: Told) {
    let observed = {
        let mut desk = inner.desk();
        let Ok(known) = desk.life_of(replica, incarnation) else { return };
        known.standing = Standing { begun: told.begun, ready: told.ready, live: told.live };
        known.probe_note = told.note;
        let observed = known.observed();
        routing::route(inner, &replica.service, desk.service(&replica.service));
        observed
    };
    tell(inner, Input::Report(Report::Replica(observed)));
}

fn run_beside(inner: &Arc<Inner>, replica: &ReplicaId, incarnation: Incarnation) -> Arc<RunBeside> {
    let (platform, replica) = (Arc::clone(&inner.platform), replica.clone());
    Arc::new(move |command, timeout| {
        let request = RunRequest { replica: replica.clone(), incarnation, command, timeout };
        let platform = Arc::clone(&platform);
        Box::pin(async move {
            match platform.run_beside(request).await {
                Ok(RunEnd::Exited(ExitStatus::Code(0))) => Ok(()),
                Ok(RunEnd::Exited(status)) => Err(format!("the probe's program ended with {status}")),
                Ok(RunEnd::TimedOut) => Err(format!("the probe's program did not end within {timeout:?}")),
                Err(error) => Err(error.to_string()),
            }
        })
    })
}
