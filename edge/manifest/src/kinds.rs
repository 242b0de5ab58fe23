//! The kinds that a document can be of, each in its versions with the form that it has.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use model::nearest;
use model::resource::schema::schema_of;
use model::resource::{Kind, Resource};
use serde_json::Value;

use crate::form::{Misfit, fit};
use crate::tree::{Content, Node};

/// A kind in one of its versions, and its form.
struct KnownForm {
    kind: Kind,
    api_version: &'static str,
    schema: Value,
}

/// Made once: a schema takes longer to make than a small file to read.
static FORMS: LazyLock<Vec<KnownForm>> = LazyLock::new(|| {
    let versions = Kind::ALL
        .into_iter()
        .flat_map(|kind| kind.api_versions().iter().map(move |version| (kind, *version)));
    let forms = versions.filter_map(|(kind, api_version)| {
        schema_of(api_version, kind).map(|schema| KnownForm { kind, api_version, schema })
    });
    forms.collect()
});

/// The resource that `root` declares, or all that is wrong with its form.
pub(crate) fn read(root: &Node) -> Result<Resource, Vec<Misfit>> {
    let form = form_of(root)?;
    let value = fit(root, &form.schema)?;
    serde_json::from_value(value).map_err(|error| {
        // The form asks the types themselves wherever a schema cannot tell, so this is a rule that the form does not know.
        let text = format!("this {} cannot be read: {error}", form.kind);
        vec![Misfit::new(root.heading(), "", text, "")]
    })
}

/// The form that `kind` and `apiVersion` of a document name.
fn form_of(root: &Node) -> Result<&'static KnownForm, Vec<Misfit>> {
    let Content::Mapping(_) = &root.content else {
        let text = "a manifest is a mapping with apiVersion, kind, metadata and spec".to_owned();
        return Err(vec![Misfit::new(root.heading(), "", text, "")]);
    };
    let kinds = Kind::ALL.map(Kind::as_str);
    let kind = named(root, "kind", &kinds, "is no kind");
    let version_of = |form: &'static KnownForm| form.api_version;
    let mut all_versions: Vec<&str> = FORMS.iter().map(version_of).collect();
    // Kinds of our own have the same one.
    let mut seen = BTreeSet::new();
    all_versions.retain(|version| seen.insert(*version));
    let Ok(kind) = kind else {
        let version = named(root, "apiVersion", &all_versions, "is no version of a kind");
        return Err([kind.err(), version.err()].into_iter().flatten().collect());
    };
    let of_kind = || FORMS.iter().filter(|form| form.kind.as_str() == kind);
    let versions: Vec<&str> = of_kind().map(version_of).collect();
    let version = named(root, "apiVersion", &versions, &format!("is no version of {kind}"))
        .map_err(|misfit| vec![misfit])?;
    let mut found = of_kind().filter(|form| form.api_version == version);
    found.next().ok_or_else(|| {
        vec![Misfit::new(root.heading(), "", format!("no form of {kind} {version} is known"), "")]
    })
}

/// The text under `key` when it is one of `known`.
fn named<'n>(root: &'n Node, key: &str, known: &[&str], is_no: &str) -> Result<&'n str, Misfit> {
    let expected = format!("expected {}{}", if known.len() > 1 { "one of " } else { "" }, known.join(", "));
    let Some(entry) = root.entry(key).filter(|entry| !entry.value.is_null()) else {
        return Err(Misfit::new(root.heading(), "", format!("the field {key} is missing"), &expected));
    };
    match &entry.value.content {
        Content::Scalar { text, .. } if known.contains(&text.as_str()) => Ok(text),
        Content::Scalar { text, .. } => {
            let meant = nearest(text, known.iter().copied()).map(|name| format!("; did you mean {name}?"));
            let text = format!("{text:?} {is_no}{}", meant.unwrap_or_default());
            Err(Misfit::new(entry.value.span.clone(), key, text, &expected))
        }
        Content::Sequence(_) | Content::Mapping(_) => {
            Err(Misfit::new(entry.key_span.clone(), key, "expected a text".to_owned(), &expected))
        }
    }
}
