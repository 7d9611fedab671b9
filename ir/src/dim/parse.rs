//! The parser of dimensions and conditions: what `print` writes, and the spellings found in ONNX `dim_param`s.
//!
//! Exporters write real arithmetic inside roundings (`floor(height/2 - 1/2)`), Python's `//`, `%` and `**`, and SymPy's
//! `Max`, `Min`, `Mod`, `FloorDiv`, `CeilDiv`, `ceiling`. So values are fractions while parsing, and must be integers
//! where a dimension is wanted: `2*n/2` is `n`, a bare `n/2` is an error.
//!
//! ```text
//! cond  = and ("||" and)* ; and = rel ("&&" rel)* ; rel = sum (("<=" | "<" | ">=" | ">" | "==" | "!=") sum)?
//! sum   = term (("+" | "-") term)* ; term = unary (("*" | "/" | "//" | "%") unary)*
//! unary = ("-" | "!") unary | atom ("**" number)?
//! atom  = number | real | name | string | name "(" cond ("," cond)* ")" | "(" cond ")"
//! ```

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::print::WORDS;
use super::{Cond, Dim};

/// Deepest nesting of parentheses and signs; deeper than anything that [`super::MAX_DEPTH`] lets print.
const MAX_NESTING: u32 = 160;

/// Largest exponent of `**`.
const MAX_POWER: i64 = 16;

/// Why a text is no dimension or condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at byte {at}")]
pub struct ParseError {
    /// Byte offset in the text.
    pub at: usize,
    /// What was wrong.
    pub message: String,
}

impl FromStr for Dim {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Dim, ParseError> {
        let mut parser = Parser { text, at: 0, nesting: 0 };
        let value = parser.whole()?;
        parser.integer(value)
    }
}

impl FromStr for Cond {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Cond, ParseError> {
        let mut parser = Parser { text, at: 0, nesting: 0 };
        let value = parser.whole()?;
        parser.condition(value)
    }
}

