//! How long replicas take to warm up once they are ready: compilers, caches and pools need time.
//!
//! A new replica is warming up while it uses more processor time than its peers, which receive the same requests; a change of the load
//! affects all of them. Without a peer nothing is learned.

use std::collections::BTreeMap;
use std::time::Duration;

use model::identity::Ordinal;
use model::memory::{StartMemory, WARMUPS_MAX};
use model::quantity::MilliCpu;
use model::time::Time;

use crate::latest::push_latest;
use crate::place::Place;

/// The time between two comparisons of a replica, and the window of the means that are compared: the time for which samples are kept.
const INTERVAL: Duration = Duration::from_secs(4);

/// The longest warm-up that is learned: a replica whose usage is elevated for longer is more likely slower than its peers.
pub const WARMUP_MAX: Duration = Duration::from_mins(2);

/// A replica whose usage was not elevated for this time has warmed up.
const NORMAL_FOR: Duration = Duration::from_secs(30);

/// The usage of a replica is elevated when it exceeds that of its peers by both this percentage and this amount: less may be noise.
const ELEVATED_PERCENT: u64 = 25;
const ELEVATED_BY: MilliCpu = MilliCpu(20);

/// The warm-up of one replica, while it is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmupWatch {
    /// When it became ready.
    since: Time,
    /// When it is compared next.
    next: Time,
    /// When its usage was last elevated.
    last_elevated: Time,
}

impl WarmupWatch {
    /// For a replica that has just become ready.
    pub(crate) fn begin(since: Time) -> Self {
        Self { since, next: since + INTERVAL, last_elevated: since }
    }

    /// Compares its usage with that of its peers. Returns the duration of its warm-up once that is over.
    fn compare(&mut self, now: Time, own: MilliCpu, peers: MilliCpu) -> Option<Duration> {
        self.next = now + INTERVAL;
        if own.0 > peers.0 * (100 + ELEVATED_PERCENT) / 100 + ELEVATED_BY.0 {
            self.last_elevated = now;
        }
        let is_over = now.since(self.last_elevated) >= NORMAL_FOR || now.since(self.since) >= WARMUP_MAX;
        is_over.then(|| self.last_elevated.since(self.since).min(WARMUP_MAX))
    }
}

/// Compares the replica of a place with its peers when that is due. Returns the duration of its warm-up once that is over.
///
/// A replica that stops serving or has no warm peer is no longer observed.
pub(crate) fn update(places: &mut BTreeMap<Ordinal, Place>, ordinal: Ordinal, now: Time) -> Option<Duration> {
    let place = places.get(&ordinal)?;
    let mut warmup_watch = **place.warmup_watch.as_ref()?;
    if now < warmup_watch.next {
        return None;
    }
    let own = place.cpu_share(INTERVAL).filter(|_| place.is_serving());
    let peers =
        mean(places.values().filter(|place| is_warm(place, now)).filter_map(|it| it.cpu_share(INTERVAL)));
    let compared = own.zip(peers).map(|(own, peers)| warmup_watch.compare(now, own, peers));
    let continues = compared == Some(None);
    places.get_mut(&ordinal)?.warmup_watch = continues.then(|| Box::new(warmup_watch));
    compared.flatten()
}

/// Whether it has been serving for longer than any warm-up takes.
fn is_warm(place: &Place, now: Time) -> bool {
    let is_old = place.health().is_some_and(|health| now.since(health.ready_changed) > WARMUP_MAX + INTERVAL);
    is_old && place.is_serving() && !place.is_ejected(now)
}

fn mean(shares: impl Iterator<Item = MilliCpu>) -> Option<MilliCpu> {
    let (sum, count) = shares.fold((0, 0), |(sum, count), share| (sum + share.0, count + 1));
    (count > 0).then(|| MilliCpu(sum / count))
}

