//! Requests that are not answered as asked: the sentence, the code, the status.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::resource::Kind;
use orchestrator::{ApplyError, StateStoreError, Stopped};

use crate::v1;

/// Why a request failed, for those who try to do better; each has its page in docs/errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The resources contradict themselves or each other.
    Invalid,
    /// There is no such thing.
    NotFound,
    /// Something needs it.
    Needed,
    /// The store did not take it.
    NotKept,
    /// Homeostat is stopping.
    Stopping,
    /// It came from a web page of another origin.
    OtherOrigin,
    /// It cannot be understood.
    NotUnderstood,
    /// Too many ask at once.
    TooMany,
    /// Nothing was decided at that time.
    NothingDecided,
    /// What was recorded cannot be read.
    Journal,
    /// The log cannot be read.
    Log,
    /// It took too long.
    TooSlow,
}

impl Code {
    /// The name of its page.
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
        }
    }
}

/// An answer that is not what was asked for. Nothing has changed, unless the sentence says otherwise.
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

    /// Whether it fails for this reason.
    pub(crate) fn is(&self, code: Code) -> bool {
        self.body.code == code.as_str()
    }

    pub(crate) fn with_problems(mut self, problems: Vec<v1::Problem>) -> Self {
        self.body.problems = problems;
        self
    }

    /// The request cannot be understood.
    pub(crate) fn bad_request(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::NotUnderstood, sentence)
    }

    /// There is no such resource.
    pub(crate) fn not_found(kind: &str, name: &str) -> Self {
        let sentence = format!("could not find {kind}/{name}; `homeostat get` lists what there is");
        Self::new(StatusCode::NOT_FOUND, Code::NotFound, sentence)
    }

    /// Too many ask at once.
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
        let sentence =
            format!("could not ask the control loop: {stopped}; start it again with `homeostat up`");
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

/// An error and its causes in one line; a cause that repeats what stands before it is left out.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = next.source();
    }
    text
}
