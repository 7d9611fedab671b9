//! The weights file: 64 bytes of header, then the constants as the kernels read them.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | `EGRETWTS` |
//! | 8..12 | version of the layout, 1 |
//! | 12..16 | zero |
//! | 16..24 | length of what follows the header |
//! | 24..32 | its [`checksum`] |
//! | 32..64 | zero |
//!
//! Numbers are little endian. Each constant starts at a multiple of 64 bytes; the length is one too. The header file of
//! the same compilation knows length and checksum, so that weights of another compilation are refused.

/// First bytes of the file.
pub const MAGIC: [u8; 8] = *b"EGRETWTS";

/// Version of the layout.
pub const VERSION: u32 = 1;

/// Bytes before the constants.
pub const HEADER_BYTES: usize = 64;

/// Alignment of each constant, a cache line.
pub(super) const ALIGN: usize = 64;

/// The first state of [`checksum`] (the offset basis of FNV-1a).
pub(super) const CHECKSUM_START: u64 = 0xcbf2_9ce4_8422_2325;

/// The factor of [`checksum`] (the prime of FNV-1a).
pub(super) const CHECKSUM_FACTOR: u64 = 0x0000_0100_0000_01b3;

/// A checksum against damage, not against malice: FNV-1a (Fowler, Noll, Vo) over words of eight bytes, with the upper
/// half folded down after each, so that a changed high bit reaches the low ones. `bytes` are whole words.
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes.as_chunks::<8>().0.iter().fold(CHECKSUM_START, |sum, word| {
        let sum = (sum ^ u64::from_le_bytes(*word)).wrapping_mul(CHECKSUM_FACTOR);
        sum ^ (sum >> 32)
    })
}

/// The file of constants that [`Blob`] laid out.
pub(super) fn file(blob: &Blob) -> Vec<u8> {
    let payload = &blob.bytes;
    let mut out = Vec::with_capacity(HEADER_BYTES + payload.len());
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend([0; 4]);
    out.extend((payload.len() as u64).to_le_bytes());
    out.extend(checksum(payload).to_le_bytes());
    out.resize(HEADER_BYTES, 0);
    out.extend(payload);
    out
}

/// Constants one after the other; the same memory is stored once.
#[derive(Default)]
pub(super) struct Blob {
    bytes: Vec<u8>,
    at: std::collections::HashMap<(usize, usize), usize>,
}

impl Blob {
    /// Offset of a constant. Its memory must stay where it is while the blob is filled.
    pub(super) fn offset(&mut self, constant: &[u8]) -> usize {
        let key = (constant.as_ptr() as usize, constant.len());
        let bytes = &mut self.bytes;
        *self.at.entry(key).or_insert_with(|| {
            let at = bytes.len();
            bytes.extend_from_slice(constant);
            bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
            at
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_aligned_and_stored_once() {
        let (a, b) = ([1u8; 5], [2u8; 64]);
        let mut blob = Blob::default();
        assert_eq!([blob.offset(&a), blob.offset(&b), blob.offset(&a)], [0, 64, 0]);
        let file = file(&blob);
        assert_eq!(file.len(), HEADER_BYTES + 128);
        assert_eq!(file[..8], MAGIC);
        assert_eq!(file[16..24], 128u64.to_le_bytes());
        assert_eq!(file[24..32], checksum(&file[HEADER_BYTES..]).to_le_bytes());
    }

    #[test]
    fn every_changed_bit_changes_the_checksum() {
        let mut bytes = [7u8; 32];
        let sum = checksum(&bytes);
        for bit in 0..256 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(&bytes), sum, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        // The highest bits of two words, which a plain product would let cancel.
        bytes[7] ^= 0x80;
        bytes[15] ^= 0x80;
        assert_ne!(checksum(&bytes), sum);
    }
}
