//! The kinds and versions of documents, each with its form.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use model::nearest;
use model::resource::schema::schema_of;
use model::resource::{Kind, Resource};

use crate::form::{FormError, KindSchema, fit};
use crate::tree::{Content, Node};

/// A kind in one of its versions, and its form.
struct KnownForm {
    kind: Kind,
    api_version: &'static str,
    schema: KindSchema,
}

/// Generated once: generating a schema takes longer than reading a small file.
static FORMS: LazyLock<Vec<KnownForm>> = LazyLock::new(|| {
    let versions = Kind::ALL
        .into_iter()
        .flat_map(|kind| kind.api_versions().iter().map(move |version| (kind, *version)));
    let forms = versions.filter_map(|(kind, api_version)| {
        let schema = KindSchema::new(schema_of(api_version, kind)?);
        Some(KnownForm { kind, api_version, schema })
    });
    forms.collect()
});

/// The resource that `root` declares, or all errors in its form.
pub(crate) fn read(root: &Node) -> Result<Resource, Vec<FormError>> {
    let form = form_of(root)?;
    let value = fit(root, &form.schema)?;
    serde_json::from_value(value).map_err(|error| {
        // The form calls the types where the schema is not sufficient, so this is a rule that the form does not know.
        let text = format!("this {} cannot be read: {error}", form.kind);
        vec![FormError::new(root.heading(), "", text, "")]
    })
}

/// The form that `kind` and `apiVersion` of a document name.
fn form_of(root: &Node) -> Result<&'static KnownForm, Vec<FormError>> {
    let Content::Mapping(_) = &root.content else {
        let text = "a manifest is a mapping with apiVersion, kind, metadata and spec".to_owned();
        return Err(vec![FormError::new(root.heading(), "", text, "")]);
    };
    let kinds = Kind::ALL.map(Kind::as_str);
    let kind = named(root, "kind", &kinds, "is not a kind");
    let version_of = |form: &'static KnownForm| form.api_version;
    let mut all_versions: Vec<&str> = FORMS.iter().map(version_of).collect();
    // Homeostat's own kinds share one version.
    let mut seen = BTreeSet::new();
    all_versions.retain(|version| seen.insert(*version));
    let Ok(kind) = kind else {
        let version = named(root, "apiVersion", &all_versions, "is not a version of any kind");
        return Err([kind.err(), version.err()].into_iter().flatten().collect());
    };
    let of_kind = || FORMS.iter().filter(|form| form.kind.as_str() == kind);
    let versions: Vec<&str> = of_kind().map(version_of).collect();
    let version = named(root, "apiVersion", &versions, &format!("is not a version of {kind}"))
        .map_err(|form_error| vec![form_error])?;
    let mut found = of_kind().filter(|form| form.api_version == version);
    found.next().ok_or_else(|| {
        vec![FormError::new(root.heading(), "", format!("no form of {kind} {version} is known"), "")]
    })
}

/// The text under `key` when it is one of `known`.
fn named<'n>(root: &'n Node, key: &str, known: &[&str], is_no: &str) -> Result<&'n str, FormError> {
    let expected = format!("expected {}{}", if known.len() > 1 { "one of " } else { "" }, known.join(", "));
    let Some(entry) = root.entry(key).filter(|entry| !entry.value.is_null()) else {
        return Err(FormError::new(root.heading(), "", format!("the field {key} is missing"), &expected));
    };
    match &entry.value.content {
        Content::Scalar { text, .. } if known.contains(&text.as_str()) => Ok(text),
        Content::Scalar { text, .. } => {
            let suggestion =
                nearest(text, known.iter().copied()).map(|name| format!("; did you mean {name}?"));
            let text = format!("{text:?} {is_no}{}", suggestion.unwrap_or_default());
            Err(FormError::new(entry.value.span.clone(), key, text, &expected))
        }
        Content::Sequence(_) | Content::Mapping(_) => {
            Err(FormError::new(entry.key_span.clone(), key, "expected a text".to_owned(), &expected))
        }
    }
}
