//! Why a measurement could not be made.

use std::time::Duration;

use model::quantity::AmountError;
use model::resource::SERIES_MAX;

use crate::exposition::Malformed;

/// The most bytes of an answer: 1,000 series of 4 KiB, or the page of a large exporter.
pub(crate) const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a measurement could not be made, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The connection could not be opened.
    #[error("could not connect to {authority}: {why}; check that the server runs and the address is right")]
    Connect {
        /// Host and port.
        authority: String,
        /// What the system says.
        why: String,
    },
    /// The server's certificate is not trusted, or the server does not speak TLS.
    #[error(
        "could not speak TLS with {authority}: {why}; if its certificate is from an authority that the system does not trust, name \
         that authority's file under tls.caFile"
    )]
    Tls {
        /// Host and port.
        authority: String,
        /// What is wrong.
        why: String,
    },
    /// The system has no trusted authorities.
    #[error(
        "could not load the system's root certificates: {why}; install ca-certificates, or name a file under tls.caFile"
    )]
    Authorities {
        /// What is wrong.
        why: String,
    },
    /// No complete answer arrived in time.
    #[error("{what} did not answer within {within:?}; raise the timeout or request less")]
    TimedOut {
        /// The target of the request.
        what: String,
        /// The timeout.
        within: Duration,
    },
    /// The answer violates the protocol, or is incomplete.
    #[error("{url} was not answered: {why}")]
    Broken {
        /// The source of the answer.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// The answer is a redirect, which is not followed: it may lead anywhere.
    #[error("{url} redirects to {to:?}, which is not followed; name the address that answers")]
    Redirected {
        /// The source of the answer.
        url: String,
        /// Where it leads.
        to: String,
    },
    /// The status is not a success.
    #[error("{url} answered {status}{why}")]
    Status {
        /// The source of the answer.
        url: String,
        /// The status.
        status: u16,
        /// The error message of a PromQL server, after a colon; else empty.
        why: String,
    },
    /// The server refused, with a message of its own.
    #[error("{authority} refused: {why}")]
    Refused {
        /// Host and port.
        authority: String,
        /// Its message.
        why: String,
    },
    /// The server answered with something other than one number.
    #[error("{authority} answered {found} instead of one number")]
    Answer {
        /// Host and port.
        authority: String,
        /// A short description of the answer.
        found: String,
    },
    /// Redis knows the group, but not its lag.
    #[error(
        "{authority} does not report the lag of the group {group:?}: Redis does so from version 7 on, if the group reads the stream in \
         order and no entry in the middle of the stream was deleted; count the stream without a group"
    )]
    NoLag {
        /// Host and port.
        authority: String,
        /// The group.
        group: String,
    },
    /// The answer is too long.
    #[error(
        "the answer of {what} is longer than {ANSWER_BYTES_MAX} bytes, the most that is read; request less"
    )]
    TooLong {
        /// The target of the request.
        what: String,
    },
    /// The answer is not text.
    #[error("the answer of {what} is not UTF-8 text")]
    NoText {
        /// The target of the request.
        what: String,
    },
    /// The answer is not JSON of the expected form.
    #[error("the answer of {url} is not {expected}{media}: {why}")]
    Json {
        /// The source of the answer.
        url: String,
        /// The expected form.
        expected: &'static str,
        /// The media type of the answer, in brackets; else empty.
        media: String,
        /// What is wrong.
        why: String,
    },
    /// The result of a PromQL query is neither a scalar nor an instant vector.
    #[error(
        "the query gives a {found} instead of a scalar or an instant vector; reduce a range vector by a function such as rate"
    )]
    Shape {
        /// The type of the result.
        found: String,
    },
    /// The result of a range query is not one series of numbers.
    #[error(
        "the query gives {found} instead of one series of numbers; sum the series, as in sum(rate(NAME[1m]))"
    )]
    Series {
        /// A description of the result.
        found: String,
    },
    /// The value that a JSON path selects is not a number.
    #[error("{url} has no number at {path}: it is {found}")]
    NoNumber {
        /// The source of the answer.
        url: String,
        /// The path.
        path: String,
        /// A description of the value.
        found: String,
    },
    /// The answer is not in the exposition format of metrics.
    #[error("the answer of {what} is not in the text format of metrics: {why}")]
    Exposition {
        /// The target of the request.
        what: String,
        /// What is wrong, and where.
        why: Malformed,
    },
    /// A value is not an amount.
    #[error("the value of {series} cannot be used: {why}")]
    Value {
        /// Which series.
        series: String,
        /// What is wrong with it.
        why: AmountError,
    },
    /// There are too many series.
    #[error("there are more than {SERIES_MAX} series; sum them by fewer labels")]
    TooManySeries,
    /// The program could not be run.
    #[error("could not run {program:?}: {why}")]
    NotRun {
        /// Which program.
        program: String,
        /// What the system says.
        why: String,
    },
    /// The program ended with a failure.
    #[error("{program:?} ended with {status}{error_line}")]
    Ended {
        /// Which program.
        program: String,
        /// How.
        status: String,
        /// The last line of its standard error, after a colon; else empty.
        error_line: String,
    },
    /// A file could not be read, or is not what it should be; its content is never shown.
    #[error("could not read the {what} in {file}: {why}")]
    File {
        /// Which file.
        file: String,
        /// What it should contain.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// An environment variable is not set, or is not text; its value is never shown.
    #[error(
        "could not read the password in the environment variable {name}: {why}; start homeostat with it set"
    )]
    Variable {
        /// Which variable.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The replica does not have the port.
    #[error("the replica has no such port")]
    NoPort,
}

/// An error with its causes, in one sentence.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |sentence, cause| format!("{sentence}: {cause}"))
}

/// A message of a server, cut to what fits in a sentence.
pub(crate) fn short(text: &str) -> String {
    const LEN_MAX: usize = 200;
    text.chars().filter(|c| !c.is_control()).take(LEN_MAX).collect()
}
