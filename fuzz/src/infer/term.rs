//! Terms and requirements of inferred rules: integer expressions over the open numbers of a structure, with a text
//! form that people read and the rule file keeps.
//!
//! Arithmetic is that of mathematical integers; division and remainder round down. What is not defined (a division by
//! zero, overflow) has no value, and a requirement over it does not hold.

use egret_ir::{Cond, Dim};
use std::sync::Arc;

/// An operator of two terms.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Op2 {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `floor(a / b)`
    Floor,
    /// `ceil(a / b)`
    Ceil,
    /// `a - b * floor(a / b)`
    Mod,
    /// The lesser.
    Min,
    /// The greater.
    Max,
    /// `b` where `a` is 1, else `a`: the extent that two broadcast to.
    Bcast,
    /// An index from either end, `a < 0 ? a + b : a`.
    Wrap,
}

/// All of them, simplest first.
pub const OPS2: &[Op2] =
    &[Op2::Add, Op2::Sub, Op2::Mul, Op2::Bcast, Op2::Floor, Op2::Ceil, Op2::Min, Op2::Max, Op2::Mod];

/// An integer expression; variables are numbered as the structure lists them.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Term {
    /// A number.
    Int(i64),
    /// A variable.
    Var(usize),
    /// Two terms.
    Two(Op2, Arc<(Term, Term)>),
    /// The first term where the requirement holds, else the second.
    Select(Box<Pred>, Arc<(Term, Term)>),
}

/// A comparison.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Cmp {
    /// `a == b`
    Eq,
    /// `a != b`
    Ne,
    /// `a <= b`
    Le,
}

/// A requirement.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Pred {
    /// Of two terms.
    Cmp(Cmp, Term, Term),
    /// Any of several.
    Any(Vec<Pred>),
}

impl Term {
    /// `a op b`.
    pub fn two(op: Op2, a: Term, b: Term) -> Term {
        Term::Two(op, Arc::new((a, b)))
    }

    /// Sum of a list, 0 where it is empty.
    pub fn sum(items: impl IntoIterator<Item = Term>) -> Term {
        items.into_iter().reduce(|a, b| Term::two(Op2::Add, a, b)).unwrap_or(Term::Int(0))
    }

    /// Product of a list, 1 where it is empty.
    pub fn product(items: impl IntoIterator<Item = Term>) -> Term {
        items.into_iter().reduce(|a, b| Term::two(Op2::Mul, a, b)).unwrap_or(Term::Int(1))
    }

    /// `self + c`, the term itself where `c` is 0.
    pub fn plus(self, c: i64) -> Term {
        match (self, c) {
            (t, 0) => t,
            (Term::Int(v), c) => Term::Int(v + c),
            (t, c) if c < 0 => Term::two(Op2::Sub, t, Term::Int(-c)),
            (t, c) => Term::two(Op2::Add, t, Term::Int(c)),
        }
    }

    /// The value under an assignment.
    pub fn eval(&self, at: &[i64]) -> Option<i64> {
        Some(match self {
            Term::Int(v) => *v,
            Term::Var(v) => at[*v],
            Term::Two(op, ab) => op.apply(ab.0.eval(at)?, ab.1.eval(at)?)?,
            Term::Select(p, ab) => if p.holds(at) { &ab.0 } else { &ab.1 }.eval(at)?,
        })
    }

    /// As a dimension term, variable `v` being `vars[v]`.
    pub fn dim(&self, vars: &[Dim]) -> Dim {
        match self {
            Term::Int(v) => Dim::int(*v),
            Term::Var(v) => vars[*v].clone(),
            Term::Two(op, ab) => op.dim(&ab.0.dim(vars), &ab.1.dim(vars)),
            Term::Select(p, ab) => Dim::select(&p.cond(vars), &ab.0.dim(vars), &ab.1.dim(vars)),
        }
    }

