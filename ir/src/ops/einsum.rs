//! `output[out] = sum prod_k input_k[term_k]`: Einstein's summation.
//!
//! The equation is `term, term… -> out`, each term one letter an axis, `...` for axes that broadcast. Without `->` the
//! letters that stand once, in order of their codes, after the broadcast axes, are the result. A letter that stands
//! twice in a term takes the diagonal.
//!
//! - **C1** one element type, a number
//! - **C2** the equation is well formed, has one term an operand, and its result's letters occur in a term, once each
//! - **C3** a term has as many letters as its operand has axes, all `...` stand for as many axes
//! - **C4** extents of one letter agree, or are 1
//!
//! Integers wrap. ONNX `Einsum`: opset 12, 28 (bfloat16).

use super::common::*;
use super::contraction::Ring;
use super::lowering::{self, ComputeBuilder, ExprId, Loops, ReduceOp, TensorId};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::lower::MatMul;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::{Tensor, len_elems, strides};

attributes! {
    /// Attributes of `Einsum`.
    pub struct Einsum {
        /// The equation.
        equation: String,
    }
}

/// An axis' name: a letter, or the `n`-th axis from the end of `...`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Label {
    Letter(char),
    Dots(usize),
}

/// Terms of the operands, the result's, all distinct labels.
struct Plan {
    terms: Vec<Vec<Label>>,
    out: Vec<Label>,
}

impl Plan {
    /// Extent of a label: the largest of any operand's axis.
    fn extent(&self, shapes: &[&[usize]], label: &Label) -> usize {
        let axes = self.terms.iter().flatten().zip(shapes.iter().copied().flatten());
        let mut extents = axes.filter(|a| a.0 == label).map(|a| *a.1);
        // An extent of 1 broadcasts, to 0 as well.
        let first = extents.next().unwrap_or(1);
        extents.fold(first, |n, e| if n == 1 { e } else { n })
    }

    /// Labels that are summed over, in order of first occurrence.
    fn summed(&self) -> Vec<Label> {
        let mut out: Vec<Label> = Vec::new();
        for l in self.terms.iter().flatten() {
            if !self.out.contains(l) && !out.contains(l) {
                out.push(*l);
            }
        }
        out
    }

    /// The matrix product that it is, if it is one of two operands: the result's labels are batch, rows of the first
    /// operand and columns of the second, each group lying in its operand with one stride.
    fn product(&self, shapes: &[&[usize]]) -> Option<MatMul> {
        let ([a, b], [x, y]) = (self.terms.as_slice(), shapes) else { return None };
        let distinct = |t: &[Label]| t.iter().enumerate().all(|(i, l)| !t[..i].contains(l));
        let full = |t: &[Label], s: &[usize]| t.iter().zip(s).all(|(l, &n)| n == self.extent(shapes, l) && n > 0);
        if !distinct(a) || !distinct(b) || !full(a, x) || !full(b, y) {
            return None;
        }
        let step =
            |term: &[Label], shape: &[usize], l: &Label| term.iter().position(|t| t == l).map(|at| strides(shape)[at]);
        let (in_a, in_b) = (|l: &Label| step(a, x, l), |l: &Label| step(b, y, l));
        let k: Vec<Label> = self.summed();
        if k.is_empty() || !k.iter().all(|l| a.contains(l) && b.contains(l)) {
            return None;
        }
        let trailing = |end: usize, own: &dyn Fn(&Label) -> bool| {
            (0..end).rev().take_while(|&i| own(&self.out[i])).last().unwrap_or(end)
        };
        let cols = trailing(self.out.len(), &|l| b.contains(l) && !a.contains(l));
        let rows = trailing(cols, &|l| a.contains(l) && !b.contains(l));
        // Extent and stride of labels that lie as one axis.
        let joined = |labels: &[Label], step: &dyn Fn(&Label) -> Option<usize>| {
            let (mut extent, mut stride) = (1, None);
            for l in labels.iter().rev() {
                let (n, s) = (self.extent(shapes, l), step(l)?);
                match stride {
                    _ if n == 1 => {}
                    None => stride = Some(s),
                    Some(inner) if s == inner * extent => {}
                    Some(_) => return None,
                }
                extent *= n;
            }
            Some((extent, stride.unwrap_or(1)))
        };
        let (m, a_m) = joined(&self.out[rows..cols], &in_a)?;
        let (n, b_n) = joined(&self.out[cols..], &in_b)?;
        let ((extent, a_k), (_, b_k)) = (joined(&k, &in_a)?, joined(&k, &in_b)?);
        // The kernels read rows or columns of the second operand.
        let b_strides = if n == 1 { (b_k, 1) } else { (b_k, b_n) };
        if b_strides.0 != 1 && b_strides.1 != 1 {
            return None;
        }
        let batch =
            self.out[..rows].iter().map(|l| (self.extent(shapes, l), in_a(l).unwrap_or(0), in_b(l).unwrap_or(0)));
        Some(MatMul {
            batch: batch.collect(),
            m,
            n,
            k: extent,
            a_strides: (if m == 1 { extent * a_k } else { a_m }, a_k),
            b_strides,
            bias: None,
            alpha: 1.0,
            beta: 1.0,
        })
    }
}

