//! The reference page of all kinds, generated from their schemas so that it is always current.

use std::collections::BTreeMap;
use std::fmt::Write;

use model::resource::Kind;
use model::resource::schema::schema_of;
use serde_json::Value;

use crate::schema::{Form, followed, named_forms, one_line, reference_in};

const HEAD: &str = "\
<!-- Written by `cargo run -p manifest --example reference > docs/resources.md`; a test holds it against the schema. -->

# Resources

What can be written in a manifest, field by field. `homeostat schema KIND` prints the same as JSON Schema.

A file holds one or several YAML documents, or JSON. A field that is not listed here is an error, as is a key that stands twice; a
field with nothing in it counts as left out. Anchors, aliases and merge keys (`<<`) work; tags do not. The `items` of a list,
as `kubectl get -o yaml` prints it, are read as manifests of their own. Documents of the kinds `Replica` and `Node`, which
`homeostat get -o yaml` prints as well but which are not declared, are skipped, and so is a service that is being deleted.

- A **span** is a length of time with its unit, in `ms`, `s`, `m`, `h` and `d`: `500ms`, `2s`, `1h30m`. It is kept in whole
  milliseconds, up to `3650d`.
- A **quantity** is an amount as Kubernetes writes it: `250m` (thousandths), `0.5`, `1k`, `128Mi`, `1e3`. It is kept in exact
  thousandths, up to 9223372036854775.807; what is finer is refused and not rounded.
- `[]` after a field means each entry of a list. A form that several fields take has a table of its own below theirs.
";

const TABLE_HEAD: &str = "| field | takes | default | meaning |\n|---|---|---|---|\n";

const SERVICE_EXAMPLE: &str = "\
apiVersion: homeostat/v1
kind: Service
metadata: {name: shop, labels: {tier: web}}
spec:
  run: {command: [\"./shop\", \"--port\", \"$(PORT_HTTP)\"], env: {LOG: info}}
  resources: {cpu: 250m, memory: 128Mi}
  ports: [{name: http, protocol: http}]
  probes:
    readiness: {http: {path: /healthz}, every: 500ms, failures: 2}
    liveness: {http: {path: /healthz}, every: 2s}
  scale:
    min: 2
    max: 20
    metrics:
      - type: Pods
        pods:
          metric: {name: http_requests_per_second}
          target: {type: AverageValue, averageValue: 50}
  recover: {strategy: standby, spares: 1}
  update: {minReady: 10s}
  dependsOn: [{service: db, when: ready}]
  expose: {listen: \"127.0.0.1:8080\", port: http, balance: leastLoaded}
  stop: {signal: SIGTERM, grace: 10s, drain: 5s}
";

const AUTOSCALER_EXAMPLE: &str = "\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: shop}
spec:
  scaleTargetRef: {apiVersion: homeostat/v1, kind: Service, name: shop}
  minReplicas: 2
  maxReplicas: 10
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}
";

const ROUTE_EXAMPLE: &str = "\
apiVersion: homeostat/v1
kind: Route
metadata: {name: web}
spec:
  listen: \"127.0.0.1:8080\"
  hostnames: [shop.example.com]
  rules:
    - backendRefs: [{name: pages}]
    - matches: [{path: {type: PathPrefix, value: /api}}]
      filters:
        - type: URLRewrite
          urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}
      backendRefs: [{name: api, weight: 9}, {name: api-next, weight: 1}]
      timeouts: {request: 5s}
    - matches: [{path: {type: Exact, value: /old}}]
      filters:
        - type: RequestRedirect
          requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /new}, statusCode: 301}
  limits: {requests: {perSecond: 50, burst: 100, by: client}, body: 1Mi, connections: 1000}
";

const METRIC_SOURCE_EXAMPLE: &str = "\
apiVersion: homeostat/v1
kind: MetricSource
metadata: {name: mail-queue}
spec:
  metric: queue_length
  from:
    prometheus: {url: \"http://127.0.0.1:9090\", query: \"sum by (queue) (jobs_waiting)\"}
  every: 5s
  timeout: 2s
  staleAfter: 30s
";

/// The examples that the reference shows, as manifests.
pub(crate) const fn example(kind: Kind) -> &'static str {
    match kind {
        Kind::Service => SERVICE_EXAMPLE,
        Kind::HorizontalPodAutoscaler => AUTOSCALER_EXAMPLE,
        Kind::Route => ROUTE_EXAMPLE,
        Kind::MetricSource => METRIC_SOURCE_EXAMPLE,
    }
}

/// The reference page as Markdown: each kind with an example, and each of its fields with what it type_name, its default and meaning.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for kind in Kind::ALL {
        let about = about(kind);
        page += &format!("\n## {kind}\n\n{about}\n\n```yaml\n{}```\n", example(kind));
        for api_version in kind.api_versions() {
            let Some(schema) = schema_of(api_version, kind) else { continue };
            page += &format!("\n### {kind} in `{api_version}`\n\n{TABLE_HEAD}");
            let is_newest = *api_version == kind.api_versions()[0];
            let mut table = Table::new(&schema, kind);
            for (name, field) in fields(&schema) {
                // Metadata and status are the same in each version.
                if is_newest || name == "spec" {
                    table.field(name, name, field, &schema);
                }
            }
            page += &table.finish();
        }
    }
    page
}

