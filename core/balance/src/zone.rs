//! Zone-aware routing: near endpoints get the requests as long as enough of them are healthy; the rest spills over to far ones.

#[cfg(test)]
mod tests;

/// The capacity of an endpoint in percent of its usual load: two of seven may be unhealthy before a request leaves the zone.
/// Source: Envoy, "Priority levels", `overprovisioning_factor` 140.
const OVERPROVISIONING_PERCENT: u64 = 140;

/// Whether an endpoint is in the preferred zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nearness {
    /// In the same zone, or no zone is preferred.
    #[default]
    Near,
    /// In another zone, or in an unknown one.
    Far,
}

impl Nearness {
    /// Both sides, this one first.
    pub(crate) const fn then_other(self) -> [Self; 2] {
        match self {
            Self::Near => [Self::Near, Self::Far],
            Self::Far => [Self::Far, Self::Near],
        }
    }
}

/// The numbers of healthy and of all endpoints on one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Health {
    /// Serving endpoints that are not ejected; at most `all`.
    pub(crate) healthy: u32,
    /// All endpoints but the draining ones.
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

/// A share of requests, in hundredths of a percent: 0 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

impl Share {
    /// 0 %.
    pub const NONE: Self = Self(0);
    /// 100 %.
    pub const WHOLE: Self = Self(10_000);

    /// The share as a number, 0 to 10,000.
    #[must_use]
    pub const fn hundredths_of_percent(self) -> u16 {
        self.0
    }

    const fn of(part: u64, whole: u64) -> Self {
        // `part` ≤ `whole`, so that the result is at most 10,000.
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
/// Near ones get the share that they have the [capacity](Health::capacity) for, and far ones the rest. If both together cannot carry all
/// requests, shares are in proportion to capacity; if no endpoint is healthy, in proportion to the numbers of endpoints. Source: Envoy,
/// "Priority levels", with two levels.
pub(crate) fn split(near: Health, far: Health) -> Split {
    let whole = u64::from(Share::WHOLE.0);
    let (near_capacity, far_capacity) = (near.capacity(), far.capacity());
    let share = match (near_capacity + far_capacity, near.all + far.all) {
        (0, 0) => Share::WHOLE,
        (0, all) => Share::of(near.all.into(), all.into()),
        (capacity, _) => Share::of(near_capacity, capacity.min(whole)),
    };
    Split { near: share, is_insufficient: are_insufficient(near, far) }
}

/// Whether both sides together cannot carry all requests.
///
/// Compares exact fractions, because a sum of rounded shares can stay below the whole although the capacity is exactly sufficient.
fn are_insufficient(near: Health, far: Health) -> bool {
    let [all_near, all_far] = [near, far].map(|side| u128::from(side.all.max(1)));
    let healthy = u128::from(near.healthy) * all_far + u128::from(far.healthy) * all_near;
    healthy * u128::from(OVERPROVISIONING_PERCENT) < 100 * all_near * all_far
}
