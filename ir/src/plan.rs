//! Where passes and code generation meet, so that neither knows the other: passes implement [`Planner`], the
//! executor asks it whenever it specialises a graph for new shapes.

use crate::error::Result;
use crate::graph::Graph;

/// A buffer that must live from step `first` to step `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Length in bytes.
    pub size_bytes: usize,
    /// Step that writes it first.
    pub first: usize,
    /// Step that reads it last.
    pub last: usize,
}

/// Where buffers lie in one arena.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Placement {
    /// Offset of each buffer, in bytes, a multiple of 64.
    pub offsets: Vec<usize>,
    /// Length of the arena in bytes.
    pub arena_bytes: usize,
    /// No placement can be smaller: the most bytes alive at one step.
    pub bound_bytes: usize,
}

/// Which tensors get another layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Those that kernels with vectors of so many 32-bit elements gain by.
    Gains {
        /// Elements of a vector.
        lanes: usize,
    },
    /// All that can have one, for tests.
    Everywhere,
}

/// Graph-level decisions.
pub trait Planner: Send + Sync {
    /// Rewrites a graph into an equal, cheaper one. Types of arguments may hold symbols or numbers; the more numbers,
    /// the more folds.
    ///
    /// # Errors
    /// When a node violates its rule for the arguments' types.
    fn optimise(&self, graph: Graph) -> Result<Graph>;

    /// Rewrites a graph whose `nodes` have operands and results of known extents into an equal one whose tensors lie as
    /// kernels read them best. Arguments and results keep their types.
    ///
    /// # Errors
    /// When a node cannot be lowered.
    fn layout(&self, graph: Graph, nodes: &[bool], layout: Layout) -> Result<Graph>;

    /// Places buffers so that none that live at the same step overlap.
    fn place(&self, buffers: &[Buffer]) -> Placement;
}
