//! Probes replicas, and applies the results.

use std::sync::Arc;

use model::identity::{Incarnation, ReplicaId};
use model::input::{ExitStatus, Input, Report};
use platform::{RunEnd, RunError, RunRequest};
use probe::{Failure, ProbeStatus, Prober, RunBeside};
use proxy::RouteError;
use tokio_util::sync::CancellationToken;

use crate::known::{Health, KnownReplica};
use crate::routing;
use crate::shared::Shared;

/// Begins to probe a replica, in place of its earlier probes.
pub(crate) fn begin(shared: &Arc<Shared>, known: &mut KnownReplica) {
    known.probing.cancel();
    known.probing = CancellationToken::new();
    let (replica, incarnation) = (known.life.replica.clone(), known.life.incarnation);
    let prober = Prober {
        replica: probe::Replica {
            ports: known.life.ports.clone(),
            first_port: known.first_port().cloned(),
            run_beside: run_beside(shared, &replica, incarnation),
        },
        probes: known.probes().cloned().unwrap_or_default(),
    };
    let (task_shared, cancelled) = (Arc::clone(shared), known.probing.clone());
    shared.spawn(async move {
        let report = |status| record_health(&task_shared, &replica, incarnation, status);
        // Both are cancel safe: the result of a cancelled probe is not needed.
        tokio::select! {
            () = cancelled.cancelled() => {}
            () = prober.run(report) => {}
        }
    });
}

/// Applies the result of probes to the proxy first, and then reports it to the loop.
fn record_health(shared: &Shared, replica: &ReplicaId, incarnation: Incarnation, status: ProbeStatus) {
    let observed = {
        let mut node = shared.known();
        let Ok(known) = node.life_of(replica, incarnation) else { return };
        known.health = Health { started: status.started, ready: status.ready, live: status.live };
        known.probe_note = status.note;
        let observed = known.observed();
        match routing::set_route(shared, &replica.service, node.service(&replica.service)) {
            // A proxy that stops needs no routes.
            Ok(()) | Err(RouteError::Stopping { .. }) => {}
            Err(error) => tracing::warn!(service = %replica.service, %error, "route_not_updated"),
        }
        observed
    };
    shared.report(Input::Report(Report::Replica(observed)));
}

fn run_beside(shared: &Arc<Shared>, replica: &ReplicaId, incarnation: Incarnation) -> Arc<RunBeside> {
    let (platform, replica) = (Arc::clone(&shared.platform), replica.clone());
    Arc::new(move |command, timeout| {
        let request = RunRequest { replica: replica.clone(), incarnation, command, timeout };
        let platform = Arc::clone(&platform);
        Box::pin(async move {
            let failed = |why: String| Err(Failure::Command(why));
            match platform.run_beside(request).await {
                Ok(RunEnd::Exited(ExitStatus::Code(0))) => Ok(()),
                Ok(RunEnd::Exited(status)) => failed(format!("the probe's program ended with {status}")),
                Ok(RunEnd::TimedOut) => failed(format!("the probe's program did not end within {timeout:?}")),
                Err(RunError::NoResources { message }) => Err(Failure::NotAttempted { why: message }),
                Err(error @ (RunError::NotRunning { .. } | RunError::NotStarted { .. })) => {
                    failed(error.to_string())
                }
            }
        })
    })
}
