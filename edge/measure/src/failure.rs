//! Why a measurement could not be made.

use std::time::Duration;

use model::quantity::AmountError;
use model::resource::SERIES_MAX;

use crate::exposition::Malformed;

/// Bytes of an answer that are read: 1,000 series of 4 KiB, or the page of a large exporter.
pub(crate) const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a measurement could not be made: one sentence for people.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody takes a connection.
    #[error("could not connect to {authority}: {why}; is the server up, and the address right?")]
    Connect {
        /// Host and port.
        authority: String,
        /// What the system says.
        why: String,
    },
    /// The server is not who it should be, or does not speak TLS.
    #[error(
        "could not speak TLS with {authority}: {why}; name whom to believe under tls.caFile if it is not the system's"
    )]
    Tls {
        /// Host and port.
        authority: String,
        /// What is wrong.
        why: String,
    },
    /// The system has no trusted authorities.
    #[error(
        "the system has no certificates of authorities: {why}; install ca-certificates, or name a file under tls.caFile"
    )]
    Authorities {
        /// What is wrong.
        why: String,
    },
    /// No whole answer came in time.
    #[error("{what} did not answer within {within:?}; raise the timeout or ask for less")]
    TimedOut {
        /// What was asked.
        what: String,
        /// For how long it was waited.
        within: Duration,
    },
    /// The answer is not of the protocol, or broke off.
    #[error("{url} was not answered: {why}")]
    Broken {
        /// What was asked for.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// The answer is a redirect, which is not followed: it may lead anywhere.
    #[error("{url} redirects to {to:?}, which is not followed; name the address that answers")]
    Redirected {
        /// What was asked for.
        url: String,
        /// Where it leads.
        to: String,
    },
    /// The status says no.
    #[error("{url} answered {status}{why}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
        /// What a server of PromQL says beyond that, after a colon; else empty.
        why: String,
    },
    /// The server says no, in its own words.
    #[error("{authority} refused: {why}")]
    Refused {
        /// Host and port.
        authority: String,
        /// What it says.
        why: String,
    },
    /// The server answers something else than a number.
    #[error("{authority} answered {found}, and one number is meant")]
    Answer {
        /// Host and port.
        authority: String,
        /// What it answers, in short.
        found: String,
    },
    /// A Redis knows the group, and not how far it is behind.
    #[error(
        "{authority} does not tell how many entries wait for the group {group:?}: Redis does so from version 7 on, while the group goes \
         through the stream in order and nothing in its middle is deleted; count the stream without a group"
    )]
    NoLag {
        /// Host and port.
        authority: String,
        /// The group.
        group: String,
    },
    /// The answer is longer than is read.
    #[error("{what} answered more than {ANSWER_BYTES_MAX} bytes, which is as much as is read; ask for less")]
    TooLong {
        /// What was asked.
        what: String,
    },
    /// The answer is no text.
    #[error("{what} answered no UTF-8 text")]
    NoText {
        /// What was asked.
        what: String,
    },
    /// The answer is not JSON of the form that is expected.
    #[error("{url} answered no {expected}{media}: {why}")]
    Json {
        /// What was asked for.
        url: String,
        /// What ought to have come.
        expected: &'static str,
        /// What kind of answer it says it is, in brackets; else empty.
        media: String,
        /// What is wrong.
        why: String,
    },
    /// The server of PromQL has no value of a kind that can be used.
    #[error(
        "the query gives a {found}, and a scalar or an instant vector is meant; see a range to its end by a function such as rate"
    )]
    Shape {
        /// What it gives.
        found: String,
    },
    /// What a query gives over a time is not one series of numbers.
    #[error(
        "the query gives {found}, and one series of numbers is meant; sum what it gives, as sum(rate(NAME[1m]))"
    )]
    Series {
        /// What it gives.
        found: String,
    },
    /// What a query in JSON selects is no number.
    #[error("{url} has no number at {path}: it is {found}")]
    NoNumber {
        /// What was asked for.
        url: String,
        /// The query.
        path: String,
        /// What stands there.
        found: String,
    },
    /// The answer is no text in the form that metrics are written in.
    #[error("{what} answered no metrics as text: {why}")]
    Exposition {
        /// What was asked.
        what: String,
        /// What is wrong, and where.
        why: Malformed,
    },
    /// A value is no amount.
    #[error("the value of {series} cannot be counted on: {why}")]
    Value {
        /// Which series.
        series: String,
        /// What is wrong with it.
        why: AmountError,
    },
    /// There are more series than are looked at.
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
    /// The program said that it failed.
    #[error("{program:?} ended with {status}{said}")]
    Ended {
        /// Which program.
        program: String,
        /// How.
        status: String,
        /// The last line that it wrote to its error output, after a colon; else empty.
        said: String,
    },
    /// A file could not be read, or does not hold what it should; what it holds is never shown.
    #[error("could not read the {what} in {file}: {why}")]
    File {
        /// Which file.
        file: String,
        /// What it is to hold.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A variable of the environment is not there, or holds no text; what it holds is never shown.
    #[error(
        "could not read the password in the variable {name} of the environment: {why}; start homeostat with it"
    )]
    Variable {
        /// Which variable.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The replica does not have the port.
    #[error("it has no such port")]
    NoPort,
}

/// An error with its causes, in one sentence.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |sentence, cause| format!("{sentence}: {cause}"))
}

/// As much of what a server says as fits in a sentence.
pub(crate) fn short(text: &str) -> String {
    const LEN_MAX: usize = 200;
    text.chars().filter(|c| !c.is_control()).take(LEN_MAX).collect()
}
