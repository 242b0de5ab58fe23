//! Finds the hierarchies in which cells can be created.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use platform::Support;
use procfs::process::{MountInfo, Process};

use super::{Cgroups, Controller, Hierarchy, Version};

/// The group that this process moves to when its own group is to have groups with controllers.
const OWN_GROUP: &str = "homeostat-keeper";

/// Looks for hierarchies that let us make groups: version 2 when it has the controllers, else version 1, else version 2
/// for containment alone.
///
/// `scope` names the group of this driver, different for each data folder.
pub(crate) fn detect(scope: &str) -> Cgroups {
    let mounts = match Mounts::read() {
        Ok(mounts) => mounts,
        Err(error) => {
            return Cgroups::none(&format!(
                "replicas run without control groups: /proc could not be read ({error})"
            ));
        }
    };
    let mut bare: Vec<Hierarchy> = Vec::new();
    for candidate in mounts.v2_candidates() {
        let Some(found) = open_v2(&candidate, scope) else { continue };
        if found.controllers.contains(&Controller::Memory) {
            give_up(&bare);
            return cgroups(vec![found]);
        }
        bare.push(found);
    }
    let v1: Vec<Hierarchy> =
        mounts.v1.iter().filter_map(|(folder, controllers)| open_v1(folder, controllers, scope)).collect();
    if v1.iter().any(|hierarchy| hierarchy.controllers.contains(&Controller::Memory)) {
        give_up(&bare);
        return cgroups(v1);
    }
    give_up(&v1);
    give_up(bare.get(1..).unwrap_or_default());
    match bare.into_iter().next() {
        Some(v2) => cgroups(vec![v2]),
        None => Cgroups::none(
            "replicas run without control groups, so resources are not limited and a process that leaves its group may \
             outlive its replica: no group may be made here; run as root, or with a delegated group (systemd: Delegate=yes)",
        ),
    }
}

/// Removes the folders that were created to try hierarchies which are not used.
fn give_up(hierarchies: &[Hierarchy]) {
    for hierarchy in hierarchies {
        // Cells of an earlier run that chose it are in the way, and shall be.
        let _ = std::fs::remove_dir(&hierarchy.root);
    }
}

fn cgroups(hierarchies: Vec<Hierarchy>) -> Cgroups {
    let bases = hierarchies.iter().filter(|hierarchy| hierarchy.version == Version::V2);
    let mut bases = bases.filter_map(|hierarchy| hierarchy.root.parent()?.parent());
    let why = match bases.find(|base| is_crowded(base)) {
        Some(base) => format!(
            "other processes are in the control group {}, which passes controllers on only when we are alone in it; start \
             homeostat without a shell around it, in a unit of its own (systemd: Delegate=yes), or as root",
            base.display()
        ),
        None => "the control group that we may use has no such controller; run as root, or with a delegated group (systemd: \
                 Delegate=yes)"
            .to_owned(),
    };
    let support = |controller, what: &str| {
        if hierarchies.iter().any(|hierarchy| hierarchy.controllers.contains(&controller)) {
            Support::Full
        } else {
            Support::Degraded(format!("{what} of replicas is not limited: {why}").into())
        }
    };
    Cgroups {
        cpu: support(Controller::Cpu, "processor time"),
        memory: support(Controller::Memory, "memory"),
        containment: Support::Full,
        hierarchies,
        spares: std::sync::Mutex::default(),
        making: std::sync::Mutex::default(),
    }
}

/// The folders of our own groups.
struct Mounts {
    v1: Vec<(PathBuf, BTreeSet<Controller>)>,
    v2: Option<Own>,
}

struct Own {
    mount: PathBuf,
    folder: PathBuf,
}

impl Mounts {
    fn read() -> Result<Self, procfs::ProcError> {
        let own = Process::myself()?;
        let mounts: Vec<MountInfo> = own.mountinfo()?.into_iter().collect();
        let (mut v1, mut v2) = (Vec::new(), None);
        for group in own.cgroups()? {
            if group.hierarchy == 0 {
                v2 = mounts.iter().find(|mount| mount.fs_type == "cgroup2").map(|mount| Own {
                    mount: mount.mount_point.clone(),
                    folder: folder_of(mount, &group.pathname),
                });
                continue;
            }
            let controllers: BTreeSet<Controller> =
                group.controllers.iter().filter_map(|name| controller(name)).collect();
            let has_all = |mount: &&MountInfo| {
                group.controllers.iter().all(|name| mount.super_options.contains_key(name))
            };
            if let (false, Some(mount)) = (
                controllers.is_empty(),
                mounts.iter().filter(|mount| mount.fs_type == "cgroup").find(has_all),
            ) {
                v1.push((folder_of(mount, &group.pathname), controllers));
            }
        }
        Ok(Self { v1, v2 })
    }

