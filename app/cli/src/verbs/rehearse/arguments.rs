//! The arguments of `rehearse` that have their own parsers.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use model::identity::ReplicaId;
use model::quantity::MilliRps;
use model::resource::Span;
use rehearsal::{FaultKind, ScheduledFault};
use sim::Fault;

/// A value for one service, or the default for all services.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PerService<T> {
    pub(super) service: Option<String>,
    pub(super) value: T,
}

/// The value for `service`: the last one given for it, or else the last default.
pub(super) fn value_for<'a, T>(values: &'a [PerService<T>], service: &str) -> Option<&'a T> {
    let own = values.iter().rev().find(|it| it.service.as_deref() == Some(service));
    own.or_else(|| values.iter().rev().find(|it| it.service.is_none())).map(|it| &it.value)
}

/// The load of a service.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LoadArgument {
    /// A constant rate, in requests per second.
    Rate(f64),
    /// Recorded load in a file.
    Trace(PathBuf),
}

/// The unit of the values of recorded load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Unit {
    /// Requests between two rows
    Count,
    /// Requests per second
    Rate,
}

/// The faults; none by default.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What goes wrong")]
pub(super) struct FaultArguments {
    /// `kill -9` a replica, or homeostat itself (which is restarted within two minutes), at a time after the start, such as shop-0@13s or
    /// homeostat@1m; may be given several times
    #[arg(long, value_name = "REPLICA@TIME", value_parser = kill)]
    kill: Vec<ScheduledFault>,
    /// A replica that stops responding at a time after the start, such as shop-1@40s; may be given several times
    #[arg(long, value_name = "REPLICA@TIME", value_parser = hang)]
    hang: Vec<ScheduledFault>,
    /// A random fault and its rate: times per day, such as crash=20, or per thousand messages, such as lost=5; an unknown name lists
    /// all
    #[arg(long = "fault", value_name = "NAME=RATE", value_parser = random_fault)]
    pub(super) random: Vec<RandomFault>,
    /// The random seed
    #[arg(long, value_name = "SEED", default_value = "1")]
    pub(super) seed: u64,
}

impl FaultArguments {
    /// The faults at fixed times.
    pub(super) fn scheduled(&self) -> Vec<ScheduledFault> {
        self.kill.iter().chain(&self.hang).cloned().collect()
    }
}

/// A random fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RandomFault {
    pub(super) fault: Fault,
    pub(super) rate: u32,
}

/// The maximum of requests per second that are simulated: about as many as one machine can receive.
const RATE_MAX: f64 = 10_000_000.0;

/// Converts a rate, limited to [`RATE_MAX`].
pub(super) fn milli_rps(rate: f64) -> MilliRps {
    // A float cast to an integer saturates, and turns NaN into 0.
    MilliRps((rate.min(RATE_MAX) * 1000.0).round() as u64)
}

pub(super) fn load(text: &str) -> Result<PerService<LoadArgument>, String> {
    let invalid = || format!("{text:?} does not name a service; write it as shop=120 or shop=shop.csv");
    let (service, value) = text.split_once('=').ok_or_else(invalid)?;
    let value = match value.parse::<f64>() {
        Ok(rate) if (0.0..=RATE_MAX).contains(&rate) => LoadArgument::Rate(rate),
        Ok(_) => {
            return Err(format!("{value} is out of range; write requests per second, from 0 to {RATE_MAX}"));
        }
        Err(_) => LoadArgument::Trace(PathBuf::from(value)),
    };
    Ok(PerService { service: Some(service.to_owned()), value })
}

pub(super) fn factor(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a factor; write a number above 0, such as 1.5");
    text.parse().ok().filter(|factor: &f64| *factor > 0.0 && factor.is_finite()).ok_or_else(wrong)
}

/// Parses a duration of up to an hour; fractions of a millisecond are possible.
pub(super) fn time(text: &str) -> Result<PerService<Duration>, String> {
    let (service, value) = match text.split_once('=') {
        Some((service, value)) => (Some(service.to_owned()), value),
        None => (None, text),
    };
    let wrong = || format!("{value:?} is not a time above 0 and up to an hour; write it as 2.5ms or 3s");
    let time = value.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    let is_sound = |time: &Duration| !time.is_zero() && *time <= Duration::from_hours(1);
    Ok(PerService { service, value: time.filter(is_sound).ok_or_else(wrong)? })
}

