//! Ahead of time: a plan for concrete types as an object file with a driver, for programs that are linked without Egret.
//!
//! [`compile`] specialises a graph like the executor does, but instead of mapping the kernels it writes them, under local
//! symbols, into one object with a driver `<name>_run(weights, arena, inputs, outputs)` that calls them in order; what
//! lies where is baked into the driver as offsets, so neither it nor the kernels hold addresses. Constants, packed as the
//! kernels want them, go to a weights file ([`weights`]); [`header`] is the C side: sizes, names, types, and functions
//! that load the weights and check them.
//!
//! Index tensors are checked by the driver before the kernels that read through them, as the executor does.
//! One call runs on one thread; callers that want more run several arenas.
//!
//! Left out on purpose: host calls and segments whose extents depend on data. A graph that needs one is refused, with the
//! node, since it would need Egret at run time. So are recurrent networks, whose walk over time is the executor's.

mod driver;
pub mod header;
pub mod program;
pub mod runtime;
pub mod weights;

use crate::exec::plan::{Plan, Step};
use crate::exec::{ExecOptions, GraphExec, Shared};
use crate::isa::Isa;
use egret_ir::eval::{Env, Limits};
use egret_ir::plan::Planner;
use egret_ir::{DType, Error, Graph, Result, Type, ValueId};
use std::sync::Arc;

/// What a caller chooses.
#[derive(Clone, Debug)]
pub struct AotOptions {
    /// Prefix of every symbol; a C identifier.
    pub name: String,
    /// Threads of the compiler.
    pub threads: usize,
    /// Bounds of values.
    pub limits: Limits,
}

/// An input or output of the compiled function.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Name in the model.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Vec<usize>,
    /// Length: elements in row-major order; types below a byte take a byte each.
    pub size_bytes: usize,
}

/// A model compiled ahead of time.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Prefix of every symbol.
    pub name: String,
    /// Object file with one exported function, `<name>_run`.
    pub object: Vec<u8>,
    /// The weights file, see [`weights`].
    pub weights: Vec<u8>,
    /// Bytes of working memory of a run, aligned to 64.
    pub arena_bytes: usize,
    /// Arguments in order.
    pub inputs: Vec<Port>,
    /// Results in order.
    pub outputs: Vec<Port>,
    /// What the return values 1, 2, … mean: an element of an index tensor was out of range.
    pub checks: Vec<String>,
    /// Functions of the runtime library that the object refers to.
    pub runtime: Vec<String>,
    /// Distinct kernels.
    pub n_kernels: usize,
    /// Target triple.
    pub target: String,
}

/// Compiles a graph for arguments of these types.
///
/// # Errors
/// When a node violates its rule, has no compiled kernel, or makes a value whose extents depend on data; when an argument
/// or result is not a tensor of numbers; when the name is no C identifier.
pub fn compile(
    graph: &Graph,
    planner: Arc<dyn Planner>,
    types: &[Type],
    isa: Isa,
    options: &AotOptions,
) -> Result<Compiled> {
    if !is_identifier(&options.name) {
        return Err(Error::invalid(format!("\"{}\" cannot begin the names of C functions", options.name)));
    }
    let graph = GraphExec::optimised(Arc::new(planner.optimise(graph.clone())?));
    let exec_options = ExecOptions { limits: options.limits.clone(), ..ExecOptions::default() };
    let shared = Shared::recording(planner, exec_options, isa)?;
    let plan = Plan::new(&graph, types, &shared, &Env::new(options.limits.clone(), 0))?;
    refuse(&plan)?;
    let inputs = plan.graph.inputs.iter().map(|&v| port(&plan, v)).collect::<Result<Vec<_>>>()?;
    let outputs = plan.graph.outputs.iter().map(|&v| port(&plan, v)).collect::<Result<Vec<_>>>()?;
    let driver::Driven { object, blob, checks, runtime, n_kernels, arena_bytes } =
        driver::write(&plan, &shared, options)?;
    Ok(Compiled {
        name: options.name.clone(),
        object,
        weights: weights::file(&blob),
        arena_bytes,
        inputs,
        outputs,
        checks,
        runtime,
        n_kernels,
        target: shared.isa.triple(),
    })
}

fn is_identifier(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

fn port(plan: &Plan, v: ValueId) -> Result<Port> {
    let info = plan.graph.value(v);
    match info.ty.concrete() {
        Some((dtype, shape)) if dtype != DType::String => {
            let size_bytes = plan.size_bytes(v)?;
            Ok(Port { name: info.name.clone(), dtype, shape, size_bytes })
        }
        _ => Err(Error::unsupported(format!(
            "\"{}\" is {}: compiled ahead of time are tensors of numbers with known extents",
            info.name, info.ty
        ))),
    }
}

/// Names what would need Egret at run time.
fn refuse(plan: &Plan) -> Result<()> {
    if let Some(rest) = &plan.rest {
        let graph = &rest.exec.graph;
        let text = match plan.graph.nodes.iter().flat_map(|n| n.defs()).find(|&v| plan.graph.ty(v).concrete().is_none())
        {
            Some(v) => {
                let value = plan.graph.value(v);
                format!(
                    "the extents of \"{}\": {} depend on data, so what follows ({} nodes) is specialised at run time",
                    value.name,
                    value.ty,
                    graph.nodes.len()
                )
            }
            None => format!("{} nodes are specialised at run time, since extents depend on data", graph.nodes.len()),
        };
        return Err(Error::unsupported(text).at(graph.describe_with_types(0)));
    }
    if let Some(n) = plan.steps.iter().find_map(|s| if let Step::Recurrent(r) = s { Some(r.node) } else { None }) {
        let text = format!(
            "{} walks over time in the executor: ahead of time that needs a driver that loops over its steps",
            plan.graph.nodes[n].op.def().name
        );
        return Err(Error::unsupported(text).at(plan.graph.describe_with_types(n)));
    }
    let host: Vec<usize> = plan
        .steps
        .iter()
        .filter_map(|s| match s {
            Step::Host(n) | Step::Control(n) => Some(*n),
            Step::Library(l) => Some(l.node),
            _ => None,
        })
        .collect();
    let Some(&first) = host.first() else { return Ok(()) };
    let op = |n: usize| plan.graph.nodes[n].op.def().name;
    let mut others: Vec<&str> = host.iter().map(|&n| op(n)).filter(|&o| o != op(first)).collect();
    others.sort_unstable();
    others.dedup();
    let also = match others.as_slice() {
        [] => String::new(),
        all => format!("; so do {}", all.join(", ")),
    };
    let text = format!(
        "{} of these types has no compiled kernel and runs by its reference evaluation, which needs Egret at run time{also}",
        op(first)
    );
    Err(Error::unsupported(text).at(plan.graph.describe_with_types(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_begin_like_c_identifiers() {
        for (name, good) in [("digits", true), ("_a1", true), ("1a", false), ("a-b", false), ("", false), ("ä", false)]
        {
            assert_eq!(is_identifier(name), good, "{name}");
        }
    }
}
