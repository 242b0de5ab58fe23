//! Probes of replicas, and what they say.

use std::sync::Arc;

use model::identity::{Incarnation, ReplicaId};
use model::input::{Declared, ExitStatus, Input, Report};
use platform::{RunEnd, RunError, RunRequest};
use probe::{Failure, Prober, RunBeside, Told};
use tokio_util::sync::CancellationToken;

use crate::agent::Inner;
use crate::known::{KnownReplica, Standing};
use crate::obey::spawn;
use crate::report::tell;
use crate::routing;

/// Probes a life as declared, in place of how it was probed before.
pub(crate) fn begin(inner: &Arc<Inner>, known: &mut KnownReplica, declared: &Declared) {
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

/// Takes what the probes of a life say: into the proxy's table first, then to the loop.
fn health(inner: &Inner, replica: &ReplicaId, incarnation: Incarnation, told: Told) {
    let observed = {
        let mut node = inner.known();
        let Ok(known) = node.life_of(replica, incarnation) else { return };
        known.standing = Standing { begun: told.begun, ready: told.ready, live: told.live };
        known.probe_note = told.note;
        let observed = known.observed();
        routing::route(inner, &replica.service, node.service(&replica.service));
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
            let failed = |why: String| Err(Failure::Command(why));
            match platform.run_beside(request).await {
                Ok(RunEnd::Exited(ExitStatus::Code(0))) => Ok(()),
                Ok(RunEnd::Exited(status)) => failed(format!("the probe's program ended with {status}")),
                Ok(RunEnd::TimedOut) => failed(format!("the probe's program did not end within {timeout:?}")),
                Err(RunError::NoResources { message }) => Err(Failure::Unasked { why: message }),
                Err(error @ (RunError::NotRunning { .. } | RunError::NotStarted { .. })) => {
                    failed(error.to_string())
                }
            }
        })
    })
}
