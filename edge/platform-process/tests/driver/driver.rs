//! A driver process for the tests to kill: `platform-process-driver DATA MARK COUNT SCRIPT` starts COUNT replicas of `SCRIPT` one after
//! the other, prints a line for each, and waits. `MARK` is in the environment of each replica as `$MARK`.

use std::sync::Arc;

use model::identity::{ActionId, Epoch, Generation, Incarnation, Ordinal, ReplicaId};
use model::input::Declared;
use model::name::ServiceName;
use platform::{Platform as _, StartRequest};
use platform_process::{ProcessPlatform, Settings};

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, mark, count, script] = arguments.as_slice() else {
        panic!("four arguments, not {arguments:?}")
    };
    let platform = ProcessPlatform::open(Settings::new(data, "/")).expect("the data folder is free");
    let service = ServiceName::parse("shop").expect("shop is a name");
    let spec = serde_json::json!({
        "run": {"command": ["/bin/sh", "-c", script], "env": {"MARK": mark}},
        "ports": [{"name": "http"}],
        "resources": {"memory": "32Mi"},
    });
    let declared = Arc::new(Declared {
        name: service.clone(),
        revision: Generation(1),
        generation: Generation(1),
        spec: serde_json::from_value(spec).expect("it is a declaration"),
        autoscaler: None,
    });
    for ordinal in 0..count.parse().expect("COUNT is a number") {
        let started = platform
            .start(StartRequest {
                action: ActionId { epoch: Epoch(1), sequence: u64::from(ordinal) + 1 },
                replica: ReplicaId { service: service.clone(), ordinal: Ordinal(ordinal) },
                incarnation: Incarnation(1),
                declared: declared.clone(),
            })
            .await;
        println!("{ordinal} {:?}", started.outcome);
    }
    std::future::pending::<()>().await;
}
