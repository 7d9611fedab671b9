//! Tensor expressions: nodes, and the arena that holds them.
//!
//! An expression gives one element of a tensor as a function of loop variables. Nodes are shared (equal nodes have one
//! id), typed, and simplified as they are made: constants fold, integer index arithmetic is kept as a sorted linear
//! form, divisions and remainders by constants cancel by means of the variables' ranges (see [`super::index`]). So a view
//! of a view is as cheap as one view, with no later pass.

use std::collections::HashMap;
use std::ops::Range;

use super::scalar::{self, Scalar};
use crate::DType;

/// An expression of an [`Arena`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExprId(pub(crate) u32);

/// A loop variable of an [`Arena`]: an `i64` with a constant range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VarId(pub(crate) u32);

/// Where a load reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// An input of the computation, one index per axis.
    Input(usize),
    /// An earlier stage, one index per axis.
    Stage(usize),
    /// A buffer of a kernel, one flat index in elements; only in [`super::nest`].
    Buffer(usize),
}

/// Operations of one operand. All give the operand's type but `IsNan` and `IsInf`, which give `bool`. Functions of reals
/// are for floats only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnOp {
    /// Wraps on integers.
    Neg,
    /// Wraps on integers.
    Abs,
    /// -1, 0 or 1; zeros and NaN are kept.
    Sign,
    /// Logical on `bool`, bitwise on integers.
    Not,
    Sqrt,
    /// `1 / sqrt(x)`, rounded twice.
    Rsqrt,
    Exp,
    /// `exp(x) - 1`
    Expm1,
    Log,
    /// `log(1 + x)`
    Log1p,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    /// The error function.
    Erf,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    Floor,
    Ceil,
    /// To the nearest integer, ties to even.
    Round,
    Trunc,
    IsNan,
    IsInf,
}

/// Operations of two operands of one type. Integer division by zero gives 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinOp {
    /// Integers wrap; likewise `Sub`, `Mul`, `Pow`.
    Add,
    Sub,
    Mul,
    /// Integers truncate.
    Div,
    /// Remainder with the dividend's sign (C's `%` and `fmod`).
    Rem,
    /// Quotient rounded down.
    FloorDiv,
    /// Remainder with the divisor's sign (Python's `%`).
    FloorMod,
    Pow,
    /// NaN if either is NaN; the first operand if both are equal (zeros of either sign are).
    Min,
    /// As `Min`.
    Max,
    /// Logical on `bool`, bitwise on integers; likewise `Or` and `Xor`.
    And,
    Or,
    Xor,
    /// A count outside `0..bits` gives 0.
    Shl,
    /// Arithmetic on signed, logical on unsigned; a count outside `0..bits` shifts everything out.
    Shr,
}

/// Comparisons; all but `Ne` are false when an operand is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CmpOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// Reductions. The order is free for `Sum` and `Prod` of floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    Sum,
    Prod,
    /// NaN if any is NaN; `-inf` or the smallest integer of nothing.
    Max,
    /// NaN if any is NaN; `inf` or the largest integer of nothing.
    Min,
    /// Index (`i64`) of the first (or last) largest, NaN counting as largest; over one variable; 0 of nothing.
    ArgMax {
        last: bool,
    },
    /// Index (`i64`) of the first (or last) smallest, NaN counting as smallest; over one variable; 0 of nothing.
    ArgMin {
        last: bool,
    },
    /// Logical or; of `bool`.
    Any,
    /// Logical and; of `bool`.
    All,
}

impl ReduceOp {
    /// Whether the result is the index of an element.
    pub fn is_arg(self) -> bool {
        matches!(self, ReduceOp::ArgMax { .. } | ReduceOp::ArgMin { .. })
    }

