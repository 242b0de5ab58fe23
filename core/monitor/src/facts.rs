//! Validates reports against the lives of replicas.

use std::collections::BTreeSet;

use knowledge::{Knowledge, Place, ServiceState};
use model::fact::Fact;
use model::identity::{ActionId, Incarnation, Ordinal, ReplicaId};
use model::input::{Observed, ReplicaState, Report};
use model::name::ServiceName;

/// Appends the facts in `report`, each validated against the life of its replica.
///
/// Reports may be late, duplicated or out of order; the facts of a duplicate fold to the same state.
pub fn facts<'a>(knowledge: &Knowledge, report: &'a Report, out: &mut Vec<Fact<'a>>) {
    let mut places = PlaceLookup::new(knowledge);
    match report {
        Report::Inventory { node: _, up_to, replicas } => {
            out.extend(replicas.iter().map(|observed| fact_of(knowledge, observed)));
            out.extend(vanished(knowledge, *up_to, replicas));
        }
        Report::Replica(observed) if is_of_closed_place(knowledge, observed) => {
            out.push(ignored(&observed.replica, observed.incarnation));
        }
        Report::Replica(observed) => out.push(fact_of(knowledge, observed)),
        Report::Usage(samples) => out.extend(samples.iter().map(|usage| {
            let ReplicaId { service, ordinal } = &usage.replica;
            places.checked(service, *ordinal, usage.incarnation, Fact::Usage(usage))
        })),
        Report::Traffic(samples) => out.extend(samples.iter().map(|traffic| {
            places.checked(&traffic.service, traffic.ordinal, traffic.incarnation, Fact::Traffic(traffic))
        })),
        Report::Latencies(samples) => out.extend(samples.iter().map(|latencies| {
            let fact = Fact::Latencies(latencies);
            places.checked(&latencies.service, latencies.ordinal, latencies.incarnation, fact)
        })),
        Report::Allotted(all) => out.extend(all.iter().map(|allotted| {
            let ReplicaId { service, ordinal } = &allotted.replica;
            places.checked(service, *ordinal, allotted.incarnation, Fact::Allotted(allotted))
        })),
        Report::Ejected(all) => out.extend(all.iter().map(|ejected| {
            let ReplicaId { service, ordinal } = &ejected.replica;
            places.checked(service, *ordinal, ejected.incarnation, Fact::Ejected(&ejected.replica))
        })),
        // Services have no lives.
        Report::Demand(samples) => out.extend(samples.iter().map(Fact::Demand)),
        // A measurement may arrive before its replica is known; its life is compared where the measurement is used.
        Report::Measured(measured) => out.extend(measured.iter().map(Fact::Measured)),
    }
}

/// Looks up places in the order of a report, in which those of a service are adjacent, so that each service is looked up once.
struct PlaceLookup<'k> {
    knowledge: &'k Knowledge,
    service: Option<&'k ServiceState>,
}

impl<'k> PlaceLookup<'k> {
    fn new(knowledge: &'k Knowledge) -> Self {
        Self { knowledge, service: None }
    }

    /// Returns `fact` if it is about the current life of its place.
    fn checked<'a>(
        &mut self,
        service: &ServiceName,
        ordinal: Ordinal,
        incarnation: Incarnation,
        fact: Fact<'a>,
    ) -> Fact<'a> {
        if self.place(service, ordinal).is_some_and(|place| place.incarnation == incarnation) {
            return fact;
        }
        Fact::Ignored { replica: ReplicaId { service: service.clone(), ordinal }, incarnation }
    }

    fn place(&mut self, service: &ServiceName, ordinal: Ordinal) -> Option<&'k Place> {
        if self.service.is_none_or(|cached| cached.name != *service) {
            self.service = self.knowledge.service(service);
        }
        self.service?.places.get(&ordinal)
    }
}

fn fact_of<'a>(knowledge: &Knowledge, observed: &'a Observed) -> Fact<'a> {
    let known = knowledge.place(&observed.replica.service, observed.replica.ordinal);
    let is_newer = known.is_none_or(|place| observed.incarnation > place.incarnation);
    if is_newer && !matches!(observed.state, ReplicaState::Exited(_)) {
        return Fact::Appeared(observed);
    }
    if known.is_none_or(|place| observed.incarnation != place.incarnation) {
        return ignored(&observed.replica, observed.incarnation);
    }
    let replica = observed.replica.clone();
    match observed.state {
        ReplicaState::Starting => Fact::Running { replica, started: false, ready: false, live: true },
        ReplicaState::Running { ready, live } => Fact::Running { replica, started: true, ready, live },
        // It receives no more traffic, and has failed no probe.
        ReplicaState::Stopping => Fact::Running { replica, started: true, ready: false, live: true },
        ReplicaState::Exited(exit) => Fact::Ended { replica, exit },
    }
}

/// Whether a late report is about a closed place. If something runs there nevertheless, the next inventory reports it.
fn is_of_closed_place(knowledge: &Knowledge, observed: &Observed) -> bool {
    let service = knowledge.service(&observed.replica.service);
    service.is_some_and(|service| {
        !service.places.contains_key(&observed.replica.ordinal) && observed.incarnation <= service.past_life
    })
}

/// The replicas that should run and are missing from a complete list.
///
/// Excluded are those whose start had not reached the node when the list was made, and those whose start is not confirmed: that
/// action is repeated until it is.
fn vanished(knowledge: &Knowledge, up_to: ActionId, replicas: &[Observed]) -> Vec<Fact<'static>> {
    let listed: BTreeSet<(&ReplicaId, Incarnation)> =
        replicas.iter().map(|o| (&o.replica, o.incarnation)).collect();
    let mut vanished = Vec::new();
    for service in knowledge.services() {
        for (ordinal, place) in &service.places {
            let replica = ReplicaId { service: service.name.clone(), ordinal: *ordinal };
            if place.started_by <= up_to
                && may_vanish(place)
                && !listed.contains(&(&replica, place.incarnation))
            {
                vanished.push(Fact::Vanished(replica));
            }
        }
    }
    vanished
}

fn may_vanish(place: &Place) -> bool {
    use knowledge::Stage::{Draining, Empty, Running, Starting, Stopping};
    match place.stage {
        Running(_) | Draining { .. } | Stopping { .. } => true,
        Empty { .. } | Starting { .. } => false,
    }
}

fn ignored(replica: &ReplicaId, incarnation: Incarnation) -> Fact<'static> {
    Fact::Ignored { replica: replica.clone(), incarnation }
}
