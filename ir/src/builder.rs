//! Building graphs by hand: every node is typed by its rule as it is added.
//!
//! ```
//! use egret_ir::{DType, GraphBuilder, Type, attrs};
//! let mut b = GraphBuilder::new("example");
//! let x = b.input("x", Type::tensor(DType::F32, &[2, 3]));
//! let y = b.op("Relu", attrs! {}, &[x])?;
//! let graph = b.finish(&[y]);
//! assert_eq!(graph.ty(y).to_string(), "f32[2, 3]");
//! # Ok::<(), egret_ir::Error>(())
//! ```

use crate::attr::Attrs;
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, ValueId};
use crate::infer::{constant_fact, infer_call};
use crate::op::Op;
use crate::rule::{Assumption, Content, Fact};
use crate::tensor::Tensor;
use crate::types::Type;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Attributes by name: `attrs! { axis: 1i64, mode: "linear" }`.
#[macro_export]
macro_rules! attrs {
    ($($name:ident : $value:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut out = $crate::attr::Attrs::new();
        $( out.insert($crate::attr::plain(stringify!($name)).to_owned(), $crate::attr::Attr::from($value)); )*
        out
    }};
}

/// A graph in the making.
pub struct GraphBuilder {
    graph: Graph,
    contents: BTreeMap<ValueId, Content>,
    assumptions: Vec<Assumption>,
    fresh: u64,
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> GraphBuilder {
        GraphBuilder { graph: Graph::new(name), contents: BTreeMap::new(), assumptions: Vec::new(), fresh: 0 }
    }

    /// Adds an argument.
    pub fn input(&mut self, name: impl Into<String>, ty: Type) -> ValueId {
        self.graph.add_input(name, ty)
    }

    /// Adds an argument whose content is known while building (it stays an argument).
    pub fn input_with_content(&mut self, name: impl Into<String>, fact: Fact) -> ValueId {
        let v = self.graph.add_input(name, fact.ty);
        if let Some(c) = fact.content {
            self.contents.insert(v, c);
        }
        v
    }

    /// Adds a constant.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.graph.add_constant("", tensor)
    }

    /// Adds a rank-1 `i64` constant.
    pub fn ints(&mut self, values: &[i64]) -> ValueId {
        self.constant(Tensor::from_slice(&[values.len()], values))
    }

    /// A tensor's number of axes, where its type says it.
    pub fn rank(&self, v: ValueId) -> Option<usize> {
        self.ty(v).as_tensor()?.shape.dims().map(<[_]>::len)
    }

    /// A value's type.
    pub fn ty(&self, v: ValueId) -> &Type {
        self.graph.ty(v)
    }

    /// All that is known of a value.
    pub fn fact(&self, v: ValueId) -> Fact {
        if let Some(t) = self.graph.constant(v) {
            return constant_fact(t);
        }
        Fact { ty: self.graph.ty(v).clone(), content: self.contents.get(&v).cloned() }
    }

    /// Adds a node of `ai.onnx` with one result.
    ///
    /// # Errors
    /// When there is no such operator or its rule refuses the operands.
    pub fn op(&mut self, op: &str, attrs: Attrs, inputs: &[ValueId]) -> Result<ValueId> {
        let inputs: Vec<_> = inputs.iter().map(|&v| Some(v)).collect();
        Ok(self.node("ai.onnx", op, attrs, &inputs, 1)?[0])
    }

    /// Adds a node of any domain.
    ///
    /// # Errors
    /// When there is no such operator or its rule refuses the operands.
    pub fn node(
        &mut self,
        domain: &str,
        op: &str,
        attrs: Attrs,
        inputs: &[Option<ValueId>],
        n_outputs: usize,
    ) -> Result<Vec<ValueId>> {
        self.call(parse(domain, op, &attrs)?, inputs, &[], n_outputs)
    }

    /// Puts the nodes of `body` here, with `args` for its arguments and `captures` for its captures; returns what
    /// stands for its results.
    ///
    /// # Errors
    /// When the numbers of values differ or a node's rule refuses its operands.
    pub fn inline(&mut self, body: &Graph, args: &[ValueId], captures: &[ValueId]) -> Result<Vec<ValueId>> {
        if args.len() != body.inputs.len() || captures.len() != body.captures.len() {
            return Err(Error::invalid(format!(
                "the body \"{}\" takes {} arguments and {} captures, {} and {} are given",
                body.name,
                body.inputs.len(),
                body.captures.len(),
                args.len(),
                captures.len()
            )));
        }
        let mut map: Vec<Option<ValueId>> = vec![None; body.values.len()];
        for (v, &to) in body.inputs.iter().zip(args).chain(body.captures.iter().zip(captures)) {
            map[v.index()] = Some(to);
        }
        for (to, info) in map.iter_mut().zip(&body.values).filter(|(to, _)| to.is_none()) {
            *to = info.constant.as_ref().map(|t| self.constant(t.clone()));
        }
        let find = |map: &[Option<ValueId>], v: ValueId| {
            map[v.index()].ok_or_else(|| Error::bug(format!("\"{}\" uses a value before it is made", body.name)))
        };
        for node in &body.nodes {
            let inputs =
                node.inputs.iter().map(|v| v.map(|v| find(&map, v)).transpose()).collect::<Result<Vec<_>>>()?;
            let captures = node.captures.iter().map(|&v| find(&map, v)).collect::<Result<Vec<_>>>()?;
            let made = self.call(node.op.clone(), &inputs, &captures, node.outputs.len())?;
            for (v, to) in node.outputs.iter().zip(made) {
                if let Some(v) = v {
                    map[v.index()] = Some(to);
                }
            }
        }
        body.outputs.iter().map(|&v| find(&map, v)).collect()
    }

    /// Adds a node of an operator that is at hand.
    ///
    /// # Errors
    /// When its rule refuses the operands.
    pub fn call(
        &mut self,
        op: Arc<dyn Op>,
        inputs: &[Option<ValueId>],
        captures: &[ValueId],
        n_outputs: usize,
    ) -> Result<Vec<ValueId>> {
        let facts: Vec<Option<Fact>> = inputs.iter().map(|v| v.map(|v| self.fact(v))).collect();
        let captured: Vec<Fact> = captures.iter().map(|&v| self.fact(v)).collect();
        let (outputs, contents, assumptions) =
            push(&mut self.graph, op, inputs, captures, &facts, &captured, n_outputs, &mut self.fresh)?;
        self.assumptions.extend(assumptions);
        for (v, c) in outputs.iter().zip(contents) {
            if let Some(c) = c {
                self.contents.insert(*v, c);
            }
        }
        Ok(outputs)
    }

    /// What the rules of the nodes so far leave for run time.
    pub fn assumptions(&self) -> &[Assumption] {
        &self.assumptions
    }

    /// The graph so far.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Ends the graph with these results.
    pub fn finish(mut self, outputs: &[ValueId]) -> Graph {
        self.graph.outputs = outputs.to_vec();
        self.graph
    }
}

