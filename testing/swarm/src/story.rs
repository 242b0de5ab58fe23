//! What happened in a simulated world, in readable lines.

use std::fmt::Write as _;
use std::io::Write;

use model::action::{Action, ActionKind, Admission};
use model::event::Event;
use model::reason::Reason;
use model::resource::{Quantity, Resources};
use model::time::Time;
use sim::{Cause, Effect, Simulation, Turn};

/// The time since the world began.
pub fn clock(at: Time) -> String {
    sim::clock(Simulation::begin(), at)
}

/// The reason of something that happened at `at`, with the loop's times as times since the world began.
fn readable(at: Time, reason: &Reason) -> String {
    sim::readable(Simulation::begin(), at, reason)
}

/// Writes the effects, actions and events of a turn.
///
/// Ignores errors of the writer, so that a closed pipe does not end the run.
pub fn write_turn(sim: &Simulation, turn: Turn, out: &mut dyn Write) {
    let at = clock(sim.now());
    let mut lines = String::new();
    for effect in sim.effects() {
        if let Some(line) = effect_line(effect) {
            let _ = writeln!(lines, "{at}  {:<10} {line}", "world");
        }
    }
    let speaker = match turn {
        Turn::Stepped => "loop",
        Turn::Zombie { .. } => "zombie",
        Turn::World | Turn::Over => "",
    };
    if !speaker.is_empty() {
        for action in &sim.out().actions {
            let _ = writeln!(lines, "{at}  {speaker:<10} {}", action_line(sim.now(), action));
        }
        for event in &sim.out().events {
            let _ = writeln!(lines, "{at}  {:<10} {}", "event", event_line(event));
        }
    }
    let _ = out.write_all(lines.as_bytes());
}

/// An event, as `homeostat events` shows it.
pub fn event_line(event: &Event) -> String {
    let subject = match event.replica {
        Some((ordinal, incarnation)) => format!("{}-{ordinal} (life {incarnation})", event.service),
        None => event.service.to_string(),
    };
    format!("{subject}: {}, {}", event.kind.name(), readable(event.at.time, &event.reason))
}

/// An action that is sent at `at`, in one line.
pub fn action_line(at: Time, action: &Action) -> String {
    let description = match &action.kind {
        ActionKind::Start { replica, incarnation, admission, declared } => {
            format!(
                "start {replica} life {incarnation} generation {} {}",
                declared.generation,
                traffic(*admission)
            )
        }
        ActionKind::Stop { replica, incarnation, grace } => {
            format!("stop {replica} life {incarnation} within {grace:?}")
        }
        ActionKind::Admit { replica, incarnation, admission, .. } => {
            format!("admit {replica} life {incarnation} {}", traffic(*admission))
        }
        ActionKind::Allot { replica, incarnation, resources } => {
            format!("allot {replica} life {incarnation} {}", amounts(resources))
        }
        ActionKind::Expose(declared) => format!("expose {} revision {}", declared.name, declared.revision),
        ActionKind::Conceal(service) => format!("conceal {service}"),
        ActionKind::Remember(memory) => format!("remember {}", memory.service),
    };
    format!("{} {description}: {}", action.id, readable(at, &action.reason))
}

fn traffic(admission: Admission) -> String {
    match admission {
        Admission::Serving { weight } => format!("serving {weight}"),
        Admission::Draining => "draining".to_owned(),
        Admission::Spare => "spare".to_owned(),
    }
}

fn amounts(resources: &Resources) -> String {
    let amount = |of: Option<Quantity>| of.map_or_else(|| "as it is".to_owned(), |amount| amount.to_string());
    format!("cpu {}, memory {}", amount(resources.cpu), amount(resources.memory))
}

/// An effect, in one line; `None` if it only repeats an action.
pub fn effect_line(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Began { .. } | Effect::Admitted { .. } | Effect::Allotted { .. } | Effect::Fenced { .. } => {
            return None;
        }
        Effect::Signalled { replica, incarnation, in_flight, .. } => {
            format!("{replica} life {incarnation} gets its stop signal with {in_flight} requests in flight")
        }
        Effect::SecondLife { replica, running, requested, .. } => {
            format!("{replica}: life {requested} was requested while life {running} runs")
        }
        Effect::UsedLife { replica, requested, latest, .. } => {
            format!("{replica}: life {requested} was requested after life {latest}")
        }
        Effect::Ended { replica, incarnation, exit, cause, cut_off } => {
            let how = match cause {
                Cause::Itself => "ended by itself",
                Cause::Stopped => "was stopped",
            };
            format!(
                "{replica} life {incarnation} {how}, {}; {cut_off} requests were not answered",
                exit.status
            )
        }
        Effect::Unanswered { service, requests } => {
            format!("{requests} requests to {service} found no replica")
        }
        Effect::Refused { action, refusal } => format!("action {action} was refused: {refusal:?}"),
        Effect::OrchestratorDied { epoch } => format!("the orchestrator of epoch {epoch} was killed"),
        Effect::OrchestratorBegan { epoch } => format!("an orchestrator has begun epoch {epoch}"),
    })
}