    /// The operation that joins two partial results; `None` for the index reductions.
    pub fn bin(self) -> Option<BinOp> {
        match self {
            ReduceOp::Sum => Some(BinOp::Add),
            ReduceOp::Prod => Some(BinOp::Mul),
            ReduceOp::Max => Some(BinOp::Max),
            ReduceOp::Min => Some(BinOp::Min),
            ReduceOp::Any => Some(BinOp::Or),
            ReduceOp::All => Some(BinOp::And),
            ReduceOp::ArgMax { .. } | ReduceOp::ArgMin { .. } => None,
        }
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// The register bits of a constant ([`Scalar::to_bits`]).
    Const(u64),
    /// A loop variable.
    Var(VarId),
    /// A scalar computed earlier in a kernel; only in [`super::nest`].
    Local(u32),
    /// An element of a tensor.
    Load {
        src: Source,
        index: Vec<ExprId>,
    },
    Un(UnOp, ExprId),
    Bin(BinOp, ExprId, ExprId),
    Cmp(CmpOp, ExprId, ExprId),
    /// `cond ? a : b`; only the chosen operand is evaluated, so `cond` may guard loads.
    Select(ExprId, ExprId, ExprId),
    /// See [`scalar::cast`].
    Cast {
        saturate: bool,
        value: ExprId,
    },
    /// The same bits as another type of the same size.
    Bitcast(ExprId),
    /// `body` for all values of `vars` (bound here) joined by `op`.
    Reduce {
        op: ReduceOp,
        vars: Vec<VarId>,
        body: ExprId,
    },
}

/// Expressions and the loop variables they speak of.
#[derive(Clone, Debug, Default)]
pub struct Arena {
    nodes: Vec<Node>,
    dtypes: Vec<DType>,
    /// Smallest and largest value of integer nodes, where known.
    ranges: Vec<Option<(i64, i64)>>,
    vars: Vec<Range<i64>>,
    known: HashMap<(Node, DType), ExprId>,
}

impl std::hash::Hash for Arena {
    /// By nodes, their types and the variables' ranges, from which all else follows.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.nodes.hash(state);
        self.dtypes.hash(state);
        self.vars.hash(state);
    }
}

impl Arena {
    /// The node of `e`.
    pub fn node(&self, e: ExprId) -> &Node {
        &self.nodes[e.0 as usize]
    }

    /// The type of `e`.
    pub fn dtype(&self, e: ExprId) -> DType {
        self.dtypes[e.0 as usize]
    }

