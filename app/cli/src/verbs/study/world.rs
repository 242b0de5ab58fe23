//! Arguments for faults and noise of the simulated world.

use clap::Args;
use fluid::Share;
use fluid::world::{Disturbance, Loss, Lost, Noise};
use model::resource::Span;

use super::learned::Learned;
use crate::failure::Failure;

/// Faults and noise; none by default.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What goes wrong")]
pub(super) struct WorldArguments {
    /// The noise of arrivals: poisson, like independent users, or the standard deviation as a share of the load of a tick, such as 0.2
    #[arg(long, value_name = "NOISE", value_parser = noise)]
    pub(super) noise: Option<Noise>,
    /// The spread of start-up times: the standard deviation as a share of --start-up
    #[arg(long, value_name = "PART", value_parser = deviation, default_value = "0")]
    start_up_spread: f64,
    /// The share of starts that fail, such as 5%
    #[arg(long, value_name = "PERCENT", value_parser = part, default_value = "0%")]
    failed_starts: f64,
    /// The spread of the capacity of replicas: the standard deviation as a share of it
    #[arg(long, value_name = "PART", value_parser = deviation, default_value = "0")]
    unequal: f64,
    /// Replicas that are lost at a time after the start, such as 30%@12h or 2@90m; may be given several times
    #[arg(long, value_name = "LOST@TIME", value_parser = loss)]
    fault: Vec<Loss>,
    /// The random seed: all policies meet the same faults and noise
    #[arg(long, value_name = "SEED", default_value = "0")]
    pub(super) seed: u64,
}

impl WorldArguments {
    /// The faults and noise. Start-up times are those in `learned`, unless a spread is given.
    pub(super) fn disturbance(&self, learned: Option<&Learned>) -> Result<Disturbance, Failure> {
        let learned = learned.filter(|_| self.start_up_spread == 0.0);
        let (starts, warmups) = learned.map(Learned::starts).unwrap_or_default();
        Ok(Disturbance {
            start_up_spread: self.start_up_spread,
            starts,
            warmups,
            capacity_factor: None,
            failed_starts: share_of(self.failed_starts).map_err(Failure::usage)?,
            speed_spread: self.unequal,
            losses: self.fault.clone(),
        })
    }
}

/// A share; `None` for 0.
fn share_of(part: f64) -> Result<Option<Share>, String> {
    if part == 0.0 { Ok(None) } else { Share::of(part).map(Some).map_err(|error| error.to_string()) }
}

/// Parses a share from 0 to 1, as a number or in per cent.
pub(super) fn part(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a share; write it as 0.7 or 70%");
    let number = |text: &str| text.trim().parse::<f64>().map_err(|_| wrong());
    let part = match text.strip_suffix('%') {
        Some(percent) => number(percent)? / 100.0,
        None => number(text)?,
    };
    if (0.0..=1.0).contains(&part) { Ok(part) } else { Err(wrong()) }
}

/// Parses a standard deviation as a share of the mean, 0 to 10.
fn deviation(text: &str) -> Result<f64, String> {
    let wrong =
        || format!("{text:?} is not a deviation; write it as a share of the mean from 0 to 10, such as 0.2");
    text.parse().ok().filter(|part: &f64| (0.0..=10.0).contains(part)).ok_or_else(wrong)
}

fn noise(text: &str) -> Result<Noise, String> {
    if text == "poisson" { Ok(Noise::Poisson) } else { deviation(text).map(Noise::Spread) }
}

fn loss(text: &str) -> Result<Loss, String> {
    let wrong = || format!("{text:?} is not a loss of replicas; write it as 30%@12h or 2@90m");
    let (lost, after) = text.split_once('@').ok_or_else(wrong)?;
    let after = Span::parse(after.trim()).map_err(|error| error.to_string())?.as_duration();
    let lost = if lost.trim().ends_with('%') {
        Lost::Part(Share::of(part(lost.trim())?).map_err(|_| wrong())?)
    } else {
        Lost::Count(lost.trim().parse().map_err(|_| wrong())?)
    };
    Ok(Loss { after, lost })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_loss_is_a_number_or_a_share_and_a_time() {
        let share = Share::of(0.3).unwrap();
        assert_eq!(loss("30%@12h"), Ok(Loss { after: Duration::from_hours(12), lost: Lost::Part(share) }));
        assert_eq!(loss("2@90m"), Ok(Loss { after: Duration::from_mins(90), lost: Lost::Count(2) }));
        for wrong in ["", "2", "2@", "@3h", "x@3h", "0%@3h", "130%@3h", "-1@3h", "2@noon"] {
            assert!(loss(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_are_numbers_or_per_cent() {
        assert_eq!(
            (part("70%"), part("0.7"), part("0"), part("100 %")),
            (Ok(0.7), Ok(0.7), Ok(0.0), Ok(1.0))
        );
        for wrong in ["", "%", "70", "-1%", "NaN", "inf", "seventy"] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
        assert!(
            noise("poisson").is_ok() && noise("0.2").is_ok() && noise("NaN").is_err() && noise("11").is_err()
        );
    }
}
