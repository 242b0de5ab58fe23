//! `up`: reads and checks its arguments. The binary wires what it starts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use manifest::Manifests;
use model::name::{NameError, ZoneName};
use model::resource::Span;
use model::settings::{GuardSettings, Settings};

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::manifests::{self, Warnings};

/// The default data folder.
pub(super) const DATA_DEFAULT: &str = ".homeostat";

/// The default port of the API.
const PORT_DEFAULT: u16 = 7460;

/// The shortest period: with a shorter one, the loop would decide on the same samples again (usage is sampled every 500 ms, traffic every
/// 250 ms).
const PERIOD_MIN: Duration = Duration::from_millis(100);

/// The longest period: an hour is longer than any load can wait.
const PERIOD_MAX: Duration = Duration::from_secs(3600);

/// The shortest retention of decisions: older ones are removed once an hour.
const HISTORY_MIN: Duration = Duration::from_hours(1);

/// The longest time that clients of the previous process may take to finish.
const LINGER_MAX: Duration = Duration::from_hours(24);

/// The checked arguments of `homeostat up`.
#[derive(Clone, Debug)]
pub struct Up {
    /// The manifests to apply at the start, without errors.
    pub manifests: Manifests,
    /// The data folder.
    pub data: PathBuf,
    /// The address of the API.
    pub listen: SocketAddr,
    /// The zone of this machine.
    pub zone: Option<ZoneName>,
    /// How `resources.cpu` is enforced.
    pub cpu: Cpu,
    /// The retention of decisions.
    pub history: Duration,
    /// The settings of the loop.
    pub settings: Settings,
    /// How long clients of the running process may take to finish when its place is taken; `None` to take no place.
    pub take_over: Option<Duration>,
    /// The log level.
    pub log: LogLevel,
}

/// How `resources.cpu` is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cpu {
    /// Replicas may use idle CPUs beyond it; when CPU is scarce, each replica gets its share
    Share,
    /// Replicas never use more than declared in any 100 ms
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
    /// Unusual conditions
    Warn,
    /// Actions and their reasons
    Info,
    /// Observations
    Debug,
    /// Everything
    Trace,
}

/// Run services on this machine until Ctrl-C, which also stops them
///
/// Orchestrator, agent, proxy and API run in one process. Applied resources are stored in the data folder and restored at the next
/// start; replicas that outlived a crash are adopted without a restart.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpArguments {
    /// Manifests to apply at the start: a file, a folder, or - for standard input; may be given several times
    #[arg(short, long = "file", value_name = "FILE")]
    file: Vec<PathBuf>,
    /// The data folder: declarations, journal, logs of replicas
    #[arg(long, value_name = "DIR", default_value = DATA_DEFAULT)]
    data: PathBuf,
    /// The address of the API; clients that can reach it can run programs here, so keep it on loopback
    #[arg(long, value_name = "ADDR:PORT", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT_DEFAULT))]
    listen: SocketAddr,
    /// The zone of this machine and its replicas, for `trafficDistribution`
    #[arg(long, env = "HOMEOSTAT_ZONE", value_name = "NAME", value_parser = zone)]
    zone: Option<ZoneArgument>,
    /// How `resources.cpu` is enforced
    #[arg(long, value_enum, default_value = "share")]
    cpu: Cpu,
    /// The maximum number of restarts per minute on this machine; further ones wait, beyond half as many again of healthy replicas
    #[arg(long, value_name = "N", default_value_t = GuardSettings::default().node_restarts_per_minute,
        value_parser = clap::value_parser!(u32).range(1..))]
    restarts_per_minute: u32,
    /// The interval of scaling decisions on a service
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = period)]
    period: Duration,
    /// How long decisions are kept for `explain`; a busy service needs 1 MB per day, and never more than 48 MiB
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = history)]
    history: Duration,
    /// Take over from the homeostat that runs on this data folder, if any: no connection is refused, no request is lost, and if this
    /// process fails to start, the other continues
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

/// A zone argument. An empty one is none: unit files pass unset variables as empty strings.
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
        Err("give a period between 100ms and 1h".to_owned())
    }
}

fn history(text: &str) -> Result<Duration, String> {
    let kept = Span::parse(text).map_err(|error| error.to_string())?.as_duration();
    if kept >= HISTORY_MIN {
        Ok(kept)
    } else {
        Err("give at least 1h: decisions are removed once an hour".to_owned())
    }
}

fn linger(text: &str) -> Result<Duration, String> {
    let linger = Span::parse(text).map_err(|error| error.to_string())?.as_duration();
    if linger <= LINGER_MAX { Ok(linger) } else { Err("give at most 24h".to_owned()) }
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
        let zone = zone.and_then(|argument| argument.0);
        Ok(Up { manifests, data, listen, zone, cpu, history, settings, take_over, log })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::paint::Colours;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: UpArguments,
    }

    fn up(arguments: &[&str]) -> Result<Up, clap::Error> {
        let line = Line::try_parse_from(["up"].iter().chain(arguments))?;
        Ok(line.arguments.read(&CommandContext::new(Colours::Unwanted, String::new())).unwrap())
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