    /// A group that was delegated to us; then the top, where drivers of other engines make theirs too, and which nobody but
    /// root may use; then our own group, for those who have been given it without a mark.
    fn v2_candidates(&self) -> Vec<PathBuf> {
        let Some(own) = &self.v2 else { return Vec::new() };
        let delegated = delegated(&own.folder, is_marked);
        let mut folders: Vec<PathBuf> =
            delegated.into_iter().chain([own.mount.clone(), own.folder.clone()]).collect();
        let mut seen = BTreeSet::new();
        folders.retain(|folder| seen.insert(folder.clone()));
        folders
    }
}

/// The group that was delegated to the process whose group is `own`: that one, or the one above, when `own` was made for a
/// process in it: by systemd for what a reload runs (`.control`) or as `DelegateSubgroup=` says, or by us.
fn delegated(own: &Path, is_marked: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    if is_marked(own) {
        return Some(own.to_owned());
    }
    let above = own.parent()?;
    // systemd before 251 marks what it delegates for root alone to see.
    let is_inner = own.ends_with(OWN_GROUP) || own.ends_with(".control");
    (is_inner || is_marked(above)).then(|| above.to_owned())
}

/// Whether systemd has delegated the group to the service in it.
fn is_marked(folder: &Path) -> bool {
    // Only root can read the first, and systemd before 251 does not write the second.
    ["trusted.delegate", "user.delegate"].into_iter().any(|name| {
        let mut value = [0; 1];
        rustix::fs::getxattr(folder, name, &mut value).is_ok() && value == *b"1"
    })
}

/// Where a group's path lies below a mount, which may show a part of the hierarchy only.
fn folder_of(mount: &MountInfo, group: &str) -> PathBuf {
    let below = Path::new(group).strip_prefix(&mount.root).unwrap_or_else(|_| Path::new(group));
    mount.mount_point.join(below.strip_prefix("/").unwrap_or(below))
}

fn controller(name: &str) -> Option<Controller> {
    match name {
        "cpu" => Some(Controller::Cpu),
        "cpuacct" => Some(Controller::CpuAccounting),
        "memory" => Some(Controller::Memory),
        "pids" => Some(Controller::Pids),
        _other => None,
    }
}

impl Hierarchy {
    /// Makes its folder again, with what cells in it are to be given.
    pub(super) fn make_root(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.root)?;
        if self.version == Version::V1 {
            return Ok(());
        }
        let given = KNOWN.iter().filter(|(_, controller)| self.controllers.contains(controller));
        given.into_iter().try_for_each(|(name, _)| enable(&self.root, name))
    }
}

fn open_v1(own: &Path, controllers: &BTreeSet<Controller>, scope: &str) -> Option<Hierarchy> {
    let root = own.join("homeostat").join(scope);
    make_usable(&root).ok()?;
    Some(Hierarchy { version: Version::V1, root, controllers: controllers.clone() })
}

/// Version 2 gives controllers only to groups below one without processes, so ours has none but its cells.
fn open_v2(base: &Path, scope: &str) -> Option<Hierarchy> {
    let group = base.join("homeostat");
    let root = group.join(scope);
    make_usable(&root).ok()?;
    leave_delegated(base);
    let mut controllers = BTreeSet::new();
    // `cpu` and `pids` would be taken in spite of processes, but then the groups below are for single threads, and no
    // process can enter them.
    let known: &[_] = if is_crowded(base) { &[] } else { &KNOWN };
    for (name, known) in known {
        if [base, &group, &root].into_iter().all(|folder| enable(folder, name).is_ok()) {
            controllers.insert(*known);
        }
    }
    let holds_processes = text_of(&root, "cgroup.type").is_none_or(|kind| kind.trim() == "domain");
    let found = Hierarchy { version: Version::V2, root, controllers };
    if holds_processes {
        return Some(found);
    }
    give_up(&[found]);
    None
}

/// The controllers of version 2 that we make use of.
const KNOWN: [(&str, Controller); 3] =
    [("cpu", Controller::Cpu), ("memory", Controller::Memory), ("pids", Controller::Pids)];

/// Whether processes in a group of version 2 keep it from passing controllers on. The one at the top, which alone has no type,
/// may have both.
fn is_crowded(base: &Path) -> bool {
    let has_members = || text_of(base, "cgroup.procs").is_some_and(|members| !members.is_empty());
    base.join("cgroup.type").exists() && has_members()
}

fn text_of(folder: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(file)).ok()
}

/// Makes `base` free of processes when we are its only one, as in a unit of systemd with `Delegate=yes`.
fn leave_delegated(base: &Path) {
    let own = std::process::id().to_string();
    if text_of(base, "cgroup.procs").is_none_or(|members| members.trim() != own) {
        return;
    }
    let aside = base.join(OWN_GROUP);
    // If it fails, the controllers cannot be enabled, and that is reported.
    let _ = std::fs::create_dir_all(&aside);
    let has_left = std::fs::write(aside.join("cgroup.procs"), own).is_ok();
    if has_left && is_marked(base) {
        let problem = "systemd cannot start this unit again while replicas of it run (219/CGROUP), as after a crash: give the unit \
                       DelegateSubgroup= (systemd 254), or no Delegate= where it is root's, or KillMode=control-group";
        tracing::warn!(group = %base.display(), problem, "unit_not_restartable");
    }
}

