//! `schema`: the JSON Schema of manifests.

use clap::Args;
use model::resource::{Kind, schema};
use serde_json::{Map, Value};

use crate::context::CommandContext;
use crate::failure::Failure;

/// Print the JSON Schema of one kind of manifest, or of all kinds
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Arguments {
    /// Service, HorizontalPodAutoscaler, Route, MetricSource, or a short name; by default, all kinds
    #[arg(value_parser = kind)]
    kind: Option<Kind>,
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::parse(text).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::as_str).join(", ");
        format!("{text:?} is not a kind of manifest; write one of {known}")
    })
}

pub(crate) fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    match arguments.kind {
        Some(kind) => context.printer.json(&schema::schema(kind)),
        None => {
            let all = Kind::ALL.map(|kind| (kind.as_str().to_owned(), schema::schema(kind)));
            context.printer.json(&Value::Object(Map::from_iter(all)))
        }
    }
}
