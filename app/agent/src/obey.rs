//! Orders, in the order in which they come.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use model::action::{Action, ActionKind, Admission, Outcome};
use model::identity::{ActionId, Incarnation, ReplicaId};
use model::input::{Declared, Input};
use model::name::ServiceName;
use orchestrator::Order;
use platform::{AllotRequest, Event, StartRequest, Started, StopRequest};

use crate::agent::Inner;
use crate::known::KnownReplica;
use crate::{measuring, probing, report, routes, routing, traffic};

/// Obeys until the loop gives no more orders. What takes long goes on by itself, so that no order waits for another one's end.
pub(crate) fn run(inner: &Arc<Inner>, orders: &Receiver<Order>) {
    while let Ok(order) = orders.recv() {
        match order {
            Order::Act(action) => obey(inner, action),
            Order::Route(routing) => routes::follow(inner, routing),
            Order::Measure(measuring) => measuring::follow(inner, &measuring),
            Order::Report => spawn(inner, report::inventory(Arc::clone(inner))),
        }
    }
}

fn obey(inner: &Arc<Inner>, action: Action) {
    inner.known().receive(action.id);
    let id = action.id;
    match action.kind {
        ActionKind::Start { replica, incarnation, declared, admission } => {
            inner.known().begin_start(id);
            let request = StartRequest { action: id, replica, incarnation, declared };
            spawn(inner, inner.starts.track_future(start(Arc::clone(inner), request, admission)));
        }
        ActionKind::Stop { replica, incarnation, grace } => {
            spawn(inner, stop(Arc::clone(inner), StopRequest { action: id, replica, incarnation, grace }));
        }
        ActionKind::Allot { replica, incarnation, resources } => {
            let request = AllotRequest { action: id, replica, incarnation, resources };
            spawn(inner, allot(Arc::clone(inner), request));
        }
        ActionKind::Admit { replica, incarnation, declared, admission } => {
            let outcome = admit(inner, id, &replica, incarnation, declared, admission);
            let applied = inner.balancers.applied(&replica.service);
            if admission == Admission::Draining && outcome == Outcome::Applied && !applied.is_now() {
                // New requests come until every balancer has been told.
                let inner_too = Arc::clone(inner);
                spawn(inner, async move {
                    applied.wait().await;
                    admitted(&inner_too, id, outcome, &replica.service);
                });
            } else {
                admitted(inner, id, outcome, &replica.service);
            }
        }
        ActionKind::Expose(declared) => {
            let name = declared.name.clone();
            ended(inner, id, expose(inner, id, &name, Some(declared)));
        }
        ActionKind::Conceal(service) => ended(inner, id, expose(inner, id, &service, None)),
        ActionKind::Remember(_) => {
            unreachable!("what is to be remembered goes to the store, not to an agent")
        }
    }
}

fn admitted(inner: &Inner, id: ActionId, outcome: Outcome, service: &ServiceName) {
    ended(inner, id, outcome);
    traffic::report_service(inner, service);
}

async fn start(inner: Arc<Inner>, request: StartRequest, admission: Admission) {
    let (id, declared) = (request.action, Arc::clone(&request.declared));
    let Started { outcome, life } = inner.platform.start(request).await;
    if let (Outcome::Applied, Some(life)) = (&outcome, life) {
        let (replica, incarnation) = (life.replica.clone(), life.incarnation);
        let is_new = {
            let mut node = inner.known();
            let replicas = &mut node.service(&replica.service).replicas;
            let is_new =
                replicas.get(&replica.ordinal).is_none_or(|known| known.life.incarnation != incarnation);
            if is_new && let Some(old) = replicas.insert(replica.ordinal, KnownReplica::of(life)) {
                old.probing.cancel();
            }
            is_new
        };
        // Told again: what has been told since about its traffic holds.
        if is_new {
            admit(&inner, id, &replica, incarnation, declared, admission);
        }
    }
    inner.known().end_start(id);
    ended(&inner, id, outcome);
}

/// The end of the life is told before the end of the action, with how it ended; hearing of an end twice does no harm.
async fn stop(inner: Arc<Inner>, request: StopRequest) {
    let (id, replica) = (request.action, request.replica.clone());
    let mut ends = inner.platform.events();
    let outcome = inner.platform.stop(request).await;
    while let Ok(Event::Ended(life)) = ends.try_recv() {
        if life.replica == replica {
            report::ended(&inner, &life);
        }
    }
    ended(&inner, id, outcome);
}

async fn allot(inner: Arc<Inner>, request: AllotRequest) {
    let id = request.action;
    let outcome = inner.platform.allot(request).await;
    ended(&inner, id, outcome);
}

/// Gives a life its traffic, and asks it for its health as declared from now on.
fn admit(
    inner: &Arc<Inner>,
    id: ActionId,
    replica: &ReplicaId,
    incarnation: Incarnation,
    declared: Arc<Declared>,
    admission: Admission,
) -> Outcome {
    let mut node = inner.known();
    let known = match node.life_of(replica, incarnation) {
        Ok(known) => known,
        Err(refusal) => return Outcome::Refused(refusal),
    };
    if id < known.admitted_by {
        return Outcome::Applied;
    }
    known.admitted_by = id;
    known.admission = admission;
    if known.declared.as_ref().is_none_or(|before| before.spec.probes != declared.spec.probes) {
        probing::begin(inner, known, &declared);
    }
    known.declared = Some(declared);
    let service = node.service(&replica.service);
    routing::route(inner, &replica.service, service)
}

fn expose(inner: &Inner, id: ActionId, name: &ServiceName, declared: Option<Arc<Declared>>) -> Outcome {
    let mut node = inner.known();
    let service = node.service(name);
    if id < service.exposed_by {
        return Outcome::Applied;
    }
    service.exposed_by = id;
    let before = std::mem::replace(&mut service.exposed, declared);
    if service.exposed.is_none() {
        routes::conceal(&inner.table, name, service, before.as_deref());
    }
    let outcome = routing::route(inner, name, service);
    if outcome != Outcome::Applied {
        // The proxy has left its route as it was.
        service.exposed = before;
    }
    // It may have given up an address that routes wait for.
    routes::retry(inner, &mut node);
    outcome
}

fn ended(inner: &Inner, action: ActionId, outcome: Outcome) {
    report::tell(inner, Input::Ended { action, outcome });
}

/// Runs something by itself, until it ends or the agent does.
pub(crate) fn spawn(inner: &Arc<Inner>, task: impl Future<Output = ()> + Send + 'static) {
    let ending = inner.ending.clone();
    inner.tasks.spawn_on(
        async move {
            // Both are cancel safe: the platform finishes what it was asked for by itself.
            tokio::select! {
                () = ending.cancelled() => {}
                () = task => {}
            }
        },
        &inner.runtime,
    );
}
