//! What an operator is: one definition, many readers.
//!
//! An operator's file holds a struct of attributes ([`attributes!`](crate::attributes)), an `impl Op` and one
//! [`op!`](macro@crate::op) declaration. The registry ([`crate::ops::OPS`]) lists the declarations; everything else
//! (dispatch, parser keywords, tables, the fuzzer's menu) is derived from it.

use crate::attr::{AttrDoc, Attrs};
use crate::builder::GraphBuilder;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::graph::{Graph, ValueId};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;
use crate::types::Type;
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// An operator with its attributes.
pub trait Op: Any + fmt::Debug + Send + Sync {
    /// Its declaration; made by [`op!`](macro@crate::op) through [`Declared`].
    fn def(&self) -> &'static OpDef;

    /// Its attributes, defaults left out; made by [`op!`](macro@crate::op).
    fn attrs(&self) -> Attrs;

    /// Checks a call and says the types of its results, in order.
    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult;

    /// The meaning: plain loops, wide accumulation. Composite operators leave it out and define [`Op::expand`].
    ///
    /// # Errors
    /// When an index or a value is out of the operator's domain, or a limit is reached.
    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        crate::eval::eval_expansion(self.def(), |b, x| self.expand(b, x), cx)
    }

    /// The operator in terms of others: given operands (typed in the builder's graph) and behind them the captured
    /// values of its bodies, returns the results. `None` where it has none (for these operands).
    ///
    /// # Errors
    /// When a node that it builds is refused.
    fn expand(&self, _b: &mut GraphBuilder, _x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        Ok(None)
    }

    /// How it becomes machine code for operands of these concrete types.
    fn lower(&self, _cx: &crate::lower::LowerCx<'_>) -> Result<crate::lower::Lowering> {
        Ok(crate::lower::Lowering::Host)
    }

    /// The compiled kernel that gives results whose extents depend on data; the call's results are left out.
    fn lower_found(&self, _cx: &crate::lower::LowerCx<'_>) -> Result<Option<crate::library::Library>> {
        Ok(None)
    }

    /// Its only result as a tensor whose elements are made when they are read ([`Tensor::deferred`]), the same bits as `eval`
    /// gives: for weights that are larger than what they are made from and are read once, to be packed. `None` where it
    /// has no such form (for these operands); an operand that is `None` is left out in the call.
    fn deferred(&self, _operands: &[Option<&Tensor>], _dtype: DType, _shape: &[usize]) -> Option<Tensor> {
        None
    }

    /// What passes and tests may rely on.
    fn facts(&self) -> Facts {
        Facts::default()
    }

    /// Its graph attributes.
    fn bodies(&self) -> Vec<&Arc<Graph>> {
        Vec::new()
    }
}

impl dyn Op {
    /// The attributes as their own type, where it is a `T`.
    pub fn downcast<T: Op>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }

    /// The declaration of the operator that a model names: that of the call within a [`ChannelsLast`].
    ///
    /// [`ChannelsLast`]: crate::channels_last::ChannelsLast
    pub fn named(&self) -> &'static OpDef {
        self.downcast::<crate::channels_last::ChannelsLast>().map_or_else(|| self.def(), |last| last.op.def())
    }
}

/// How far a result may lie from the exact one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Accuracy {
    /// Bit for bit.
    Exact,
    /// Within so many units in the last place of each element.
    Ulp(u32),
    /// A sum of products in any order: within `n * u * sum |terms|`, `n` terms, `u` the unit roundoff.
    Reduction,
}

/// What passes and tests may rely on.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Exchanging the first two operands changes nothing.
    pub commutative: bool,
    /// Same operands, same results; no side effects. False for random operators.
    pub pure: bool,
    /// Each element of the (only) result depends on the elements at the same, broadcast, index.
    pub pointwise: bool,
    /// The result holds the first operand's elements in the same order, under another shape.
    pub view: bool,
    /// Compiled as its expansion: there is no other machine code for it.
    pub composite: bool,
    /// (operand, result) pairs that may share memory.
    pub in_place: &'static [(usize, usize)],
    /// Distance from the exact result.
    pub accuracy: Accuracy,
    /// Not continuous in its float operands: where one lies at a boundary, its rounding error changes a float result by a
    /// step. What turns floats into integers or truth values needs no mention.
    pub jumps: bool,
    /// Values of the first operand for which the result is finite and smooth, as `lo, hi` (open), for tests.
    pub domain: (f64, f64),
}

impl Default for Facts {
    fn default() -> Facts {
        Facts {
            commutative: false,
            pure: true,
            pointwise: false,
            view: false,
            composite: false,
            in_place: &[],
            accuracy: Accuracy::Reduction,
            jumps: false,
            domain: (f64::NEG_INFINITY, f64::INFINITY),
        }
    }
}

