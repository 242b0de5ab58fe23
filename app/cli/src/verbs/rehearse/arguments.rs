//! The arguments of `rehearse` that need a parser of their own.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use model::identity::ReplicaId;
use model::quantity::MilliRps;
use model::resource::Span;
use rehearsal::{FaultKind, ScheduledFault};
use sim::Fault;

/// Something that is said of one service, or of all that nothing else is said of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Of<T> {
    pub(super) service: Option<String>,
    pub(super) what: T,
}

/// What is said of `service`: the last word about it, or about all.
pub(super) fn of<'a, T>(said: &'a [Of<T>], service: &str) -> Option<&'a T> {
    let own = said.iter().rev().find(|of| of.service.as_deref() == Some(service));
    own.or_else(|| said.iter().rev().find(|of| of.service.is_none())).map(|of| &of.what)
}

/// What is asked of a service.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LoadArgument {
    /// Requests a second.
    Rate(f64),
    /// What a file has recorded.
    Trace(PathBuf),
}

/// What the values of recorded load are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Unit {
    /// Requests in the time from row to row
    Count,
    /// Requests a second
    Rate,
}

/// Which faults happen; none by default.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What goes wrong")]
pub(super) struct FaultArguments {
    /// `kill -9` of a replica, or of homeostat itself (which starts again within two minutes), at a time after the beginning, as shop-0@13s or
    /// homeostat@1m; may be given several times
    #[arg(long, value_name = "REPLICA@TIME", value_parser = kill)]
    kill: Vec<ScheduledFault>,
    /// A replica that stops answering at a time after the beginning, as shop-1@40s; may be given several times
    #[arg(long, value_name = "REPLICA@TIME", value_parser = hang)]
    hang: Vec<ScheduledFault>,
    /// A fault that happens by chance, and how often: times a day, as crash=20, or of a thousand messages, as lost=5; a wrong
    /// name lists the right ones
    #[arg(long = "fault", value_name = "NAME=RATE", value_parser = chance)]
    pub(super) chance: Vec<Chance>,
    /// The seed of chance
    #[arg(long, value_name = "SEED", default_value = "1")]
    pub(super) seed: u64,
}

impl FaultArguments {
    /// The faults at given times.
    pub(super) fn scheduled(&self) -> Vec<ScheduledFault> {
        self.kill.iter().chain(&self.hang).cloned().collect()
    }
}

/// Something that goes wrong by chance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chance {
    pub(super) fault: Fault,
    pub(super) rate: u32,
}

/// The most requests a second that are simulated, in all services together about as many as a machine could be sent.
const RATE_MAX: f64 = 10_000_000.0;

/// Thousandths of requests a second; what is more than can be simulated is cut.
pub(super) fn milli_rps(rate: f64) -> MilliRps {
    // The cast holds at the ends of the range and takes no number for 0.
    MilliRps((rate.min(RATE_MAX) * 1000.0).round() as u64)
}

pub(super) fn asked(text: &str) -> Result<Of<LoadArgument>, String> {
    let wrong = || format!("{text:?} says not of which service; write it as shop=120 or shop=shop.csv");
    let (service, what) = text.split_once('=').ok_or_else(wrong)?;
    let what = match what.parse::<f64>() {
        Ok(rate) if (0.0..=RATE_MAX).contains(&rate) => LoadArgument::Rate(rate),
        Ok(_) => return Err(format!("{what} is no rate; write requests a second, from 0 to {RATE_MAX}")),
        Err(_) => LoadArgument::Trace(PathBuf::from(what)),
    };
    Ok(Of { service: Some(service.to_owned()), what })
}

pub(super) fn factor(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is no factor; write a number above 0, such as 1.5");
    text.parse().ok().filter(|factor: &f64| *factor > 0.0 && factor.is_finite()).ok_or_else(wrong)
}

/// Up to an hour, in fractions of a millisecond where that is meant.
pub(super) fn time(text: &str) -> Result<Of<Duration>, String> {
    let (service, what) = match text.split_once('=') {
        Some((service, what)) => (Some(service.to_owned()), what),
        None => (None, text),
    };
    let wrong = || format!("{what:?} is no time above 0 and up to an hour; write it as 2.5ms or 3s");
    let time = what.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    let is_sound = |time: &Duration| !time.is_zero() && *time <= Duration::from_hours(1);
    Ok(Of { service, what: time.filter(is_sound).ok_or_else(wrong)? })
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
    let wrong = || format!("{text:?} names no replica and time; write it as shop-0@13s");
    let (name, after) = text.split_once('@').ok_or_else(wrong)?;
    Ok(ScheduledFault { after: when(after)?, kind: kind(ReplicaId::parse(name).ok_or_else(wrong)?) })
}

fn when(text: &str) -> Result<Duration, String> {
    Span::parse(text).map(Span::as_duration).map_err(|error| error.to_string())
}

fn chance(text: &str) -> Result<Chance, String> {
    let wrong = || format!("{text:?} is no fault and its rate; write it as crash=20");
    let (name, rate) = text.split_once('=').ok_or_else(wrong)?;
    let fault = name.parse::<Fault>().map_err(|error| error.to_string())?;
    let rate = rate.parse().map_err(|_| wrong())?;
    let most = if fault.strikes() { 86_400 } else { 1000 };
    if rate <= most {
        Ok(Chance { fault, rate })
    } else {
        Err(format!("{name} may happen {most} times at most"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_a_rate_or_a_file_of_a_service() {
        let rate = asked("shop=12.5").expect("it is well written");
        assert_eq!(rate, Of { service: Some("shop".into()), what: LoadArgument::Rate(12.5) });
        let file = asked("shop=load/a=b.csv").expect("it is well written");
        assert_eq!(file.what, LoadArgument::Trace("load/a=b.csv".into()));
        for wrong in ["12", "shop=-1", "shop=NaN", "shop=inf", "shop=1e300"] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_may_be_fractions_of_a_millisecond() {
        let time = |text| time(text).map(|of| of.what);
        assert_eq!(time("shop=2.65ms"), Ok(Duration::from_micros(2650)));
        assert_eq!(time("3s"), Ok(Duration::from_secs(3)));
        for wrong in ["", "0s", "-1s", "2h", "soon", "shop="] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_word_about_a_service_counts_more_than_that_about_all() {
        let said = [time("1ms"), time("shop=2ms"), time("3ms")].map(Result::unwrap);
        assert_eq!(of(&said, "shop"), Some(&Duration::from_millis(2)));
        assert_eq!(of(&said, "cart"), Some(&Duration::from_millis(3)));
    }

    #[test]
    fn faults_name_a_replica_or_ourselves_and_a_time() {
        let kind = |text| kill(text).map(|fault| fault.kind);
        let shop = ReplicaId::parse("shop-0").expect("a constant name");
        assert_eq!(kind("shop-0@13s"), Ok(FaultKind::Kill(shop)));
        assert_eq!(kind("homeostat@1m"), Ok(FaultKind::KillHomeostat));
        for wrong in ["", "shop-0", "shop@3s", "shop-0@", "@3s", "shop-0@noon"] {
            assert!(kill(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn faults_have_names_and_bounded_rates() {
        assert_eq!(chance("crash=20"), Ok(Chance { fault: Fault::Crash, rate: 20 }));
        for wrong in ["", "crash", "crash=", "rain=1", "lost=1001", "crash=-1"] {
            assert!(chance(wrong).is_err(), "{wrong}");
        }
    }
}
