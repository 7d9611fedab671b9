//! A pointwise computation as the end of another kernel: what follows a product while it is still in registers.
//!
//! Accepted is one stage over the same elements as the product, in `f32` and `i32`, of operations that have a vector form
//! without host calls, whose other inputs are read at the same place or broadcast along some axes.

use std::collections::HashMap;
use std::sync::Arc;

use egret_ir::DType;
use egret_ir::loops::{BinOp, Compute, ExprId, Node, Source, Stage, UnOp};

use super::ops;
use crate::builder::{Builder, Cvt, Elem, Ty, Val};

/// Tail of a product.
#[derive(Clone)]
pub(crate) struct Pointwise {
    compute: Arc<Compute>,
    root: ExprId,
    /// Elements of the product.
    product: DType,
    /// What each load is: the product, or operand `n`.
    loads: HashMap<ExprId, Loaded>,
    /// The operands: input of the computation, and strides in elements along the product's axes.
    pub(crate) operands: Vec<(usize, Vec<usize>)>,
    /// Whether it is long enough to be recorded once, as a loop, rather than for each register.
    pub(crate) heavy: bool,
}

#[derive(Clone, Copy)]
enum Loaded {
    Product,
    Operand(usize),
}

impl Pointwise {
    /// The tail that `compute` is for its input `product`; `None` if it is not of the accepted form.
    pub(crate) fn new(compute: &Compute, product: usize) -> Option<Pointwise> {
        let &[output] = compute.outputs.as_slice() else { return None };
        let stage = &compute.stages[output];
        let desc = compute.inputs.get(product)?;
        if desc.shape != stage.desc.shape || ![desc.dtype, stage.desc.dtype].into_iter().all(is_lane) {
            return None;
        }
        let mut tail = Pointwise {
            compute: Arc::new(compute.clone()),
            root: stage.value,
            product: desc.dtype,
            loads: HashMap::new(),
            operands: Vec::new(),
            heavy: false,
        };
        let mut stack = vec![stage.value];
        let mut seen = std::collections::HashSet::new();
        while let Some(e) = stack.pop() {
            if seen.insert(e) {
                stack.extend(tail.visit(compute, stage, product, e)?);
            }
        }
        let reads_product = tail.loads.values().any(|l| matches!(l, Loaded::Product));
        reads_product.then_some(tail)
    }

    /// Checks one node and returns the values that it needs.
    fn visit(&mut self, compute: &Compute, stage: &Stage, product: usize, e: ExprId) -> Option<Vec<ExprId>> {
        let dtype = compute.arena.dtype(e);
        match compute.arena.node(e) {
            Node::Const(_) => is_lane(dtype).then(Vec::new),
            Node::Load { src: Source::Input(input), index } if is_lane(dtype) => {
                let strides = strides(compute, stage, *input, index)?;
                let same_place = compute.inputs[*input].shape == stage.desc.shape
                    && stage
                        .desc
                        .shape
                        .iter()
                        .zip(&strides)
                        .zip(compute.inputs[*input].strides())
                        .all(|((&len, &stride), want)| len == 1 || stride as i64 == want);
                let loaded = match *input == product {
                    true if same_place => Loaded::Product,
                    true => return None,
                    false => {
                        let operand = (*input, strides);
                        let at = self.operands.iter().position(|o| *o == operand).unwrap_or_else(|| {
                            self.operands.push(operand);
                            self.operands.len() - 1
                        });
                        Loaded::Operand(at)
                    }
                };
                self.loads.insert(e, loaded);
                Some(Vec::new())
            }
            Node::Un(op, a) if compute.arena.dtype(*a) == DType::F32 => {
                use UnOp::*;
                let long = matches!(op, Exp | Expm1 | Log | Log1p | Tanh | Erf | Sigmoid);
                let short =
                    matches!(op, Neg | Abs | Sign | Sqrt | Rsqrt | Floor | Ceil | Round | Trunc | IsNan | IsInf);
                self.heavy |= long;
                (long || short).then(|| vec![*a])
            }
            Node::Bin(op, a, b) if dtype == DType::F32 => {
                use BinOp::*;
                matches!(op, Add | Sub | Mul | Div | Min | Max).then(|| vec![*a, *b])
            }
            Node::Bin(op, a, b) if dtype == DType::I32 => {
                use BinOp::*;
                matches!(op, Add | Sub | Mul | Min | Max).then(|| vec![*a, *b])
            }
            Node::Cast { value, .. } if dtype == DType::F32 => {
                (compute.arena.dtype(*value) == DType::I32).then(|| vec![*value])
            }
            Node::Bin(op, a, b) if dtype == DType::Bool => {
                matches!(op, BinOp::And | BinOp::Or | BinOp::Xor).then(|| vec![*a, *b])
            }
            Node::Cmp(_, a, b) => is_lane(compute.arena.dtype(*a)).then(|| vec![*a, *b]),
            Node::Select(c, a, b) if is_lane(dtype) => Some(vec![*c, *a, *b]),
            _ => None,
        }
    }