/// Labels of a term and the value that has them.
type Operand = (Vec<Label>, ValueId);

/// Adds `equation(x)` for terms without `...`.
fn summation(b: &mut GraphBuilder, x: &[Operand], out: &[Label], names: &[Label]) -> Result<ValueId> {
    let name = |l: &Label| {
        let at = names.iter().position(|n| n == l).unwrap_or_default() as u8;
        char::from(if at < 26 { b'a' + at } else { b'A' + (at - 26) })
    };
    let term = |t: &[Label]| t.iter().map(name).collect::<String>();
    let terms: Vec<String> = x.iter().map(|o| term(&o.0)).collect();
    let equation = format!("{}->{}", terms.join(","), term(out));
    b.op("Einsum", attrs! { equation: equation.as_str() }, &x.iter().map(|o| o.1).collect::<Vec<_>>())
}

/// `x` with its axes in the order `labels`.
fn reordered(b: &mut GraphBuilder, x: Operand, labels: &[Label]) -> Result<Operand> {
    if x.0 == labels {
        return Ok(x);
    }
    let perm: Vec<i64> = labels.iter().filter_map(|l| x.0.iter().position(|o| o == l)).map(|i| i as i64).collect();
    let y = b.op("Transpose", attrs! { perm: perm }, &[x.1])?;
    Ok((labels.to_vec(), y))
}

impl Plan {
    /// All labels, in order of first occurrence.
    fn labels(&self) -> Vec<Label> {
        let mut all: Vec<Label> = Vec::new();
        for l in self.terms.iter().flatten() {
            if !all.contains(l) {
                all.push(*l);
            }
        }
        all
    }

    /// Three or more operands as a chain of pairs. The next pair is the one whose index space is least, then the one
    /// whose result is least: greedy, as `opt_einsum` names it (Smith and Gray, JOSS 3(26), 2018).
    fn pairs(&self, b: &mut GraphBuilder, x: &[ValueId], shapes: &[&[usize]]) -> Result<ValueId> {
        let names = self.labels();
        let extent = |labels: &[Label]| labels.iter().map(|l| self.extent(shapes, l) as f64).product::<f64>();
        let mut left: Vec<Operand> = self.terms.iter().cloned().zip(x.iter().copied()).collect();
        while left.len() > 2 {
            let mut best: Option<(f64, f64, usize, usize, Vec<Label>)> = None;
            for i in 0..left.len() {
                for j in i + 1..left.len() {
                    let (p, q) = (&left[i].0, &left[j].0);
                    let needed = |l: &Label| {
                        let others = left.iter().enumerate().filter(|(k, _)| *k != i && *k != j);
                        self.out.contains(l) || others.into_iter().any(|(_, o)| o.0.contains(l))
                    };
                    let of =
                        |keep: &dyn Fn(&Label) -> bool| names.iter().filter(|l| keep(l)).copied().collect::<Vec<_>>();
                    let space = of(&|l| p.contains(l) || q.contains(l));
                    let mut made = of(&|l| p.contains(l) && q.contains(l) && needed(l));
                    made.extend(of(&|l| p.contains(l) && !q.contains(l) && needed(l)));
                    made.extend(of(&|l| q.contains(l) && !p.contains(l) && needed(l)));
                    let cost = (extent(&space), extent(&made));
                    if best.as_ref().is_none_or(|b| cost < (b.0, b.1)) {
                        best = Some((cost.0, cost.1, i, j, made));
                    }
                }
            }
            let Some((_, _, i, j, made)) = best else { break };
            let q = left.remove(j);
            let p = left.remove(i);
            let y = summation(b, &[p, q], &made, &names)?;
            left.push((made, y));
        }
        summation(b, &left, &self.out, &names)
    }