const fn about(kind: Kind) -> &'static str {
    match kind {
        Kind::Service => "A program: how its replicas are run, probed, scaled and exposed.",
        Kind::HorizontalPodAutoscaler => {
            "Kubernetes' own manifests, in all four versions of that API. `scaleTargetRef.name` names a Service of Homeostat. The \
             annotations `autoscaling.alpha.kubernetes.io/metrics` and `/behavior` of `v1`, and `/behavior` of `v2beta1`, are read \
             too. Homeostat itself measures `cpu` and `memory`, and `http_requests_per_second` and \
             `http_response_time_p99_seconds` of the proxy as metrics of type Pods; other metrics of types Pods, Object and External \
             are measured by a MetricSource."
        }
        Kind::Route => {
            "An address that several services share: which requests go to which service, and what is changed on the way. The fields \
             are those of the Gateway API's HTTPRoute. A request that fits no rule is answered 404, one whose service does not exist \
             500, and one whose service has no ready replica in time 503. A request with a path element `.` or `..` is refused with \
             400."
        }
        Kind::MetricSource => {
            "Where the numbers of one metric come from. A HorizontalPodAutoscaler, or `scale.metrics` of a service, names the metric \
             and knows nothing of its source; its `selector` selects by the labels of the series. A measurement is used until it is \
             older than `staleAfter`, whatever fails meanwhile. Having no series, a value of zero, a failure and silence are four \
             different things: only a value, or a `fallback` that is declared for the metric, removes replicas. `NaN` and infinities \
             are failures, and a value below zero removes no replica."
        }
    }
}

/// Counts the references to each form.
fn count_uses<'s>(schema: &'s Value, uses: &mut BTreeMap<&'s str, usize>) {
    match schema {
        Value::Object(inner) => {
            if let Some(name) = reference_in(schema) {
                *uses.entry(name).or_default() += 1;
            }
            inner.values().for_each(|value| count_uses(value, uses));
        }
        Value::Array(items) => items.iter().for_each(|item| count_uses(item, uses)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The names and named forms of a choice; `None` when the form is not a choice.
fn choice(form: &Value) -> Option<String> {
    let choices = form["enum"].as_array().or_else(|| form["oneOf"].as_array()).into_iter().flatten();
    let bare_names: Vec<String> = choices
        .filter_map(|variant| variant.as_str().or(variant["const"].as_str()))
        .map(|name| format!("`{name}`"))
        .collect();
    let names: Vec<String> = named_forms(form).iter().map(|(name, _)| format!("`{name}`")).collect();
    if names.is_empty() {
        return Some(bare_names.join(", ")).filter(|names| !names.is_empty());
    }
    let mapping = format!("a mapping with one of {}", names.join(", "));
    let bare_names = bare_names.iter().map(|name| format!("{name}, ")).collect::<String>();
    Some(if bare_names.is_empty() { mapping } else { format!("{bare_names}or {mapping}") })
}

/// The meaning of each name of a choice; empty where it has no description.
fn meanings(form: &Value) -> String {
    let ways = form["oneOf"].as_array().into_iter().flatten();
    let texts = ways.filter_map(|way| {
        let meaning = one_line(way["description"].as_str()?);
        Some(format!(" `{}`: {}.", way["const"].as_str()?, meaning.trim_end_matches('.')))
    });
    texts.collect()
}

/// The description of one variant of a choice between named forms.
fn of_variant<'s>(schema: &'s Value, name: &str) -> Option<&'s str> {
    let ways = schema["oneOf"].as_array()?;
    ways.iter().find(|way| way["properties"][name].is_object())?["description"].as_str()
}

fn fields(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    schema["properties"].as_object().into_iter().flatten().map(|(name, field)| (name.as_str(), field))
}

struct Table<'s> {
    definitions: &'s Value,
    kind: Kind,
    /// How many fields have each form.
    uses: BTreeMap<&'s str, usize>,
    /// Forms that still need a table of their own, in the order in which they were found.
    waiting: Vec<&'s str>,
    rows: String,
}

impl<'s> Table<'s> {
    fn new(schema: &'s Value, kind: Kind) -> Self {
        let mut uses = BTreeMap::new();
        count_uses(schema, &mut uses);
        Self { definitions: &schema["$defs"], kind, uses, waiting: Vec::new(), rows: String::new() }
    }

    /// The rows, and the tables of the forms that several fields share.
    fn finish(mut self) -> String {
        let mut next = 0;
        while let Some(name) = self.waiting.get(next).copied() {
            next += 1;
            let form = &self.definitions[name];
            let about = form["description"].as_str().unwrap_or_default();
            let choice = choice(form).map(|choice| format!(" It is {choice}.")).unwrap_or_default();
            let meanings = meanings(form);
            self.rows += &format!("\n`{name}`: {about}{choice}{meanings}\n\n{TABLE_HEAD}");
            for (field_name, field) in fields(form).chain(named_forms(form)) {
                self.field(field_name, field_name, field, form);
            }
        }
        self.rows
    }

