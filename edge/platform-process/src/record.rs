//! The records of replicas, by which the next run finds them.
//!
//! `replicas/SERVICE/ORDINAL.json` is the last life of a place; `replicas/intents/TOKEN.json` is a start that has not
//! been acknowledged. The intent is written before the process starts, and removed after the record was written. So after a crash at
//! any point each process is found: by its record, or by the token in its environment.
//!
//! Records are not synced to the disk: a crash of the machine ends their processes, too. The boot id in each record shows after a reboot
//! that its process is gone, and a file that such a crash left empty is ignored.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::identity::{ActionId, Epoch, Generation, Incarnation, Ordinal, ReplicaId};
use model::input::{Exit, ExitStatus};
use model::name::ServiceName;
use model::resource::{PortName, Resources, Signal};
use model::time::Wall;
use os::{Durability, WriteError, write_atomically};
use platform::{Life, LifeState};
use serde::{Deserialize, Serialize};

use crate::cgroup::Cell;
use crate::launch::ExecContext;
use crate::process_table::ProcessIdentity;

/// The format version that this code writes.
const VERSION: u32 = 1;

/// The largest record that is read, in bytes: an environment of 2 MB, the kernel's usual limit, and as much again for quoting.
const RECORD_LEN_MAX: u64 = 4 * 1024 * 1024;

/// How long the end of a life is remembered for late actions; even later ones have older epochs.
const ENDED_KEPT: Duration = Duration::from_hours(24);

/// One life, in version 1 of the format on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    version: u32,
    service: ServiceName,
    ordinal: u32,
    incarnation: u32,
    generation: u64,
    epoch: u64,
    sequence: u64,
    /// The value of `HOMEOSTAT_LIFE` in its environment.
    pub(crate) token: String,
    /// The boot of the machine that it belongs to.
    pub(crate) boot: String,
    /// Its main process; `None` while it is an intent.
    pub(crate) process: Option<ProcessIdentity>,
    started_at_unix_ms: u64,
    started_since_boot_ms: u64,
    pub(crate) ports: BTreeMap<PortName, u16>,
    pub(crate) stop_signal: Signal,
    pub(crate) cell: Option<Cell>,
    #[serde(rename = "surroundings")]
    pub(crate) context: ExecContext,
    exit: Option<ExitRecord>,
    /// Its resource limits; earlier versions did not write them.
    #[serde(default)]
    pub(crate) resources: Option<Resources>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExitRecord {
    code: Option<i32>,
    signal: Option<i32>,
    out_of_memory: bool,
    ran_for_ms: u64,
}

/// The properties of a life at its start.
#[derive(Debug)]
pub(crate) struct NewLife {
    pub(crate) replica: ReplicaId,
    pub(crate) incarnation: Incarnation,
    pub(crate) generation: Generation,
    pub(crate) action: ActionId,
    pub(crate) token: String,
    pub(crate) boot: String,
    pub(crate) ports: BTreeMap<PortName, u16>,
    pub(crate) stop_signal: Signal,
    pub(crate) cell: Option<Cell>,
    pub(crate) context: ExecContext,
    pub(crate) resources: Resources,
}

impl Record {
    /// The record of a life that is about to start.
    pub(crate) fn begin(life: NewLife) -> Self {
        Self {
            version: VERSION,
            service: life.replica.service,
            ordinal: life.replica.ordinal.0,
            incarnation: life.incarnation.0,
            generation: life.generation.0,
            epoch: life.action.epoch.0,
            sequence: life.action.sequence,
            token: life.token,
            boot: life.boot,
            process: None,
            started_at_unix_ms: os::wall().as_millis(),
            started_since_boot_ms: millis(os::since_boot()),
            ports: life.ports,
            stop_signal: life.stop_signal,
            cell: life.cell,
            context: life.context,
            exit: None,
            resources: Some(life.resources),
        }
    }

    pub(crate) fn replica(&self) -> ReplicaId {
        ReplicaId { service: self.service.clone(), ordinal: Ordinal(self.ordinal) }
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        Incarnation(self.incarnation)
    }

    pub(crate) fn action(&self) -> ActionId {
        ActionId { epoch: Epoch(self.epoch), sequence: self.sequence }
    }

    pub(crate) fn exit(&self) -> Option<Exit> {
        self.exit.map(|exit| Exit {
            status: match (exit.code, exit.signal) {
                (Some(code), _) => ExitStatus::Code(code),
                (None, Some(signal)) => ExitStatus::Signal(signal),
                (None, None) => ExitStatus::Unknown,
            },
            out_of_memory: exit.out_of_memory,
            ran_for: Duration::from_millis(exit.ran_for_ms),
        })
    }

    /// This life after it has ended.
    pub(crate) fn ended(&self, exit: Exit) -> Self {
        let (code, signal) = match exit.status {
            ExitStatus::Code(code) => (Some(code), None),
            ExitStatus::Signal(signal) => (None, Some(signal)),
            ExitStatus::Unknown => (None, None),
        };
        let ran_for_ms = millis(exit.ran_for);
        Self {
            exit: Some(ExitRecord { code, signal, out_of_memory: exit.out_of_memory, ran_for_ms }),
            ..self.clone()
        }
    }

    /// This life with other resources.
    pub(crate) fn with(&self, resources: Option<Resources>) -> Self {
        Self { resources, ..self.clone() }
    }

