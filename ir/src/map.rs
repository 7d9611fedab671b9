//! Files as shared bytes: large ones memory-mapped, small ones read.
//!
//! Everything cut out of the result (`Bytes::slice`, protobuf `bytes` fields) shares the map and keeps it alive, so the
//! weights of a model are never copied and reach memory only where they are touched. What was copied into another form
//! can leave memory again (`release`); it is read from the file when it is touched the next time.
//!
//! The only module of this crate with `unsafe`. A file that another program shortens while it is mapped ends the
//! process (SIGBUS on Unix); this is the price of every memory map and the reason why small files are read.

use crate::error::{Error, Result};
use bytes::Bytes;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Files up to this size are read, larger ones mapped: a read of 64 KiB costs about what setting up a map and
/// faulting in its pages does.
const READ_UP_TO_BYTES: u64 = 64 << 10;

/// The content of a regular file.
///
/// # Errors
/// When it cannot be opened, read or mapped, or is no regular file (a pipe would block).
pub fn read_or_map(path: &Path) -> Result<Bytes> {
    let wrong = |e: std::io::Error| Error::invalid(format!("file {}: {e}", path.display()));
    let meta = std::fs::metadata(path).map_err(wrong)?;
    if !meta.is_file() {
        return Err(Error::invalid(format!("{} is no regular file", path.display())));
    }
    let mut file = File::open(path).map_err(wrong)?;
    if meta.len() <= READ_UP_TO_BYTES {
        let mut bytes = Vec::with_capacity(meta.len() as usize);
        file.read_to_end(&mut bytes).map_err(wrong)?;
        return Ok(bytes.into());
    }
    #[expect(
        unsafe_code,
        reason = "a memory map is a promise about a file that only the caller of the program can keep"
    )]
    // SAFETY: the map is private and only read. That no other process changes the file meanwhile is the condition
    // under which this library may be given files at all, stated in the module's documentation.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(wrong)?;
    let map = Arc::new(map);
    let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    live.retain(|m| m.strong_count() > 0);
    live.push(Arc::downgrade(&map));
    Ok(Bytes::from_owner(Owner(map)))
}

/// The maps that bytes may lie in.
static LIVE: Mutex<Vec<Weak<memmap2::Mmap>>> = Mutex::new(Vec::new());

/// Keeps a map for the bytes cut out of it.
struct Owner(Arc<memmap2::Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Tells the system that these bytes, where they lie in a mapped file, are not needed in memory for now. Their content
/// stays: it is read from the file again when it is touched. Cost: a system call. Bytes elsewhere are left alone.
pub(crate) fn release(bytes: &[u8]) {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    let first = bytes.as_ptr() as usize;
    for map in live.iter().filter_map(Weak::upgrade) {
        let Some(at) = first.checked_sub(map.as_ptr() as usize) else { continue };
        if at < map.len() && bytes.len() <= map.len() - at {
            #[cfg(unix)]
            #[expect(unsafe_code, reason = "giving pages back is a promise that their content is not lost")]
            // SAFETY: the map is private, of a file, and never written, so that a dropped page comes back from the file
            // with the content it had; that nobody changes the file is the condition of `read_or_map`. A failure of the
            // call changes nothing.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, at, bytes.len()) };
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_files_read_the_same() {
        let folder = std::env::temp_dir().join(format!("egret-map-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for len in [0usize, 10, 100_000] {
            let content: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let path = folder.join(format!("{len}"));
            std::fs::write(&path, &content).unwrap();
            let bytes = read_or_map(&path).unwrap();
            assert_eq!(bytes, content);
            release(&bytes[len / 3..]);
            assert_eq!(bytes, content);
        }
        release(&[1, 2, 3]);
        assert!(read_or_map(&folder).unwrap_err().message().contains("no regular file"));
        assert!(read_or_map(&folder.join("absent")).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
