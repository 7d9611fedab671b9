//! The text form of graphs: what golden tests, verifier messages and reproductions are written in.
//!
//! ```text
//! graph @f(%x: f32[n, 4], %b: f32[4] = f32[4] [0.0, 0.0, 0.0, 1.0]) -> (f32[n, 4], i64[k]) {
//!   %w = constant f32[4] [1.0, -0.0, nan, inf]
//!   %0 = add %x, %w : f32[n, 4] @"block/add"
//!   %1 = if %c [%0] {
//!     else_branch = graph @e() [%0: f32[n, 4]] -> f32[n, 4] {
//!       return %0
//!     },
//!     then_branch = graph @t() [%0: f32[n, 4]] -> f32[n, 4] { return %0 }
//!   } : f32[n, 4]
//!   %2, _ = top_k %1, _ {axis = -1, mode = "x", pads = [0, 1], to = f16} : f32[n, 4]
//!   return %2, %k
//! }
//! ```
//!
//! - **Values** are `%name`, `%"any text"` where the name is no identifier, `%k` (numbered in order of definition) where
//!   there is no name, and `%k@"name"` where a name stands twice.
//! - **Nodes**: results `=` mnemonic operands `[`captures`]` `{`attributes`}` `:` types of the results `@`name. A
//!   left-out operand or an unwanted result is `_`. Types may be left out by hand: such a value has no type until
//!   inference gives it one.
//! - **Attributes**, sorted by name: `1`, `(n + 1)` (a term over symbols), `1.0`, `"text"`, `[..]` of those,
//!   `f32[2] [1.0, 2.0]` (a tensor), `f16` (an element type), `type f32[n]`, `graph …`; an empty list of what are not
//!   integers says so: `floats []`.
//! - **Tensors**: type, then nested brackets; `splat v` where many elements are one; `[]` where there is none. Floats
//!   are written in the shortest form that reads back to the same bits, others (NaNs with a payload) as raw bits in
//!   hexadecimal. Large ones stand outside: `extern("file", offset, hash)`, see [`Sidecar`].
//! - `//` begins a comment.
//!
//! **Kept true**: `parse(print(g))` is `g` with its values in order of definition ([`canonical`]), for graphs that hold
//! the graph's invariants; printing what was parsed gives the same text. Any text is parsed in time linear in its length
//! and bounded memory: depth, splats and terms have limits.

mod cursor;
mod parse;
mod print;
mod sidecar;
mod tensor;
#[cfg(test)]
mod tests;
mod types;
mod values;

use crate::attr::Attr;
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, ValueId};
use std::sync::Arc;

pub(crate) use cursor::quote;
pub use parse::{Parsed, parse, parse_marked, parse_with};
pub(crate) use print::{Anchor, Path, Store, lines};
pub use print::{print, print_all, print_full, print_with};
pub use sidecar::{Sidecar, TensorRef, content_hash};
pub(crate) use tensor::{float_bits, float_text};
pub use tensor::{parse_tensor, print_tensor};
pub use types::{parse_type, parse_types};
pub use values::{parse_values, print_value};

/// The graph with its values in order of definition (arguments, captures, constants, results of nodes) and without
/// values that nothing defines: what [`parse()`] gives for its text. Bodies likewise.
///
/// # Errors
/// When an id is out of range or an operator refuses its own attributes.
pub fn canonical(graph: &Graph) -> Result<Graph> {
    let order = print::definitions(graph);
    let mut new_id = vec![None; graph.values.len()];
    let mut out = Graph::new(graph.name.clone());
    for v in order {
        let slot = new_id.get_mut(v.index()).ok_or_else(|| out_of_range(v))?;
        if slot.is_none() {
            *slot = Some(ValueId(out.values.len() as u32));
            out.values.push(graph.values[v.index()].clone());
        }
    }
    let map = |v: ValueId| new_id.get(v.index()).copied().flatten().ok_or_else(|| out_of_range(v));
    let all = |ids: &[ValueId]| ids.iter().map(|&v| map(v)).collect::<Result<Vec<_>>>();
    let some = |ids: &[Option<ValueId>]| ids.iter().map(|v| v.map(map).transpose()).collect::<Result<Vec<_>>>();
    for node in &graph.nodes {
        let op = if node.op.bodies().is_empty() {
            node.op.clone()
        } else {
            let mut attrs = node.op.attrs();
            for attr in attrs.values_mut() {
                if let Attr::Graph(body) = attr {
                    *attr = Attr::Graph(Arc::new(canonical(body)?));
                }
            }
            (node.op.def().parse)(&attrs)?
        };
        out.nodes.push(Node {
            op,
            name: node.name.clone(),
            inputs: some(&node.inputs)?,
            captures: all(&node.captures)?,
            outputs: some(&node.outputs)?,
        });
    }
    (out.inputs, out.captures, out.outputs) = (all(&graph.inputs)?, all(&graph.captures)?, all(&graph.outputs)?);
    Ok(out)
}

fn out_of_range(v: ValueId) -> Error {
    Error::invalid(format!("value {} is used and nothing defines it", v.0))
}
