use std::fs;
use std::time::Duration;

use model::resource::Span;

use crate::world::{World, names, shop, upstream, wait_until};

#[tokio::test]
async fn a_change_is_checked_written_and_reloaded_and_the_same_content_is_not() {
    let world = World::new();
    let external = world.external("cp shop.conf seen", "cp shop.conf taken");
    world.set(&external, &[4001]);
    world.settled().await;
    assert!(world.content("shop.conf").contains("server 127.0.0.1:4001 weight=1;"));
    assert_eq!(world.content("seen"), world.content("shop.conf"));
    assert_eq!(world.content("taken"), world.content("shop.conf"));
    let first = world.state();
    assert!(first.written_at.is_some() && first.reloaded_at.is_some() && first.serving == 1, "{first:?}");

    world.set(&external, &[4001]);
    world.set(&external, &[4001, 4002]);
    world.set(&external, &[4001]);
    world.settled().await;
    assert_eq!((world.reloads(), world.state().written_at), (1, first.written_at), "it is as it was");
    let notices = world.notice("nginx has applied").await;
    assert!(
        notices[0].message.ends_with("shop.conf with 1 replica") && !notices[0].is_warning,
        "{notices:?}"
    );
}

#[tokio::test]
async fn simultaneous_changes_cause_one_reload() {
    let world = World::new();
    let external = world.external("true", "true");
    for port in 4001..4500 {
        world.set(&external, &[port]);
    }
    world.settled().await;
    assert!(world.content("shop.conf").contains("127.0.0.1:4499"));
    assert_eq!(world.reloads(), 1);
}

#[tokio::test]
async fn a_refused_candidate_leaves_the_file_and_the_balancer_unchanged() {
    for check in [
        "! grep 4002 shop.conf || { echo bad port >&2; exit 1; }",
        "! grep 4002 \"$(FILE)\" || { echo bad port >&2; exit 1; }",
    ] {
        let world = World::new();
        let external = world.external(check, "true");
        world.set(&external, &[4001]);
        world.settled().await;
        let (good, reloads) = (world.content("shop.conf"), world.reloads());

        world.set(&external, &[4002]);
        world.notice("bad port").await;
        let state = world.state();
        let sentence = state.problem.expect("it was refused").sentence;
        assert!(sentence.starts_with("nginx refused the new content of "), "{sentence}");
        assert!(sentence.contains("and the previous one stays in force: `sh -c"), "{sentence}");
        wait_until("it is tried again", || (world.state().failures > 1).then_some(())).await;
        wait_until("the file of before is in its place", || {
            (world.content("shop.conf") == good).then_some(())
        })
        .await;
        assert_eq!(world.reloads(), reloads);

        world.set(&external, &[4003]);
        world.settled().await;
        assert_eq!(world.state().problem, None);
        assert_eq!(names(world.path(".").as_path()), ["reloads", "shop.conf"]);
    }
}

#[tokio::test]
async fn a_failed_or_hanging_reload_is_retried_until_it_succeeds_and_reported_once() {
    let world = World::new();
    let mut external = world.external("true", "test -e mended || { echo not running >&2; exit 1; }");
    world.set(&external, &[4001]);
    world.notice("could not reload nginx after").await;
    wait_until("it is tried again", || (world.reloads() > 2).then_some(())).await;
    assert!(!world.balancers.applied(&shop()).is_now());
    fs::write(world.path("mended"), "").unwrap();
    world.settled().await;
    let notices = world.notice("nginx has applied").await;
    assert_eq!(notices.iter().filter(|notice| notice.is_warning).count(), 1, "{notices:?}");

    external = world.external("true", "test -e quick || sleep 1000");
    external.timeout = Span::from_millis(100);
    world.set(&external, &[4002]);
    world.notice("did not end within 100ms and was killed").await;
    fs::write(world.path("quick"), "").unwrap();
    external.timeout = Span::from_secs(20);
    world.set(&external, &[4002]);
    world.settled().await;
    assert_eq!(world.state().problem, None);
}

#[tokio::test]
async fn a_file_of_an_earlier_run_stays_until_its_replicas_are_known_and_is_reloaded_once() {
    let world = World::new();
    let external = world.external("true", "true");
    world.set(&external, &[4001]);
    world.settled().await;
    let before = world.content("shop.conf");

    let again = World::new();
    fs::copy(world.path("shop.conf"), again.path("shop.conf")).unwrap();
    let external = again.external("true", "true");
    again.balancers.set(&shop(), std::slice::from_ref(&external), &upstream(&[]), false);
    // A reconciler that did not wait for its replicas would have written long before the other one.
    let mut neighbour = again.external("true", "true");
    neighbour.file = again.path("other.conf").to_str().unwrap().to_owned();
    again.balancers.set(&"other".parse().unwrap(), &[neighbour], &upstream(&[]), false);
    let other = again.balancers.applied(&"other".parse().unwrap());
    tokio::time::timeout(Duration::from_secs(20), other.wait()).await.expect("it does not wait");
    assert_eq!(again.content("shop.conf"), before);
    assert!(!again.balancers.applied(&shop()).is_now());

    let reloads = again.reloads();
    again.set(&external, &[4001]);
    again.settled().await;
    assert_eq!(again.content("shop.conf"), before);
    assert_eq!(
        (again.state().written_at, again.reloads()),
        (None, reloads + 1),
        "it is reloaded, not written"
    );
}

