//! What an operator's `rule` may see and do: one text that checks a call and says the types of its results.
//!
//! Dimensions are [`Dim`] terms and requirements are [`Cond`]s over them. With numbers everything is decided at once;
//! with symbols, a condition that normal forms cannot decide is kept as an assumption, and results become terms. The
//! fuzzer gives symbols for dimensions and integer attributes and translates the same terms into SMT. A concrete
//! context serves all three readers, because `Dim` folds numbers without allocating.

use crate::dim::{Cond, Dim};
use crate::dtype::DType;
use crate::error::Error;
use crate::graph::Graph;
use crate::tensor::Tensor;
use crate::types::{Shape, Type};

/// What is known of the content of a small integer tensor or of a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A constant.
    Tensor(Tensor),
    /// One term an element, row-major, for a tensor of rank 0 or 1.
    Dims(Vec<Dim>),
}

/// What is known of an operand or a result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fact {
    /// Type.
    pub ty: Type,
    /// Content, where known.
    pub content: Option<Content>,
}

impl Fact {
    /// A fact of a type alone.
    pub fn of(ty: Type) -> Fact {
        Fact { ty, content: None }
    }

    /// A constant.
    pub fn constant(tensor: Tensor) -> Fact {
        Fact { ty: Type::tensor(tensor.dtype(), tensor.shape()), content: Some(Content::Tensor(tensor)) }
    }
}

/// Why a rule ended early.
#[derive(Debug)]
pub enum Stop {
    /// The call is wrong, or not supported.
    Fail(Error),
    /// Something must be known first (a rank, a type, a content); the text says what.
    Deferred(&'static str),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Stop {
        Stop::Fail(e)
    }
}

/// Result of a rule and of what it asks.
pub type RuleResult<T = ()> = std::result::Result<T, Stop>;

/// Requirement on dimensions that could not be decided: it must hold at run time.
#[derive(Clone, Debug, PartialEq)]
pub struct Assumption {
    /// Constraint's number.
    pub label: &'static str,
    /// What must hold.
    pub cond: Cond,
}

/// The context of one rule: operands in, results out.
pub struct RuleCx<'a> {
    inputs: &'a [Option<Fact>],
    captures: &'a [Fact],
    n_outputs: usize,
    outputs: Vec<Fact>,
    assumptions: Vec<Assumption>,
    fresh: &'a mut u64,
}

impl<'a> RuleCx<'a> {
    /// A context for a call with `inputs`; `fresh` numbers the symbols for unknown extents.
    pub fn new(inputs: &'a [Option<Fact>], captures: &'a [Fact], n_outputs: usize, fresh: &'a mut u64) -> Self {
        RuleCx { inputs, captures, n_outputs, outputs: Vec::new(), assumptions: Vec::new(), fresh }
    }

    /// The results and assumptions, after the rule has run.
    pub fn finish(self) -> (Vec<Fact>, Vec<Assumption>) {
        (self.outputs, self.assumptions)
    }

    /// Number of operands given, left-out ones in between included.
    pub fn n_inputs(&self) -> usize {
        self.inputs.len()
    }

    /// Number of results that the call names.
    pub fn n_outputs(&self) -> usize {
        self.n_outputs
    }

    /// Whether an optional operand is given.
    pub fn has(&self, input: usize) -> bool {
        self.inputs.get(input).is_some_and(Option::is_some)
    }

