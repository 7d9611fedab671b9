//! Symbols for extents of arguments: one graph, run with different shapes.
//!
//! A graph is grown with numbers. Then some extents become symbols, equal ones mostly the same; types within are inferred
//! anew, and what the rules assume of the symbols says which other shapes the graph takes. Elements of another run are drawn
//! from those of the first, so that an index stays one.

use super::control::{open_bodies, stated_type};
use super::{Case, Config, Run, limits};
use crate::choices::{Choices, pick};
use crate::form::{EXTENT, NARROW};
use crate::solve::{Assignment, Problem, Wish};
use crate::values::{self, Values};
use egret_ir::eval::{Env, Reference, evaluate, evaluate_observed};
use egret_ir::infer::infer;
use egret_ir::{Cond, Dim, Error, ErrorKind, Graph, Tensor, Type, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Choices of symbols that are tried, each with fewer of them.
const CHOICES: usize = 4;
/// Shapes that are tried for a choice of symbols.
const SHAPES: usize = 6;

/// What came of it.
pub(super) enum Opened {
    /// The same results for the same arguments, and a run with another shape.
    Case(Case),
    /// Nothing.
    No,
    /// The reference blames itself for a run with another shape.
    Bug(Graph, Vec<Value>, Error),
}

/// The case with symbols for extents and a run with other ones.
pub(super) fn opened(case: &Case, config: &Config, choices: &mut dyn Choices) -> Opened {
    for turn in 0..CHOICES {
        let (graph, conds, wishes) = match with_symbols(case, 3 >> turn, choices) {
            Symbols::Of(graph, conds, wishes) => (graph, conds, wishes),
            Symbols::No => continue,
            Symbols::Bug(graph, e) => return Opened::Bug(*graph, case.inputs.clone(), e),
        };
        if config.known.met_symbolic(&graph) {
            continue;
        }
        let Some(problem) = Problem::new(&conds, &wishes) else { continue };
        let Some(start) = problem.start() else { continue };
        for shape in 0..SHAPES {
            let Some(found) = problem.draw(&start, choices).map(|s| problem.assignment(&s)) else { break };
            let Some(inputs) = other_inputs(case, &graph, &found, shape % 2 == 1, config, choices) else { continue };
            if inputs.iter().zip(&case.inputs).all(|(a, b)| a.ty() == b.ty()) {
                continue;
            }
            match evaluate(&graph, inputs.clone(), &Env::new(limits(config), 0)) {
                Ok(outputs) if outputs.iter().all(|v| v.tensor().is_ok_and(|t| t.len() <= 4 * config.max_elems)) => {
                    let run = Run { inputs, outputs };
                    if config.is_choosy() && !config.wants_all(&instance(&graph, run.clone())) {
                        continue;
                    }
                    let others = vec![run];
                    return Opened::Case(Case { graph, others, ..case.clone() });
                }
                Err(e) if e.kind() == ErrorKind::Bug => return Opened::Bug(graph, inputs, e),
                _ => {}
            }
        }
    }
    Opened::No
}

enum Symbols {
    Of(Graph, Vec<Cond>, BTreeMap<Arc<str>, Wish>),
    No,
    /// Rules refuse with symbols what they took with the numbers.
    Bug(Box<Graph>, Error),
}

/// The graph with symbols in the types of arguments, what its rules assume of them, and what each may be. Of four sizes
/// about `share` become symbols; at least one does.
fn with_symbols(case: &Case, share: usize, choices: &mut dyn Choices) -> Symbols {
    let shapes: Vec<Vec<usize>> =
        case.inputs.iter().map(|v| v.tensor().map(|t| t.shape().to_vec()).unwrap_or_default()).collect();
    let mut sizes: Vec<usize> = shapes.iter().flatten().copied().collect();
    sizes.sort_unstable();
    sizes.dedup();
    if sizes.is_empty() {
        return Symbols::No;
    }
    let always = *pick(choices, &sizes);
    sizes.retain(|d| *d == always || choices.below(4) < share);
    let alone = choices.chance(1, 4);
    let mut graph = case.graph.clone();
    let (mut wishes, mut first) = (BTreeMap::new(), BTreeMap::new());
    for (k, (v, shape)) in graph.inputs.clone().into_iter().zip(&shapes).enumerate() {
        let Type::Tensor(t) = graph.ty(v).clone() else { continue };
        let dims = shape.iter().enumerate().map(|(a, d)| {
            if !sizes.contains(d) {
                return Dim::int(*d as i64);
            }
            let name: Arc<str> = if alone { format!("d{k}_{a}") } else { format!("d{d}") }.into();
            let wish = if shape.len() > 2 { NARROW } else { EXTENT };
            wishes.insert(Arc::clone(&name), wish);
            first.insert(Arc::clone(&name), *d as i64);
            Dim::sym(&name)
        });
        graph.values[v.index()].ty = Type::ranked(t.dtype, dims.collect());
    }
    for node in &case.graph.nodes {
        node.defs().for_each(|v| graph.values[v.index()].ty = Type::Unknown);
    }
    open_bodies(&mut graph);
    let facts = match infer(&mut graph) {
        Ok(facts) => facts,
        Err(e) if e.kind() == ErrorKind::Unsupported => return Symbols::No,
        Err(e) => return Symbols::Bug(Box::new(graph), e),
    };
    // Symbols that rules made (extents that depend on data) are not ours to choose.
    let ours = |c: &Cond| c.symbols().iter().all(|s| wishes.contains_key(s));
    let conds: Vec<Cond> = facts.assumptions.into_iter().map(|(_, a)| a.cond).filter(ours).collect();
    for cond in &conds {
        match cond.eval(&|s| first.get(s).copied()) {
            Some(true) => {}
            None => return Symbols::No,
            Some(false) => {
                let e = Error::bug(format!("a rule assumes {cond}, which the arguments do not meet"));
                return Symbols::Bug(Box::new(graph), e);
            }
        }
    }
    Symbols::Of(graph, conds, wishes)
}

/// Arguments of these extents, of elements that the first run has, or of zeros and ones.
fn other_inputs(
    case: &Case,
    graph: &Graph,
    sizes: &Assignment,
    tame: bool,
    config: &Config,
    choices: &mut dyn Choices,
) -> Option<Vec<Value>> {
    let mut inputs = Vec::new();
    for (v, value) in graph.inputs.iter().zip(&case.inputs) {
        let Value::Tensor(t) = value else { return None };
        let dims = graph.ty(*v).as_tensor()?.shape.dims()?;
        let size = |d: &Dim| d.eval(&|s| sizes.get(s).copied()).and_then(|n| usize::try_from(n).ok());
        let shape = dims.iter().map(size).collect::<Option<Vec<_>>>()?;
        let n = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)))?;
        if n > config.max_elems {
            return None;
        }
        let same = shape == t.shape();
        inputs.push(if same && !tame {
            value.clone()
        } else if t.is_empty() || tame {
            values::tensor(t.dtype(), &shape, Values::Tame, (0.0, 1.0), choices).ok()?.into()
        } else {
            let from: Vec<usize> = (0..shape.iter().product()).map(|_| position(t, choices.below(t.len()))).collect();
            Value::Tensor(t.take(&shape, from).ok()?)
        });
    }
    Some(inputs)
}

