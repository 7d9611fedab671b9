//! Types: `f32[n, 4]`, `f32[...]`, `seq<T>`, `optional<T>`, `map<K, T>`, `?`; printed by their `Display`.

use super::cursor::Cursor;
use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::Result;
use crate::types::{Shape, TensorType, Type};

/// Reads a type.
///
/// # Errors
/// When the text is none, with line and column.
pub fn parse_type(text: &str) -> Result<Type> {
    let mut c = Cursor::new(text);
    let ty = ty(&mut c)?;
    if c.at_end() { Ok(ty) } else { Err(c.unexpected("the end of the type")) }
}

/// Reads types separated by commas, in parentheses or not.
///
/// # Errors
/// As [`parse_type`].
pub fn parse_types(text: &str) -> Result<Vec<Type>> {
    let mut c = Cursor::new(text);
    let closed = c.take("(");
    let mut out = Vec::new();
    if !closed || !c.take(")") {
        loop {
            out.push(ty(&mut c)?);
            if !c.take(",") {
                break;
            }
        }
        if closed {
            c.want(")")?;
        }
    }
    if c.at_end() { Ok(out) } else { Err(c.unexpected("the end of the types")) }
}

pub(super) fn ty(c: &mut Cursor<'_>) -> Result<Type> {
    if c.take("?") {
        return Ok(Type::Unknown);
    }
    let start = c.at;
    let word = c.word("a type")?;
    match word {
        "seq" | "optional" => {
            c.want("<")?;
            let inner = Box::new(c.nested(ty)?);
            c.want(">")?;
            Ok(if word == "seq" { Type::Sequence(inner) } else { Type::Optional(inner) })
        }
        "map" => {
            c.want("<")?;
            let key = dtype(c)?;
            c.want(",")?;
            let inner = Box::new(c.nested(ty)?);
            c.want(">")?;
            Ok(Type::Map(key, inner))
        }
        _ => match word.parse() {
            Ok(dtype) => Ok(Type::Tensor(TensorType { dtype, shape: shape(c)? })),
            Err(_) => Err(c.error_at(start, format!("`{word}` is no type"))),
        },
    }
}

pub(super) fn dtype(c: &mut Cursor<'_>) -> Result<DType> {
    c.space();
    let start = c.at;
    let word = c.word("an element type")?;
    word.parse().map_err(|_| c.error_at(start, format!("`{word}` is no element type")))
}

fn shape(c: &mut Cursor<'_>) -> Result<Shape> {
    c.want("[")?;
    if c.take("...") {
        c.want("]")?;
        return Ok(Shape::Unranked);
    }
    let mut dims = Vec::new();
    if c.take("]") {
        return Ok(Shape::Ranked(dims));
    }
    loop {
        dims.push(dim(c, &[',', ']'])?);
        if !c.take(",") {
            c.want("]")?;
            return Ok(Shape::Ranked(dims));
        }
    }
}

/// A term that ends before one of `until` outside of its own parentheses and quotes.
pub(super) fn dim(c: &mut Cursor<'_>, until: &[char]) -> Result<Dim> {
    c.space();
    let (start, mut depth, mut quoted, mut escaped) = (c.at, 0usize, false, false);
    let mut end = None;
    for (i, ch) in c.rest().char_indices() {
        if quoted {
            quoted = escaped || ch != '"';
            escaped = !escaped && ch == '\\';
            continue;
        }
        match ch {
            '"' => quoted = true,
            '\n' => break,
            ch if depth == 0 && until.contains(&ch) => {
                end = Some(i);
                break;
            }
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    let Some(end) = end else { return Err(c.error("a dimension without an end")) };
    let dim = c.rest()[..end].parse::<Dim>().map_err(|e| c.error_at(start + e.at, e.message))?;
    c.at = start + end;
    Ok(dim)
}
