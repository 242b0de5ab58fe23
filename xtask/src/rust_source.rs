//! A Rust file as the laws see it: its syntax tree, its tokens, its comments, and which lines are code or tests.
//!
//! Many laws look for tokens (`sleep(`, `#[allow(`), also inside macros, which have no syntax tree; so there is a
//! flat list of tokens besides the tree. A string is one token with its quotes, so that its content matches no law.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use anyhow::Context;
use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::visit::Visit;

/// One Rust file of the workspace.
pub(crate) struct RustSource {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tree: syn::File,
    /// Identifiers, punctuation, literals and brackets in order, without doc comments.
    pub(crate) tokens: Vec<Token>,
    /// Comments line by line, including doc comments.
    pub(crate) comments: Vec<Comment>,
    /// Lines, from 1, with at least a part of a token.
    code_lines: BTreeSet<usize>,
    /// Lines of items under `#[cfg(test)]` and of functions under `#[test]`.
    test_regions: Vec<RangeInclusive<usize>>,
    /// The whole file is test code: under `tests/`, or a module that only tests reach.
    pub(crate) is_test: bool,
}

/// One token of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// One line of a comment, with its `//`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl RustSource {
    /// Parses the text of a file; `is_test` is false until the modules are resolved.
    ///
    /// Fails with the line when it is not valid Rust.
    pub(crate) fn parse(path: &str, text: String) -> anyhow::Result<Self> {
        let stream: TokenStream = text.parse().map_err(|error: proc_macro2::LexError| {
            anyhow::anyhow!("{path}:{}: is not valid Rust: {error}", error.span().start().line)
        })?;
        let tree: syn::File = syn::parse2(stream.clone()).map_err(|error| {
            anyhow::anyhow!("{path}:{}: is not valid Rust: {error}", error.span().start().line)
        })?;
        let mut reader =
            TokenReader { text: &text, tokens: Vec::new(), comments: Vec::new(), position: 0, line: 1 };
        reader.read(stream);
        reader.skip_to(text.len());
        let TokenReader { tokens, comments, .. } = reader;
        let code_lines = tokens
            .iter()
            .flat_map(|token| token.line..=token.line + token.text.matches('\n').count())
            .collect();
        let mut regions = TestRegions::default();
        regions.visit_file(&tree);
        let test_regions = regions.found;
        Ok(Self {
            path: path.to_owned(),
            text,
            tree,
            tokens,
            comments,
            code_lines,
            test_regions,
            is_test: false,
        })
    }

    /// Reads the file at `path` under `root`.
    pub(crate) fn load(root: &std::path::Path, path: &str) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(root.join(path)).with_context(|| format!("could not read {path}"))?;
        Self::parse(path, text)
    }

    /// Whether the line is test code.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test || self.test_regions.iter().any(|region| region.contains(&line))
    }

    /// The number of lines with code within `lines`; blank lines and comments do not count.
    pub(crate) fn code_lines_in(&self, lines: RangeInclusive<usize>) -> usize {
        self.code_lines.range(lines).count()
    }

    /// The number of lines with code that are not inline tests.
    ///
    /// In a file of tests every line of code counts.
    pub(crate) fn code_lines_without_inline_tests(&self) -> usize {
        let is_inline_test = |line: &&usize| !self.test_regions.iter().any(|region| region.contains(line));
        if self.is_test {
            self.code_lines.len()
        } else {
            self.code_lines.iter().filter(is_inline_test).count()
        }
    }

    /// Whether a comment on the line or the line above contains `mark`.
    pub(crate) fn is_marked(&self, line: usize, mark: &str) -> bool {
        self.has_mark_in(line.saturating_sub(1)..=line, mark)
    }

    /// Whether a comment within `lines` contains `mark`.
    pub(crate) fn has_mark_in(&self, lines: RangeInclusive<usize>, mark: &str) -> bool {
        self.comments.iter().any(|comment| lines.contains(&comment.line) && comment.text.contains(mark))
    }

    /// Every path, such as `std::fs::read`, with its line; `use` trees only up to their first brace.
    pub(crate) fn paths(&self) -> Vec<(String, usize)> {
        let mut paths = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let first = &self.tokens[at];
            at += 1;
            if !is_identifier(&first.text) {
                continue;
            }
            let mut path = first.text.clone();
            while let [a, b, next, ..] = &self.tokens[at..]
                && a.text == ":"
                && b.text == ":"
                && is_identifier(&next.text)
            {
                path.push_str("::");
                path.push_str(&next.text);
                at += 3;
            }
            paths.push((path, first.line));
        }
        paths
    }

    /// Every name imported by `use`, as its full path, with its line.
    pub(crate) fn imports(&self) -> Vec<(String, usize)> {
        let mut imports = Imports::default();
        imports.visit_file(&self.tree);
        imports.found
    }
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_') && !text.contains(['"', '\''])
}

/// Walks the tokens in order; text between two tokens that is not blank is a comment.
struct TokenReader<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    comments: Vec<Comment>,
    /// The number of bytes read so far.
    position: usize,
    /// The line of `position`.
    line: usize,
}

