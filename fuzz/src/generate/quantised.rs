//! Quantised chains as exporters make them: operators between dequantised operands and a quantised result, dynamic
//! quantisation in front of an integer product, chains of integer operators that share scales.

use super::growing::{Growing, operand_names};
use super::{Bounds, Generator, Refused};
use crate::choices::{Choices, pick};
use egret_ir::{DType, OpDef, Tensor, ValueId, attrs};

/// Attempts to insert one such chain.
const ATTEMPTS: usize = 8;
/// Most integer operators of a chain.
const CHAIN: usize = 3;
/// Least scale that is used: quotients by smaller ones overflow.
const LEAST: f64 = 1e-30;

/// The scale and the zero point of a quantised value.
pub(super) type Parameters = (ValueId, Option<ValueId>);

/// A scale and a zero point for a range of numbers.
struct Scheme {
    dtype: DType,
    scale: f64,
    zero: i128,
}

impl Scheme {
    /// For the elements of a tensor; `None` where they are not all finite, or none.
    fn of(t: &Tensor, dtype: DType, choices: &mut dyn Choices) -> Option<Scheme> {
        let x = t.floats().ok()?;
        let (lo, hi) = x.iter().fold((0.0f64, 0.0f64), |(lo, hi), x| (lo.min(*x), hi.max(*x)));
        if x.is_empty() || !x.iter().all(|x| x.is_finite()) {
            return None;
        }
        let (least, most) = dtype.int_range()?;
        let asymmetric = least == 0 || choices.chance(1, 3);
        let mut scale = if asymmetric { (hi - lo) / (most - least) as f64 } else { lo.abs().max(hi) / most as f64 };
        if scale == 0.0 {
            scale = 1.0;
        }
        if choices.chance(1, 3) {
            // Quotients then often lie between two integers.
            scale = 2f64.powi(scale.log2().ceil() as i32);
        }
        // As the tensor that holds it has it.
        let scale = f64::from(scale as f32);
        let zero = if asymmetric { least + (-lo / scale).round() as i128 } else { 0 };
        (scale.is_finite() && scale >= LEAST).then(|| Scheme { dtype, scale, zero: zero.clamp(least, most) })
    }

    fn scale(&self) -> Tensor {
        Tensor::from_floats(DType::F32, &[], [self.scale])
    }

    fn zero_point(&self) -> Tensor {
        Tensor::from_ints(self.dtype, &[], [self.zero])
    }

    /// The integer of a number.
    fn quantised(&self, x: f64) -> i128 {
        let (least, most) = self.dtype.int_range().unwrap_or((0, 0));
        ((x / self.scale).round_ties_even() as i128).saturating_add(self.zero).clamp(least, most)
    }
}

impl Growing {
    /// Quantised by a scheme that its elements give; the parameters are constants.
    fn quantise(&mut self, x: ValueId, bounds: Bounds<'_>, choices: &mut dyn Choices) -> Result<ValueId, Refused> {
        let dtype =
            *pick(choices, &[DType::U8, DType::U8, DType::U8, DType::I8, DType::I8, DType::I8, DType::U16, DType::I16]);
        let scheme = self.finite(x).and_then(|t| Scheme::of(t, dtype, choices)).ok_or(Refused::Quietly)?;
        let (scale, zero) = (self.constant(scheme.scale()), self.constant(scheme.zero_point()));
        let y = self.one("QuantizeLinear", &attrs! {}, &[x, scale, zero], bounds)?;
        self.parameters.insert(y, (scale, Some(zero)));
        Ok(y)
    }

    fn dequantise(&mut self, y: ValueId, bounds: Bounds<'_>) -> Result<ValueId, Refused> {
        let Some(&(scale, Some(zero))) = self.parameters.get(&y) else { return Err(Refused::Quietly) };
        self.one("DequantizeLinear", &attrs! {}, &[y, scale, zero], bounds)
    }