/// The place of an element in memory.
fn position(t: &Tensor, mut nth: usize) -> usize {
    let mut index = vec![0; t.rank()];
    for a in (0..t.rank()).rev() {
        index[a] = nth % t.shape()[a];
        nth /= t.shape()[a];
    }
    t.position(&index)
}

/// The graph with the types that its values have in one run.
pub(super) fn instance(graph: &Graph, run: Run) -> Case {
    let mut typed = graph.clone();
    let made: Vec<_> = graph.nodes.iter().flat_map(egret_ir::Node::defs).collect();
    made.iter().for_each(|v| typed.values[v.index()].ty = Type::Unknown);
    for (v, x) in graph.inputs.iter().zip(&run.inputs) {
        typed.values[v.index()].ty = x.ty();
    }
    let mut types = Vec::new();
    // What a call refuses has no type; the results are there all the same.
    let _ = evaluate_observed(&typed, run.inputs.clone(), &[], &Env::default(), &Reference, &mut |v, x| {
        types.push((v, stated_type(x)));
    });
    types.into_iter().for_each(|(v, ty)| typed.values[v.index()].ty = ty);
    Case { graph: typed, inputs: run.inputs, outputs: run.outputs, ..Case::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Egret, System};
    use crate::choices::Seeded;
    use crate::generate::Generator;
    use egret_ir::onnx::{self, Model};
    use egret_ir::verify::verify;

    fn dynamic(seed: u64, n: u64, control_percent: usize) -> Vec<Case> {
        let only = ["Add", "Relu", "MatMul", "Concat", "ReduceSum", "Transpose", "Conv", "Slice", "Reshape", "Softmax"];
        let only = only.map(Into::into).into();
        let mut generator = Generator::new(Config { dynamic_percent: 100, control_percent, only, ..Config::default() });
        let made: Vec<Case> = (0..n).map(|i| generator.generate(&mut Seeded::new(seed, i)).unwrap()).collect();
        assert!(generator.bugs.is_empty(), "{:?}", generator.bugs.iter().map(|b| &b.2).collect::<Vec<_>>());
        made.into_iter().filter(|c| !c.others.is_empty()).collect()
    }

    #[test]
    fn most_graphs_take_another_shape_and_both_runs_evaluate_to_their_outputs() {
        let cases = dynamic(1, 40, 10);
        assert!(cases.len() >= 20, "{}", cases.len());
        for case in &cases {
            let text = egret_ir::text::print(&case.graph);
            assert!(verify(&case.graph).is_empty(), "{text}");
            let runs = case.runs();
            assert!(runs.len() == 2 && runs[0].inputs.iter().zip(&runs[1].inputs).any(|(a, b)| a.ty() != b.ty()));
            for run in runs.iter() {
                assert!(verify(&run.graph).is_empty(), "{text}");
                let got = evaluate(&case.graph, run.inputs.clone(), &Env::default()).unwrap();
                assert_eq!(format!("{got:?}"), format!("{:?}", run.outputs), "{text}");
            }
        }
    }

    #[test]
    fn egret_agrees_with_its_reference_on_both_shapes() {
        for case in dynamic(2, 12, 20) {
            let found = Egret::default().check(&case).unwrap();
            assert!(found.is_none(), "{found:?}\n{}", egret_ir::text::print(&case.graph));
        }
    }

    #[test]
    fn symbols_are_exported_and_read_back() {
        for case in dynamic(3, 10, 0) {
            let bytes = onnx::export(&Model { graph: case.graph.clone(), ir_version: 10, ..Model::default() }).unwrap();
            let again = onnx::import_bytes(bytes.into(), None, &onnx::Limits::default()).unwrap().graph;
            for run in case.runs().iter() {
                let got = evaluate(&again, run.inputs.clone(), &Env::default()).unwrap();
                assert_eq!(format!("{got:?}"), format!("{:?}", run.outputs));
            }
        }
    }
}
