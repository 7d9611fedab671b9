//! Expected failures: a text file of lines `name<TAB>reason`, sorted by name; empty lines and lines with `#` are skipped.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;

/// Names of cases that are expected to fail, with the reason.
#[derive(Default, Debug, PartialEq)]
pub(super) struct Manifest {
    reasons: BTreeMap<String, String>,
}

impl Manifest {
    pub(super) fn of(entries: impl IntoIterator<Item = (String, String)>) -> Manifest {
        Manifest { reasons: entries.into_iter().collect() }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// When it cannot be read, a line has no reason, or names are not sorted (twice the same included).
    pub(super) fn read(path: &Path) -> Result<Manifest> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Manifest::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Manifest> {
        let mut out = Manifest::default();
        for (n, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, reason) = line.split_once('\t').with_context(|| format!("line {}: no tab", n + 1))?;
            ensure!(!reason.trim().is_empty(), "line {}: `{name}` has no reason", n + 1);
            let last = out.reasons.last_key_value();
            ensure!(last.is_none_or(|(l, _)| l.as_str() < name), "line {}: `{name}` is not sorted in", n + 1);
            out.reasons.insert(name.to_owned(), reason.trim().to_owned());
        }
        Ok(out)
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let lines: String = self.reasons.iter().map(|(name, reason)| format!("{name}\t{reason}\n")).collect();
        std::fs::write(path, lines).with_context(|| path.display().to_string())
    }

    pub(super) fn reason(&self, name: &str) -> Option<&str> {
        self.reasons.get(name).map(String::as_str)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.reasons.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_sorted_and_give_reasons() {
        let m = Manifest::parse("# expected\n\nnode/a\tno text\nnode/b\trandom\n").unwrap();
        assert_eq!(m.reason("node/b"), Some("random"));
        for bad in ["b\tx\na\tx\n", "a\tx\na\ty\n", "a\n", "a\t \n"] {
            assert!(Manifest::parse(bad).is_err(), "{bad:?}");
        }
    }
}
