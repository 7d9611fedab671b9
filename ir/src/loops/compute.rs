//! A computation: inputs, stages, outputs.

use std::fmt;

use super::expr::{Arena, BinOp, ExprId, Node, ReduceOp, Source, UnOp, VarId};
use super::narrow;
use crate::DType;

/// Element type and concrete shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorDesc {
    /// Element type.
    pub dtype: DType,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
}

impl TensorDesc {
    /// Number of elements; the largest number where it is larger.
    pub fn len_elems(&self) -> usize {
        if self.shape.contains(&0) { 0 } else { self.shape.iter().fold(1, |n: usize, &d| n.saturating_mul(d)) }
    }

    /// Bytes that the tensor takes, where that is a size of memory at all.
    pub fn size_bytes(&self) -> Option<usize> {
        let bytes = self.len_elems().checked_mul(self.dtype.size_bytes())?;
        isize::try_from(bytes).is_ok().then_some(bytes)
    }

    /// Row-major strides, in elements.
    pub fn strides(&self) -> Vec<i64> {
        row_major_strides(&self.shape)
    }
}

/// Row-major strides of a shape, in elements.
pub fn row_major_strides(shape: &[usize]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1) as i64;
    }
    strides
}

/// A tensor defined element by element: `stage[axes] = value`.
#[derive(Clone, Debug, Hash)]
pub struct Stage {
    /// Type of the result.
    pub desc: TensorDesc,
    /// One variable per axis, from 0 to the axis' size.
    pub axes: Vec<VarId>,
    /// The element.
    pub value: ExprId,
}

/// Tensors computed from tensors. Stages are in order: each reads inputs and earlier stages only.
#[derive(Clone, Debug, Default, Hash)]
pub struct Compute {
    /// What it reads.
    pub inputs: Vec<TensorDesc>,
    /// What it computes.
    pub stages: Vec<Stage>,
    /// The stages that are its results.
    pub outputs: Vec<usize>,
    /// The expressions.
    pub arena: Arena,
}

/// Why a computation cannot be built, fused or scheduled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoopError {
    /// A mistake of the caller: wrongly typed or shaped expressions.
    #[error("loops: {0}")]
    Invalid(String),
    /// Something that loops do not do.
    #[error("loops do not support {0}")]
    Unsupported(String),
}

impl Compute {
    /// Type of an input or stage; `None` for what does not exist.
    pub fn desc(&self, src: Source) -> Option<&TensorDesc> {
        match src {
            Source::Input(i) => self.inputs.get(i),
            Source::Stage(s) => self.stages.get(s).map(|s| &s.desc),
            Source::Buffer(_) => None,
        }
    }

    /// Element evaluations of all stages, reductions counted by the ranges of their variables.
    pub fn work(&self) -> u64 {
        let each = self.stages.iter().map(|stage| {
            let reachable = self.arena.reachable(&[stage.value]);
            let ranges = reachable.iter().filter_map(|&e| match self.arena.node(e) {
                Node::Reduce { vars, .. } => Some(vars),
                _ => None,
            });
            let len = |v: &VarId| {
                let range = self.arena.var_range(*v);
                u64::try_from(range.end - range.start).unwrap_or(0)
            };
            let reduced = ranges.flat_map(|vars| vars.iter().map(len)).fold(1u64, u64::saturating_mul);
            (stage.desc.len_elems() as u64).saturating_mul(reduced)
        });
        each.fold(0, u64::saturating_add)
    }

    /// Types of the results.
    pub fn output_descs(&self) -> impl Iterator<Item = &TensorDesc> {
        self.outputs.iter().map(|&s| &self.stages[s].desc)
    }