    /// Adds that its divisors are not 0.
    fn defined(&self, vars: &[Dim], conds: &mut Vec<Cond>) {
        match self {
            Term::Int(_) | Term::Var(_) => {}
            Term::Two(op, ab) => {
                ab.0.defined(vars, conds);
                ab.1.defined(vars, conds);
                if matches!(op, Op2::Floor | Op2::Ceil | Op2::Mod) && !matches!(ab.1, Term::Int(1..)) {
                    let divides = Cond::ne(&ab.1.dim(vars), &Dim::ZERO);
                    if !conds.contains(&divides) {
                        conds.push(divides);
                    }
                }
            }
            Term::Select(p, ab) => {
                conds.extend(p.conds(vars).split_last().map(|(_, rest)| rest.to_vec()).unwrap_or_default());
                for (t, holds) in [(&ab.0, p.cond(vars)), (&ab.1, p.cond(vars).not())] {
                    let mut of = Vec::new();
                    t.defined(vars, &mut of);
                    conds.extend(of.iter().map(|c| c.or(&holds.not())));
                }
            }
        }
    }

    /// Calls `f` with every variable.
    pub fn each_var(&self, f: &mut impl FnMut(usize)) {
        match self {
            Term::Int(_) => {}
            Term::Var(v) => f(*v),
            Term::Two(_, ab) => {
                ab.0.each_var(f);
                ab.1.each_var(f);
            }
            Term::Select(p, ab) => {
                p.each_var(f);
                ab.0.each_var(f);
                ab.1.each_var(f);
            }
        }
    }

    /// Its variables, each once.
    pub fn vars(&self) -> Vec<usize> {
        let mut all = Vec::new();
        self.each_var(&mut |v| all.push(v));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// With variable `v` being `f(v)`.
    pub fn map(&self, f: &impl Fn(usize) -> Option<Term>) -> Option<Term> {
        Some(match self {
            Term::Int(v) => Term::Int(*v),
            Term::Var(v) => f(*v)?,
            Term::Two(op, ab) => Term::two(*op, ab.0.map(f)?, ab.1.map(f)?),
            Term::Select(p, ab) => Term::Select(Box::new(p.map(f)?), Arc::new((ab.0.map(f)?, ab.1.map(f)?))),
        })
    }

    /// As text, variable `v` being `names[v]`.
    pub fn text(&self, names: &[String]) -> String {
        let mut out = String::new();
        self.write(names, 0, &mut out);
        out
    }

    fn write(&self, names: &[String], outer: u8, out: &mut String) {
        match self {
            Term::Int(v) => out.push_str(&v.to_string()),
            Term::Var(v) => out.push_str(&names[*v]),
            Term::Two(op, ab) => match op.infix() {
                Some((sign, level)) => {
                    if level < outer {
                        out.push('(');
                    }
                    ab.0.write(names, level, out);
                    out.push_str(sign);
                    ab.1.write(names, level + 1, out);
                    if level < outer {
                        out.push(')');
                    }
                }
                None => {
                    out.push_str(op.name());
                    out.push('(');
                    ab.0.write(names, 0, out);
                    out.push_str(", ");
                    ab.1.write(names, 0, out);
                    out.push(')');
                }
            },
            Term::Select(p, ab) => {
                out.push_str("select(");
                out.push_str(&p.text(names));
                out.push_str(", ");
                ab.0.write(names, 0, out);
                out.push_str(", ");
                ab.1.write(names, 0, out);
                out.push(')');
            }
        }
    }
}

impl Op2 {
    fn apply(self, a: i64, b: i64) -> Option<i64> {
        match self {
            Op2::Add => a.checked_add(b),
            Op2::Sub => a.checked_sub(b),
            Op2::Mul => a.checked_mul(b),
            Op2::Floor => floor_div(a, b),
            Op2::Ceil => floor_div(a.checked_neg()?, b)?.checked_neg(),
            Op2::Mod => a.checked_sub(b.checked_mul(floor_div(a, b)?)?),
            Op2::Min => Some(a.min(b)),
            Op2::Max => Some(a.max(b)),
            Op2::Bcast => Some(if a == 1 { b } else { a }),
            Op2::Wrap => {
                if a < 0 {
                    a.checked_add(b)
                } else {
                    Some(a)
                }
            }
        }
    }

