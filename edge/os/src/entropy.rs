//! Random bytes from the kernel: the source of the seeds of all random streams.

use std::fmt::Write as _;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// The kernel gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("could not get random bytes from the kernel")]
pub struct EntropyError {
    source: Errno,
}

/// An unpredictable seed.
pub fn seed() -> Result<u64, EntropyError> {
    Ok(u64::from_le_bytes(bytes()?))
}

/// A unique name: 32 hexadecimal digits, 128 random bits.
pub fn token() -> Result<String, EntropyError> {
    let mut text = String::with_capacity(32);
    for byte in bytes::<16>()? {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    Ok(text)
}

/// `N` random bytes. Requests of up to 256 bytes are never filled in part (getrandom(2), NOTES).
fn bytes<const N: usize>() -> Result<[u8; N], EntropyError> {
    const { assert!(N <= 256) };
    let mut bytes = [0; N];
    loop {
        match getrandom(&mut bytes, GetRandomFlags::empty()) {
            Ok(_) => return Ok(bytes),
            Err(Errno::INTR) => {}
            Err(source) => return Err(EntropyError { source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tokens_are_equal() {
        let tokens: std::collections::BTreeSet<String> = (0..100).map(|_| token().unwrap()).collect();
        assert_eq!(tokens.len(), 100);
        assert!(tokens.iter().all(|token| token.len() == 32));
    }
}
