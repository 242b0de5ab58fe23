//! From the text of a file to its resources, each with the tree that says where its fields stand.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::resource::check::{self, Severity};
use model::resource::{Kind, Resource};

use crate::diagnostic::{DIAGNOSTICS_MAX, Diagnostic, Source};
use crate::kinds;
use crate::paths;
use crate::tree::{self, Content, Node};

/// One resource and where it was written.
#[derive(Clone, Debug)]
pub struct Document {
    /// What was declared.
    pub resource: Resource,
    /// The file.
    pub source: Arc<Source>,
    /// The folder of the file, as the user gave it; none for what came from standard input or from memory.
    pub folder: Option<PathBuf>,
    root: Node,
}

/// What was read in one run: the resources that have the right form, and all that is wrong.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// The resources, in the order of their files and within them.
    pub documents: Vec<Document>,
    /// What is wrong, in the same order; at most [`DIAGNOSTICS_MAX`].
    pub diagnostics: Vec<Diagnostic>,
    /// How many more diagnostics there were.
    pub diagnostics_left_out: usize,
}

/// Why a path in a manifest could not be made absolute.
#[derive(Debug, thiserror::Error)]
#[error(
    "could not resolve the paths of {resource}: the folder {folder:?} has a name that is no UTF-8; rename it"
)]
pub struct PathError {
    /// Name of the resource.
    pub resource: String,
    /// The folder of its manifest.
    pub folder: PathBuf,
}

/// Reads the documents of one text, called `name` in messages.
pub fn parse(name: &str, text: &str) -> Manifests {
    let mut manifests = Manifests::default();
    let source = Arc::new(Source { name: name.to_owned(), text: text.to_owned() });
    manifests.take(&source, None);
    manifests
}

impl Manifests {
    /// Whether anything is wrong that keeps the resources from being applied.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// The resources alone, in order.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.documents.iter().map(|document| &document.resource)
    }

    /// Adds what is wrong with the resources by themselves, with each other, and with `others`, which are known already.
    ///
    /// One of `others` that a document has the kind and name of is left out: the document takes its place. Only what is wrong
    /// with a document is added. `dangling` is how grave the name of an unknown service is.
    pub fn check(&mut self, others: &[Resource], dangling: Severity) {
        let own: BTreeSet<(Kind, &str)> = self.resources().map(|own| (own.kind(), own.name())).collect();
        let kept = others.iter().filter(|other| !own.contains(&(other.kind(), other.name())));
        // Others first: where two clash, the later one is named, and that is the one being applied.
        let mut all: Vec<Resource> = kept.cloned().collect();
        let others_len = all.len();
        all.extend(self.resources().cloned());
        for found in check::check(&all, dangling) {
            let Some(index) = found.resource.checked_sub(others_len) else { continue };
            let document = &self.documents[index];
            let diagnostic = Diagnostic {
                severity: found.severity,
                source: Arc::clone(&document.source),
                span: Some(document.root.locate(&found.problem.path)),
                path: found.problem.path,
                text: found.problem.text,
                expected: String::new(),
            };
            self.add(diagnostic);
        }
    }

    /// Makes the paths in each resource absolute, those of working directories, certificates, tokens, logs and what is written for other
    /// balancers: a relative one begins at the folder of its manifest, and a working directory that is not given is that folder. `current`
    /// stands in for what was read from standard input or memory.
    ///
    /// After this the resources no longer say what was written; compare and print before. On an error nothing has changed.
    pub fn resolve_paths(&mut self, current: &Path) -> Result<(), PathError> {
        let mut resolved = Vec::with_capacity(self.documents.len());
        for document in &self.documents {
            let mut resource = document.resource.clone();
            let folder = current.join(document.folder.as_deref().unwrap_or(Path::new("")));
            if !paths::resolve(&mut resource, &folder) {
                return Err(PathError { resource: resource.name().to_owned(), folder });
            }
            resolved.push(resource);
        }
        for (document, resource) in self.documents.iter_mut().zip(resolved) {
            document.resource = resource;
        }
        Ok(())
    }

    /// Adds the documents of `source`.
    pub(crate) fn take(&mut self, source: &Arc<Source>, folder: Option<&Path>) {
        let (roots, malformed) = tree::compose(&source.text);
        for tree::Malformed { span, text } in malformed {
            self.add(error(source, Some(span), "", text));
        }
        let (seen, declared): (Vec<_>, Vec<_>) = roots.into_iter().flat_map(members).partition(is_seen);
        if let Some(first) = seen.first() {
            let text = "what runs is not declared: this and all others like it are passed over".to_owned();
            let span = Some(first.heading());
            self.add(Diagnostic { severity: Severity::Warning, ..error(source, span, "", text) });
        }
        for root in declared {
            match kinds::read(&root) {
                Ok(resource) => {
                    let folder = folder.map(Path::to_owned);
                    self.documents.push(Document { resource, source: Arc::clone(source), folder, root });
                }
                Err(misfits) => misfits.into_iter().for_each(|misfit| {
                    let expected = misfit.expected;
                    let found = error(source, Some(misfit.span), &misfit.path, misfit.text);
                    self.add(Diagnostic { expected, ..found });
                }),
            }
        }
    }

    pub(crate) fn add(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() < DIAGNOSTICS_MAX {
            self.diagnostics.push(diagnostic);
        } else {
            self.diagnostics_left_out += 1;
        }
    }
}

pub(crate) fn error(
    source: &Arc<Source>,
    span: Option<std::ops::Range<usize>>,
    path: &str,
    text: String,
) -> Diagnostic {
    let (source, path) = (Arc::clone(source), path.to_owned());
    Diagnostic { severity: Severity::Error, source, span, path, text, expected: String::new() }
}

/// The manifests in a document: itself, or the items of a list, as `kubectl get -o yaml` and our own API print it.
///
/// A list is `items` with `kind: List` or without a kind. What else it says is of no use to its items.
fn members(root: Node) -> Vec<Node> {
    let is_list = match root.entry("kind").map(|entry| &entry.value.content) {
        None => true,
        Some(Content::Scalar { text, .. }) => text == "List",
        Some(Content::Sequence(_) | Content::Mapping(_)) => false,
    };
    let is_items = |key: &str, node: &Node| key == "items" && matches!(node.content, Content::Sequence(_));
    if !is_list || !root.entry("items").is_some_and(|entry| is_items(&entry.key, &entry.value)) {
        return vec![root];
    }
    let Content::Mapping(entries) = root.content else { return Vec::new() };
    let items = entries.into_iter().filter(|entry| entry.key == "items").map(|entry| entry.value.content);
    items
        .flat_map(|content| if let Content::Sequence(items) = content { items } else { Vec::new() })
        .collect()
}

/// What our own API shows beside what was declared, and nobody declares: `get -o yaml` without a kind prints the replicas with their services.
///
/// One that somebody has written has no status, and is told that it is none of the kinds.
fn is_seen(root: &Node) -> bool {
    const KINDS: [&str; 2] = ["Replica", "Node"];
    let kind = root.entry("kind").map(|entry| &entry.value.content);
    matches!(kind, Some(Content::Scalar { text, .. }) if KINDS.contains(&text.as_str()))
        && root.entry("status").is_some()
}
