//! Zone-aware routing: near endpoints get the requests as long as enough of them are healthy; the rest goes to far ones.

#[cfg(test)]
mod tests;

/// How much load an endpoint can carry, in percent of its usual load: two of seven may be unhealthy before any request leaves the zone.
/// Source: Envoy, "Priority levels", `overprovisioning_factor` 140.
const OVERPROVISIONING_PERCENT: u64 = 140;

/// Where an endpoint is, relative to the zone that is preferred.
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
    pub(crate) const fn then_other(self) -> [Self; 2] {
        match self {
            Self::Near => [Self::Near, Self::Far],
            Self::Far => [Self::Far, Self::Near],
        }
    }
}

/// How many endpoints there are on one side, and how many of them are healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Health {
    /// Those that serve and are not ejected; at most `all`.
    pub(crate) healthy: u32,
    /// All that are to serve.
    pub(crate) all: u32,
}

impl Health {
    /// The share of all requests that these endpoints can carry: `healthy ÷ all × 1.4`, at most the whole, and not zero if any is healthy.
    fn capacity(self) -> u64 {
        if self.all == 0 {
            return 0;
        }
        let scaled = u64::from(Share::WHOLE.0) * OVERPROVISIONING_PERCENT * u64::from(self.healthy);
        (scaled / (100 * u64::from(self.all))).clamp((self.healthy > 0).into(), Share::WHOLE.0.into())
    }
}

/// A share of the requests, in hundredths of a percent: 0 to 10,000.
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

/// How requests are divided between near and far endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split {
    /// The share of the requests that stays near.
    pub(crate) near: Share,
    /// Whether near and far together cannot carry all requests. Only then may ejections be ignored.
    pub(crate) is_insufficient: bool,
}

/// Divides the requests between near and far endpoints.
///
/// Near ones get what they have the [capacity](Health::capacity) for, and far ones the rest. If both together cannot carry everything, they get
/// shares in proportion to their capacity; if none is healthy, in proportion to their numbers. Source: Envoy, "Priority levels", with two levels.
pub(crate) fn split(near: Health, far: Health) -> Split {
    let whole = u64::from(Share::WHOLE.0);
    let (here, there) = (near.capacity(), far.capacity());
    let share = match (here + there, near.all + far.all) {
        (0, 0) => Share::WHOLE,
        (0, all) => Share::of(near.all.into(), all.into()),
        (both, _) => Share::of(here, both.min(whole)),
    };
    Split { near: share, is_insufficient: are_insufficient(near, far) }
}

/// Whether both together cannot carry all requests.
///
/// Compares exact fractions: a sum of rounded shares can stay below the whole although both together can just carry it.
fn are_insufficient(near: Health, far: Health) -> bool {
    let [all_near, all_far] = [near, far].map(|side| u128::from(side.all.max(1)));
    let healthy = u128::from(near.healthy) * all_far + u128::from(far.healthy) * all_near;
    healthy * u128::from(OVERPROVISIONING_PERCENT) < 100 * all_near * all_far
}