    /// Facts of an operand.
    pub fn fact(&self, input: usize) -> RuleResult<&'a Fact> {
        match self.inputs.get(input) {
            Some(Some(fact)) => Ok(fact),
            _ => Err(Error::invalid(format!("operand {input} is missing")).into()),
        }
    }

    /// Type of an operand.
    pub fn ty(&self, input: usize) -> RuleResult<&'a Type> {
        match &self.fact(input)?.ty {
            Type::Unknown => Err(Stop::Deferred("the type of an operand")),
            ty => Ok(ty),
        }
    }

    /// Element type of a tensor operand.
    pub fn dtype(&self, input: usize) -> RuleResult<DType> {
        match self.ty(input)? {
            Type::Tensor(t) => Ok(t.dtype),
            other => Err(Error::invalid(format!("operand {input} must be a tensor, it is {other}")).into()),
        }
    }

    /// Extents of a tensor operand; deferred where the rank is unknown.
    pub fn shape(&self, input: usize) -> RuleResult<Vec<Dim>> {
        match self.ty(input)? {
            Type::Tensor(t) => match &t.shape {
                Shape::Ranked(dims) => Ok(dims.clone()),
                Shape::Unranked => Err(Stop::Deferred("the rank of an operand")),
            },
            other => Err(Error::invalid(format!("operand {input} must be a tensor, it is {other}")).into()),
        }
    }

    /// Rank of a tensor operand.
    pub fn rank(&self, input: usize) -> RuleResult<usize> {
        Ok(self.shape(input)?.len())
    }

    /// One extent of a tensor operand.
    pub fn dim(&self, input: usize, axis: usize) -> RuleResult<Dim> {
        let shape = self.shape(input)?;
        shape.get(axis).cloned().ok_or_else(|| {
            Error::invalid(format!("operand {input} has rank {}, axis {axis} is asked for", shape.len())).into()
        })
    }

    /// The constant that an operand is, where it is one.
    pub fn constant(&self, input: usize) -> Option<&'a Tensor> {
        match self.inputs.get(input)?.as_ref()?.content.as_ref()? {
            Content::Tensor(t) => Some(t),
            Content::Dims(_) => None,
        }
    }

    /// Elements of an integer operand, where they are known as numbers or terms.
    pub fn values(&self, input: usize) -> RuleResult<Option<Vec<Dim>>> {
        Ok(match &self.fact(input)?.content {
            Some(Content::Dims(dims)) => Some(dims.clone()),
            Some(Content::Tensor(t)) => t.to_i64s().ok().map(|v| v.into_iter().map(Dim::int).collect()),
            None => None,
        })
    }

    /// Elements of an integer operand as numbers, where all are known.
    pub fn int_values(&self, input: usize) -> RuleResult<Option<Vec<i64>>> {
        Ok(self.values(input)?.and_then(|v| v.iter().map(Dim::as_int).collect()))
    }

    /// Number of elements of a rank-1 operand; deferred where unknown. For results whose rank it decides.
    pub fn len_of(&self, input: usize) -> RuleResult<usize> {
        match self.shape(input)?.as_slice() {
            [n] => match n.as_int() {
                Some(n) if n > MAX_RANK as i64 => Err(rank_too_high(n).into()),
                Some(n) => Ok(n.max(0) as usize),
                None => Err(Stop::Deferred("the length of an operand")),
            },
            _ => Err(Error::invalid(format!("operand {input} must have rank 1")).into()),
        }
    }

    /// A symbol for an extent that depends on data.
    pub fn fresh(&mut self) -> Dim {
        *self.fresh += 1;
        Dim::sym(&format!("u{}", *self.fresh))
    }

    /// Facts of the outer values that the node's bodies use.
    pub fn captures(&self) -> &'a [Fact] {
        self.captures
    }

    /// Types a body for the given arguments.
    pub fn infer_body(&mut self, body: &Graph, inputs: &[Fact]) -> RuleResult<Vec<Fact>> {
        Ok(crate::infer::infer_body(body, inputs, self.captures, self.fresh)?)
    }

    /// A requirement on types, ranks or attributes, decided now. `label` is the constraint's number.
    pub fn require(&self, label: &'static str, holds: bool, message: impl FnOnce() -> String) -> RuleResult {
        if holds { Ok(()) } else { Err(Error::violation(label, message()).into()) }
    }

    /// A requirement on dimensions: violated, satisfied, or assumed until run time.
    pub fn require_that(&mut self, label: &'static str, cond: Cond) -> RuleResult {
        match cond.as_bool() {
            Some(true) => Ok(()),
            Some(false) => Err(Error::violation(label, "the dimensions do not agree").into()),
            None => {
                self.assumptions.push(Assumption { label, cond });
                Ok(())
            }
        }
    }

    /// `a == b`, with both in the message.
    pub fn require_eq(&mut self, label: &'static str, a: &Dim, b: &Dim) -> RuleResult {
        let cond = Cond::eq(a, b);
        match cond.as_bool() {
            Some(false) => Err(Error::violation(label, format!("{a} and {b} must be equal")).into()),
            Some(true) => Ok(()),
            None => {
                self.assumptions.push(Assumption { label, cond });
                Ok(())
            }
        }
    }

    /// The element type of operand `input` must be one of `allowed`.
    pub fn require_dtype(&self, label: &'static str, input: usize, allowed: &[DType]) -> RuleResult<DType> {
        let dtype = self.dtype(input)?;
        self.require(label, allowed.contains(&dtype), || {
            format!("operand {input} has element type {dtype}, which is not among those allowed ({})", names(allowed))
        })?;
        Ok(dtype)
    }

    /// All given operands of the list have the element type of the first; returns it.
    pub fn same_dtype(&self, label: &'static str, inputs: impl IntoIterator<Item = usize>) -> RuleResult<DType> {
        let mut first = None;
        for i in inputs.into_iter().filter(|&i| self.has(i)) {
            let d = self.dtype(i)?;
            let want = *first.get_or_insert(d);
            self.require(label, d == want, || format!("operand {i} has element type {d}, an earlier one {want}"))?;
        }
        first.ok_or_else(|| Error::invalid("no operand is given").into())
    }

    /// Resolves an axis in `-rank..rank`.
    pub fn axis(&self, label: &'static str, axis: i64, rank: usize) -> RuleResult<usize> {
        let r = rank as i64;
        self.require(label, (-r..r).contains(&axis), || format!("axis {axis} is outside -{r}..{r}"))?;
        Ok(if axis < 0 { axis + r } else { axis } as usize)
    }

    /// Resolves a list of axes, which may not repeat.
    pub fn axes(&self, label: &'static str, axes: &[i64], rank: usize) -> RuleResult<Vec<usize>> {
        let mut out = Vec::with_capacity(axes.len());
        for &a in axes {
            let a = self.axis(label, a, rank)?;
            self.require(label, !out.contains(&a), || format!("axis {a} is named twice"))?;
            out.push(a);
        }
        Ok(out)
    }

    /// The shape that all of `shapes` broadcast to (numpy's rule: trailing axes aligned, 1 stretches).
    pub fn broadcast(&mut self, label: &'static str, shapes: &[Vec<Dim>]) -> RuleResult<Vec<Dim>> {
        let rank = shapes.iter().map(Vec::len).max().unwrap_or(0);
        let mut out = vec![Dim::int(1); rank];
        for shape in shapes {
            let shift = rank - shape.len();
            for (i, d) in shape.iter().enumerate() {
                let at = &mut out[shift + i];
                if *at == 1 {
                    *at = d.clone();
                } else if *d != 1 && at != d {
                    let ok = Cond::any([&Cond::eq(at, d), &Cond::eq(at, &Dim::int(1)), &Cond::eq(d, &Dim::int(1))]);
                    if ok.as_bool() == Some(false) {
                        return Err(Error::violation(label, format!("extents {at} and {d} do not broadcast")).into());
                    }
                    self.require_that(label, ok)?;
                    *at = match (at.is_int(), d.is_int()) {
                        (true, false) => at.clone(),
                        (false, true) => d.clone(),
                        _ => Dim::select(&Cond::eq(at, &Dim::int(1)), d, at),
                    };
                }
            }
        }
        Ok(out)
    }

    /// The shape that operands broadcast to.
    pub fn broadcast_inputs(&mut self, label: &'static str, inputs: &[usize]) -> RuleResult<Vec<Dim>> {
        let shapes = inputs.iter().map(|&i| self.shape(i)).collect::<RuleResult<Vec<_>>>()?;
        self.broadcast(label, &shapes)
    }

    /// The next result is a tensor.
    pub fn output(&mut self, dtype: DType, shape: Vec<Dim>) -> RuleResult {
        self.outputs.push(Fact::of(Type::ranked(dtype, shape)));
        Ok(())
    }

    /// The next result has this type.
    pub fn output_type(&mut self, ty: Type) -> RuleResult {
        self.outputs.push(Fact::of(ty));
        Ok(())
    }

    /// The next result, with all that is known.
    pub fn output_fact(&mut self, fact: Fact) -> RuleResult {
        self.outputs.push(fact);
        Ok(())
    }

    /// Says the elements of the last result (an integer tensor of rank 0 or 1), where they are known.
    pub fn output_values(&mut self, values: Option<Vec<Dim>>) {
        if let (Some(values), Some(last)) = (values, self.outputs.last_mut()) {
            last.content = Some(Content::Dims(values));
        }
    }
}

