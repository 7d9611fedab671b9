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
use egret_ir::{DType, Graph, Result, Type, ValueId};
use std::collections::HashMap;
use std::sync::Arc;

/// Operands that a call may have.
const MAX_OPERANDS: usize = 64;

/// Products for an element of the result below which a convolution between plain neighbours stays plain: it would cost two
/// changes of layout.
const FEW_PRODUCTS: usize = 128;

/// Puts the calls of `nodes` into the layout where that pays with vectors of `lanes` elements.
///
/// # Errors
/// When a constant cannot be moved, or an operator refuses concrete operands.
pub fn choose_layout(graph: Graph, nodes: &[bool], lanes: usize) -> Result<Graph> {
    let wanted = |(n, node): (usize, &Node)| nodes[n] && conv(&graph, node, lanes).is_some();
    if !graph.nodes.iter().enumerate().any(wanted) {
        return Ok(graph);
    }
    let consumers = graph.consumers();
    let mut pass = Pass { last: HashMap::new(), plain: vec![true; graph.values.len()], nodes: Vec::new(), graph };
    for (n, node) in std::mem::take(&mut pass.graph.nodes).into_iter().enumerate() {
        if !nodes[n] || !pass.wrapped(&node, &consumers, lanes)? {
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
fn conv(graph: &Graph, node: &Node, lanes: usize) -> Option<egret_ir::lower::Conv> {
    let def = node.op.def();
    if def.name != "Conv" || def.domain != "ai.onnx" {
        return None;
    }
    let cx = lower_cx(graph, node)?;
    cx.constant(1)?;
    let Ok(Lowering::Conv(c)) = node.op.lower(&cx) else { return None };
    let one_to_one = c.c == 1 && c.m == 1;
    (cx.dtype(0) == DType::F32 && !c.transposed && (one_to_one && c.groups >= lanes / 2 || c.m >= lanes / 2)).then_some(c)
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
    fn wrapped(&mut self, node: &Node, consumers: &[Vec<usize>], lanes: usize) -> Result<bool> {
        let known = |v: &Option<ValueId>| v.is_some_and(|v| self.last.contains_key(&v));
        let any = node.inputs.iter().any(known);
        if let Some(c) = conv(&self.graph, node, lanes) {
            let Some(image) = node.inputs[0] else { return Ok(false) };
            let products = c.c * c.kernel.iter().product::<usize>();
            let read = node.outputs[0].is_some_and(|y| consumers.get(y.index()).is_some_and(|c| !c.is_empty()));
            let depthwise = c.c == 1 && c.m == 1;
            if !any && !read && products < FEW_PRODUCTS {
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
        let Some(rank) = node.inputs.iter().zip(&cx.inputs).filter(|(v, _)| known(v)).find_map(|(_, t)| Some(t.as_ref()?.1.len()))
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
            let full = t.as_ref().filter(|(_, shape)| shape.len() == rank && shape[1] > 1 && shape[2..].iter().any(|&n| n > 1));
            let bytes = t.as_ref().map_or(0, |(dtype, shape)| dtype.size_bytes() * shape.iter().product::<usize>());
            match full {
                _ if known(v) => here += bytes,
                Some(_) => there += bytes,
                None => {}
            }
            operands.push(known(v) || full.is_some());
        }
        let results: Vec<bool> = cx.outputs.iter().map(|(_, shape)| shape.len() == rank).collect();
        if there > here || !results.iter().any(|&r| r) && there > 0 {
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

