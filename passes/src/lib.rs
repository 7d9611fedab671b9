//! Graph-level passes: one pass, one file. Each takes a verified graph and leaves an equal one.
//!
//! | pass | what |
//! |---|---|
//! | [`expand`] | composites of ONNX Runtime's domain into their parts |
//! | [`fold`] | constants, shape arithmetic, identities |
//! | [`bodies`] | constants that bodies capture into the bodies |
//! | [`branches`] | `If` with a known condition into the branch it takes |
//! | [`dead`] | nodes and values that nothing reads |
//! | [`cse`] | equal calls made once |
//! | [`batch_norm`] | batch normalisation into the convolution before it |
//! | [`conv_sum`] | sums of convolutions of one operand into one |
//! | [`layout`] | channels innermost where convolutions gain by it, for known extents |
//! | [`memory`] | buffers into one arena |
//!
//! Invariant: nothing here knows loop IR, kernels or machine code; nothing knows protobuf.

pub mod batch_norm;
pub mod bodies;
pub mod branches;
pub mod conv_sum;
pub mod cse;
pub mod dead;
pub mod expand;
pub mod fold;
pub mod layout;
pub mod memory;

use egret_ir::plan::{Buffer, Layout, Placement, Planner};
use egret_ir::{Graph, Result};

/// The passes in their order, as the executor's planner.
#[derive(Clone, Debug, Default)]
pub struct DefaultPlanner;

/// A pass by name: takes a graph, leaves an equal one.
pub type Pass = (&'static str, fn(Graph) -> Result<Graph>);

/// All graph passes in the order in which they run.
pub const PASSES: &[Pass] = &[
    ("expand", expand::expand_composites),
    ("fold", fold::fold),
    ("bodies", bodies::close_bodies),
    ("branches", branches::inline_branches),
    ("batch_norm", batch_norm::fold_batch_norm),
    ("conv_sum", conv_sum::merge_conv_sums),
    ("cse", cse::merge_equal_calls),
    ("dead", dead::remove_dead),
];

impl Planner for DefaultPlanner {
    fn optimise(&self, graph: Graph) -> Result<Graph> {
        PASSES.iter().try_fold(graph, |g, (_, pass)| pass(g))
    }

    fn layout(&self, graph: Graph, nodes: &[bool], layout: Layout) -> Result<Graph> {
        layout::choose_layout(graph, nodes, layout)
    }

    fn place(&self, buffers: &[Buffer]) -> Placement {
        memory::place_by_size(buffers)
    }
}
