//! Argument structures of operators: which operands, of which element types and ranks, with which attributes. Extents,
//! and those attributes and contents that enter extents, stay open as symbols.
//!
//! Forms are found by trying: operands and attributes are proposed from the operator's declaration, and the operator's
//! rule says which fit. A form that it accepts carries the conditions under which a call of it is valid.

use crate::choices::{Choices, Seeded, pick};
use crate::solve::Wish;
use egret_ir::infer::infer_call;
use egret_ir::rule::Content;
use egret_ir::{Attr, Attrs, DType, Dim, Fact, Op, OpDef, Tensor, Type};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Greatest rank that is proposed.
const MAX_RANK: usize = 5;
/// Forms kept of one operator.
const FORMS: usize = 48;
/// Proposals for one operator; most operators have their forms long before.
const PROPOSALS: usize = 6000;
/// Greatest extent, stride or element of a content that is drawn.
const MAX_SIZE: i64 = 17;

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A tensor of which only the type matters to the rule.
    Tensor {
        /// Element type.
        dtype: DType,
        /// Number of axes.
        rank: usize,
    },
    /// A small integer constant whose elements enter extents.
    Content {
        /// `I32` or `I64`.
        dtype: DType,
        /// Its elements.
        elements: Vec<Dim>,
        /// Whether it has rank 0 (then it has one element) and not 1.
        scalar: bool,
    },
}

/// A call with open extents.
#[derive(Clone, Debug)]
pub struct Form {
    /// The operator.
    pub def: &'static OpDef,
    /// Its attributes; integers may be symbols.
    pub attrs: Attrs,
    /// Its operands.
    pub operands: Vec<Option<Operand>>,
    /// Results that the call names.
    pub n_outputs: usize,
}

impl Form {
    /// The operator with symbols in its attributes.
    pub fn op(&self) -> Option<Arc<dyn Op>> {
        (self.def.parse)(&self.attrs).ok()
    }

    /// What the rule sees of operand `i` when nothing is settled.
    pub fn open_fact(&self, i: usize) -> Option<Fact> {
        Some(match self.operands[i].as_ref()? {
            Operand::Tensor { dtype, rank } => Fact::of(Type::ranked(*dtype, extents(i, *rank))),
            Operand::Content { dtype, elements, scalar } => {
                let ty = if *scalar { Type::tensor(*dtype, &[]) } else { Type::tensor(*dtype, &[elements.len()]) };
                Fact { ty, content: Some(Content::Dims(elements.clone())) }
            }
        })
    }

    /// Symbols of attributes and contents (not of extents), with what each may be.
    pub fn wishes(&self) -> BTreeMap<Arc<str>, Wish> {
        let in_attrs = self.attrs.values().flat_map(|a| match a {
            Attr::Int(d) => d.symbols(),
            Attr::Ints(ds) => ds.iter().flat_map(Dim::symbols).collect(),
            _ => Default::default(),
        });
        let in_contents = self.operands.iter().flatten().flat_map(|o| match o {
            Operand::Content { elements, .. } => elements.iter().flat_map(Dim::symbols).collect(),
            Operand::Tensor { .. } => std::collections::BTreeSet::new(),
        });
        in_attrs.chain(in_contents).map(|s| (s, Wish { lo: 0, hi: MAX_SIZE, usual: &[0, 1, 1, 2, 3] })).collect()
    }
}

