//! Arithmetic on extents as exporters write it: `Shape`, entries of it, quotients, sums and products of those, and what
//! reads the result: a reshape that joins and splits axes, padding to the centre, halves of an axis, new tensors.

use super::growing::Growing;
use super::{Bounds, Generator, Refused};
use crate::choices::{Choices, pick};
use egret_ir::{Attrs, DType, Tensor, ValueId, attrs};

/// Attempts to insert one such chain.
const ATTEMPTS: usize = 8;

/// A chain on the extents of `x` in the making.
struct Chain<'a> {
    growing: &'a mut Growing,
    bounds: Bounds<'a>,
    choices: &'a mut dyn Choices,
    x: ValueId,
    shape: Vec<usize>,
    /// `Shape` of `x`, once it is there.
    whole: Option<ValueId>,
}

impl Chain<'_> {
    fn call(&mut self, name: &str, attrs: &Attrs, inputs: &[ValueId]) -> Result<ValueId, Refused> {
        self.growing.one(name, attrs, inputs, self.bounds)
    }

    fn ints(&mut self, x: &[i64]) -> ValueId {
        self.growing.constant(Tensor::from_slice(&[x.len()], x))
    }

    fn whole(&mut self) -> Result<ValueId, Refused> {
        match self.whole {
            Some(s) if self.choices.chance(4, 5) => Ok(s),
            _ => {
                let s = self.call("Shape", &attrs! {}, &[self.x])?;
                self.whole = Some(s);
                Ok(s)
            }
        }
    }

    /// Entries `from` to `to` of the shape, counted from either end.
    fn slice(&mut self, from: usize, to: usize) -> Result<ValueId, Refused> {
        let rank = self.shape.len();
        let either = |at: usize, choices: &mut dyn Choices| {
            if at < rank && choices.chance(1, 3) { at as i64 - rank as i64 } else { at as i64 }
        };
        let first = either(from, self.choices);
        let end = if to == rank && self.choices.chance(1, 2) { i64::MAX } else { either(to, self.choices) };
        let s = self.whole()?;
        let mut inputs = vec![s, self.ints(&[first]), self.ints(&[end])];
        if self.choices.chance(1, 2) {
            inputs.push(self.ints(&[0]));
        }
        self.call("Slice", &attrs! {}, &inputs)
    }

    /// The extent of an axis, `i64[1]`.
    fn extent(&mut self, axis: usize) -> Result<ValueId, Refused> {
        let (rank, d) = (self.shape.len(), self.shape[axis] as i64);
        let index = if self.choices.chance(1, 3) { axis as i64 - rank as i64 } else { axis as i64 };
        match self.choices.below(8) {
            0 | 1 => self.slice(axis, axis + 1),
            2 | 3 => {
                let s = self.whole()?;
                let at = self.growing.constant(Tensor::from_slice(&[], &[index]));
                let d = self.call("Gather", &attrs! {}, &[s, at])?;
                let first = self.ints(&[0]);
                self.call("Unsqueeze", &attrs! {}, &[d, first])
            }
            4 => self.call("Shape", &attrs! { start: axis as i64, end: axis as i64 + 1 }, &[self.x]),
            5 => {
                let (s, at) = (self.whole()?, self.ints(&[index]));
                self.call("Gather", &attrs! {}, &[s, at])
            }
            6 => {
                let behind = self.slice(axis, rank)?;
                let (from, to) = (self.ints(&[0]), self.ints(&[1]));
                self.call("Slice", &attrs! {}, &[behind, from, to])
            }
            _ => Ok(self.ints(&[d])),
        }
    }

    /// The product of the extents of some axes.
    fn product(&mut self, axes: std::ops::Range<usize>) -> Result<ValueId, Refused> {
        if axes.len() > 1 && self.choices.chance(1, 3) {
            let of = self.slice(axes.start, axes.end)?;
            return self.call("ReduceProd", &attrs! {}, &[of]);
        }
        let mut product = self.extent(axes.start)?;
        for axis in axes.skip(1) {
            let d = self.extent(axis)?;
            product = self.call("Mul", &attrs! {}, &[product, d])?;
        }
        Ok(product)
    }

    fn joined(&mut self, pieces: &[ValueId]) -> Result<ValueId, Refused> {
        if let &[one] = pieces {
            return Ok(one);
        }
        self.call("Concat", &attrs! { axis: 0i64 }, pieces)
    }

    /// `x` with some axes joined and some split; one extent may be -1.
    fn regrouped(&mut self) -> Result<(), Refused> {
        let rank = self.shape.len();
        let mut pieces = Vec::new();
        let mut left = self.choices.chance(1, 2);
        let mut from = 0;
        while from < rank {
            let to = from + 1 + self.choices.below((rank - from).min(3));
            let n: usize = self.shape[from..to].iter().product();
            if left && self.choices.chance(1, 2) {
                left = false;
                pieces.push(self.ints(&[-1]));
            } else if let Some(k) = [2usize, 3].into_iter().find(|k| n > 0 && n.is_multiple_of(*k))
                && self.choices.chance(1, 3)
            {
                let (product, by) = (self.product(from..to)?, self.ints(&[k as i64]));
                let quotient = self.call("Div", &attrs! {}, &[product, by])?;
                pieces.extend(if self.choices.chance(1, 2) { [by, quotient] } else { [quotient, by] });
            } else {
                pieces.push(self.product(from..to)?);
            }
            from = to;
        }
        let shape = self.joined(&pieces)?;
        self.call("Reshape", &attrs! {}, &[self.x, shape])?;
        Ok(())
    }

    /// `x` padded to an extent, or cropped, with the centre where it was.
    fn centred(&mut self) -> Result<(), Refused> {
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        for axis in 0..self.shape.len() {
            if self.choices.chance(1, 3) {
                let none = self.ints(&[0]);
                before.push(none);
                behind.push(none);
                continue;
            }
            let wanted = self.shape[axis] as i64 + self.choices.below(8) as i64 - 4;
            let (wanted, d, two) = (self.ints(&[wanted.max(0)]), self.extent(axis)?, self.ints(&[2]));
            let more = self.call("Sub", &attrs! {}, &[wanted, d])?;
            let half = self.call("Div", &attrs! {}, &[more, two])?;
            before.push(half);
            behind.push(self.call("Sub", &attrs! {}, &[more, half])?);
        }
        before.extend(behind);
        let pads = self.joined(&before)?;
        self.call("Pad", &attrs! {}, &[self.x, pads])?;
        Ok(())
    }

    /// Two parts of `x`, and the one behind the other in front of it.
    fn halves(&mut self) -> Result<(), Refused> {
        let axis = self.choices.below(self.shape.len());
        let by = *pick(self.choices, &[2, 3]);
        let (d, by) = (self.extent(axis)?, self.ints(&[by]));
        let at = self.call("Div", &attrs! {}, &[d, by])?;
        let (zero, along) = (self.ints(&[0]), self.ints(&[axis as i64]));
        let end = if self.choices.chance(1, 2) { self.ints(&[i64::MAX]) } else { d };
        let first = self.call("Slice", &attrs! {}, &[self.x, zero, at, along])?;
        let second = self.call("Slice", &attrs! {}, &[self.x, at, end, along])?;
        if self.choices.chance(2, 3) {
            self.call("Concat", &attrs! { axis: axis as i64 }, &[second, first])?;
        }
        Ok(())
    }

    /// `x` for each entry of a new axis, or a new tensor of the shape of `x`.
    fn filled(&mut self) -> Result<(), Refused> {
        let s = self.whole()?;
        if self.choices.chance(1, 2) {
            let n = 1 + self.choices.below(4) as i64;
            let n = self.ints(&[n]);
            let shape = self.joined(&[n, s])?;
            self.call("Expand", &attrs! {}, &[self.x, shape])?;
            return Ok(());
        }
        let value = Tensor::from_slice(&[1], &[2.5f32]);
        let y = self.call("ConstantOfShape", &attrs! { value: value }, &[s])?;
        if self.growing.values[self.x.index()].tensor().is_ok_and(|t| t.dtype() == DType::F32) {
            self.call("Mul", &attrs! {}, &[self.x, y])?;
        }
        Ok(())
    }

    /// `x` with the axes behind the second scaled to a size that is counted in floats, as older exporters do.
    fn resized(&mut self) -> Result<(), Refused> {
        let mut sizes = vec![self.slice(0, 2.min(self.shape.len()))?];
        for axis in 2..self.shape.len() {
            let d = self.extent(axis)?;
            let d = self.call("Cast", &attrs! { to: DType::F32 }, &[d])?;
            let factor = *pick(self.choices, &[0.5f32, 1.0, 1.5, 2.0, 3.0]);
            let factor = self.growing.constant(Tensor::from_slice(&[1], &[factor]));
            let d = self.call("Mul", &attrs! {}, &[d, factor])?;
            let d = self.call("Floor", &attrs! {}, &[d])?;
            sizes.push(self.call("Cast", &attrs! { to: DType::I64 }, &[d])?);
        }
        let sizes = self.joined(&sizes)?;
        let inputs = vec![Some(self.x), None, None, Some(sizes)];
        let how = attrs! { mode: "nearest", coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" };
        self.growing.call("Resize", &how, inputs, Vec::new(), 1, self.bounds)?;
        Ok(())
    }
}