#[tokio::test]
async fn an_undeclared_file_and_a_shutdown_leave_no_servers() {
    let world = World::new();
    let external = world.external("true", "true");
    world.set(&external, &[4001]);
    world.settled().await;
    world.balancers.set(&shop(), &[], &upstream(&[4001]), true);
    wait_until("nothing is left in it", || (!world.content("shop.conf").contains("4001")).then_some(()))
        .await;
    assert!(
        world.content("shop.conf").contains("upstream shop {") && world.balancers.state(&shop()).is_empty()
    );

    world.set(&external, &[4002]);
    world.settled().await;
    world.balancers.close(Duration::from_secs(20)).await;
    assert!(!world.content("shop.conf").contains("4002"));
    world.set(&external, &[4003]);
    assert!(!world.content("shop.conf").contains("4003"), "nothing is wanted any more");
}

#[tokio::test]
async fn a_file_that_is_declared_again_while_its_servers_are_removed_gets_its_servers() {
    let world = World::new();
    let reload = "test ! -e closed || { touch reloading; while test -e closed; do sleep 0.01; done; }";
    let external = world.external("true", reload);
    world.set(&external, &[4001]);
    world.settled().await;
    fs::write(world.path("closed"), "").unwrap();
    world.balancers.set(&shop(), &[], &upstream(&[]), true);
    wait_until("the servers are being removed", || world.path("reloading").exists().then_some(())).await;

    world.set(&external, &[4002]);
    fs::remove_file(world.path("closed")).unwrap();
    world.settled().await;
    assert!(world.content("shop.conf").contains("4002"), "{}", world.content("shop.conf"));
    assert!(world.balancers.applied(&shop()).is_now());
}

#[tokio::test]
async fn an_undeclared_file_that_was_deleted_is_not_written_again_at_the_shutdown() {
    let world = World::new();
    let external = world.external("true", "true");
    world.set(&external, &[4001]);
    world.settled().await;
    world.balancers.set(&shop(), &[], &upstream(&[]), true);
    world.settled().await;
    let reloads = world.reloads();
    fs::remove_file(world.path("shop.conf")).unwrap();

    world.balancers.close(Duration::from_secs(20)).await;
    assert_eq!((world.path("shop.conf").exists(), world.reloads()), (false, reloads));
}

#[tokio::test]
async fn the_shutdown_does_not_wait_for_a_balancer_that_has_ended() {
    let world = World::new();
    let mut external = world.external("true", "test ! -e gone || { echo not running >&2; exit 1; }");
    external.every = Span::from_secs(3600);
    world.set(&external, &[4001]);
    world.settled().await;
    fs::write(world.path("gone"), "").unwrap();

    let closing = world.balancers.close(Duration::from_secs(600));
    tokio::time::timeout(Duration::from_secs(20), closing).await.expect("it is given up");
    assert_eq!(world.reloads(), 3, "once when all was well, and twice at the end");
    assert!(!world.content("shop.conf").contains("4001"), "it finds no replica when it comes back");
}

#[tokio::test]
async fn a_balancer_that_is_no_longer_declared_and_cannot_be_reloaded_does_not_delay_the_shutdown() {
    let world = World::new();
    let external = world.external("true", "test ! -e gone");
    world.set(&external, &[4001]);
    world.settled().await;
    fs::write(world.path("gone"), "").unwrap();
    world.balancers.set(&shop(), &[], &upstream(&[]), true);
    world.notice("could not reload nginx after").await;

    let closing = world.balancers.close(Duration::from_secs(600));
    tokio::time::timeout(Duration::from_secs(20), closing).await.expect("it is given up");
}

#[tokio::test]
async fn a_foreign_file_is_never_replaced() {
    let world = World::new();
    fs::write(world.path("shop.conf"), "worker_processes 4;\n").unwrap();
    world.set(&world.external("true", "true"), &[4001]);
    let notices = world.notice("homeostat has not written it; remove it or choose another path").await;
    assert!(notices[0].is_warning);
    assert_eq!((world.content("shop.conf").as_str(), world.reloads()), ("worker_processes 4;\n", 0));
}

#[tokio::test]
async fn commands_are_run_without_a_shell() {
    let world = World::new();
    let mut external = world.external("true", "true");
    external.check =
        ["sh", "-c", "printf %s \"$1\" > argument", "sh", "$(touch hacked); `touch hacked` $(FILE)"]
            .map(str::to_owned)
            .to_vec();
    world.set(&external, &[4001]);
    world.settled().await;
    let candidate = world.path("shop.conf.candidate");
    let expected = format!("$(touch hacked); `touch hacked` {}", candidate.display());
    assert_eq!(world.content("argument"), expected);
    assert!(!world.path("hacked").exists());
}
