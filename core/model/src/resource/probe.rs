//! Questions to a replica: has it begun, may it get traffic, must it be restarted.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PortName, Span};

/// How often a probe asks when nothing is said.
pub const EVERY_DEFAULT: Span = Span::from_secs(1);

/// How long a probe waits for its answer when nothing is said.
pub const TIMEOUT_DEFAULT: Span = Span::from_secs(1);

/// Failures in a row until a readiness or liveness probe takes effect when nothing is said.
pub const FAILURES_DEFAULT: NonZeroU32 = NonZeroU32::new(3).expect("3 is not zero");

/// Failures in a row until a startup probe gives up when nothing is said: a minute at the default pace, for slow starters.
pub const STARTUP_FAILURES_DEFAULT: NonZeroU32 = NonZeroU32::new(60).expect("60 is not zero");

/// The probes of a service; one that is not given always says yes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "ProbesForm", into = "ProbesForm")]
pub struct Probes {
    /// Has it begun; the other probes wait for it, and its failure restarts the replica.
    pub startup: Option<Probe>,
    /// May it get traffic.
    pub readiness: Option<Probe>,
    /// Must it be restarted.
    pub liveness: Option<Probe>,
}

/// One probe, complete with its defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub check: Check,
    /// From the start of one question to the start of the next.
    pub every: Span,
    /// How long an answer may take.
    pub timeout: Span,
    /// Failures in a row until the answer is no.
    pub failures: NonZeroU32,
    /// Successes in a row until the answer is yes.
    pub successes: NonZeroU32,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// A GET whose answer has a status from 200 to 399.
    Http(HttpCheck),
    /// A TCP connection that opens.
    Tcp(TcpCheck),
    /// A program, run as the service runs, that exits with 0.
    Command(Vec<String>),
}

impl Check {
    /// The port that is asked, when one is named.
    pub const fn port(&self) -> Option<&PortName> {
        match self {
            Self::Http(http) => http.port.as_ref(),
            Self::Tcp(tcp) => tcp.port.as_ref(),
            Self::Command(_) => None,
        }
    }

    /// Whether the question goes to a port at all.
    pub const fn needs_port(&self) -> bool {
        match self {
            Self::Http(_) | Self::Tcp(_) => true,
            Self::Command(_) => false,
        }
    }
}

/// An HTTP GET.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpCheck {
    /// Path and query, beginning with `/`.
    #[serde(default = "root_path")]
    #[schemars(regex(pattern = "^/"))]
    pub path: String,
    /// Name of the port. Default: the service's first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
}

/// A TCP connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TcpCheck {
    /// Name of the port. Default: the service's first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
}

fn root_path() -> String {
    "/".to_owned()
}

/// When a service's replicas have begun, may get traffic, must be restarted.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ProbesForm {
    /// Has the replica begun; the other probes wait for it, and its failure restarts the replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    startup: Option<ProbeForm>,
    /// May the replica get traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    readiness: Option<ProbeForm>,
    /// Must the replica be restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    liveness: Option<ProbeForm>,
}

/// A question to a replica: exactly one of `http`, `tcp` and `command`, and its pace.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "ProbeFields", into = "ProbeFields")]
#[schemars(rename = "Probe")]
struct ProbeForm {
    check: Check,
    every: Span,
    timeout: Span,
    failures: Option<NonZeroU32>,
    successes: NonZeroU32,
}

/// The fields of a probe, of which `http`, `tcp` and `command` exclude each other.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("oneOf" = [{"required": ["http"]}, {"required": ["tcp"]}, {"required": ["command"]}]))]
struct ProbeFields {
    /// Asks by an HTTP GET; a status from 200 to 399 is a yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<HttpCheck>,
    /// Asks by opening a TCP connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpCheck>,
    /// Asks by running a program beside the replica; exit code 0 is a yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    command: Option<Vec<String>>,
    /// From the start of one question to the start of the next. 10ms to 1h.
    #[serde(default = "every_default")]
    every: Span,
    /// How long an answer may take. 1ms to 1h.
    #[serde(default = "timeout_default")]
    timeout: Span,
    /// Failures in a row until the answer is no. Default: 3, of a startup probe 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failures: Option<NonZeroU32>,
    /// Successes in a row until the answer is yes.
    #[serde(default = "successes_default")]
    successes: NonZeroU32,
}

const fn every_default() -> Span {
    EVERY_DEFAULT
}

const fn timeout_default() -> Span {
    TIMEOUT_DEFAULT
}

const fn successes_default() -> NonZeroU32 {
    NonZeroU32::MIN
}

/// Why the fields of a probe are no probe.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("a probe asks in one way: give exactly one of http, tcp and command")]
    Checks,
    #[error("the command of a probe names a program")]
    EmptyCommand,
    #[error("the path of a probe begins with '/', not {path:?}")]
    Path { path: String },
}

impl TryFrom<ProbeFields> for ProbeForm {
    type Error = ProbeError;

    fn try_from(fields: ProbeFields) -> Result<Self, ProbeError> {
        let check = match (fields.http, fields.tcp, fields.command) {
            (Some(http), None, None) if http.path.starts_with('/') => Check::Http(http),
            (Some(http), None, None) => return Err(ProbeError::Path { path: http.path }),
            (None, Some(tcp), None) => Check::Tcp(tcp),
            (None, None, Some(command)) if command.is_empty() => return Err(ProbeError::EmptyCommand),
            (None, None, Some(command)) => Check::Command(command),
            (None, None, None) | (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                return Err(ProbeError::Checks);
            }
        };
        let ProbeFields { every, timeout, failures, successes, .. } = fields;
        Ok(Self { check, every, timeout, failures, successes })
    }
}

impl From<ProbeForm> for ProbeFields {
    fn from(form: ProbeForm) -> Self {
        let ProbeForm { check, every, timeout, failures, successes } = form;
        let (http, tcp, command) = match check {
            Check::Http(http) => (Some(http), None, None),
            Check::Tcp(tcp) => (None, Some(tcp), None),
            Check::Command(command) => (None, None, Some(command)),
        };
        Self { http, tcp, command, every, timeout, failures, successes }
    }
}

impl ProbeForm {
    fn complete(self, failures: NonZeroU32) -> Probe {
        let Self { check, every, timeout, successes, .. } = self;
        Probe { check, every, timeout, failures: self.failures.unwrap_or(failures), successes }
    }
}

impl From<Probe> for ProbeForm {
    fn from(probe: Probe) -> Self {
        let Probe { check, every, timeout, failures, successes } = probe;
        Self { check, every, timeout, failures: Some(failures), successes }
    }
}

impl From<ProbesForm> for Probes {
    fn from(form: ProbesForm) -> Self {
        Self {
            startup: form.startup.map(|probe| probe.complete(STARTUP_FAILURES_DEFAULT)),
            readiness: form.readiness.map(|probe| probe.complete(FAILURES_DEFAULT)),
            liveness: form.liveness.map(|probe| probe.complete(FAILURES_DEFAULT)),
        }
    }
}

impl From<Probes> for ProbesForm {
    fn from(probes: Probes) -> Self {
        Self {
            startup: probes.startup.map(ProbeForm::from),
            readiness: probes.readiness.map(ProbeForm::from),
            liveness: probes.liveness.map(ProbeForm::from),
        }
    }
}

/// Whether `value` can be read as one probe; why not, if not.
pub(super) fn read(value: &serde_json::Value) -> Result<(), String> {
    super::schema::read::<ProbeForm>(value)
}
