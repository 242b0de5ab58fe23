//! Finds and reads the files of a run, within limits.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Source};
use crate::document::{Manifests, error};

/// The largest file, in bytes: some 4,000 services of 1 KiB, ten times what a store accepts in one write.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The most bytes of one run: 10,000 services of 3 KiB, doubled.
pub const RUN_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The most files of one run: a file for each of 10,000 services.
pub const FILES_MAX: usize = 10_000;

/// The extensions of manifests in a folder.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// The name of standard input in messages.
const STDIN: &str = "<stdin>";

/// Where manifests come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file, or a folder whose files `*.yaml`, `*.yml` and `*.json` are read in the order of their names, without subfolders.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

impl Input {
    /// Parses the argument of `-f`: `-` is standard input, anything else a path.
    pub fn from_argument(argument: impl Into<PathBuf>) -> Self {
        let path = argument.into();
        if path.as_os_str() == "-" { Self::Stdin } else { Self::Path(path) }
    }

    /// Its name in messages.
    fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stdin => STDIN.to_owned(),
        }
    }
}

/// Reads all `inputs`; one that cannot be read becomes a diagnostic, and the others are read nevertheless.
///
/// Standard input is given as `stdin` and read at most once. The resources are not checked yet: see [`Manifests::check`].
pub fn read(inputs: &[Input], stdin: &mut dyn Read) -> Manifests {
    let mut run = Run { manifests: Manifests::default(), bytes_left: RUN_BYTES_MAX, files_left: FILES_MAX };
    let mut stdin_left = Some(stdin);
    for input in inputs {
        let found_before = run.found();
        match input {
            Input::Path(path) => run.path(path),
            Input::Stdin => match stdin_left.take() {
                Some(stdin) => run.stream(STDIN, None, stdin),
                None => run.refuse(STDIN, "standard input can be read only once; give - once".to_owned()),
            },
        }
        // An empty input is an error: a program that should have written it has failed, or the wrong file was named.
        if run.found() == found_before {
            run.refuse(&input.name(), "no resource is declared here".to_owned());
        }
    }
    run.manifests
}

struct Run {
    manifests: Manifests,
    bytes_left: u64,
    files_left: usize,
}

impl Run {
    /// The number of resources and of diagnostics so far.
    fn found(&self) -> (usize, usize) {
        let Manifests { documents, diagnostics, diagnostics_left_out } = &self.manifests;
        (documents.len(), diagnostics.len() + diagnostics_left_out)
    }

    fn path(&mut self, path: &Path) {
        let name = path.display().to_string();
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.folder(path),
            // A file that is named explicitly may have any extension. A pipe, as of `-f <(generate)`, is a file too.
            Ok(_) => self.file(path),
            Err(cause) => self.refuse(&name, format!("could not find the manifest: {}", sentence(&cause))),
        }
    }

    fn folder(&mut self, folder: &Path) {
        let name = folder.display().to_string();
        let paths = match manifests_in(folder) {
            Ok(paths) => paths,
            Err(cause) => {
                return self.refuse(&name, format!("could not list the folder: {}", sentence(&cause)));
            }
        };
        if paths.is_empty() {
            self.refuse(
                &name,
                "there is no manifest in this folder: nothing ends in .yaml, .yml or .json".to_owned(),
            );
        }
        for path in paths {
            self.file(&path);
        }
    }

    fn file(&mut self, path: &Path) {
        let name = path.display().to_string();
        // The parent of `shop.yaml` is the empty path, which joins like the current folder.
        let folder = path.parent();
        match File::open(path) {
            Ok(mut file) => self.stream(&name, folder, &mut file),
            Err(cause) => self.refuse(&name, format!("could not open the manifest: {}", sentence(&cause))),
        }
    }

    fn stream(&mut self, name: &str, folder: Option<&Path>, stream: &mut dyn Read) {
        if self.files_left == 0 {
            return self.refuse(name, format!("more than {FILES_MAX} files in one run; apply them in parts"));
        }
        self.files_left -= 1;
        let limit = FILE_BYTES_MAX.min(self.bytes_left);
        let mut bytes = Vec::new();
        // One byte more than allowed shows that there is too much.
        if let Err(cause) = stream.take(limit + 1).read_to_end(&mut bytes) {
            return self.refuse(name, format!("could not read the manifest: {}", sentence(&cause)));
        }
        if bytes.len() as u64 > limit {
            let text = if limit < FILE_BYTES_MAX {
                format!("the files of this run have more than {RUN_BYTES_MAX} bytes; apply them in parts")
            } else {
                format!("the file has more than {FILE_BYTES_MAX} bytes; split it")
            };
            return self.refuse(name, text);
        }
        self.bytes_left -= bytes.len() as u64;
        match String::from_utf8(bytes) {
            Ok(text) => {
                let source = Arc::new(Source { name: name.to_owned(), text });
                self.manifests.take(&source, folder);
            }
            Err(cause) => {
                let at = cause.utf8_error().valid_up_to();
                let line = cause.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
                self.refuse(name, format!("the file is not UTF-8 text: line {line} has an invalid byte"));
            }
        }
    }

    fn refuse(&mut self, name: &str, text: String) {
        let source = Arc::new(Source { name: name.to_owned(), text: String::new() });
        let diagnostic: Diagnostic = error(&source, None, "", text);
        self.manifests.add(diagnostic);
    }
}

fn manifests_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ENDINGS.contains(&ending)) && may_be_file(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether an entry may be a file: neither a folder nor a pipe, on which reading would block. A dangling link counts, since opening it
/// gives a proper error.
fn may_be_file(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |found| found.is_file())
}

/// An error of the system without its number, which most people do not know.
fn sentence(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        _ => cause.to_string(),
    }
}
