//! The typed graph: values in single static assignment, nodes in topological order, sub-graphs for control flow.
//!
//! Invariant: every node stands after the nodes that make its inputs. A value is made by one node output, or is a
//! graph input, a capture, or a constant. A body (the graph attribute of If, Loop, Scan, SequenceMap…) sees outer
//! values only through its `captures`, which match the node's `captures` one by one: all uses are explicit.

use crate::error::{Error, Result};
use crate::op::Op;
use crate::tensor::Tensor;
use crate::types::Type;
use petgraph::graph::{DiGraph, NodeIndex};
use std::sync::Arc;

/// A value of one graph.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ValueId(pub u32);

impl ValueId {
    /// Position in [`Graph::values`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known of a value.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ValueInfo {
    /// Name in the model; may be empty.
    pub name: String,
    /// Type.
    pub ty: Type,
    /// Its content where it is a constant; for a graph input, the default that a caller may override.
    pub constant: Option<Tensor>,
}

/// One operator call.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operator with its attributes.
    pub op: Arc<dyn Op>,
    /// Name in the model; may be empty.
    pub name: String,
    /// Operands; `None` where an optional one is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Outer values that the node's bodies use, in the order of each body's `captures`.
    pub captures: Vec<ValueId>,
    /// Results; `None` where an optional one is not wanted.
    pub outputs: Vec<Option<ValueId>>,
}

impl Node {
    /// Every value that the node reads.
    pub fn uses(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.inputs.iter().flatten().copied().chain(self.captures.iter().copied())
    }

    /// Every value that the node makes.
    pub fn defs(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.outputs.iter().flatten().copied()
    }
}

impl PartialEq for Node {
    fn eq(&self, o: &Node) -> bool {
        std::ptr::eq(self.op.def(), o.op.def())
            && self.op.attrs() == o.op.attrs()
            && self.name == o.name
            && self.inputs == o.inputs
            && self.captures == o.captures
            && self.outputs == o.outputs
    }
}

