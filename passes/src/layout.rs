//! Channels innermost where convolutions gain by it: `[n, spatial…, c]` instead of `[n, c, spatial…]`.
//!
//! A convolution in that layout has output channels as lanes and reads its patches in place. The pass goes through the
//! graph once: a convolution by constant weights gives its result in it, and whatever can read and write it as well (all that
//! is tensor expressions) does. What needs the plain value gets it by a `Transpose`, made once for all such readers and only
//! where there is one. Constants are moved here; a transposition in the model that undoes the layout is none.

use egret_ir::channels_last::{ChannelsLast, order, order_back, reordered, reordered_type};
use egret_ir::graph::Node;
use egret_ir::loops::reorder::AxisOrder;
use egret_ir::lower::{LowerCx, Lowering};
use egret_ir::ops::transpose::Transpose;
use egret_ir::plan::Layout;
use egret_ir::{DType, Graph, Result, Type, ValueId};
use std::collections::HashMap;
use std::sync::Arc;

/// Operands that a call may have.
const MAX_OPERANDS: usize = 64;

/// Products for an element of the result below which a convolution between plain neighbours stays plain: it would cost two
/// changes of layout.
const FEW_PRODUCTS: usize = 128;

/// Puts the calls of `nodes` into the layout.
///
/// # Errors
/// When a constant cannot be moved, or an operator refuses concrete operands.
pub fn choose_layout(graph: Graph, nodes: &[bool], layout: Layout) -> Result<Graph> {
    let wanted = |(n, node): (usize, &Node)| nodes[n] && conv(&graph, node, layout).is_some();
    if !graph.nodes.iter().enumerate().any(wanted) {
        return Ok(graph);
    }
    let consumers = graph.consumers();
    let mut pass = Pass { last: HashMap::new(), plain: vec![true; graph.values.len()], nodes: Vec::new(), graph };
    for (n, node) in std::mem::take(&mut pass.graph.nodes).into_iter().enumerate() {
        if !nodes[n] || !pass.wrapped(&node, &consumers, layout)? {
            for v in node.uses() {
                pass.need_plain(v);
            }
            pass.nodes.push(node);
        }
    }
    for v in pass.graph.outputs.clone() {
        pass.need_plain(v);
    }
    pass.graph.nodes = pass.nodes;
    Ok(pass.graph)
}

struct Pass {
    graph: Graph,
    /// The nodes so far.
    nodes: Vec<Node>,
    /// For a value what it is with its channels innermost.
    last: HashMap<ValueId, ValueId>,
    /// Whether the value itself is made.
    plain: Vec<bool>,
}

fn transpose(perm: AxisOrder, from: ValueId, to: ValueId) -> Node {
    Node {
        op: Arc::new(Transpose { perm: Some(perm.into_iter().map(|a| a as i64).collect()) }),
        name: String::new(),
        inputs: vec![Some(from)],
        captures: Vec::new(),
        outputs: vec![Some(to)],
    }
}

/// Element type and extents of a tensor that has elements.
fn concrete(graph: &Graph, v: ValueId) -> Option<(DType, Vec<usize>)> {
    graph.ty(v).concrete().filter(|(_, shape)| !shape.contains(&0))
}

/// What the convolution of a node, by constant weights, is lowered to.
fn conv(graph: &Graph, node: &Node, layout: Layout) -> Option<egret_ir::lower::Conv> {
    let def = node.op.def();
    if def.name != "Conv" || def.domain != "ai.onnx" {
        return None;
    }
    let cx = lower_cx(graph, node)?;
    cx.constant(1)?;
    let Ok(Lowering::Conv(c)) = node.op.lower(&cx) else { return None };
    let least = if let Layout::Gains { lanes } = layout { lanes / 2 } else { 1 };
    let fills = c.m >= least || c.c == 1 && c.m == 1 && c.groups >= least;
    (cx.dtype(0) == DType::F32 && !c.transposed && fills).then_some(c)
}