    fn field(&mut self, path: &str, name: &str, field: &'s Value, parent: &Value) {
        let (form, definition) = self.follow(field);
        let description = field["description"].as_str().or(form["description"].as_str());
        let description = description.or_else(|| of_variant(parent, name)).unwrap_or_default();
        let description = one_line(description);
        let (meaning, described) = match description.split_once(" Default: ") {
            Some((meaning, default)) => (meaning.to_owned(), Some(default.trim_end_matches('.').to_owned())),
            None => (description, None),
        };
        let is_required = parent["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
        let default = match &field["default"] {
            _ if is_required => "required".to_owned(),
            Value::Null | Value::Object(_) => described.unwrap_or_default(),
            Value::String(text) => format!("`{text}`"),
            default => format!("`{default}`"),
        };
        let type_name = self.type_name(form, definition);
        let choices = if definition.is_some_and(|name| self.has_own_table(name, form)) {
            String::new()
        } else {
            meanings(form)
        };
        let meaning = match (meaning.trim_end_matches('.'), choices.trim_end_matches('.')) {
            (meaning, "") => meaning.to_owned(),
            (meaning, choices) => format!("{meaning}.{choices}"),
        };
        let row = [format!("`{path}`"), type_name, default, meaning];
        let row = row.map(|cell| cell.replace('|', "\\|"));
        writeln!(self.rows, "| {} |", row.join(" | ")).expect("writing to a String cannot fail");
        self.below(path, form, definition);
    }

    /// The rows of the fields within a field.
    fn below(&mut self, path: &str, form: &'s Value, definition: Option<&'s str>) {
        if let Some(name) = definition.filter(|name| self.has_own_table(name, form)) {
            if !self.is_described_by_autoscaler(name) && !self.waiting.contains(&name) {
                self.waiting.push(name);
            }
            return;
        }
        for (name, field) in fields(form).chain(named_forms(form)) {
            self.field(&format!("{path}.{name}"), name, field, form);
        }
        if form["items"].is_object() {
            let (item, definition) = self.follow(&form["items"]);
            self.below(&format!("{path}[]"), item, definition);
        }
    }

    /// Whether the fields of a form have a table of their own.
    fn has_own_table(&self, definition: &str, form: &Value) -> bool {
        let is_repeated = self.uses.get(definition).is_some_and(|uses| *uses > 1);
        let has_fields = form["properties"].is_object() || !named_forms(form).is_empty();
        has_fields && (is_repeated || self.is_described_by_autoscaler(definition))
    }

    /// Whether a Service uses a form of the autoscaler here, which the autoscaler's tables describe.
    fn is_described_by_autoscaler(&self, definition: &str) -> bool {
        self.kind == Kind::Service && matches!(definition, "MetricSpec" | "HorizontalPodAutoscalerBehavior")
    }

    fn follow(&self, schema: &'s Value) -> (&'s Value, Option<&'s str>) {
        let Form { schema, definition } = followed(self.definitions, schema);
        (schema, definition)
    }

    fn type_name(&self, form: &'s Value, definition: Option<&str>) -> String {
        match definition {
            Some("Span") => return "span".to_owned(),
            Some("Cron") => return "crontab time".to_owned(),
            Some("Zone") => return "time zone".to_owned(),
            Some("Quantity") => return "quantity".to_owned(),
            Some("ServerAddress") => return "host, or host and port".to_owned(),
            Some("ListenAddress" | "EndpointAddress") => return "IP address and port".to_owned(),
            Some("ServiceName" | "ObjectName" | "PortName" | "ZoneName") => return "name".to_owned(),
            Some(name) if self.has_own_table(name, form) => return format!("`{name}`"),
            Some(_) | None => {}
        }
        if let Some(word) = form["const"].as_str() {
            return format!("`{word}`");
        }
        if let Some(choice) = choice(form) {
            return choice;
        }
        let of = |inner: &'s Value| {
            let (inner, definition) = self.follow(inner);
            self.type_name(inner, definition)
        };
        match form["type"].as_str().or(form["type"][0].as_str()) {
            Some("array") if form["items"].is_object() => format!("list of {}", of(&form["items"])),
            Some("array") => "list".to_owned(),
            Some("object") if form["additionalProperties"].is_object() => {
                format!("mapping to {}", of(&form["additionalProperties"]))
            }
            Some("object") => "mapping".to_owned(),
            Some("integer") => "whole number".to_owned(),
            Some("number") => "number".to_owned(),
            Some("boolean") => "`true`, `false`".to_owned(),
            Some("string") => "text".to_owned(),
            Some(_) | None => "anything".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_manifests_without_errors() {
        for kind in Kind::ALL {
            let read = crate::parse("example", example(kind));
            assert_eq!(read.diagnostics, [], "{kind}");
            assert_eq!(read.documents.len(), 1, "{kind}");
        }
    }
}
