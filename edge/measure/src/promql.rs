//! Servers that answer PromQL. Source: Prometheus' HTTP API, "Instant queries".

use std::sync::Arc;

use hyper::Uri;
use hyper::http::uri::InvalidUri;
use model::measure::Labels;
use model::resource::{PrometheusOrigin, Span};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::failure::{Failure, short};
use crate::page::{Page, PageRequest, get};

/// The answer of a server.
#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Answer {
    Success { data: Value },
    Error { error: String },
}

/// The value of an expression.
#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Value {
    Scalar(Point),
    Vector(Vec<Labelled>),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

/// A time in seconds, and a number as text.
#[derive(Deserialize)]
struct Point(serde::de::IgnoredAny, String);

#[derive(Deserialize)]
struct Labelled {
    metric: Labels,
    // A histogram has none.
    value: Option<Point>,
}

pub(crate) async fn query(origin: &PrometheusOrigin, timeout: Span) -> Result<Vec<(Labels, f64)>, Failure> {
    values(&answer(origin, uri(origin.url.as_str(), &origin.query, timeout)).await?)
}

/// The answer of a server to a query, if it is a good one.
pub(crate) async fn answer(origin: &PrometheusOrigin, uri: Result<Uri, InvalidUri>) -> Result<Page, Failure> {
    let uri = uri.map_err(|error| Failure::Broken { url: origin.url.to_string(), why: error.to_string() })?;
    let (tls, token_file) = (origin.tls.as_ref(), origin.bearer_token_file.as_deref());
    let page = get(PageRequest { uri, tls, accept: "application/json", token_file }).await?;
    if page.status.is_success() { Ok(page) } else { Err(refusal(page)) }
}

/// Why a server did not answer, with its own message if it gives one.
fn refusal(page: Page) -> Failure {
    let why = match serde_json::from_slice(&page.body) {
        Ok(Answer::Error { error }) => format!(": {}", short(&error)),
        Ok(Answer::Success { .. }) | Err(_) => String::new(),
    };
    Failure::Status { url: page.url, status: page.status.as_u16(), why }
}

fn uri(base: &str, query: &str, timeout: Span) -> Result<Uri, InvalidUri> {
    let base = base.trim_end_matches('/');
    let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
    format!("{base}/api/v1/query?query={query}&timeout={}ms", timeout.as_millis()).parse()
}

fn values(page: &Page) -> Result<Vec<(Labels, f64)>, Failure> {
    read(&page.body).map_err(|failure| match failure {
        Unreadable::Json(error) => Failure::Json {
            url: page.url.clone(),
            expected: "a query result",
            media: page.media_in_brackets(),
            why: error.to_string(),
        },
        Unreadable::Refused(why) => {
            Failure::Status { url: page.url.clone(), status: page.status.as_u16(), why: format!(": {why}") }
        }
        Unreadable::Shape(found) => Failure::Shape { found: found.to_owned() },
        Unreadable::Number(text) => Failure::NoNumber {
            url: page.url.clone(),
            path: "a value of the result".to_owned(),
            found: format!("the text {text:?}"),
        },
    })
}

/// Why an answer has no values.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not an answer of a PromQL server.
    #[error("it is not an answer of a PromQL server")]
    Json(#[from] serde_json::Error),
    /// The server refused, with a message.
    #[error("the server refused: {0}")]
    Refused(String),
    /// The result has no value for one time.
    #[error("the result is a {0}")]
    Shape(&'static str),
    /// A value is not a number.
    #[error("{0:?} is not a number")]
    Number(String),
}

/// The series of an answer, with `NaN` and infinities as the server gives them.
pub fn read(body: &[u8]) -> Result<Vec<(Labels, f64)>, Unreadable> {
    let number = |Point(_, text): Point| text.parse().map_err(|_| Unreadable::Number(short(&text)));
    match serde_json::from_slice(body)? {
        Answer::Error { error } => Err(Unreadable::Refused(short(&error))),
        Answer::Success { data: Value::Scalar(point) } => Ok(vec![(Labels::new(), number(point)?)]),
        Answer::Success { data: Value::Vector(series) } => series
            .into_iter()
            .map(|Labelled { mut metric, value }| {
                metric.remove(&Arc::from("__name__"));
                Ok((metric, number(value.ok_or(Unreadable::Shape("histogram"))?)?))
            })
            .collect(),
        Answer::Success { data: Value::Matrix(_) } => Err(Unreadable::Shape("range vector")),
        Answer::Success { data: Value::String(_) } => Err(Unreadable::Shape("string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_query_is_percent_encoded() {
        let uri = uri("http://a:9090/x/", "sum(q{a=\"b c\"}) + 1", Span::from_secs(5)).unwrap();
        assert_eq!(
            uri.to_string(),
            "http://a:9090/x/api/v1/query?query=sum%28q%7Ba%3D%22b%20c%22%7D%29%20%2B%201&timeout=5000ms"
        );
    }

    #[test]
    fn only_scalars_and_instant_vectors_have_values() {
        let read = |data: &str| read(format!(r#"{{"status":"success","data":{data}}}"#).as_bytes());
        let scalar = read(r#"{"resultType":"scalar","result":[1700000000.5,"12.5"]}"#).unwrap();
        assert_eq!(scalar, [(Labels::new(), 12.5)]);
        let vector = read(
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"q","queue":"mail"},"value":[1,"3"]}]}"#,
        );
        assert_eq!(vector.unwrap(), [(Labels::from([("queue".into(), "mail".into())]), 3.0)]);
        assert_eq!(read(r#"{"resultType":"vector","result":[]}"#).unwrap(), []);
        assert!(matches!(
            read(r#"{"resultType":"matrix","result":[]}"#),
            Err(Unreadable::Shape("range vector"))
        ));
        assert!(matches!(
            read(r#"{"resultType":"scalar","result":[1,"twelve"]}"#),
            Err(Unreadable::Number(text)) if text == "twelve"
        ));
        let histogram = r#"{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}"#;
        assert!(matches!(read(histogram), Err(Unreadable::Shape("histogram"))));
    }

    #[test]
    fn an_error_has_the_message_of_the_server() {
        let body = br#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected end"}"#;
        let refused = super::read(body).unwrap_err();
        assert_eq!(refused.to_string(), "the server refused: parse error: unexpected end");
        assert!(matches!(super::read(b"<html>"), Err(Unreadable::Json(_))));
    }
}
