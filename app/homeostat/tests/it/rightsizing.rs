//! How large a replica should be, learned from what it uses.

use crate::house::{House, text, wait_until};

#[test]
fn what_a_replica_uses_is_learned_and_shown() {
    let mut house = House::new();
    let manifest = house.write_service(
        "worker",
        "  resources: {memory: 512Mi}\n  scale: {replicas: 1, vertical: {mode: initial, memory: {min: 24Mi}}}\n",
    );
    house.up(&["-f", text(&manifest)]);
    let found = wait_until("memory was measured", || {
        let worker = house.ask(&["get", "service/worker"]);
        let found = worker.pointer("/status/recommendation")?.clone();
        found["memoryBytes"]["target"].is_u64().then_some(found)
    });
    const MIB: u64 = 1 << 20;
    let memory = &found["memoryBytes"];
    let target = memory["target"].as_u64().expect("it is a number");
    assert!(
        (24 * MIB..256 * MIB).contains(&target),
        "as declared at least, and far less than asked for: {found}"
    );
    assert_eq!(memory["declared"], 512 * MIB);
    assert!(
        found["cpuMillicores"].is_null() && memory["given"].is_null(),
        "a minute has not passed: {found}"
    );

    let told = house.run(&["describe", "service/worker"]).out;
    assert!(
        told.contains("size of a replica") && told.contains("until an hour of one replica was measured"),
        "{told}"
    );
}

#[test]
fn bounds_that_contradict_each_other_are_refused() {
    let house = House::new();
    let scale = "  scale: {replicas: 1, vertical: {cpu: {min: 2, max: 1}, memory: {min: 0}}}\n";
    let manifest = house.write_service("worker", scale);
    let said = house.run(&["validate", "-f", text(&manifest)]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("spec.scale.vertical.cpu.min: min (2) is above max (1)"), "{said:?}");
    assert!(
        said.err.contains("spec.scale.vertical.memory.min: an amount of a resource is above zero"),
        "{said:?}"
    );
}
