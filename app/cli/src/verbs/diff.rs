//! `diff`: what `apply` would change.

use std::fmt::Write as _;
use std::process::ExitCode;

use api::v1;
use clap::Args;
use manifest::Change;
use model::resource::Resource;
use serde::Serialize;
use serde_json::Value;

use crate::context::CommandContext;
use crate::declared;
use crate::failure::Failure;
use crate::manifests::{self, Files, Warnings};
use crate::output::{Output, STRING};
use crate::paint::{Paint, Tone, printable};
use crate::target::Subject;
use crate::trial;

/// Show what apply would change, field by field, and the decisions it would lead to; exits with 1 if anything differs
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Differences {
    items: Vec<Difference>,
    /// The decisions on the changed services; absent when no existing service would change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trials: Vec<v1::Trial>,
}

/// What would change in one resource.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    target: String,
    is_new: bool,
    changes: Vec<v1::FieldChange>,
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<ExitCode, Failure> {
    let mut manifests = manifests::read(&arguments.files.file, Warnings::LeftToServer, context.colours)?;
    manifests::resolve(&mut manifests)?;
    let client = context.client()?;
    let mut items = Vec::new();
    for resource in manifests.resources() {
        let current = declared::fetch(&client, Subject::of(resource), resource.name()).await?;
        let changes = current.as_ref().map(|current| manifest::diff(current, resource)).unwrap_or_default();
        items.push(Difference {
            target: format!("{}/{}", Subject::of(resource), resource.name()),
            is_new: current.is_none(),
            changes: changes.into_iter().map(field_change).collect(),
        });
    }
    let is_same = items.iter().all(|item| !item.is_new && item.changes.is_empty());
    let resources: Vec<&Resource> = manifests.resources().collect();
    let trials = if is_same { None } else { trial::evaluate(context, &resources).await };
    let trial_lines = trial::lines(trials.as_ref());
    let differences = Differences { items, trials: trials.map(|it| it.items).unwrap_or_default() };
    let paint = context.printer.paint;
    context.printer.print(arguments.output.output, &differences, |all| {
        all.items.iter().map(|difference| lines(difference, paint)).collect::<String>() + &trial_lines
    })?;
    Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn field_change(change: Change) -> v1::FieldChange {
    v1::FieldChange { path: change.path, old: change.old, new: change.new }
}

fn lines(difference: &Difference, paint: Paint) -> String {
    let target = &difference.target;
    if difference.is_new {
        return format!("{}\n", paint.tone(Tone::Good, &format!("+ {target} is new")));
    }
    if difference.changes.is_empty() {
        return format!("  {target} is unchanged\n");
    }
    format!("~ {target}\n{}", change_lines(&difference.changes, paint))
}

/// The old and new value of each field, a line each.
pub(crate) fn change_lines(changes: &[v1::FieldChange], paint: Paint) -> String {
    let mut text = String::new();
    for v1::FieldChange { path, old, new } in changes {
        let side = |sign: char, value: &Value| printable(&format!("  {sign} {path}: {value}"));
        let sides = [(Tone::Bad, '-', old), (Tone::Good, '+', new)];
        for (tone, sign, value) in sides {
            if let Some(value) = value {
                writeln!(text, "{}", paint.tone(tone, &side(sign, value))).expect(STRING);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_shows_the_old_and_the_new_value() {
        let change = v1::FieldChange { path: "spec.scale.max".into(), old: Some(json!(5)), new: None };
        let difference = Difference { target: "service/a".into(), is_new: false, changes: vec![change] };
        assert_eq!(lines(&difference, Paint { is_on: false }), "~ service/a\n  - spec.scale.max: 5\n");
    }
}
