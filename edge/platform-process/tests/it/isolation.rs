//! What a replica gets from the machine, and what it does not.

use std::collections::BTreeMap;

use model::input::ExitStatus;
use platform::{Event, LifeState, Platform as _, Support};
use serde_json::json;

use crate::world::{PATIENCE, end, open, start, text_of, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_the_keeper_is_inherited() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let platform = open(&folder);
    // As a shell leaves it for background programs, and as `nohup` does.
    let script = "grep -E '^(SigBlk|SigIgn|Umask):' /proc/self/status > $OUT.new; \
                  echo fds: $(ls /proc/self/fd | wc -w) >> $OUT.new; mv $OUT.new $OUT; exec sleep 50";
    let spec = json!({"run": {"command": ["/bin/sh", "-c", script], "env": {"OUT": out}}});
    let life = start(&platform, 1, spec).await;
    let text = until("the replica's words", || text_of(&out)).await;
    let said: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    assert_eq!(said["SigBlk"], "0000000000000000");
    assert_eq!(said["SigIgn"], "0000000000000000");
    assert_eq!(said["Umask"], "0022");
    // 0, 1, 2, and the folder that `ls` reads.
    assert_eq!(said["fds"], "4");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", life.pid.unwrap())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let pid = life.pid.unwrap().to_string();
    assert_eq!((fields[2], fields[3]), (pid.as_str(), pid.as_str()), "a group and a session of its own");
    end(platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_runs_as_its_user_without_the_groups_of_root() {
    let folder = tempfile::tempdir().unwrap();
    let platform = open(&folder);
    if platform.capabilities().users != Support::Full {
        return;
    }
    // The user must get to its folder, and write there.
    let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open_to_all).unwrap();
    let out = folder.path().join("out");
    let spec = json!({"run": {
        "command": ["/bin/sh", "-c", "echo $(id -u) $(id -g) $(id -G) $HOME > $OUT.new; mv $OUT.new $OUT; exec sleep 50"],
        "env": {"OUT": out},
        "user": "3999999",
    }});
    start(&platform, 1, spec).await;
    let text = until("the replica's words", || text_of(&out)).await;
    assert_eq!(text, "3999999 3999999 3999999 /\n");
    end(platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_too_much_memory_is_killed_and_the_kernel_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let platform = open(&folder);
    if platform.capabilities().memory != Support::Full {
        return;
    }
    let mut events = platform.events();
    let spec = json!({
        "run": {"command": ["/bin/sh", "-c", "exec tail /dev/zero"]},
        "resources": {"memory": "16Mi", "cpu": "500m"},
    });
    start(&platform, 1, spec).await;
    let Event::Ended(life) = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    let LifeState::Exited(exit) = life.state else { panic!("{life:?}") };
    assert_eq!(exit.status, ExitStatus::Signal(9));
    assert!(exit.out_of_memory);
    // Killed by somebody else, with memory to spare.
    let spec =
        json!({"run": {"command": ["/bin/sh", "-c", "kill -KILL $$$$"]}, "resources": {"memory": "16Mi"}});
    start(&platform, 2, spec).await;
    let Event::Ended(life) = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    let LifeState::Exited(exit) = life.state else { panic!("{life:?}") };
    assert_eq!(exit.status, ExitStatus::Signal(9));
    assert!(!exit.out_of_memory);
    platform.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_leaves_its_session_ends_with_its_replica_all_the_same() {
    for cgroups in [platform_process::CgroupUse::WherePermitted, platform_process::CgroupUse::Never] {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = platform_process::Settings::new(folder.path().join("data"), folder.path());
        settings.cgroups = cgroups;
        let platform = platform_process::ProcessPlatform::open(settings).unwrap();
        let out = folder.path().join("out");
        let script = "setsid sh -c 'echo $$$$ > $OUT.new; mv $OUT.new $OUT; exec sleep 50' & wait";
        let spec = json!({"run": {"command": ["/bin/sh", "-c", script], "env": {"OUT": out}}});
        start(&platform, 1, spec).await;
        let pid = until("the one that leaves", || text_of(&out)).await.trim().to_owned();
        for life in platform.inventory().await.unwrap() {
            let main = rustix::process::Pid::from_raw(i32::try_from(life.pid.unwrap()).unwrap()).unwrap();
            rustix::process::kill_process(main, rustix::process::Signal::KILL).unwrap();
        }
        until("its end", || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')).then_some(())
        })
        .await;
        platform.close().await;
    }
}