    /// A constant quantised beforehand, with one scale or one for each entry of an axis, and dequantised.
    fn weights(&mut self, w: &Tensor, bounds: Bounds<'_>, choices: &mut dyn Choices) -> Result<ValueId, Refused> {
        let dtype = *pick(choices, &[DType::I8, DType::I8, DType::U8]);
        let x = w.floats().map_err(|_| Refused::Quietly)?;
        if w.rank() == 0 || choices.chance(1, 2) {
            let scheme = Scheme::of(w, dtype, choices).ok_or(Refused::Quietly)?;
            let q = Tensor::from_ints(dtype, w.shape(), x.iter().map(|x| scheme.quantised(*x)).collect::<Vec<_>>());
            let inputs = [self.constant(q), self.constant(scheme.scale()), self.constant(scheme.zero_point())];
            return self.one("DequantizeLinear", &attrs! {}, &inputs, bounds);
        }
        let axis = choices.below(w.rank().min(2));
        let n = w.shape()[axis];
        let inner: usize = w.shape()[axis + 1..].iter().product();
        let entry = |i: usize| i / inner.max(1) % n.max(1);
        let schemes = (0..n).map(|k| {
            let of: Vec<f64> = x.iter().enumerate().filter(|(i, _)| entry(*i) == k).map(|(_, x)| *x).collect();
            Scheme::of(&Tensor::from_floats(DType::F64, &[of.len()], of), dtype, choices)
        });
        let schemes = schemes.collect::<Option<Vec<Scheme>>>().ok_or(Refused::Quietly)?;
        let q: Vec<i128> = x.iter().enumerate().map(|(i, x)| schemes[entry(i)].quantised(*x)).collect();
        let q = self.constant(Tensor::from_ints(dtype, w.shape(), q));
        let scale = Tensor::from_floats(DType::F32, &[n], schemes.iter().map(|s| s.scale).collect::<Vec<_>>());
        let zero = Tensor::from_ints(dtype, &[n], schemes.iter().map(|s| s.zero).collect::<Vec<_>>());
        let inputs = [q, self.constant(scale), self.constant(zero)];
        self.one("DequantizeLinear", &attrs! { axis: axis as i64 }, &inputs, bounds)
    }

    /// Puts the last call between dequantised operands and a quantised result.
    fn wrap_last(&mut self, bounds: Bounds<'_>, choices: &mut dyn Choices) -> Result<(), Refused> {
        let node = self.graph.nodes.pop().ok_or(Refused::Quietly)?;
        let n = node.outputs.len();
        let first = self.values.len() - n.min(self.values.len());
        let last = (first..self.values.len()).map(|i| Some(ValueId(i as u32)));
        if !last.eq(node.outputs.iter().copied()) || !node.captures.is_empty() {
            return Err(Refused::Quietly);
        }
        self.graph.values.truncate(first);
        self.values.truncate(first);
        self.parameters.retain(|v, _| v.index() < first);
        let mut inputs = node.inputs.clone();
        let mut wrapped = 0;
        for v in inputs.iter_mut().flatten() {
            let Some(t) = self.finite(*v).cloned() else { continue };
            *v = if self.graph.constant(*v).is_some() && choices.chance(3, 4) {
                self.weights(&t, bounds, choices)?
            } else {
                let q = self.quantise(*v, bounds, choices)?;
                self.dequantise(q, bounds)?
            };
            wrapped += 1;
        }
        if wrapped == 0 {
            return Err(Refused::Quietly);
        }
        let made = self.call_op(&node.op, inputs, Vec::new(), n, bounds)?;
        for y in made {
            if self.finite(y).is_some() {
                let q = self.quantise(y, bounds, choices)?;
                self.dequantise(q, bounds)?;
            }
        }
        Ok(())
    }

    /// Constant integers for the second operand of a product or convolution with `x`; whether it is one for a convolution.
    fn kernel(&mut self, x: ValueId, dtype: DType, choices: &mut dyn Choices) -> Result<(ValueId, bool), Refused> {
        let shape = self.values[x.index()].tensor().map_err(|_| Refused::Quietly)?.shape().to_vec();
        let n = *pick(choices, &[1, 2, 3, 4, 8, 9, 17]);
        let convolves = shape.len() >= 3 && choices.chance(1, 2);
        let of = if convolves {
            let mut of = vec![n, shape[1]];
            of.extend(shape[2..].iter().map(|&d| if d >= 3 && choices.chance(1, 2) { 3 } else { 1 }));
            of
        } else {
            vec![*shape.last().ok_or(Refused::Quietly)?, n]
        };
        let (least, most) = dtype.int_range().ok_or(Refused::Quietly)?;
        let span = (most - least + 1) as usize;
        let elements: Vec<i128> = (0..of.iter().product()).map(|_| least + choices.below(span) as i128).collect();
        Ok((self.constant(Tensor::from_ints(dtype, &of, elements)), convolves))
    }

