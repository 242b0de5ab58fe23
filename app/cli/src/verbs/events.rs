//! `events`: the latest events, once or as they occur.

use api::v1;
use clap::Args;
use serde_json::Value;

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::output::{Format, Output, Widths};
use crate::tables;
use crate::target::ServiceArgument;

/// The default number of events.
const EVENTS_DEFAULT: u32 = 100;

/// Show events and their reasons, oldest first
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Only of this service, as service/NAME
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceArgument>,
    /// The number of latest events
    #[arg(long, value_name = "N", default_value_t = EVENTS_DEFAULT, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    limit: u32,
    /// Keep running and show new events
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let service =
        arguments.service.map(|ServiceArgument(name)| format!("&service={name}")).unwrap_or_default();
    let path = format!("/v1/events?limit={}{service}", arguments.limit);
    let (client, printer, format) = (context.client()?, context.printer, arguments.output.output);
    if !arguments.watch {
        let response: Value = client.get(&path).await?;
        let events: v1::List<v1::Event> = serde_json::from_value(response.clone())?;
        return printer.print(format, &response, |_| {
            if events.items.is_empty() {
                return none_shown(arguments.limit).to_owned();
            }
            let mut grid = printer.table(tables::EVENT_HEADER);
            events.items.iter().for_each(|event| grid.row(tables::event(event)));
            grid.finish()
        });
    }
    let mut lines = client.follow(&format!("{path}&watch=true")).await?;
    let mut widths = Widths::default();
    let mut grid = printer.table(tables::EVENT_HEADER);
    while let Some(event) = lines.next_event::<Value>().await {
        let event = event?;
        match format {
            Format::Table => {
                grid.row(tables::event(&serde_json::from_value(event)?));
                printer.text(&grid.finish_with(&mut widths))?;
                grid = printer.table_without_header();
            }
            Format::Json => printer.line(&serde_json::to_string(&event)?)?,
            Format::Yaml => {
                printer.line("---")?;
                printer.yaml(&event)?;
            }
        }
    }
    Err(Failure::failed(format!("the watch ended: homeostat at {} stopped", client.server())))
}

/// The text for an empty list of at most `limit` events.
fn none_shown(limit: u32) -> &'static str {
    match limit {
        0 => "--limit 0 shows no events; give a higher limit, or --watch to see new ones\n",
        1.. => "there are no events yet\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_zero_does_not_say_that_there_are_no_events() {
        assert!(none_shown(0).contains("--limit 0"));
        assert_eq!(none_shown(1), "there are no events yet\n");
    }
}