impl Facts {
    /// Elements are moved, never changed.
    pub const MOVES: Facts = Facts {
        commutative: false,
        pure: true,
        pointwise: false,
        view: false,
        composite: false,
        in_place: &[],
        accuracy: Accuracy::Exact,
        jumps: false,
        domain: (f64::NEG_INFINITY, f64::INFINITY),
    };
    /// The operand's elements in the same order under another shape.
    pub const VIEW: Facts = Facts { view: true, in_place: &[(0, 0)], ..Facts::MOVES };
    /// Element by element, exact.
    pub const POINTWISE: Facts = Facts { pointwise: true, in_place: &[(0, 0)], ..Facts::MOVES };
    /// Compiled as its expansion, as accurate as that.
    pub const COMPOSITE: Facts = Facts { composite: true, accuracy: Accuracy::Reduction, ..Facts::MOVES };
}

/// An operator's declaration.
pub struct OpDef {
    /// ONNX name.
    pub name: &'static str,
    /// ONNX domain, `ai.onnx` written out.
    pub domain: &'static str,
    /// Opset versions of the domain at which its meaning or its types changed; the last is the present one.
    pub since: &'static [i64],
    /// What a version only added to the one before: element types (`f8` is all four of the first kind), `seq` and
    /// `optional`, attributes (`name` or `name=value`) and operands or results, separated by spaces; words joined by `&`
    /// count together. A version of opset 14 or later that is not here changed what calls mean. See
    /// [`version_of`](Self::version_of).
    pub brings: &'static [(i64, &'static str)],
    /// The version that deprecated it, after which no model may hold it.
    pub deprecated: Option<i64>,
    /// Operands in ONNX's order: `"X, W, B?"`; `?` optional, `*` any number.
    pub inputs: &'static str,
    /// Results, in the same notation.
    pub outputs: &'static str,
    /// One line: what it computes.
    pub summary: &'static str,
    /// Path of its module, from which the mnemonic comes.
    pub module: &'static str,
    /// Its attributes.
    pub attrs: &'static [AttrDoc],
    /// Makes the operator of a node's attributes.
    pub parse: fn(&Attrs) -> Result<Arc<dyn Op>>,
    /// Rewrites a node of an older opset into the newest form.
    pub upgrade: Option<fn(&mut Upgrade<'_>) -> Result<()>>,
    /// IR text with results: documentation, golden test and fuzz seed at once.
    pub examples: &'static str,
}

impl OpDef {
    /// The word in IR text: the file's name, with its domain's folder before it: `concat`, `ml.scaler`.
    pub fn mnemonic(&self) -> String {
        self.module.split_once("::ops::").map_or(self.module, |m| m.1).replace("r#", "").replace("::", ".")
    }

    /// Least and largest number of operands (`None`: any).
    pub fn arity(&self) -> (usize, Option<usize>) {
        slots(self.inputs)
    }

    /// Least and largest number of results.
    pub fn n_results(&self) -> (usize, Option<usize>) {
        slots(self.outputs)
    }
}

fn slots(text: &str) -> (usize, Option<usize>) {
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|s| !s.is_empty()).collect();
    let least = names.iter().rposition(|s| !s.ends_with(['?', '*'])).map_or(0, |i| i + 1);
    (least, if names.iter().any(|s| s.ends_with('*')) { None } else { Some(names.len()) })
}

impl fmt::Debug for OpDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.domain, self.name)
    }
}

/// A node of an older opset on its way to the newest form. The hook changes the fields in place, and may put nodes
/// before it ([`Upgrade::add`]) or give it another operator.
pub struct Upgrade<'a> {
    /// The graph as imported so far, types inferred.
    pub graph: &'a mut Graph,
    /// Opset version that the model states for the domain.
    pub version: i64,
    /// Operator that the node becomes.
    pub op_type: String,
    /// Its domain, `ai.onnx` written out.
    pub domain: String,
    /// Its attributes.
    pub attrs: Attrs,
    /// Its operands.
    pub inputs: Vec<Option<ValueId>>,
    /// Its results, already numbered.
    pub outputs: Vec<Option<ValueId>>,
}