fn kill(text: &str) -> Result<ScheduledFault, String> {
    match text.split_once('@') {
        Some(("homeostat", after)) => {
            Ok(ScheduledFault { after: when(after)?, kind: FaultKind::KillHomeostat })
        }
        _ => replica(text, FaultKind::Kill),
    }
}

fn hang(text: &str) -> Result<ScheduledFault, String> {
    replica(text, FaultKind::Hang)
}

fn replica(text: &str, kind: impl FnOnce(ReplicaId) -> FaultKind) -> Result<ScheduledFault, String> {
    let wrong = || format!("{text:?} is not a replica and a time; write it as shop-0@13s");
    let (name, after) = text.split_once('@').ok_or_else(wrong)?;
    Ok(ScheduledFault { after: when(after)?, kind: kind(ReplicaId::parse(name).ok_or_else(wrong)?) })
}

fn when(text: &str) -> Result<Duration, String> {
    Span::parse(text).map(Span::as_duration).map_err(|error| error.to_string())
}

fn random_fault(text: &str) -> Result<RandomFault, String> {
    let wrong = || format!("{text:?} is not a fault and a rate; write it as crash=20");
    let (name, rate) = text.split_once('=').ok_or_else(wrong)?;
    let fault = name.parse::<Fault>().map_err(|error| error.to_string())?;
    let rate = rate.parse().map_err(|_| wrong())?;
    let rate_max = if fault.strikes() { 86_400 } else { 1000 };
    if rate <= rate_max {
        Ok(RandomFault { fault, rate })
    } else {
        Err(format!("the rate of {name} is at most {rate_max}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_of_a_service_is_a_rate_or_a_file() {
        let rate = load("shop=12.5").expect("it is well written");
        assert_eq!(rate, PerService { service: Some("shop".into()), value: LoadArgument::Rate(12.5) });
        let file = load("shop=load/a=b.csv").expect("it is well written");
        assert_eq!(file.value, LoadArgument::Trace("load/a=b.csv".into()));
        for wrong in ["12", "shop=-1", "shop=NaN", "shop=inf", "shop=1e300"] {
            assert!(load(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_may_be_fractions_of_a_millisecond() {
        let time = |text| time(text).map(|it| it.value);
        assert_eq!(time("shop=2.65ms"), Ok(Duration::from_micros(2650)));
        assert_eq!(time("3s"), Ok(Duration::from_secs(3)));
        for wrong in ["", "0s", "-1s", "2h", "soon", "shop="] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_value_for_a_service_overrides_the_default() {
        let values = [time("1ms"), time("shop=2ms"), time("3ms")].map(Result::unwrap);
        assert_eq!(value_for(&values, "shop"), Some(&Duration::from_millis(2)));
        assert_eq!(value_for(&values, "cart"), Some(&Duration::from_millis(3)));
    }

    #[test]
    fn a_scheduled_fault_names_a_replica_or_homeostat_and_a_time() {
        let kind = |text| kill(text).map(|fault| fault.kind);
        let shop = ReplicaId::parse("shop-0").expect("a constant name");
        assert_eq!(kind("shop-0@13s"), Ok(FaultKind::Kill(shop)));
        assert_eq!(kind("homeostat@1m"), Ok(FaultKind::KillHomeostat));
        for wrong in ["", "shop-0", "shop@3s", "shop-0@", "@3s", "shop-0@noon"] {
            assert!(kill(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_random_fault_has_a_name_and_a_bounded_rate() {
        assert_eq!(random_fault("crash=20"), Ok(RandomFault { fault: Fault::Crash, rate: 20 }));
        for wrong in ["", "crash", "crash=", "rain=1", "lost=1001", "crash=-1"] {
            assert!(random_fault(wrong).is_err(), "{wrong}");
        }
    }
}
