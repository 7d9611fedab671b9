//! Pointwise calls behind a product or a convolution run in its registers: the loop group that alone reads the product's
//! result, and writes as many elements, becomes the kernel's epilogue.

use super::Shared;
use super::groups::{Call, Item, composed};
use super::kernels::{self, Fingerprint, Lowered};
use super::plan::Place;
use crate::kernels::{Epilogue, EpilogueOperand};
use crate::lower::pointwise::Pointwise;
use egret_ir::rule::Fact;
use egret_ir::{Graph, Result, ValueId};
use std::collections::HashMap;

/// What a product's kernel does at its end, for the calls that it takes over.
pub(crate) struct Tail {
    pointwise: Pointwise,
    /// Value and strides, in elements along the product's axes, of each further operand.
    operands: Vec<(ValueId, Vec<usize>)>,
    /// Extents of the product.
    shape: Vec<usize>,
    /// What is written instead of the product.
    pub(crate) out: ValueId,
    /// The calls.
    pub(crate) nodes: Vec<usize>,
    /// What stands for the computation in look-ups.
    pub(crate) key: Fingerprint,
}

impl Tail {
    /// The values that the kernel reads besides, in the order of its epilogue's operands.
    pub(crate) fn values(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.operands.iter().map(|o| o.0)
    }

    /// Appends the tail to an epilogue. `n_rows` is the axis of the rows among the product's axes, which are `batch`
    /// axes, then rows, then columns over all that is left (extents as the kernel sees them, ones left out alike);
    /// `None` where an operand does not lie so.
    pub(crate) fn append(&self, epilogue: Epilogue, batch: &[usize], rows: usize, cols: &[usize]) -> Option<Epilogue> {
        let dims: Vec<usize> = batch.iter().copied().chain([rows]).chain(cols.iter().copied()).collect();
        let real = |dims: &[usize]| dims.iter().copied().filter(|&d| d != 1).collect::<Vec<_>>();
        if real(&dims) != real(&self.shape) {
            return None;
        }
        let mut described = Vec::new();
        for (_, strides) in &self.operands {
            let mut given = self.shape.iter().zip(strides).filter(|s| *s.0 != 1).map(|s| *s.1);
            let spread: Vec<usize> = dims.iter().map(|&d| if d == 1 { 0 } else { given.next().unwrap_or(0) }).collect();
            let (outer, inner) = spread.split_at(batch.len() + 1);
            let shared = inner.iter().all(|&s| s == 0);
            let mut dense_stride = 1;
            let dense = cols.iter().zip(inner).rev().all(|(&len, &stride)| {
                let fits = len == 1 || stride == dense_stride;
                dense_stride *= len;
                fits
            });
            if !shared && !dense {
                return None;
            }
            described.push(EpilogueOperand {
                batch_strides: outer[..batch.len()].to_vec(),
                row_stride: outer[batch.len()],
                col_stride: usize::from(!shared),
            });
        }
        let pointwise = self.pointwise.clone();
        let mut epilogue = epilogue.then_all(described, move |b, acc, ops| pointwise.apply(b, acc, ops));
        epilogue.heavy |= self.pointwise.heavy;
        Some(epilogue)
    }
}

