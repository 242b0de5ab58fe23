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

/// The arguments that name manifests.
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
    /// What was found in reading: a server that knows more checks the rest again.
    LeftToServer,
}

/// Reads and checks manifests; shows on standard error what is wrong, and fails when that keeps them from being applied.
pub(crate) fn read(files: &[PathBuf], warnings: Warnings, colours: Colours) -> Result<Manifests, Failure> {
    let inputs: Vec<Input> = files.iter().map(Input::from_argument).collect();
    let mut manifests = manifest::read(&inputs, &mut io::stdin().lock());
    let colour = if colours.on_stderr() { Colour::Always } else { Colour::Never };
    check(&mut manifests, warnings).for_each(|diagnostic| say(&diagnostic.render(colour)));
    if manifests.has_errors() { Err(Failure::usage(verdict(&manifests))) } else { Ok(manifests) }
}

/// Checks what was read; returns what is to be shown of that and of the reading.
fn check(manifests: &mut Manifests, warnings: Warnings) -> impl Iterator<Item = &Diagnostic> {
    let of_reading = manifests.diagnostics.len();
    // A service that is named and not among the files may well be known to the server.
    manifests.check(&[], Severity::Warning);
    let is_shown = move |(nth, diagnostic): &(usize, &Diagnostic)| {
        *nth < of_reading || is_error(diagnostic) || warnings == Warnings::Shown
    };
    manifests.diagnostics.iter().enumerate().filter(is_shown).map(|(_, diagnostic)| diagnostic)
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
    let here = std::env::current_dir().context("could not find the current folder")?;
    Ok(manifests.resolve_paths(&here)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_reader_knows_is_not_left_to_the_server() {
        let text = "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: shop}\nspec:\n  run: {command: [./shop]}\n  \
                    dependsOn: [{service: db}]\n---\napiVersion: homeostat/v1\nkind: Replica\nmetadata: {name: shop-0}\nstatus: {}\n";
        let said = |warnings| -> Vec<String> {
            let mut manifests = manifest::parse("all.yaml", text);
            check(&mut manifests, warnings).map(|diagnostic| diagnostic.text.clone()).collect()
        };
        let all = said(Warnings::Shown);
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all[0].contains("passed over") && all[1].contains("db"), "{all:?}");
        assert_eq!(said(Warnings::LeftToServer), all[..1]);
    }
}
