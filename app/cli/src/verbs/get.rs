//! `get`: resources as a table, once or as they change.

use std::time::Duration;

use api::v1;
use clap::Args;
use futures_util::future::select_all;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::Client;
use crate::context::CommandContext;
use crate::failure::Failure;
use crate::lines::Lines;
use crate::output::{Field, Format, Output, Printer, Widths};
use crate::tables;
use crate::target::{ServiceArgument, Subject, Target};
use crate::verbs::describe;

/// Changes within this time of each other are printed as one table.
const BATCH_WINDOW: Duration = Duration::from_millis(50);

/// Show services, replicas, autoscalers, routes, metric sources, nodes, or a comparison of autoscalers
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// What to show: service, hpa, route, metricsource, replica, node or scaling, or one resource as KIND/NAME; without it, services and
    /// replicas
    #[arg(value_name = "KIND[/NAME]")]
    target: Option<Target>,
    /// With `scaling`: only this service, as service/NAME
    #[arg(value_name = "SERVICE")]
    scaling_of: Option<ServiceArgument>,
    /// Only the replicas of this service
    #[arg(long, value_name = "NAME")]
    service: Option<ServiceArgument>,
    /// Keep running and show changes
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let client = context.client()?;
    let format = arguments.output.output;
    let Some(target) = &arguments.target else {
        let service = arguments.service.as_ref();
        if arguments.watch {
            let services = Watched::begin(&client, Subject::Service, &services_path(service, true)).await?;
            let replicas = Watched::begin(&client, Subject::Replica, &replicas_path(service, true)).await?;
            return watch(&client, context.printer, format, vec![services, replicas]).await;
        }
        return overview(&client, context.printer, format, service).await;
    };
    let target = &with_service(target, arguments.scaling_of.as_ref())?;
    let path = path(target, arguments.service.as_ref(), arguments.watch)?;
    if arguments.watch {
        let watched = Watched::begin(&client, target.subject, &path).await?;
        return watch(&client, context.printer, format, vec![watched]).await;
    }
    let response: Value = client.get(&path).await?;
    let text = if format == Format::Table {
        table(context.printer, target.subject, &response)?
    } else {
        String::new()
    };
    context.printer.print(format, &response, |_| text)
}

/// Turns `scaling service/NAME` into `scaling/NAME`.
fn with_service(target: &Target, service: Option<&ServiceArgument>) -> Result<Target, Failure> {
    match (service, &target.name, target.subject) {
        (None, _, _) => Ok(target.clone()),
        (Some(ServiceArgument(service)), None, Subject::Scaling) => {
            Ok(Target { subject: Subject::Scaling, name: Some(service.to_string()) })
        }
        (Some(ServiceArgument(service)), _, _) => Err(Failure::usage(format!(
            "{service} is an unexpected argument; write KIND/NAME, or `get scaling service/NAME`"
        ))),
    }
}

fn path(target: &Target, service: Option<&ServiceArgument>, is_watch: bool) -> Result<String, Failure> {
    let mut path = target.subject.path().to_owned();
    let mut query = Vec::new();
    match (&target.name, service) {
        (Some(name), None) => path = format!("{path}/{name}"),
        (None, Some(ServiceArgument(service))) if target.subject == Subject::Replica => {
            query.push(format!("service={service}"));
        }
        (None, None) => {}
        (_, Some(_)) => {
            return Err(Failure::usage("--service selects replicas; write `get replicas --service NAME`"));
        }
    }
    if is_watch {
        query.push("watch=true".to_owned());
    }
    Ok(if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) })
}

/// The path of the selected services, for [`overview`] and its watch.
fn services_path(service: Option<&ServiceArgument>, is_watch: bool) -> String {
    let name = service.map(|ServiceArgument(name)| format!("/{name}")).unwrap_or_default();
    format!("{}{name}?watch={is_watch}", Subject::Service.path())
}

/// The path of their replicas.
fn replicas_path(service: Option<&ServiceArgument>, is_watch: bool) -> String {
    let name = service.map(|ServiceArgument(name)| format!("&service={name}")).unwrap_or_default();
    format!("{}?watch={is_watch}{name}", Subject::Replica.path())
}

/// Prints services, and below them replicas.
async fn overview(
    client: &Client,
    printer: Printer,
    format: Format,
    service: Option<&ServiceArgument>,
) -> Result<(), Failure> {
    let mut services: Value = client.get(&services_path(service, false)).await?;
    if service.is_some() {
        services = json!({ "items": [services] });
    }
    let replicas: Value = client.get(&replicas_path(service, false)).await?;
    if format == Format::Table {
        let services = table(printer, Subject::Service, &services)?;
        return printer.text(&format!("{services}\n{}", table(printer, Subject::Replica, &replicas)?));
    }
    let items: Vec<&Value> = [&services, &replicas].into_iter().flat_map(items_of).collect();
    printer.print(format, &json!({ "items": items }), |_| String::new())
}

