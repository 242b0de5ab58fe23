//! Finds the hierarchies in which cells can be created.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use platform::Support;
use procfs::process::{MountInfo, Process};

use super::{Cgroups, Controller, Hierarchy, Version};

/// The group that this process moves to when its own group is to have child groups with controllers.
const OWN_GROUP: &str = "homeostat-keeper";

/// Finds the hierarchies in which groups can be created: version 2 if it has the controllers, else version 1, else version 2
/// for containment only.
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
            remove_roots(&bare);
            return cgroups(vec![found]);
        }
        bare.push(found);
    }
    let v1: Vec<Hierarchy> =
        mounts.v1.iter().filter_map(|(folder, controllers)| open_v1(folder, controllers, scope)).collect();
    if v1.iter().any(|hierarchy| hierarchy.controllers.contains(&Controller::Memory)) {
        remove_roots(&bare);
        return cgroups(v1);
    }
    remove_roots(&v1);
    remove_roots(bare.get(1..).unwrap_or_default());
    match bare.into_iter().next() {
        Some(v2) => cgroups(vec![v2]),
        None => Cgroups::none(
            "replicas run without control groups, so resources are not limited and a process that leaves its process group \
             may outlive its replica: no control group can be created here; run as root, or with a delegated group (systemd: \
             Delegate=yes)",
        ),
    }
}

/// Removes the folders that were created to try hierarchies which are not used.
fn remove_roots(hierarchies: &[Hierarchy]) {
    for hierarchy in hierarchies {
        // Fails if there are cells of an earlier run that used it, which must stay.
        let _ = std::fs::remove_dir(&hierarchy.root);
    }
}

fn cgroups(hierarchies: Vec<Hierarchy>) -> Cgroups {
    let bases = hierarchies.iter().filter(|hierarchy| hierarchy.version == Version::V2);
    let mut bases = bases.filter_map(|hierarchy| hierarchy.root.parent()?.parent());
    let why = match bases.find(|base| is_crowded(base)) {
        Some(base) => format!(
            "there are other processes in the control group {}, which therefore cannot delegate controllers; start homeostat in a \
             unit of its own (systemd: Delegate=yes), without a shell around it, or as root",
            base.display()
        ),
        None => "the control group of homeostat has no such controller; run as root, or with a delegated group (systemd: \
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
        creating_spares: std::sync::Mutex::default(),
    }
}

/// The folders of our own groups.
struct Mounts {
    v1: Vec<(PathBuf, BTreeSet<Controller>)>,
    v2: Option<OwnGroup>,
}