/// The call with its operands' types and constants; none where a type is no tensor with elements.
fn lower_cx<'a>(graph: &'a Graph, node: &Node) -> Option<LowerCx<'a>> {
    let mut cx = LowerCx::default();
    let given = node.inputs.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
    for v in &node.inputs[..given] {
        cx.inputs.push(match v {
            None => None,
            Some(v) => Some(concrete(graph, *v).filter(|t| t.0 != DType::String)?),
        });
        cx.constants.push(v.and_then(|v| graph.constant(v)));
    }
    for v in &node.outputs {
        cx.outputs.push(concrete(graph, (*v)?).filter(|t| t.0 != DType::String)?);
    }
    Some(cx)
}

impl Pass {
    /// Makes the value itself.
    fn need_plain(&mut self, v: ValueId) {
        if !std::mem::replace(&mut self.plain[v.index()], true) {
            let rank = self.graph.ty(v).concrete().map_or(0, |t| t.1.len());
            self.nodes.push(transpose(order_back(rank), self.last[&v], v));
        }
    }

    /// The value with its channels innermost.
    fn need_last(&mut self, v: ValueId) -> Result<ValueId> {
        if let Some(&last) = self.last.get(&v) {
            return Ok(last);
        }
        let last = match self.graph.constant(v).cloned() {
            Some(t) => self.graph.add_constant("", reordered(&t, &order(t.rank()))?),
            None => {
                let last = self.add_last(v);
                let rank = self.graph.ty(v).concrete().map_or(0, |t| t.1.len());
                self.nodes.push(transpose(order(rank), v, last));
                last
            }
        };
        self.plain.resize(self.graph.values.len(), true);
        self.last.insert(v, last);
        Ok(last)
    }

    /// A new value for `v` with its channels innermost.
    fn add_last(&mut self, v: ValueId) -> ValueId {
        let ty = reordered_type(self.graph.ty(v), order).unwrap_or(Type::Unknown);
        let name = match self.graph.value(v).name.as_str() {
            "" => String::new(),
            name => format!("{name} (channels last)"),
        };
        let last = self.graph.add_value(name, ty);
        self.plain.resize(self.graph.values.len(), true);
        last
    }

