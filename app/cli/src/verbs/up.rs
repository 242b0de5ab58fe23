//! `up`: its arguments, read and checked. What it starts is named by the binary.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use manifest::Manifests;
use model::name::{NameError, ZoneName};
use model::resource::Span;
use model::settings::{GuardSettings, Settings};

use crate::arguments::CommandContext;
use crate::failure::Failure;
use crate::manifests::{self, Warnings};

/// The folder for data unless told otherwise.
pub(super) const DATA_DEFAULT: &str = ".homeostat";

/// The port of the API unless told otherwise.
const PORT_DEFAULT: u16 = 7460;

/// The shortest period: below it the loop would decide on the same samples again (usage is sampled each half second, traffic
/// four times a second).
const PERIOD_MIN: Duration = Duration::from_millis(100);

/// The longest period: an hour is longer than any load waits.
const PERIOD_MAX: Duration = Duration::from_secs(3600);

/// The shortest time for which decisions are kept: what is older is looked for once an hour.
const HISTORY_MIN: Duration = Duration::from_hours(1);

/// The longest time that clients of the one before may take to leave: a day is longer than any of them is worth waiting for.
const LINGER_MAX: Duration = Duration::from_hours(24);

/// What `homeostat up` was asked for.
#[derive(Clone, Debug)]
pub struct Up {
    /// What to apply at the start; without errors.
    pub manifests: Manifests,
    /// Where everything is kept.
    pub data: PathBuf,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// The zone of this machine.
    pub zone: Option<ZoneName>,
    /// How `resources.cpu` is enforced.
    pub cpu: Cpu,
    /// For how long decisions are kept.
    pub history: Duration,
    /// The numbers of the loop.
    pub settings: Settings,
    /// To take the place of the one that runs, and how long that one's clients may take to leave; `None` not to.
    pub take_over: Option<Duration>,
    /// What is worth a line in the log.
    pub log: LogLevel,
}

/// How `resources.cpu` is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cpu {
    /// A replica may use idle processors beyond it; when processors are scarce, each gets its share
    Share,
    /// Never more than declared within any 100 ms
    Quota,
}

/// The lowest level of events that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum LogLevel {
    /// Nothing
    Off,
    /// Failures that need attention
    Error,
    /// What is unusual
    Warn,
    /// What is done, and why
    Info,
    /// What is observed
    Debug,
    /// Everything
    Trace,
}

/// Run services on this machine until Ctrl-C, which stops them too
///
/// One process that is orchestrator, agent, proxy and API. What was applied is kept in the data folder and restored at the next
/// start; replicas that outlived a crash are adopted without a restart.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpArguments {
    /// Manifests to apply at the start: a file, a folder, or - for standard input; may be given several times
    #[arg(short, long = "file", value_name = "FILE")]
    file: Vec<PathBuf>,
    /// The data folder: declarations, journal, logs of replicas
    #[arg(long, value_name = "DIR", default_value = DATA_DEFAULT)]
    data: PathBuf,
    /// The address of the API; whoever reaches it can run programs here, so keep it on loopback
    #[arg(long, value_name = "ADDR:PORT", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT_DEFAULT))]
    listen: SocketAddr,
    /// The zone of this machine and so of its replicas, which `trafficDistribution` prefers
    #[arg(long, env = "HOMEOSTAT_ZONE", value_name = "NAME", value_parser = zone)]
    zone: Option<ZoneArgument>,
    /// How `resources.cpu` is enforced
    #[arg(long, value_enum, default_value = "share")]
    cpu: Cpu,
    /// Most restarts within a minute on this machine; further ones wait
    #[arg(long, value_name = "N", default_value_t = GuardSettings::default().node_restarts_per_minute,
        value_parser = clap::value_parser!(u32).range(1..))]
    restarts_per_minute: u32,
    /// The time from one scaling decision of a service to the next
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = period)]
    period: Duration,
    /// How long decisions are kept for `explain`; a busy service takes 1 MB a day, and never more than 48 MiB
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = history)]
    history: Duration,
    /// Take the place of the homeostat that runs on this data folder, if there is one: no connection is refused and no request
    /// lost, and if this one does not come to serve, the other goes on
    #[arg(long)]
    take_over: bool,
    /// With --take-over: how long clients of the previous process may take to finish, downloads and WebSockets included
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = linger, requires = "take_over")]
    linger: Duration,
    /// The lowest level of events that is logged to standard error
    #[arg(
        long,
        env = "HOMEOSTAT_LOG",
        value_name = "LEVEL",
        value_enum,
        ignore_case = true,
        default_value = "info"
    )]
    log: LogLevel,
}