struct OwnGroup {
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
                v2 = mounts.iter().find(|mount| mount.fs_type == "cgroup2").map(|mount| OwnGroup {
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

    /// The group that was delegated to this process, if there is one; then the top of the hierarchy, as other container engines use it, which
    /// only root may use; then the group of this process, which may have been delegated without a mark.
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

/// The group that was delegated to the process whose group is `own`: that one, or its parent if `own` is a subgroup for single processes:
/// created by systemd for a reload (`.control`) or by `DelegateSubgroup=`, or by homeostat.
fn delegated(own: &Path, is_marked: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    if is_marked(own) {
        return Some(own.to_owned());
    }
    let above = own.parent()?;
    // The marks of systemd before 251 are visible only to root.
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

/// The folder of a group below a mount, which may show only a part of the hierarchy.
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
    /// Creates its root folder again, and enables the controllers for its cells.
    pub(super) fn make_root(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.root)?;
        if self.version == Version::V1 {
            return Ok(());
        }
        let used = CONTROLLERS_V2.iter().filter(|(_, controller)| self.controllers.contains(controller));
        used.into_iter().try_for_each(|(name, _)| enable(&self.root, name))
    }
}

fn open_v1(own: &Path, controllers: &BTreeSet<Controller>, scope: &str) -> Option<Hierarchy> {
    let root = own.join("homeostat").join(scope);
    make_usable(&root).ok()?;
    Some(Hierarchy { version: Version::V1, root, controllers: controllers.clone() })
}

/// In version 2 a group with controllers for its children must not have processes, so the root only has cells.
fn open_v2(base: &Path, scope: &str) -> Option<Hierarchy> {
    let group = base.join("homeostat");
    let root = group.join(scope);
    make_usable(&root).ok()?;
    leave_delegated(base);
    let mut controllers = BTreeSet::new();
    // `cpu` and `pids` could be enabled in spite of processes, but the groups below would then be threaded, and no process could
    // enter them.
    let known: &[_] = if is_crowded(base) { &[] } else { &CONTROLLERS_V2 };
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
    remove_roots(&[found]);
    None
}

/// The controllers of version 2 that are used.
const CONTROLLERS_V2: [(&str, Controller); 3] =
    [("cpu", Controller::Cpu), ("memory", Controller::Memory), ("pids", Controller::Pids)];

/// Whether a group of version 2 has processes, and so cannot delegate controllers. The root group, the only one without a type, may have
/// both.
fn is_crowded(base: &Path) -> bool {
    let has_members = || text_of(base, "cgroup.procs").is_some_and(|members| !members.is_empty());
    base.join("cgroup.type").exists() && has_members()
}

fn text_of(folder: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(file)).ok()
}

/// Moves this process out of `base` if it is the only one there, as in a systemd unit with `Delegate=yes`.
fn leave_delegated(base: &Path) {
    let own = std::process::id().to_string();
    if text_of(base, "cgroup.procs").is_none_or(|members| members.trim() != own) {
        return;
    }
    let own_group = base.join(OWN_GROUP);
    // If it fails, the controllers cannot be enabled, which is reported.
    let _ = std::fs::create_dir_all(&own_group);
    let has_left = std::fs::write(own_group.join("cgroup.procs"), own).is_ok();
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

/// Creates the folder, and checks that groups can be created in it.
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
    fn a_delegated_group_is_marked_or_the_parent_of_a_subgroup() {
        let unit = Path::new("/sys/fs/cgroup/system.slice/homeostat.service");
        let marked = |folder: &Path| folder == unit;
        let unmarked = |_: &Path| false;
        // `Delegate=yes`, and then `DelegateSubgroup=supervisor`.
        assert_eq!(delegated(unit, marked).as_deref(), Some(unit));
        assert_eq!(delegated(&unit.join("supervisor"), marked).as_deref(), Some(unit));
        // A process of a reload, or one that homeostat has started, must not create groups below its own: systemd could not start
        // anything there any more.
        for inner in [".control", OWN_GROUP] {
            assert_eq!(delegated(&unit.join(inner), marked).as_deref(), Some(unit));
            assert_eq!(delegated(&unit.join(inner), unmarked).as_deref(), Some(unit));
        }
        // A unit without delegation, and one of a user's manager, to which more than the unit is delegated.
        assert_eq!(delegated(unit, unmarked), None);
        assert_eq!(delegated(&unit.join("app.slice/shell.scope"), marked), None);
    }

    /// A group with these processes, with the files that `open_v2` reads.
    fn fake_group(members: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in
            [("cgroup.type", "domain\n"), ("cgroup.procs", members), ("cgroup.subtree_control", "")]
        {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_group_with_processes_does_not_become_threaded() {
        let enabled = |base: &tempfile::TempDir| {
            assert!(open_v2(base.path(), "scope").is_some_and(|found| found.controllers.is_empty()));
            text_of(base.path(), "cgroup.subtree_control").unwrap()
        };
        assert_eq!(enabled(&fake_group("12\n13\n")), "");
        // The last controller that was tried; the groups below are not real ones, and do not have it.
        assert_eq!(enabled(&fake_group("")), "+pids");
    }

    #[test]
    fn a_group_that_no_process_can_enter_is_not_used() {
        let base = fake_group("");
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
        let crowded = fake_group("12\n13\n");
        let group = format!("there are other processes in the control group {},", crowded.path().display());
        assert!(warning(&crowded).contains(&group), "{}", warning(&crowded));
        let alone = warning(&fake_group(""));
        assert!(alone.contains("has no such controller"), "{alone}");
    }

    #[test]
    fn root_creates_groups_at_the_top_unless_one_was_delegated() {
        let candidates = |own: &str| {
            let (mount, folder) = ("/sys/fs/cgroup".into(), format!("/sys/fs/cgroup{own}").into());
            let mounts = Mounts { v1: Vec::new(), v2: Some(OwnGroup { mount, folder }) };
            mounts.v2_candidates().iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>()
        };
        let unit = "/no.slice/such.service";
        assert_eq!(candidates(unit), ["/sys/fs/cgroup", "/sys/fs/cgroup/no.slice/such.service"]);
        assert_eq!(candidates(""), ["/sys/fs/cgroup"]);
        let reload = candidates(&format!("{unit}/.control"));
        assert_eq!(reload[..2], ["/sys/fs/cgroup/no.slice/such.service", "/sys/fs/cgroup"]);
    }

    #[test]
    fn only_used_hierarchies_keep_a_folder_until_the_driver_ends() {
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
