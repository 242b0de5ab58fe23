//! The nodes of a YAML stream, each with its bytes in the text.
//!
//! The parser is granit-parser, which serde-saphyr uses too; here its events become trees. Aliases are expanded and merge
//! keys (`<<`) applied, both within [`NODES_MAX`] and [`DEPTH_MAX`], so that no file needs more memory than a large one without
//! aliases.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput, Tag};

/// The most nodes of one file, with aliases expanded: a file of 4 MiB with a node for each 8 bytes, which is denser than people write.
pub(crate) const NODES_MAX: usize = 512 * 1024;

/// The bytes of a text that count as one more node: [`NODES_MAX`] of them are 32 MiB.
const BYTES_A_NODE: usize = 64;

/// The deepest nesting: over four times that of the deepest field of any kind, which is 10.
pub(crate) const DEPTH_MAX: usize = 48;

/// A node and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its bytes; for an alias those of the alias.
    pub(crate) span: Range<usize>,
    pub(crate) content: Content,
    /// The number of its nodes, including itself, with texts counted by length.
    size: usize,
    /// Its depth in nodes, including itself.
    depth: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A text; plain if it was written without quotes, block mark or tag `!!str`.
    Scalar {
        text: String,
        is_plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) value: Node,
}

/// An error in the YAML, and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) span: Range<usize>,
    pub(crate) text: String,
}

impl Node {
    fn new(span: Range<usize>, content: Content) -> Self {
        let (size, depth) = match &content {
            Content::Scalar { text, .. } => (weight(text), 0),
            Content::Sequence(items) => sums(items.iter()),
            Content::Mapping(entries) => {
                let (size, depth) = sums(entries.iter().map(|entry| &entry.value));
                (size + entries.iter().map(|entry| weight(&entry.key)).sum::<usize>(), depth)
            }
        };
        Self { span, content, size: size + 1, depth: depth + 1 }
    }

    /// Whether nothing was written: an empty document, `key:` without a value, `null` or `~`.
    pub(crate) fn is_null(&self) -> bool {
        match &self.content {
            Content::Scalar { text, is_plain } => *is_plain && crate::scalar::resolve(text).is_null(),
            Content::Sequence(_) | Content::Mapping(_) => false,
        }
    }

    /// The entry of a mapping with this key; `None` for a node that is not a mapping.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            Content::Scalar { .. } | Content::Sequence(_) => None,
        }
    }

    /// The bytes of the node at the dotted `path`, or of its nearest ancestor that was written.
    pub(crate) fn locate(&self, path: &str) -> Range<usize> {
        let (mut node, mut span, mut rest) = (self, self.heading(), path);
        loop {
            let (next, at, left) = match &node.content {
                Content::Scalar { .. } => return span,
                Content::Mapping(entries) => {
                    // Keys may contain dots themselves: the longest match is used.
                    let fits = entries.iter().filter_map(|entry| Some((entry, after_key(rest, &entry.key)?)));
                    let Some((entry, left)) = fits.max_by_key(|(entry, _)| entry.key.len()) else {
                        return span;
                    };
                    let is_leaf =
                        matches!(entry.value.content, Content::Scalar { .. }) && !entry.value.span.is_empty();
                    let at = if is_leaf { entry.value.span.clone() } else { entry.key_span.clone() };
                    (&entry.value, at, left)
                }
                Content::Sequence(items) => {
                    let Some((item, left)) = after_index(rest, items) else { return span };
                    (item, item.heading(), left)
                }
            };
            (node, span, rest) = (next, at, left);
        }
    }

    /// What to underline for this node when it has no key: its first key, or itself.
    pub(crate) fn heading(&self) -> Range<usize> {
        match &self.content {
            Content::Mapping(entries) => {
                entries.first().map_or(self.span.clone(), |entry| entry.key_span.clone())
            }
            Content::Scalar { .. } | Content::Sequence(_) => self.span.clone(),
        }
    }
}

/// How many nodes the length of a text counts as, in addition to the node itself.
const fn weight(text: &str) -> usize {
    text.len() / BYTES_A_NODE
}

fn sums<'n>(children: impl Iterator<Item = &'n Node>) -> (usize, usize) {
    children.fold((0, 0), |(size, depth), child| (size + child.size, depth.max(child.depth)))
}

/// The rest of `path` after `key`; `None` when the path does not begin with it.
fn after_key<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(key)?;
    match rest.as_bytes().first() {
        None | Some(b'[') => Some(rest),
        Some(b'.') => Some(&rest[1..]),
        Some(_) => None,
    }
}

