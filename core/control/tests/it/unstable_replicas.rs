//! Only stable replicas count: not those that warm up, are in a crash loop, fail their probe, or are ejected by the proxy.

use std::time::Duration;

use model::identity::Incarnation;
use model::input::{Declared, Ejected, Input, Report};
use model::memory::StartMemory;
use model::resource::{AutoScale, Count, ScalePolicy};

use crate::scale_in_blockers::{desired, eager, last_limit};
use crate::world::{World, id, ms, seconds};

/// A service that is scaled by its own declaration, not by a HorizontalPodAutoscaler.
fn self_scaled(min: u32, max: u32) -> Declared {
    let mut declared = eager(min, max);
    let (metrics, policy, behavior) = (Vec::new(), ScalePolicy::Hpa, None);
    declared.spec.scale.count = Count::Auto(AutoScale { min, max, metrics, policy, behavior });
    declared
}

/// A world, and the processor time of each replica so far.
struct Busy {
    world: World,
    used: Vec<Duration>,
}

impl Busy {
    /// Replicas at the target of 500 thousandths of a core.
    fn with(declared: Declared, replicas: u32) -> Self {
        let mut busy = Self { world: World::with([declared]), used: Vec::new() };
        busy.world.hold("shop", replicas, None);
        busy.world.run_for(seconds(1));
        busy.work(replicas, 500, 300);
        busy.world.release("shop");
        busy
    }

    /// For this many half seconds, each of the first replicas uses this many thousandths of a core.
    fn work(&mut self, replicas: u32, milli: u64, halves: u32) {
        let shares = vec![milli; replicas as usize];
        self.work_by_share(&shares, halves, None);
    }

    /// Like [`Self::work`], with a share for each, while the proxy ejects one of them.
    fn work_by_share(&mut self, shares: &[u64], halves: u32, ejected: Option<&str>) {
        self.used.resize(shares.len().max(self.used.len()), Duration::ZERO);
        for half in 0..halves {
            for (used, share) in self.used.iter_mut().zip(shares) {
                *used += ms(share / 2);
            }
            let names: Vec<_> = (0..shares.len()).map(|place| format!("shop-{place}")).collect();
            self.world.report_usage(names.iter().map(String::as_str).zip(self.used.iter().copied()));
            if let Some(replica) = ejected.filter(|_| half % 2 == 0) {
                self.eject(replica);
            }
            self.world.run_for(ms(500));
        }
    }

    fn eject(&mut self, replica: &str) {
        let incarnation = Incarnation(self.world.life(replica));
        self.world.put(&Input::Report(Report::Ejected(vec![Ejected { replica: id(replica), incarnation }])));
    }

    fn desired(&self) -> Option<u32> {
        desired(&self.world)
    }