impl Tail {
    /// As [`Tail::append`] for a result `[n, pixels…, groups * m]` whose epilogue has image and group as batch axes, pixels
    /// as rows and the channels of a group as columns.
    pub(crate) fn append_last(
        &self,
        epilogue: Epilogue,
        n: usize,
        pixels: &[usize],
        groups: usize,
        m: usize,
    ) -> Option<Epilogue> {
        let dims: Vec<usize> = [n].into_iter().chain(pixels.iter().copied()).chain([groups * m]).collect();
        if dims != self.shape {
            return None;
        }
        let mut described = Vec::new();
        for (_, strides) in &self.operands {
            let (&[image, ref inner @ ..], &channel) = (strides.split_last()?.1, strides.last()?) else { return None };
            if channel > 1 && groups * m > 1 {
                return None;
            }
            // Pixels must lie at one distance from each other.
            let mut rows: Option<(usize, usize)> = None;
            for (&len, &stride) in pixels.iter().zip(inner).rev().filter(|p| *p.0 > 1) {
                rows = Some(match rows {
                    None => (stride, len),
                    Some((row, n)) if stride == row * n => (row, n * len),
                    Some(_) => return None,
                });
            }
            let channel = channel.min(1);
            described.push(EpilogueOperand {
                batch_strides: vec![if n > 1 { image } else { 0 }, channel * m],
                row_stride: rows.map_or(0, |r| r.0),
                col_stride: channel,
            });
        }
        let pointwise = self.pointwise.clone();
        let mut epilogue = epilogue.then_all(described, move |b, acc, ops| pointwise.apply(b, acc, ops));
        epilogue.heavy |= self.pointwise.heavy;
        Some(epilogue)
    }
}

/// Moves loop groups into the products before them.
pub(crate) fn absorb(
    items: &mut [Item],
    graph: &Graph,
    facts: &[Fact],
    readers: &[usize],
    places: &mut [Place],
    shared: &Shared,
) -> Result<()> {
    let mut made_by: HashMap<ValueId, usize> = HashMap::new();
    for at in 0..items.len() {
        if let Item::Loops(calls) = &items[at] {
            let found = candidate(calls, graph, &made_by, readers, shared);
            if let Some((product, kernel_at, tail)) = found
                && let Item::Kernel(before) = &items[kernel_at]
                && let Some(Lowered::Kernel(kernel)) =
                    kernels::lower_node(graph, before.nodes[0], facts, places, Some(&tail), shared)?
            {
                for n in &tail.nodes {
                    graph.nodes[*n].defs().filter(|&v| v != tail.out).for_each(|v| places[v.index()] = Place::Nowhere);
                }
                places[product.index()] = Place::Nowhere;
                items[kernel_at] = Item::Moved;
                items[at] = Item::Kernel(kernel);
            }
        }
        if let Item::Kernel(k) = &items[at]
            && let [n] = k.nodes[..]
            && let Some(v) = graph.nodes[n].outputs[0]
        {
            made_by.insert(v, at);
        }
    }
    Ok(())
}

/// The latest product that a group may end: its value, its item and the tail.
fn candidate(
    calls: &[Call],
    graph: &Graph,
    made_by: &HashMap<ValueId, usize>,
    readers: &[usize],
    shared: &Shared,
) -> Option<(ValueId, usize, Tail)> {
    if calls.iter().any(|c| !c.computation.checks.is_empty()) {
        return None;
    }
    let reads = |v: ValueId| calls.iter().filter(|c| graph.nodes[c.node].uses().any(|u| u == v)).count();
    let product = |v: ValueId| made_by.get(&v).copied().filter(|_| readers[v.index()] == reads(v));
    // Composing is work: look first.
    let any = calls.iter().flat_map(|c| graph.nodes[c.node].uses()).any(|v| product(v).is_some());
    if !any {
        return None;
    }
    let (whole, external, results) = composed(calls, graph)?;
    let &[(out, _, _)] = results.as_slice() else { return None };
    let mut found: Vec<(usize, usize)> =
        external.iter().enumerate().filter_map(|(i, e)| Some((product(e.0.value()?)?, i))).collect();
    found.sort_unstable();
    found.into_iter().rev().find_map(|(kernel_at, input)| {
        let pointwise = Pointwise::new(&whole, input)?;
        let operands: Option<Vec<_>> =
            pointwise.operands.iter().map(|(i, strides)| Some((external[*i].0.value()?, strides.clone()))).collect();
        let shape = whole.inputs[input].shape.clone();
        let nodes = calls.iter().map(|c| c.node).collect();
        let key = shared.kernels.fingerprint(&(&whole, input));
        Some((external[input].0.value()?, kernel_at, Tail { pointwise, operands: operands?, shape, out, nodes, key }))
    })
}
