//! The proposal of one metric, or why it has none.

use std::fmt;

use super::classify::Census;
use super::ratio::Level;
use super::reading::{Milli, RequestFault, Unavailable};

/// The number of replicas that one metric proposes, with its derivation.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The number.
    pub replicas: u32,
    /// The measured level, without assumptions.
    pub level: Level,
    /// How the replicas counted; all zero for totals that do not depend on them.
    pub census: Census,
    /// The arithmetic.
    pub arithmetic: Arithmetic,
}

/// The arithmetic from a level to a number of replicas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arithmetic {
    /// The number stays: the ratio is near enough to 1.
    WithinTolerance {
        /// Whether values were assumed for replicas without a sample.
        assumed: bool,
        /// The ratio with the assumed values.
        ratio: f64,
    },
    /// `ratio × times`, rounded up.
    Ratio {
        /// Whether values were assumed for replicas without a sample.
        assumed: bool,
        /// The ratio with the assumed values.
        ratio: f64,
        /// Replicas that it is a mean over.
        times: u32,
        /// Replicas in place of unstable ones; 0 when fewer are proposed.
        replacements: u32,
    },
    /// The number stays: the values assumed for replicas without a sample reverse the direction.
    DirectionTurned {
        /// The ratio with the assumed values.
        ratio: f64,
    },
    /// The number stays: the ratio and the number it leads to differ in direction, as happens while there are more or fewer replicas than wanted.
    AgainstRatio {
        /// The ratio with the assumed values.
        ratio: f64,
        /// The number that it leads to.
        proposal: u32,
    },
    /// `ratio`, rounded up: there is no replica to compare with.
    FromZero {
        /// Total ÷ target.
        ratio: f64,
    },
    /// `total ÷ target`, rounded up.
    Shared {
        /// The total.
        total: Milli,
        /// The replicas it was shared by.
        existing: u32,
        /// Replicas in place of unstable ones; 0 when fewer are proposed.
        replacements: u32,
    },
}

/// Why a metric has no proposal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MetricFault {
    /// Its source has no usable value.
    Unavailable(Unavailable),
    /// The target has no replicas.
    NoReplicas,
    /// No replica that counts has a sample.
    NoSamples(Census),
    /// There are samples, but not of replicas that count, or these have no request of the resource.
    Mismatch(Census),
    /// The declaration has no request of the resource, so there is no utilization.
    NoRequest,
    /// The request of a replica is not known.
    Request(RequestFault),
    /// The target is not above zero, so nothing can be compared to it.
    Target,
    /// The source has values of another shape than the metric declares.
    Shape,
}

impl fmt::Display for MetricFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "{why}"),
            Self::NoReplicas => f.write_str("the service has no replicas to measure"),
            Self::NoSamples(census) => write!(f, "none of the replicas that count has been measured: {census}"),
            Self::Mismatch(Census { unmatched: 0, .. }) => {
                f.write_str("the measured replicas request none of it, so there is no utilization to compute")
            }
            Self::Mismatch(census) => {
                write!(f, "the measurements are not of replicas of the service: {census}")
            }
            Self::NoRequest => f.write_str(
                "the service requests none of it, so there is no utilization to compute; declare it under resources",
            ),
            Self::Request(fault) => write!(f, "{fault}"),
            Self::Target => f.write_str("its target is not above zero"),
            Self::Shape => f.write_str("its source measures the total where each replica is needed, or the reverse"),
        }
    }
}

/// Such as `3 ready, 1 still starting, 2 missing (1 stale)`.
impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ready", self.ready)?;
        if self.unready > 0 {
            write!(f, ", {} still starting", self.unready)?;
        }
        if self.missing() > 0 {
            write!(f, ", {} missing", self.missing())?;
        }
        match (self.stale, self.failed) {
            (0, 0) => {}
            (stale, 0) => write!(f, " ({stale} stale)")?,
            (0, failed) => write!(f, " ({failed} failed)")?,
            (stale, failed) => write!(f, " ({stale} stale, {failed} failed)")?,
        }
        if self.unstable > 0 {
            write!(f, ", {} unstable", self.unstable)?;
        }
        if self.ignored > 0 {
            write!(f, ", {} being removed", self.ignored)?;
        }
        if self.unmatched > 0 {
            write!(f, ", {} from unknown replicas", self.unmatched)?;
        }
        Ok(())
    }
}