    fn dim(self, a: &Dim, b: &Dim) -> Dim {
        match self {
            Op2::Add => a + b,
            Op2::Sub => a - b,
            Op2::Mul => a * b,
            Op2::Floor => a.floor_div(b),
            Op2::Ceil => a.ceil_div(b),
            Op2::Mod => a.modulo(b),
            Op2::Min => Dim::min(a, b),
            Op2::Max => Dim::max(a, b),
            Op2::Bcast => Dim::select(&Cond::eq(a, &Dim::ONE), b, a),
            Op2::Wrap => Dim::select(&Cond::lt(a, &Dim::ZERO), &(a + b), a),
        }
    }

    fn infix(self) -> Option<(&'static str, u8)> {
        Some(match self {
            Op2::Add => (" + ", 1),
            Op2::Sub => (" - ", 1),
            Op2::Mul => (" * ", 2),
            Op2::Floor => (" // ", 2),
            Op2::Mod => (" % ", 2),
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Op2::Add => "add",
            Op2::Sub => "sub",
            Op2::Mul => "mul",
            Op2::Floor => "floor_div",
            Op2::Ceil => "ceil_div",
            Op2::Mod => "mod",
            Op2::Min => "min",
            Op2::Max => "max",
            Op2::Bcast => "broadcast",
            Op2::Wrap => "wrap",
        }
    }
}

fn floor_div(a: i64, b: i64) -> Option<i64> {
    let q = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q })
}

impl Pred {
    /// `a == b`.
    pub fn eq(a: Term, b: Term) -> Pred {
        Pred::Cmp(Cmp::Eq, a, b)
    }

    /// `a <= b`.
    pub fn le(a: Term, b: Term) -> Pred {
        Pred::Cmp(Cmp::Le, a, b)
    }

    /// Whether it holds; not where a term has no value.
    pub fn holds(&self, at: &[i64]) -> bool {
        match self {
            Pred::Cmp(cmp, a, b) => match (a.eval(at), b.eval(at)) {
                (Some(a), Some(b)) => match cmp {
                    Cmp::Eq => a == b,
                    Cmp::Ne => a != b,
                    Cmp::Le => a <= b,
                },
                _ => false,
            },
            Pred::Any(items) => items.iter().any(|p| p.holds(at)),
        }
    }

    /// As conditions over dimension terms, all of which must hold: that its divisors are not 0, then what it says.
    pub fn conds(&self, vars: &[Dim]) -> Vec<Cond> {
        let mut conds = Vec::new();
        match self {
            Pred::Cmp(_, a, b) => {
                a.defined(vars, &mut conds);
                b.defined(vars, &mut conds);
                conds.push(self.cond(vars));
            }
            Pred::Any(items) => {
                let items: Vec<Cond> = items.iter().map(|p| Cond::all(&p.conds(vars))).collect();
                conds.push(Cond::any(&items));
            }
        }
        conds
    }

    /// What it says, as a condition over dimension terms; where a term has no value, so has the condition.
    pub fn cond(&self, vars: &[Dim]) -> Cond {
        match self {
            Pred::Cmp(cmp, a, b) => {
                let (a, b) = (a.dim(vars), b.dim(vars));
                match cmp {
                    Cmp::Eq => Cond::eq(&a, &b),
                    Cmp::Ne => Cond::ne(&a, &b),
                    Cmp::Le => Cond::le(&a, &b),
                }
            }
            Pred::Any(items) => Cond::any(&items.iter().map(|p| p.cond(vars)).collect::<Vec<_>>()),
        }
    }