/// A zone as it is said: nothing at all is none, as a unit file leaves a variable that it does not set.
#[derive(Clone, Debug)]
struct ZoneArgument(Option<ZoneName>);

fn zone(text: &str) -> Result<ZoneArgument, NameError> {
    (!text.is_empty()).then(|| ZoneName::parse(text)).transpose().map(ZoneArgument)
}

fn period(text: &str) -> Result<Duration, String> {
    let period = Span::parse(text).map_err(|error| error.to_string())?.as_duration();
    if (PERIOD_MIN..=PERIOD_MAX).contains(&period) {
        Ok(period)
    } else {
        Err("a period is between 100ms and 1h".to_owned())
    }
}

fn history(text: &str) -> Result<Duration, String> {
    let kept = Span::parse(text).map_err(|error| error.to_string())?.as_duration();
    if kept >= HISTORY_MIN { Ok(kept) } else { Err("decisions are kept for at least an hour".to_owned()) }
}

fn linger(text: &str) -> Result<Duration, String> {
    let linger = Span::parse(text).map_err(|error| error.to_string())?.as_duration();
    if linger <= LINGER_MAX { Ok(linger) } else { Err("clients get at most a day".to_owned()) }
}

impl UpArguments {
    /// Reads the manifests that the arguments name.
    pub(crate) fn read(self, context: &CommandContext) -> Result<Up, Failure> {
        let manifests = manifests::read(&self.file, Warnings::Shown, context.colours)?;
        let mut settings = Settings { period: self.period, ..Settings::default() };
        settings.guard.node_restarts_per_minute = self.restarts_per_minute;
        settings.guard.cluster_restarts_per_minute =
            settings.guard.cluster_restarts_per_minute.max(self.restarts_per_minute);
        let take_over = self.take_over.then_some(self.linger);
        let Self { data, listen, zone, cpu, history, log, .. } = self;
        let zone = zone.and_then(|word| word.0);
        Ok(Up { manifests, data, listen, zone, cpu, history, settings, take_over, log })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::output::Printer;
    use crate::paint::{Colours, Paint};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: UpArguments,
    }

    fn up(arguments: &[&str]) -> Result<Up, clap::Error> {
        let line = Line::try_parse_from(["up"].iter().chain(arguments))?;
        let printer = Printer { paint: Paint { is_on: false } };
        Ok(line.arguments.read(&CommandContext::for_tests(Colours::Unwanted, printer)).unwrap())
    }

    #[test]
    fn up_alone_listens_on_loopback_with_the_defaults_of_the_loop() {
        let up = up(&[]).unwrap();
        assert!(up.listen.ip().is_loopback());
        assert_eq!((up.settings, up.cpu), (Settings::default(), Cpu::Share));
    }

    #[test]
    fn more_restarts_on_the_node_never_exceed_those_of_the_cluster() {
        let guard = up(&["--restarts-per-minute", "600"]).unwrap().settings.guard;
        assert_eq!((guard.node_restarts_per_minute, guard.cluster_restarts_per_minute), (600, 600));
        let guard = up(&["--restarts-per-minute", "20"]).unwrap().settings.guard;
        assert_eq!((guard.node_restarts_per_minute, guard.cluster_restarts_per_minute), (20, 50));
    }

    #[test]
    fn no_process_is_taken_over_without_the_option() {
        assert_eq!(up(&[]).unwrap().take_over, None);
        assert_eq!(up(&["--take-over"]).unwrap().take_over, Some(Duration::from_secs(60)));
        assert_eq!(up(&["--take-over", "--linger", "5s"]).unwrap().take_over, Some(Duration::from_secs(5)));
        assert!(up(&["--linger", "5s"]).is_err(), "it says for how long, but not of whom");
        assert!(up(&["--take-over", "--linger", "2d"]).is_err());
    }

    #[test]
    fn a_zone_is_a_name_or_nothing() {
        assert_eq!(up(&["--zone", "eu-1a"]).unwrap().zone, Some(ZoneName::parse("eu-1a").unwrap()));
        assert!(up(&["--zone", "EU 1"]).is_err());
        assert_eq!(up(&["--zone", ""]).unwrap().zone, None);
    }

    #[test]
    fn a_period_that_makes_no_sense_is_refused() {
        for wrong in ["0s", "1", "2h", "soon"] {
            assert!(up(&["--period", wrong]).is_err(), "{wrong}");
        }
        assert_eq!(up(&["--period", "15s"]).unwrap().settings.period, Duration::from_secs(15));
    }
}
