//! Arithmetic of indices: ranges, linear normal form, division and remainder by constants.
//!
//! An `i64` sum is kept as `c0 + c1*t1 + c2*t2 + …`, terms in order of their ids, each term no sum itself. Sums, differences
//! and products by constants agree with wrapping arithmetic always; rules about division hold for mathematical integers
//! and are therefore used only where [`Arena::range`] proves that nothing overflows.
//!
//! The rules, for constants `c > 0`:
//! - `(c*x + r) / c = x` and `(c*x + r) mod c = r` if `0 <= r < c`;
//! - `(g*x + r) / (g*d) = x / d`, and `(g*x + r) mod (g*d) = g * (x mod d) + r`, if `0 <= r < g`;
//! - `(x / a) / b = x / (a*b)`; `(x mod (c*d)) mod c = x mod c`; `(x mod (c*d)) / c = (x / c) mod d`;
//! - `c*(x / c) + x mod c = x` (which undoes a reshape).

use super::expr::{Arena, BinOp, CmpOp, ExprId, Node, UnOp};

use crate::DType;

/// `constant + sum of factor * term`; terms sorted by id, factors not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linear {
    /// Terms and their factors.
    pub terms: Vec<(ExprId, i64)>,
    /// What is added.
    pub constant: i64,
}

impl Linear {
    /// `self + factor * other`, wrapping.
    pub fn add_scaled(&mut self, other: &Linear, factor: i64) {
        self.constant = self.constant.wrapping_add(other.constant.wrapping_mul(factor));
        for &(term, c) in &other.terms {
            self.add_term(term, c.wrapping_mul(factor));
        }
    }

    fn add_term(&mut self, term: ExprId, factor: i64) {
        match self.terms.binary_search_by_key(&term, |t| t.0) {
            Ok(i) => {
                self.terms[i].1 = self.terms[i].1.wrapping_add(factor);
                if self.terms[i].1 == 0 {
                    self.terms.remove(i);
                }
            }
            Err(_) if factor == 0 => {}
            Err(i) => self.terms.insert(i, (term, factor)),
        }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1)
}

impl Arena {
    /// The linear form of an `i64` expression.
    pub fn linear(&self, e: ExprId) -> Linear {
        match *self.node(e) {
            Node::Const(bits) => Linear { terms: Vec::new(), constant: bits as i64 },
            Node::Bin(BinOp::Add, a, b) => {
                let mut sum = self.linear(a);
                sum.add_scaled(&self.linear(b), 1);
                sum
            }
            Node::Bin(BinOp::Mul, a, b) => match self.as_int(b) {
                Some(c) => {
                    let mut scaled = Linear::default();
                    scaled.add_scaled(&self.linear(a), c);
                    scaled
                }
                None => Linear { terms: vec![(e, 1)], constant: 0 },
            },
            _ => Linear { terms: vec![(e, 1)], constant: 0 },
        }
    }

    /// The expression of a linear form.
    pub fn from_linear(&mut self, form: &Linear) -> ExprId {
        let form = self.join_divisions(form.clone());
        let mut sum: Option<ExprId> = None;
        for &(term, factor) in &form.terms {
            let part = if factor == 1 {
                term
            } else {
                let c = self.int(factor);
                self.intern(DType::I64, Node::Bin(BinOp::Mul, term, c))
            };
            sum = Some(match sum {
                None => part,
                Some(s) => self.intern(DType::I64, Node::Bin(BinOp::Add, s, part)),
            });
        }
        match sum {
            None => self.int(form.constant),
            Some(s) if form.constant == 0 => s,
            Some(s) => {
                let c = self.int(form.constant);
                self.intern(DType::I64, Node::Bin(BinOp::Add, s, c))
            }
        }
    }

