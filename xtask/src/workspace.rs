//! The workspace as the laws of `tidy` see it: crates, Rust files, all other text files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::metadata::{self, External, Package};
use crate::modules;
use crate::rust_source::RustSource;

/// The input of all laws, read once.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) packages: Vec<Package>,
    pub(crate) externals: Vec<External>,
    sources: BTreeMap<String, RustSource>,
    /// Text files other than Rust, by path; without binary files.
    pub(crate) texts: BTreeMap<String, String>,
    /// Every file that git tracks or would add, relative to the root.
    pub(crate) paths: BTreeSet<String>,
    /// Rust files in the `src` or `tests` of a crate that no `mod` line reaches.
    pub(crate) unreachable: Vec<String>,
    /// Files `.rs` that are not valid Rust, one message each.
    pub(crate) parse_errors: Vec<String>,
}

impl Workspace {
    /// Reads the workspace in `root`: the files that git tracks or would add.
    ///
    /// Fails when git or cargo fail; an invalid Rust file is only recorded in `parse_errors`.
    pub(crate) fn load(root: &Path) -> anyhow::Result<Self> {
        let (packages, externals) = metadata::read(root)?;
        let mut workspace = Self::new(root, packages, externals);
        for path in files_of_git(root)? {
            if !path.ends_with(".rs") {
                let bytes =
                    std::fs::read(root.join(&path)).with_context(|| format!("could not read {path}"))?;
                if let Ok(text) = String::from_utf8(bytes) {
                    workspace.texts.insert(path.clone(), text);
                }
            } else {
                match RustSource::load(root, &path) {
                    Ok(source) => drop(workspace.sources.insert(path.clone(), source)),
                    Err(error) => workspace.parse_errors.push(format!("{error:#}")),
                }
            }
            workspace.paths.insert(path);
        }
        workspace.resolve_modules();
        Ok(workspace)
    }

    fn new(root: &Path, packages: Vec<Package>, externals: Vec<External>) -> Self {
        Self {
            root: root.to_path_buf(),
            packages,
            externals,
            sources: BTreeMap::new(),
            texts: BTreeMap::new(),
            paths: BTreeSet::new(),
            unreachable: Vec::new(),
            parse_errors: Vec::new(),
        }
    }

    fn resolve_modules(&mut self) {
        let reach = modules::reach(&self.packages, &self.sources);
        for (path, source) in &mut self.sources {
            let is_reached = reach.production.contains(path) || reach.tests.contains(path);
            source.is_test = !reach.production.contains(path) && reach.tests.contains(path);
            let is_in_crate = self.packages.iter().any(|package| {
                let within = path.strip_prefix(&package.folder).unwrap_or_default();
                within.starts_with("/src/") || within.starts_with("/tests/")
            });
            if is_in_crate && !is_reached {
                self.unreachable.push(path.clone());
            }
        }
    }

    /// All Rust files, ordered by path.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &RustSource> {
        self.sources.values()
    }

    /// One Rust file.
    #[cfg(test)]
    pub(crate) fn source(&self, path: &str) -> Option<&RustSource> {
        self.sources.get(path)
    }

    /// The text of every text file, including Rust, with its path.
    pub(crate) fn all_texts(&self) -> impl Iterator<Item = (&str, &str)> {
        let rust = self.sources.values().map(|source| (source.path.as_str(), source.text.as_str()));
        rust.chain(self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str())))
    }

    /// The crate of the workspace with that name.
    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }
}

fn files_of_git(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output =
        git.output().context("could not start git to list the files of the workspace; install git")?;
    ensure!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    let listed =
        String::from_utf8(output.stdout).context("a path in the workspace is not UTF-8; rename it")?;
    let files = listed.split('\0').filter(|path| !path.is_empty());
    // git still lists files that are deleted but not committed.
    Ok(files.filter(|path| root.join(path).is_file()).map(str::to_owned).collect())
}

#[cfg(test)]
impl Workspace {
    /// A workspace of these files. Each folder `ring/name` with a `src/` is a crate of that name.
    pub(crate) fn from_files(files: &[(&str, &str)]) -> Self {
        let mut packages: BTreeMap<String, Package> = BTreeMap::new();
        let mut workspace = Self::new(Path::new("/nowhere"), Vec::new(), Vec::new());
        for (path, text) in files {
            workspace.paths.insert((*path).to_owned());
            if path.ends_with(".rs") {
                workspace.sources.insert(
                    (*path).to_owned(),
                    RustSource::parse(path, (*text).to_owned()).expect("the text is Rust"),
                );
            } else {
                workspace.texts.insert((*path).to_owned(), (*text).to_owned());
            }
            if let Some((folder, inside)) = path.split_once("/src/") {
                let package =
                    packages.entry(folder.to_owned()).or_insert_with(|| Package::in_folder(folder, &[]));
                if matches!(inside, "lib.rs" | "main.rs") {
                    package.targets.push(metadata::Target { path: (*path).to_owned(), is_test: false });
                }
            }
        }
        workspace.packages = packages.into_values().collect();
        workspace.resolve_modules();
        workspace
    }

    /// A workspace of crates without files.
    pub(crate) fn from_packages(packages: Vec<Package>) -> Self {
        Self::new(Path::new("/nowhere"), packages, Vec::new())
    }
}

#[cfg(test)]
impl Package {
    /// A crate in `folder`, named after its last part, with normal dependencies.
    pub(crate) fn in_folder(folder: &str, dependencies: &[&str]) -> Self {
        let name = folder.rsplit('/').next().unwrap_or(folder).to_owned();
        let dependencies = dependencies
            .iter()
            .map(|name| metadata::Dependency {
                name: (*name).to_owned(),
                kind: metadata::DependencyKind::Normal,
            })
            .collect();
        Self { name, folder: folder.to_owned(), dependencies, targets: Vec::new() }
    }

    /// The same crate with one more dev-dependency.
    pub(crate) fn with_dev_dependency(mut self, name: &str) -> Self {
        self.dependencies
            .push(metadata::Dependency { name: name.to_owned(), kind: metadata::DependencyKind::Dev });
        self
    }
}
