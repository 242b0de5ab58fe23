//! The words of the command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hyper::Method;
use hyper::http::uri::PathAndQuery;
use load::plan::LoadPlan;
use load::profile::Step;
use load::rate::{Factor, Rate};
use model::resource::Span;
use model::settings::{GuardSettings, Settings};

use crate::target::{Target, checked, parse_service, parse_target};

/// Where a Homeostat listens unless told otherwise.
const SERVER_DEFAULT: &str = "http://127.0.0.1:7460";

/// The port of the API unless told otherwise.
const PORT_DEFAULT: u16 = 7460;

/// The folder for data unless told otherwise.
const DATA_DEFAULT: &str = ".homeostat";

/// The shortest period: below it the loop would decide on the same samples again, as traffic is counted four times a second.
const PERIOD_MIN: Duration = Duration::from_millis(250);

/// The longest period: no load waits longer than an hour.
const PERIOD_MAX: Duration = Duration::from_secs(3600);

/// Keeps services in balance: runs, balances, scales and heals them, and says why.
#[derive(Debug, Parser)]
#[command(name = "homeostat", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Words {
    /// The homeostat to ask
    #[arg(long, global = true, env = "HOMEOSTAT_SERVER", value_name = "URL", default_value = SERVER_DEFAULT)]
    pub(crate) server: String,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const AFTER_HELP: &str = "\
Exits 0 on success, 1 when the thing asked for failed, 2 when the words were wrong.

Begin with:
  homeostat up -f examples/flash-sale
  homeostat top";

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run services on this machine until Ctrl-C, which stops them too
    ///
    /// One process that is orchestrator, agent, proxy and API. What was applied is kept in the data folder and is there again
    /// at the next start; replicas that outlived a crash are adopted without a restart.
    Up(UpWords),
    /// Declare what the files say
    Apply(ApplyWords),
    /// Check files without asking a server
    Validate(Files),
    /// Show what apply would change
    Diff(DiffWords),
    /// Delete services or autoscalers, by name
    Delete(DeleteWords),
    /// Show services, hpa, replicas, nodes, or one of them
    Get(GetWords),
    /// Show everything about a service
    Describe(DescribeWords),
    /// Show what happened, and why
    Events(EventsWords),
    /// Show what replicas print
    Logs(LogsWords),
    /// Watch services and replicas live
    Top(TopWords),
    /// Hold a service at a size by hand, or let it size itself again
    Scale(ScaleWords),
    /// Show the last scaling decision and its arithmetic
    Explain(ExplainWords),
    /// Send HTTP load, open loop, and show what came of it
    ///
    /// Requests are sent when they are due, whether or not earlier ones were answered, and latency counts from then.
    Load(Box<LoadWords>),
    /// Step a journal through the loop's code, and fail on the first output that differs
    Replay(ReplayWords),
    /// Print the JSON Schema of a kind
    Schema(SchemaWords),
    /// Print what a shell needs to complete these words
    Completions(CompletionsWords),
    /// Print the version
    Version(VersionWords),
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people
    Table,
    /// For scripts: the contract
    Json,
    /// As manifests are written
    Yaml,
}

