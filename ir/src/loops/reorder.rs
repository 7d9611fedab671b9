//! A computation on tensors whose axes lie in another order: only how tensors are indexed changes.

use super::compute::{Compute, TensorDesc};
use super::expr::{Node, Source};

/// Axes in another order: axis `k` of the reordered tensor is axis `order[k]` of the original.
pub type AxisOrder = Vec<usize>;

fn pick<T: Clone>(of: &[T], order: &[usize]) -> Vec<T> {
    order.iter().map(|&axis| of[axis].clone()).collect()
}

impl Compute {
    /// The computation with inputs and outputs in other orders; `None` for those that stay. `None` where an order is no
    /// permutation of its tensor's axes, or a stage is two outputs of different orders.
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
