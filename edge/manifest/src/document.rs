//! From the text of a file to its resources, each with the tree that locates its fields.

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
    /// The declared resource.
    pub resource: Resource,
    /// The file.
    pub source: Arc<Source>,
    /// The folder of the file, as the user gave it; `None` for standard input and text in memory.
    pub folder: Option<PathBuf>,
    root: Node,
}

/// The result of reading in one run: the resources of valid form, and all diagnostics.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// The resources, in the order of their files and within them.
    pub documents: Vec<Document>,
    /// The diagnostics, in the same order; at most [`DIAGNOSTICS_MAX`].
    pub diagnostics: Vec<Diagnostic>,
    /// How many more diagnostics there were.
    pub diagnostics_left_out: usize,
}

/// Why a path in a manifest could not be made absolute.
#[derive(Debug, thiserror::Error)]
#[error(
    "could not resolve the paths of {resource}: the folder {folder:?} has a name that is not UTF-8; rename it"
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
    /// Whether there is an error that prevents the resources from being applied.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// The resources alone, in order.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.documents.iter().map(|document| &document.resource)
    }

    /// Checks the resources, by themselves, against each other, and against the existing `others`, and adds the diagnostics.
    ///
    /// A document replaces the one of `others` with its kind and name. Only diagnostics of documents are added. `dangling` is the
    /// severity of a reference to an unknown service.
    pub fn check(&mut self, others: &[Resource], dangling: Severity) {
        let own: BTreeSet<(Kind, &str)> = self.resources().map(|own| (own.kind(), own.name())).collect();
        let kept = others.iter().filter(|other| !own.contains(&(other.kind(), other.name())));
        // Others first: of two resources in conflict the later one is reported, which is the one being applied.
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

    /// Makes the paths in each resource absolute (working directories, certificates, tokens, logs, and files of external balancers): they
    /// are relative to the folder of the manifest, which is also the default working directory. `current` is used for manifests
    /// from standard input or memory.
    ///
    /// Afterwards the resources differ from what was written, so compare and print them before. After an error nothing has changed.
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
        let (observed, declared): (Vec<_>, Vec<_>) =
            roots.into_iter().flat_map(members).partition(is_observed);
        if let Some(first) = observed.first() {
            let text =
                "this is an observed state, not a declaration: it is ignored, as are all others like it"
                    .to_owned();
            let span = Some(first.heading());
            self.add(Diagnostic { severity: Severity::Warning, ..error(source, span, "", text) });
        }
        for root in declared {
            match kinds::read(&root) {
                Ok(resource) => {
                    let folder = folder.map(Path::to_owned);
                    self.documents.push(Document { resource, source: Arc::clone(source), folder, root });
                }
                Err(form_errors) => form_errors.into_iter().for_each(|form_error| {
                    let expected = form_error.expected;
                    let found = error(source, Some(form_error.span), &form_error.path, form_error.text);
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

/// The manifests in a document: itself, or the items of a list, as `kubectl get -o yaml` and Homeostat's API print it.
///
/// A list is `items` with `kind: List` or without a kind. Its other fields are ignored.
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

/// Whether a document is an observed state from Homeostat's API: `get -o yaml` without a kind prints the replicas with their services. A service
/// that is being deleted is one, too: to declare it would create it again.
///
/// A document that a person has written has no status, and gets the error for an unknown kind.
fn is_observed(root: &Node) -> bool {
    const KINDS: [&str; 2] = ["Replica", "Node"];
    let kind = text_of(root, "kind").unwrap_or_default();
    let Some(status) = root.entry("status") else { return false };
    KINDS.contains(&kind) || (kind == "Service" && is_terminating(&status.value))
}

/// Whether a status has the condition `Terminating`.
fn is_terminating(status: &Node) -> bool {
    let conditions = status.entry("conditions").map(|entry| &entry.value.content);
    let Some(Content::Sequence(conditions)) = conditions else { return false };
    conditions.iter().any(|condition| {
        text_of(condition, "type") == Some("Terminating") && text_of(condition, "status") == Some("True")
    })
}

fn text_of<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    match &node.entry(key)?.value.content {
        Content::Scalar { text, .. } => Some(text),
        Content::Sequence(_) | Content::Mapping(_) => None,
    }
}
