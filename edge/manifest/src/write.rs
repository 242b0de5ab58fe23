//! Writes resources as text.

use model::resource::Resource;

/// Why a resource could not be written; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The YAML writer refused.
    #[error("could not write {resource} as YAML")]
    Yaml {
        /// Kind and name.
        resource: String,
        /// Its error.
        source: serde_saphyr::SerializeError,
    },
    /// The JSON writer refused.
    #[error("could not write {resource} as JSON")]
    Json {
        /// Kind and name.
        resource: String,
        /// Its error.
        source: serde_json::Error,
    },
}

/// One YAML document without a `---` before it. Reading it gives an equal resource.
pub fn to_yaml(resource: &Resource) -> Result<String, WriteError> {
    serde_saphyr::to_string(resource).map_err(|source| WriteError::Yaml { resource: title(resource), source })
}

/// Several YAML documents, `---` between them.
pub fn to_yaml_stream<'r>(resources: impl IntoIterator<Item = &'r Resource>) -> Result<String, WriteError> {
    let documents: Vec<String> = resources.into_iter().map(to_yaml).collect::<Result<_, _>>()?;
    Ok(documents.join("---\n"))
}

/// One JSON object over several lines. Reading it gives an equal resource.
pub fn to_json(resource: &Resource) -> Result<String, WriteError> {
    match serde_json::to_string_pretty(resource) {
        Ok(text) => Ok(escape_unprintable(&text)),
        Err(source) => Err(WriteError::Json { resource: title(resource), source }),
    }
}

/// JSON strings may have characters that YAML parsers refuse; escaped, both accept them.
///
/// Source: YAML 1.2.2 section 5.1, `c-printable`.
fn escape_unprintable(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            printable => text.push(printable),
        }
    }
    text
}

fn title(resource: &Resource) -> String {
    format!("{} {}", resource.kind(), resource.name())
}
