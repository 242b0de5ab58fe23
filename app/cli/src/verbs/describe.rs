//! `describe`: everything about one service, route or metric source.

use std::fmt::Write as _;
use std::str::FromStr;

use api::v1;
use clap::Args;
use serde_json::Value;

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::figures;
use crate::output::{Field, Output, Printer, STRING, UNKNOWN};
use crate::paint::Tone;
use crate::tables;
use crate::target::{ObjectArgument, ServiceArgument, Subject};
use crate::verbs::explain;

/// Show everything about one service (conditions, replicas, latest decision, recent events), route or metric source
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// The resource, as service/NAME, route/NAME or metricsource/NAME
    #[arg(value_name = "KIND/NAME")]
    target: DescribeTarget,
    #[command(flatten)]
    output: Output,
}

/// A resource that can be described; a bare name is that of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
enum DescribeTarget {
    Service(ServiceArgument),
    Route(String),
    MetricSource(String),
}

impl FromStr for DescribeTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<ObjectArgument>() {
            Ok(ObjectArgument { subject: Subject::Route, name }) => Ok(Self::Route(name)),
            Ok(ObjectArgument { subject: Subject::MetricSource, name }) => Ok(Self::MetricSource(name)),
            Ok(object) if object.subject != Subject::Service => Err(format!(
                "{object} cannot be described; write service/NAME, route/NAME or metricsource/NAME"
            )),
            Ok(_) | Err(_) => text.parse().map(Self::Service),
        }
    }
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let service = match &arguments.target {
        DescribeTarget::Service(ServiceArgument(service)) => service,
        DescribeTarget::Route(name) => return route(context, name, &arguments.output).await,
        DescribeTarget::MetricSource(name) => return metric_source(context, name, &arguments.output).await,
    };
    let path = format!("/v1/services/{service}/describe");
    let response: Value = context.client()?.get(&path).await?;
    let description: v1::Description = serde_json::from_value(response.clone())?;
    let printer = context.printer;
    context.printer.print(arguments.output.output, &response, |_| lines(printer, &description))
}

fn lines(printer: Printer, it: &v1::Description) -> String {
    let mut text = String::new();
    let mut part = |title: &str, body: &str| {
        let gap = if text.is_empty() { "" } else { "\n" };
        write!(text, "{gap}{title}\n{body}").expect(STRING);
    };
    let mut grid = printer.table(tables::SERVICE_HEADER);
    grid.row(tables::service(&it.service));
    part(&format!("service/{}", it.service.name()), &grid.finish());
    if let Ok(spec) = serde_saphyr::to_string(&it.service.spec) {
        part("spec", &spec.lines().map(|line| format!("  {line}\n")).collect::<String>());
    }
    part("conditions", &conditions(printer, &it.service.status.conditions));
    if let Some(autoscaler) = &it.autoscaler {
        let mut grid = printer.table(tables::AUTOSCALER_HEADER);
        grid.row(tables::autoscaler(autoscaler));
        let of_autoscaler = autoscaler.status.conditions.iter().map(|it| &it.condition);
        part("autoscaler", &format!("{}{}", grid.finish(), conditions(printer, of_autoscaler)));
    }
    let mut grid = printer.table(tables::REPLICA_HEADER);
    it.replicas.iter().for_each(|replica| grid.row(tables::replica(replica, os::wall())));
    part("replicas", &if it.replicas.is_empty() { "there is none\n".to_owned() } else { grid.finish() });
    let throttled: Vec<_> = it.replicas.iter().filter_map(tables::throttling).collect();
    if !throttled.is_empty() {
        let mut grid = printer.table(tables::THROTTLING_HEADER);
        throttled.into_iter().for_each(|row| grid.row(row));
        part("limit of the processor", &grid.finish());
    }
    if let Some(recommended) = &it.service.status.recommendation {
        part("size of a replica", &recommendation(printer, recommended));
    }
    if let Some(known) = &it.service.status.capacity {
        part("what a replica carries", &capacity(printer, known));
    }
    if let Some(counters) = &it.service.status.proxy {
        let mut grid = printer.table(tables::ENDPOINT_HEADER);
        it.replicas.iter().filter_map(tables::endpoint).for_each(|row| grid.row(row));
        let zone = tables::zone(&it.service);
        part("proxy", &format!("{}{zone}{}", tables::proxy_counters(counters), grid.finish()));
    }
    if !it.service.status.endpoints.is_empty() {
        part("endpoints elsewhere", &external_endpoints(printer, &it.service.status.endpoints));
    }
    if !it.service.status.versions.is_empty() {
        let mut grid = printer.table(tables::VERSION_HEADER);
        it.service.status.versions.iter().for_each(|version| grid.row(tables::version(version)));
        part("requests by version", &grid.finish());
    }
    if let Some(explanation) = &it.explanation {
        part("the last decision", &explain::lines(printer, explanation));
    }
    let mut grid = printer.table(tables::EVENT_HEADER);
    it.events.iter().for_each(|event| grid.row(tables::event(event)));
    part(
        "events",
        &if it.events.is_empty() { "nothing has happened yet\n".to_owned() } else { grid.finish() },
    );
    text
}