    /// Adds the node in the layout, if that pays.
    fn wrapped(&mut self, node: &Node, consumers: &[Vec<usize>], layout: Layout) -> Result<bool> {
        let known = |v: &Option<ValueId>| v.is_some_and(|v| self.last.contains_key(&v));
        let any = node.inputs.iter().any(known);
        if let Some(c) = conv(&self.graph, node, layout) {
            let Some(image) = node.inputs[0] else { return Ok(false) };
            let products = c.c * c.kernel.iter().product::<usize>();
            let read = node.outputs[0].is_some_and(|y| consumers.get(y.index()).is_some_and(|c| !c.is_empty()));
            let depthwise = c.c == 1 && c.m == 1;
            if !any && !read && products < FEW_PRODUCTS && layout != Layout::Everywhere {
                return Ok(false);
            }
            let mut operands = vec![false; node.inputs.len()];
            if any || depthwise {
                self.need_last(image)?;
                operands[0] = true;
            }
            self.push(node, operands, vec![true]);
            return Ok(true);
        }
        if !any || node.inputs.len() > MAX_OPERANDS || !node.captures.is_empty() || node.outputs.is_empty() {
            return Ok(false);
        }
        if let Some(t) = node.op.downcast::<Transpose>()
            && let (Some(x), Some(y)) = (node.inputs[0], node.outputs[0])
            && let Some((_, shape)) = concrete(&self.graph, x)
            && t.permutation(shape.len()) == order(shape.len())
        {
            // The model asks for the layout itself.
            let mut same = transpose((0..shape.len()).collect(), self.last[&x], y);
            same.name.clone_from(&node.name);
            self.nodes.push(same);
            return Ok(true);
        }
        let Some(cx) = lower_cx(&self.graph, node) else { return Ok(false) };
        let Some(rank) =
            node.inputs.iter().zip(&cx.inputs).filter(|(v, _)| known(v)).find_map(|(_, t)| Some(t.as_ref()?.1.len()))
        else {
            return Ok(false);
        };
        if !matches!(node.op.lower(&cx), Ok(Lowering::Compute(_) | Lowering::View)) {
            return Ok(false);
        }
        // Operands that vary over pixels and channels, in bytes: with their channels innermost, or plain so far.
        let (mut here, mut there) = (0, 0);
        let mut operands = Vec::new();
        for (v, t) in node.inputs.iter().zip(&cx.inputs) {
            let full = t
                .as_ref()
                .filter(|(_, shape)| shape.len() == rank && shape[1] > 1 && shape[2..].iter().any(|&n| n > 1));
            let bytes = t.as_ref().map_or(0, |(dtype, shape)| dtype.size_bytes() * shape.iter().product::<usize>());
            match full {
                _ if known(v) => here += bytes,
                Some(_) => there += bytes,
                None => {}
            }
            operands.push(known(v) || full.is_some());
        }
        let results: Vec<bool> = cx.outputs.iter().map(|(_, shape)| shape.len() == rank).collect();
        if layout != Layout::Everywhere && there > here || !results.iter().any(|&r| r) && there > 0 {
            return Ok(false);
        }
        let op = ChannelsLast { op: Arc::clone(&node.op), operands: operands.clone(), results: results.clone() };
        let mut last_cx = cx.clone();
        for (t, _) in last_cx.inputs.iter_mut().zip(&operands).filter(|(_, last)| **last) {
            if let Some((_, shape)) = t {
                *shape = order(shape.len()).iter().map(|&axis| shape[axis]).collect();
            }
        }
        for ((_, shape), _) in last_cx.outputs.iter_mut().zip(&results).filter(|(_, last)| **last) {
            *shape = order(shape.len()).iter().map(|&axis| shape[axis]).collect();
        }
        if !matches!(egret_ir::Op::lower(&op, &last_cx), Ok(Lowering::Compute(_) | Lowering::View)) {
            return Ok(false);
        }
        for (v, last) in node.inputs.iter().zip(&operands) {
            if let (Some(v), true) = (v, last) {
                self.need_last(*v)?;
            }
        }
        self.push(node, operands, results);
        Ok(true)
    }

