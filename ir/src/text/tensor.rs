//! Tensor literals: `f32[2, 2] [[1.0, nan], [-0.0, 0x7fc00001]]`.

use super::cursor::{Cursor, quote};
use super::sidecar::TensorRef;
use super::types;
use crate::dtype::{Class, DType};
use crate::error::{Error, Result};
use crate::tensor::{AlignedBytes, Tensor, len_elems};
use crate::types::Type;
use std::fmt::Write;
use std::sync::Arc;

/// Tensors of more elements that are all one are written as `splat`.
const SPLAT_ABOVE: usize = 8;

/// Splats above this are written out or stand outside, so that a short text never unfolds to much memory.
const MAX_SPLAT_BYTES: usize = 1 << 26;

/// Finds the content of a tensor that stands outside of the text.
pub(super) type Resolve<'a> = &'a dyn Fn(&TensorRef) -> Result<Tensor>;

/// The tensor as text, type first, all elements.
pub fn print_tensor(tensor: &Tensor) -> String {
    let mut out = Type::tensor(tensor.dtype(), tensor.shape()).to_string();
    out.push(' ');
    content(&mut out, tensor);
    out
}

/// Reads what [`print_tensor`] writes.
///
/// # Errors
/// When the text is no tensor, with line and column.
pub fn parse_tensor(text: &str) -> Result<Tensor> {
    let mut c = Cursor::new(text);
    let t = typed(&mut c, &no_files)?;
    if c.at_end() { Ok(t) } else { Err(c.unexpected("the end of the tensor")) }
}

pub(super) fn no_files(r: &TensorRef) -> Result<Tensor> {
    Err(Error::invalid(format!("the content of a tensor {}{:?} is not in this text", r.dtype, r.shape)))
}

/// Appends the elements of `tensor` in brackets.
pub(super) fn content(out: &mut String, tensor: &Tensor) {
    let n = tensor.len();
    if n == 0 {
        out.push_str("[]");
        return;
    }
    let elems = Elements::of(tensor);
    if n > SPLAT_ABOVE && tensor.bytes().len() <= MAX_SPLAT_BYTES && elems.all_equal(n) {
        out.push_str("splat ");
        elems.write(out, 0);
        return;
    }
    let shape = tensor.shape();
    for i in 0..n {
        // Brackets open where this element begins a row of an axis and close where it ends one.
        let begun = rows(shape, i);
        if i > 0 {
            out.push_str(", ");
        }
        (0..begun).for_each(|_| out.push('['));
        elems.write(out, i);
        (0..rows(shape, i + 1)).for_each(|_| out.push(']'));
    }
}

/// How many of the innermost axes have a boundary before element `i`.
fn rows(shape: &[usize], i: usize) -> usize {
    let mut size = 1;
    shape
        .iter()
        .rev()
        .take_while(|&&d| {
            size *= d;
            i.is_multiple_of(size)
        })
        .count()
}

