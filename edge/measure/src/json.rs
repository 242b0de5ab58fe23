//! Numbers in a JSON document.

use model::measure::Labels;
use model::resource::HttpOrigin;
use serde_json::Value;
use serde_json_path::JsonPath;

use crate::failure::Failure;
use crate::page::{Page, PageRequest, get, uri};

pub(crate) async fn query(origin: &HttpOrigin) -> Result<Vec<(Labels, f64)>, Failure> {
    let url = origin.url.as_str();
    let path = JsonPath::parse(origin.value.as_str())
        .map_err(|error| Failure::Broken { url: url.to_owned(), why: error.to_string() })?;
    let (tls, token_file) = (origin.tls.as_ref(), origin.bearer_token_file.as_deref());
    let page =
        get(PageRequest { uri: uri(url)?, tls, accept: "application/json", token_file }).await?.good()?;
    read(&page, &path, origin.value.as_str())
}

fn read(page: &Page, path: &JsonPath, written: &str) -> Result<Vec<(Labels, f64)>, Failure> {
    let json: Value = serde_json::from_slice(&page.body).map_err(|error| Failure::Json {
        url: page.url.clone(),
        expected: "JSON",
        media: page.media_in_brackets(),
        why: error.to_string(),
    })?;
    let number = |value: &Value| {
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        number.map(|number| (Labels::new(), number)).ok_or_else(|| Failure::NoNumber {
            url: page.url.clone(),
            path: written.to_owned(),
            found: shown(value),
        })
    };
    path.query(&json).iter().map(|value| number(value)).collect()
}

/// A short description of a value, for error messages.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
