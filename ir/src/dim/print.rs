//! The text of dimensions and conditions; `parse` reads all of it back.
//!
//! `n + 1`, `2*h*w`, `floor(h / 2)`, `ceil(h / 2)`, `mod(a, b)`, `min(a, b)`, `max(a, b)`,
//! `select(n <= 4, n, 4)`, `floor(h * 0.7)`; conditions `a <= b`, `a == b`, `a != b`, `p && q`, `p || q`.
//! A symbol that is no identifier, or one of the words of this language, is quoted: `"?"`.

use std::fmt::{self, Debug, Display, Formatter, Write};

use super::{Cond, CondKind, Dim, DimKind};

/// Words that are no symbols unless quoted.
pub(super) const WORDS: [&str; 3] = ["undefined", "true", "false"];

/// Whether `text` prints without quotes.
pub(super) fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
        && !WORDS.contains(&text)
}

impl Display for Dim {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.kind() {
            DimKind::Undefined => f.write_str("undefined"),
            DimKind::Int(value) => write!(f, "{value}"),
            DimKind::Sym(name) if is_identifier(name) => f.write_str(name),
            DimKind::Sym(name) => quoted(f, name),
            DimKind::Sum(terms) => sum(f, terms),
            DimKind::Product(factors) => product(f, factors),
            DimKind::FloorDiv(a, b) => quotient(f, a, b),
            DimKind::Mod(a, b) => write!(f, "mod({a}, {b})"),
            DimKind::Min(items) => call(f, "min", items),
            DimKind::Max(items) => call(f, "max", items),
            DimKind::Select(cond, then, else_) => write!(f, "select({cond}, {then}, {else_})"),
            DimKind::ScaleFloor(a, scale) => write!(f, "floor({} * {scale:?})", Factor(a)),
        }
    }
}

impl Debug for Dim {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Display for Cond {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.kind() {
            CondKind::Undefined => f.write_str("undefined"),
            CondKind::False => f.write_str("false"),
            CondKind::True => f.write_str("true"),
            CondKind::Eq(a, b) => write!(f, "{a} == {b}"),
            CondKind::Le(a, b) => write!(f, "{a} <= {b}"),
            CondKind::Not(cond) => match cond.kind() {
                CondKind::Eq(a, b) => write!(f, "{a} != {b}"),
                _ => write!(f, "!({cond})"),
            },
            CondKind::And(items) => connective(f, items, " && "),
            CondKind::Or(items) => connective(f, items, " || "),
        }
    }
}

impl Debug for Cond {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// A term as a factor: sums in parentheses.
struct Factor<'a>(&'a Dim);

impl Display for Factor<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.kind() {
            DimKind::Sum(_) => write!(f, "({})", self.0),
            _ => Display::fmt(self.0, f),
        }
    }
}

fn sum(f: &mut Formatter<'_>, terms: &[Dim]) -> fmt::Result {
    for (i, term) in terms.iter().enumerate() {
        let text = term.to_string();
        match (i, text.strip_prefix('-')) {
            (0, _) => f.write_str(&text)?,
            (_, Some(positive)) => write!(f, " - {positive}")?,
            (_, None) => write!(f, " + {text}")?,
        }
    }
    Ok(())
}

fn product(f: &mut Formatter<'_>, factors: &[Dim]) -> fmt::Result {
    let atoms = match factors[0].as_int() {
        Some(-1) => {
            f.write_char('-')?;
            &factors[1..]
        }
        _ => factors,
    };
    for (i, factor) in atoms.iter().enumerate() {
        if i > 0 {
            f.write_char('*')?;
        }
        Display::fmt(factor, f)?;
    }
    Ok(())
}

/// `floor((x + b - 1) / b)` with a constant `b` reads better as a ceiling.
fn quotient(f: &mut Formatter<'_>, a: &Dim, b: &Dim) -> fmt::Result {
    let constant = match a.kind() {
        DimKind::Sum(terms) => terms[terms.len() - 1].as_int(),
        _ => None,
    };
    match b.as_int() {
        Some(by) if constant == Some(by - 1) => write!(f, "ceil({} / {by})", Factor(&(a - (by - 1)))),
        Some(by) => write!(f, "floor({} / {by})", Factor(a)),
        None => match b.kind() {
            DimKind::Sum(_) | DimKind::Product(_) => write!(f, "floor({} / ({b}))", Factor(a)),
            _ => write!(f, "floor({} / {b})", Factor(a)),
        },
    }
}

fn call(f: &mut Formatter<'_>, name: &str, items: &[Dim]) -> fmt::Result {
    write!(f, "{name}(")?;
    for (i, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
    }
    f.write_char(')')
}

fn connective(f: &mut Formatter<'_>, items: &[Cond], between: &str) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        match item.kind() {
            CondKind::And(_) | CondKind::Or(_) => write!(f, "({item})")?,
            _ => Display::fmt(item, f)?,
        }
    }
    Ok(())
}

fn quoted(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in name.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            _ if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            _ => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
