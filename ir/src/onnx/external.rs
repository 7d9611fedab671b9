//! Tensor data in files beside the model (`TensorProto.external_data`).
//!
//! A location is a path relative to the model's folder. It is resolved with all its symbolic links, and what leaves the
//! folder is refused: a model must not be able to read `/etc/passwd`. Each file is opened once and shared by all
//! tensors inside it. The optional `checksum` is not verified.

use super::proto::StringStringEntryProto;
use crate::error::{Error, Result};
use crate::map::read_or_map;
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// The files that a model's tensors may refer to.
#[derive(Debug, Default)]
pub struct External {
    folder: Option<PathBuf>,
    files: RefCell<BTreeMap<PathBuf, Bytes>>,
}

impl External {
    /// No file may be referred to: for models that come as bytes.
    pub fn none() -> External {
        External::default()
    }

    /// Files in `folder` and below.
    pub fn in_folder(folder: &Path) -> External {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        External { folder: Some(folder.to_owned()), files: RefCell::default() }
    }

    /// The bytes that `entries` (`location`, `offset`, `length`) name; `want_bytes` is the length where they say none.
    ///
    /// # Errors
    /// When an entry is missing or malformed, the path leaves the folder, or the range is outside the file.
    pub fn slice(&self, entries: &[StringStringEntryProto], want_bytes: usize) -> Result<Bytes> {
        let get = |key: &str| entries.iter().find(|e| e.key() == key).map(|e| e.value());
        let number = |key: &str| match get(key) {
            None | Some("") => Ok(None),
            Some(text) => text
                .trim()
                .parse::<usize>()
                .map(Some)
                .map_err(|_| Error::invalid(format!("external data: {key} `{text}` is no byte count"))),
        };
        let location = get("location").ok_or_else(|| Error::invalid("external data without a location"))?;
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?.unwrap_or(want_bytes));
        let file = self.open(location)?;
        match offset.checked_add(length) {
            Some(end) if end <= file.len() => Ok(file.slice(offset..end)),
            _ => Err(Error::invalid(format!(
                "external data: {length} bytes at offset {offset} of `{location}`, which has {} bytes",
                file.len()
            ))),
        }
    }

    fn open(&self, location: &str) -> Result<Bytes> {
        let folder = self.folder.as_ref().ok_or_else(|| {
            Error::invalid(format!("external data in `{location}`, and the model came without a folder"))
        })?;
        let relative = Path::new(location);
        let inside = relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if location.is_empty() || !inside {
            return Err(leaves(location));
        }
        let resolve =
            |p: &Path| p.canonicalize().map_err(|e| Error::invalid(format!("external data in `{location}`: {e}")));
        let path = resolve(&folder.join(relative))?;
        if !path.starts_with(resolve(folder)?) {
            return Err(leaves(location));
        }
        let mut files = self.files.borrow_mut();
        if let Some(bytes) = files.get(&path) {
            return Ok(bytes.clone());
        }
        let bytes = read_or_map(&path)?;
        files.insert(path, bytes.clone());
        Ok(bytes)
    }
}

fn leaves(location: &str) -> Error {
    Error::invalid(format!("external data in `{location}`: the path leaves the model's folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(list: &[(&str, &str)]) -> Vec<StringStringEntryProto> {
        list.iter().map(|(k, v)| StringStringEntryProto { key: Some((*k).into()), value: Some((*v).into()) }).collect()
    }

    #[test]
    fn ranges_are_checked_and_paths_stay_inside() {
        let top = std::env::temp_dir().join(format!("egret-external-{}", std::process::id()));
        let folder = top.join("model");
        std::fs::create_dir_all(folder.join("sub")).unwrap();
        std::fs::write(folder.join("sub/w"), [1, 2, 3, 4]).unwrap();
        std::fs::write(top.join("secret"), [9; 4]).unwrap();
        let external = External::in_folder(&folder);
        let ok = entries(&[("location", "./sub/w"), ("offset", "1"), ("length", "2")]);
        assert_eq!(external.slice(&ok, 2).unwrap(), [2u8, 3][..]);
        assert_eq!(external.slice(&entries(&[("location", "sub/w")]), 4).unwrap().len(), 4);
        let past = entries(&[("location", "sub/w"), ("offset", "18446744073709551615")]);
        assert!(external.slice(&past, 4).unwrap_err().message().contains("has 4 bytes"));
        let negative = entries(&[("location", "sub/w"), ("offset", "-1")]);
        assert!(external.slice(&negative, 1).is_err());
        let absolute = top.join("secret");
        for path in ["../secret", "sub/../../secret", absolute.to_str().unwrap(), ""] {
            let error = external.slice(&entries(&[("location", path)]), 4).unwrap_err();
            assert!(error.message().contains("leaves the model's folder"), "{error}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&absolute, folder.join("link")).unwrap();
            let error = external.slice(&entries(&[("location", "link")]), 4).unwrap_err();
            assert!(error.message().contains("leaves the model's folder"), "{error}");
        }
        assert!(External::none().slice(&ok, 2).is_err());
        std::fs::remove_dir_all(top).unwrap();
    }
}
