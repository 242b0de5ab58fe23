//! Starts: at most once for each action, as declared.

use std::time::Duration;

use ::platform::{LifeState, RunEnd, RunError, RunRequest};
use model::action::{FailureKind, Outcome, Refusal};
use model::identity::{Incarnation, Ordinal};
use model::input::ExitStatus;
use serde_json::json;

use super::cases;
use super::world::{World, in_time, reported_exit};

cases![
    a_started_replica_is_in_the_inventory_with_its_facts,
    a_repeated_start_gives_the_same_life,
    many_starts_at_once_each_give_a_life,
    a_place_has_one_life_at_a_time,
    ports_are_free_and_passed_to_the_program,
    the_environment_is_what_was_declared_and_nothing_else,
    a_declaration_that_cannot_run_fails_with_its_cause,
    a_failed_start_leaves_the_place_free,
    a_program_run_beside_a_replica_has_its_environment,
    usage_grows_with_work,
];

async fn a_started_replica_is_in_the_inventory_with_its_facts(world: &mut World) {
    let request = world.request("exec sleep 60");
    let life = world.start_as(request.clone()).await;
    assert_eq!(life.state, LifeState::Running);
    assert_eq!(life.replica, request.replica);
    assert_eq!(life.incarnation, request.incarnation);
    assert_eq!(life.generation, request.declared.generation);
    assert_eq!(life.action, request.action);
    assert!(life.pid.is_some() && !life.adopted);
    assert_eq!(world.only_life().await, life);
}

async fn a_repeated_start_gives_the_same_life(world: &mut World) {
    let script = format!("echo begun >> {}; exec sleep 60", world.file("begun").display());
    let request = world.request(&script);
    let (first, second) =
        tokio::join!(world.platform().start(request.clone()), world.platform().start(request.clone()));
    let third = world.start_as(request).await;
    assert_eq!(first.outcome, Outcome::Applied);
    assert_eq!(second.outcome, Outcome::Applied);
    assert_eq!(first.life.as_ref(), Some(&third));
    assert_eq!(second.life.as_ref(), Some(&third));
    assert_eq!(world.lines_of("begun", 1).await.len(), 1, "the program was started once");
}

async fn many_starts_at_once_each_give_a_life(world: &mut World) {
    const REPLICAS: u32 = 20;
    let mut starts = Vec::new();
    for ordinal in 0..REPLICAS {
        let mut request = world.request("exec sleep 60");
        request.replica.ordinal = Ordinal(ordinal);
        starts.push(request);
    }
    let started = futures_util::future::join_all(starts.into_iter().map(|request| world.start_as(request)));
    let lives = in_time("all starts", started).await;
    assert_eq!(world.inventory().await, lives, "in the order of their places");
}

async fn a_place_has_one_life_at_a_time(world: &mut World) {
    let request = world.request("exec sleep 60");
    let life = world.start_as(request.clone()).await;
    for incarnation in [0, 2] {
        let mut other = request.clone();
        other.action = world.next_action();
        other.incarnation = Incarnation(incarnation);
        let outcome = world.platform().start(other).await.outcome;
        assert_eq!(outcome, Outcome::Refused(Refusal::OtherIncarnation), "life {incarnation}");
    }
    assert_eq!(world.stop(&life, Duration::ZERO).await, Outcome::Applied);
    let mut again = request.clone();
    again.action = world.next_action();
    let outcome = world.platform().start(again).await.outcome;
    assert_eq!(outcome, Outcome::Refused(Refusal::OtherIncarnation), "an ended life is not started again");
    let mut next = request;
    next.action = world.next_action();
    next.incarnation = Incarnation(2);
    assert_eq!(world.start_as(next).await.incarnation, Incarnation(2));
}

async fn ports_are_free_and_passed_to_the_program(world: &mut World) {
    let out = world.file("ports").display().to_string();
    let spec = json!({
        "run": {
            "command": ["/bin/sh", "-c", "echo $0 $PORT_HTTP $ADMIN $PORT_GRPC_WEB >> $OUT; exec sleep 60", "$(PORT_HTTP)"],
            "env": {"OUT": out, "ADMIN": "at-$(PORT_ADMIN)"},
        },
        "ports": [{"name": "http"}, {"name": "admin"}, {"name": "grpc-web"}],
    });
    let request = world.request_of(&spec);
    let mut second = world.request_of(&spec);
    second.replica.ordinal = Ordinal(1);
    let lives = [world.start_as(request).await, world.start_as(second).await];
    let lines = world.lines_of("ports", 2).await;
    let mut numbers: Vec<u16> = Vec::new();
    for life in &lives {
        let port = |name: &str| *life.ports.iter().find(|(known, _)| known.as_str() == name).expect(name).1;
        let (http, admin, grpc) = (port("http"), port("admin"), port("grpc-web"));
        assert!(lines.contains(&format!("{http} {http} at-{admin} {grpc}")), "{lines:?}");
        numbers.extend([http, admin, grpc]);
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 6, "no port is assigned twice");
}