    /// Two operands as a matrix product between transpositions, where its arithmetic outweighs them.
    fn transposed(&self, b: &mut GraphBuilder, x: &[ValueId], shapes: &[&[usize]]) -> Result<Option<ValueId>> {
        let ([p, q], [xp, xq], [sp, sq]) = (self.terms.as_slice(), x, shapes) else { return Ok(None) };
        let plain = |t: &[Label], s: &[usize]| {
            t.iter().zip(s).enumerate().all(|(i, (l, &n))| !t[..i].contains(l) && n > 0 && n == self.extent(shapes, l))
        };
        let k = self.summed();
        if !plain(p, sp) || !plain(q, sq) || k.is_empty() || !k.iter().all(|l| p.contains(l) && q.contains(l)) {
            return Ok(None);
        }
        let of = |keep: &dyn Fn(&Label) -> bool| self.out.iter().filter(|l| keep(l)).copied().collect::<Vec<_>>();
        let batch = of(&|l| p.contains(l) && q.contains(l));
        let rows = of(&|l| p.contains(l) && !q.contains(l));
        let cols = of(&|l| q.contains(l) && !p.contains(l));
        if rows.is_empty() || cols.is_empty() {
            return Ok(None);
        }
        let count = |labels: &[Label]| labels.iter().map(|l| self.extent(shapes, l) as f64).product::<f64>();
        let moved = count(p) + count(q) + count(&self.out);
        if count(&batch) * count(&rows) * count(&cols) * count(&k) < 4.0 * moved {
            return Ok(None);
        }
        let names = self.labels();
        let p = reordered(b, (p.clone(), *xp), &[batch.as_slice(), &rows, &k].concat())?;
        // A product reads rows or columns of its second operand.
        let tail = if q.last().is_some_and(|l| k.contains(l)) { [&cols, &k] } else { [&k, &cols] };
        let q = reordered(b, (q.clone(), *xq), &[batch.as_slice(), tail[0], tail[1]].concat())?;
        let out = [batch, rows, cols].concat();
        let y = summation(b, &[p, q], &out, &names)?;
        Ok(Some(reordered(b, (out, y), &self.out)?.1))
    }
}

