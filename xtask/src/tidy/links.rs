//! Every relative link in a document leads to a file of the workspace, and its `#anchor` to a heading.

use std::collections::BTreeSet;

use anyhow::Result;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::{Verdict, Violation};
use crate::house::House;
use crate::modules::joined;

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "relative links in documents", violations: Vec::new() };
    for (path, text) in house.texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (link, line) in links(text) {
            let is_elsewhere = link.contains("://") || link.starts_with("mailto:");
            if is_elsewhere || link.is_empty() {
                continue;
            }
            verdict.seen += 1;
            if let Some(sentence) = objection(house, path, &link) {
                verdict.violations.push(Violation::at(path, line, sentence));
            }
        }
    }
    Ok(verdict)
}

fn objection(house: &House, path: &str, link: &str) -> Option<String> {
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let target = if file.is_empty() { path.to_owned() } else { joined(folder, file) };
    let is_folder = house
        .paths
        .range(format!("{target}/")..)
        .next()
        .is_some_and(|next| next.starts_with(&format!("{target}/")));
    if !house.paths.contains(&target) && !is_folder {
        return Some(format!("the link `{link}` leads nowhere: there is no {target}"));
    }
    let headings = anchors(house.texts.get(&target).filter(|_| target.ends_with(".md"))?);
    let anchor = anchor.filter(|anchor| !headings.contains(*anchor))?;
    Some(format!("the link `{link}` leads to no heading: {target} has no #{anchor}"))
}

/// Targets of links and images with the line they stand on; code blocks hold no links.
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

/// The anchors that a forge gives to headings: lower case, spaces to hyphens, punctuation dropped.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(words) | Event::Code(words) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&words);
                }
            }
            Event::End(TagEnd::Heading(_)) => found.extend(heading.take().map(|heading| slug(&heading))),
            _ => {}
        }
    }
    found
}

fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings;

    #[test]
    fn a_broken_link_is_caught() {
        let text = "# One\n\n[a](b.md) [b](../README.md#start-here) [c](missing.md) [d](b.md#none) [e](#one)\n\
                    [f](https://example.org) [g](../docs) `[h](no.md)`\n\n```text\n[i](no.md)\n```\n";
        let house = House::planted(&[
            ("docs/a.md", text),
            ("docs/b.md", "# `B` it is\n"),
            ("README.md", "## Start here!\n"),
        ]);

        let found = findings(check, &house);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0], "docs/a.md:3: the link `missing.md` leads nowhere: there is no docs/missing.md");
        assert!(found[1].ends_with("docs/b.md has no #none"));
    }
}