impl Dim {
    /// The meaning of an ONNX `dim_param`: an expression where it parses as one and has a value, else the symbol of
    /// that very name. Names joined by unspaced `-` or `/` (`batch-size`) are names, since exporters put spaces around
    /// a difference of symbols.
    pub fn from_dim_param(text: &str) -> Dim {
        let dashed = text.contains('-')
            && text.split('-').all(|word| word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        match text.parse::<Dim>() {
            Ok(dim) if !dashed && !dim.is_undefined() => dim,
            _ => Dim::sym(text),
        }
    }
}

impl Serialize for Dim {
    /// A number, or the text of a term.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.as_int() {
            Some(value) => to.serialize_i64(value),
            None => to.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Dim {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Dim, D::Error> {
        from.deserialize_any(DimVisitor)
    }
}

struct DimVisitor;

impl Visitor<'_> for DimVisitor {
    type Value = Dim;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number or the text of a dimension")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Dim, E> {
        Ok(Dim::int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Dim, E> {
        i64::try_from(value).map(Dim::int).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Dim, E> {
        text.parse().map_err(E::custom)
    }
}

/// What an expression may be while parsing.
enum Value {
    /// A fraction of integers.
    Ratio(Dim, Dim),
    /// A real literal.
    Real(f64),
    /// An integer times a real literal.
    Scaled(Dim, f64),
    Cond(Cond),
}

impl Value {
    fn int(dim: Dim) -> Value {
        Value::Ratio(dim, Dim::ONE)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    nesting: u32,
}

type Parsed<T> = Result<T, ParseError>;

impl<'a> Parser<'a> {
    fn error<T>(&self, message: impl Into<String>) -> Parsed<T> {
        Err(ParseError { at: self.at, message: message.into() })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Consumes the token if it is next.
    fn take(&mut self, token: &str) -> bool {
        self.space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn want(&mut self, token: &str) -> Parsed<()> {
        if self.take(token) { Ok(()) } else { self.error(format!("expected `{token}`")) }
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let word = &rest[..rest.find(|c| !keep(c)).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn whole(&mut self) -> Parsed<Value> {
        let value = self.or()?;
        self.space();
        if self.rest().is_empty() { Ok(value) } else { self.error("unexpected text") }
    }

    fn integer(&self, value: Value) -> Parsed<Dim> {
        match value {
            Value::Ratio(numerator, denominator) if denominator == Dim::ONE => Ok(numerator),
            Value::Ratio(numerator, denominator) if numerator.modulo(&denominator) == Dim::ZERO => {
                Ok(numerator.floor_div(&denominator))
            }
            Value::Ratio(..) | Value::Real(_) | Value::Scaled(..) => self.error("a fraction is not a dimension"),
            Value::Cond(_) => self.error("expected a dimension, found a condition"),
        }
    }

    fn condition(&self, value: Value) -> Parsed<Cond> {
        match value {
            Value::Cond(cond) => Ok(cond),
            Value::Ratio(numerator, _) if numerator.is_undefined() => Ok(Cond::UNDEFINED),
            _ => self.error("expected a condition, found a dimension"),
        }
    }

    fn or(&mut self) -> Parsed<Value> {
        let first = self.and()?;
        if !self.take("||") {
            return Ok(first);
        }
        let mut parts = vec![self.condition(first)?];
        loop {
            let next = self.and()?;
            parts.push(self.condition(next)?);
            if !self.take("||") {
                return Ok(Value::Cond(Cond::any(&parts)));
            }
        }
    }

    fn and(&mut self) -> Parsed<Value> {
        let first = self.relation()?;
        if !self.take("&&") {
            return Ok(first);
        }
        let mut parts = vec![self.condition(first)?];
        loop {
            let next = self.relation()?;
            parts.push(self.condition(next)?);
            if !self.take("&&") {
                return Ok(Value::Cond(Cond::all(&parts)));
            }
        }
    }

    fn relation(&mut self) -> Parsed<Value> {
        let left = self.sum()?;
        let Some(operator) = ["<=", ">=", "==", "!=", "<", ">"].into_iter().find(|op| self.take(op)) else {
            return Ok(left);
        };
        let right = self.sum()?;
        let (left, right) = (self.integer(left)?, self.integer(right)?);
        Ok(Value::Cond(match operator {
            "<=" => Cond::le(&left, &right),
            ">=" => Cond::le(&right, &left),
            "==" => Cond::eq(&left, &right),
            "!=" => Cond::ne(&left, &right),
            "<" => Cond::lt(&left, &right),
            _ => Cond::lt(&right, &left),
        }))
    }

    fn sum(&mut self) -> Parsed<Value> {
        let mut left = self.term()?;
        loop {
            let negative = if self.take("+") {
                false
            } else if self.take("-") {
                true
            } else {
                return Ok(left);
            };
            let right = self.term()?;
            let (Value::Ratio(a, b), Value::Ratio(c, d)) = (left, right) else {
                return self.error("only integers and fractions can be added");
            };
            let c = if negative { -c } else { c };
            left = if b == d { Value::Ratio(a + c, b) } else { Value::Ratio(a * &d + c * &b, b * d) };
        }
    }

    fn term(&mut self) -> Parsed<Value> {
        let mut left = self.unary()?;
        loop {
            self.space();
            // `**` belongs to the operand.
            let operator = match ["//", "/", "%", "*"].into_iter().find(|op| self.rest().starts_with(op)) {
                Some(operator) => operator,
                None => return Ok(left),
            };
            self.at += operator.len();
            let right = self.unary()?;
            left = match (operator, left, right) {
                ("*", Value::Ratio(a, b), Value::Ratio(c, d)) => Value::Ratio(a * c, b * d),
                ("*", Value::Ratio(a, b), Value::Real(x)) | ("*", Value::Real(x), Value::Ratio(a, b))
                    if b == Dim::ONE =>
                {
                    Value::Scaled(a, x)
                }
                ("/", Value::Ratio(a, b), Value::Ratio(c, d)) => Value::Ratio(a * d, b * c),
                ("//", a @ Value::Ratio(..), b @ Value::Ratio(..)) => {
                    Value::int(self.integer(a)?.floor_div(&self.integer(b)?))
                }
                ("%", a @ Value::Ratio(..), b @ Value::Ratio(..)) => {
                    Value::int(self.integer(a)?.modulo(&self.integer(b)?))
                }
                _ => return self.error(format!("`{operator}` does not apply here")),
            };
        }
    }

    fn unary(&mut self) -> Parsed<Value> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return self.error("nested too deeply");
        }
        let value = self.unary_inner();
        self.nesting -= 1;
        value
    }

    fn unary_inner(&mut self) -> Parsed<Value> {
        self.space();
        if self.rest().starts_with('!') && !self.rest().starts_with("!=") {
            self.at += 1;
            let value = self.unary()?;
            return Ok(Value::Cond(self.condition(value)?.not()));
        }
        if self.take("-") {
            // The least integer has no positive counterpart to negate.
            if self.rest().starts_with("9223372036854775808") {
                self.at += "9223372036854775808".len();
                return Ok(Value::int(Dim::int(i64::MIN)));
            }
            return Ok(match self.unary()? {
                Value::Ratio(a, b) => Value::Ratio(-a, b),
                Value::Real(x) => Value::Real(-x),
                Value::Scaled(a, x) => Value::Scaled(a, -x),
                Value::Cond(_) => return self.error("`-` does not apply to a condition"),
            });
        }
        let base = self.atom()?;
        if !self.take("**") {
            return Ok(base);
        }
        self.space();
        let power = match self.take_while(|c| c.is_ascii_digit()).parse::<i64>() {
            Ok(power) if power <= MAX_POWER => power,
            _ => return self.error(format!("a power must be a number up to {MAX_POWER}")),
        };
        let base = self.integer(base)?;
        Ok(Value::int((0..power).map(|_| base.clone()).product()))
    }

    fn atom(&mut self) -> Parsed<Value> {
        self.space();
        match self.rest().chars().next() {
            Some('(') => {
                self.at += 1;
                let inner = self.or()?;
                self.want(")")?;
                Ok(inner)
            }
            Some('"') => Ok(Value::int(Dim::sym(&self.string()?))),
            Some(c) if c.is_ascii_digit() => self.number(),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self.name(),
            Some(c) => self.error(format!("unexpected `{c}`")),
            None => self.error("unexpected end"),
        }
    }

    fn number(&mut self) -> Parsed<Value> {
        let start = self.at;
        self.take_while(|c| c.is_ascii_digit());
        let whole = self.at;
        if self.rest().starts_with('.') {
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        if self.rest().starts_with(['e', 'E']) {
            self.at += 1;
            if self.rest().starts_with(['+', '-']) {
                self.at += 1;
            }
            self.take_while(|c| c.is_ascii_digit());
        }
        let text = &self.text[start..self.at];
        if self.at > whole {
            return match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Value::Real(value)),
                _ => self.error(format!("`{text}` is no finite number")),
            };
        }
        match text.parse() {
            Ok(value) => Ok(Value::int(Dim::int(value))),
            Err(_) => self.error(format!("`{text}` is past 64 bits")),
        }
    }

    fn string(&mut self) -> Parsed<String> {
        self.want("\"")?;
        let mut name = String::new();
        loop {
            name.push_str(self.take_while(|c| c != '"' && c != '\\'));
            if self.take_raw("\"") {
                return Ok(name);
            }
            if !self.take_raw("\\") {
                return self.error("unterminated string");
            }
            if self.take_raw("u{") {
                let digits = self.take_while(|c| c.is_ascii_hexdigit());
                match u32::from_str_radix(digits, 16).ok().and_then(char::from_u32) {
                    Some(c) if self.take_raw("}") => name.push(c),
                    _ => return self.error("bad character escape"),
                }
            } else {
                match self.rest().chars().next() {
                    Some(c @ ('"' | '\\')) => name.push(c),
                    _ => return self.error("bad escape"),
                }
                self.at += 1;
            }
        }
    }

    /// Like `take`, without skipping space.
    fn take_raw(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn name(&mut self) -> Parsed<Value> {
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        if !self.take("(") {
            return Ok(match name {
                _ if !WORDS.contains(&name) => Value::int(Dim::sym(name)),
                "undefined" => Value::int(Dim::UNDEFINED),
                _ => Value::Cond(Cond::from_bool(name == "true")),
            });
        }
        let mut arguments = vec![self.or()?];
        while self.take(",") {
            arguments.push(self.or()?);
        }
        self.want(")")?;
        self.call(name, arguments).map(Value::int)
    }

    fn call(&self, name: &str, arguments: Vec<Value>) -> Parsed<Dim> {
        let n = arguments.len();
        let mut arguments = arguments.into_iter();
        let mut next = || arguments.next().expect("the count is matched below");
        match (name, n) {
            ("floor", 1) => match next() {
                Value::Ratio(a, b) => Ok(a.floor_div(&b)),
                Value::Scaled(a, x) => Ok(a.scale_floor(x)),
                Value::Real(x) => Ok(Dim::ONE.scale_floor(x)),
                other => self.integer(other),
            },
            ("ceil" | "ceiling", 1) => match next() {
                Value::Ratio(a, b) => Ok(a.ceil_div(&b)),
                Value::Scaled(a, x) => Ok(-a.scale_floor(-x)),
                Value::Real(x) => Ok(-Dim::ONE.scale_floor(-x)),
                other => self.integer(other),
            },
            ("FloorDiv", 2) => Ok(self.integer(next())?.floor_div(&self.integer(next())?)),
            ("CeilDiv", 2) => Ok(self.integer(next())?.ceil_div(&self.integer(next())?)),
            ("mod" | "Mod", 2) => Ok(self.integer(next())?.modulo(&self.integer(next())?)),
            ("min" | "Min" | "max" | "Max", 1..) => {
                let mut best = self.integer(next())?;
                for other in arguments {
                    let other = self.integer(other)?;
                    best = if name.starts_with(['m', 'M']) && name.ends_with('n') {
                        best.min(other)
                    } else {
                        best.max(other)
                    };
                }
                Ok(best)
            }
            ("select", 3) => {
                let cond = self.condition(next())?;
                Ok(Dim::select(&cond, &self.integer(next())?, &self.integer(next())?))
            }
            _ => self.error(format!("no function `{name}` of {n} arguments")),
        }
    }
}
