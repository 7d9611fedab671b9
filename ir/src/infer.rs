//! Types of a whole graph by its operators' rules: one walk in topological order, contents of small integer tensors
//! carried along as terms, so that `Shape -> Gather -> Concat -> Reshape` ends in symbolic extents.

use crate::dim::Dim;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::{Op, OpDef};
use crate::rule::{Assumption, Content, Fact, MAX_RANK, RuleCx, Stop, rank_too_high};
use crate::types::{Shape, Type};

/// Integer constants up to this many elements are visible to rules as terms.
const MAX_CONTENT: usize = 4096;

/// What a rule says of one call.
#[derive(Debug)]
pub struct Inferred {
    /// Facts of the results; `Type::Unknown` where the rule had to wait.
    pub outputs: Vec<Fact>,
    /// Requirements left for run time.
    pub assumptions: Vec<Assumption>,
    /// What the rule waits for.
    pub deferred: Option<&'static str>,
}

/// Runs the rule of one call.
///
/// # Errors
/// When the call violates the rule; the label carries the operator's name.
pub fn infer_call(
    op: &dyn Op,
    inputs: &[Option<Fact>],
    captures: &[Fact],
    n_outputs: usize,
    fresh: &mut u64,
) -> Result<Inferred> {
    let def = op.def();
    let given = inputs.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
    let (least, most) = def.arity();
    if given < least || most.is_some_and(|m| given > m) {
        return Err(Error::invalid(format!("{} takes operands ({}), {given} are given", def.name, def.inputs)));
    }
    if let Some(i) = inputs[..given].iter().position(Option::is_none)
        && let Some((i, name)) = (i..given).filter(|&i| inputs[i].is_none()).find_map(|i| Some((i, required(def, i)?)))
    {
        return Err(Error::invalid(format!("{} needs operand {i} (`{name}`), which is left out", def.name)));
    }
    let (least_out, most_out) = def.n_results();
    if most_out.is_some_and(|m| n_outputs > m) {
        return Err(Error::invalid(format!("{} has results ({}), {n_outputs} are asked for", def.name, def.outputs)));
    }
    let mut cx = RuleCx::new(&inputs[..given], captures, n_outputs.max(least_out), fresh);
    let deferred = match op.rule(&mut cx) {
        Ok(()) => None,
        Err(Stop::Deferred(what)) => Some(what),
        Err(Stop::Fail(e)) => return Err(e.of_op(def.name)),
    };
    let (mut outputs, assumptions) = cx.finish();
    if deferred.is_some() {
        outputs = Vec::new();
    } else if outputs.len() < n_outputs {
        let n = outputs.len();
        return Err(if n < least_out {
            Error::bug(format!("the rule of {} gave {n} of {n_outputs} results", def.name))
        } else {
            Error::invalid(format!("{} has {n} results with these attributes, {n_outputs} are asked for", def.name))
        });
    }
    for o in &outputs {
        if let Some(rank) = o.ty.as_tensor().and_then(|t| t.shape.dims()).map(<[_]>::len).filter(|&r| r > MAX_RANK) {
            return Err(rank_too_high(rank));
        }
        if let Type::Tensor(t) = &o.ty
            && let Some(d) = t.shape.dims().and_then(|dims| dims.iter().find(|d| d.as_int().is_some_and(|v| v < 0)))
        {
            return Err(Error::invalid(format!("{} would give a result of extent {d}: {}", def.name, o.ty)));
        }
    }
    outputs.resize(n_outputs.max(outputs.len()), Fact::default());
    outputs.truncate(n_outputs);
    Ok(Inferred { outputs, assumptions, deferred })
}

/// The name of operand `i` in the operator's declaration, unless it is optional.
fn required(def: &OpDef, i: usize) -> Option<&'static str> {
    let mut names = def.inputs.split(',').map(str::trim).filter(|name| !name.is_empty());
    let name = names.clone().nth(i).or_else(|| names.rfind(|name| name.ends_with('*')))?;
    (!name.trim_end_matches('*').ends_with('?')).then_some(name)
}

/// Facts of all values of a graph.
#[derive(Debug, Default)]
pub struct GraphFacts {
    /// By value.
    pub facts: Vec<Fact>,
    /// Requirements left for run time, with the node that states each.
    pub assumptions: Vec<(usize, Assumption)>,
}

/// Types every value from the types of arguments and constants. Declared types of other values are refined, and a
/// contradiction between a declared element type or rank and the rule is an error.
///
/// # Errors
/// At the first node that violates its rule, with the node and its operand types.
pub fn infer(graph: &mut Graph) -> Result<GraphFacts> {
    let args: Vec<Fact> = graph.inputs.iter().map(|&v| Fact::of(graph.ty(v).clone())).collect();
    let captures: Vec<Fact> = graph.captures.iter().map(|&v| Fact::of(graph.ty(v).clone())).collect();
    let mut fresh = first_fresh(graph);
    let facts = walk(graph, &args, &captures, &mut fresh)?;
    for (info, fact) in graph.values.iter_mut().zip(&facts.facts) {
        if fact.ty != Type::Unknown {
            info.ty = fact.ty.clone();
        }
    }
    Ok(facts)
}