enum Elements<'a> {
    Strings(&'a [Arc<str>]),
    Bits { dtype: DType, size: usize, bytes: &'a [u8] },
}

impl<'a> Elements<'a> {
    fn of(tensor: &'a Tensor) -> Elements<'a> {
        match tensor.strings() {
            Ok(s) => Elements::Strings(s),
            Err(_) => {
                Elements::Bits { dtype: tensor.dtype(), size: tensor.dtype().size_bytes(), bytes: tensor.bytes() }
            }
        }
    }

    fn all_equal(&self, n: usize) -> bool {
        match self {
            Elements::Strings(s) => s.iter().all(|x| *x == s[0]),
            Elements::Bits { size, bytes, .. } => (1..n).all(|i| bytes[i * size..(i + 1) * size] == bytes[..*size]),
        }
    }

    fn write(&self, out: &mut String, i: usize) {
        let (dtype, bytes) = match self {
            Elements::Strings(s) => return out.push_str(&quote(&s[i])),
            Elements::Bits { dtype, size, bytes } => (*dtype, &bytes[i * size..(i + 1) * size]),
        };
        let le = |b: &[u8]| b.iter().rev().fold(0u64, |v, &b| v << 8 | u64::from(b));
        let number = match dtype.class() {
            Class::Bool => return out.push_str(if bytes[0] != 0 { "true" } else { "false" }),
            Class::Complex => {
                let part = if dtype == DType::C64 { DType::F32 } else { DType::F64 };
                let (re, im) = bytes.split_at(bytes.len() / 2);
                let (re, im) = (float_text(part, le(re)), float_text(part, le(im)));
                return out.push_str(&format!("({re}, {im})"));
            }
            Class::Float => return out.push_str(&float_text(dtype, le(bytes))),
            Class::Signed => {
                let shift = 64 - 8 * bytes.len() as u32;
                i128::from(((le(bytes) << shift) as i64) >> shift)
            }
            Class::Unsigned | Class::String => i128::from(le(bytes)),
        };
        write!(out, "{number}").expect("writing to a string never fails");
    }
}

/// The shortest text that reads back to these bits, or the bits themselves.
pub(crate) fn float_text(dtype: DType, bits: u64) -> String {
    let text = match dtype {
        DType::F64 => format!("{:?}", f64::from_bits(bits)),
        DType::F32 => format!("{:?}", f32::from_bits(bits as u32)),
        t => {
            let narrow = Tensor::from_bytes(t, &[1], bits.to_le_bytes()[..t.size_bytes()].to_vec().into());
            let value = narrow.and_then(|t| t.floats()).map_or(f64::NAN, |v| v[0]);
            // Every narrow kind's values are exact in binary32, whose text is the shorter.
            format!("{:?}", value as f32)
        }
    };
    let text = if text == "NaN" { "nan".to_owned() } else { text };
    match float_bits(dtype, &text) {
        Some(read) if read == bits => text,
        _ => format!("{bits:#x}"),
    }
}

/// Bits of a float's text: a decimal number, `nan`, `inf`, `-inf`, or raw bits in hexadecimal.
pub(crate) fn float_bits(dtype: DType, text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x") {
        let bits = u64::from_str_radix(hex, 16).ok()?;
        return (dtype.size_bytes() == 8 || bits >> (8 * dtype.size_bytes()) == 0).then_some(bits);
    }
    if text.contains(|c: char| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E'))
        && !matches!(text, "nan" | "inf" | "-inf")
    {
        return None;
    }
    Some(match dtype {
        DType::F32 if text == "nan" => u64::from(0x7fc0_0000u32),
        DType::F64 if text == "nan" => 0x7ff8_0000_0000_0000,
        DType::F32 => u64::from(text.parse::<f32>().ok()?.to_bits()),
        DType::F64 => text.parse::<f64>().ok()?.to_bits(),
        t => {
            let value = if text == "nan" { f64::NAN } else { text.parse().ok()? };
            let t = Tensor::from_floats(t, &[1], [value]);
            t.bytes().iter().rev().fold(0, |v, &b| v << 8 | u64::from(b))
        }
    })
}

/// Elements as they are read.
struct Sink {
    dtype: DType,
    bytes: Vec<u8>,
    strings: Vec<Arc<str>>,
}

impl Sink {
    fn new(dtype: DType) -> Sink {
        Sink { dtype, bytes: Vec::new(), strings: Vec::new() }
    }

    fn element(&mut self, c: &mut Cursor<'_>) -> Result<()> {
        let size = self.dtype.size_bytes();
        match self.dtype.class() {
            Class::String => {
                c.space();
                self.strings.push(c.string()?.into());
            }
            Class::Complex => {
                let part = if self.dtype == DType::C64 { DType::F32 } else { DType::F64 };
                c.want("(")?;
                for close in [",", ")"] {
                    let bits = float(c, part)?;
                    self.bytes.extend(&bits.to_le_bytes()[..size / 2]);
                    c.want(close)?;
                }
            }
            Class::Float => {
                let bits = float(c, self.dtype)?;
                self.bytes.extend(&bits.to_le_bytes()[..size]);
            }
            Class::Bool => {
                let word = c.number()?;
                self.bytes.push(match word {
                    "true" | "1" => 1,
                    "false" | "0" => 0,
                    _ => return Err(c.error_at(c.at - word.len(), format!("`{word}` is no truth value"))),
                });
            }
            Class::Signed | Class::Unsigned => {
                let word = c.number()?;
                let value = match word.strip_prefix("0x") {
                    Some(hex) => i128::from_str_radix(hex, 16),
                    None => word.parse(),
                };
                let (lo, hi) = self.dtype.int_range().expect("integer kinds have a range");
                match value {
                    Ok(v) if (lo..=hi).contains(&v) => self.bytes.extend(&v.to_le_bytes()[..size]),
                    _ => return Err(c.error_at(c.at - word.len(), format!("`{word}` is no {}", self.dtype))),
                }
            }
        }
        Ok(())
    }

    /// Nested brackets; the extents as they stand. `[]` has extent 0.
    fn nested(&mut self, c: &mut Cursor<'_>) -> Result<Vec<usize>> {
        if !c.take("[") {
            self.element(c)?;
            return Ok(vec![]);
        }
        let (n, mut shape) = c.nested(|c| {
            let mut inner: Option<Vec<usize>> = None;
            let rows = c.list("]", |c| {
                let at = c.at;
                let shape = self.nested(c)?;
                match &inner {
                    Some(first) if *first != shape => Err(c.error_at(at, "rows of different shapes")),
                    _ => {
                        inner = Some(shape);
                        Ok(())
                    }
                }
            })?;
            Ok((rows.len(), inner.unwrap_or_default()))
        })?;
        shape.insert(0, n);
        Ok(shape)
    }

    fn finish(self, shape: &[usize]) -> Result<Tensor> {
        if self.dtype == DType::String {
            return Ok(Tensor::from_strings(shape, self.strings));
        }
        Tensor::from_aligned(self.dtype, shape, AlignedBytes::copy_of(&self.bytes))
    }
}

fn float(c: &mut Cursor<'_>, dtype: DType) -> Result<u64> {
    let word = c.number()?;
    float_bits(dtype, word).ok_or_else(|| c.error_at(c.at - word.len(), format!("`{word}` is no {dtype}")))
}

/// A tensor with its type before it.
pub(super) fn typed(c: &mut Cursor<'_>, resolve: Resolve<'_>) -> Result<Tensor> {
    c.space();
    let start = c.at;
    let ty = types::ty(c)?;
    let Some((dtype, shape)) = ty.concrete() else {
        return Err(c.error_at(start, format!("a tensor must have extents that are numbers, this is {ty}")));
    };
    literal(c, dtype, &shape, resolve)
}

/// A tensor's content for a type that is known.
pub(super) fn literal(c: &mut Cursor<'_>, dtype: DType, shape: &[usize], resolve: Resolve<'_>) -> Result<Tensor> {
    c.space();
    let start = c.at;
    let n = len_elems(shape).map_err(|e| c.locate(start, e))?;
    if c.take_word("splat") {
        let element = dtype.size_bytes().max(size_of::<Arc<str>>());
        c.spend(n.saturating_mul(element))?;
        let mut sink = Sink::new(dtype);
        sink.element(c)?;
        sink.bytes = sink.bytes.repeat(n);
        sink.strings = sink.strings.into_iter().flat_map(|s| vec![s; n]).collect();
        return sink.finish(shape).map_err(|e| c.locate(start, e));
    }
    if c.take_word("extern") {
        c.want("(")?;
        c.space();
        let file = c.string()?;
        c.want(",")?;
        let offset = unsigned(c)?;
        c.want(",")?;
        let hash = unsigned(c)?;
        c.want(")")?;
        let r = TensorRef { file, offset, hash, dtype, shape: shape.to_vec() };
        let t = resolve(&r).map_err(|e| c.locate(start, e))?;
        if t.dtype() != dtype || t.shape() != shape {
            return Err(c.error_at(start, format!("the file gave {}{:?}", t.dtype(), t.shape())));
        }
        return Ok(t);
    }
    let mut sink = Sink::new(dtype);
    let seen = sink.nested(c)?;
    if seen != shape && !(n == 0 && seen.contains(&0)) {
        return Err(c.error_at(start, format!("the elements have shape {seen:?}, the type says {shape:?}")));
    }
    sink.finish(shape).map_err(|e| c.locate(start, e))
}

/// A tensor's content whose shape is that of its brackets.
pub(super) fn untyped(c: &mut Cursor<'_>, dtype: DType) -> Result<Tensor> {
    c.space();
    let start = c.at;
    let mut sink = Sink::new(dtype);
    let shape = sink.nested(c)?;
    sink.finish(&shape).map_err(|e| c.locate(start, e))
}

fn unsigned(c: &mut Cursor<'_>) -> Result<u64> {
    let word = c.number()?;
    let value = match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => word.parse(),
    };
    value.map_err(|_| c.error_at(c.at - word.len(), format!("`{word}` is no whole number of 64 bits")))
}
