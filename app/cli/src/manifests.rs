//! Reads and checks the manifests in arguments, and shows their problems.

use std::io;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use manifest::{Colour, Diagnostic, Input, Manifests};
use model::resource::check::Severity;

use crate::failure::Failure;
use crate::paint::Colours;
use crate::stderr;

/// The arguments that name manifests.
#[derive(Clone, Debug, Args)]
pub(crate) struct Files {
    /// A manifest, a folder of them, or - for standard input; may be given several times
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub(crate) file: Vec<PathBuf>,
}

/// Which warnings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warnings {
    /// All warnings.
    Shown,
    /// Only warnings from reading: the server checks everything else again, and knows more resources.
    LeftToServer,
}

/// Reads and checks manifests. Prints problems to standard error, and fails if one of them is an error.
pub(crate) fn read(files: &[PathBuf], warnings: Warnings, colours: Colours) -> Result<Manifests, Failure> {
    let inputs: Vec<Input> = files.iter().map(Input::from_argument).collect();
    let mut manifests = manifest::read(&inputs, &mut io::stdin().lock());
    let colour = if colours.on_stderr() { Colour::Always } else { Colour::Never };
    check(&mut manifests, warnings).for_each(|diagnostic| stderr::print_line(&diagnostic.render(colour)));
    if manifests.has_errors() { Err(Failure::usage(summary(&manifests))) } else { Ok(manifests) }
}

/// Checks manifests, and returns the problems to show, those from reading included.
fn check(manifests: &mut Manifests, warnings: Warnings) -> impl Iterator<Item = &Diagnostic> {
    let from_reading = manifests.diagnostics.len();
    // A service that is referred to but not declared in the files may be known to the server.
    manifests.check(&[], Severity::Warning);
    let is_shown = move |(index, diagnostic): &(usize, &Diagnostic)| {
        *index < from_reading || is_error(diagnostic) || warnings == Warnings::Shown
    };
    manifests.diagnostics.iter().enumerate().filter(is_shown).map(|(_, diagnostic)| diagnostic)
}

fn is_error(diagnostic: &Diagnostic) -> bool {
    diagnostic.severity == Severity::Error
}

fn summary(manifests: &Manifests) -> String {
    let mut errors = manifests.diagnostics.iter().filter(|found| is_error(found));
    let first = errors.next().map(ToString::to_string).unwrap_or_default();
    match errors.count() + manifests.diagnostics_left_out {
        0 => format!("the manifests are invalid, and nothing was changed: {first}"),
        more => {
            format!("the manifests have {} errors, and nothing was changed; the first: {first}", more + 1)
        }
    }
}

/// Makes relative working directories absolute, based on the current folder.
pub(crate) fn resolve(manifests: &mut Manifests) -> Result<(), Failure> {
    let here = std::env::current_dir().context("could not find the current folder")?;
    Ok(manifests.resolve_paths(&here)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_from_reading_are_shown_even_if_others_are_left_to_the_server() {
        let text = "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: shop}\nspec:\n  run: {command: [./shop]}\n  \
                    dependsOn: [{service: db}]\n---\napiVersion: homeostat/v1\nkind: Replica\nmetadata: {name: shop-0}\nstatus: {}\n";
        let shown = |warnings| -> Vec<String> {
            let mut manifests = manifest::parse("all.yaml", text);
            check(&mut manifests, warnings).map(|diagnostic| diagnostic.text.clone()).collect()
        };
        let all = shown(Warnings::Shown);
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all[0].contains("it is ignored") && all[1].contains("db"), "{all:?}");
        assert_eq!(shown(Warnings::LeftToServer), all[..1]);
    }
}
