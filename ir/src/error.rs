//! One error for the whole IR: which voice speaks, which constraint, what was seen, and where.
//!
//! The frame that knows a place adds it with [`Error::at`]: an operator names the constraint, the graph walker the
//! node, the importer the file.

use std::fmt;

/// Whose fault it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ErrorKind {
    /// The model or its inputs break a rule.
    Invalid,
    /// Legal, and not implemented here.
    Unsupported,
    /// Legal, and larger than a limit that the caller may raise.
    Limit,
    /// An invariant of Egret's own is broken.
    Bug,
}

/// An error with the constraint it violates and the places it passed through, innermost first.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Body>);

#[derive(Clone, PartialEq, Eq)]
struct Body {
    kind: ErrorKind,
    label: Option<String>,
    message: String,
    places: Vec<String>,
}

/// Result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Body { kind, label: None, message: shortened(message.into()), places: Vec::new() }))
    }

    /// The model is wrong.
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Invalid, message)
    }

    /// Ours is incomplete.
    pub fn unsupported(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unsupported, message)
    }

    /// A limit was reached; the message names it.
    pub fn limit(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Limit, message)
    }

    /// An invariant is broken.
    pub fn bug(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Bug, message)
    }

    /// A violated constraint of an operator: `label` is its number, such as `C3`.
    pub fn violation(label: &str, message: impl Into<String>) -> Error {
        let mut error = Error::invalid(message);
        error.0.label = Some(label.to_owned());
        error
    }

    /// Adds a place that the error passed through.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Error {
        self.0.places.push(shortened(place.into()));
        self
    }

    /// Puts an operator's name before the constraint's number: `C3` becomes `Conv.C3`.
    #[must_use]
    pub fn of_op(mut self, op: &str) -> Error {
        if let Some(label) = &mut self.0.label
            && !label.contains('.')
        {
            *label = format!("{op}.{label}");
        }
        self
    }

    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The violated constraint, such as `Conv.C3`.
    pub fn label(&self) -> Option<&str> {
        self.0.label.as_deref()
    }

    /// What went wrong, without label and places.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

/// Bytes of a message or a place: a model's names may be as long as its file.
const MAX_TEXT_BYTES: usize = 600;

/// Places that are shown: a function that calls itself passes through many.
const MAX_PLACES: usize = 12;

fn shortened(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let (head, tail) = (MAX_TEXT_BYTES * 2 / 3, text.len() - MAX_TEXT_BYTES / 3);
        let boundary = |at: usize| (0..=at).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text = format!("{}…{}", &text[..boundary(head)], &text[boundary(tail)..]);
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind {
            ErrorKind::Invalid => {}
            ErrorKind::Unsupported => f.write_str("unsupported: ")?,
            ErrorKind::Limit => f.write_str("limit reached: ")?,
            ErrorKind::Bug => f.write_str("bug in egret: ")?,
        }
        if let Some(label) = &self.0.label {
            write!(f, "{label}: ")?;
        }
        f.write_str(&self.0.message)?;
        let places = &self.0.places;
        for (i, place) in places.iter().enumerate() {
            // Of a nest, what is inside and what is outside matters.
            match i {
                _ if places.len() <= MAX_PLACES || i < MAX_PLACES / 2 || i + MAX_PLACES / 2 >= places.len() => {
                    write!(f, "\n  at {place}")?;
                }
                _ if i == MAX_PLACES / 2 => write!(f, "\n  at {} more places", places.len() - MAX_PLACES)?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_and_deep_nests_are_shortened() {
        let mut error = Error::invalid(format!("`{}` is defined nowhere", "ß".repeat(10_000)));
        assert!(error.message().len() < 700 && error.message().ends_with("is defined nowhere"));
        for i in 0..100 {
            error = error.at(format!("place {i}"));
        }
        let text = error.to_string();
        assert!(text.contains("at place 5\n  at 88 more places\n  at place 94\n"), "{text}");
        assert!(text.ends_with("at place 99"));
    }
}