fn after_index<'p, 'n>(path: &'p str, items: &'n [Node]) -> Option<(&'n Node, &'p str)> {
    let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
    Some((items.get(index.parse::<usize>().ok()?)?, rest.strip_prefix('.').unwrap_or(rest)))
}

/// The documents of `text` that are not empty, and all errors.
///
/// After an error the rest of its document is skipped, and the next one is read.
pub(crate) fn compose(text: &str) -> (Vec<Node>, Vec<Malformed>) {
    let mut options = Options::default();
    options.emit_comments = false;
    options.emit_unresolved_aliases = true;
    options.block_nesting_limit = DEPTH_MAX;
    options.flow_nesting_limit = DEPTH_MAX;
    let mut parser = Parser::new_from_str_with_options(text, options);
    let (mut documents, mut malformed) = (Vec::new(), Vec::new());
    let mut nodes_left = NODES_MAX;
    loop {
        let mut composer = Composer::new(nodes_left);
        match composer.document(&mut parser) {
            Ok(None) => return (documents, malformed),
            Ok(Some(root)) => {
                malformed.append(&mut composer.malformed);
                if !root.is_null() {
                    documents.push(root);
                }
            }
            Err(error) => {
                malformed.append(&mut composer.malformed);
                malformed.push(error);
                if malformed.len() > crate::DIAGNOSTICS_MAX
                    || !matches!(parser.proceed_next_document(), Ok(true))
                {
                    return (documents, malformed);
                }
            }
        }
        nodes_left = composer.nodes_left;
        if nodes_left == 0 {
            return (documents, malformed);
        }
    }
}

type Events<'t> = Parser<'t, StrInput<'t>>;

/// A collection that is not complete yet.
struct Open {
    start: usize,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    Sequence(Vec<Node>),
    /// `keys` are those of `entries`, so that finding duplicates is not quadratic.
    Mapping {
        entries: Vec<Entry>,
        keys: BTreeSet<String>,
        key: Option<Node>,
        merged: Vec<Node>,
    },
}

struct Composer {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes_left: usize,
    malformed: Vec<Malformed>,
}

impl Composer {
    const fn new(nodes_left: usize) -> Self {
        Self { open: Vec::new(), anchors: BTreeMap::new(), nodes_left, malformed: Vec::new() }
    }

