//! The journal: every input of the loop on disk, in order, each with a digest of the loop's output.
//!
//! A segment holds one run of the loop from its [`Started`](model::input::Input::Started) on, so each segment can be replayed by
//! itself. The same inputs through the same code give the same digests; where they do not, a decision depends on something
//! outside the journal. The oldest segments are removed when there are more than [`SEGMENTS_MAX`].
//!
//! A record is `length: u32 le | checksum: u64 le (XXH3 of the body) | body (postcard of v1)`. A torn tail, as a crash leaves
//! it, ends a segment without an error; damage before the end is an error that names the position.
//!
//! The crate also keeps the events that operators see, beside the segments ([`EventFile`]), and the history of decisions in a
//! folder of its own ([`History`]).

mod reader;
mod writer;

mod events;

pub mod decision_record;
mod history;

mod frame;
mod numbered;
mod v1;

pub use decision_record::DecisionRun;
pub use events::{
    EVENTS_MAX, EventFile, EventFileDamage, EventFileError, EventId, EventRecord, EventWriteError,
    OpenedEvents,
};
pub use history::{
    DecisionHistory, HISTORY_BYTES_MAX, HISTORY_SEGMENT_BYTES_MAX, History, HistoryError, read,
    recorded_services,
};
pub use reader::{ReadError, Record, Segment, segments};
pub use v1::{StoredLoad, StoredMemory, StoredVersion, Unreadable};
pub use writer::{AppendError, EncodedInput, FolderError, OpenError, Writer};

/// The number of segments that are kept.
///
/// 8 × 64 MiB: about a week of ten services under steady load, within half a gigabyte.
pub const SEGMENTS_MAX: usize = 8;

/// The size from which a segment is full: the loop then begins a new run in the next one.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// The longest record.
///
/// 16 MiB: an inventory of 100,000 replicas of some 100 bytes each, and half as much again. A record with a greater length is damaged.
pub const RECORD_BYTES_MAX: u32 = 16 << 20;

/// The suffix of segments' names.
const SUFFIX: &str = ".journal";

/// The beginning of a segment: the format's name and version.
const MAGIC: [u8; 8] = *b"HSJRNL01";
