//! The result of `cargo metadata`: the crates of the workspace with their dependencies, and the external crates.

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
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

impl Package {
    /// The ring of the crate: the first part of its folder.
    pub(crate) fn ring(&self) -> &str {
        self.folder.split('/').next().unwrap_or_default()
    }

    /// The path of the manifest of the crate.
    pub(crate) fn manifest(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }
}

/// A dependency in a manifest.
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: DependencyKind,
}

/// The kind of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DependencyKind {
    /// Part of the product.
    Normal,
    /// Tests only.
    Dev,
    /// Build scripts only.
    Build,
}

/// A root file that cargo compiles.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Path relative to the root of the workspace.
    pub(crate) path: String,
    /// Contains only tests or benchmarks.
    pub(crate) is_test: bool,
}

/// A crate from outside of the workspace.
#[derive(Debug, Clone)]
pub(crate) struct External {
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression as in its manifest; `None` without one.
    pub(crate) license: Option<String>,
    /// Where cargo fetches it from, such as `registry+https://…`.
    pub(crate) source: String,
}

/// Runs `cargo metadata` for the workspace in `root`.
///
/// Fails with the message of cargo, such as about a broken manifest or a crate that cannot be fetched.
pub(crate) fn read(root: &Path) -> anyhow::Result<(Vec<Package>, Vec<External>)> {
    let mut call = cargo::command(root);
    call.args(["metadata", "--format-version", "1", "--all-features"]);
    let output = call.output().context("could not start cargo metadata")?;
    anyhow::ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let all: RawMetadata =
        serde_json::from_slice(&output.stdout).context("could not parse the output of cargo metadata")?;
    let mut packages = Vec::new();
    let mut externals = Vec::new();
    for package in all.packages {
        match package.source {
            Some(source) => externals.push(External {
                name: package.name,
                version: package.version,
                license: package.license,
                source,
            }),
            None => packages.push(package.into_package(root)?),
        }
    }
    packages.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok((packages, externals))
}

#[derive(Deserialize)]
struct RawMetadata {
    packages: Vec<RawPackage>,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: String,
    dependencies: Vec<RawDependency>,
    targets: Vec<RawTarget>,
}

#[derive(Deserialize)]
struct RawDependency {
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
        let dependencies = self.dependencies.into_iter().map(|dependency| Dependency {
            name: dependency.name,
            kind: kind_of(dependency.kind.as_deref()),
        });
        let targets = self.targets.into_iter().map(|target| {
            let is_test = target.kind.iter().any(|kind| kind == "test" || kind == "bench");
            Ok(Target { path: within(root, &target.src_path)?, is_test })
        });
        Ok(Package {
            name: self.name,
            folder,
            dependencies: dependencies.collect(),
            targets: targets.collect::<anyhow::Result<_>>()?,
        })
    }
}

fn kind_of(name: Option<&str>) -> DependencyKind {
    match name {
        Some("dev") => DependencyKind::Dev,
        Some("build") => DependencyKind::Build,
        Some(_) | None => DependencyKind::Normal,
    }
}

fn within(root: &Path, path: &str) -> anyhow::Result<String> {
    let relative =
        Path::new(path).strip_prefix(root).with_context(|| format!("{path} is outside of the workspace"))?;
    Ok(relative.to_string_lossy().into_owned())
}
