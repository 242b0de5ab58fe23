//! Only stable replicas are counted: not one that warms up, ends again and again, fails, or is ejected by the proxy.

use std::time::Duration;

use model::identity::Incarnation;
use model::input::{Declared, Ejected, Input, Report};
use model::memory::StartMemory;
use model::resource::{AutoScale, Count, ScalePolicy};

use crate::doubting::{desired, eager, says};
use crate::world::{World, id, ms, seconds};

/// Scaled by its own declaration, and not by a HorizontalPodAutoscaler that names it.
fn own(min: u32, max: u32) -> Declared {
    let mut declared = eager(min, max);
    let (metrics, policy, behavior) = (Vec::new(), ScalePolicy::Hpa, None);
    declared.spec.scale.count = Count::Auto(AutoScale { min, max, metrics, policy, behavior });
    declared
}

/// A world, and the processor time that each replica has used so far.
struct Busy {
    world: World,
    used: Vec<Duration>,
}

impl Busy {
    /// Replicas at the target of 500 thousandths of a core.
    fn with(declared: Declared, replicas: u32) -> Self {
        let mut busy = Self { world: World::with([declared]), used: Vec::new() };
        busy.world.holds("shop", replicas, None);
        busy.world.lives_for(seconds(1));
        busy.work(replicas, 500, 300);
        busy.world.releases("shop");
        busy
    }

    /// For some half seconds, each of the first replicas uses this many thousandths of a core.
    fn work(&mut self, replicas: u32, milli: u64, halves: u32) {
        let shares = vec![milli; replicas as usize];
        self.works(&shares, halves, None);
    }

    /// The same, with a share for each, while the proxy ejects one of them.
    fn works(&mut self, shares: &[u64], halves: u32, ejected: Option<&str>) {
        self.used.resize(shares.len().max(self.used.len()), Duration::ZERO);
        for half in 0..halves {
            for (used, share) in self.used.iter_mut().zip(shares) {
                *used += ms(share / 2);
            }
            let names: Vec<_> = (0..shares.len()).map(|place| format!("shop-{place}")).collect();
            self.world.uses(names.iter().map(String::as_str).zip(self.used.iter().copied()));
            if let Some(replica) = ejected.filter(|_| half % 2 == 0) {
                self.ejects(replica);
            }
            self.world.lives_for(ms(500));
        }
    }

    fn ejects(&mut self, replica: &str) {
        let incarnation = Incarnation(self.world.life(replica));
        self.world.put(&Input::Report(Report::Ejected(vec![Ejected { replica: id(replica), incarnation }])));
    }

    fn desired(&self) -> Option<u32> {
        desired(&self.world)
    }

    /// One more replica joins, with this usage in each of the seconds that follow, beside others at their target.
    fn joined_by_one(&mut self, others: u32, seconds_hot: u32, seconds_calm: u32) {
        self.world.holds("shop", others + 1, None);
        self.world.lives_for(ms(1));
        let mut shares = vec![500; others as usize];
        shares.push(1000);
        self.works(&shares, 2 * seconds_hot, None);
        self.work(others + 1, 500, 2 * seconds_calm);
        self.world.releases("shop");
    }
}

fn learned(busy: &Busy) -> StartMemory {
    busy.world.service("shop").memory().starts
}

/// The explanation of the only metric.
fn note(busy: &Busy) -> String {
    let decision = busy.world.service("shop").decision.as_ref().unwrap().decision();
    decision.metrics[0].note.to_string()
}

#[test]
fn how_long_replicas_warm_up_is_learned_and_left_out_of_the_load() {
    let mut busy = Busy::with(own(2, 10), 2);
    assert_eq!(learned(&busy).warmups, [], "those that began together have nobody to be compared with");
    busy.joined_by_one(2, 20, 40);
    let took = learned(&busy).warmups;
    assert!(matches!(*took, [took] if (16..=24).contains(&took.as_secs())), "{took:?}");

    busy.world.holds("shop", 4, None);
    busy.world.lives_for(ms(1));
    busy.world.releases("shop");
    busy.works(&[500, 500, 500, 1000], 24, None);
    assert_eq!(busy.desired(), Some(4), "its start is no load");
    let note = note(&busy);
    assert!(note.contains("1 still starting") && note.contains("replicas warm up for "), "{note}");
    busy.works(&[500, 500, 500, 1000], 40, None);
    assert_eq!(busy.desired(), Some(5), "what lasts is");
}

#[test]
fn an_autoscaler_of_kubernetes_kind_decides_as_kubernetes_does() {
    let mut busy = Busy::with(eager(2, 10), 2);
    busy.joined_by_one(2, 20, 40);
    assert_eq!(learned(&busy).warmups.len(), 1);
    busy.world.holds("shop", 4, None);
    busy.world.lives_for(ms(1));
    busy.world.releases("shop");
    busy.works(&[500, 500, 500, 1000], 24, None);
    assert_eq!(busy.desired(), Some(5), "one window after it has become ready it counts");
}

