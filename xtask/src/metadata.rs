//! What `cargo metadata` knows: our crates with what they depend on, and the crates that come from others.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use crate::cargo;

/// A crate of the workspace.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Folder relative to the root, such as `core/plan`.
    pub(crate) folder: String,
    pub(crate) needs: Vec<Need>,
    pub(crate) targets: Vec<Target>,
}

impl Package {
    /// The ring the crate stands in: the first part of its folder.
    pub(crate) fn ring(&self) -> &str {
        self.folder.split('/').next().unwrap_or_default()
    }

    /// The path of the crate's manifest, where its dependencies are named.
    pub(crate) fn manifest(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }
}

/// One dependency as a manifest names it.
#[derive(Debug, Clone)]
pub(crate) struct Need {
    pub(crate) name: String,
    pub(crate) kind: NeedKind,
}

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NeedKind {
    /// It is part of what ships.
    Normal,
    /// Tests only.
    Dev,
    /// Build scripts only.
    Build,
}

/// One root that cargo compiles from.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The root file relative to the root of the workspace.
    pub(crate) path: String,
    /// Holds nothing but tests or benches.
    pub(crate) is_test: bool,
}

/// A crate that comes from others.
#[derive(Debug, Clone)]
pub(crate) struct External {
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression as its authors wrote it; `None` when they did not.
    pub(crate) license: Option<String>,
    /// Where cargo fetched it from, such as `registry+https://…`.
    pub(crate) source: String,
}

/// Asks cargo for the workspace in `root`.
///
/// Fails when cargo fails, and it says why: a broken manifest, or a crate that cannot be fetched.
pub(crate) fn read(root: &Path) -> anyhow::Result<(Vec<Package>, Vec<External>)> {
    let mut call = cargo::command(root);
    call.args(["metadata", "--format-version", "1", "--all-features"]);
    let output = call.output().context("could not start cargo metadata")?;
    anyhow::ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let all: Raw =
        serde_json::from_slice(&output.stdout).context("could not read what cargo metadata printed")?;
    let mut ours = Vec::new();
    let mut externals = Vec::new();
    for package in all.packages {
        match package.source {
            Some(source) => externals.push(External {
                name: package.name,
                version: package.version,
                license: package.license,
                source,
            }),
            None => ours.push(package.into_package(root)?),
        }
    }
    ours.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok((ours, externals))
}

#[derive(Deserialize)]
struct Raw {
    packages: Vec<RawPackage>,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: String,
    dependencies: Vec<RawNeed>,
    targets: Vec<RawTarget>,
}

#[derive(Deserialize)]
struct RawNeed {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct RawTarget {
    kind: Vec<String>,
    src_path: String,
}

impl RawPackage {
    fn into_package(self, root: &Path) -> anyhow::Result<Package> {
        let manifest = within(root, &self.manifest_path)?;
        let folder = manifest.strip_suffix("/Cargo.toml").unwrap_or_default().to_owned();
        let needs = self
            .dependencies
            .into_iter()
            .map(|need| Need { name: need.name, kind: kind_of(need.kind.as_deref()) });
        let targets = self.targets.into_iter().map(|target| {
            let is_test = target.kind.iter().any(|kind| kind == "test" || kind == "bench");
            Ok(Target { path: within(root, &target.src_path)?, is_test })
        });
        Ok(Package {
            name: self.name,
            folder,
            needs: needs.collect(),
            targets: targets.collect::<anyhow::Result<_>>()?,
        })
    }
}

fn kind_of(word: Option<&str>) -> NeedKind {
    match word {
        Some("dev") => NeedKind::Dev,
        Some("build") => NeedKind::Build,
        Some(_) | None => NeedKind::Normal,
    }
}

fn within(root: &Path, path: &str) -> anyhow::Result<String> {
    let relative =
        Path::new(path).strip_prefix(root).with_context(|| format!("{path} lies outside the workspace"))?;
    Ok(relative.to_string_lossy().into_owned())
}
