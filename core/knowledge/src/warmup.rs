//! How long replicas take to warm up once they are ready: compilers, caches and pools need a while.
//!
//! A new replica is warming up while it uses more processor than its fellows, which get the same requests; a load that rises or
//! falls meanwhile does so for all of them. Without a fellow nothing is learned.

use std::collections::BTreeMap;
use std::time::Duration;

use model::identity::Ordinal;
use model::memory::{StartMemory, WARMUPS_MAX};
use model::quantity::MilliCpu;
use model::time::Time;

use crate::latest::push_latest;
use crate::place::Place;

/// The time from one look at a replica to the next, and the window of the means that are compared: as long as samples are kept.
const LOOK: Duration = Duration::from_secs(4);

/// The longest warm-up that is learned: a replica that is hot for longer is more likely worse than the others.
pub const WARMUP_MAX: Duration = Duration::from_mins(2);

/// A replica that was not hot for this long has warmed up.
const CALM_FOR: Duration = Duration::from_secs(30);

/// A replica is hot when it uses more than its fellows by this many hundredths and this amount: less may be noise.
const ABOVE_PERCENT: u64 = 25;
const ABOVE: MilliCpu = MilliCpu(20);

/// The warm-up of one life, while it is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmupWatch {
    /// When it became ready.
    since: Time,
    /// When it is looked at next.
    next: Time,
    /// When it last used more than its fellows.
    hot: Time,
}

impl WarmupWatch {
    /// A life that has just become ready.
    pub(crate) fn begin(since: Time) -> Self {
        Self { since, next: since + LOOK, hot: since }
    }

    /// Compares what it uses with its fellows. Returns how long its warm-up took, once that is over.
    fn look(&mut self, now: Time, own: MilliCpu, fellows: MilliCpu) -> Option<Duration> {
        self.next = now + LOOK;
        if own.0 > fellows.0 * (100 + ABOVE_PERCENT) / 100 + ABOVE.0 {
            self.hot = now;
        }
        let is_over = now.since(self.hot) >= CALM_FOR || now.since(self.since) >= WARMUP_MAX;
        is_over.then(|| self.hot.since(self.since).min(WARMUP_MAX))
    }
}

/// Compares the replica in a place with its fellows, when that is due. Returns how long its warm-up took, once that is over.
///
/// A replica that stops serving, or has no warm fellow, is watched no longer.
pub(crate) fn watch(places: &mut BTreeMap<Ordinal, Place>, ordinal: Ordinal, now: Time) -> Option<Duration> {
    let place = places.get(&ordinal)?;
    let mut warmup_watch = **place.warmup_watch.as_ref()?;
    if now < warmup_watch.next {
        return None;
    }
    let own = place.cpu_share(LOOK).filter(|_| place.is_serving());
    let fellows =
        mean(places.values().filter(|place| is_warm(place, now)).filter_map(|it| it.cpu_share(LOOK)));
    let looked = own.zip(fellows).map(|(own, fellows)| warmup_watch.look(now, own, fellows));
    let is_watched = looked == Some(None);
    places.get_mut(&ordinal)?.warmup_watch = is_watched.then(|| Box::new(warmup_watch));
    looked.flatten()
}

/// Whether it serves, and has for longer than any warm-up takes.
fn is_warm(place: &Place, now: Time) -> bool {
    let is_old = place.health().is_some_and(|health| now.since(health.ready_changed) > WARMUP_MAX + LOOK);
    is_old && place.is_serving() && !place.is_ejected(now)
}

fn mean(shares: impl Iterator<Item = MilliCpu>) -> Option<MilliCpu> {
    let (sum, count) = shares.fold((0, 0), |(sum, count), share| (sum + share.0, count + 1));
    (count > 0).then(|| MilliCpu(sum / count))
}

/// Notes how long one more warm-up took.
pub(crate) fn note(memory: &mut StartMemory, took: Duration) {
    push_latest(&mut memory.warmups, WARMUPS_MAX, took);
}

