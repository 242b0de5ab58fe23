//! The faults of the simulated world, each with its own rate.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A message between the loop and the agent does not arrive.
    Lost,
    /// It arrives up to some seconds late, so that others overtake it.
    Late,
    /// It arrives twice.
    Doubled,
    /// The agent does not know whether an action was done: half of them were.
    Unknown,
    /// An action fails, and has changed nothing.
    Fails,
    /// A write of the store fails, or nobody knows whether it did.
    WriteFails,
    /// A replica ignores its stop signal until it is killed.
    Deaf,
    /// A replica takes ten times as long to begin its work.
    Slow,
    /// A replica ends by itself.
    Crash,
    /// The kernel takes a replica's memory back.
    OutOfMemory,
    /// A replica stops answering; some recover by themselves.
    Hang,
    /// A replica is not ready for some seconds.
    Flap,
    /// All replicas of a service hang at once, as when something that they share is gone.
    SharedStall,
    /// Nothing is measured for some seconds: absent is not zero.
    Blind,
    /// The orchestrator is killed, and restarts after a while.
    OrchestratorDies,
    /// The killed orchestrator was only suspended: it continues after its successor has begun.
    Zombie,
    /// The wall clock steps, up to a day either way.
    ClockStep,
    /// The proxy ejects a replica for half a minute or more, as it does when requests to it fail.
    Eject,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 18] = [
        Self::Lost,
        Self::Late,
        Self::Doubled,
        Self::Unknown,
        Self::Fails,
        Self::WriteFails,
        Self::Deaf,
        Self::Slow,
        Self::Crash,
        Self::OutOfMemory,
        Self::Hang,
        Self::Flap,
        Self::SharedStall,
        Self::Blind,
        Self::OrchestratorDies,
        Self::Zombie,
        Self::ClockStep,
        Self::Eject,
    ];

    /// The kinds that occur by themselves, with a rate per day; the others occur in an operation.
    pub(crate) const STRIKING: [Self; 9] = [
        Self::Crash,
        Self::OutOfMemory,
        Self::Hang,
        Self::Flap,
        Self::SharedStall,
        Self::Blind,
        Self::OrchestratorDies,
        Self::ClockStep,
        Self::Eject,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Late => "late",
            Self::Doubled => "doubled",
            Self::Unknown => "unknown",
            Self::Fails => "fails",
            Self::WriteFails => "write-fails",
            Self::Deaf => "deaf",
            Self::Slow => "slow",
            Self::Crash => "crash",
            Self::OutOfMemory => "out-of-memory",
            Self::Hang => "hang",
            Self::Flap => "flap",
            Self::SharedStall => "shared-stall",
            Self::Blind => "blind",
            Self::OrchestratorDies => "orchestrator-dies",
            Self::Zombie => "zombie",
            Self::ClockStep => "clock-step",
            Self::Eject => "eject",
        }
    }

    /// Whether its rate counts per day, and not per thousand operations.
    pub fn strikes(self) -> bool {
        Self::STRIKING.contains(&self)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No fault has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchFault(String);

impl fmt::Display for NoSuchFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Fault::ALL.map(Fault::name).join(", ");
        write!(f, "no fault is called {:?}; the faults are {names}", self.0)
    }
}

impl std::error::Error for NoSuchFault {}

impl FromStr for Fault {
    type Err = NoSuchFault;

    fn from_str(text: &str) -> Result<Self, NoSuchFault> {
        Self::ALL.into_iter().find(|fault| fault.name() == text).ok_or_else(|| NoSuchFault(text.to_owned()))
    }
}

/// How often each fault happens; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    rates: [u32; Fault::ALL.len()],
}

impl Faults {
    /// Occurrences in a thousand operations; per day for kinds that occur by themselves. 0 is never.
    pub fn rate(&self, fault: Fault) -> u32 {
        self.rates[fault as usize]
    }

    /// Sets the rate of `fault`.
    #[must_use]
    pub fn with(mut self, fault: Fault, rate: u32) -> Self {
        self.rates[fault as usize] = rate;
        self
    }

    /// The kinds that may happen.
    pub fn kinds(&self) -> impl Iterator<Item = Fault> + '_ {
        Fault::ALL.into_iter().filter(|fault| self.rate(*fault) > 0)
    }

    /// The mean time from one occurrence to the next; `None` when it never occurs.
    pub(crate) fn interval(&self, fault: Fault) -> Option<Duration> {
        const DAY_MS: u64 = 86_400_000;
        let rate = u64::from(self.rate(fault));
        (rate > 0).then(|| Duration::from_millis(DAY_MS / rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_parses_from_its_name() {
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse(), Ok(fault));
        }
        assert!("rain".parse::<Fault>().is_err());
    }

    #[test]
    fn a_rate_is_set_for_one_kind_only() {
        let faults = Faults::default().with(Fault::Late, 20);
        assert_eq!(faults.kinds().collect::<Vec<_>>(), [Fault::Late]);
        assert_eq!(faults.rate(Fault::Late), 20);
    }
}