    /// Calls `f` with every variable.
    pub fn each_var(&self, f: &mut impl FnMut(usize)) {
        match self {
            Pred::Cmp(_, a, b) => {
                a.each_var(f);
                b.each_var(f);
            }
            Pred::Any(items) => items.iter().for_each(|p| p.each_var(f)),
        }
    }

    /// With variable `v` being `f(v)`.
    pub fn map(&self, f: &impl Fn(usize) -> Option<Term>) -> Option<Pred> {
        Some(match self {
            Pred::Cmp(cmp, a, b) => Pred::Cmp(*cmp, a.map(f)?, b.map(f)?),
            Pred::Any(items) => Pred::Any(items.iter().map(|p| p.map(f)).collect::<Option<_>>()?),
        })
    }

    /// As text.
    pub fn text(&self, names: &[String]) -> String {
        match self {
            Pred::Cmp(cmp, a, b) => {
                let sign = match cmp {
                    Cmp::Eq => "==",
                    Cmp::Ne => "!=",
                    Cmp::Le => "<=",
                };
                format!("{} {sign} {}", a.text(names), b.text(names))
            }
            Pred::Any(items) => items.iter().map(|p| p.text(names)).collect::<Vec<_>>().join(" or "),
        }
    }
}

/// Reads the text forms.
pub struct Parser<'a> {
    text: &'a str,
    names: &'a [String],
}

impl<'a> Parser<'a> {
    /// Terms are trees that functions walk by recursion, and a sum of n terms is n deep.
    const MAX_BYTES: usize = 4096;