/// How long a warm-up takes: the 75th percentile of the latest. `None` before the first.
pub fn warmup(memory: &StartMemory) -> Option<Duration> {
    let mut latest = memory.warmups.clone();
    latest.sort_unstable();
    latest.get((latest.len() * 3).div_ceil(4).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use model::identity::{ActionId, Generation, Incarnation};
    use model::plan::Role;

    use super::*;
    use crate::place::{Health, Stage};

    const READY: Time = Time::from_millis(1_000_000);
    const NEW: Ordinal = Ordinal(9);

    fn serving_since(ready_changed: Time) -> Place {
        let since = ready_changed;
        let health = Health { since, begun: true, ready: true, ready_changed, sick_since: None };
        let mut place = Place::empty(Role::Active, since);
        place.begin(since, Incarnation(1), Generation(1), (ActionId::default(), Stage::Running(health)));
        place
    }

    /// How long the warm-up took of a replica that uses these thousandths of a core, second by second, beside fellows that use those.
    fn took(own: impl Fn(u64) -> u64, fellows: &[fn(u64) -> u64]) -> Option<Duration> {
        let old = || serving_since(READY - Duration::from_mins(3));
        let mut places: BTreeMap<_, _> = (0..).map(Ordinal).zip(fellows.iter().map(|_| old())).collect();
        let warmup_watch = Some(Box::new(WarmupWatch::begin(READY)));
        places.insert(NEW, Place { warmup_watch, ..serving_since(READY) });
        let mut used = vec![0; fellows.len() + 1];
        for half in 0..600 {
            let now = READY + Duration::from_millis(500 * half);
            let shares = fellows.iter().map(|fellow| fellow(half / 2)).chain([own(half / 2)]);
            for ((place, used), share) in places.values_mut().zip(&mut used).zip(shares) {
                *used += share * 500;
                place.cpu.push(now, *used);
            }
            if let Some(took) = watch(&mut places, NEW, now) {
                return Some(took);
            }
        }
        assert_eq!(places[&NEW].warmup_watch, None, "nobody is watched for ever");
        None
    }

    const STEADY: &[fn(u64) -> u64] = &[|_| 100, |_| 100];

    #[test]
    fn a_replica_like_its_fellows_needs_no_warm_up() {
        assert_eq!(took(|_| 100, STEADY), Some(Duration::ZERO));
        assert_eq!(took(|second| 80 + second % 3 * 20, STEADY), Some(Duration::ZERO), "noise");
    }

    #[test]
    fn a_warm_up_ends_when_the_replica_uses_no_more_than_its_fellows() {
        let took = took(|second| if second < 22 { 400 } else { 105 }, STEADY).unwrap();
        assert!((20..=27).contains(&took.as_secs()), "{took:?}");
    }

    #[test]
    fn a_pause_in_a_warm_up_is_part_of_it() {
        let hot = |second| if second < 10 || (20..30).contains(&second) { 400 } else { 100 };
        let took = took(hot, STEADY).unwrap();
        assert!((28..=35).contains(&took.as_secs()), "{took:?}");
    }

    #[test]
    fn the_warm_up_of_a_replica_that_stays_hot_is_bounded() {
        assert_eq!(took(|_| 900, STEADY), Some(WARMUP_MAX));
    }

    #[test]
    fn a_load_that_rises_for_all_is_no_warm_up() {
        let rising = |second: u64| if second < 40 { 800 } else { 50 };
        assert_eq!(took(rising, &[rising]), Some(Duration::ZERO));
    }

    #[test]
    fn without_a_fellow_nothing_is_learned() {
        assert_eq!(took(|_| 900, &[]), None);
    }

    #[test]
    fn replicas_started_at_the_same_time_are_no_fellows() {
        let mut places: BTreeMap<_, _> = (0..3).map(|place| (Ordinal(place), serving_since(READY))).collect();
        for place in places.values_mut() {
            place.warmup_watch = Some(Box::new(WarmupWatch::begin(READY)));
        }
        for half in 0..200 {
            let now = READY + Duration::from_millis(500 * half);
            places.values_mut().for_each(|place| place.cpu.push(now, half * 450_000));
            for place in 0..3 {
                assert_eq!(watch(&mut places, Ordinal(place), now), None);
            }
        }
    }

    #[test]
    fn the_75th_percentile_of_the_latest_decides() {
        let mut memory = StartMemory::default();
        assert_eq!(warmup(&memory), None);
        for seconds in [90, 10, 10, 10] {
            note(&mut memory, Duration::from_secs(seconds));
        }
        assert_eq!(warmup(&memory), Some(Duration::from_secs(10)), "one of four is left out");
        for seconds in 1..=8 {
            note(&mut memory, Duration::from_secs(seconds));
        }
        assert_eq!((memory.warmups.len(), warmup(&memory)), (8, Some(Duration::from_secs(6))));
    }
}