fn items_of(list: &Value) -> &[Value] {
    list.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// One resource, or a list of them, as a table.
fn table(printer: Printer, subject: Subject, response: &Value) -> Result<String, Failure> {
    let items = match response.get("items") {
        Some(Value::Array(items)) => items.as_slice(),
        Some(_) | None => std::slice::from_ref(response),
    };
    if items.is_empty() {
        return Ok(format!("there is no {subject}\n"));
    }
    let mut grid = printer.table(header_of(subject));
    for item in items {
        for fields in rows(subject, item)? {
            grid.row(fields);
        }
    }
    let text = grid.finish();
    let is_one_service = subject == Subject::Service && response.get("items").is_none();
    let endpoints = if is_one_service { read::<v1::Service>(response)?.status.endpoints } else { Vec::new() };
    if endpoints.is_empty() {
        return Ok(text);
    }
    Ok(format!("{text}\n{}", describe::external_endpoints(printer, &endpoints)))
}

const fn header_of(subject: Subject) -> &'static [&'static str] {
    match subject {
        Subject::Service => tables::SERVICE_HEADER,
        Subject::Autoscaler => tables::AUTOSCALER_HEADER,
        Subject::Route => tables::ROUTE_HEADER,
        Subject::MetricSource => tables::METRIC_SOURCE_HEADER,
        Subject::Replica => tables::REPLICA_HEADER,
        Subject::Node => tables::NODE_HEADER,
        Subject::Scaling => tables::SCALING_HEADER,
    }
}

fn read<T: DeserializeOwned>(item: &Value) -> Result<T, Failure> {
    serde_json::from_value(item.clone()).map_err(|error| {
        let sentence = "could not parse the response of the server (HS0014); is it another version?";
        anyhow::Error::new(error).context(sentence).into()
    })
}

/// The rows of a resource, in the columns of its kind.
fn rows(subject: Subject, item: &Value) -> Result<Vec<Vec<Field>>, Failure> {
    let row = match subject {
        Subject::Service => tables::service(&read::<v1::Service>(item)?),
        Subject::Autoscaler => tables::autoscaler(&read::<v1::Autoscaler>(item)?),
        Subject::Route => tables::route(&read::<v1::Route>(item)?),
        Subject::MetricSource => tables::metric_source(&read::<v1::MetricSource>(item)?, os::wall()),
        Subject::Replica => tables::replica(&read::<v1::Replica>(item)?, os::wall()),
        Subject::Node => tables::node(&read::<v1::Node>(item)?),
        Subject::Scaling => return Ok(tables::scaling(&read::<v1::Scaling>(item)?)),
    };
    Ok(vec![row])
}

/// The watch of one kind of resource, and the state of its output.
struct Watched {
    subject: Subject,
    lines: Lines,
    printed: PrintedState,
}

impl Watched {
    async fn begin(client: &Client, subject: Subject, path: &str) -> Result<Self, Failure> {
        let lines = client.follow(path).await?;
        Ok(Self { subject, lines, printed: PrintedState { header: None, widths: Widths::default() } })
    }
}

/// Prints the changes of all watches until the server stops.
async fn watch(
    client: &Client,
    printer: Printer,
    format: Format,
    mut all: Vec<Watched>,
) -> Result<(), Failure> {
    let mut last = None;
    loop {
        // Cancel safe, here and below: the part of an event that has arrived is kept.
        let next = select_all(all.iter_mut().map(|watched| Box::pin(watched.lines.next_event())));
        let (Some(first), index, _) = next.await else { break };
        let Watched { subject, lines, printed } = &mut all[index];
        let mut batch: Vec<v1::Change<Value>> = vec![first?];
        while let Ok(Some(next)) = timeout(BATCH_WINDOW, lines.next_event()).await {
            batch.push(next?);
        }
        if last.replace(index) != Some(index) {
            printed.header = Some(header_of(*subject));
        }
        match format {
            Format::Table => printed.print(printer, *subject, &batch)?,
            Format::Json => {
                for change in &batch {
                    printer.line(&serde_json::to_string(change)?)?;
                }
            }
            Format::Yaml => {
                for change in &batch {
                    printer.line("---")?;
                    printer.yaml(change)?;
                }
            }
        }
    }
    Err(Failure::failed(format!("the watch ended: homeostat at {} stopped", client.server())))
}

/// What must be remembered between batches: the header to print when the kind changes, and the column widths.
struct PrintedState {
    header: Option<&'static [&'static str]>,
    widths: Widths,
}

impl PrintedState {
    fn print(
        &mut self,
        printer: Printer,
        subject: Subject,
        batch: &[v1::Change<Value>],
    ) -> Result<(), Failure> {
        let mut grid = match self.header.take() {
            Some(header) => printer.table(&[&["CHANGE"], header].concat()),
            None => printer.table_without_header(),
        };
        for change in batch {
            let word = match change.kind {
                v1::ChangeKind::Added => "added",
                v1::ChangeKind::Modified => "modified",
                v1::ChangeKind::Deleted => "deleted",
            };
            for row in rows(subject, &change.object)? {
                // As wide as the longest word, so that the columns stay aligned.
                let mut fields = vec![Field::text(format!("{word:<8}"))];
                fields.extend(row);
                grid.row(fields);
            }
        }
        printer.text(&grid.finish_with(&mut self.widths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(target: &str, service: Option<&str>, is_watch: bool) -> Option<String> {
        let service: Option<ServiceArgument> = service.map(|name| name.parse().unwrap());
        path(&target.parse().unwrap(), service.as_ref(), is_watch).ok()
    }

    #[test]
    fn targets_become_paths_of_the_api() {
        assert_eq!(path_of("svc/shop", None, false).unwrap(), "/v1/services/shop");
        assert_eq!(path_of("replicas", Some("shop"), true).unwrap(), "/v1/replicas?service=shop&watch=true");
        assert_eq!(path_of("hpa", None, false).unwrap(), "/v1/horizontalpodautoscalers");
        assert_eq!(path_of("nodes", Some("shop"), false), None, "nodes do not belong to a service");
    }
}