/// A number above every generated symbol `u<k>` that the graph's declared types already use.
fn first_fresh(graph: &Graph) -> u64 {
    let symbols = graph.values.iter().filter_map(|v| v.ty.as_tensor()).filter_map(|t| t.shape.dims()).flatten();
    symbols
        .filter(|d| !d.is_int())
        .flat_map(Dim::symbols)
        .filter_map(|s| s.strip_prefix('u').and_then(|n| n.parse::<u64>().ok()))
        .max()
        .map_or(0, |n| n.min(u64::MAX / 2))
}

/// Types a body for given arguments and captures; returns the facts of its results.
///
/// # Errors
/// As [`infer`].
pub fn infer_body(body: &Graph, args: &[Fact], captures: &[Fact], fresh: &mut u64) -> Result<Vec<Fact>> {
    body.check_args(args.len())?;
    if captures.len() != body.captures.len() {
        return Err(Error::bug(format!(
            "body \"{}\" has {} captures, {} given",
            body.name,
            body.captures.len(),
            captures.len()
        )));
    }
    let facts = walk(body, args, captures, fresh)?;
    Ok(body.outputs.iter().map(|v| facts.facts[v.index()].clone()).collect())
}

/// Types every value of `graph` for given arguments and captures without changing it.
///
/// # Errors
/// As [`infer`].
pub fn walk(graph: &Graph, args: &[Fact], captures: &[Fact], fresh: &mut u64) -> Result<GraphFacts> {
    let mut facts: Vec<Fact> = graph
        .values
        .iter()
        .map(|v| match &v.constant {
            Some(t) => constant_fact(t),
            None => Fact::default(),
        })
        .collect();
    for (v, f) in graph.inputs.iter().zip(args).chain(graph.captures.iter().zip(captures)) {
        let mut fact = f.clone();
        if fact.ty == Type::Unknown {
            fact.ty = graph.ty(*v).clone();
        }
        facts[v.index()] = fact;
    }
    let mut assumptions = Vec::new();
    for (n, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<Option<Fact>> = node.inputs.iter().map(|v| v.map(|v| facts[v.index()].clone())).collect();
        let captured: Vec<Fact> = node.captures.iter().map(|v| facts[v.index()].clone()).collect();
        let got = infer_call(&*node.op, &inputs, &captured, node.outputs.len(), fresh)
            .map_err(|e| e.at(describe_call(graph, n, &inputs)))?;
        for (v, fact) in node.outputs.iter().zip(got.outputs) {
            if let Some(v) = v {
                facts[v.index()] = refine(fact, graph.ty(*v)).map_err(|e| e.at(describe_call(graph, n, &inputs)))?;
            }
        }
        assumptions.extend(got.assumptions.into_iter().map(|a| (n, a)));
    }
    Ok(GraphFacts { facts, assumptions })
}

fn describe_call(graph: &Graph, n: usize, inputs: &[Option<Fact>]) -> String {
    let types: Vec<String> = inputs.iter().map(|f| f.as_ref().map_or("none".into(), |f| f.ty.to_string())).collect();
    format!("{}, operands ({})", graph.describe(n), types.join(", "))
}

/// The fact of a constant: content only where rules may want it.
pub fn constant_fact(t: &crate::tensor::Tensor) -> Fact {
    if t.len() <= MAX_CONTENT { Fact::constant(t.clone()) } else { Fact::of(Type::tensor(t.dtype(), t.shape())) }
}

/// Joins what the rule says with what the model declares: numbers and the model's own symbols win over generated
/// symbols; element types and ranks must agree.
fn refine(mut fact: Fact, declared: &Type) -> Result<Fact> {
    match (&mut fact.ty, declared) {
        (_, Type::Unknown) => {}
        (Type::Unknown, _) => fact.ty = declared.clone(),
        (Type::Tensor(t), Type::Tensor(d)) => {
            if t.dtype != d.dtype {
                return Err(Error::invalid(format!("the model declares {d}, the operator gives {t}")));
            }
            match (&mut t.shape, &d.shape) {
                (Shape::Unranked, s) => t.shape = s.clone(),
                (Shape::Ranked(have), Shape::Ranked(want)) => {
                    if have.len() != want.len() {
                        return Err(Error::invalid(format!(
                            "the model declares rank {}, the operator gives {}",
                            want.len(),
                            have.len()
                        )));
                    }
                    for (h, w) in have.iter_mut().zip(want) {
                        let generated = h.as_sym().is_some_and(|s| s.starts_with('u') && s[1..].parse::<u64>().is_ok());
                        if generated && !h.is_int() {
                            *h = w.clone();
                        }
                    }
                }
                _ => {}
            }
        }
        _ => {}
    }
    // A content of another length than the type says would be a rule's mistake; drop it rather than mislead.
    if let (Some(Content::Dims(c)), Some(sizes)) = (&fact.content, fact.ty.as_tensor().and_then(|t| t.shape.to_sizes()))
        && sizes.iter().product::<usize>() != c.len()
    {
        fact.content = None;
    }
    Ok(fact)
}