/// Adds a typed node to a graph.
///
/// # Errors
/// When there is no such operator or its rule refuses the operands.
pub fn add_node(
    graph: &mut Graph,
    domain: &str,
    op: &str,
    attrs: Attrs,
    inputs: &[Option<ValueId>],
    n_outputs: usize,
) -> Result<Vec<ValueId>> {
    let facts: Vec<Option<Fact>> = inputs
        .iter()
        .map(|v| v.map(|v| graph.constant(v).map_or_else(|| Fact::of(graph.ty(v).clone()), constant_fact)))
        .collect();
    // Generated symbols of separate calls must differ: number them by the values that exist.
    let mut fresh = (graph.values.len() as u64 + 1) << 20;
    Ok(push(graph, parse(domain, op, &attrs)?, inputs, &[], &facts, &[], n_outputs, &mut fresh)?.0)
}

fn parse(domain: &str, op: &str, attrs: &Attrs) -> Result<Arc<dyn Op>> {
    let def = crate::ops::find(domain, op)
        .ok_or_else(|| Error::unsupported(format!("there is no operator {domain}::{op}")))?;
    (def.parse)(attrs).map_err(|e| e.of_op(def.name))
}

fn push(
    graph: &mut Graph,
    op: Arc<dyn Op>,
    inputs: &[Option<ValueId>],
    captures: &[ValueId],
    facts: &[Option<Fact>],
    captured: &[Fact],
    n_outputs: usize,
    fresh: &mut u64,
) -> Result<(Vec<ValueId>, Vec<Option<Content>>, Vec<Assumption>)> {
    let inferred = infer_call(&*op, facts, captured, n_outputs, fresh)?;
    let mut outputs = Vec::new();
    let mut contents = Vec::new();
    for f in inferred.outputs {
        outputs.push(graph.add_value("", f.ty));
        contents.push(f.content);
    }
    graph.nodes.push(Node {
        op,
        name: String::new(),
        inputs: inputs.to_vec(),
        captures: captures.to_vec(),
        outputs: outputs.iter().map(|&v| Some(v)).collect(),
    });
    Ok((outputs, contents, inferred.assumptions))
}