fn enable(folder: &Path, controller: &str) -> io::Result<()> {
    let path = folder.join("cgroup.subtree_control");
    if std::fs::read_to_string(&path)?.split_whitespace().any(|enabled| enabled == controller) {
        return Ok(());
    }
    std::fs::write(&path, format!("+{controller}"))
}

/// Makes the folder, and checks that groups can be made in it.
fn make_usable(root: &Path) -> io::Result<()> {
    std::fs::create_dir_all(root)?;
    let trial = root.join(format!("trial-{}", std::process::id()));
    std::fs::create_dir(&trial)?;
    std::fs::remove_dir(&trial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_delegated_by_its_mark_or_as_the_one_around_ours() {
        let unit = Path::new("/sys/fs/cgroup/system.slice/homeostat.service");
        let marked = |folder: &Path| folder == unit;
        let unmarked = |_: &Path| false;
        // `Delegate=yes`, and then `DelegateSubgroup=supervisor`.
        assert_eq!(delegated(unit, marked).as_deref(), Some(unit));
        assert_eq!(delegated(&unit.join("supervisor"), marked).as_deref(), Some(unit));
        // What a reload starts, and one that is started by us, must not make groups below the group that it is in: systemd could
        // not start anything there any more.
        for inner in [".control", OWN_GROUP] {
            assert_eq!(delegated(&unit.join(inner), marked).as_deref(), Some(unit));
            assert_eq!(delegated(&unit.join(inner), unmarked).as_deref(), Some(unit));
        }
        // A unit that was given nothing, and one of a user's manager, to which more than the unit is delegated.
        assert_eq!(delegated(unit, unmarked), None);
        assert_eq!(delegated(&unit.join("app.slice/shell.scope"), marked), None);
    }

    /// A group with these processes in it, as far as `open_v2` looks at one.
    fn planted(members: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in
            [("cgroup.type", "domain\n"), ("cgroup.procs", members), ("cgroup.subtree_control", "")]
        {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_group_with_processes_is_not_made_one_of_threads() {
        let passed_on = |base: &tempfile::TempDir| {
            assert!(open_v2(base.path(), "scope").is_some_and(|found| found.controllers.is_empty()));
            text_of(base.path(), "cgroup.subtree_control").unwrap()
        };
        assert_eq!(passed_on(&planted("12\n13\n")), "");
        // The last that was tried; the groups below, which are none, do not take it.
        assert_eq!(passed_on(&planted("")), "+pids");
    }

    #[test]
    fn a_group_in_which_no_process_can_be_is_not_taken() {
        let base = planted("");
        let root = base.path().join("homeostat/scope");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(root.join("cgroup.type"), "domain invalid\n").unwrap();
        assert_eq!(open_v2(base.path(), "scope"), None);
    }

    #[test]
    fn a_group_with_other_processes_is_reported() {
        let warning = |base: &tempfile::TempDir| {
            let cgroups = cgroups(open_v2(base.path(), "scope").into_iter().collect());
            let Support::Degraded(why) = &cgroups.memory else { panic!("there is no such controller") };
            why.to_string()
        };
        let crowded = planted("12\n13\n");
        let group = format!("other processes are in the control group {},", crowded.path().display());
        assert!(warning(&crowded).contains(&group), "{}", warning(&crowded));
        let alone = warning(&planted(""));
        assert!(alone.contains("has no such controller"), "{alone}");
    }

    #[test]
    fn root_makes_groups_at_the_top_unless_one_was_delegated() {
        let candidates = |own: &str| {
            let (mount, folder) = ("/sys/fs/cgroup".into(), format!("/sys/fs/cgroup{own}").into());
            let mounts = Mounts { v1: Vec::new(), v2: Some(Own { mount, folder }) };
            mounts.v2_candidates().iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>()
        };
        let unit = "/no.slice/such.service";
        assert_eq!(candidates(unit), ["/sys/fs/cgroup", "/sys/fs/cgroup/no.slice/such.service"]);
        assert_eq!(candidates(""), ["/sys/fs/cgroup"]);
        let reload = candidates(&format!("{unit}/.control"));
        assert_eq!(reload[..2], ["/sys/fs/cgroup/no.slice/such.service", "/sys/fs/cgroup"]);
    }

    #[test]
    fn only_what_is_taken_keeps_a_folder_and_that_until_the_end() {
        let scope = format!("detect-{}", std::process::id());
        let mounts = Mounts::read().unwrap();
        let folders = || {
            let all = mounts.v1.iter().map(|(folder, _)| folder.clone()).chain(mounts.v2_candidates());
            let roots = all.map(|folder| folder.join("homeostat").join(&scope));
            roots.filter(|root| root.is_dir()).collect::<BTreeSet<_>>()
        };
        let cgroups = detect(&scope);
        let taken: BTreeSet<_> = cgroups.hierarchies.iter().map(|hierarchy| hierarchy.root.clone()).collect();
        assert_eq!(folders(), taken);
        drop(cgroups);
        assert_eq!(folders(), BTreeSet::new());
    }
}