/// A table of external endpoints.
pub(super) fn external_endpoints(printer: Printer, endpoints: &[v1::ElsewhereEndpoint]) -> String {
    let mut grid = printer.table(tables::EXTERNAL_ENDPOINT_HEADER);
    endpoints.iter().for_each(|endpoint| grid.row(tables::external_endpoint(endpoint)));
    grid.finish()
}

fn capacity(printer: Printer, it: &v1::Capacity) -> String {
    let v1::Capacity { promise, acting, versions } = it;
    if versions.is_empty() && acting.is_none() {
        return format!("  within {promise}: not known yet\n");
    }
    let mut grid = printer.table(&["GENERATION", "REQUESTS/S", "LOWER", "UPPER", "WINDOWS", "BY"]);
    let mut row = |name: String, it: &v1::LearnedCapacity| {
        let rate = |rate: f64| Field::number(format!("{rate:.1}"));
        let windows = Field::number(it.windows.to_string());
        let fields = [rate(it.requests_per_second), rate(it.lower), rate(it.upper), windows];
        grid.row(std::iter::once(Field::text(name)).chain(fields).chain([Field::text(it.ground.clone())]));
    };
    let name = |it: &v1::LearnedCapacity| it.generation.map_or_else(|| "-".to_owned(), |it| it.to_string());
    versions.iter().for_each(|version| row(name(version), version));
    if let Some(acting) = acting {
        row("acted on".to_owned(), acting);
    }
    format!("{}  within {promise}\n", grid.finish())
}

fn recommendation(printer: Printer, it: &v1::Recommendation) -> String {
    let mut grid =
        printer.table(&["RESOURCE", "DECLARED", "LOWER", "TARGET", "UPPER", "STARTS WITH", "RUNS WITH"]);
    let mut row = |name: &str, amount: v1::RecommendedAmount, figure: fn(Option<u64>) -> String| {
        let v1::RecommendedAmount { declared, lower, target, upper, given, running } = amount;
        let runs_with = match running {
            Some(v1::AmountSpan { least, most }) if least < most => {
                format!("{} to {}", figure(Some(least)), figure(Some(most)))
            }
            running => figure(running.map(|span| span.most)),
        };
        let cells = [declared, Some(lower), Some(target), upper, given.or(declared)];
        let cells = cells.into_iter().map(figure).chain([runs_with]);
        grid.row(std::iter::once(Field::text(name)).chain(cells.map(Field::number)));
    };
    if let Some(cpu) = it.cpu_millicores {
        row("cpu", cpu, figures::millicores);
    }
    if let Some(memory) = it.memory_bytes {
        row("memory", memory, figures::bytes);
    }
    let is_empty = it.cpu_millicores.is_none() && it.memory_bytes.is_none();
    let table = if is_empty { String::new() } else { grid.finish() };
    let v1::Recommendation { mode, message, samples, confidence_days, .. } = it;
    format!("{table}  {mode}: {message}; measured: {samples} min, confidence: {confidence_days:.2} days\n")
}

