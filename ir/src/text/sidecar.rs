//! Tensors that stand outside of a text: one file of 64-byte aligned contents, named by offset and hash.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::tensor::{Tensor, len_elems};
use bytes::Bytes;
use std::collections::HashMap;
use std::io;

/// Where the content of a tensor lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TensorRef {
    /// File; empty where the text was printed without one.
    pub file: String,
    /// First byte.
    pub offset: u64,
    /// [`content_hash`] of the bytes.
    pub hash: u64,
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Vec<usize>,
}

impl TensorRef {
    /// Cuts the tensor out of the file's content and compares the hash.
    ///
    /// # Errors
    /// When the file is too short or the hash differs.
    pub fn read(&self, file: &Bytes) -> Result<Tensor> {
        let len = len_elems(&self.shape)?.saturating_mul(self.dtype.size_bytes());
        let start = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let end = start
            .checked_add(len)
            .filter(|&end| end <= file.len())
            .ok_or_else(|| Error::invalid(format!("\"{}\" ends before byte {start} + {len} of a tensor", self.file)))?;
        let bytes = file.slice(start..end);
        if content_hash(&bytes) != self.hash {
            return Err(Error::invalid(format!("the tensor at byte {start} of \"{}\" has changed", self.file)));
        }
        Tensor::from_bytes(self.dtype, &self.shape, bytes)
    }
}

/// Collects the large tensors of a printed text.
#[derive(Clone, Debug)]
pub struct Sidecar {
    /// Name of the file that the text will refer to.
    pub file: String,
    /// Tensors of up to so many elements are written as literals.
    pub inline_elems: usize,
    tensors: Vec<(u64, Tensor)>,
    by_hash: HashMap<u64, Vec<usize>>,
    len_bytes: u64,
}

/// Contents start at multiples of this: a cache line, as tensors in memory do.
const ALIGN: u64 = 64;

impl Sidecar {
    /// An empty file to be written as `file`; tensors above 16 elements go there.
    pub fn new(file: impl Into<String>) -> Sidecar {
        Sidecar { file: file.into(), inline_elems: 16, tensors: Vec::new(), by_hash: HashMap::new(), len_bytes: 0 }
    }

    /// The tensors with their offsets in bytes, in order.
    pub fn tensors(&self) -> &[(u64, Tensor)] {
        &self.tensors
    }

    /// Writes the file.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write(&self, to: &mut dyn io::Write) -> io::Result<()> {
        let mut at = 0;
        for (offset, tensor) in &self.tensors {
            to.write_all(&[0; ALIGN as usize][..(offset - at) as usize])?;
            to.write_all(tensor.bytes())?;
            at = offset + tensor.bytes().len() as u64;
        }
        Ok(())
    }

    /// Takes a tensor in; equal contents are kept once.
    pub(crate) fn add(&mut self, tensor: &Tensor) -> TensorRef {
        let hash = content_hash(tensor.bytes());
        let known = self.by_hash.entry(hash).or_default();
        let same = known.iter().copied().find(|&i| self.tensors[i].1.bytes() == tensor.bytes());
        let index = same.unwrap_or_else(|| {
            known.push(self.tensors.len());
            self.tensors.push((self.len_bytes, tensor.clone()));
            self.len_bytes = (self.len_bytes + tensor.bytes().len() as u64).next_multiple_of(ALIGN);
            self.tensors.len() - 1
        });
        TensorRef {
            file: self.file.clone(),
            offset: self.tensors[index].0,
            hash,
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
        }
    }
}

/// A 64-bit checksum of a tensor's bytes: eight at a time through multiply and rotate, finished as in SplitMix64. It
/// finds accidents, not attackers.
pub fn content_hash(bytes: &[u8]) -> u64 {
    const K: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut h = bytes.len() as u64 ^ K;
    let (words, tail) = bytes.as_chunks::<8>();
    for w in words {
        h = (h ^ u64::from_le_bytes(*w)).wrapping_mul(K).rotate_left(29);
    }
    for &b in tail {
        h = (h ^ u64::from(b)).wrapping_mul(K).rotate_left(29);
    }
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    h ^ (h >> 31)
}
