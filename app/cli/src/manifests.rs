//! Manifests that the user names: read, checked, and what is wrong with them shown.

use std::io;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use manifest::{Colour, Diagnostic, Input, Manifests};
use model::resource::check::Severity;

use crate::failure::Failure;
use crate::output::say;
use crate::paint::Colours;

/// The words with which manifests are named.
#[derive(Clone, Debug, Args)]
pub(crate) struct Files {
    /// A manifest, a folder of them, or - for standard input; may be given several times
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub(crate) file: Vec<PathBuf>,
}

/// How much is said of what is not wrong enough to be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warnings {
    /// All of it.
    Shown,
    /// Nothing: a server that knows more checks again.
    LeftToServer,
}

/// Reads and checks manifests; shows on standard error what is wrong, and fails when that keeps them from being applied.
pub(crate) fn read(files: &[PathBuf], warnings: Warnings, colours: Colours) -> Result<Manifests, Failure> {
    let inputs: Vec<Input> = files.iter().map(Input::from_argument).collect();
    let mut manifests = manifest::read(&inputs, &mut io::stdin().lock());
    // A service that is named and not among the files may well be known to the server.
    manifests.check(&[], Severity::Warning);
    let colour = if colours.on_stderr() { Colour::Always } else { Colour::Never };
    for diagnostic in &manifests.diagnostics {
        if is_error(diagnostic) || warnings == Warnings::Shown {
            say(&diagnostic.render(colour));
        }
    }
    if manifests.has_errors() { Err(Failure::words(verdict(&manifests))) } else { Ok(manifests) }
}

fn is_error(diagnostic: &Diagnostic) -> bool {
    diagnostic.severity == Severity::Error
}

fn verdict(manifests: &Manifests) -> String {
    let mut errors = manifests.diagnostics.iter().filter(|found| is_error(found));
    let first = errors.next().map(ToString::to_string).unwrap_or_default();
    match errors.count() + manifests.diagnostics_left_out {
        0 => format!("the manifests cannot be used, and nothing was changed: {first}"),
        more => {
            format!("the manifests have {} errors, and nothing was changed; the first: {first}", more + 1)
        }
    }
}

/// Makes the working directories absolute, as seen from the current folder.
pub(crate) fn resolve(manifests: &mut Manifests) -> Result<(), Failure> {
    let here = std::env::current_dir().context("could not tell the current folder")?;
    Ok(manifests.resolve_paths(&here)?)
}