    fn new(text: &'a str, names: &'a [String]) -> Result<Parser<'a>, String> {
        if text.len() > Parser::MAX_BYTES {
            return Err(format!("a text of {} bytes, {} are allowed", text.len(), Parser::MAX_BYTES));
        }
        Ok(Parser { text, names })
    }

    /// A term.
    ///
    /// # Errors
    /// What stands where in the text.
    pub fn term(text: &'a str, names: &'a [String]) -> Result<Term, String> {
        let mut p = Parser::new(text, names)?;
        let t = p.sum(0)?;
        p.end(t)
    }

    /// A requirement.
    ///
    /// # Errors
    /// What stands where in the text.
    pub fn pred(text: &'a str, names: &'a [String]) -> Result<Pred, String> {
        let mut p = Parser::new(text, names)?;
        let t = p.any(0)?;
        p.end(t)
    }

    fn end<T>(&self, value: T) -> Result<T, String> {
        if self.text.trim().is_empty() { Ok(value) } else { Err(format!("`{}` is left over", self.text.trim())) }
    }

    fn eat(&mut self, sign: &str) -> bool {
        match self.text.trim_start().strip_prefix(sign) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    fn want(&mut self, sign: &str) -> Result<(), String> {
        if self.eat(sign) { Ok(()) } else { Err(format!("`{sign}` is wanted before `{}`", self.text.trim())) }
    }

    fn any(&mut self, depth: u8) -> Result<Pred, String> {
        let mut items = vec![self.cmp(depth)?];
        while self.eat("or ") {
            items.push(self.cmp(depth)?);
        }
        Ok(if items.len() == 1 { items.remove(0) } else { Pred::Any(items) })
    }

    fn cmp(&mut self, depth: u8) -> Result<Pred, String> {
        let a = self.sum(depth)?;
        let cmp = [("==", Cmp::Eq), ("!=", Cmp::Ne), ("<=", Cmp::Le)].into_iter().find(|(sign, _)| self.eat(sign));
        let Some((_, cmp)) = cmp else { return Err(format!("a comparison is wanted before `{}`", self.text.trim())) };
        Ok(Pred::Cmp(cmp, a, self.sum(depth)?))
    }

    fn sum(&mut self, depth: u8) -> Result<Term, String> {
        if depth > 60 {
            return Err("the term is nested too deeply".into());
        }
        let mut t = self.factor(depth)?;
        loop {
            let op = if self.eat("+") {
                Op2::Add
            } else if self.eat("-") {
                Op2::Sub
            } else {
                return Ok(t);
            };
            t = Term::two(op, t, self.factor(depth)?);
        }
    }

    fn factor(&mut self, depth: u8) -> Result<Term, String> {
        let mut t = self.atom(depth)?;
        loop {
            let op = if self.eat("*") {
                Op2::Mul
            } else if self.eat("//") {
                Op2::Floor
            } else if self.eat("%") {
                Op2::Mod
            } else {
                return Ok(t);
            };
            t = Term::two(op, t, self.atom(depth)?);
        }
    }

    fn atom(&mut self, depth: u8) -> Result<Term, String> {
        if self.eat("(") {
            let t = self.sum(depth + 1)?;
            self.want(")")?;
            return Ok(t);
        }
        let text = self.text.trim_start();
        let minus = text.starts_with('-');
        let digits = text[usize::from(minus)..].bytes().take_while(u8::is_ascii_digit).count() + usize::from(minus);
        if digits > usize::from(minus) {
            let value = text[..digits].parse().map_err(|e| format!("`{}`: {e}", &text[..digits]))?;
            self.text = &text[digits..];
            return Ok(Term::Int(value));
        }
        let word = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"_.[]".contains(b)).count();
        let (word, rest) = text.split_at(word);
        if let Some(v) = self.names.iter().position(|n| n == word) {
            self.text = rest;
            return Ok(Term::Var(v));
        }
        self.text = rest;
        if word == "select" {
            self.want("(")?;
            let p = self.any(depth + 1)?;
            self.want(",")?;
            let a = self.sum(depth + 1)?;
            self.want(",")?;
            let b = self.sum(depth + 1)?;
            self.want(")")?;
            return Ok(Term::Select(Box::new(p), Arc::new((a, b))));
        }
        let named = [Op2::Ceil, Op2::Min, Op2::Max, Op2::Bcast, Op2::Wrap].into_iter().find(|op| op.name() == word);
        let Some(op) = named else { return Err(format!("`{word}` is no variable of the structure")) };
        self.want("(")?;
        let a = self.sum(depth + 1)?;
        self.want(",")?;
        let b = self.sum(depth + 1)?;
        self.want(")")?;
        Ok(Term::two(op, a, b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["X[0]", "strides[1]", "group"].map(String::from).into()
    }

    #[test]
    fn text_is_read_as_it_is_written() {
        for text in [
            "(X[0] + 2 * strides[1] - group) // strides[1] + 1",
            "broadcast(X[0], max(group, -1)) - (group - 2)",
            "select(X[0] == 1 or group <= 2, ceil_div(X[0], 2), wrap(group, X[0] % 4))",
        ] {
            let t = Parser::term(text, &names()).unwrap();
            assert_eq!(t.text(&names()), text);
        }
        let p = Parser::pred("X[0] == 1 or group == 1 or X[0] == group", &names()).unwrap();
        assert_eq!(p.text(&names()), "X[0] == 1 or group == 1 or X[0] == group");
    }

    #[test]
    fn bad_text_is_refused() {
        for text in ["", "X[9]", "1 +", "(1", "frob(1, 2)", "1 2", &"(".repeat(500)] {
            assert!(Parser::term(text, &names()).is_err(), "{text}");
        }
    }

    #[test]
    fn terms_and_dimension_terms_have_one_value() {
        let vars: Vec<Dim> = ["a", "b", "c"].iter().map(|n| Dim::sym(n)).collect();
        let t = Parser::term("(X[0] + 7 * group) // strides[1] % 5 - ceil_div(X[0], strides[1])", &names()).unwrap();
        for at in [[3, 2, 1], [9, 4, 0], [17, 3, 5]] {
            let sizes = |s: &str| Some(at[["a", "b", "c"].iter().position(|n| *n == s)?]);
            assert_eq!(t.eval(&at), t.dim(&vars).eval(&sizes));
        }
        assert_eq!(t.eval(&[1, 0, 1]), None);
    }
}