impl Einsum {
    fn plan(&self, ranks: &[usize]) -> Result<Plan> {
        let bad = |m: String| Error::violation("C2", format!("equation \"{}\": {m}", self.equation));
        let text: String = self.equation.chars().filter(|c| *c != ' ').collect();
        let (left, right) = match text.split_once("->") {
            Some((l, r)) => (l, Some(r)),
            None => (text.as_str(), None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != ranks.len() {
            return Err(bad(format!("{} terms for {} operands", terms.len(), ranks.len())));
        }
        let letters = |term: &str| -> Result<(Vec<char>, Option<usize>)> {
            let (a, b) = match term.split_once("...") {
                Some((a, b)) => (a, Some(b)),
                None => (term, None),
            };
            let all: Vec<char> = a.chars().chain(b.unwrap_or("").chars()).collect();
            match all.iter().find(|c| !c.is_ascii_alphabetic()) {
                Some(c) => Err(bad(format!("'{c}' is no letter"))),
                None => Ok((all, b.map(|_| a.len()))),
            }
        };
        let mut dots: Option<usize> = None;
        let mut parsed = Vec::new();
        for (term, &rank) in terms.iter().zip(ranks) {
            let (all, at) = letters(term)?;
            let fits = if at.is_some() { all.len() <= rank } else { all.len() == rank };
            if !fits {
                return Err(Error::violation("C3", format!("term \"{term}\" for an operand of rank {rank}")));
            }
            if at.is_some() {
                let n = rank - all.len();
                if *dots.get_or_insert(n) != n {
                    return Err(Error::violation("C3", "`...` stands for different numbers of axes"));
                }
            }
            parsed.push((all, at));
        }
        let n_dots = dots.unwrap_or(0);
        let expand = |(all, at): &(Vec<char>, Option<usize>)| -> Vec<Label> {
            let mut out: Vec<Label> = all.iter().map(|&c| Label::Letter(c)).collect();
            if let Some(at) = at {
                out.splice(at..at, (0..n_dots).rev().map(Label::Dots));
            }
            out
        };
        let terms: Vec<Vec<Label>> = parsed.iter().map(expand).collect();
        let out = match right {
            Some(r) => expand(&letters(r)?),
            None => {
                let all: Vec<char> = parsed.iter().flat_map(|p| p.0.clone()).collect();
                let mut once: Vec<char> =
                    all.iter().copied().filter(|c| all.iter().filter(|d| *d == c).count() == 1).collect();
                once.sort_unstable();
                (0..n_dots).rev().map(Label::Dots).chain(once.into_iter().map(Label::Letter)).collect()
            }
        };
        for (i, l) in out.iter().enumerate() {
            if out[..i].contains(l) || !terms.iter().any(|t| t.contains(l)) {
                return Err(bad(format!("{l:?} stands twice in the result or in no term")));
            }
        }
        Ok(Plan { terms, out })
    }
}

impl Op for Einsum {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let n = cx.n_inputs();
        cx.require("C2", n >= 1, || "no operand is given".into())?;
        cx.require_dtype("C1", 0, sets::NUMBERS)?;
        let dtype = cx.same_dtype("C1", 0..n)?;
        let shapes = (0..n).map(|i| cx.shape(i)).collect::<RuleResult<Vec<_>>>()?;
        let plan = self.plan(&shapes.iter().map(Vec::len).collect::<Vec<_>>())?;
        let mut known: Vec<(Label, Dim)> = Vec::new();
        for (label, d) in plan.terms.iter().flatten().zip(shapes.iter().flatten()) {
            match known.iter().position(|k| k.0 == *label) {
                Some(i) => {
                    let both = cx.broadcast("C4", &[vec![known[i].1.clone()], vec![d.clone()]])?;
                    known[i].1 = both[0].clone();
                }
                None => known.push((*label, d.clone())),
            }
        }
        let extent = |l: &Label| known.iter().find(|k| k.0 == *l).map(|k| k.1.clone());
        let shape = plan.out.iter().filter_map(extent).collect();
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = (0..cx.n_inputs()).map(|i| cx.tensor(i)).collect::<Result<Vec<_>>>()?;
        let (dtype, shape) = cx.out(0)?;
        let plan = self.plan(&x.iter().map(|t| t.rank()).collect::<Vec<_>>())?;
        let y = if dtype.is_float() {
            let v = x.iter().map(|t| t.floats()).collect::<Result<Vec<_>>>()?;
            Tensor::from_floats(dtype, &shape, contract(&plan, cx, &x, &v, &shape)?)
        } else {
            let v = x.iter().map(|t| t.ints()).collect::<Result<Vec<_>>>()?;
            Tensor::from_ints(dtype, &shape, contract(&plan, cx, &x, &v, &shape)?)
        };
        cx.push(y);
        Ok(())
    }

    /// More than two operands are summed pair by pair, two whose axes do not lie as a product wants are transposed.
    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let Some(x) = x.iter().copied().collect::<Option<Vec<ValueId>>>() else { return Ok(None) };
        let Some(types) = x.iter().map(|&v| b.ty(v).concrete()).collect::<Option<Vec<_>>>() else { return Ok(None) };
        let shapes: Vec<&[usize]> = types.iter().map(|t| t.1.as_slice()).collect();
        let plan = self.plan(&shapes.iter().map(|s| s.len()).collect::<Vec<_>>())?;
        // Names of the parts' equations.
        if plan.labels().len() > 52 || !types[0].0.is_float() {
            return Ok(None);
        }
        Ok(match x.len() {
            0 | 1 => None,
            2 if types[0].0 != DType::F32 || plan.product(&shapes).is_some_and(|p| p.m * p.n > 1) => None,
            2 => plan.transposed(b, &x, &shapes)?.map(|y| vec![y]),
            _ => Some(vec![plan.pairs(b, &x, &shapes)?]),
        })
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let n = cx.inputs.len();
        let shapes: Vec<&[usize]> = (0..n).map(|i| cx.shape(i)).collect();
        let plan = self.plan(&shapes.iter().map(|s| s.len()).collect::<Vec<_>>())?;
        if let Some(product) = plan.product(&shapes).filter(|_| cx.dtype(0) == DType::F32) {
            return Ok(Lowering::MatMul(product));
        }
        let dtype = cx.dtype(0);
        let wide = if dtype.is_float() { lowering::wide(dtype) } else { dtype };
        let extent = |l: &Label| plan.extent(&shapes, l);
        let labels = plan.summed();
        let extents: Vec<usize> = labels.iter().map(extent).collect();
        let mut l = Loops::new(cx);
        let x: Vec<TensorId> = (0..n).map(|i| l.x(i)).collect();
        l.result(|c, i| {
            let term = |c: &mut ComputeBuilder, r: &[ExprId]| {
                let mut product: Option<ExprId> = None;
                for ((&x, term), shape) in x.iter().zip(&plan.terms).zip(&shapes) {
                    let at: Vec<ExprId> = term
                        .iter()
                        .zip(*shape)
                        .map(|(label, &n)| match plan.out.iter().position(|l| l == label) {
                            _ if n == 1 => c.idx(0),
                            Some(a) => i[a],
                            None => r[labels.iter().position(|l| l == label).expect("summed where it is no result's")],
                        })
                        .collect();
                    let v = c.load(x, &at);
                    let v = c.cast(v, wide);
                    product = Some(product.map_or(v, |p| c.mul(p, v)));
                }
                product.unwrap_or_else(|| c.zero(wide))
            };
            let y = if labels.is_empty() { term(c, &[]) } else { c.reduce(ReduceOp::Sum, &extents, term) };
            c.cast(y, dtype)
        })
    }
}