impl Upgrade<'_> {
    /// Takes an attribute away.
    pub fn take(&mut self, name: &str) -> Option<crate::attr::Attr> {
        self.attrs.remove(name)
    }

    /// Takes an attribute of integers away.
    pub fn take_ints(&mut self, name: &str) -> Result<Option<Vec<i64>>> {
        match self.attrs.remove(name) {
            None => Ok(None),
            Some(a) => crate::attr::AttrField::read(&a)
                .map(Some)
                .ok_or_else(|| Error::invalid(format!("attribute `{name}` must be integers"))),
        }
    }

    /// Sets operand `i`, padding with left-out ones.
    pub fn set_input(&mut self, i: usize, value: ValueId) {
        if self.inputs.len() <= i {
            self.inputs.resize(i + 1, None);
        }
        self.inputs[i] = Some(value);
    }

    /// Turns the attribute `name` of integers into operand `i`, a rank-1 `i64` constant.
    pub fn ints_to_input(&mut self, name: &str, i: usize) -> Result<()> {
        if let Some(v) = self.take_ints(name)? {
            let c = self.constant(crate::tensor::Tensor::from_slice(&[v.len()], &v));
            self.set_input(i, c);
        }
        Ok(())
    }

    /// Adds a constant.
    pub fn constant(&mut self, tensor: crate::tensor::Tensor) -> ValueId {
        self.graph.add_constant("", tensor)
    }

    /// Type of an operand, as far as inference got.
    pub fn ty(&self, i: usize) -> Type {
        self.inputs.get(i).copied().flatten().map_or(Type::Unknown, |v| self.graph.ty(v).clone())
    }

    /// Rank of an operand, as far as inference got.
    pub fn rank(&self, i: usize) -> Option<usize> {
        self.ty(i).as_tensor().and_then(|t| t.shape.dims().map(<[_]>::len))
    }

    /// Puts a node of the newest opset before this one and returns its results.
    ///
    /// # Errors
    /// When there is no such operator or its rule refuses the operands.
    pub fn add(
        &mut self,
        op: &str,
        attrs: Attrs,
        inputs: &[Option<ValueId>],
        n_outputs: usize,
    ) -> Result<Vec<ValueId>> {
        crate::builder::add_node(self.graph, "ai.onnx", op, attrs, inputs, n_outputs)
    }
}

/// Ties a struct to its declaration; made by [`op!`](macro@crate::op).
pub trait Declared {
    /// The declaration.
    const DEF: &'static OpDef;
}

/// Declares an operator: its ONNX binding and where the rest is found.
///
/// ```text
/// op! {
///     Pad in "ai.onnx" since [1, 2, 11, 13, 18 brings "axes", 19 brings "mode=wrap"];
///     "data, pads, constant_value?, axes?" => "output";
///     summary: "a tensor with elements added at its ends";
///     deprecated: 30;          // optional: where ONNX withdrew it
///     upgrade: upgrade;        // optional
///     examples: EXAMPLES;      // optional
/// }
/// ```
/// makes `pub static DEF` of the struct `Pad` in scope. `Struct as "Name"` gives another ONNX name.
#[macro_export]
macro_rules! op {
    ($Op:ident $(as $onnx:literal)? in $domain:literal since [$($since:literal $(brings $brought:literal)?),+ $(,)?];
     $ins:literal => $outs:literal; summary: $summary:literal; $(deprecated: $deprecated:literal;)?
     $(upgrade: $upgrade:expr;)? $(examples: $examples:expr;)?) => {
        /// Declaration for the registry.
        pub static DEF: $crate::op::OpDef = $crate::op::OpDef {
            name: $crate::op!(@name $Op $($onnx)?),
            domain: $domain,
            since: &[$($since),+],
            brings: &[$($(($since, $brought),)?)+],
            deprecated: $crate::op!(@option $($deprecated)?),
            inputs: $ins,
            outputs: $outs,
            summary: $summary,
            module: module_path!(),
            attrs: <$Op as $crate::attr::Attributes>::DOC,
            parse: |attrs| {
                let mut reader = $crate::attr::AttrReader::new(attrs);
                let op = <$Op as $crate::attr::Attributes>::from_attrs(&mut reader)?;
                reader.finish()?;
                Ok(std::sync::Arc::new(op))
            },
            upgrade: $crate::op!(@option $($upgrade)?),
            examples: $crate::op!(@examples $($examples)?),
        };
        impl $crate::op::Declared for $Op {
            const DEF: &'static $crate::op::OpDef = &DEF;
        }
    };
    (@name $Op:ident) => { stringify!($Op) };
    (@name $Op:ident $onnx:literal) => { $onnx };
    (@option) => { None };
    (@option $e:expr) => { Some($e) };
    (@examples) => { "" };
    (@examples $e:expr) => { $e };
}

/// The two methods of [`Op`] that every operator answers alike: `impl Op for X { op_basics!(); … }`.
#[macro_export]
macro_rules! op_basics {
    () => {
        fn def(&self) -> &'static $crate::op::OpDef {
            <Self as $crate::op::Declared>::DEF
        }
        fn attrs(&self) -> $crate::attr::Attrs {
            $crate::attr::Attributes::to_attrs(self)
        }
    };
}