async fn route(context: &CommandContext, name: &str, output: &Output) -> Result<(), Failure> {
    let response: Value = context.client()?.get(&format!("/v1/routes/{name}/describe")).await?;
    let description: v1::RouteDescription = serde_json::from_value(response.clone())?;
    let printer = context.printer;
    context.printer.print(output.output, &response, |_| route_lines(printer, &description))
}

fn route_lines(printer: Printer, it: &v1::RouteDescription) -> String {
    let mut grid = printer.table(tables::ROUTE_HEADER);
    grid.row(tables::route(&it.route));
    let mut text = format!("route/{}\n{}", it.route.name(), grid.finish());
    if let Ok(spec) = serde_saphyr::to_string(&it.route.spec) {
        text += "\nspec\n";
        spec.lines().for_each(|line| text += &format!("  {line}\n"));
    }
    text += &format!("\nconditions\n{}", conditions(printer, &it.route.status.conditions));
    let mut grid = printer.table(&["RULE", "SERVICE", "SHARE", "READY"]);
    for backend in &it.backends {
        let share =
            backend.share.map_or_else(|| "copies".to_owned(), |share| format!("{:.2} %", share * 100.0));
        let ready = match backend.ready_replicas {
            None => Field::text("no such service").toned(Tone::Bad),
            Some(0) => Field::number(0).toned(Tone::Bad),
            Some(ready) => Field::number(ready),
        };
        let port = backend.port.as_ref().map_or_else(String::new, |port| format!(":{port}"));
        let service = Field::text(format!("{}{port}", backend.service));
        grid.row([Field::number(backend.rule), service, Field::number(share), ready]);
    }
    text += &tables::route_responses(&it.route.status);
    text += "\nservices\n";
    text += &if it.backends.is_empty() { "it names no service\n".to_owned() } else { grid.finish() };
    text
}

async fn metric_source(context: &CommandContext, name: &str, output: &Output) -> Result<(), Failure> {
    let response: Value = context.client()?.get(&format!("/v1/metricsources/{name}/describe")).await?;
    let description: v1::MetricSourceDescription = serde_json::from_value(response.clone())?;
    let printer = context.printer;
    context.printer.print(output.output, &response, |_| metric_source_lines(printer, &description))
}

fn metric_source_lines(printer: Printer, it: &v1::MetricSourceDescription) -> String {
    let mut grid = printer.table(tables::METRIC_SOURCE_HEADER);
    grid.row(tables::metric_source(&it.source, os::wall()));
    let mut text = format!("metricsource/{}\n{}", it.source.name(), grid.finish());
    if let Ok(spec) = serde_saphyr::to_string(&it.source.spec) {
        text += "\nspec\n";
        spec.lines().for_each(|line| text += &format!("  {line}\n"));
    }
    text += &format!("\nconditions\n{}", conditions(printer, &it.source.status.conditions));
    let mut grid = printer.table(&["REPLICA", "LABELS", "VALUE", "WHY NOT"]);
    for reading in &it.readings {
        let labels: Vec<String> =
            reading.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        grid.row([
            Field::text(reading.replica.as_deref().unwrap_or(UNKNOWN)),
            Field::text(labels.join(",")),
            Field::number(reading.value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())),
            Field::text(reading.message.as_deref().unwrap_or_default()),
        ]);
    }
    text += "\nseries\n";
    text += &if it.readings.is_empty() { "there is none\n".to_owned() } else { grid.finish() };
    let services = if it.services.is_empty() { "none".to_owned() } else { it.services.join(", ") };
    text += &format!("\nservices scaled by it: {services}\n");
    text
}

fn conditions<'a>(printer: Printer, conditions: impl IntoIterator<Item = &'a v1::Condition>) -> String {
    let mut conditions = conditions.into_iter().peekable();
    if conditions.peek().is_none() {
        return String::new();
    }
    let mut grid = printer.table(&["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    for condition in conditions {
        let tone = match condition.status.as_str() {
            "True" => Tone::Good,
            "False" => Tone::Bad,
            _ => Tone::Notable,
        };
        grid.row([
            Field::text(&condition.kind),
            Field::text(&condition.status).toned(tone),
            Field::text(&condition.reason),
            Field::text(condition.since.as_deref().unwrap_or(UNKNOWN)),
            Field::text(&condition.message),
        ]);
    }
    grid.finish()
}