    /// Checks that every stage is well typed, reads only what exists before it, and speaks only of its own variables.
    pub fn check(&self) -> Result<(), LoopError> {
        let invalid = |text: String| Err(LoopError::Invalid(text));
        for desc in &self.inputs {
            if !narrow::is_supported(desc.dtype) {
                return Err(LoopError::Unsupported(format!("elements of type {}", desc.dtype)));
            }
        }
        for (at, stage) in self.stages.iter().enumerate() {
            if !narrow::is_supported(stage.desc.dtype) {
                return Err(LoopError::Unsupported(format!("elements of type {}", stage.desc.dtype)));
            }
            if self.arena.dtype(stage.value) != stage.desc.dtype {
                return invalid(format!(
                    "stage {at} of type {} has a value of type {}",
                    stage.desc.dtype,
                    self.arena.dtype(stage.value)
                ));
            }
            if let Some(v) = self.arena.free_vars(stage.value).iter().find(|v| !stage.axes.contains(v)) {
                return invalid(format!("stage {at} uses variable {} of another loop", v.0));
            }
            for e in self.arena.reachable(&[stage.value]) {
                if let Node::Load { src, index } = self.arena.node(e) {
                    let early = !matches!(src, Source::Stage(s) if *s >= at);
                    let Some(desc) = self.desc(*src).filter(|_| early) else {
                        return invalid(format!("stage {at} reads {src:?}, which is not computed before it"));
                    };
                    if desc.shape.len() != index.len() || desc.dtype != self.arena.dtype(e) {
                        return invalid(format!(
                            "stage {at} reads {src:?} of rank {} with {} indices",
                            desc.shape.len(),
                            index.len()
                        ));
                    }
                    if let Some(&i) = index.iter().find(|&&i| self.arena.dtype(i) != DType::I64) {
                        return invalid(format!("an index of stage {at} is of type {}", self.arena.dtype(i)));
                    }
                }
            }
        }
        match self.outputs.iter().find(|&&s| s >= self.stages.len()) {
            Some(s) => invalid(format!("output of stage {s}, which does not exist")),
            None => Ok(()),
        }
    }

    /// Removes stages that no output needs.
    pub fn remove_unused(&mut self) {
        let mut used = vec![false; self.stages.len()];
        for &s in &self.outputs {
            used[s] = true;
        }
        for s in (0..self.stages.len()).rev().collect::<Vec<_>>() {
            if used[s] {
                for read in self.stages_read_by(self.stages[s].value) {
                    used[read] = true;
                }
            }
        }
        if used.iter().all(|&u| u) {
            return;
        }
        let mut next = 0;
        let new_id: Vec<usize> = used
            .iter()
            .map(|&u| {
                let id = next;
                next += usize::from(u);
                id
            })
            .collect();
        let old = std::mem::take(&mut self.stages);
        for (mut stage, _) in old.into_iter().zip(&used).filter(|(_, u)| **u) {
            stage.value = renumber_stages(&mut self.arena, stage.value, &|s| new_id[s]);
            self.stages.push(stage);
        }
        for s in &mut self.outputs {
            *s = new_id[*s];
        }
    }

