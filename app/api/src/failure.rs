//! Failed requests: sentence, error code and HTTP status.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::resource::Kind;
use orchestrator::{ApplyError, StateStoreError, Stopped};

use crate::v1;

/// Why a request failed. Each code is documented in docs/errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The resources are invalid, alone or together.
    Invalid,
    /// The resource does not exist.
    NotFound,
    /// Another resource needs it.
    Needed,
    /// It could not be stored.
    NotKept,
    /// Homeostat is stopping.
    Stopping,
    /// The request came from a web page of another origin.
    OtherOrigin,
    /// The request is malformed.
    NotUnderstood,
    /// There are too many concurrent requests.
    TooMany,
    /// There is no decision at that time.
    NothingDecided,
    /// The journal or the history cannot be read.
    Journal,
    /// The log of a replica cannot be read.
    Log,
    /// The request took too long.
    TooSlow,
    /// Events from which a watch would continue are no longer kept.
    EventsGone,
    /// The resource has been changed since the version that the request names.
    Changed,
}

impl Code {
    /// The code, which is also the name of its page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "HS0002",
            Self::NotFound => "HS0003",
            Self::Needed => "HS0004",
            Self::NotKept => "HS0005",
            Self::Stopping => "HS0006",
            Self::OtherOrigin => "HS0007",
            Self::NotUnderstood => "HS0008",
            Self::TooMany => "HS0009",
            Self::NothingDecided => "HS0010",
            Self::Journal => "HS0011",
            Self::Log => "HS0012",
            Self::TooSlow => "HS0013",
            Self::EventsGone => "HS0019",
            Self::Changed => "HS0026",
        }
    }
}

/// The response to a failed request. Nothing has changed, unless the sentence says otherwise.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    body: Box<v1::Failure>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: Code, sentence: impl Into<String>) -> Self {
        let body = v1::Failure { error: sentence.into(), code: code.as_str().into(), problems: Vec::new() };
        Self { status, body: Box::new(body) }
    }

    /// Whether it has this code.
    pub(crate) fn is(&self, code: Code) -> bool {
        self.body.code == code.as_str()
    }

    /// The same with the status of a failed `If-Match`, if that is what failed.
    pub(crate) fn of_if_match(mut self) -> Self {
        if self.is(Code::Changed) {
            self.status = StatusCode::PRECONDITION_FAILED;
        }
        self
    }

    pub(crate) fn with_problems(mut self, problems: Vec<v1::Problem>) -> Self {
        self.body.problems = problems;
        self
    }

    /// The request is malformed.
    pub(crate) fn bad_request(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::NotUnderstood, sentence)
    }

    /// The resource does not exist.
    pub(crate) fn not_found(kind: &str, name: &str) -> Self {
        let sentence = format!("could not find {kind}/{name}; `homeostat get` lists what there is");
        Self::new(StatusCode::NOT_FOUND, Code::NotFound, sentence)
    }

    /// There are too many concurrent requests.
    pub(crate) fn too_many(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::TooMany, sentence)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(*self.body)).into_response()
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        let sentence = format!(
            "could not handle the request: {stopped}; start it again with `homeostat up` once it has ended"
        );
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Stopping, sentence)
    }
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Invalid(ref problems) => {
                let problems = problems.iter().map(|found| v1::Problem {
                    path: found.problem.path.clone(),
                    message: found.problem.text.clone(),
                    line: None,
                    column: None,
                });
                let problems = problems.collect();
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, Code::Invalid, chain(&error))
                    .with_problems(problems)
            }
            ApplyError::NotFound { kind, name } => Self::not_found(short_name(kind), &name),
            ApplyError::Size { .. } | ApplyError::NothingToPause(_) | ApplyError::Protections(_) => {
                Self::bad_request(chain(&error))
            }
            ApplyError::NoSuchReplica(_) => Self::new(StatusCode::NOT_FOUND, Code::NotFound, chain(&error)),
            ApplyError::Changed { .. } => Self::new(StatusCode::CONFLICT, Code::Changed, chain(&error)),
            ApplyError::Needed { .. } => Self::new(StatusCode::CONFLICT, Code::Needed, chain(&error)),
            ApplyError::Store(StateStoreError::TooLong(_)) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, Code::NotKept, chain(&error))
            }
            ApplyError::Store(
                StateStoreError::Read(_)
                | StateStoreError::Write(_)
                | StateStoreError::Newer { .. }
                | StateStoreError::Form { .. }
                | StateStoreError::Overtaken,
            ) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::NotKept, chain(&error)),
            ApplyError::Stopped(stopped) => stopped.into(),
        }
    }
}

/// The name of a kind as the command line takes it.
pub(crate) fn short_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Service => "service",
        Kind::HorizontalPodAutoscaler => "hpa",
        Kind::Route => "route",
        Kind::MetricSource => "metricsource",
    }
}

/// An error and its causes in one line; causes whose text is already included are left out.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let cause_text = next.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        cause = next.source();
    }
    text
}