/// Notes the duration of one more warm-up.
pub(crate) fn note(memory: &mut StartMemory, took: Duration) {
    push_latest(&mut memory.warmups, WARMUPS_MAX, took);
}

/// The duration of a warm-up: the 75th percentile of the latest. `None` before the first.
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
        let health = Health { since, started: true, ready: true, ready_changed, unhealthy_since: None };
        let mut place = Place::empty(Role::Active, since);
        place.begin(since, Incarnation(1), Generation(1), (ActionId::default(), Stage::Running(health)));
        place
    }

    /// The duration of the warm-up of a replica with this usage by second, in thousandths of a core, beside peers with those usages.
    fn took(own: impl Fn(u64) -> u64, peers: &[fn(u64) -> u64]) -> Option<Duration> {
        let old = || serving_since(READY - Duration::from_mins(3));
        let mut places: BTreeMap<_, _> = (0..).map(Ordinal).zip(peers.iter().map(|_| old())).collect();
        let warmup_watch = Some(Box::new(WarmupWatch::begin(READY)));
        places.insert(NEW, Place { warmup_watch, ..serving_since(READY) });
        let mut used = vec![0; peers.len() + 1];
        for half in 0..600 {
            let now = READY + Duration::from_millis(500 * half);
            let shares = peers.iter().map(|peer| peer(half / 2)).chain([own(half / 2)]);
            for ((place, used), share) in places.values_mut().zip(&mut used).zip(shares) {
                *used += share * 500;
                place.cpu.push(now, *used);
            }
            if let Some(took) = update(&mut places, NEW, now) {
                return Some(took);
            }
        }
        assert_eq!(places[&NEW].warmup_watch, None, "the observation ends");
        None
    }

    const STEADY: &[fn(u64) -> u64] = &[|_| 100, |_| 100];

    #[test]
    fn a_replica_with_the_usage_of_its_peers_has_no_warm_up() {
        assert_eq!(took(|_| 100, STEADY), Some(Duration::ZERO));
        assert_eq!(took(|second| 80 + second % 3 * 20, STEADY), Some(Duration::ZERO), "noise");
    }

    #[test]
    fn a_warm_up_ends_when_the_usage_is_no_longer_elevated() {
        let took = took(|second| if second < 22 { 400 } else { 105 }, STEADY).unwrap();
        assert!((20..=27).contains(&took.as_secs()), "{took:?}");
    }

    #[test]
    fn a_pause_in_a_warm_up_is_part_of_it() {
        let elevated = |second| if second < 10 || (20..30).contains(&second) { 400 } else { 100 };
        let took = took(elevated, STEADY).unwrap();
        assert!((28..=35).contains(&took.as_secs()), "{took:?}");
    }

    #[test]
    fn a_warm_up_is_bounded() {
        assert_eq!(took(|_| 900, STEADY), Some(WARMUP_MAX));
    }

    #[test]
    fn a_load_increase_on_all_replicas_is_not_a_warm_up() {
        let rising = |second: u64| if second < 40 { 800 } else { 50 };
        assert_eq!(took(rising, &[rising]), Some(Duration::ZERO));
    }

    #[test]
    fn without_a_peer_nothing_is_learned() {
        assert_eq!(took(|_| 900, &[]), None);
    }

    #[test]
    fn replicas_started_at_the_same_time_are_not_compared() {
        let mut places: BTreeMap<_, _> = (0..3).map(|place| (Ordinal(place), serving_since(READY))).collect();
        for place in places.values_mut() {
            place.warmup_watch = Some(Box::new(WarmupWatch::begin(READY)));
        }
        for half in 0..200 {
            let now = READY + Duration::from_millis(500 * half);
            places.values_mut().for_each(|place| place.cpu.push(now, half * 450_000));
            for place in 0..3 {
                assert_eq!(update(&mut places, Ordinal(place), now), None);
            }
        }
    }

    #[test]
    fn the_warm_up_is_the_75th_percentile_of_the_latest() {
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
