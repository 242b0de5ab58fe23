//! Zone-aware choice: endpoints that are near get the requests as far as enough of them are well; the rest goes further away.

#[cfg(test)]
mod tests;

/// How much of its usual load a zone is trusted to carry, in percent: of seven endpoints two may be ill before any request leaves the zone.
/// Source: Envoy, "Priority levels", `overprovisioning_factor` 140.
pub const OVERPROVISIONING_PERCENT: u64 = 140;

/// Where an endpoint is, as seen from whoever sends it requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nearness {
    /// In the same zone, or no zone is preferred.
    #[default]
    Near,
    /// In another zone, or it is not known in which.
    Far,
}

impl Nearness {
    /// Both, this one first.
    pub(crate) const fn and_other(self) -> [Self; 2] {
        match self {
            Self::Near => [Self::Near, Self::Far],
            Self::Far => [Self::Far, Self::Near],
        }
    }
}

/// How many endpoints there are on one side, and how many of them serve and are well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// Those that serve and do not sit out; at most `all`.
    pub well: u32,
    /// All that are there to serve.
    pub all: u32,
}

impl Health {
    /// What of all requests these endpoints are trusted to carry: `well ÷ all × 1.4`, at most the whole, and with anybody well the least share at least.
    fn trust(self) -> u64 {
        if self.all == 0 {
            return 0;
        }
        let scaled = u64::from(Share::WHOLE.0) * OVERPROVISIONING_PERCENT * u64::from(self.well);
        (scaled / (100 * u64::from(self.all))).clamp((self.well > 0).into(), Share::WHOLE.0.into())
    }
}

/// A part of the requests, in hundredths of a percent: 0 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

impl Share {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const WHOLE: Self = Self(10_000);

    /// The share as a number, 0 to 10,000.
    #[must_use]
    pub const fn hundredths_of_percent(self) -> u16 {
        self.0
    }

    const fn of(part: u64, whole: u64) -> Self {
        // At most the whole, which fits.
        Self((part * Self::WHOLE.0 as u64 / whole) as u16)
    }
}

/// What goes where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// This part of the requests stays near; the others go further away.
    pub near: Share,
    /// Whether near and far together are not trusted to carry all of them. Only then may ejections be ignored.
    pub is_short: bool,
}

/// Divides the requests between the endpoints that are near and those further away.
///
/// The near ones get what they are trusted to carry, `min(1, 1.4 × share of them that are well)`, and those further away the rest. Where the two together
/// are not trusted to carry everything, each gets its part in proportion to that; where nobody is well, in proportion to the numbers.
/// Source: Envoy, "Priority levels", with two levels.
#[must_use]
pub fn split(near: Health, far: Health) -> Split {
    let whole = u64::from(Share::WHOLE.0);
    let (here, there) = (near.trust(), far.trust());
    let is_short = here + there < whole;
    let share = match (here + there, near.all + far.all) {
        (0, 0) => Share::WHOLE,
        (0, all) => Share::of(near.all.into(), all.into()),
        (both, _) => Share::of(here, both.min(whole)),
    };
    Split { near: share, is_short }
}
