//! `delete`: deletes resources.

use api::{Code, v1};
use clap::Args;
use hyper::Method;
use serde_json::Value;

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::output::Output;
use crate::target::{ObjectArgument, Subject};
use crate::verbs::apply;

/// Delete resources, in the order of their dependencies; the replicas of a deleted service are drained and stopped
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// The resources, as service/NAME, hpa/NAME, route/NAME or metricsource/NAME
    #[arg(value_name = "KIND/NAME", required = true)]
    targets: Vec<ObjectArgument>,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    if let Some(other) = arguments.targets.iter().find(|target| !is_declared(target.subject)) {
        return Err(Failure::usage(format!(
            "could not delete {other}: only services, hpas, routes and metricsources can be deleted; to remove a replica, scale its service"
        )));
    }
    let client = context.client()?;
    let mut targets = arguments.targets;
    // A resource that others need is deleted after them: rounds are repeated as long as each deletes something.
    loop {
        let mut needed = Vec::new();
        let mut refusal = None;
        let count = targets.len();
        for target in targets {
            let response: Value = match client.send(Method::DELETE, &target.path(), None).await {
                Ok(response) => response,
                Err(error) if error.is(Code::Needed) => {
                    needed.push(target);
                    refusal = Some(error);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let applied: v1::Applied = serde_json::from_value(response.clone())?;
            apply::print_warnings(&applied);
            context.printer.print(arguments.output.output, &response, |_| apply::lines(&applied))?;
        }
        match refusal {
            None => return Ok(()),
            Some(refusal) if needed.len() == count => return Err(refusal.into()),
            Some(_) => targets = needed,
        }
    }
}

/// Whether resources of this kind are declared, and so can be deleted.
fn is_declared(subject: Subject) -> bool {
    match subject {
        Subject::Service | Subject::Autoscaler | Subject::Route | Subject::MetricSource => true,
        Subject::Replica | Subject::Node | Subject::Scaling => false,
    }
}