async fn the_environment_is_what_was_declared_and_nothing_else(world: &mut World) {
    let out = world.file("environment").display().to_string();
    let spec = json!({
        "run": {
            "command": ["/bin/sh", "-c", "env | sed 's/=.*//' | sort > $OUT.new; mv $OUT.new $OUT; exec sleep 60"],
            "env": {"OUT": out},
        },
    });
    let request = world.request_of(&spec);
    world.start_as(request).await;
    let mut names = world.lines_of("environment", 1).await;
    // The variables that the shell itself adds.
    names.retain(|name| !["_", "OLDPWD", "PWD", "SHLVL"].contains(&name.as_str()));
    let expected =
        ["HOME", "HOMEOSTAT_LIFE", "HOMEOSTAT_REPLICA", "HOMEOSTAT_SERVICE", "LANG", "OUT", "PATH"];
    assert_eq!(names, expected);
}

async fn a_declaration_that_cannot_run_fails_with_its_cause(world: &mut World) {
    let script = world.file("script");
    std::fs::write(&script, "exit 0").expect("the folder can be written to");
    let script = script.display().to_string();
    for (run, culprit) in [
        (json!({"command": ["/no/such/program"]}), "/no/such/program"),
        (json!({"command": ["no-such-program-anywhere"]}), "no-such-program-anywhere"),
        (json!({"command": [script]}), "script"),
        (json!({"command": ["/etc"]}), "/etc"),
        (json!({"command": ["/bin/sh"], "workingDirectory": "/no/such/folder"}), "/no/such/folder"),
        (json!({"command": ["/bin/sh"], "workingDirectory": "/etc/passwd"}), "/etc/passwd"),
        (json!({"command": ["/bin/sh"], "user": "no-such-user"}), "no-such-user"),
    ] {
        let request = world.request_of(&json!({"run": run}));
        match world.platform().start(request).await.outcome {
            Outcome::Failed(failure) => {
                assert_eq!(failure.kind, FailureKind::Declaration, "{failure:?}");
                assert!(failure.message.contains(culprit), "{failure:?} does not name {culprit}");
                assert!(failure.message.contains("shop-0"), "{failure:?} does not name the replica");
            }
            other => panic!("{run} must fail, but: {other:?}"),
        }
    }
    assert!(world.inventory().await.is_empty(), "nothing has changed");
}

async fn a_failed_start_leaves_the_place_free(world: &mut World) {
    let broken = world.request_of(&json!({"run": {"command": ["/no/such/program"]}}));
    assert!(matches!(world.platform().start(broken.clone()).await.outcome, Outcome::Failed(_)));
    let mut fixed = world.request("exec sleep 60");
    fixed.action = broken.action;
    assert_eq!(world.start_as(fixed).await.incarnation, broken.incarnation);
}

async fn a_program_run_beside_a_replica_has_its_environment(world: &mut World) {
    let mut events = world.platform().events();
    let request = world.request_of(&json!({
        "run": {"command": ["/bin/sh", "-c", "exec sleep 60"], "env": {"ANSWER": "42"}},
    }));
    let life = world.start_as(request).await;
    let beside = |script: &str, timeout| RunRequest {
        replica: life.replica.clone(),
        incarnation: life.incarnation,
        command: vec!["/bin/sh".into(), "-c".into(), script.into()],
        timeout,
    };
    let long = Duration::from_secs(20);
    let end = world.platform().run_beside(beside("exit $ANSWER", long)).await;
    assert_eq!(end, Ok(RunEnd::Exited(ExitStatus::Code(42))));
    let end = world.platform().run_beside(beside("exit $(ANSWER)", long)).await;
    assert_eq!(end, Ok(RunEnd::Exited(ExitStatus::Code(42))));
    let started = world.file("started").display().to_string();
    let endless = format!("echo begun > {started}; sleep 50 & wait");
    let end = world.platform().run_beside(beside(&endless, Duration::from_millis(300))).await;
    assert_eq!(end, Ok(RunEnd::TimedOut));
    assert_eq!(world.only_life().await.state, LifeState::Running, "the replica keeps running");
    world.stop(&life, Duration::ZERO).await;
    reported_exit(&mut events).await;
    let refused = world.platform().run_beside(beside("exit 0", long)).await;
    assert_eq!(refused, Err(RunError::NotRunning { replica: life.replica.clone() }));
}

async fn usage_grows_with_work(world: &mut World) {
    let life = world.start("while :; do :; done").await;
    let working = async {
        loop {
            let usage = world.platform().usage().await.expect("usage can be read");
            assert_eq!(usage.len(), 1, "one replica runs");
            assert_eq!(usage[0].replica, life.replica);
            assert_eq!(usage[0].incarnation, life.incarnation);
            if usage[0].cpu_time >= Duration::from_millis(100) && usage[0].memory.0 > 0 {
                return;
            }
            // tidy: pause between looks
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    in_time("a tenth of a second of work", working).await;
    world.stop(&life, Duration::ZERO).await;
    assert!(world.platform().usage().await.expect("usage can be read").is_empty());
}
