//! Every relative link in a document points to a file of the workspace, and its `#anchor` to a heading.

use std::collections::BTreeSet;

use anyhow::Result;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::{Verdict, Violation};
use crate::modules::joined;
use crate::workspace::Workspace;

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "relative links in documents", violations: Vec::new() };
    for (path, text) in workspace.texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (link, line) in links(text) {
            let is_external = link.contains("://") || link.starts_with("mailto:");
            if is_external || link.is_empty() {
                continue;
            }
            verdict.seen += 1;
            if let Some(sentence) = objection(workspace, path, &link) {
                verdict.violations.push(Violation::at(path, line, sentence));
            }
        }
    }
    Ok(verdict)
}

fn objection(workspace: &Workspace, path: &str, link: &str) -> Option<String> {
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let target = if file.is_empty() { path.to_owned() } else { joined(folder, file) };
    let is_folder = workspace
        .paths
        .range(format!("{target}/")..)
        .next()
        .is_some_and(|next| next.starts_with(&format!("{target}/")));
    if !workspace.paths.contains(&target) && !is_folder {
        return Some(format!("the link `{link}` is broken: there is no {target}"));
    }
    let headings = anchors(workspace.texts.get(&target).filter(|_| target.ends_with(".md"))?);
    let anchor = anchor.filter(|anchor| !headings.contains(*anchor))?;
    Some(format!("the anchor of the link `{link}` is broken: {target} has no #{anchor}"))
}

/// Targets of links and images with their lines; code blocks have no links.
fn links(text: &str) -> Vec<(String, usize)> {
    let events = Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter();
    let line_of = |at: usize| text[..at].matches('\n').count() + 1;
    let targets = events.filter_map(|(event, place)| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            Some((dest_url.into_string(), line_of(place.start)))
        }
        _ => None,
    });
    targets.collect()
}

/// The anchors of headings, as GitHub generates them: lower case, hyphens for spaces, no punctuation.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => found.extend(heading.take().map(|heading| slug(&heading))),
            _ => {}
        }
    }
    found
}

fn slug(heading: &str) -> String {
    let characters = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    characters.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn a_broken_link_is_caught() {
        let text = "# One\n\n[a](b.md) [b](../README.md#start-here) [c](missing.md) [d](b.md#none) [e](#one)\n\
                    [f](https://example.org) [g](../docs) `[h](no.md)`\n\n```text\n[i](no.md)\n```\n";
        let workspace = Workspace::from_files(&[
            ("docs/a.md", text),
            ("docs/b.md", "# `B` it is\n"),
            ("README.md", "## Start here!\n"),
        ]);

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0], "docs/a.md:3: the link `missing.md` is broken: there is no docs/missing.md");
        assert!(found[1].ends_with("docs/b.md has no #none"));
    }
}
