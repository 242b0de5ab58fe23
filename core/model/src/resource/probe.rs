//! Startup, readiness and liveness probes.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PortName, Span};

/// Default interval of a probe.
pub const EVERY_DEFAULT: Span = Span::from_secs(1);

/// Default timeout of a probe.
pub const TIMEOUT_DEFAULT: Span = Span::from_secs(1);

/// Default number of failures in a row until a readiness or liveness probe fails.
pub const FAILURES_DEFAULT: NonZeroU32 = NonZeroU32::new(3).expect("3 is not zero");

/// Default number of failures in a row until a startup probe fails: a minute at the default interval, for slow programs.
pub const STARTUP_FAILURES_DEFAULT: NonZeroU32 = NonZeroU32::new(60).expect("60 is not zero");

/// The probes of a service; a probe that is not given always passes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "ProbesForm", into = "ProbesForm")]
pub struct Probes {
    /// Whether the replica has started; the other probes wait for it, and when it fails, the replica is restarted.
    pub startup: Option<Probe>,
    /// Whether the replica may get traffic; while it fails, the replica gets none.
    pub readiness: Option<Probe>,
    /// Whether the replica still works; when it fails, the replica gets no more traffic at once, and is restarted if it still fails after 30 s.
    pub liveness: Option<Probe>,
}

/// One probe, complete with its defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The check that is made.
    pub check: Check,
    /// The time from the start of one check to the start of the next.
    pub every: Span,
    /// How long a check may take.
    pub timeout: Span,
    /// Failed checks in a row until the probe fails.
    pub failures: NonZeroU32,
    /// Passed checks in a row until the probe passes again.
    pub successes: NonZeroU32,
}

/// The check of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// An HTTP GET; passes with a status from 200 to 399.
    Http(HttpCheck),
    /// A TCP connection; passes when it opens.
    Tcp(TcpCheck),
    /// A call of `grpc.health.v1.Health/Check`; passes with SERVING.
    Grpc(GrpcCheck),
    /// A program, run like the service; passes with exit code 0.
    Command(Vec<String>),
}

impl Check {
    /// The port that is named; `None` when none is.
    pub const fn port(&self) -> Option<&PortName> {
        match self {
            Self::Http(http) => http.port.as_ref(),
            Self::Tcp(tcp) => tcp.port.as_ref(),
            Self::Grpc(grpc) => grpc.port.as_ref(),
            Self::Command(_) => None,
        }
    }

    /// Whether the check connects to a port.
    pub const fn needs_port(&self) -> bool {
        match self {
            Self::Http(_) | Self::Tcp(_) | Self::Grpc(_) => true,
            Self::Command(_) => false,
        }
    }
}

/// An HTTP GET.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpCheck {
    /// The path and query to ask for, beginning with `/`.
    #[serde(default = "root_path")]
    #[schemars(regex(pattern = "^/"))]
    pub path: String,
    /// The name of the port. Default: the service's first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
}

/// A TCP connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TcpCheck {
    /// The name of the port. Default: the service's first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
}

/// The health check of gRPC, over HTTP/2 without TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GrpcCheck {
    /// The gRPC service to ask about, such as `shop.v1.Cart`; without it, the server as a whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub service: String,
    /// The name of the port. Default: the service's first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
}

/// Longest name of a gRPC service, in bytes.
pub const GRPC_SERVICE_BYTES_MAX: usize = 253;

fn root_path() -> String {
    "/".to_owned()
}

/// The probes of a service.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ProbesForm {
    /// Whether the replica has started; the other probes wait for it, and when it fails, the replica is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    startup: Option<ProbeForm>,
    /// Whether the replica may get traffic; while it fails, the replica gets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    readiness: Option<ProbeForm>,
    /// Whether the replica still works; when it fails, the replica gets no more traffic at once, and is restarted if it still fails after 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    liveness: Option<ProbeForm>,
}

/// A check of a replica: exactly one of `http`, `tcp`, `grpc` and `command`, and how often it is made.
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

/// The fields of a probe, of which `http`, `tcp`, `grpc` and `command` exclude each other.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("oneOf" = [{"required": ["http"]}, {"required": ["tcp"]}, {"required": ["grpc"]}, {"required": ["command"]}]))]
struct ProbeFields {
    /// Sends an HTTP GET; it passes with a status from 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<HttpCheck>,
    /// Opens a TCP connection; it passes when that succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpCheck>,
    /// Calls the health check of gRPC (`grpc.health.v1`); it passes with SERVING.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grpc: Option<GrpcCheck>,
    /// Runs a program beside the replica, without a shell; it passes with exit code 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    command: Option<Vec<String>>,
    /// The time from the start of one check to the start of the next. 10ms to 1h.
    #[serde(default = "every_default")]
    every: Span,
    /// How long a check may take; one that takes longer has failed. 1ms to 1h.
    #[serde(default = "timeout_default")]
    timeout: Span,
    /// After how many failed checks in a row the probe fails, at least 1. Default: 3, of a startup probe 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failures: Option<NonZeroU32>,
    /// After how many passed checks in a row the probe passes again, at least 1.
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

/// Why the fields of a probe are invalid.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("a probe makes one check: give exactly one of http, tcp, grpc and command")]
    Checks,
    #[error("the command of a probe must name a program")]
    EmptyCommand,
    #[error("the name of a gRPC service has at most {GRPC_SERVICE_BYTES_MAX} bytes, not {bytes}")]
    LongName { bytes: usize },
    #[error("the path of a probe begins with '/', not {path:?}")]
    Path { path: String },
}

impl TryFrom<ProbeFields> for ProbeForm {
    type Error = ProbeError;

    fn try_from(fields: ProbeFields) -> Result<Self, ProbeError> {
        let checks = [
            fields.http.map(Check::Http),
            fields.tcp.map(Check::Tcp),
            fields.grpc.map(Check::Grpc),
            fields.command.map(Check::Command),
        ];
        let mut given = checks.into_iter().flatten();
        let (Some(check), None) = (given.next(), given.next()) else { return Err(ProbeError::Checks) };
        match &check {
            Check::Http(http) if !http.path.starts_with('/') => {
                return Err(ProbeError::Path { path: http.path.clone() });
            }
            Check::Grpc(grpc) if grpc.service.len() > GRPC_SERVICE_BYTES_MAX => {
                return Err(ProbeError::LongName { bytes: grpc.service.len() });
            }
            Check::Command(command) if command.is_empty() => return Err(ProbeError::EmptyCommand),
            Check::Http(_) | Check::Tcp(_) | Check::Grpc(_) | Check::Command(_) => {}
        }
        let ProbeFields { every, timeout, failures, successes, .. } = fields;
        Ok(Self { check, every, timeout, failures, successes })
    }
}

impl From<ProbeForm> for ProbeFields {
    fn from(form: ProbeForm) -> Self {
        let ProbeForm { check, every, timeout, failures, successes } = form;
        let mut fields =
            Self { http: None, tcp: None, grpc: None, command: None, every, timeout, failures, successes };
        match check {
            Check::Http(http) => fields.http = Some(http),
            Check::Tcp(tcp) => fields.tcp = Some(tcp),
            Check::Grpc(grpc) => fields.grpc = Some(grpc),
            Check::Command(command) => fields.command = Some(command),
        }
        fields
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

/// Checks that `value` can be read as one probe; returns why not.
pub(super) fn read(value: &serde_json::Value) -> Result<(), String> {
    super::schema::read::<ProbeForm>(value)
}
