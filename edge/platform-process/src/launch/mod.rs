//! From a declaration to an executing program.

mod child;
mod ports;
mod program;
mod user;
mod variables;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use model::action::FailureKind;
use model::identity::ReplicaId;
use model::resource::{PortName, Run};
use serde::{Deserialize, Serialize};

use crate::failure::{Cause, kind_of};
use crate::process_table::{LIFE_VARIABLE, REPLICA_VARIABLE};
use crate::settings::Settings;

pub(crate) use ports::{PortAllocator, ReservedPorts, Siblings};
use program::ProgramError;
use user::{Account, AccountError};
use variables::TooLong;

/// Held from the release of reserved ports until the program that uses them is executing.
static FORKING: Mutex<()> = Mutex::new(());

/// Why a program does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Variables(#[from] TooLong),
    #[error("the working directory {path} does not exist; create it, or correct run.workingDirectory")]
    NoFolder { path: PathBuf },
    #[error("the working directory {path} is not a folder; correct run.workingDirectory")]
    NotAFolder { path: PathBuf },
    #[error("the working directory {path} cannot be entered ({source}); check its permissions")]
    FolderUnreachable { path: PathBuf, source: io::Error },
    #[error("the program {path} could not be executed ({source}); {hint}")]
    Exec { path: PathBuf, source: io::Error, hint: &'static str },
}

impl LaunchError {
    /// The error of the system, if it is the cause.
    pub(crate) fn system_error(&self) -> Option<&io::Error> {
        match self {
            Self::Exec { source, .. } | Self::FolderUnreachable { source, .. } => Some(source),
            Self::Program(_)
            | Self::Account(_)
            | Self::Variables(_)
            | Self::NoFolder { .. }
            | Self::NotAFolder { .. } => None,
        }
    }

    /// The kind of failure, which says whether a retry can help.
    fn kind(&self) -> FailureKind {
        match self {
            Self::Program(_)
            | Self::Variables(_)
            | Self::NoFolder { .. }
            | Self::NotAFolder { .. }
            | Self::FolderUnreachable { .. } => FailureKind::Declaration,
            Self::Account(AccountError::Lookup { .. }) => FailureKind::Other,
            Self::Account(AccountError::Unknown { .. } | AccountError::NotPermitted { .. }) => {
                FailureKind::Declaration
            }
            Self::Exec { source, .. } => match source.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::ArgumentListTooLong
                | io::ErrorKind::NotADirectory => FailureKind::Declaration,
                _ if source.raw_os_error() == Some(libc::ENOEXEC) => FailureKind::Declaration,
                _ => kind_of(source),
            },
        }
    }
}

impl From<LaunchError> for Cause {
    fn from(error: LaunchError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// The context of every program of a life: the replica's own, and those that run beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExecContext {
    variables: BTreeMap<String, String>,
    folder: PathBuf,
    uid: u32,
    gid: u32,
}

/// Where a program's output goes.
#[derive(Debug)]
pub(crate) enum Output {
    Log(File),
    Nowhere,
}

impl ExecContext {
    /// The context that `run` declares, checked as far as possible before the program runs.
    pub(crate) fn of(
        run: &Run,
        replica: &ReplicaId,
        token: &str,
        ports: &BTreeMap<PortName, u16>,
        settings: &Settings,
    ) -> Result<Self, LaunchError> {
        let account = run.user.as_deref().map_or_else(|| Ok(Account::own()), Account::find)?;
        let folder = match &run.working_directory {
            Some(folder) => settings.base.join(folder),
            None => settings.base.clone(),
        };
        check_folder(&folder)?;
        let mut given: BTreeMap<String, String> = [
            ("PATH", settings.path.clone()),
            ("HOME", account.home.display().to_string()),
            ("LANG", "C.UTF-8".to_owned()),
            ("HOMEOSTAT_SERVICE", replica.service.to_string()),
            (REPLICA_VARIABLE, replica.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        given.extend(ports.iter().map(|(name, number)| (name.variable(), number.to_string())));
        let mut variables = variables::declare(given, &run.env)?;
        // Last, so that no declaration can override it: processes are found by it.
        variables.insert(LIFE_VARIABLE.to_owned(), token.to_owned());
        Ok(Self { variables, folder, uid: account.uid, gid: account.gid })
    }

    /// Runs a program in a session of its own within this context; returns when it is executing.
    ///
    /// `ports` are reserved for the program until just before it starts.
    pub(crate) fn execute(
        &self,
        command: &[String],
        procs_files: Vec<File>,
        output: Output,
        ports: Option<ReservedPorts>,
    ) -> Result<Child, LaunchError> {
        let arguments: Vec<String> =
            command.iter().map(|part| variables::expand(part, &self.variables)).collect::<Result<_, _>>()?;
        let (name, arguments) = arguments.split_first().ok_or(ProgramError::Empty)?;
        let search = self.variables.get("PATH").map_or("", String::as_str);
        let path = program::find(name, &self.folder, search)?;
        let mut program = Command::new(&path);
        program
            .arg0(name)
            .args(arguments)
            .env_clear()
            .envs(&self.variables)
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        match output {
            Output::Log(file) => {
                let again = file.try_clone().map_err(|source| exec_error(&path, source))?;
                program.stdout(file).stderr(again);
            }
            Output::Nowhere => {
                program.stdout(Stdio::null()).stderr(Stdio::null());
            }
        }
        if self.uid != rustix::process::geteuid().as_raw() {
            // With the uid, the standard library drops all supplementary groups if this process runs as root.
            program.gid(self.gid).uid(self.uid);
        }
        child::isolate(&mut program, procs_files);
        // A child between fork and exec still has copies of the sockets of all reserved ports. So only one is forked at a time: no port
        // that is released here is still held there. When `spawn` returns, the program is executing and the copies are closed.
        let _one_at_a_time = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
        drop(ports);
        program.spawn().map_err(|source| exec_error(&path, source))
    }
}

fn exec_error(path: &Path, source: io::Error) -> LaunchError {
    let hint = match source.kind() {
        io::ErrorKind::NotFound => "its interpreter, the first line of a script or the loader, is missing",
        io::ErrorKind::PermissionDenied => "check whether its user may execute it and enter its folder",
        io::ErrorKind::InvalidInput => "arguments and variables may not contain a NUL character",
        io::ErrorKind::ArgumentListTooLong => "its arguments and variables are too long",
        _ if source.raw_os_error() == Some(libc::ENOEXEC) => {
            "it is not a program for this machine; a script needs a first line such as #!/bin/sh"
        }
        _ => "check the limits of this machine for processes and memory",
    };
    LaunchError::Exec { path: path.to_owned(), source, hint }
}

fn check_folder(path: &Path) -> Result<(), LaunchError> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(LaunchError::NotAFolder { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(LaunchError::NoFolder { path: path.to_owned() })
        }
        Err(source) => Err(LaunchError::FolderUnreachable { path: path.to_owned(), source }),
    }
}
