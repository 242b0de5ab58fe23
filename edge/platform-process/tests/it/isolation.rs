//! What a replica gets from the machine, and what it does not.

use std::collections::BTreeMap;
use std::time::Duration;

use model::action::Outcome;
use model::input::{ExitStatus, Throttling};
use model::resource::{Quantity, Resources};
use platform::{AllotRequest, Event, LifeState, Platform as _, StopRequest, Support};
use platform_process::CpuPolicy;
use serde_json::json;

use crate::world::{DEADLINE, action, end, open, start, text_of, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_the_driver_is_inherited() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let platform = open(&folder);
    // As a shell leaves it for background programs, and as `nohup` does.
    let script = "grep -E '^(SigBlk|SigIgn|Umask):' /proc/self/status > $OUT.new; \
                  echo fds: $(ls /proc/self/fd | wc -w) >> $OUT.new; mv $OUT.new $OUT; exec sleep 50";
    let spec = json!({"run": {"command": ["/bin/sh", "-c", script], "env": {"OUT": out}}});
    let life = start(&platform, 1, spec).await;
    let text = until("the output of the replica", || text_of(&out)).await;
    let values: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    assert_eq!(values["SigBlk"], "0000000000000000");
    assert_eq!(values["SigIgn"], "0000000000000000");
    assert_eq!(values["Umask"], "0022");
    // 0, 1, 2, and the folder that `ls` reads.
    assert_eq!(values["fds"], "4");
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
    let text = until("the output of the replica", || text_of(&out)).await;
    assert_eq!(text, "3999999 3999999 3999999 /\n");
    end(platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_above_its_memory_limit_is_reported_as_killed_for_memory() {
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
    let Event::Ended(life) = tokio::time::timeout(DEADLINE, events.recv()).await.unwrap().unwrap();
    let LifeState::Exited(exit) = life.state else { panic!("{life:?}") };
    assert_eq!(exit.status, ExitStatus::Signal(9));
    assert!(exit.out_of_memory);
    // Killed by another program, with memory left.
    let spec =
        json!({"run": {"command": ["/bin/sh", "-c", "kill -KILL $$$$"]}, "resources": {"memory": "16Mi"}});
    start(&platform, 2, spec).await;
    let Event::Ended(life) = tokio::time::timeout(DEADLINE, events.recv()).await.unwrap().unwrap();
    let LifeState::Exited(exit) = life.state else { panic!("{life:?}") };
    assert_eq!(exit.status, ExitStatus::Signal(9));
    assert!(!exit.out_of_memory);
    platform.close().await;
}

/// What the kernel holds the memory of a process to, as its control group says.
fn memory_limit(pid: u32) -> Option<u64> {
    let group = memory_group(pid)?;
    let read = |file: &str| std::fs::read_to_string(group.join(file)).ok()?.trim().parse().ok();
    read("memory.limit_in_bytes").or_else(|| read("memory.max"))
}

/// The folder of the control group that holds a process to its memory.
fn memory_group(pid: u32) -> Option<std::path::PathBuf> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let of = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let root = match controllers {
            "memory" => "/sys/fs/cgroup/memory",
            "" => "/sys/fs/cgroup",
            _other => return None,
        };
        let folder = std::path::PathBuf::from(format!("{root}{path}"));
        folder.exists().then_some(folder)
    };
    groups.lines().find_map(of)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_group_removed_by_another_driver_is_created_again() {
    let folder = tempfile::tempdir().unwrap();
    let platform = open(&folder);
    if platform.capabilities().memory != Support::Full {
        return;
    }
    let spec = || json!({"run": {"command": ["/bin/sleep", "50"]}, "resources": {"memory": "64Mi"}});
    let life = start(&platform, 1, spec()).await;
    let cell = memory_group(life.pid.unwrap()).unwrap();
    let (replica, incarnation) = (life.replica.clone(), life.incarnation);
    let request = StopRequest { action: action(2, 2), replica, incarnation, grace: Duration::ZERO };
    assert_eq!(platform.stop(request).await, Outcome::Applied);
    until("its end", || (!cell.exists()).then_some(())).await;
    // In version 1 there are spare cells in it, and it cannot be.
    let _ = std::fs::remove_dir(cell.parent().unwrap());
    let life = start(&platform, 3, spec()).await;
    assert_eq!(memory_limit(life.pid.unwrap()), Some(64 << 20));
    end(platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limits_of_a_running_replica_change_but_not_below_its_usage() {
    let folder = tempfile::tempdir().unwrap();
    let platform = open(&folder);
    if platform.capabilities().memory != Support::Full {
        return;
    }
    let out = folder.path().join("out");
    // tail holds 24 MiB.
    let script = "(head -c 25165824 /dev/zero; echo held > $OUT; sleep 50) | tail & wait";
    let spec = json!({
        "run": {"command": ["/bin/sh", "-c", script], "env": {"OUT": out}},
        "resources": {"memory": "128Mi"},
    });
    let life = start(&platform, 1, spec).await;
    until("what it holds", || text_of(&out)).await;
    let pid = life.pid.unwrap();
    let allot = async |sequence: u64, memory: &str| {
        let resources = Resources { cpu: None, memory: Quantity::parse(memory).ok() };
        let (replica, incarnation) = (life.replica.clone(), life.incarnation);
        let request = AllotRequest { action: action(2, sequence), replica, incarnation, resources };
        platform.allot(request).await
    };
    const MIB: u64 = 1 << 20;
    for (sequence, memory, bytes) in [(2, "256Mi", 256 * MIB), (3, "96Mi", 96 * MIB), (4, "512Mi", 512 * MIB)]
    {
        assert_eq!(allot(sequence, memory).await, Outcome::Applied);
        assert_eq!(memory_limit(pid), Some(bytes));
    }
    let Outcome::Failed(failure) = allot(5, "8Mi").await else { panic!("it uses 24 MiB") };
    assert!(failure.message.contains("bytes of memory"), "{}", failure.message);
    assert_eq!(memory_limit(pid), Some(512 * MIB));
    assert_eq!(platform.inventory().await.unwrap()[0].state, LifeState::Running);
    end(platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_is_reported_for_a_quota_but_not_for_a_share() {
    for policy in [CpuPolicy::Quota, CpuPolicy::Share] {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = platform_process::Settings::new(folder.path().join("data"), folder.path());
        settings.cpu = policy;
        let platform = platform_process::ProcessPlatform::open(settings).unwrap();
        if platform.capabilities().cpu != Support::Full {
            return;
        }
        // It would use a whole processor, and may use a tenth of one.
        let run = json!({"command": ["/bin/sh", "-c", "while :; do :; done"]});
        start(&platform, 1, json!({"run": run, "resources": {"cpu": "100m"}})).await;
        let looks = async {
            loop {
                let usage = platform.usage().await.unwrap();
                if let [usage] = &usage[..]
                    && usage.cpu_time >= Duration::from_millis(100)
                {
                    return usage.throttling;
                }
                // tidy: pause between looks
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let throttling = tokio::time::timeout(DEADLINE, looks).await.unwrap();
        match (policy, throttling) {
            (CpuPolicy::Share, None) => {}
            (CpuPolicy::Quota, Some(Throttling { windows, throttled, waited })) => {
                assert!(throttled <= windows && throttled >= 5, "{throttled} of {windows} windows");
                // Nine tenths of each window, less what others of this machine have taken from it, which may be nearly all.
                let windows_waited = waited.as_secs_f64() / 0.1;
                assert!(windows_waited > throttled as f64 / 100.0, "{waited:?} in {throttled} windows");
                assert!(windows_waited < windows as f64 + 1.0, "{waited:?} in {windows} windows");
            }
            (policy, throttling) => panic!("with {policy:?} {throttling:?}"),
        }
        end(platform).await;
    }
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

/// Counts what is warned of, on one thread.
#[derive(Clone, Default)]
struct Warnings(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }

    fn enter(&self, _span: &tracing::span::Id) {}

    fn exit(&self, _span: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_process_that_takes_a_moment_to_exit_causes_no_warning() {
    let warnings = Warnings::default();
    let _all_on_this_thread = tracing::subscriber::set_default(warnings.clone());
    let folder = tempfile::tempdir().unwrap();
    let platform = open(&folder);
    let out = folder.path().join("out");
    // What tail holds takes the kernel longer to take back than it takes to look for it a hundred times.
    let script = "(head -c 50000000 /dev/zero; echo held > $OUT; sleep 50) | tail & wait";
    let life =
        start(&platform, 1, json!({"run": {"command": ["/bin/sh", "-c", script], "env": {"OUT": out}}}))
            .await;
    until("what it holds", || text_of(&out)).await;
    let cell = memory_group(life.pid.unwrap());
    let main = rustix::process::Pid::from_raw(i32::try_from(life.pid.unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(main, rustix::process::Signal::KILL).unwrap();
    until("its end", || cell.as_ref().is_none_or(|cell| !cell.exists()).then_some(())).await;
    platform.close().await;
    assert_eq!(*warnings.0.lock().unwrap(), [""; 0]);
}