#[test]
fn what_was_learned_of_warming_up_is_known_after_a_restart() {
    let mut busy = Busy::with(own(2, 10), 2);
    busy.joined_by_one(2, 20, 40);
    let memory = busy.world.service("shop").memory();
    busy.world.begins();
    busy.world.declares(own(2, 10));
    busy.world.remembers(memory.clone());
    assert_eq!(learned(&busy), memory.starts);
}

#[test]
fn nothing_is_taken_away_while_the_proxy_goes_around_a_replica() {
    let mut busy = Busy::with(own(2, 10), 4);
    busy.works(&[250, 250, 250, 0], 20, Some("shop-3"));
    assert_eq!(busy.desired(), Some(4));
    let (name, summary) = says(&busy.world);
    assert_eq!(name, "HeldByIncident", "{summary}");
    assert!(summary.ends_with("the proxy has ejected replica 3 because requests to it failed"), "{summary}");
    busy.work(4, 250, 12);
    assert_eq!(busy.desired(), Some(2), "it is over when nothing is heard of it any more");
}

#[test]
fn an_ejection_is_of_one_life() {
    let mut busy = Busy::with(own(2, 10), 4);
    busy.ejects("shop-3");
    let now = busy.world.now;
    assert!(busy.world.place("shop-3").unwrap().is_ejected(now));
    busy.world.kills("shop-3");
    busy.world.obeys();
    assert!(!busy.world.place("shop-3").unwrap().is_ejected(now));
    let old = Ejected { replica: id("shop-3"), incarnation: Incarnation(1) };
    busy.world.put(&Input::Report(Report::Ejected(vec![old])));
    assert!(!busy.world.place("shop-3").unwrap().is_ejected(now), "it is over");
}

#[test]
fn an_ejected_replica_is_not_counted_on_for_load_that_is_too_much_for_the_others() {
    let mut busy = Busy::with(own(2, 10), 4);
    // The load of four at their target, carried by three.
    let mut halves = 0;
    while busy.desired() == Some(4) && halves < 10 {
        busy.works(&[667, 667, 667, 0], 1, Some("shop-3"));
        halves += 1;
    }
    assert_eq!(busy.desired(), Some(5));
    let note = note(&busy);
    assert!(note.contains("3 ready, 1 unstable"), "{note}");
    assert!(note.contains("replicas, rounded up, is 4, and 1 in place of unstable ones ("), "{note}");
}

#[test]
fn somebody_stands_in_whatever_the_policy_multiplies() {
    for policy in [
        r#"{"formula": {"expression": "cpu / 50", "target": 1}}"#,
        r#"{"composite": {"weights": {"cpu": 1}}}"#,
        r#"{"burst": {"metric": "cpu", "stableWindow": "6s", "panicWindow": "1s"}}"#,
    ] {
        let mut declared = own(2, 10);
        let autoscaler = declared.autoscaler.as_mut().expect("it scales itself");
        autoscaler.policy = serde_json::from_str(policy).expect("a policy in the code is a policy");
        let mut busy = Busy::with(declared, 4);
        let mut halves = 0;
        while busy.desired() == Some(4) && halves < 20 {
            busy.works(&[667, 667, 667, 0], 1, Some("shop-3"));
            halves += 1;
        }
        assert_eq!(busy.desired(), Some(5), "{policy}: {:?}", says(&busy.world));
        let (_, summary) = says(&busy.world);
        assert!(summary.contains(", and 1 in place of unstable ones"), "{policy}: {summary}");
    }
}

#[test]
fn while_the_others_suffice_nobody_stands_in() {
    let mut busy = Busy::with(own(2, 10), 4);
    busy.works(&[520, 520, 520, 0], 10, Some("shop-3"));
    assert_eq!(busy.desired(), Some(4), "within the tolerance");
}

#[test]
fn one_that_ends_again_and_again_is_stood_in_for() {
    let mut busy = Busy::with(own(2, 10), 4);
    busy.world.holds("shop", 4, None);
    for _ in 0..6 {
        busy.world.kills("shop-3");
        busy.world.lives_for(seconds(61));
    }
    busy.world.kills("shop-3");
    busy.world.releases("shop");
    busy.works(&[667, 667, 667], 10, None);
    assert_eq!(busy.desired(), Some(5));
}

#[test]
fn the_only_replica_counts_whatever_is_the_matter_with_it() {
    let mut busy = Busy::with(own(1, 10), 1);
    busy.works(&[1000], 10, Some("shop-0"));
    assert_eq!(busy.desired(), Some(2), "one that is overloaded fails requests, and needs help");
}