    /// Adds a replica that uses twice the target for the first seconds, and the target after them, beside others at their target.
    fn add_replica(&mut self, others: u32, seconds_hot: u32, seconds_calm: u32) {
        self.world.hold("shop", others + 1, None);
        self.world.run_for(ms(1));
        let mut shares = vec![500; others as usize];
        shares.push(1000);
        self.work_by_share(&shares, 2 * seconds_hot, None);
        self.work(others + 1, 500, 2 * seconds_calm);
        self.world.release("shop");
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
fn warm_ups_are_learned_and_do_not_count_as_load() {
    let mut busy = Busy::with(self_scaled(2, 10), 2);
    assert_eq!(learned(&busy).warmups, [], "replicas that start together cannot be compared");
    busy.add_replica(2, 20, 40);
    let took = learned(&busy).warmups;
    assert!(matches!(*took, [took] if (16..=24).contains(&took.as_secs())), "{took:?}");

    busy.world.hold("shop", 4, None);
    busy.world.run_for(ms(1));
    busy.world.release("shop");
    busy.work_by_share(&[500, 500, 500, 1000], 24, None);
    assert_eq!(busy.desired(), Some(4), "its warm-up does not count as load");
    let note = note(&busy);
    assert!(note.contains("1 still starting") && note.contains("replicas warm up for "), "{note}");
    busy.work_by_share(&[500, 500, 500, 1000], 40, None);
    assert_eq!(busy.desired(), Some(5), "a lasting load does");
}

#[test]
fn an_autoscaler_of_kubernetes_kind_decides_as_kubernetes_does() {
    let mut busy = Busy::with(eager(2, 10), 2);
    busy.add_replica(2, 20, 40);
    assert_eq!(learned(&busy).warmups.len(), 1);
    busy.world.hold("shop", 4, None);
    busy.world.run_for(ms(1));
    busy.world.release("shop");
    busy.work_by_share(&[500, 500, 500, 1000], 24, None);
    assert_eq!(busy.desired(), Some(5), "it counts one window after it became ready");
}

#[test]
fn learned_warm_ups_survive_a_restart() {
    let mut busy = Busy::with(self_scaled(2, 10), 2);
    busy.add_replica(2, 20, 40);
    let memory = busy.world.service("shop").memory();
    busy.world.start_run();
    busy.world.declare(self_scaled(2, 10));
    busy.world.restore(memory.clone());
    assert_eq!(learned(&busy), memory.starts);
}

#[test]
fn no_replica_is_removed_while_the_proxy_ejects_one() {
    let mut busy = Busy::with(self_scaled(2, 10), 4);
    busy.work_by_share(&[250, 250, 250, 0], 20, Some("shop-3"));
    assert_eq!(busy.desired(), Some(4));
    let (name, summary) = last_limit(&busy.world);
    assert_eq!(name, "HeldByIncident", "{summary}");
    assert!(summary.ends_with("the proxy has ejected replica 3 because requests to it failed"), "{summary}");
    busy.work(4, 250, 12);
    assert_eq!(busy.desired(), Some(2), "an ejection ends when it is no longer reported");
}

#[test]
fn an_ejection_is_of_one_life() {
    let mut busy = Busy::with(self_scaled(2, 10), 4);
    busy.eject("shop-3");
    let now = busy.world.now;
    assert!(busy.world.place("shop-3").unwrap().is_ejected(now));
    busy.world.kill("shop-3");
    busy.world.carry_out();
    assert!(!busy.world.place("shop-3").unwrap().is_ejected(now));
    let old = Ejected { replica: id("shop-3"), incarnation: Incarnation(1) };
    busy.world.put(&Input::Report(Report::Ejected(vec![old])));
    assert!(!busy.world.place("shop-3").unwrap().is_ejected(now), "the report is of an ended life");
}

#[test]
fn an_ejected_replica_is_replaced_when_the_others_have_too_much_load() {
    let mut busy = Busy::with(self_scaled(2, 10), 4);
    // The load of four at their target, carried by three.
    let mut halves = 0;
    while busy.desired() == Some(4) && halves < 10 {
        busy.work_by_share(&[667, 667, 667, 0], 1, Some("shop-3"));
        halves += 1;
    }
    assert_eq!(busy.desired(), Some(5));
    let note = note(&busy);
    assert!(note.contains("3 ready, 1 unstable"), "{note}");
    assert!(note.contains("replicas, rounded up, is 4, and 1 in place of unstable ones ("), "{note}");
}

#[test]
fn unstable_replicas_are_replaced_under_every_policy() {
    for policy in [
        r#"{"formula": {"expression": "cpu / 50", "target": 1}}"#,
        r#"{"composite": {"weights": {"cpu": 1}}}"#,
        r#"{"burst": {"metric": "cpu", "stableWindow": "6s", "panicWindow": "1s"}}"#,
    ] {
        let mut declared = self_scaled(2, 10);
        let autoscaler = declared.autoscaler.as_mut().expect("it scales itself");
        autoscaler.policy = serde_json::from_str(policy).expect("a policy in the code is a policy");
        let mut busy = Busy::with(declared, 4);
        let mut halves = 0;
        while busy.desired() == Some(4) && halves < 20 {
            busy.work_by_share(&[667, 667, 667, 0], 1, Some("shop-3"));
            halves += 1;
        }
        assert_eq!(busy.desired(), Some(5), "{policy}: {:?}", last_limit(&busy.world));
        let (_, summary) = last_limit(&busy.world);
        assert!(summary.contains(", and 1 in place of unstable ones"), "{policy}: {summary}");
    }
}

#[test]
fn an_unstable_replica_is_not_replaced_while_the_others_are_enough() {
    let mut busy = Busy::with(self_scaled(2, 10), 4);
    busy.work_by_share(&[520, 520, 520, 0], 10, Some("shop-3"));
    assert_eq!(busy.desired(), Some(4), "within the tolerance");
}

#[test]
fn a_replica_in_a_crash_loop_is_replaced() {
    let mut busy = Busy::with(self_scaled(2, 10), 4);
    busy.world.hold("shop", 4, None);
    for _ in 0..6 {
        busy.world.kill("shop-3");
        busy.world.run_for(seconds(61));
    }
    busy.world.kill("shop-3");
    busy.world.release("shop");
    busy.work_by_share(&[667, 667, 667], 10, None);
    assert_eq!(busy.desired(), Some(5));
}

#[test]
fn the_only_replica_always_counts() {
    let mut busy = Busy::with(self_scaled(1, 10), 1);
    busy.work_by_share(&[1000], 10, Some("shop-0"));
    assert_eq!(busy.desired(), Some(2), "an overloaded replica fails requests, and its load must count");
}
