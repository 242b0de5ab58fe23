//! Carries out the orders of the loop, in the order in which they arrive.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use model::action::{Action, ActionKind, Admission, Outcome};
use model::identity::{ActionId, Incarnation, ReplicaId};
use model::input::{Declared, Input};
use model::name::ServiceName;
use model::resource::ListenAddress;
use orchestrator::Order;
use platform::{AllotRequest, Life, LifeState, StartRequest, Started, StopRequest};

use crate::known::KnownReplica;
use crate::shared::Shared;
use crate::{metric_sources, probing, reports, routes, routing, traffic};

/// Carries out orders until the loop has ended. Slow orders run in tasks of their own, so that no order waits for another one.
pub(crate) fn run(shared: &Arc<Shared>, orders: &Receiver<Order>) {
    while let Ok(order) = orders.recv() {
        match order {
            Order::Act(action) => carry_out(shared, action),
            Order::Versions(versions) => shared.known().set_versions(versions),
            Order::Route(routing) => routes::set_routes(shared, routing),
            Order::Measure(measuring) => metric_sources::set_sources(shared, &measuring),
            Order::Report => shared.spawn(reports::report_inventory(Arc::clone(shared))),
        }
    }
}

fn carry_out(shared: &Arc<Shared>, action: Action) {
    shared.known().receive(&action);
    let id = action.id;
    match action.kind {
        ActionKind::Start { replica, incarnation, declared, admission } => {
            let request = StartRequest { action: id, replica, incarnation, declared };
            shared.spawn(shared.starts.track_future(start(Arc::clone(shared), request, admission)));
        }
        ActionKind::Stop { replica, incarnation, grace } => {
            shared.spawn(stop(Arc::clone(shared), StopRequest { action: id, replica, incarnation, grace }));
        }
        ActionKind::Allot { replica, incarnation, resources } => {
            let request = AllotRequest { action: id, replica, incarnation, resources };
            shared.spawn(allot(Arc::clone(shared), request));
        }
        ActionKind::Admit { replica, incarnation, declared, admission } => {
            let outcome = admit(shared, id, &replica, incarnation, &declared, admission);
            let applied = shared.balancers.applied(&replica.service);
            if admission == Admission::Draining && outcome == Outcome::Applied && !applied.is_now() {
                // New requests arrive until every external balancer is updated, so the replica is not draining before.
                let task_shared = Arc::clone(shared);
                shared.spawn(async move {
                    applied.wait().await;
                    report_admission(&task_shared, id, outcome, &replica.service);
                });
            } else {
                report_admission(shared, id, outcome, &replica.service);
            }
        }
        ActionKind::Expose(declared) => {
            let name = declared.name.clone();
            report_outcome(shared, id, expose(shared, id, &name, Some(declared)));
        }
        ActionKind::Conceal(service) => report_outcome(shared, id, expose(shared, id, &service, None)),
        ActionKind::Remember(_) => {
            unreachable!("memory is written to the store, not sent to an agent")
        }
    }
}

fn report_admission(shared: &Shared, id: ActionId, outcome: Outcome, service: &ServiceName) {
    report_outcome(shared, id, outcome);
    traffic::report_service(shared, service);
}

async fn start(shared: Arc<Shared>, request: StartRequest, admission: Admission) {
    let (id, replica, declared) = (request.action, request.replica.clone(), Arc::clone(&request.declared));
    let mut ends = shared.platform.events();
    let Started { outcome, life } = shared.platform.start(request).await;
    // A repeated order may be about a life that is over.
    let running =
        life.filter(|life| outcome == Outcome::Applied && !matches!(life.state, LifeState::Exited(_)));
    if let Some(life) = running {
        let incarnation = life.incarnation;
        let is_new = insert(&shared, life);
        // It may have ended before it was known here: then its end was reported, and nothing else would remove it from the traffic.
        reports::report_ends_of(&shared, &replica, &mut ends);
        // A repeated order does not admit the replica again: later orders may have changed its admission.
        if is_new {
            admit(&shared, id, &replica, incarnation, &declared, admission);
        }
    }
    shared.known().end_start(id);
    report_outcome(&shared, id, outcome);
}

/// Adds a life that was started; returns whether it was not known.
fn insert(shared: &Shared, life: Life) -> bool {
    let mut node = shared.known();
    let found = KnownReplica::found(life, &node.versions);
    let (replica, incarnation) = (&found.life.replica, found.life.incarnation);
    let (ordinal, replicas) = (replica.ordinal, &mut node.service(&replica.service).replicas);
    let is_new = replicas.get(&ordinal).is_none_or(|known| known.life.incarnation != incarnation);
    if is_new && let Some(old) = replicas.insert(ordinal, found) {
        old.probing.cancel();
    }
    is_new
}

/// Stops a replica. Reports its end before the outcome of the action; a second report of the same end does no harm.
async fn stop(shared: Arc<Shared>, request: StopRequest) {
    let (id, replica) = (request.action, request.replica.clone());
    let mut ends = shared.platform.events();
    let outcome = shared.platform.stop(request).await;
    reports::report_ends_of(&shared, &replica, &mut ends);
    report_outcome(&shared, id, outcome);
}

async fn allot(shared: Arc<Shared>, request: AllotRequest) {
    let id = request.action;
    let outcome = shared.platform.allot(request).await;
    report_outcome(&shared, id, outcome);
}

/// Sets the admission of a replica, and begins to probe it as declared for its version.
fn admit(
    shared: &Arc<Shared>,
    id: ActionId,
    replica: &ReplicaId,
    incarnation: Incarnation,
    declared: &Arc<Declared>,
    admission: Admission,
) -> Outcome {
    let mut node = shared.known();
    let known = match node.life_of(replica, incarnation) {
        Ok(known) => known,
        Err(refusal) => return Outcome::Refused(refusal),
    };
    if id < known.admitted_by {
        return Outcome::Applied;
    }
    known.admitted_by = id;
    known.admission = admission;
    let before = known.probes().cloned();
    known.learn(declared);
    if before.as_ref() != known.probes() {
        probing::begin(shared, known);
    }
    let service = node.service(&replica.service);
    routing::update_route(shared, &replica.service, service)
}

fn expose(shared: &Shared, id: ActionId, name: &ServiceName, declared: Option<Arc<Declared>>) -> Outcome {
    let mut node = shared.known();
    let service = node.service(name);
    if id < service.exposed_by {
        return Outcome::Applied;
    }
    service.exposed_by = id;
    let before = std::mem::replace(&mut service.exposed, declared);
    if service.exposed.is_none() {
        routes::conceal(&shared.table, name, service, before.as_deref());
    }
    let outcome = routing::expose_route(shared, name, service);
    if outcome == Outcome::Applied {
        let (now, before) = (listen_address(service.exposed.as_deref()), listen_address(before.as_deref()));
        if let Some(address) = now.filter(|now| Some(*now) != before) {
            tracing::info!(service = %name, %address, "exposed");
        }
    } else {
        // The proxy still has the previous route.
        service.exposed = before;
    }
    node.forget_if_unused(name);
    // The service may have released an address that routes wait for.
    routes::retry(shared, &mut node);
    outcome
}

fn listen_address(declared: Option<&Declared>) -> Option<ListenAddress> {
    declared?.spec.expose.as_ref()?.listen
}

fn report_outcome(shared: &Shared, action: ActionId, outcome: Outcome) {
    shared.report(Input::Ended { action, outcome });
}