/// The symbols of an operand's extents.
pub fn extents(operand: usize, rank: usize) -> Vec<Dim> {
    thread_local! {
        /// Symbols that were asked for before, by operand and axis: the same few are, thousands of times.
        static KNOWN: std::cell::RefCell<Vec<Vec<Dim>>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    KNOWN.with_borrow_mut(|known| {
        while known.len() <= operand {
            known.push(Vec::new());
        }
        let of = &mut known[operand];
        while of.len() < rank {
            of.push(Dim::sym(&format!("x{operand}_{}", of.len())));
        }
        of[..rank].to_vec()
    })
}

/// What an extent may be: mostly small, with empty ones, and sizes around those of vector registers.
pub const EXTENT: Wish = Wish { lo: 0, hi: MAX_SIZE, usual: &[1, 1, 2, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 0] };

/// A seed that depends on the operator alone.
pub fn seed_of(def: &OpDef) -> u64 {
    def.name.bytes().chain(def.domain.bytes()).fold(0u64, |h, b| h.wrapping_mul(0x100_0000_01b3) ^ u64::from(b))
}

/// All forms of an operator that trying finds; the same for the same operator, always.
pub fn forms_of(def: &'static OpDef) -> Vec<Form> {
    let mut choices = Seeded::new(seed_of(def), 0);
    let mut forms: Vec<Form> = Vec::new();
    let (arity, results) = (def.arity(), def.n_results());
    let mut last = 0;
    for turn in 0..PROPOSALS {
        // An operator that refuses everything for long is left alone, and so is one that shows nothing new.
        if forms.len() >= FORMS || turn - last >= PROPOSALS / if forms.is_empty() { 2 } else { 4 } {
            break;
        }
        if let Some(form) = propose(def, arity, results, &mut choices)
            && fits(&form)
            && !forms.iter().any(|f| f.operands == form.operands && f.attrs == form.attrs)
        {
            forms.push(form);
            last = turn;
        }
    }
    forms
}

/// Whether the rule accepts the form for some extents, as far as it can tell.
fn fits(form: &Form) -> bool {
    let Some(op) = form.op() else { return false };
    let facts: Vec<Option<Fact>> = (0..form.operands.len()).map(|i| form.open_fact(i)).collect();
    match infer_call(&*op, &facts, &[], form.n_outputs, &mut 0) {
        Ok(inferred) => inferred.deferred.is_none() && inferred.outputs.iter().all(|f| is_plain(&f.ty)),
        Err(_) => false,
    }
}

/// Whether the generator can hand a value of this type to other operators and runtimes.
pub fn is_plain(ty: &Type) -> bool {
    ty.as_tensor().is_some_and(|t| plain_dtype(t.dtype))
}

fn plain_dtype(dtype: DType) -> bool {
    DTYPES.contains(&dtype)
}

/// Element types that are proposed, the most usual several times.
const DTYPES: &[DType] = &[
    DType::F32,
    DType::F32,
    DType::F32,
    DType::F32,
    DType::F32,
    DType::F32,
    DType::F64,
    DType::F16,
    DType::BF16,
    DType::I8,
    DType::I16,
    DType::I32,
    DType::I64,
    DType::I64,
    DType::U8,
    DType::U16,
    DType::U32,
    DType::U64,
    DType::Bool,
];

/// Least and largest number; none where there may be any.
type Slots = (usize, Option<usize>);

fn propose(def: &'static OpDef, (least, most): Slots, results: Slots, choices: &mut dyn Choices) -> Option<Form> {
    let most = most.unwrap_or(least.max(1) + 2);
    let n = least + choices.below(most - least + 1);
    let main = *pick(choices, DTYPES);
    let rank = choices.below(MAX_RANK + 1);
    // Most operators want all ranks equal, or one tensor with vectors beside it.
    let habit = choices.weighted(&[4, 3, 3]);
    let mut operands = Vec::new();
    for i in 0..n {
        if i >= least && i + 1 < n && choices.chance(1, 6) {
            operands.push(None);
            continue;
        }
        let dtype = match choices.weighted(&[12, 3, 1, 2]) {
            0 => main,
            1 => DType::I64,
            2 => DType::Bool,
            _ => *pick(choices, DTYPES),
        };
        let rank_i = match (habit, i) {
            (_, 0) | (0, _) => rank,
            (1, _) => 1,
            _ => choices.below(MAX_RANK + 1),
        };
        let may_be_content = i > 0 && matches!(dtype, DType::I64 | DType::I32) || def.inputs.contains("shape");
        operands.push(Some(if may_be_content && matches!(dtype, DType::I64 | DType::I32) && choices.chance(2, 3) {
            let scalar = choices.chance(1, 5);
            let len = if scalar { 1 } else { *pick(choices, &[rank, 1, 2, rank * 2, 3, 0]) };
            let elements = (0..len).map(|k| integer(choices, &format!("c{i}_{k}"))).collect();
            Operand::Content { dtype, elements, scalar }
        } else {
            Operand::Tensor { dtype, rank: rank_i }
        }));
    }
    let mut attrs = Attrs::new();
    for doc in def.attrs {
        let required = doc.default.is_empty();
        if !required && choices.chance(1, 2) || required && choices.chance(1, 3) {
            continue;
        }
        if let Some(value) = attribute(doc, rank, choices) {
            attrs.insert(doc.name.to_owned(), value);
        }
    }
    let (least_out, most_out) = results;
    let most_out = most_out.unwrap_or(least_out.max(1) + 2);
    let n_outputs = least_out.max(1) + choices.below(most_out.saturating_sub(least_out.max(1)) + 1);
    Some(Form { def, attrs, operands, n_outputs })
}

/// A small number or a symbol.
fn integer(choices: &mut dyn Choices, name: &str) -> Dim {
    match choices.weighted(&[5, 1, 1, 1, 1, 1]) {
        0 => Dim::sym(name),
        1 => Dim::ZERO,
        2 => Dim::ONE,
        3 => Dim::int(-1),
        4 => Dim::int(2),
        _ => Dim::int(choices.below(9) as i64 - 4),
    }
}

fn attribute(doc: &egret_ir::attr::AttrDoc, rank: usize, choices: &mut dyn Choices) -> Option<Attr> {
    let float = |choices: &mut dyn Choices| *pick(choices, &[0.5f32, 1.0, 0.0, 2.0, -1.5, 0.1, 1e-5]);
    Some(match doc.wanted {
        "an integer" => Attr::Int(if choices.chance(1, 2) {
            Dim::int(choices.below(rank + 3) as i64 - rank.min(2) as i64)
        } else {
            integer(choices, &format!("a_{}", doc.name))
        }),
        "0 or 1" => Attr::from(choices.chance(1, 2)),
        "a float" => Attr::Float(float(choices)),
        "a string" => Attr::String((*pick(choices, &words(doc.doc)?)).to_owned()),
        "integers" => {
            let spatial = rank.saturating_sub(2);
            let len = *pick(choices, &[spatial, spatial * 2, rank, 1, 2, rank * 2]);
            let symbols = choices.chance(1, 2);
            Attr::Ints(
                (0..len)
                    .map(|k| {
                        if symbols {
                            integer(choices, &format!("a_{}_{k}", doc.name))
                        } else {
                            Dim::int(choices.below(rank.max(2)) as i64)
                        }
                    })
                    .collect(),
            )
        }
        "floats" => Attr::Floats((0..1 + choices.below(3)).map(|_| float(choices)).collect()),
        "an element type" => Attr::DType(*pick(choices, DTYPES)),
        "a tensor" => Attr::Tensor(Tensor::from_slice(&[1], &[float(choices)])),
        _ => return None,
    })
}

/// The words that a documentation puts between backquotes: the values that a text attribute may have.
fn words(doc: &'static str) -> Option<Vec<&'static str>> {
    let list: Vec<&str> = doc.split('`').skip(1).step_by(2).filter(|w| !w.is_empty()).collect();
    (!list.is_empty()).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::ops;

    fn forms(name: &str) -> Vec<Form> {
        forms_of(ops::find("ai.onnx", name).unwrap())
    }

    #[test]
    fn plain_and_windowed_operators_have_forms() {
        for name in
            ["Relu", "Add", "MatMul", "Conv", "MaxPool", "Concat", "ReduceSum", "Transpose", "Gather", "Reshape"]
        {
            assert!(!forms(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn forms_are_the_same_each_time() {
        let text = |f: &[Form]| format!("{f:?}");
        assert_eq!(text(&forms("Conv")), text(&forms("Conv")));
    }

    #[test]
    fn enumerated_attributes_take_the_documented_words() {
        assert!(forms("Conv").iter().any(|f| f.attrs.contains_key("auto_pad")));
    }
}