/// For each operand its step along each of `labels`.
fn steps(plan: &Plan, x: &[&Tensor], labels: &[Label]) -> Vec<Vec<usize>> {
    let step = |term: &[Label], t: &Tensor, label: &Label| {
        let s = strides(t.shape());
        (0..term.len()).filter(|&a| term[a] == *label && t.shape()[a] != 1).map(|a| s[a]).sum()
    };
    plan.terms.iter().zip(x).map(|(term, t)| labels.iter().map(|l| step(term, t, l)).collect()).collect()
}

fn contract<T: Ring>(plan: &Plan, cx: &EvalCx<'_>, x: &[&Tensor], v: &[Vec<T>], shape: &[usize]) -> Result<Vec<T>> {
    let mut summed: Vec<(Label, usize)> = Vec::new();
    for (term, t) in plan.terms.iter().zip(x) {
        for (label, &n) in term.iter().zip(t.shape()) {
            match summed.iter_mut().find(|s| s.0 == *label) {
                Some(s) if s.1 == 1 => s.1 = n,
                Some(_) => {}
                None => summed.push((*label, n)),
            }
        }
    }
    summed.retain(|s| !plan.out.contains(&s.0));
    let extents: Vec<usize> = summed.iter().map(|s| s.1).collect();
    let n = len_elems(&extents)?;
    if n.saturating_mul(8 * x.len()) > cx.env.limits.value_bytes {
        return Err(Error::limit(format!("a sum over {n} index tuples")));
    }
    let labels: Vec<Label> = summed.iter().map(|s| s.0).collect();
    let dot = |i: &[usize], s: &[usize]| i.iter().zip(s).map(|(i, s)| i * s).sum::<usize>();
    let inner: Vec<Vec<usize>> =
        steps(plan, x, &labels).iter().map(|s| indices(&extents).map(|i| dot(&i, s)).collect()).collect();
    let outer = steps(plan, x, &plan.out);
    let mut y = Vec::with_capacity(shape.iter().product());
    for index in indices(shape) {
        cx.env.check()?;
        let base: Vec<usize> = outer.iter().map(|s| dot(&index, s)).collect();
        let mut sum = T::ZERO;
        for i in 0..n {
            let mut product = v[0][base[0] + inner[0][i]];
            match v.len() {
                1 => sum = sum.plus(product),
                last => {
                    for k in 1..last - 1 {
                        product = T::ZERO.plus_product(product, v[k][base[k] + inner[k][i]]);
                    }
                    sum = sum.plus_product(product, v[last - 1][base[last - 1] + inner[last - 1][i]]);
                }
            }
        }
        y.push(sum);
    }
    Ok(y)
}