/// How `resources.cpu` is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cpu {
    /// A replica may use idle processors beyond it; when they are scarce each gets its share
    Share,
    /// Never more than declared in any 100 ms
    Quota,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// How the answer is printed
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Form,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Files {
    /// A file, a folder, or - for standard input; may be given several times
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct UpWords {
    /// Manifests to apply at the start: a file, a folder, or - for standard input; may be given several times
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The folder for all that is kept: declarations, journal, logs of replicas
    #[arg(long, value_name = "DIR", default_value = DATA_DEFAULT)]
    pub(crate) data: PathBuf,
    /// Where the API listens; whoever reaches it can run programs here, so keep it on loopback
    #[arg(long, value_name = "ADDR:PORT", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT_DEFAULT))]
    pub(crate) listen: SocketAddr,
    /// How resources.cpu is held
    #[arg(long, value_enum, default_value = "share")]
    pub(crate) cpu: Cpu,
    /// Restarts within a minute on this machine; more wait
    #[arg(long, value_name = "N", default_value_t = GuardSettings::default().node_restarts_per_minute,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) restarts_per_minute: u32,
    /// From one scaling decision of a service to its next, 250ms to 1h
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = period)]
    pub(crate) period: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyWords {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct DiffWords {
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteWords {
    /// What to delete, such as service/shop or hpa/shop
    #[arg(value_name = "KIND/NAME", required = true, value_parser = parse_target)]
    pub(crate) targets: Vec<Target>,
}

#[derive(Debug, Args)]
pub(crate) struct GetWords {
    /// services (svc), hpa, replicas or nodes, or one by name; services and replicas when left out
    #[arg(value_name = "KIND[/NAME]", value_parser = parse_target)]
    pub(crate) target: Option<Target>,
    /// Go on showing what changes
    #[arg(short, long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct DescribeWords {
    /// Which service
    #[arg(value_name = "service/NAME", value_parser = parse_service)]
    pub(crate) service: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct EventsWords {
    /// Of this service only
    #[arg(value_name = "service/NAME", value_parser = parse_service)]
    pub(crate) service: Option<String>,
    /// At most so many, the latest
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
    /// Not before this time, such as 2026-01-31T18:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Go on showing what happens
    #[arg(short, long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct LogsWords {
    /// Whose: replica/shop-0, or service/shop for all of its replicas
    #[arg(value_name = "KIND/NAME")]
    pub(crate) whose: String,
    /// Go on showing what is printed
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// From so many lines before the end
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    pub(crate) tail: usize,
}

#[derive(Debug, Args)]
pub(crate) struct TopWords {
    /// This service only
    #[arg(value_name = "service/NAME", value_parser = parse_service)]
    pub(crate) service: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ScaleWords {
    /// Which service
    #[arg(value_name = "service/NAME", value_parser = parse_service)]
    pub(crate) service: String,
    /// Hold it at so many replicas, whatever its load
    #[arg(long, value_name = "N", required_unless_present = "auto")]
    pub(crate) replicas: Option<u32>,
    /// How long the hold lasts, such as 30m; until --auto when left out
    #[arg(long = "for", value_name = "DURATION", requires = "replicas")]
    pub(crate) lasting: Option<Span>,
    /// End the hold
    #[arg(long, conflicts_with = "replicas")]
    pub(crate) auto: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainWords {
    /// Which service
    #[arg(value_name = "service/NAME", value_parser = parse_service)]
    pub(crate) service: String,
    /// The decision as of this time, from the journal, such as 2026-01-31T18:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// What is not done, and why
    #[arg(long)]
    pub(crate) why_not: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayWords {
    /// A segment, or a folder of segments; the journal in the data folder when left out
    #[arg(value_name = "JOURNAL")]
    pub(crate) journal: Option<PathBuf>,
    /// The data folder of `homeostat up`
    #[arg(long, value_name = "DIR", default_value = DATA_DEFAULT)]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaWords {
    /// Which kind; lists the kinds when left out
    #[arg(value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// In which version, such as autoscaling/v2beta1; the newest when left out
    #[arg(long, value_name = "VERSION")]
    pub(crate) api_version: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsWords {
    /// For which shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct VersionWords {
    #[command(flatten)]
    pub(crate) output: Output,
}

/// How a load goes up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// --rate for --duration
    Constant,
    /// Each --step for its time
    Steps,
    /// From --base to --peak and back
    FlashSale,
}

/// What the values of a trace count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unit {
    /// Requests within one interval of the trace
    Count,
    /// Requests per second
    Rate,
}

#[derive(Debug, Args)]
pub(crate) struct LoadWords {
    /// Where to send it: http://HOST:PORT/PATH
    pub(crate) url: String,
    /// The shape; constant when left out, or steps with --step
    #[arg(long, value_enum)]
    pub(crate) profile: Option<Shape>,
    /// Requests per second
    #[arg(long)]
    pub(crate) rate: Option<Rate>,
    /// How long, such as 30s
    #[arg(long)]
    pub(crate) duration: Option<Span>,
    /// One step, such as 100:30s; may be given several times
    #[arg(long = "step", value_name = "RATE:DURATION", value_parser = step)]
    pub(crate) steps: Vec<Step>,
    /// Flash sale: requests per second before and after
    #[arg(long, value_name = "RATE")]
    pub(crate) base: Option<Rate>,
    /// Flash sale: requests per second at its height
    #[arg(long, value_name = "RATE")]
    pub(crate) peak: Option<Rate>,
    /// Flash sale: how long before the rise [default: 10s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) lead: Option<Span>,
    /// Flash sale: how long it rises [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) rise: Option<Span>,
    /// Flash sale: how long it stays at its height [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) hold: Option<Span>,
    /// Flash sale: how long it falls [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) fall: Option<Span>,
    /// Flash sale: how long after the fall [default: 20s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) tail: Option<Span>,
    /// A trace to replay: CSV with timestamp,value
    #[arg(long, value_name = "CSV", conflicts_with = "profile")]
    pub(crate) trace: Option<PathBuf>,
    /// Trace: so many rows, from the first or from --skip on
    #[arg(long, value_name = "N", requires = "trace")]
    pub(crate) take: Option<usize>,
    /// Trace: rows passed over at the beginning
    #[arg(long, value_name = "N", requires = "trace")]
    pub(crate) skip: Option<usize>,
    /// Trace: so many times faster; the rate stays
    #[arg(long, value_name = "FACTOR", requires = "trace")]
    pub(crate) speed: Option<Factor>,
    /// Trace: so many times the rate
    #[arg(long, value_name = "FACTOR", requires = "trace")]
    pub(crate) scale: Option<Factor>,
    /// Trace: scaled so that its highest value is this rate
    #[arg(long, value_name = "RATE", requires = "trace", conflicts_with = "scale")]
    pub(crate) peak_at: Option<Rate>,
    /// Trace: what its values count
    #[arg(long, value_enum, default_value = "count")]
    pub(crate) unit: Unit,
    /// Requests at random moments (Poisson), from this seed; evenly spread when left out
    #[arg(long, value_name = "SEED")]
    pub(crate) poisson: Option<u64>,
    /// The method
    #[arg(long, default_value = "GET")]
    pub(crate) method: Method,
    /// A header, such as 'Accept: text/html'; may be given several times
    #[arg(long = "header", value_name = "HEADER")]
    pub(crate) headers: Vec<String>,
    /// The body
    #[arg(long)]
    pub(crate) body: Option<String>,
    /// Paths to ask for in turn, in place of the URL's; may be given several times
    #[arg(long = "path", value_name = "PATH")]
    pub(crate) paths: Vec<PathAndQuery>,
    /// Connections, and so requests in flight, at once
    #[arg(long, value_name = "N", default_value_t = LoadPlan::CONNECTIONS_DEFAULT)]
    pub(crate) connections: NonZeroU16,
    /// How long to wait for an answer
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(crate) timeout: Span,
    /// Exit with 1 when a request failed
    #[arg(long)]
    pub(crate) fail_on_error: bool,
    /// How the report is printed
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Form,
}

impl UpWords {
    /// The numbers of the loop that the words ask for.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings { period: self.period, ..Settings::default() };
        let guard = &mut settings.guard;
        guard.node_restarts_per_minute = self.restarts_per_minute;
        guard.cluster_restarts_per_minute = guard.cluster_restarts_per_minute.max(self.restarts_per_minute);
        settings
    }
}

fn period(text: &str) -> Result<Duration, String> {
    let period = Span::parse(text).map_err(|error| error.to_string())?.as_duration();
    if (PERIOD_MIN..=PERIOD_MAX).contains(&period) {
        Ok(period)
    } else {
        Err("a period is between 250ms and 1h".to_owned())
    }
}

fn step(text: &str) -> Result<Step, String> {
    let (rate, duration) = text.split_once(':').ok_or("a step is RATE:DURATION, such as 100:30s")?;
    let rate = rate.parse::<Rate>().map_err(|error| error.to_string())?;
    let duration = Span::parse(duration).map_err(|error| error.to_string())?.as_duration();
    Ok(Step { rate, duration })
}

/// Whose logs: a replica by name, or a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Replica(String),
    Service(String),
}

#[cfg(test)]
mod tests;