/// The highest rank of a tensor: far above what models use, low enough that work which grows with its square is nothing.
pub const MAX_RANK: usize = 1024;

/// The error of a rank above [`MAX_RANK`].
pub fn rank_too_high(rank: impl std::fmt::Display) -> Error {
    Error::unsupported(format!("a tensor of rank {rank}; {MAX_RANK} is the highest"))
}

fn names(dtypes: &[DType]) -> String {
    dtypes.iter().map(|d| d.name()).collect::<Vec<_>>().join(" ")
}

/// Element types of a class, for `require_dtype`.
pub mod sets {
    use crate::dtype::DType::{self, *};

    /// binary16, bfloat16, binary32, binary64.
    pub const FLOATS: &[DType] = &[F32, F64, F16, BF16];
    /// Integers of whole bytes.
    pub const INTS: &[DType] = &[I8, I16, I32, I64, U8, U16, U32, U64];
    /// Signed integers of whole bytes.
    pub const SIGNED: &[DType] = &[I8, I16, I32, I64];
    /// Unsigned integers of whole bytes.
    pub const UNSIGNED: &[DType] = &[U8, U16, U32, U64];
    /// Floats and integers of whole bytes.
    pub const NUMBERS: &[DType] = &[F32, F64, F16, BF16, I8, I16, I32, I64, U8, U16, U32, U64];
    /// Signed integers and floats.
    pub const SIGNED_NUMBERS: &[DType] = &[F32, F64, F16, BF16, I8, I16, I32, I64];
    /// Kinds that may index.
    pub const INDEX: &[DType] = &[I32, I64];
}