    /// Adds the node; operands in the layout are known.
    fn push(&mut self, node: &Node, operands: Vec<bool>, results: Vec<bool>) {
        let inputs = node.inputs.iter().zip(&operands).map(|(v, &last)| {
            let v = (*v)?;
            if last {
                return Some(self.last[&v]);
            }
            self.need_plain(v);
            Some(v)
        });
        let inputs: Vec<Option<ValueId>> = inputs.collect();
        let mut outputs = Vec::new();
        for (v, &last) in node.outputs.iter().zip(&results) {
            outputs.push(match v {
                Some(v) if last => {
                    let made = self.add_last(*v);
                    self.plain[v.index()] = false;
                    self.last.insert(*v, made);
                    Some(made)
                }
                v => *v,
            });
        }
        let op = ChannelsLast { op: Arc::clone(&node.op), operands, results };
        self.nodes.push(Node { op: Arc::new(op), inputs, outputs, ..node.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::eval::{Env, evaluate};
    use egret_ir::{GraphBuilder, Tensor, attrs};

    fn numbers(shape: &[usize]) -> Tensor {
        let n: usize = shape.iter().product();
        Tensor::from_floats(DType::F32, shape, (0..n).map(|i| ((i * 7919) % 31) as f64 / 8.0 - 2.0))
    }

    /// The graph in the layout; it must give the same bits.
    fn same(graph: &Graph, layout: Layout) -> Graph {
        let all = vec![true; graph.nodes.len()];
        let mut after = choose_layout(graph.clone(), &all, layout).unwrap();
        egret_ir::infer::infer(&mut after).unwrap();
        let args: Vec<_> = graph.inputs.iter().map(|&v| numbers(&graph.ty(v).concrete().unwrap().1).into()).collect();
        let run = |g: &Graph| evaluate(g, args.clone(), &Env::default()).unwrap();
        assert_eq!(run(graph), run(&after));
        after
    }

    fn count(graph: &Graph, name: &str) -> usize {
        graph.nodes.iter().filter(|n| n.op.def().name == name).count()
    }

    #[test]
    fn a_chain_needs_one_change_at_its_end() {
        let mut b = GraphBuilder::new("chain");
        let x = b.input("x", Type::tensor(DType::F32, &[1, 3, 6, 5]));
        let w = b.constant(numbers(&[8, 3, 3, 3]));
        let y = b.op("Conv", attrs! { pads: vec![1, 1, 1, 1] }, &[x, w]).unwrap();
        let y = b.op("Relu", attrs! {}, &[y]).unwrap();
        let y = b.op("MaxPool", attrs! { kernel_shape: vec![2, 2] }, &[y]).unwrap();
        let v = b.constant(numbers(&[8, 8, 1, 1]));
        let z = b.op("Conv", attrs! {}, &[y, v]).unwrap();
        let z = b.op("Add", attrs! {}, &[z, y]).unwrap();
        let c = b.constant(numbers(&[1, 8, 5, 4]));
        let z = b.op("Mul", attrs! {}, &[z, c]).unwrap();
        let after = same(&b.finish(&[z]), Layout::Gains { lanes: 16 });
        assert_eq!((count(&after, "ChannelsLast"), count(&after, "Transpose")), (6, 1));
    }

    #[test]
    fn what_asks_for_the_layout_gets_it() {
        let mut b = GraphBuilder::new("asks");
        let x = b.input("x", Type::tensor(DType::F32, &[2, 4, 3, 3]));
        let w = b.constant(numbers(&[8, 4, 1, 1]));
        let y = b.op("Conv", attrs! {}, &[x, w]).unwrap();
        let y = b.op("Transpose", attrs! { perm: vec![0i64, 2, 3, 1] }, &[y]).unwrap();
        let after = same(&b.finish(&[y]), Layout::Everywhere);
        let perms: Vec<_> = after.nodes.iter().filter_map(|n| n.op.downcast::<Transpose>()?.perm.clone()).collect();
        assert_eq!(perms, [vec![0, 1, 2, 3]]);
    }

    #[test]
    fn few_channels_and_other_readers_stay_plain() {
        let mut b = GraphBuilder::new("plain");
        let x = b.input("x", Type::tensor(DType::F32, &[1, 3, 4, 4]));
        let w = b.constant(numbers(&[2, 3, 3, 3]));
        let y = b.op("Conv", attrs! {}, &[x, w]).unwrap();
        let graph = b.finish(&[y]);
        assert_eq!(count(&same(&graph, Layout::Gains { lanes: 16 }), "ChannelsLast"), 0);
        assert_eq!(count(&same(&graph, Layout::Everywhere), "ChannelsLast"), 1);
    }

    #[test]
    fn readers_of_both_kinds_and_operands_of_both() {
        let mut b = GraphBuilder::new("both");
        let x = b.input("x", Type::tensor(DType::F32, &[1, 8, 4, 4]));
        let r = b.input("r", Type::tensor(DType::F32, &[1, 8, 4, 4]));
        let bias = b.input("bias", Type::tensor(DType::F32, &[8, 1, 1]));
        let depthwise = b.constant(numbers(&[8, 1, 3, 3]));
        let y = b.op("Conv", attrs! { group: 8i64, pads: vec![1, 1, 1, 1] }, &[x, depthwise]).unwrap();
        let sum = b.op("Add", attrs! {}, &[y, r]).unwrap();
        let sum = b.op("Add", attrs! {}, &[sum, bias]).unwrap();
        let flat = b.op("Flatten", attrs! {}, &[sum]).unwrap();
        let mean = b.op("ReduceMean", attrs! { keepdims: 0i64 }, &[sum]).unwrap();
        let joined = b.op("Concat", attrs! { axis: 1i64 }, &[sum, y, x]).unwrap();
        same(&b.finish(&[flat, mean, joined, y]), Layout::Everywhere);
    }
}
