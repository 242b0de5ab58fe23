//! `diff`.

use std::fmt::Write as _;
use std::process::ExitCode;

use api::v1;
use clap::Args;
use manifest::Change;
use model::resource::Resource;
use serde::Serialize;
use serde_json::Value;

use crate::arguments::CommandContext;
use crate::failure::Failure;
use crate::kept::kept;
use crate::manifests::{self, Files, Warnings};
use crate::output::{Output, STRING};
use crate::paint::{Paint, Tone, printable};
use crate::target::Subject;
use crate::trial;

/// Show what apply would change, field by field, and what it would decide; exits with 1 if anything differs
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
    /// What the changed services would decide; absent when none that runs would change.
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
        let kept = kept(&client, Subject::of(resource), resource.name()).await?;
        let changes = kept.as_ref().map(|kept| manifest::diff(kept, resource)).unwrap_or_default();
        items.push(Difference {
            target: format!("{}/{}", Subject::of(resource), resource.name()),
            is_new: kept.is_none(),
            changes: changes.into_iter().map(field_change).collect(),
        });
    }
    let is_same = items.iter().all(|item| !item.is_new && item.changes.is_empty());
    let resources: Vec<&Resource> = manifests.resources().collect();
    let trials = if is_same { None } else { trial::of(context, &resources).await };
    let tried = trial::lines(trials.as_ref());
    let differences = Differences { items, trials: trials.map(|it| it.items).unwrap_or_default() };
    let paint = context.printer.paint;
    context.printer.print(arguments.output.output, &differences, |all| {
        all.items.iter().map(|difference| lines(difference, paint)).collect::<String>() + &tried
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
        return format!("  {target} is as it is\n");
    }
    format!("~ {target}\n{}", changed(&difference.changes, paint))
}

/// What each field was and becomes, a line each.
pub(crate) fn changed(changes: &[v1::FieldChange], paint: Paint) -> String {
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
    fn a_change_shows_what_was_and_what_becomes() {
        let change = v1::FieldChange { path: "spec.scale.max".into(), old: Some(json!(5)), new: None };
        let difference = Difference { target: "service/a".into(), is_new: false, changes: vec![change] };
        assert_eq!(lines(&difference, Paint { is_on: false }), "~ service/a\n  - spec.scale.max: 5\n");
    }
}