    /// Number of loop variables.
    pub fn n_vars(&self) -> usize {
        self.vars.len()
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Smallest and largest value of an integer expression, where known. No intermediate result of an `i64` expression
    /// with a range overflows.
    pub fn range(&self, e: ExprId) -> Option<(i64, i64)> {
        self.ranges[e.0 as usize]
    }

    /// The values that a loop variable takes.
    pub fn var_range(&self, v: VarId) -> Range<i64> {
        self.vars[v.0 as usize].clone()
    }

    /// Number of values of a loop variable.
    pub fn extent(&self, v: VarId) -> i64 {
        let r = &self.vars[v.0 as usize];
        (r.end - r.start).max(0)
    }

    /// A new loop variable.
    pub fn new_var(&mut self, range: Range<i64>) -> VarId {
        self.vars.push(range);
        VarId(self.vars.len() as u32 - 1)
    }

    /// The constant that `e` is, if it is one.
    pub fn as_const(&self, e: ExprId) -> Option<Scalar> {
        match self.node(e) {
            Node::Const(bits) => Some(Scalar::from_bits(self.dtype(e), *bits)),
            _ => None,
        }
    }

    /// The integer constant that `e` is, if it is one.
    pub fn as_int(&self, e: ExprId) -> Option<i64> {
        match self.as_const(e) {
            Some(Scalar::Int(v)) => Some(v),
            _ => None,
        }
    }

    /// Adds a node as it stands (or finds it).
    pub(crate) fn intern(&mut self, dtype: DType, node: Node) -> ExprId {
        if let Some(&id) = self.known.get(&(node.clone(), dtype)) {
            return id;
        }
        let range = self.compute_range(dtype, &node);
        let id = ExprId(self.nodes.len() as u32);
        self.known.insert((node.clone(), dtype), id);
        self.nodes.push(node);
        self.dtypes.push(dtype);
        self.ranges.push(range);
        id
    }

    /// A constant of type `dtype`.
    pub fn constant(&mut self, dtype: DType, value: Scalar) -> ExprId {
        self.intern(dtype, Node::Const(value.to_bits()))
    }

    /// An `i64` constant.
    pub fn int(&mut self, value: i64) -> ExprId {
        self.constant(DType::I64, Scalar::Int(value))
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) -> ExprId {
        self.constant(DType::Bool, Scalar::Int(i64::from(value)))
    }

    /// The value of a loop variable; a constant if it takes one value only.
    pub fn var(&mut self, v: VarId) -> ExprId {
        let range = self.var_range(v);
        if range.end - range.start == 1 { self.int(range.start) } else { self.intern(DType::I64, Node::Var(v)) }
    }

    /// A load of element type `dtype`.
    pub fn load(&mut self, dtype: DType, src: Source, index: Vec<ExprId>) -> ExprId {
        self.intern(dtype, Node::Load { src, index })
    }

    /// `op(a)`.
    pub fn un(&mut self, op: UnOp, a: ExprId) -> ExprId {
        let dtype = self.dtype(a);
        let result = if matches!(op, UnOp::IsNan | UnOp::IsInf) { DType::Bool } else { dtype };
        if let Some(v) = self.as_const(a) {
            return self.constant(result, scalar::unary(op, dtype, v));
        }
        match (op, self.node(a)) {
            (UnOp::Not, &Node::Un(UnOp::Not, inner)) => return inner,
            (UnOp::Not, &Node::Cmp(cmp, x, y)) if !self.dtype(x).is_float() => {
                let opposite = match cmp {
                    CmpOp::Eq => CmpOp::Ne,
                    CmpOp::Ne => CmpOp::Eq,
                    CmpOp::Lt => CmpOp::Ge,
                    CmpOp::Le => CmpOp::Gt,
                    CmpOp::Gt => CmpOp::Le,
                    CmpOp::Ge => CmpOp::Lt,
                };
                return self.cmp(opposite, x, y);
            }
            (UnOp::Neg, &Node::Un(UnOp::Neg, inner)) => return inner,
            (UnOp::Neg, _) if dtype == DType::I64 => {
                let zero = self.int(0);
                return self.bin(BinOp::Sub, zero, a);
            }
            (UnOp::IsNan | UnOp::IsInf, _) if !dtype.is_float() => return self.bool(false),
            _ => {}
        }
        self.intern(result, Node::Un(op, a))
    }

    /// `a op b`.
    pub fn bin(&mut self, op: BinOp, a: ExprId, b: ExprId) -> ExprId {
        let dtype = self.dtype(a);
        if let (Some(x), Some(y)) = (self.as_const(a), self.as_const(b)) {
            return self.constant(dtype, scalar::binary(op, dtype, x, y));
        }
        if dtype == DType::Bool {
            return self.logical(op, a, b);
        }
        if dtype == DType::I64 {
            return self.index_bin(op, a, b);
        }
        // Exact for every operand, NaN and signed zero included.
        if let Some(y) = self.as_const(b) {
            let is = |v: f64| !matches!(y, Scalar::Int(_)) && y.as_f64() == v;
            match op {
                BinOp::Mul | BinOp::Div if is(1.0) => return a,
                BinOp::Sub if is(0.0) && y.as_f64().is_sign_positive() => return a,
                BinOp::Pow if is(1.0) => return a,
                BinOp::Pow if is(2.0) => return self.bin(BinOp::Mul, a, a),
                _ => {}
            }
        }
        if let (BinOp::Mul, Some(x)) = (op, self.as_const(a))
            && !matches!(x, Scalar::Int(_))
            && x.as_f64() == 1.0
        {
            return b;
        }
        self.intern(dtype, Node::Bin(op, a, b))
    }

    fn logical(&mut self, op: BinOp, a: ExprId, b: ExprId) -> ExprId {
        let (known, other) = match (self.as_int(a), self.as_int(b)) {
            (Some(x), _) => (Some(x != 0), b),
            (_, Some(y)) => (Some(y != 0), a),
            _ => (None, a),
        };
        match (op, known) {
            (BinOp::And | BinOp::Or, None) if a == b => a,
            (BinOp::And, Some(true)) | (BinOp::Or, Some(false)) | (BinOp::Xor, Some(false)) => other,
            (BinOp::And, Some(false)) => self.bool(false),
            (BinOp::Or, Some(true)) => self.bool(true),
            (BinOp::Xor, Some(true)) => self.un(UnOp::Not, other),
            _ => self.intern(DType::Bool, Node::Bin(op, a, b)),
        }
    }

    /// `a op b`, a `bool`.
    pub fn cmp(&mut self, op: CmpOp, a: ExprId, b: ExprId) -> ExprId {
        let dtype = self.dtype(a);
        if let (Some(x), Some(y)) = (self.as_const(a), self.as_const(b)) {
            return self.bool(scalar::compare(op, dtype, x, y));
        }
        if let Some(known) = self.compare_ranges(op, a, b) {
            return self.bool(known);
        }
        self.intern(DType::Bool, Node::Cmp(op, a, b))
    }

    /// `cond ? a : b`.
    pub fn select(&mut self, cond: ExprId, a: ExprId, b: ExprId) -> ExprId {
        match self.as_int(cond) {
            Some(0) => return b,
            Some(_) => return a,
            None if a == b => return a,
            None => {}
        }
        if let &Node::Un(UnOp::Not, inner) = self.node(cond) {
            return self.select(inner, b, a);
        }
        self.intern(self.dtype(a), Node::Select(cond, a, b))
    }

    /// `a` as type `to`.
    pub fn cast(&mut self, to: DType, saturate: bool, a: ExprId) -> ExprId {
        let from = self.dtype(a);
        if from == to {
            return a;
        }
        if let Some(v) = self.as_const(a) {
            return self.constant(to, scalar::cast(from, to, saturate, v));
        }
        self.intern(to, Node::Cast { saturate, value: a })
    }

    /// The bits of `a` as type `to` of the same size.
    pub fn bitcast(&mut self, to: DType, a: ExprId) -> ExprId {
        if self.dtype(a) == to { a } else { self.intern(to, Node::Bitcast(a)) }
    }

    /// `body` joined over `vars`.
    pub fn reduce(&mut self, op: ReduceOp, vars: Vec<VarId>, body: ExprId) -> ExprId {
        let dtype = if op.is_arg() { DType::I64 } else { self.dtype(body) };
        let vars: Vec<VarId> = if op.is_arg() {
            vars
        } else {
            // A variable of one value needs no loop.
            vars.into_iter().filter(|&v| self.extent(v) != 1).collect()
        };
        if vars.is_empty() && !op.is_arg() {
            return body;
        }
        self.intern(dtype, Node::Reduce { op, vars, body })
    }

    /// Operands of `e`, in order (loads: their indices).
    pub fn operands(&self, e: ExprId) -> Vec<ExprId> {
        match self.node(e) {
            Node::Const(_) | Node::Var(_) | Node::Local(_) => Vec::new(),
            Node::Load { index, .. } => index.clone(),
            Node::Un(_, a) | Node::Bitcast(a) | Node::Cast { value: a, .. } => vec![*a],
            Node::Bin(_, a, b) | Node::Cmp(_, a, b) => vec![*a, *b],
            Node::Select(c, a, b) => vec![*c, *a, *b],
            Node::Reduce { body, .. } => vec![*body],
        }
    }

    /// All nodes that `roots` use, operands before users.
    pub fn reachable(&self, roots: &[ExprId]) -> Vec<ExprId> {
        let mut seen = vec![false; self.nodes.len()];
        let mut stack = roots.to_vec();
        let mut all = Vec::new();
        while let Some(e) = stack.pop() {
            if std::mem::replace(&mut seen[e.0 as usize], true) {
                continue;
            }
            all.push(e);
            stack.extend(self.operands(e));
        }
        // Operands are always older than their users.
        all.sort_unstable();
        all
    }

    /// `e` rebuilt bottom-up: `replace` may give another expression for a node, with the node's operands already
    /// rebuilt; otherwise the node is made anew (and so simplified) from its new operands.
    pub fn rewrite(
        &mut self,
        e: ExprId,
        replace: &mut dyn FnMut(&mut Arena, &Node, DType) -> Option<ExprId>,
    ) -> ExprId {
        self.rewrite_with(e, HashMap::new(), replace)
    }

    /// `e` with some subexpressions replaced.
    pub fn replace(&mut self, e: ExprId, map: HashMap<ExprId, ExprId>) -> ExprId {
        self.rewrite_with(e, map, &mut |_, _, _| None)
    }

    fn rewrite_with(
        &mut self,
        e: ExprId,
        mut new: HashMap<ExprId, ExprId>,
        replace: &mut dyn FnMut(&mut Arena, &Node, DType) -> Option<ExprId>,
    ) -> ExprId {
        for old in self.reachable(&[e]) {
            if new.contains_key(&old) {
                continue;
            }
            let dtype = self.dtype(old);
            let mut node = self.node(old).clone();
            match &mut node {
                Node::Const(_) | Node::Var(_) | Node::Local(_) => {}
                Node::Load { index, .. } => index.iter_mut().for_each(|i| *i = new[i]),
                Node::Un(_, a) | Node::Bitcast(a) | Node::Cast { value: a, .. } => *a = new[a],
                Node::Bin(_, a, b) | Node::Cmp(_, a, b) => (*a, *b) = (new[a], new[b]),
                Node::Select(c, a, b) => (*c, *a, *b) = (new[c], new[a], new[b]),
                Node::Reduce { body, .. } => *body = new[body],
            }
            let made = match replace(self, &node, dtype) {
                Some(other) => other,
                None => self.make(node, dtype),
            };
            new.insert(old, made);
        }
        new[&e]
    }

    /// A node through the simplifying constructors.
    pub fn make(&mut self, node: Node, dtype: DType) -> ExprId {
        match node {
            Node::Var(v) => self.var(v),
            Node::Un(op, a) => self.un(op, a),
            Node::Bin(op, a, b) => self.bin(op, a, b),
            Node::Cmp(op, a, b) => self.cmp(op, a, b),
            Node::Select(c, a, b) => self.select(c, a, b),
            Node::Cast { saturate, value } => self.cast(dtype, saturate, value),
            Node::Bitcast(a) => self.bitcast(dtype, a),
            Node::Reduce { op, vars, body } => self.reduce(op, vars, body),
            Node::Const(_) | Node::Local(_) | Node::Load { .. } => self.intern(dtype, node),
        }
    }

    /// `e` with loop variables replaced.
    pub fn substitute(&mut self, e: ExprId, map: &HashMap<VarId, ExprId>) -> ExprId {
        self.rewrite(e, &mut |_, node, _| match node {
            Node::Var(v) => map.get(v).copied(),
            _ => None,
        })
    }

    /// Loop variables that `e` depends on, without those it binds itself.
    pub fn free_vars(&self, e: ExprId) -> std::collections::BTreeSet<VarId> {
        let mut free: HashMap<ExprId, std::collections::BTreeSet<VarId>> = HashMap::new();
        for id in self.reachable(&[e]) {
            let mut set = std::collections::BTreeSet::new();
            for operand in self.operands(id) {
                set.extend(free[&operand].iter().copied());
            }
            match self.node(id) {
                Node::Var(v) => {
                    set.insert(*v);
                }
                Node::Reduce { vars, .. } => vars.iter().for_each(|v| {
                    set.remove(v);
                }),
                _ => {}
            }
            free.insert(id, set);
        }
        free.remove(&e).unwrap_or_default()
    }
}
