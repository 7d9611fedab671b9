//! A computation on tensors whose axes lie in another order: only how tensors are indexed changes.

use super::compute::{Compute, TensorDesc};
use super::expr::{Node, Source};

/// Axes in another order: axis `k` of the reordered tensor is axis `order[k]` of the original.
pub type AxisOrder = Vec<usize>;

fn pick<T: Clone>(of: &[T], order: &[usize]) -> Vec<T> {
    order.iter().map(|&axis| of[axis].clone()).collect()
}

impl Compute {
    /// The computation with inputs and outputs in other orders; `None` for those that stay. Stages in between follow an
    /// output, or else an input, of their rank. `None` where an order is no permutation of its tensor's axes, or a stage is
    /// two outputs of different orders.
    pub fn reordered(mut self, inputs: &[Option<AxisOrder>], outputs: &[Option<AxisOrder>]) -> Option<Compute> {
        let permutes = |order: &[usize], desc: &TensorDesc| {
            let mut axes = order.to_vec();
            axes.sort_unstable();
            axes.into_iter().eq(0..desc.shape.len())
        };
        let mut of_input: Vec<Option<&AxisOrder>> = vec![None; self.inputs.len()];
        for ((desc, slot), order) in self.inputs.iter_mut().zip(&mut of_input).zip(inputs) {
            let Some(order) = order else { continue };
            if !permutes(order, desc) {
                return None;
            }
            desc.shape = pick(&desc.shape, order);
            *slot = Some(order);
        }
        let mut of_stage: Vec<Option<&AxisOrder>> = vec![None; self.stages.len()];
        for (k, (&s, order)) in self.outputs.iter().zip(outputs).enumerate() {
            let before = self.outputs[..k].iter().position(|&t| t == s);
            if before.is_some_and(|b| outputs[b] != *order) {
                return None;
            }
            let (Some(order), None) = (order, before) else { continue };
            let stage = &mut self.stages[s];
            if !permutes(order, &stage.desc) {
                return None;
            }
            stage.desc.shape = pick(&stage.desc.shape, order);
            stage.axes = pick(&stage.axes, order);
            of_stage[s] = Some(order);
        }
        let results = self.outputs.clone();
        for (s, stage) in self.stages.iter_mut().enumerate().filter(|(s, _)| !results.contains(s)) {
            let mut known = outputs.iter().chain(inputs).flatten();
            if let Some(order) = known.find(|order| permutes(order, &stage.desc)) {
                stage.desc.shape = pick(&stage.desc.shape, order);
                stage.axes = pick(&stage.axes, order);
                of_stage[s] = Some(order);
            }
        }
        for s in 0..self.stages.len() {
            let value = self.stages[s].value;
            self.stages[s].value = self.arena.rewrite(value, &mut |arena, node, dtype| {
                let Node::Load { src, index } = node else { return None };
                let order = match *src {
                    Source::Input(i) => of_input[i],
                    Source::Stage(t) => of_stage[t],
                    Source::Buffer(_) => None,
                }?;
                Some(arena.load(dtype, *src, pick(index, order)))
            });
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ComputeBuilder, ReduceOp, interp};
    use crate::DType;

    /// `y[i, j] = sum_k x[i, j + k]` and what a permutation of both makes of it.
    #[test]
    fn loads_and_stores_follow_their_axes() {
        let mut b = ComputeBuilder::new();
        let x = b.input(DType::I32, &[2, 4]);
        let y = b.compute(DType::I32, &[2, 3], |b, i| {
            b.reduce(ReduceOp::Sum, &[2], |b, k| {
                let at = b.add(i[1], k[0]);
                b.load(x, &[i[0], at])
            })
        });
        b.output(y);
        let compute = b.finish().unwrap();
        let bytes = |v: &[i32]| v.iter().flat_map(|v| v.to_ne_bytes()).collect::<Vec<u8>>();
        let plain = interp::eval(&compute, &[&bytes(&[1, 2, 3, 4, 5, 6, 7, 8])]).unwrap();
        assert_eq!(plain, [bytes(&[3, 5, 7, 11, 13, 15])]);
        let swapped = compute.clone().reordered(&[Some(vec![1, 0])], &[Some(vec![1, 0])]).unwrap();
        let got = interp::eval(&swapped, &[&bytes(&[1, 5, 2, 6, 3, 7, 4, 8])]).unwrap();
        assert_eq!(got, [bytes(&[3, 11, 5, 13, 7, 15])]);
        assert!(compute.clone().reordered(&[Some(vec![0, 0])], &[None]).is_none());
        assert!(compute.reordered(&[Some(vec![0])], &[None]).is_none());
    }
}
