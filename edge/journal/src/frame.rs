//! The framing of records in a file: `length: u32 le | checksum: u64 le (XXH3 of the body) | body`.

use xxhash_rust::xxh3::xxh3_64;

/// Length and checksum of a record.
pub(crate) const HEADER_BYTES: usize = 4 + 8;

/// The header of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// Bytes of the body.
    pub(crate) len: u32,
    checksum: u64,
}

impl Header {
    fn of(body: &[u8]) -> Self {
        let len = u32::try_from(body.len()).expect("records are bounded far below 4 GiB");
        Self { len, checksum: xxh3_64(body) }
    }

    pub(crate) fn parse(bytes: [u8; HEADER_BYTES]) -> Self {
        let [a, b, c, d, checksum @ ..] = bytes;
        Self { len: u32::from_le_bytes([a, b, c, d]), checksum: u64::from_le_bytes(checksum) }
    }

    /// Whether `body` matches the checksum.
    pub(crate) fn matches(self, body: &[u8]) -> bool {
        xxh3_64(body) == self.checksum
    }
}

/// Appends a record with this body.
pub(crate) fn append(bytes: &mut Vec<u8>, body: &[u8]) {
    let header = Header::of(body);
    bytes.extend_from_slice(&header.len.to_le_bytes());
    bytes.extend_from_slice(&header.checksum.to_le_bytes());
    bytes.extend_from_slice(body);
}

/// The body of the first record, and what follows it; `None` where no whole record begins.
pub(crate) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = bytes.split_first_chunk()?;
    let header = Header::parse(*header);
    let (body, rest) = rest.split_at_checked(header.len as usize)?;
    header.matches(body).then_some((body, rest))
}