impl Generator {
    /// Inserts a chain of arithmetic on extents.
    pub(super) fn insert_shapes(&mut self, growing: &mut Growing, choices: &mut dyn Choices) -> bool {
        self.attempted(growing, ATTEMPTS, |this, after| {
            let x = after.any(1, choices);
            let shape = after.values[x.index()].tensor().map_err(|_| Refused::Quietly)?.shape().to_vec();
            let kind = choices.below(6);
            let mut chain = Chain { growing: after, bounds: this.bounds(), choices, x, shape, whole: None };
            match kind {
                0 | 1 => chain.regrouped(),
                2 => chain.centred(),
                3 => chain.halves(),
                4 => chain.filled(),
                _ => chain.resized(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Egret, System};
    use crate::choices::Seeded;
    use crate::generate::{Case, Config};
    use egret_ir::eval::{Env, evaluate};
    use egret_ir::verify::verify;
    use std::collections::BTreeSet;

    fn cases(seed: u64, n: u64) -> Vec<Case> {
        let only = vec!["Relu".into()];
        let mut generator = Generator::new(Config { shapes_percent: 60, only, ..Config::default() });
        let made = (0..n).map(|i| generator.generate(&mut Seeded::new(seed, i)).unwrap()).collect();
        assert!(generator.bugs.is_empty(), "{:?}", generator.bugs.iter().map(|b| &b.2).collect::<Vec<_>>());
        made
    }

    #[test]
    fn chains_compute_what_reads_them() {
        let mut computed = BTreeSet::new();
        for case in cases(1, 60) {
            let text = egret_ir::text::print(&case.graph);
            assert!(verify(&case.graph).is_empty(), "{text}");
            let got = evaluate(&case.graph, case.inputs.clone(), &Env::default()).unwrap();
            assert_eq!(format!("{got:?}"), format!("{:?}", case.outputs), "{text}");
            let made = |v: &ValueId| case.graph.nodes.iter().any(|n| n.defs().any(|d| d == *v));
            let late = |n: &&egret_ir::Node| n.inputs.iter().flatten().skip(1).any(made);
            computed.extend(case.graph.nodes.iter().filter(late).map(|n| n.op.def().name));
        }
        for reader in ["Reshape", "Pad", "Slice", "Resize", "Expand", "Concat", "Sub", "Mul"] {
            assert!(computed.contains(reader), "{reader} of {computed:?}");
        }
    }

    #[test]
    fn egret_agrees_with_its_reference_on_arithmetic_on_extents() {
        for case in cases(2, 20) {
            let found = Egret::default().check(&case).unwrap();
            assert!(found.is_none(), "{found:?}\n{}", egret_ir::text::print(&case.graph));
        }
    }
}
