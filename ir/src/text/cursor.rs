//! A place in a text, and the tokens that all parts of the parser share.

use crate::error::{Error, Result};
use crate::tensor::MAX_BYTES;

/// Deepest nesting of bodies, brackets and types; models stay below ten.
pub(super) const MAX_DEPTH: usize = 48;

/// Bytes that all splats of one text may unfold to.
const SPLAT_BYTES: usize = 1 << 28;

pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    depth: usize,
    splat_bytes: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text, at: 0, depth: 0, splat_bytes: 0 }
    }

    /// An error here, with line, column and the line.
    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        self.locate(self.at, Error::invalid(message))
    }

    pub(super) fn error_at(&self, at: usize, message: impl Into<String>) -> Error {
        self.locate(at, Error::invalid(message))
    }

    /// Number of the line of a byte, from 1.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    /// Adds line, column and line to an error of a callee.
    pub(super) fn locate(&self, at: usize, error: Error) -> Error {
        let at = (0..=at.min(self.text.len())).rev().find(|&i| self.text.is_char_boundary(i)).unwrap_or(0);
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        let column = before[start..].chars().count() + 1;
        let shown: String = self.text[start..].lines().next().unwrap_or("").trim().chars().take(160).collect();
        error.at(format!("line {line}:{column}: {shown}"))
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Skips white space and comments.
    pub(super) fn space(&mut self) {
        loop {
            self.at = self.text.len() - self.rest().trim_start().len();
            if !self.rest().starts_with("//") {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    pub(super) fn peek(&mut self) -> Option<char> {
        self.space();
        self.rest().chars().next()
    }

    pub(super) fn at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Consumes a punctuation mark if it is next.
    pub(super) fn take(&mut self, token: &str) -> bool {
        self.space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    pub(super) fn want(&mut self, token: &str) -> Result<()> {
        if self.take(token) { Ok(()) } else { Err(self.unexpected(&format!("`{token}`"))) }
    }

    /// Consumes a whole word if it is next.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        self.space();
        let found = self.peek_word() == word;
        if found {
            self.at += word.len();
        }
        found
    }

    /// The letters, digits, `_` and `.` that come next, not consumed.
    pub(super) fn peek_word(&mut self) -> &'a str {
        self.space();
        let rest = self.rest();
        &rest[..rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len())]
    }

    pub(super) fn word(&mut self, wanted: &str) -> Result<&'a str> {
        let word = self.peek_word();
        if word.is_empty() {
            return Err(self.unexpected(wanted));
        }
        self.at += word.len();
        Ok(word)
    }

    pub(super) fn unexpected(&mut self, wanted: &str) -> Error {
        match self.peek() {
            Some(c) => self.error(format!("expected {wanted}, found `{c}`")),
            None => self.error(format!("expected {wanted}, found the end of the text")),
        }
    }

    /// A quoted text.
    pub(super) fn string(&mut self) -> Result<String> {
        self.want("\"")?;
        let start = self.at;
        let mut out = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.at = start + i + 1;
                    return Ok(out);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(c @ ('"' | '\\')) => out.push(c),
                    Some('u') => {
                        let digits = chars.as_str().strip_prefix('{').and_then(|s| s.split_once('}')).map(|(d, _)| d);
                        let code = digits.filter(|d| (1..=6).contains(&d.len()) && d.is_ascii());
                        let c = code.and_then(|d| u32::from_str_radix(d, 16).ok()).and_then(char::from_u32);
                        let (Some(d), Some(c)) = (code, c) else {
                            return Err(self.error_at(start + i, "bad character escape"));
                        };
                        out.push(c);
                        chars.nth(d.len() + 1);
                    }
                    _ => return Err(self.error_at(start + i, "bad escape")),
                },
                c => out.push(c),
            }
        }
        Err(self.error_at(start, "a text without an end"))
    }

    /// A sign, letters, digits, points, and a sign after an exponent's `e`: any number or word for one.
    pub(super) fn number(&mut self) -> Result<&'a str> {
        self.space();
        let bytes = self.rest().as_bytes();
        let mut n = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
        let digits = n;
        let hex = bytes[n..].starts_with(b"0x");
        while let Some(&b) = bytes.get(n) {
            let exponent_sign = matches!(b, b'-' | b'+') && n > digits && matches!(bytes[n - 1], b'e' | b'E') && !hex;
            if !(b.is_ascii_alphanumeric() || b == b'.' || exponent_sign) {
                break;
            }
            n += 1;
        }
        if n == digits {
            return Err(self.unexpected("a number"));
        }
        let word = &self.rest()[..n];
        self.at += n;
        Ok(word)
    }

    /// Runs `inner` one level deeper.
    pub(super) fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.enter()?;
        let out = inner(self);
        self.leave();
        out
    }

    /// Goes one level deeper, as far as the limit allows.
    pub(super) fn enter(&mut self) -> Result<()> {
        if self.depth >= MAX_DEPTH {
            return Err(self.locate(self.at, Error::limit(format!("nested deeper than {MAX_DEPTH} levels"))));
        }
        self.depth += 1;
        Ok(())
    }

    /// Undoes [`Cursor::enter`].
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Accounts for the bytes of a splat.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<()> {
        self.splat_bytes = self.splat_bytes.saturating_add(bytes).min(MAX_BYTES);
        if self.splat_bytes > SPLAT_BYTES {
            let limit = Error::limit(format!("splats of more than {SPLAT_BYTES} bytes in one text"));
            return Err(self.locate(self.at, limit));
        }
        Ok(())
    }

    /// `item ("," item)*` until `close`, which is consumed; a comma may stand last.
    pub(super) fn list<T>(&mut self, close: &str, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut out = Vec::new();
        loop {
            if self.take(close) {
                return Ok(out);
            }
            out.push(item(self)?);
            if !self.take(",") {
                self.want(close)?;
                return Ok(out);
            }
        }
    }
}

/// `text` in quotes; read back by [`Cursor::string`].
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether `text` needs no quotes as a name.
pub(super) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}

/// A name, quoted where it must be.
pub(super) fn name(text: &str) -> String {
    if is_identifier(text) { text.to_owned() } else { quote(text) }
}
