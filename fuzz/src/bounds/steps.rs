//! A graph taken apart into the steps of its operators' formulas.

use super::Silent;
use crate::formulas::formula;
use egret_ir::{DType, Graph, GraphBuilder, Node, Result, Value, ValueId, attrs};

/// What is noted where a graph is taken apart.
pub(super) struct Notes {
    /// Whose word counts where the specification is silent: formulas follow it.
    pub(super) silent: Silent,
    /// Values that formulas round to a narrower type, which a compiler may do later.
    pub(super) loose: Vec<ValueId>,
    /// Steps whose results a runtime may round to this narrower type: the one of the operands, in which the function's body is
    /// written.
    pub(super) rounded: Vec<(ValueId, DType)>,
    /// That type of the call that is being taken apart.
    narrow: Option<DType>,
    /// Operands that are quantised by a scale that is derived from them.
    pub(super) quantised: Vec<ValueId>,
    /// Integers that formulas of calls on quantised numbers cast: they hold them within the type, which is stated.
    pub(super) held: Vec<ValueId>,
    /// Products of formulas, which a multiply-add adds to something before they overflow.
    pub(super) fused: Vec<ValueId>,
    /// Whether operands were given extents that follow from elements: a trial with others is refused.
    pub(super) assumes_extents: bool,
}

impl Notes {
    fn new(silent: Silent) -> Notes {
        let (loose, rounded, quantised, held, fused) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Notes { silent, loose, rounded, narrow: None, quantised, held, fused, assumes_extents: false }
    }
}

/// The graph with formulas for operators; the same results in the same order. `values` are its own, whose extents operands
/// have where types leave them open. Where the rules refuse a step after all, the graph itself: its bounds are those of its
/// operators. And what is to be known of its values.
pub(super) fn steps(graph: &Graph, values: &[Option<Value>], silent: Silent) -> (Graph, Notes) {
    let mut b = GraphBuilder::new("steps");
    let args: Vec<Option<ValueId>> = graph.inputs.iter().map(|v| Some(b.input("", graph.ty(*v).clone()))).collect();
    let mut notes = Notes::new(silent);
    if let Ok(Some(results)) = spliced(&mut b, graph, &args, values, 0, &mut notes) {
        return (b.finish(&results), notes);
    }
    let quantised = graph.nodes.iter().filter(|n| derives_a_scale(n)).flat_map(|n| n.inputs.iter().flatten().copied());
    (graph.clone(), Notes { quantised: quantised.collect(), ..Notes::new(silent) })
}

/// Whether it quantises by scales that it derives from its operands.
fn derives_a_scale(node: &Node) -> bool {
    matches!(node.op.def().name, "DynamicQuantizeLinear" | "DynamicQuantizeMatMul" | "DynamicQuantizeLSTM")
}

/// The narrow type of a call whose function body has every step in it, where Egret takes them in `f32`; of calls on quantised
/// numbers `f32`, where Egret takes their factors in `f64`.
fn narrow_type(b: &GraphBuilder, node: &Node, args: &[Option<ValueId>]) -> Option<DType> {
    let (name, domain) = (node.op.def().name, node.op.def().domain);
    let first = b.ty((*args.first()?)?).as_tensor()?.dtype;
    if name == "Attention" && domain == "ai.onnx" && first.is_float() && first.bits() == 16 {
        return Some(first);
    }
    (name.starts_with("QLinear") || name == "QGemm").then_some(DType::F32)
}

/// The operand with the extents of `value`, since formulas are written for those.
fn with_extents(b: &mut GraphBuilder, v: ValueId, value: Option<&Value>, notes: &mut Notes) -> Result<ValueId> {
    let Some(t) = value.and_then(|v| v.tensor().ok()).filter(|_| b.ty(v).concrete().is_none()) else { return Ok(v) };
    notes.assumes_extents = true;
    let shape: Vec<i64> = t.shape().iter().map(|&d| d as i64).collect();
    let shape = b.ints(&shape);
    b.op("Reshape", attrs! { allowzero: true }, &[v, shape])
}

/// Formulas within formulas end here.
const DEPTH: usize = 8;

/// The calls of `graph` on these arguments, each taken apart; its results, `None` where one of them is made by no call.
/// `values` may hold those of the graph.
fn spliced(
    b: &mut GraphBuilder,
    graph: &Graph,
    args: &[Option<ValueId>],
    values: &[Option<Value>],
    depth: usize,
    notes: &mut Notes,
) -> Result<Option<Vec<ValueId>>> {
    let constants = graph.values.iter().map(|info| info.constant.as_ref().map(|t| b.constant(t.clone())));
    let mut at: Vec<Option<ValueId>> = constants.collect();
    for (v, to) in graph.inputs.iter().zip(args) {
        at[v.index()] = *to;
    }
    for node in &graph.nodes {
        let mut args: Vec<Option<ValueId>> = node.inputs.iter().map(|v| v.and_then(|v| at[v.index()])).collect();
        for (arg, v) in args.iter_mut().zip(&node.inputs) {
            if let (Some(arg), Some(v)) = (arg, v) {
                *arg = with_extents(b, *arg, values.get(v.index()).and_then(Option::as_ref), notes)?;
            }
        }
        let captures: Vec<ValueId> = node.captures.iter().filter_map(|v| at[v.index()]).collect();
        if derives_a_scale(node) {
            notes.quantised.extend(args.iter().flatten());
        }
        let made = taken_apart(b, node, &args, &captures, depth, notes)?;
        for (v, to) in node.outputs.iter().zip(made) {
            v.iter().for_each(|v| at[v.index()] = Some(to));
        }
    }
    Ok(graph.outputs.iter().map(|v| at[v.index()]).collect())
}

/// The node's results by its formula, whose steps are taken apart again; by itself where it has none.
fn taken_apart(
    b: &mut GraphBuilder,
    node: &Node,
    args: &[Option<ValueId>],
    captures: &[ValueId],
    depth: usize,
    notes: &mut Notes,
) -> Result<Vec<ValueId>> {
    if depth < DEPTH && captures.is_empty() {
        let mut inner = GraphBuilder::new("formula");
        let given: Vec<Option<ValueId>> =
            args.iter().map(|v| v.map(|v| inner.input_with_content("", b.fact(v)))).collect();
        if let Ok(Some(results)) = formula(&mut inner, node, &given, notes.silent) {
            // Arguments that are left out are no inputs of the formula.
            let present: Vec<Option<ValueId>> = args.iter().copied().filter(Option::is_some).collect();
            let outer = notes.narrow;
            if notes.silent == Silent::Open {
                notes.narrow = outer.or_else(|| narrow_type(b, node, args));
            }
            let found = spliced(b, &inner.finish(&results), &present, &[], depth + 1, notes);
            notes.narrow = outer;
            if let Some(found) = found? {
                return Ok(found);
            }
        }
    }
    let made = b.call(node.op.clone(), args, captures, node.outputs.len())?;
    if depth > 0 && node.op.def().name == "Cast" {
        notes.loose.extend(&made);
    }
    if depth > 0 && node.op.def().name == "Mul" {
        notes.fused.extend(&made);
    }
    if notes.narrow == Some(DType::F32) && matches!(node.op.def().name, "Cast" | "CastLike") {
        notes.held.extend(&made);
    }
    notes.rounded.extend(notes.narrow.iter().flat_map(|&dtype| made.iter().map(move |&v| (v, dtype))));
    Ok(made)
}