    /// Records the tail: `acc` is a vector of the product, `operands` those of the operands, loaded as elements of the
    /// product's type.
    pub(crate) fn apply(&self, b: &mut Builder, acc: Val, operands: &[Val]) -> Val {
        self.eval(b, self.root, acc, operands, &mut HashMap::new())
    }

    fn eval(&self, b: &mut Builder, e: ExprId, acc: Val, operands: &[Val], done: &mut HashMap<ExprId, Val>) -> Val {
        if let Some(&v) = done.get(&e) {
            return v;
        }
        let arena = &self.compute.arena;
        // None of the accepted operations calls the host.
        let no_table = acc;
        let v = match *arena.node(e) {
            Node::Const(bits) => b.const_bits(lanes_of(arena.dtype(e)), bits & 0xffff_ffff),
            Node::Cast { value, .. } => {
                let x = self.eval(b, value, acc, operands, done);
                b.cvt(Cvt::FromSint, x, Ty::V(Elem::F32))
            }
            Node::Un(op, x) => {
                let x = self.eval(b, x, acc, operands, done);
                ops::un(b, no_table, op, DType::F32, x)
            }
            // `max(x, constant)` and the like, in the form that is one instruction and hands on a NaN of `x`.
            Node::Bin(op @ (BinOp::Max | BinOp::Min), x, limit)
                if arena.dtype(e) == DType::F32 && self.is_number(limit) =>
            {
                let (x, limit) = (self.eval(b, x, acc, operands, done), self.eval(b, limit, acc, operands, done));
                if op == BinOp::Max { b.max(limit, x) } else { b.min(limit, x) }
            }
            Node::Bin(op, x, y) => {
                let (x, y) = (self.eval(b, x, acc, operands, done), self.eval(b, y, acc, operands, done));
                ops::bin(b, no_table, op, arena.dtype(e), x, y)
            }
            Node::Cmp(op, x, y) => {
                let operand_type = arena.dtype(x);
                let (x, y) = (self.eval(b, x, acc, operands, done), self.eval(b, y, acc, operands, done));
                ops::cmp(b, op, operand_type, x, y)
            }
            Node::Select(c, x, y) => {
                let c = self.eval(b, c, acc, operands, done);
                let (x, y) = (self.eval(b, x, acc, operands, done), self.eval(b, y, acc, operands, done));
                b.select(c, x, y)
            }
            _ => match self.loads.get(&e) {
                Some(Loaded::Operand(n)) if arena.dtype(e) != self.product => {
                    b.bits(operands[*n], lanes_of(arena.dtype(e)))
                }
                Some(Loaded::Operand(n)) => operands[*n],
                _ => acc,
            },
        };
        done.insert(e, v);
        v
    }

    /// A constant that is not NaN.
    fn is_number(&self, e: ExprId) -> bool {
        matches!(self.compute.arena.node(e), Node::Const(bits) if !f32::from_bits(*bits as u32).is_nan())
    }
}

/// Whether four bytes of a register lane hold it.
fn is_lane(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::I32)
}

fn lanes_of(dtype: DType) -> Ty {
    Ty::V(if dtype == DType::F32 { Elem::F32 } else { Elem::I32 })
}

/// Strides of a load along the axes of `stage`; `None` unless each index is an axis or zero.
fn strides(compute: &Compute, stage: &Stage, input: usize, index: &[ExprId]) -> Option<Vec<usize>> {
    let mut out = vec![0; stage.axes.len()];
    for (&e, stride) in index.iter().zip(compute.inputs.get(input)?.strides()) {
        match compute.arena.node(e) {
            Node::Var(v) => out[stage.axes.iter().position(|a| a == v)?] += usize::try_from(stride).ok()?,
            _ if compute.arena.as_int(e) == Some(0) => {}
            _ => return None,
        }
    }
    Some(out)
}