    /// `DynamicQuantizeLinear`, an integer product, and its scale behind it.
    fn dynamically(&mut self, bounds: Bounds<'_>, choices: &mut dyn Choices) -> Result<(), Refused> {
        let x = self.floats(1, choices);
        let made = self.call("DynamicQuantizeLinear", &attrs! {}, vec![Some(x)], Vec::new(), 3, bounds)?;
        let [q, scale, zero] = made[..] else { return Err(Refused::Quietly) };
        self.parameters.insert(q, (scale, Some(zero)));
        let dtype = *pick(choices, &[DType::I8, DType::I8, DType::U8]);
        let (w, convolves) = self.kernel(q, dtype, choices)?;
        let mut inputs = vec![Some(q), Some(w), Some(zero)];
        if choices.chance(1, 2) {
            inputs.push(Some(self.constant(Tensor::from_ints(dtype, &[], [choices.below(100) as i128]))));
        }
        let name = if convolves { "ConvInteger" } else { "MatMulInteger" };
        let product = self.call(name, &attrs! {}, inputs, Vec::new(), 1, bounds)?[0];
        let product = self.one("Cast", &attrs! { to: DType::F32 }, &[product], bounds)?;
        let of_weights = self.constant(Tensor::from_floats(DType::F32, &[], [1.0 / 64.0]));
        let scale = self.one("Mul", &attrs! {}, &[scale, of_weights], bounds)?;
        self.one("Mul", &attrs! {}, &[product, scale], bounds)?;
        Ok(())
    }

    /// Integer operators one behind the other, each with the scale that the one before gave its result.
    fn chain(&mut self, bounds: Bounds<'_>, choices: &mut dyn Choices) -> Result<(), Refused> {
        let x = self.floats(2, choices);
        let mut q = self.quantise(x, bounds, choices)?;
        for _ in 0..1 + choices.below(CHAIN) {
            let Some(&(scale, Some(zero))) = self.parameters.get(&q) else { return Err(Refused::Quietly) };
            let dtype = self.values[q.index()].tensor().map_err(|_| Refused::Quietly)?.dtype();
            if dtype.bits() != 8 {
                break;
            }
            let of_weights = *pick(choices, &[DType::I8, dtype]);
            let (w, convolves) = self.kernel(q, of_weights, choices)?;
            let w_scale = self.constant(Tensor::from_floats(DType::F32, &[], [1.0 / 64.0]));
            let w_zero = self.constant(Tensor::from_ints(of_weights, &[], [0]));
            // What the floats would be says the scale of the result.
            let mut floats = self.clone();
            let a = floats.one("DequantizeLinear", &attrs! {}, &[q, scale, zero], bounds)?;
            let b = floats.one("DequantizeLinear", &attrs! {}, &[w, w_scale, w_zero], bounds)?;
            let y = floats.one(if convolves { "Conv" } else { "MatMul" }, &attrs! {}, &[a, b], bounds)?;
            let scheme = floats.finite(y).and_then(|t| Scheme::of(t, dtype, choices)).ok_or(Refused::Quietly)?;
            let (y_scale, y_zero) = (self.constant(scheme.scale()), self.constant(scheme.zero_point()));
            let name = if convolves { "QLinearConv" } else { "QLinearMatMul" };
            q = self.one(name, &attrs! {}, &[q, scale, zero, w, w_scale, w_zero, y_scale, y_zero], bounds)?;
            self.parameters.insert(q, (y_scale, Some(y_zero)));
        }
        self.dequantise(q, bounds)?;
        Ok(())
    }

    /// Remembers the scale and zero point of what the last call quantised, by the names of its operands and results.
    pub(super) fn note_parameters(&mut self) {
        let Some(node) = self.graph.nodes.last() else { return };
        let def = node.op.def();
        let at = |names: &[String], values: &[Option<ValueId>], what: &str| {
            let place = |n: &String| n.ends_with(what) && ["y", "c", "output"].contains(&n.trim_end_matches(what));
            names.iter().position(place).and_then(|i| values.get(i).copied().flatten())
        };
        let results: Vec<String> = OpDef::names(def.outputs).map(str::to_lowercase).collect();
        let operands = operand_names(def);
        let find = |what: &str| at(&results, &node.outputs, what).or_else(|| at(&operands, &node.inputs, what));
        if let (Some(y), Some(scale)) = (node.outputs.first().copied().flatten(), find("_scale")) {
            let zero = find("_zero_point");
            self.parameters.insert(y, (scale, zero));
        }
    }

