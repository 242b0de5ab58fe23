//! The journal: every input of the loop with a digest of what came out, on disk, in the order in which the loop took them.
//!
//! A segment holds one run of the loop from its [`Started`](model::input::Input::Started) on, so that each segment can be
//! replayed by itself: the same inputs through the same code give the same digests, or the replay has found a decision that
//! depends on something outside the journal. Older segments go when there are more than [`SEGMENTS_MAX`].
//!
//! A record is `length: u32 le | checksum: u64 le (XXH3 of the body) | body (postcard of v1)`. A torn tail, as a crash leaves
//! it, ends the segment quietly; damage before the end is an error that names the place.
//!
//! Beside the segments lie the events that people were told, see [`ToldFile`], and elsewhere the history of decisions, see [`History`].

mod reader;
mod writer;

mod told;

mod history;
pub mod kept;

mod frame;
mod numbered;
mod v1;

pub use history::{
    HISTORY_BYTES_MAX, HISTORY_SEGMENT_BYTES_MAX, History, HistoryError, Past, kept_services, read,
};
pub use kept::Kept;
pub use reader::{ReadError, Record, Segment, segments};
pub use told::{EVENTS_MAX, EventId, KeepError, Told, ToldError, ToldFile};
pub use v1::{StoredLoad, StoredMemory, Unreadable};
pub use writer::{AppendError, OpenError, Writer};

/// Segments kept.
///
/// 8 × 64 MiB: about a week of ten services under steady load, within half a gigabyte.
pub const SEGMENTS_MAX: usize = 8;

/// A segment of this size is full: the run is begun anew in the next.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// Longest record.
///
/// 16 MiB: an inventory of 100,000 replicas at about 100 bytes each, with room. A longer length is damage, not a record.
pub const RECORD_BYTES_MAX: u32 = 16 << 20;

/// What the names of segments end with.
const SUFFIX: &str = ".journal";

/// What a segment begins with: the format's name and its version.
const MAGIC: [u8; 8] = *b"HSJRNL01";