    /// How long the life has lasted; zero when it belongs to an earlier boot.
    pub(crate) fn age(&self) -> Duration {
        os::since_boot().saturating_sub(Duration::from_millis(self.started_since_boot_ms))
    }

    /// Whether this life, which ended with `exit`, ended so long ago that it may be forgotten.
    pub(crate) fn is_obsolete(&self, exit: Exit) -> bool {
        self.age().saturating_sub(exit.ran_for) > ENDED_KEPT
    }

    pub(crate) fn life(&self, state: LifeState, adopted: bool) -> Life {
        Life {
            replica: self.replica(),
            incarnation: self.incarnation(),
            generation: Generation(self.generation),
            action: self.action(),
            state,
            pid: self.process.map(|process| process.pid),
            ports: self.ports.clone(),
            resources: self.resources,
            started_at: Wall::from_millis(self.started_at_unix_ms),
            adopted,
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Records could not be read, or compared with the processes that run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("could not read {path}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "{path} was written by a newer Homeostat (format {version}); start that version, or remove the file"
    )]
    Newer { path: PathBuf, version: u32 },
    #[error(
        "could not tell which of their processes run; allow more open files or free some memory, and start again"
    )]
    Processes(#[source] io::Error),
}

/// The folder of all records.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    folder: PathBuf,
}

impl Records {
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::create_dir_all(folder.join("intents"))?;
        // Environments may contain secrets.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
        Ok(Self { folder })
    }

    pub(crate) fn lock_path(&self) -> PathBuf {
        self.folder.join("lock")
    }

    pub(crate) fn epoch_path(&self) -> PathBuf {
        self.folder.join("epoch")
    }

    /// The id that the folder shares with its copies.
    pub(crate) fn id_path(&self) -> PathBuf {
        self.folder.join("id")
    }

    fn intent_path(&self, token: &str) -> PathBuf {
        self.folder.join("intents").join(token).with_extension("json")
    }

    fn path(&self, record: &Record) -> PathBuf {
        self.folder.join(record.service.as_str()).join(format!("{}.json", record.ordinal))
    }

    /// Records that a process with the record's token is about to start.
    pub(crate) fn keep_intent(&self, record: &Record) -> Result<(), WriteError> {
        write(&self.intent_path(&record.token), record)
    }

    /// Removes an intent whose process has a record, or does not exist.
    pub(crate) fn forget_intent(&self, token: &str) {
        // An intent that stays only costs the next run a search of the process table.
        let _ = std::fs::remove_file(self.intent_path(token));
    }

    /// Records the last life of a place.
    pub(crate) fn keep(&self, record: &Record) -> Result<(), WriteError> {
        let path = self.path(record);
        match write(&path, record) {
            Err(WriteError { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let folder = self.folder.join(record.service.as_str());
                // With its parents, if the data folder was deleted: environments may contain secrets.
                os::create_secret_folder(&folder)?;
                write(&path, record)
            }
            other => other,
        }
    }

    /// Forgets a life that ended long ago.
    pub(crate) fn forget(&self, record: &Record) {
        // If it stays, the next run tries again.
        let _ = std::fs::remove_file(self.path(record));
    }

    /// All starts that were not acknowledged.
    pub(crate) fn intents(&self) -> Result<Vec<Record>, ReadError> {
        read_folder(&self.folder.join("intents"))
    }

    /// The last life of every place.
    pub(crate) fn lives(&self) -> Result<Vec<Record>, ReadError> {
        let unreadable = |source| ReadError::Unreadable { path: self.folder.clone(), source };
        let mut lives = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if entry.file_name() != "intents" && entry.path().is_dir() {
                lives.extend(read_folder(&entry.path())?);
            }
        }
        lives.sort_by_key(Record::replica);
        Ok(lives)
    }
}

fn write(path: &Path, record: &Record) -> Result<(), WriteError> {
    let content = serde_json::to_vec(record).expect("a record has text keys only");
    write_atomically(path, &content, Durability::Process)
}

fn read_folder(folder: &Path) -> Result<Vec<Record>, ReadError> {
    let unreadable = |path: &Path, source| ReadError::Unreadable { path: path.to_owned(), source };
    let mut records = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|source| unreadable(folder, source))? {
        let path = entry.map_err(|source| unreadable(folder, source))?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let length = std::fs::metadata(&path).map_err(|source| unreadable(&path, source))?.len();
        if length > RECORD_LEN_MAX {
            tracing::warn!(path = %path.display(), length, "oversized_record_ignored");
            continue;
        }
        let content = std::fs::read(&path).map_err(|source| unreadable(&path, source))?;
        match parse(&content) {
            Parsed::Record(record) => records.push(*record),
            Parsed::Newer(version) => return Err(ReadError::Newer { path, version }),
            Parsed::Damaged => tracing::warn!(path = %path.display(), "damaged_record_ignored"),
        }
    }
    Ok(records)
}

enum Parsed {
    Record(Box<Record>),
    Newer(u32),
    Damaged,
}

fn parse(content: &[u8]) -> Parsed {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    match serde_json::from_slice::<Versioned>(content) {
        Ok(Versioned { version }) if version > VERSION => Parsed::Newer(version),
        Ok(Versioned { .. }) => serde_json::from_slice(content).map_or(Parsed::Damaged, Parsed::Record),
        Err(_) => Parsed::Damaged,
    }
}