    /// The known parameter of what operand `i` reads that operand `j` should be: `a_scale` or `a_zero_point` beside `a`.
    pub(super) fn parameter_for(&self, names: &[String], i: usize, j: usize, v: ValueId) -> Option<ValueId> {
        let (scale, zero) = *self.parameters.get(&v)?;
        match names.get(j)?.strip_prefix(names.get(i)?.as_str())? {
            "_scale" => Some(scale),
            "_zero_point" => zero,
            _ => None,
        }
    }
}

impl Generator {
    /// Inserts a quantised chain.
    pub(super) fn insert_quantised(&mut self, growing: &mut Growing, choices: &mut dyn Choices) -> bool {
        let kind = choices.below(4);
        self.attempted(growing, ATTEMPTS, |this, after| match kind {
            0 => after.dynamically(this.bounds(), choices),
            1 => after.chain(this.bounds(), choices),
            _ => this.insert_wrapped(after, choices),
        })
    }

    /// An operator of the menu between dequantised operands and a quantised result.
    fn insert_wrapped(&mut self, growing: &mut Growing, choices: &mut dyn Choices) -> Result<(), Refused> {
        let at = self.least_used(choices).ok_or(Refused::Quietly)?;
        if !self.insert(at, growing, choices) {
            self.menu[at].failed += 1;
            return Err(Refused::Quietly);
        }
        growing.wrap_last(self.bounds(), choices)?;
        self.menu[at].used += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Egret, System};
    use crate::choices::Seeded;
    use crate::generate::{Case, Config};
    use egret_ir::Node;
    use egret_ir::eval::{Env, evaluate};
    use egret_ir::verify::verify;

    fn cases(seed: u64, n: u64) -> Vec<Case> {
        let only = ["Conv", "MatMul", "Add", "Relu", "MaxPool", "Gemm", "Concat", "DequantizeLinear"];
        let only = only.map(Into::into).into();
        let mut generator = Generator::new(Config { quantised_percent: 60, only, special: false, ..Config::default() });
        let made = (0..n).map(|i| generator.generate(&mut Seeded::new(seed, i)).unwrap()).collect();
        assert!(generator.bugs.is_empty(), "{:?}", generator.bugs.iter().map(|b| &b.2).collect::<Vec<_>>());
        made
    }

    #[test]
    fn chains_share_scales_and_are_valid() {
        let (mut wrapped, mut products, mut shared) = (0, 0, 0);
        for case in cases(1, 100) {
            let text = egret_ir::text::print(&case.graph);
            assert!(verify(&case.graph).is_empty(), "{text}");
            let got = evaluate(&case.graph, case.inputs.clone(), &Env::default()).unwrap();
            assert_eq!(format!("{got:?}"), format!("{:?}", case.outputs), "{text}");
            let maker = |v: ValueId| case.graph.nodes.iter().find(|n| n.defs().any(|d| d == v));
            let reads = |n: &Node, name: &str| {
                n.inputs.iter().flatten().any(|v| maker(*v).is_some_and(|m| m.op.def().name == name))
            };
            for node in &case.graph.nodes {
                match node.op.def().name {
                    "Conv" | "MatMul" | "Add" => wrapped += usize::from(reads(node, "DequantizeLinear")),
                    "MatMulInteger" | "ConvInteger" => products += usize::from(reads(node, "DynamicQuantizeLinear")),
                    "QLinearMatMul" | "QLinearConv" => {
                        let x = maker(node.inputs[0].unwrap()).unwrap();
                        // Both name the same scale.
                        shared += usize::from(x.inputs.iter().any(|v| *v == node.inputs[1]));
                    }
                    _ => {}
                }
            }
        }
        assert!(wrapped > 10 && products > 5 && shared > 5, "{wrapped} {products} {shared}");
    }

    #[test]
    fn egret_agrees_with_its_reference_on_quantised_chains() {
        for case in cases(2, 15) {
            let found = Egret::default().check(&case).unwrap();
            assert!(found.is_none(), "{found:?}\n{}", egret_ir::text::print(&case.graph));
        }
    }
}