    /// Replaces `k*c*(x / c) + k*(x mod c)` by `k*x` as long as there is one.
    fn join_divisions(&mut self, mut form: Linear) -> Linear {
        'again: loop {
            for i in 0..form.terms.len() {
                let (term, k) = form.terms[i];
                let Node::Bin(BinOp::FloorMod, x, c) = *self.node(term) else { continue };
                let Some(size) = self.as_int(c).filter(|&c| c > 0) else { continue };
                let quotient = self.floor_div(x, size);
                // The quotient may itself be scaled or a sum; only a plain term can be found among the terms.
                let wanted = self.linear(quotient);
                let Some(kc) = k.checked_mul(size) else { continue };
                let [(q, 1)] = wanted.terms[..] else { continue };
                let Ok(at) = form.terms.binary_search_by_key(&q, |t| t.0) else { continue };
                if form.terms[at].1 != kc || wanted.constant != 0 {
                    continue;
                }
                let x = self.linear(x);
                form.add_term(q, kc.wrapping_neg());
                form.add_term(term, k.wrapping_neg());
                form.add_scaled(&x, k);
                continue 'again;
            }
            return form;
        }
    }

    /// Smallest and largest value of a linear form, if no part of it can overflow.
    pub fn linear_range(&self, form: &Linear) -> Option<(i64, i64)> {
        let (mut lo, mut hi) = (form.constant, form.constant);
        for &(term, c) in &form.terms {
            let (a, b) = self.range(term)?;
            let (x, y) = (a.checked_mul(c)?, b.checked_mul(c)?);
            lo = lo.checked_add(x.min(y))?;
            hi = hi.checked_add(x.max(y))?;
        }
        Some((lo, hi))
    }

    /// `a op b` on `i64`.
    pub(super) fn index_bin(&mut self, op: BinOp, a: ExprId, b: ExprId) -> ExprId {
        match op {
            BinOp::Add | BinOp::Sub => {
                let mut sum = self.linear(a);
                let other = self.linear(b);
                sum.add_scaled(&other, if op == BinOp::Add { 1 } else { -1 });
                self.from_linear(&sum)
            }
            BinOp::Mul => match (self.as_int(a), self.as_int(b)) {
                (Some(c), _) => self.scale(b, c),
                (_, Some(c)) => self.scale(a, c),
                _ => self.intern(DType::I64, Node::Bin(op, a.min(b), a.max(b))),
            },
            BinOp::FloorDiv | BinOp::Div => match self.as_int(b) {
                Some(1) => a,
                // Truncating and rounding down agree on what is not negative.
                Some(c) if c > 0 && (op == BinOp::FloorDiv || self.range(a).is_some_and(|r| r.0 >= 0)) => {
                    self.floor_div(a, c)
                }
                _ => self.intern(DType::I64, Node::Bin(op, a, b)),
            },
            BinOp::FloorMod | BinOp::Rem => match self.as_int(b) {
                Some(c) if c > 0 && (op == BinOp::FloorMod || self.range(a).is_some_and(|r| r.0 >= 0)) => {
                    self.floor_mod(a, c)
                }
                _ => self.intern(DType::I64, Node::Bin(op, a, b)),
            },
            BinOp::Min | BinOp::Max => {
                let (lower, upper) = if op == BinOp::Min { (a, b) } else { (b, a) };
                match self.compare_ranges(CmpOp::Le, lower, upper) {
                    Some(true) => a,
                    Some(false) => b,
                    None => self.intern(DType::I64, Node::Bin(op, a, b)),
                }
            }
            _ => self.intern(DType::I64, Node::Bin(op, a, b)),
        }
    }

    fn scale(&mut self, a: ExprId, c: i64) -> ExprId {
        let mut scaled = Linear::default();
        let a = self.linear(a);
        scaled.add_scaled(&a, c);
        self.from_linear(&scaled)
    }

    /// `form` as `c * quotient + rest` with `0 <= constant of rest < c`, if nothing overflows.
    fn split(&self, form: &Linear, c: i64) -> Option<(Linear, Linear)> {
        let mut quotient = Linear { terms: Vec::new(), constant: form.constant.div_euclid(c) };
        let mut rest = Linear { terms: Vec::new(), constant: form.constant.rem_euclid(c) };
        for &(term, f) in &form.terms {
            let (q, r) = (f.div_euclid(c), f.rem_euclid(c));
            if r == 0 {
                quotient.terms.push((term, q));
            } else {
                rest.terms.push((term, f));
            }
        }
        self.linear_range(form)?;
        self.linear_range(&quotient)?;
        self.linear_range(&rest)?;
        Some((quotient, rest))
    }

    /// `rest` as `g * high + low` with `0 <= low < g`, for the largest `1 < g` that divides `c`.
    fn peel(&self, rest: &Linear, c: i64) -> Option<(i64, Linear, Linear)> {
        let mut candidates: Vec<i64> = rest.terms.iter().map(|&(_, f)| gcd(c, f)).filter(|&g| g > 1).collect();
        candidates.sort_unstable();
        candidates.dedup();
        candidates.into_iter().rev().find_map(|g| {
            let (mut high, mut low) = self.split(rest, g)?;
            let (lo, hi) = self.linear_range(&low)?;
            let block = lo.div_euclid(g);
            if block != hi.div_euclid(g) {
                return None;
            }
            high.constant = high.constant.checked_add(block)?;
            low.constant = low.constant.checked_sub(block.checked_mul(g)?)?;
            Some((g, high, low))
        })
    }

    fn floor_div(&mut self, a: ExprId, c: i64) -> ExprId {
        if c == 1 {
            return a;
        }
        let form = self.linear(a);
        if let Some((mut quotient, rest)) = self.split(&form, c) {
            let (lo, hi) = self.linear_range(&rest).unwrap_or((i64::MIN, i64::MAX));
            if lo.div_euclid(c) == hi.div_euclid(c) {
                quotient.constant += lo.div_euclid(c);
                return self.from_linear(&quotient);
            }
            let part = match self.peel(&rest, c) {
                Some((g, high, _)) => {
                    let high = self.from_linear(&high);
                    self.floor_div(high, c / g)
                }
                None => {
                    let rest = self.from_linear(&rest);
                    self.plain_floor_div(rest, c)
                }
            };
            let part = self.linear(part);
            quotient.add_scaled(&part, 1);
            return self.from_linear(&quotient);
        }
        self.plain_floor_div(a, c)
    }

    fn plain_floor_div(&mut self, a: ExprId, c: i64) -> ExprId {
        if c == 1 {
            return a;
        }
        if let Node::Bin(BinOp::FloorDiv, x, d) = *self.node(a)
            && let Some(joined) = self.as_int(d).filter(|&d| d > 0).and_then(|d| d.checked_mul(c))
        {
            return self.floor_div(x, joined);
        }
        if let Node::Bin(BinOp::FloorMod, x, m) = *self.node(a)
            && let Some(m) = self.as_int(m).filter(|&m| m > 0 && m % c == 0)
        {
            let quotient = self.floor_div(x, c);
            return self.floor_mod(quotient, m / c);
        }
        let c = self.int(c);
        self.intern(DType::I64, Node::Bin(BinOp::FloorDiv, a, c))
    }

    fn floor_mod(&mut self, a: ExprId, c: i64) -> ExprId {
        if c == 1 {
            return self.int(0);
        }
        let form = self.linear(a);
        if let Some((_, rest)) = self.split(&form, c) {
            if let Some((lo, hi)) = self.linear_range(&rest)
                && lo.div_euclid(c) == hi.div_euclid(c)
            {
                let mut rest = rest;
                rest.constant -= lo.div_euclid(c) * c;
                return self.from_linear(&rest);
            }
            if let Some((g, high, mut low)) = self.peel(&rest, c) {
                let high = self.from_linear(&high);
                let part = self.floor_mod(high, c / g);
                let part = self.linear(part);
                low.add_scaled(&part, g);
                return self.from_linear(&low);
            }
            let rest = self.from_linear(&rest);
            return self.plain_floor_mod(rest, c);
        }
        self.plain_floor_mod(a, c)
    }

    fn plain_floor_mod(&mut self, a: ExprId, c: i64) -> ExprId {
        if let Node::Bin(BinOp::FloorMod, x, d) = *self.node(a)
            && self.as_int(d).is_some_and(|d| d > 0 && d % c == 0)
        {
            return self.floor_mod(x, c);
        }
        let c = self.int(c);
        self.intern(DType::I64, Node::Bin(BinOp::FloorMod, a, c))
    }

    /// What ranges say about a comparison of integers.
    pub(super) fn compare_ranges(&self, op: CmpOp, a: ExprId, b: ExprId) -> Option<bool> {
        let (lo, hi) = if self.dtype(a) == DType::I64 && self.range(a).is_some() && self.range(b).is_some() {
            let mut difference = self.linear(a);
            difference.add_scaled(&self.linear(b), -1);
            self.linear_range(&difference)?
        } else {
            let ((a0, a1), (b0, b1)) = (self.range(a)?, self.range(b)?);
            (a0.checked_sub(b1)?, a1.checked_sub(b0)?)
        };
        match op {
            CmpOp::Lt if hi < 0 => Some(true),
            CmpOp::Lt if lo >= 0 => Some(false),
            CmpOp::Le if hi <= 0 => Some(true),
            CmpOp::Le if lo > 0 => Some(false),
            CmpOp::Gt if lo > 0 => Some(true),
            CmpOp::Gt if hi <= 0 => Some(false),
            CmpOp::Ge if lo >= 0 => Some(true),
            CmpOp::Ge if hi < 0 => Some(false),
            CmpOp::Eq if lo > 0 || hi < 0 => Some(false),
            CmpOp::Eq if lo == 0 && hi == 0 => Some(true),
            CmpOp::Ne if lo > 0 || hi < 0 => Some(true),
            CmpOp::Ne if lo == 0 && hi == 0 => Some(false),
            _ => None,
        }
    }

    /// The range of a node about to be added.
    pub(super) fn compute_range(&self, dtype: DType, node: &Node) -> Option<(i64, i64)> {
        if dtype == DType::Bool {
            return Some((0, 1));
        }
        if dtype == DType::U64 || !dtype.is_int() {
            return None;
        }
        let within = |r: (i64, i64)| match dtype.int_range() {
            Some((lo, hi)) if lo <= i128::from(r.0) && i128::from(r.1) <= hi => Some(r),
            _ => None,
        };
        // Every value of a narrow type lies in its range.
        let full = match dtype {
            DType::I64 => None,
            t => t.int_range().map(|(lo, hi)| (lo as i64, hi as i64)),
        };
        let tight = match *node {
            Node::Const(bits) => Some((bits as i64, bits as i64)),
            Node::Var(v) => {
                let r = self.var_range(v);
                Some((r.start, (r.end - 1).max(r.start)))
            }
            Node::Bin(op, a, b) => {
                let ((a0, a1), (b0, b1)) = (self.range(a)?, self.range(b)?);
                match op {
                    BinOp::Add => a0.checked_add(b0).zip(a1.checked_add(b1)),
                    BinOp::Sub => a0.checked_sub(b1).zip(a1.checked_sub(b0)),
                    BinOp::Mul => {
                        let all = [a0.checked_mul(b0), a0.checked_mul(b1), a1.checked_mul(b0), a1.checked_mul(b1)];
                        all.iter().copied().collect::<Option<Vec<i64>>>().map(|all| {
                            (all.iter().copied().fold(i64::MAX, i64::min), all.iter().copied().fold(i64::MIN, i64::max))
                        })
                    }
                    BinOp::FloorDiv if b0 > 0 => Some((a0.div_euclid(if a0 < 0 { b0 } else { b1 }), {
                        a1.div_euclid(if a1 < 0 { b1 } else { b0 })
                    })),
                    BinOp::Div if b0 > 0 && a0 >= 0 => Some((a0 / b1, a1 / b0)),
                    BinOp::FloorMod if b0 > 0 => Some((0, b1 - 1)),
                    BinOp::Rem if b0 > 0 => Some((if a0 < 0 { 1 - b1 } else { 0 }, if a1 > 0 { b1 - 1 } else { 0 })),
                    BinOp::Min => Some((a0.min(b0), a1.min(b1))),
                    BinOp::Max => Some((a0.max(b0), a1.max(b1))),
                    _ => None,
                }
            }
            Node::Un(UnOp::Neg, a) => self.range(a).and_then(|(lo, hi)| hi.checked_neg().zip(lo.checked_neg())),
            Node::Select(_, a, b) => {
                self.range(a).zip(self.range(b)).map(|((a0, a1), (b0, b1))| (a0.min(b0), a1.max(b1)))
            }
            Node::Cast { value, .. } => self.range(value),
            Node::Reduce { op, ref vars, .. } if op.is_arg() => {
                vars.first().map(|&v| (0, (self.var_range(v).end - 1).max(0)))
            }
            _ => None,
        };
        tight.and_then(within).or(full)
    }
}
