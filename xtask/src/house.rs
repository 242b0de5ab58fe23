//! The whole workspace as the laws see it: crates, Rust files, all other text files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::metadata::{self, External, Package};
use crate::modules;
use crate::rust_source::RustSource;

/// Everything that a law may look at, read once.
pub(crate) struct House {
    pub(crate) root: PathBuf,
    pub(crate) packages: Vec<Package>,
    pub(crate) externals: Vec<External>,
    sources: BTreeMap<String, RustSource>,
    /// Text files that are no Rust, by path; binary files are not among them.
    pub(crate) texts: BTreeMap<String, String>,
    /// Every file that git knows or would take, relative to the root.
    pub(crate) paths: BTreeSet<String>,
    /// Rust files in a crate's `src` or `tests` that no `mod` line leads to.
    pub(crate) unreached: Vec<String>,
    /// Files that say `.rs` and are no Rust, each as a sentence.
    pub(crate) unreadable: Vec<String>,
}

impl House {
    /// Reads the workspace in `root`: what git tracks, and what it would take with `git add`.
    ///
    /// Fails when git or cargo fail; a file that is no Rust is kept as a finding in `unreadable`.
    pub(crate) fn load(root: &Path) -> anyhow::Result<Self> {
        let (packages, externals) = metadata::read(root)?;
        let mut house = Self::new(root, packages, externals);
        for path in files_of_git(root)? {
            if !path.ends_with(".rs") {
                let bytes =
                    std::fs::read(root.join(&path)).with_context(|| format!("could not read {path}"))?;
                if let Ok(text) = String::from_utf8(bytes) {
                    house.texts.insert(path.clone(), text);
                }
            } else {
                match RustSource::load(root, &path) {
                    Ok(source) => drop(house.sources.insert(path.clone(), source)),
                    Err(error) => house.unreadable.push(format!("{error:#}")),
                }
            }
            house.paths.insert(path);
        }
        house.resolve_modules();
        Ok(house)
    }

    fn new(root: &Path, packages: Vec<Package>, externals: Vec<External>) -> Self {
        Self {
            root: root.to_path_buf(),
            packages,
            externals,
            sources: BTreeMap::new(),
            texts: BTreeMap::new(),
            paths: BTreeSet::new(),
            unreached: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    fn resolve_modules(&mut self) {
        let reach = modules::reach(&self.packages, &self.sources);
        for (path, source) in &mut self.sources {
            let is_reached = reach.production.contains(path) || reach.tests.contains(path);
            source.is_test = !reach.production.contains(path) && reach.tests.contains(path);
            let is_in_a_crate = self.packages.iter().any(|package| {
                let within = path.strip_prefix(&package.folder).unwrap_or_default();
                within.starts_with("/src/") || within.starts_with("/tests/")
            });
            if is_in_a_crate && !is_reached {
                self.unreached.push(path.clone());
            }
        }
    }

    /// All Rust files, in the order of their paths.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &RustSource> {
        self.sources.values()
    }

    /// One Rust file.
    #[cfg(test)]
    pub(crate) fn source(&self, path: &str) -> Option<&RustSource> {
        self.sources.get(path)
    }

    /// Every text, Rust or not, with its path.
    pub(crate) fn all_texts(&self) -> impl Iterator<Item = (&str, &str)> {
        let rust = self.sources.values().map(|source| (source.path.as_str(), source.text.as_str()));
        rust.chain(self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str())))
    }

    /// The crate of ours with that name.
    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }
}

fn files_of_git(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output =
        git.output().context("could not start git, which knows the files of the house; install git")?;
    ensure!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).context("a path of the house is not UTF-8: rename it")?;
    let files = listed.split('\0').filter(|path| !path.is_empty());
    // git still lists what was deleted and not yet committed; the laws are about what is there.
    Ok(files.filter(|path| root.join(path).is_file()).map(str::to_owned).collect())
}

#[cfg(test)]
impl House {
    /// A workspace made of texts alone. Each folder `ring/name` with a `src/` is a crate of that name.
    pub(crate) fn planted(files: &[(&str, &str)]) -> Self {
        let mut packages: BTreeMap<String, Package> = BTreeMap::new();
        let mut house = Self::new(Path::new("/nowhere"), Vec::new(), Vec::new());
        for (path, text) in files {
            house.paths.insert((*path).to_owned());
            if path.ends_with(".rs") {
                house.sources.insert(
                    (*path).to_owned(),
                    RustSource::parse(path, (*text).to_owned()).expect("a planted text is Rust"),
                );
            } else {
                house.texts.insert((*path).to_owned(), (*text).to_owned());
            }
            if let Some((folder, inside)) = path.split_once("/src/") {
                let package =
                    packages.entry(folder.to_owned()).or_insert_with(|| Package::planted(folder, &[]));
                if matches!(inside, "lib.rs" | "main.rs") {
                    package.targets.push(metadata::Target { path: (*path).to_owned(), is_test: false });
                }
            }
        }
        house.packages = packages.into_values().collect();
        house.resolve_modules();
        house
    }

    /// A workspace of crates without files.
    pub(crate) fn planted_crates(packages: Vec<Package>) -> Self {
        Self::new(Path::new("/nowhere"), packages, Vec::new())
    }
}

#[cfg(test)]
impl Package {
    /// A crate in `folder`, named as the folder's last part, with normal dependencies.
    pub(crate) fn planted(folder: &str, needs: &[&str]) -> Self {
        let name = folder.rsplit('/').next().unwrap_or(folder).to_owned();
        let needs = needs
            .iter()
            .map(|need| metadata::Need { name: (*need).to_owned(), kind: metadata::NeedKind::Normal })
            .collect();
        Self { name, folder: folder.to_owned(), needs, targets: Vec::new() }
    }

    /// The same crate with one more dependency, for tests only.
    pub(crate) fn with_dev_need(mut self, need: &str) -> Self {
        self.needs.push(metadata::Need { name: need.to_owned(), kind: metadata::NeedKind::Dev });
        self
    }
}
