//! `schema`.

use clap::Args;
use model::resource::{Kind, schema};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::words::Desk;

/// Print the JSON Schema of a kind of manifest, or of all
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Words {
    /// Service, HorizontalPodAutoscaler, Route or MetricSource, or a short name; without it, all kinds
    #[arg(value_parser = kind)]
    kind: Option<Kind>,
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::parse(text).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::as_str).join(", ");
        format!("{text:?} is no kind of manifest; write one of {known}")
    })
}

pub(crate) fn run(desk: &Desk, words: Words) -> Result<(), Failure> {
    match words.kind {
        Some(kind) => desk.printer.json(&schema::schema(kind)),
        None => {
            let all = Kind::ALL.map(|kind| (kind.as_str().to_owned(), schema::schema(kind)));
            desk.printer.json(&Value::Object(Map::from_iter(all)))
        }
    }
}
