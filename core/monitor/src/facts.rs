//! Reports in, facts out.

use std::collections::BTreeSet;

use knowledge::{Knowledge, Place, ServiceState};
use model::fact::{Fact, Irrelevance};
use model::identity::{ActionId, Incarnation, Ordinal, ReplicaId};
use model::input::{Observed, ReplicaState, Report};
use model::name::ServiceName;

/// Appends what `report` tells that is new and belongs to a life that is meant.
///
/// Reports may come late, twice, or out of order; the same report twice appends facts that fold to the same picture.
pub fn facts<'a>(knowledge: &Knowledge, report: &'a Report, out: &mut Vec<Fact<'a>>) {
    match report {
        Report::Inventory { node: _, up_to, replicas } => {
            out.extend(replicas.iter().map(|observed| fact_of(knowledge, observed)));
            out.extend(vanished(knowledge, *up_to, replicas));
        }
        Report::Replica(observed) if is_of_closed_place(knowledge, observed) => {
            out.push(ignored(&observed.replica, observed.incarnation, None));
        }
        Report::Replica(observed) => out.push(fact_of(knowledge, observed)),
        Report::Usage(samples) => {
            let mut guide = Guide::new(knowledge);
            out.extend(samples.iter().map(|usage| {
                let known = guide.place(&usage.replica.service, usage.replica.ordinal);
                if known.is_some_and(|place| place.incarnation == usage.incarnation) {
                    return Fact::Used(usage);
                }
                ignored(&usage.replica, usage.incarnation, known)
            }));
        }
        Report::Traffic(samples) => {
            let mut guide = Guide::new(knowledge);
            out.extend(samples.iter().map(|traffic| {
                let known = guide.place(&traffic.service, traffic.ordinal);
                if known.is_some_and(|place| place.incarnation == traffic.incarnation) {
                    return Fact::Served(traffic);
                }
                let replica = ReplicaId { service: traffic.service.clone(), ordinal: traffic.ordinal };
                ignored(&replica, traffic.incarnation, known)
            }));
        }
        Report::Allotted(all) => out.extend(all.iter().map(|allotted| {
            let known = knowledge.place(&allotted.replica.service, allotted.replica.ordinal);
            if known.is_some_and(|place| place.incarnation == allotted.incarnation) {
                return Fact::Allotted(allotted);
            }
            ignored(&allotted.replica, allotted.incarnation, known)
        })),
        Report::Ejected(all) => out.extend(all.iter().map(|ejected| {
            let known = knowledge.place(&ejected.replica.service, ejected.replica.ordinal);
            if known.is_some_and(|place| place.incarnation == ejected.incarnation) {
                return Fact::Ejected(&ejected.replica);
            }
            ignored(&ejected.replica, ejected.incarnation, known)
        })),
        Report::Latencies(samples) => {
            let mut guide = Guide::new(knowledge);
            out.extend(samples.iter().map(|latencies| {
                let known = guide.place(&latencies.service, latencies.ordinal);
                if known.is_some_and(|place| place.incarnation == latencies.incarnation) {
                    return Fact::Timed(latencies);
                }
                let replica = ReplicaId { service: latencies.service.clone(), ordinal: latencies.ordinal };
                ignored(&replica, latencies.incarnation, known)
            }));
        }
        // Whether a service is known is for the picture to say: it has no lives to tell apart.
        Report::Demand(samples) => out.extend(samples.iter().map(Fact::Asked)),
        // Which life of a replica a number is of is compared where it is used: the measurement may come before the replica.
        Report::Measured(measured) => out.extend(measured.iter().map(Fact::Measured)),
    }
}

/// Finds places in the order of a report, which has those of a service together: a service is looked up once.
struct Guide<'k> {
    knowledge: &'k Knowledge,
    here: Option<&'k ServiceState>,
}

impl<'k> Guide<'k> {
    fn new(knowledge: &'k Knowledge) -> Self {
        Self { knowledge, here: None }
    }

    fn place(&mut self, service: &ServiceName, ordinal: Ordinal) -> Option<&'k Place> {
        if self.here.is_none_or(|here| here.name != *service) {
            self.here = self.knowledge.service(service);
        }
        self.here?.places.get(&ordinal)
    }
}

fn fact_of<'a>(knowledge: &Knowledge, observed: &'a Observed) -> Fact<'a> {
    let known = knowledge.place(&observed.replica.service, observed.replica.ordinal);
    let is_newer = known.is_none_or(|place| observed.incarnation > place.incarnation);
    if is_newer && !matches!(observed.state, ReplicaState::Exited(_)) {
        return Fact::Appeared(observed);
    }
    if known.is_none_or(|place| observed.incarnation != place.incarnation) {
        return ignored(&observed.replica, observed.incarnation, known);
    }
    let replica = observed.replica.clone();
    match observed.state {
        ReplicaState::Starting => Fact::Runs { replica, begun: false, ready: false, live: true },
        ReplicaState::Running { ready, live } => Fact::Runs { replica, begun: true, ready, live },
        // It gets no traffic any more, and no probe speaks against it.
        ReplicaState::Stopping => Fact::Runs { replica, begun: true, ready: false, live: true },
        ReplicaState::Exited(exit) => Fact::Ended { replica, exit },
    }
}

/// Whether it speaks of a life in a place that is closed: a report that came late. What runs there all the same is in the
/// next inventory, which is believed.
fn is_of_closed_place(knowledge: &Knowledge, observed: &Observed) -> bool {
    let service = knowledge.service(&observed.replica.service);
    service.is_some_and(|service| {
        !service.places.contains_key(&observed.replica.ordinal) && observed.incarnation <= service.past_life
    })
}

/// Replicas that are thought to run and are not in a complete list. One whose start had not reached the node when the list
/// was made is left alone, and so is one whose start is not known to have ended: that action is told again until it is.
fn vanished(knowledge: &Knowledge, up_to: ActionId, replicas: &[Observed]) -> Vec<Fact<'static>> {
    let seen: BTreeSet<(&ReplicaId, Incarnation)> =
        replicas.iter().map(|o| (&o.replica, o.incarnation)).collect();
    let mut gone = Vec::new();
    for service in knowledge.services() {
        for (ordinal, place) in &service.places {
            let replica = ReplicaId { service: service.name.clone(), ordinal: *ordinal };
            if place.begun_by <= up_to && may_vanish(place) && !seen.contains(&(&replica, place.incarnation))
            {
                gone.push(Fact::Vanished(replica));
            }
        }
    }
    gone
}

fn may_vanish(place: &Place) -> bool {
    use knowledge::Stage::{Draining, Empty, Running, Starting, Stopping};
    match place.stage {
        Running(_) | Draining { .. } | Stopping { .. } => true,
        Empty { .. } | Starting { .. } => false,
    }
}

fn ignored(replica: &ReplicaId, incarnation: Incarnation, known: Option<&Place>) -> Fact<'static> {
    let because = if known.is_some() { Irrelevance::EarlierLife } else { Irrelevance::Unknown };
    Fact::Ignored { replica: replica.clone(), incarnation, because }
}
