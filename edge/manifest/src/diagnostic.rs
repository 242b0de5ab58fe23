//! Errors and warnings about manifests, with their places, and how they are rendered.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use model::resource::check::Severity;

/// The most diagnostics of one run; further ones are counted.
///
/// 100 fill several screens, and a file of the wrong kind has one for each of its lines.
pub const DIAGNOSTICS_MAX: usize = 100;

/// The longest line that is shown as an excerpt, in bytes: JSON is often one line, and no terminal shows a megabyte of it.
const EXCERPT_BYTES_MAX: usize = 500;

/// A text that was read, and its name in messages.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as the user gave it, or `<stdin>`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// Whether the output may have terminal colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// For files, pipes and logs.
    Never,
    /// For a terminal.
    Always,
}

/// One error or warning about a manifest.
///
/// Its `Display` is one line: file, line, column, path and sentence. [`Diagnostic::render`] adds the excerpt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it prevents the manifest from being applied.
    pub severity: Severity,
    /// The file; with an empty text when it could not be read.
    pub source: Arc<Source>,
    /// The bytes that it is about; `None` for the whole file.
    pub span: Option<Range<usize>>,
    /// Dotted path of the field in its resource, such as `spec.probes.readiness.evry`; empty for the whole resource.
    pub path: String,
    /// What is wrong, as a sentence without its full stop.
    pub text: String,
    /// What was expected, to be shown under the excerpt; may be empty.
    pub expected: String,
}

impl Diagnostic {
    /// Line and column, both from 1, the column in characters; `None` for the whole file.
    pub fn position(&self) -> Option<(usize, usize)> {
        let start = floor_char(&self.source.text, self.span.as_ref()?.start);
        let before = &self.source.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }

    /// The sentence, the place, and an excerpt of the file with the place underlined.
    pub fn render(&self, colour: Colour) -> String {
        let renderer = match colour {
            Colour::Never => Renderer::plain(),
            Colour::Always => Renderer::styled(),
        };
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(printable(&self.sentence()));
        let report = match (&self.span, self.position()) {
            (Some(span), Some((line, column))) => match Excerpt::around(&self.source.text, span) {
                Some(excerpt) => title.element(self.snippet(&excerpt)),
                None => {
                    let name = self.source.name.as_str();
                    title.element(Origin::path(name).line(line).char_column(column))
                }
            },
            (Some(_) | None, _) => title.element(Origin::path(self.source.name.as_str())),
        };
        renderer.render(&[report])
    }

    fn snippet<'a>(&'a self, excerpt: &Excerpt<'a>) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let mut annotation = AnnotationKind::Primary.span(excerpt.span.clone());
        if !self.expected.is_empty() {
            annotation = annotation.label(printable(&self.expected));
        }
        let snippet = Snippet::source(excerpt.text).line_start(excerpt.line).path(self.source.name.as_str());
        snippet.annotation(annotation)
    }

    fn sentence(&self) -> String {
        if self.path.is_empty() { self.text.clone() } else { format!("{}: {}", self.path, self.text) }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source.name)?;
        if let Some((line, column)) = self.position() {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", printable(&self.sentence()))
    }
}

impl std::error::Error for Diagnostic {}

/// The first lines of a span in a text, and the span within them.
struct Excerpt<'a> {
    text: &'a str,
    line: usize,
    span: Range<usize>,
}

impl<'a> Excerpt<'a> {
    /// `None` when the line is too long to be shown.
    fn around(text: &'a str, span: &Range<usize>) -> Option<Self> {
        let start = floor_char(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        if line_end - line_start > EXCERPT_BYTES_MAX {
            return None;
        }
        // Underlining more than the first line is not helpful.
        let end = floor_char(text, span.end.min(line_end)).max(start);
        let line = text[..line_start].matches('\n').count() + 1;
        Some(Self { text: &text[line_start..line_end], line, span: start - line_start..end - line_start })
    }
}

/// The nearest character boundary at or before `at`.
fn floor_char(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}

/// `text` on one line and without control characters, which could rewrite the terminal that shows it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