impl TokenReader<'_> {
    fn read(&mut self, stream: TokenStream) {
        for token in stream {
            match token {
                TokenTree::Group(group) if self.is_comment(group.span()) => {}
                TokenTree::Group(group) => {
                    let (open, close) = brackets(group.delimiter());
                    self.token(open, group.span_open());
                    self.read(group.stream());
                    self.token(close, group.span_close());
                }
                TokenTree::Ident(ident) => self.token(&ident.to_string(), ident.span()),
                TokenTree::Punct(punct) => self.token(&punct.as_char().to_string(), punct.span()),
                TokenTree::Literal(literal) => self.token(&literal.to_string(), literal.span()),
            }
        }
    }

    /// Whether a token is part of a doc comment.
    ///
    /// The parser turns a doc comment into the tokens of `#[doc = "…"]`, each with the span of the whole comment. They are
    /// skipped, so that the comment stays in the gap between tokens.
    fn is_comment(&self, span: Span) -> bool {
        let written = &self.text[span.byte_range()];
        written.starts_with("//") || written.starts_with("/*")
    }

    fn token(&mut self, text: &str, span: Span) {
        if text.is_empty() || self.is_comment(span) {
            return;
        }
        let bytes = span.byte_range();
        self.skip_to(bytes.start);
        self.tokens.push(Token { text: text.to_owned(), line: span.start().line });
        self.line += self.text[bytes.clone()].matches('\n').count();
        self.position = bytes.end;
    }

    fn skip_to(&mut self, end: usize) {
        let gap = &self.text[self.position..end];
        for (offset, line) in gap.split('\n').enumerate() {
            if !line.trim().is_empty() {
                self.comments.push(Comment { text: line.trim().to_owned(), line: self.line + offset });
            }
        }
        self.line += gap.matches('\n').count();
        self.position = end;
    }
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

#[derive(Default)]
struct TestRegions {
    found: Vec<RangeInclusive<usize>>,
}

impl<'ast> Visit<'ast> for TestRegions {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (attributes, end) = match item {
            syn::Item::Mod(item) => match &item.content {
                Some((brace, _)) => (&item.attrs, brace.span.close()),
                None => return,
            },
            syn::Item::Fn(item) => (&item.attrs, item.block.brace_token.span.close()),
            syn::Item::Impl(item) => (&item.attrs, item.brace_token.span.close()),
            _ => return syn::visit::visit_item(self, item),
        };
        match attributes.iter().find(|attribute| is_for_tests(attribute)) {
            Some(attribute) => self.found.push(attribute.pound_token.span.start().line..=end.start().line),
            None => syn::visit::visit_item(self, item),
        }
    }
}

/// Whether an attribute marks test code: `#[cfg(test)]`, `#[test]`, `#[tokio::test]`.
pub(crate) fn is_for_tests(attribute: &syn::Attribute) -> bool {
    if attribute.path().is_ident("cfg") {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let condition = list.tokens.to_string();
        return condition.split(|c: char| !c.is_alphanumeric()).any(|token| token == "test")
            && !condition.contains("not");
    }
    attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
}

#[derive(Default)]
struct Imports {
    found: Vec<(String, usize)>,
}

impl Imports {
    fn walk(&mut self, prefix: &str, tree: &syn::UseTree) {
        let joined = |name: &syn::Ident| {
            if prefix.is_empty() { name.to_string() } else { format!("{prefix}::{name}") }
        };
        let (name, place) = match tree {
            syn::UseTree::Path(path) => return self.walk(&joined(&path.ident), &path.tree),
            syn::UseTree::Group(group) => return group.items.iter().for_each(|item| self.walk(prefix, item)),
            syn::UseTree::Name(name) => (joined(&name.ident), name.ident.span()),
            syn::UseTree::Rename(name) => (joined(&name.ident), name.ident.span()),
            syn::UseTree::Glob(glob) => (format!("{prefix}::*"), glob.star_token.span),
        };
        self.found.push((name, place.start().line));
    }
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.walk("", &item.tree);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> RustSource {
        RustSource::parse("a.rs", text.to_owned()).expect("the text is Rust")
    }

    #[test]
    fn comments_and_blank_lines_are_not_code() {
        let source =
            source("//! Doc.\n\n/// More.\nfn a() { // why\n    /* long\n    comment */\n    b();\n}\n");

        assert_eq!(source.code_lines_in(1..=9), 3);
        let lines: Vec<usize> = source.comments.iter().map(|comment| comment.line).collect();
        assert_eq!(lines, [1, 3, 4, 5, 6]);
    }

    #[test]
    fn a_string_over_three_lines_counts_as_three_lines() {
        assert_eq!(source("const A: &str = \"x\ny // no comment\nz\";\n").code_lines_in(1..=4), 3);
    }

    #[test]
    fn inline_tests_do_not_count_as_code() {
        let source = source("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n");

        assert_eq!(source.code_lines_without_inline_tests(), 1);
        assert!(source.is_test_line(4));
        assert!(!source.is_test_line(1));
    }

    #[test]
    fn code_that_is_compiled_out_of_tests_is_not_a_test() {
        assert!(!source("#[cfg(not(test))]\nmod real {\n    fn b() {}\n}\n").is_test_line(3));
    }

    #[test]
    fn paths_and_imports_are_complete() {
        let source =
            source("use std::{fs, net::{SocketAddr as A, *}};\nfn a() { m!(std::thread::sleep(x)); }\n");

        let imports: Vec<String> = source.imports().into_iter().map(|(path, _)| path).collect();
        assert_eq!(imports, ["std::fs", "std::net::SocketAddr", "std::net::*"]);
        assert!(source.paths().contains(&("std::thread::sleep".to_owned(), 2)));
    }
}