    /// Stages that an expression loads from.
    pub fn stages_read_by(&self, e: ExprId) -> Vec<usize> {
        let mut all: Vec<usize> = self
            .arena
            .reachable(&[e])
            .into_iter()
            .filter_map(|e| match self.arena.node(e) {
                Node::Load { src: Source::Stage(s), .. } => Some(*s),
                _ => None,
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// `e` with stages under new numbers.
pub(super) fn renumber_stages(arena: &mut Arena, e: ExprId, new_id: &dyn Fn(usize) -> usize) -> ExprId {
    arena.rewrite(e, &mut |arena, node, dtype| match node {
        Node::Load { src: Source::Stage(s), index } => {
            Some(arena.load(dtype, Source::Stage(new_id(*s)), index.clone()))
        }
        _ => None,
    })
}

/// An expression as text, for listings.
pub struct ShowExpr<'a>(pub &'a Arena, pub ExprId);

impl fmt::Display for ShowExpr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ShowExpr(arena, e) = *self;
        let show = |e| ShowExpr(arena, e);
        match arena.node(e) {
            Node::Const(_) => match (arena.dtype(e), arena.as_const(e)) {
                (DType::Bool, Some(v)) => write!(f, "{}", v.is_true()),
                (DType::I64, Some(v)) => write!(f, "{}", v.as_int()),
                (t, Some(super::Scalar::Int(v))) => write!(f, "{v}{t}"),
                (t, Some(v)) => write!(f, "{:?}{t}", v.as_f64()),
                (_, None) => Ok(()),
            },
            Node::Var(v) => write!(f, "i{}", v.0),
            Node::Local(v) => write!(f, "s{v}"),
            Node::Load { src, index } => {
                match src {
                    Source::Input(i) => write!(f, "in{i}[")?,
                    Source::Stage(i) => write!(f, "t{i}[")?,
                    Source::Buffer(i) => write!(f, "b{i}[")?,
                }
                for (k, &i) in index.iter().enumerate() {
                    write!(f, "{}{}", if k == 0 { "" } else { ", " }, show(i))?;
                }
                f.write_str("]")
            }
            Node::Un(op, a) => write!(f, "{}({})", un_name(*op), show(*a)),
            Node::Bin(op, a, b) => match bin_symbol(*op) {
                Some(symbol) => write!(f, "({} {symbol} {})", show(*a), show(*b)),
                None => write!(f, "{}({}, {})", format!("{op:?}").to_lowercase(), show(*a), show(*b)),
            },
            Node::Cmp(op, a, b) => {
                let symbol = match format!("{op:?}").as_str() {
                    "Eq" => "==",
                    "Ne" => "!=",
                    "Lt" => "<",
                    "Le" => "<=",
                    "Gt" => ">",
                    _ => ">=",
                };
                write!(f, "({} {symbol} {})", show(*a), show(*b))
            }
            Node::Select(c, a, b) => write!(f, "select({}, {}, {})", show(*c), show(*a), show(*b)),
            Node::Cast { value, .. } => write!(f, "{}({})", arena.dtype(e), show(*value)),
            Node::Bitcast(a) => write!(f, "bits_{}({})", arena.dtype(e), show(*a)),
            Node::Reduce { op, vars, body } => {
                let name = match op {
                    ReduceOp::ArgMax { .. } => "argmax".into(),
                    ReduceOp::ArgMin { .. } => "argmin".into(),
                    other => format!("{other:?}").to_lowercase(),
                };
                write!(f, "{name}[")?;
                for (k, &v) in vars.iter().enumerate() {
                    let r = arena.var_range(v);
                    write!(f, "{}i{} in {}..{}", if k == 0 { "" } else { ", " }, v.0, r.start, r.end)?;
                }
                write!(f, "]({})", show(*body))
            }
        }
    }
}

fn un_name(op: UnOp) -> String {
    format!("{op:?}").to_lowercase()
}

fn bin_symbol(op: BinOp) -> Option<&'static str> {
    Some(match op {
        BinOp::Add => "+",
        BinOp::Sub => "-",
        BinOp::Mul => "*",
        BinOp::Div => "/",
        BinOp::FloorDiv => "//",
        BinOp::FloorMod => "mod",
        BinOp::And => "&",
        BinOp::Or => "|",
        BinOp::Xor => "^",
        BinOp::Shl => "<<",
        BinOp::Shr => ">>",
        BinOp::Rem | BinOp::Pow | BinOp::Min | BinOp::Max => return None,
    })
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.inputs.iter().enumerate() {
            writeln!(f, "in{i}: {}{:?}", d.dtype, d.shape)?;
        }
        for (i, s) in self.stages.iter().enumerate() {
            let role = if self.outputs.contains(&i) { " (output)" } else { "" };
            let axes: Vec<String> = s.axes.iter().map(|v| format!("i{}", v.0)).collect();
            let value = ShowExpr(&self.arena, s.value);
            writeln!(f, "t{i}[{}]: {}{:?} = {value}{role}", axes.join(", "), s.desc.dtype, s.desc.shape)?;
        }
        Ok(())
    }
}