    /// The root of the next document; `None` at the end of the stream.
    fn document(&mut self, parser: &mut Events<'_>) -> Result<Option<Node>, Malformed> {
        let mut root = None;
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| {
                let at = error.marker().byte_offset().unwrap_or(0);
                Malformed { span: at..at + 1, text: format!("invalid YAML: {}", error.info()) }
            })?;
            let at = bytes(&span);
            let done = match event {
                Event::StreamEnd => return Ok(None),
                Event::DocumentEnd => return Ok(Some(root.unwrap_or_else(|| nothing(at)))),
                Event::StreamStart | Event::DocumentStart(..) | Event::Anchor(..) | Event::Comment(..) => {
                    None
                }
                Event::UnresolvedAlias(name) => {
                    return Err(Malformed {
                        span: at,
                        text: format!("there is no anchor &{name} before this alias"),
                    });
                }
                Event::Alias(id) => Some(self.alias(id, at)?),
                Event::Scalar(text, style, anchor, tag) => {
                    let is_plain = is_plain(style, tag.as_deref(), &at)?;
                    let content = Content::Scalar { text: text.into_owned(), is_plain };
                    Some(self.complete(Node::new(at, content), anchor)?)
                }
                Event::SequenceStart(_, anchor, tag) => {
                    check_tag(tag.as_deref(), "seq", &at)?;
                    self.open.push(Open { start: at.start, anchor, kind: OpenKind::Sequence(Vec::new()) });
                    None
                }
                Event::MappingStart(_, anchor, tag) => {
                    check_tag(tag.as_deref(), "map", &at)?;
                    let (entries, keys, merged) = (Vec::new(), BTreeSet::new(), Vec::new());
                    let kind = OpenKind::Mapping { entries, keys, key: None, merged };
                    self.open.push(Open { start: at.start, anchor, kind });
                    None
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(at.end)?,
                // The parser's enum may grow, but only by events of layout, never by nodes.
                _ => None,
            };
            if let Some(node) = done {
                match self.open.last_mut() {
                    None => root = Some(node),
                    Some(_) => self.attach(node)?,
                }
            }
        }
        Ok(None)
    }

    fn alias(&mut self, id: usize, at: Range<usize>) -> Result<Node, Malformed> {
        let Some(target) = self.anchors.get(&id) else {
            return Err(Malformed {
                span: at,
                text: "this alias refers to a node that contains it".to_owned(),
            });
        };
        if target.depth + self.open.len() > DEPTH_MAX {
            return Err(Malformed {
                span: at,
                text: format!("the node of this alias nests deeper than {DEPTH_MAX}"),
            });
        }
        let size = target.size;
        // Charged before it is copied.
        self.charge(size, &at)?;
        let mut node = self.anchors[&id].clone();
        node.span = at;
        Ok(node)
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<Node, Malformed> {
        self.charge(1, &node.span)?;
        if anchor != 0 {
            // The copy that aliases are made from is charged too.
            self.charge(node.size, &node.span)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn charge(&mut self, nodes: usize, at: &Range<usize>) -> Result<(), Malformed> {
        let Some(left) = self.nodes_left.checked_sub(nodes) else {
            self.nodes_left = 0;
            let text = format!(
                "the file has more than {NODES_MAX} values, with aliases expanded and long texts counted by length; split it"
            );
            return Err(Malformed { span: at.clone(), text });
        };
        self.nodes_left = left;
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<Option<Node>, Malformed> {
        let Some(Open { start, anchor, kind }) = self.open.pop() else { return Ok(None) };
        let content = match kind {
            OpenKind::Sequence(items) => Content::Sequence(items),
            OpenKind::Mapping { mut entries, mut keys, merged, .. } => {
                for node in &merged {
                    self.merge(&mut entries, &mut keys, node)?;
                }
                Content::Mapping(entries)
            }
        };
        self.complete(Node::new(start..end.max(start), content), anchor).map(Some)
    }

    fn attach(&mut self, node: Node) -> Result<(), Malformed> {
        let Some(Open { kind, .. }) = self.open.last_mut() else { return Ok(()) };
        let (entries, keys, key, merged) = match kind {
            OpenKind::Sequence(items) => {
                items.push(node);
                return Ok(());
            }
            OpenKind::Mapping { entries, keys, key, merged } => (entries, keys, key, merged),
        };
        let Some(written) = key.take() else {
            *key = Some(node);
            return Ok(());
        };
        let key_span = written.span;
        let Content::Scalar { text, is_plain } = written.content else {
            return Err(Malformed {
                span: key_span,
                text: "a key is a text, not a list or a mapping".to_owned(),
            });
        };
        if text == "<<" && is_plain {
            merged.push(node);
        } else if !keys.insert(text.clone()) {
            self.malformed.push(Malformed { span: key_span, text: format!("duplicate key {text:?}") });
        } else {
            entries.push(Entry { key: text, key_span, value: node });
        }
        Ok(())
    }

    /// Adds the entries of the mappings under `<<` whose keys do not exist yet.
    ///
    /// Source: <https://yaml.org/type/merge.html>.
    fn merge(
        &mut self,
        entries: &mut Vec<Entry>,
        keys: &mut BTreeSet<String>,
        node: &Node,
    ) -> Result<(), Malformed> {
        match &node.content {
            Content::Mapping(more) => {
                for entry in more {
                    if keys.insert(entry.key.clone()) {
                        self.charge(entry.value.size + weight(&entry.key), &node.span)?;
                        entries.push(entry.clone());
                    }
                }
                Ok(())
            }
            Content::Sequence(items)
                if items.iter().all(|item| matches!(item.content, Content::Mapping(_))) =>
            {
                items.iter().try_for_each(|item| self.merge(entries, keys, item))
            }
            Content::Sequence(_) | Content::Scalar { .. } => {
                let text = "a merge key (<<) takes a mapping or a list of mappings".to_owned();
                Err(Malformed { span: node.span.clone(), text })
            }
        }
    }
}

fn nothing(span: Range<usize>) -> Node {
    Node::new(span, Content::Scalar { text: String::new(), is_plain: true })
}

fn bytes(span: &Span) -> Range<usize> {
    let range = span.byte_range().unwrap_or(0..0);
    range.start..range.end.max(range.start)
}

fn is_plain(style: ScalarStyle, tag: Option<&Tag>, at: &Range<usize>) -> Result<bool, Malformed> {
    match tag {
        None => Ok(style == ScalarStyle::Plain),
        Some(tag) if tag.is_yaml_core_schema_tag("str") => Ok(false),
        Some(tag) => Err(foreign_tag(tag, at)),
    }
}

fn check_tag(tag: Option<&Tag>, core: &str, at: &Range<usize>) -> Result<(), Malformed> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema_tag(core) => Err(foreign_tag(tag, at)),
        Some(_) | None => Ok(()),
    }
}

fn foreign_tag(tag: &Tag, at: &Range<usize>) -> Malformed {
    Malformed { span: at.clone(), text: format!("unsupported tag {}; leave it out", tag.original()) }
}
