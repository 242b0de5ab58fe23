//! How many clients the API serves at once.

/// Concurrent connections, if enough file descriptors are available; further ones are answered with 503 and closed.
///
/// 256: four times the number of concurrent streams.
const CONNECTIONS_MAX: usize = 256;

/// The share of file descriptors that connections may use. The rest is for traffic, probes, logs and the pipes of replicas, which must
/// work whatever the load of the API. Of the 1024 files that Debian lets a process open, 256.
const FILES_SHARE: u64 = 4;

/// Concurrent connections even when file descriptors are scarce: a person at a terminal, a scraper and a probe, with some to spare.
const CONNECTIONS_MIN: usize = 8;

/// Concurrent watches, followed logs and other responses without an end, if enough connections are available.
///
/// 64: each queries the loop up to four times a second; 256 queries a second of some 20 µs are half a
/// per cent of a core.
const STREAMS_MAX: usize = 64;

/// The share of connections that streams may use: three quarters are left for other requests.
const STREAMS_SHARE: usize = 4;

/// The number of concurrent connections for a process that may open `files` files.
pub(crate) fn connections_max(files: u64) -> usize {
    let share = usize::try_from(files / FILES_SHARE).unwrap_or(usize::MAX);
    share.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

/// The number of concurrent streams among at most `connections` connections.
pub(crate) fn streams_max(connections: usize) -> usize {
    STREAMS_MAX.min(connections / STREAMS_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_a_quarter_of_the_files_at_most() {
        let found = [16, 64, 256, 1024, u64::MAX].map(connections_max);
        assert_eq!(found, [8, 16, 64, 256, 256]);
    }
}