/// A graph: a model's main function, or the body of a control-flow node.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Graph {
    /// Name.
    pub name: String,
    /// All values, by [`ValueId`].
    pub values: Vec<ValueInfo>,
    /// Nodes in topological order.
    pub nodes: Vec<Node>,
    /// Arguments.
    pub inputs: Vec<ValueId>,
    /// Outer values of a body; empty for a main graph.
    pub captures: Vec<ValueId>,
    /// Results.
    pub outputs: Vec<ValueId>,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Graph {
        Graph { name: name.into(), ..Graph::default() }
    }

    /// Adds a value without a producer.
    pub fn add_value(&mut self, name: impl Into<String>, ty: Type) -> ValueId {
        self.values.push(ValueInfo { name: name.into(), ty, constant: None });
        ValueId(self.values.len() as u32 - 1)
    }

    /// Adds an argument.
    pub fn add_input(&mut self, name: impl Into<String>, ty: Type) -> ValueId {
        let v = self.add_value(name, ty);
        self.inputs.push(v);
        v
    }

    /// Adds a capture to a body.
    pub fn add_capture(&mut self, name: impl Into<String>, ty: Type) -> ValueId {
        let v = self.add_value(name, ty);
        self.captures.push(v);
        v
    }

    /// Adds a constant.
    pub fn add_constant(&mut self, name: impl Into<String>, tensor: Tensor) -> ValueId {
        let v = self.add_value(name, Type::tensor(tensor.dtype(), tensor.shape()));
        self.values[v.index()].constant = Some(tensor);
        v
    }

    /// A value.
    pub fn value(&self, id: ValueId) -> &ValueInfo {
        &self.values[id.index()]
    }

    /// A value's type.
    pub fn ty(&self, id: ValueId) -> &Type {
        &self.values[id.index()].ty
    }

    /// The content of a value that is constant whatever the caller passes (defaults of inputs are not).
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        let c = self.values.get(id.index())?.constant.as_ref()?;
        (!self.inputs.contains(&id)).then_some(c)
    }

    /// Contents of all constants by value; faster than [`Graph::constant`] for many look-ups.
    pub fn constants(&self) -> Vec<Option<&Tensor>> {
        let mut out: Vec<_> = self.values.iter().map(|v| v.constant.as_ref()).collect();
        for v in &self.inputs {
            out[v.index()] = None;
        }
        out
    }

    /// For each value the (node, output) that makes it.
    pub fn producers(&self) -> Vec<Option<(usize, usize)>> {
        let mut out = vec![None; self.values.len()];
        for (n, node) in self.nodes.iter().enumerate() {
            for (k, v) in node.outputs.iter().enumerate() {
                if let Some(v) = v {
                    out[v.index()] = Some((n, k));
                }
            }
        }
        out
    }

    /// Removes the nodes that are marked, by number; the others keep their order.
    pub fn remove_nodes(&mut self, removed: &[bool]) {
        let mut marks = removed.iter();
        self.nodes.retain(|_| marks.next() != Some(&true));
    }

    /// Whether it takes so many arguments.
    ///
    /// # Errors
    /// When it takes another number.
    pub fn check_args(&self, n: usize) -> Result<()> {
        if n != self.inputs.len() {
            let text = format!("\"{}\" takes {} arguments, {n} are given", self.name, self.inputs.len());
            return Err(Error::invalid(text));
        }
        Ok(())
    }

    /// For each value the nodes that read it, each once, in order.
    pub fn consumers(&self) -> Vec<Vec<usize>> {
        let mut out = vec![Vec::new(); self.values.len()];
        for (n, node) in self.nodes.iter().enumerate() {
            for v in node.uses() {
                if out[v.index()].last() != Some(&n) {
                    out[v.index()].push(n);
                }
            }
        }
        out
    }

    /// The nodes as a petgraph, an edge for each value that one makes and another reads.
    pub fn dependencies(&self) -> DiGraph<usize, ValueId> {
        let mut g = DiGraph::with_capacity(self.nodes.len(), self.nodes.len() * 2);
        let ids: Vec<NodeIndex> = (0..self.nodes.len()).map(|n| g.add_node(n)).collect();
        let producers = self.producers();
        for (n, node) in self.nodes.iter().enumerate() {
            for v in node.uses() {
                if let Some((p, _)) = producers.get(v.index()).copied().flatten() {
                    g.add_edge(ids[p], ids[n], v);
                }
            }
        }
        g
    }

    /// Puts the nodes into topological order, keeping the given order where it is free.
    ///
    /// # Errors
    /// When nodes depend on each other in a circle; the message names them.
    pub fn sort(&mut self) -> Result<()> {
        let producers = self.producers();
        if self.nodes.iter().enumerate().all(|(n, node)| {
            node.uses().all(|v| producers.get(v.index()).copied().flatten().is_none_or(|(p, _)| p < n))
        }) {
            return Ok(());
        }
        let deps = self.dependencies();
        let cycles = petgraph::algo::tarjan_scc(&deps);
        if let Some(cycle) = cycles.iter().find(|c| c.len() > 1 || deps.contains_edge(c[0], c[0])) {
            let names: Vec<_> = cycle.iter().take(8).map(|&i| self.describe(deps[i])).collect();
            return Err(Error::invalid(format!(
                "{} nodes depend on each other in a circle: {}",
                cycle.len(),
                names.join(", ")
            )));
        }
        // Kahn's algorithm with a heap of given positions, so that a sorted prefix stays as it is.
        let mut waiting: Vec<usize> =
            (0..self.nodes.len()).map(|n| deps.edges_directed(NodeIndex::new(n), petgraph::Incoming).count()).collect();
        let mut ready: std::collections::BinaryHeap<_> =
            (0..self.nodes.len()).filter(|&n| waiting[n] == 0).map(std::cmp::Reverse).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(std::cmp::Reverse(n)) = ready.pop() {
            order.push(n);
            for e in deps.neighbors(NodeIndex::new(n)) {
                waiting[e.index()] -= 1;
                if waiting[e.index()] == 0 {
                    ready.push(std::cmp::Reverse(e.index()));
                }
            }
        }
        let mut nodes: Vec<Option<Node>> = std::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        self.nodes = order.into_iter().map(|n| nodes[n].take().expect("an order names each node once")).collect();
        Ok(())
    }

    /// A node for a message: its name, or what it makes.
    pub fn describe(&self, n: usize) -> String {
        self.describe_node(n, &self.nodes[n])
    }

    /// As [`Graph::describe`], for a node that was taken out of the graph, where it was number `n`.
    pub fn describe_node(&self, n: usize, node: &Node) -> String {
        let op = node.op.def().name;
        if !node.name.is_empty() {
            return format!("node \"{}\" ({op})", node.name);
        }
        match node.defs().next().map(|v| &self.value(v).name) {
            Some(name) if !name.is_empty() => format!("node {n} ({op}) that makes \"{name}\""),
            _ => format!("node {n} ({op})"),
        }
    }

    /// A node with the types of its operands, for errors.
    pub fn describe_with_types(&self, n: usize) -> String {
        let types: Vec<String> =
            self.nodes[n].inputs.iter().map(|v| v.map_or_else(|| "none".into(), |v| self.ty(v).to_string())).collect();
        format!("{}, operands ({})", self.describe(n), types.join(", "))
    }

    /// Number of nodes, those of bodies included.
    pub fn count_nodes(&self) -> usize {
        self.nodes.iter().map(|n| 1 + n.op.bodies().iter().map(|g| g.count_nodes()).sum::<usize>()).sum()
    }
}