op! {
    Einsum in "ai.onnx" since [12, 28 brings "bf16"]; "Inputs*" => "Output";
    summary: "sum of products by Einstein's convention";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @einsum([[1.0, 2.0], [3.0, 4.0]], [1.0, 10.0]) == [21.0, 43.0]
graph @einsum(%a: f32[2, 2], %b: f32[2]) -> f32[2] {
  %y = einsum %a, %b {equation = "ij,j->i"} : f32[2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn einsum_transposes_takes_diagonals_and_broadcasts() {
        let a = Tensor::from_slice(&[2, 2], &[1i32, 2, 3, 4]);
        let run = |eq: &str, x: &[Tensor]| run1("Einsum", attrs! { equation: eq }, x).unwrap();
        assert_eq!(run("ij->ji", std::slice::from_ref(&a)), Tensor::from_slice(&[2, 2], &[1i32, 3, 2, 4]));
        assert_eq!(run("ii", std::slice::from_ref(&a)), Tensor::scalar(5i32));
        assert_eq!(run("ii->i", std::slice::from_ref(&a)), Tensor::from_slice(&[2], &[1i32, 4]));
        assert_eq!(run("...j, jk", &[a.clone(), a.clone()]), Tensor::from_slice(&[2, 2], &[7i32, 10, 15, 22]));
        assert_eq!(
            run("i,j,k->", &[a.reshaped(&[4]).unwrap(), a.reshaped(&[4]).unwrap(), Tensor::from_slice(&[1], &[2i32])]),
            Tensor::scalar(200i32)
        );
    }

    #[test]
    fn einsum_expands_into_pairs_and_transpositions() {
        let parts = |equation: &str, shapes: &[&[usize]]| {
            let mut b = GraphBuilder::new("parts");
            let x: Vec<_> = shapes.iter().map(|s| Some(b.input("", Type::tensor(DType::F32, s)))).collect();
            let op = Einsum { equation: equation.into() };
            let y = op.expand(&mut b, &x).unwrap()?;
            let g = b.finish(&y);
            let numbers = |s: &&[usize]| {
                let n: usize = s.iter().product();
                Tensor::from_slice(s, &(0..n).map(|i| (i * 7 % 5) as f32 - 2.0).collect::<Vec<_>>())
            };
            let x: Vec<Tensor> = shapes.iter().map(numbers).collect();
            let args = x.iter().cloned().map(Into::into).collect();
            let y = crate::eval::evaluate(&g, args, &crate::eval::Env::default()).unwrap();
            assert_eq!(y[0], run1("Einsum", attrs! { equation: equation }, &x).unwrap().into(), "{equation}");
            Some(g.nodes.len())
        };
        assert_eq!(parts("eti,eid,te->td", &[&[2, 3, 4], &[2, 4, 5], &[3, 2]]), Some(2));
        assert_eq!(parts("...ij,jk,kl,k->...il", &[&[2, 3, 4], &[4, 5], &[5, 2], &[1]]), Some(3));
        assert_eq!(parts("ii,i,i->", &[&[3, 3], &[3], &[3]]), Some(2));
        assert_eq!(parts("ack,bck->abc", &[&[16, 2, 16], &[16, 2, 16]]), Some(4));
        assert_eq!(parts("bhwc,hkc->bhwk", &[&[2, 3, 4, 16], &[3, 16, 16]]), None);
        assert_eq!(parts("ij,jk->ik", &[&[2, 3], &[3, 4]]), None);
        assert_eq!(parts("ij,ij->i", &[&[2, 3], &[2, 3]]), None);
    }

    #[test]
    fn einsum_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |eq: &str, t: &[Type]| violated("Einsum", attrs! { equation: eq }, t);
        assert_eq!(bad("i", &[Type::tensor(DType::Bool, &[1])]).as_deref(), Some("Einsum.C1"));
        assert_eq!(bad("i->j", &[f(&[1])]).as_deref(), Some("Einsum.C2"));
        assert_eq!(bad("i", &[f(&[1]), f(&[1])]).as_deref(), Some("Einsum.C2"));
        assert_eq!(bad("ij", &[f(&[1])]).as_deref(), Some("Einsum.C3"));
        assert_eq!(bad("i,i", &[f(&[2]), f(&[3])]).as_deref(), Some("Einsum.C4"));
    }
}
