//! Argument structures of operators: which operands, of which element types and ranks, with which attributes. Extents,
//! and those attributes and contents that enter extents, stay open as symbols.
//!
//! Forms are found by trying: operands and attributes are proposed from the operator's declaration, the calls of its
//! examples and forms found before are changed in a place or two, and the operator's rule says which fit. A form that it
//! accepts carries the conditions under which a call of it is valid.

use crate::choices::{Choices, Seeded, pick};
use crate::solve::Wish;
use crate::trace::{Argument, Call, Number, calls_of_examples};
use egret_ir::infer::{Inferred, infer_call};
use egret_ir::rule::Content;
use egret_ir::{Attr, Attrs, DType, Dim, Fact, Op, OpDef, Tensor, Type};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Greatest rank that is proposed.
const MAX_RANK: usize = 5;
/// Forms kept of one operator.
const FORMS: usize = 64;
/// Proposals for one operator; most operators have their forms long before.
const PROPOSALS: usize = 6000;
/// Proposals without a new form before an operator that has some is left.
const DRY: usize = 400;
/// Greatest extent, stride or element of a content.
const MAX_SIZE: i64 = 64;

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

impl Operand {
    /// Element type.
    pub fn dtype(&self) -> DType {
        match self {
            Operand::Tensor { dtype, .. } | Operand::Content { dtype, .. } => *dtype,
        }
    }
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

    /// The form of a call: its extents are opened, its attributes and the elements that it states are kept.
    fn of_call(def: &'static OpDef, call: &Call) -> Option<Form> {
        let operand = |a: &Argument| {
            let ints = |v: &Vec<Number>| {
                v.iter().map(|n| if let Number::Int(v) = n { Some(Dim::int(*v)) } else { None }).collect::<Option<_>>()
            };
            match a.values.as_ref().and_then(ints).filter(|_| matches!(a.dtype, DType::I32 | DType::I64)) {
                Some(elements) => Operand::Content { dtype: a.dtype, elements, scalar: a.shape.is_empty() },
                None => Operand::Tensor { dtype: a.dtype, rank: a.shape.len() },
            }
        };
        // A call without operands says nothing of types, unless there are none to be had.
        let known = !call.inputs.is_empty() || def.arity().1 == Some(0);
        let operands = call.inputs.iter().map(|a| a.as_ref().map(operand)).collect();
        known.then(|| Form { def, attrs: call.attrs.clone(), operands, n_outputs: call.n_outputs })
    }

    fn is(&self, other: &Form) -> bool {
        self.n_outputs == other.n_outputs && self.operands == other.operands && self.attrs == other.attrs
    }

    /// The rank of its first tensor.
    fn rank(&self) -> usize {
        let ranks = self.operands.iter().flatten();
        ranks.clone().find_map(|o| if let Operand::Tensor { rank, .. } = o { Some(*rank) } else { None }).unwrap_or(1)
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

/// The same for a tensor of three axes or more, whose elements are the product of many extents.
pub const NARROW: Wish = Wish { lo: 0, hi: MAX_SIZE, usual: &[1, 1, 2, 2, 3, 3, 4, 5, 1, 2, 3, 4, 2, 7, 8, 9, 17, 0] };

/// A seed that depends on the operator alone.
pub fn seed_of(domain: &str, name: &str) -> u64 {
    name.bytes().chain(domain.bytes()).fold(0u64, |h, b| h.wrapping_mul(0x100_0000_01b3) ^ u64::from(b))
}

/// Which forms are drawn: operators with many types and attributes have more forms than are kept at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Draw {
    /// A seed.
    pub seed: u64,
    /// The number of a list from it.
    pub turn: u64,
}

/// Forms of an operator on elements of these types that trying finds, with what its rule says of each; the same for the same
/// operator and draw.
pub fn forms_of(def: &'static OpDef, types: &Types, draw: Draw) -> Vec<(Form, Inferred)> {
    let mut choices = Seeded::new(seed_of(def.domain, def.name) ^ draw.seed.rotate_left(32), draw.turn);
    let mut shown: Vec<Form> = calls_of_examples(def).iter().filter_map(|c| Form::of_call(def, c)).collect();
    shown.retain(|f| fits(f, types).is_some());
    let mut forms: Vec<(Form, Inferred)> = Vec::new();
    let mut last = 0;
    for turn in 0..PROPOSALS {
        // An operator that refuses everything for long is left alone, and so is one that shows nothing new.
        if forms.len() >= FORMS || turn - last >= if forms.is_empty() { PROPOSALS / 2 } else { DRY } {
            break;
        }
        let known = shown.len() + forms.len();
        let form = if turn < shown.len() {
            shown[turn].clone()
        } else if known > 0 && choices.chance(2, 3) {
            let at = choices.below(known);
            changed(shown.get(at).unwrap_or_else(|| &forms[at - shown.len()].0), types, &mut choices)
        } else {
            propose(def, types, &mut choices)
        };
        if let Some(open) = fits(&form, types)
            && let Some((form, open)) = told(form, open)
            && types.has(&form)
            && !forms.iter().any(|(f, _)| f.is(&form))
        {
            forms.push((form, open));
            last = turn;
        }
    }
    forms
}

/// Lengths of contents that are tried, beside those that the form has.
const LENGTHS: &[usize] = &[1, 2, 3, 4];

/// The form with small integer operands as contents where the rule reads their elements: without them it could not say which
/// calls are valid, and next to none that are drawn would be. `None` where the rule refuses it whatever they are.
fn told(form: Form, open: Inferred) -> Option<(Form, Inferred)> {
    let small =
        |o: &Option<Operand>| matches!(o, Some(Operand::Tensor { dtype: DType::I32 | DType::I64, rank: 0 | 1 }));
    let at: Vec<usize> = (0..form.operands.len()).filter(|&i| small(&form.operands[i])).collect();
    if at.is_empty() {
        return Some((form, open));
    }
    let known = form.operands.iter().flatten().filter_map(|o| match o {
        Operand::Content { elements, scalar: false, .. } => Some(elements.len()),
        _ => None,
    });
    let mut lengths: Vec<usize> = known.chain([form.rank(), form.rank().saturating_sub(2)]).collect();
    lengths.extend(LENGTHS);
    let mut tried: Vec<usize> = Vec::new();
    // Whether some elements were refused for another reason than that they are symbols.
    let mut refused = true;
    for len in lengths {
        if tried.contains(&len) {
            continue;
        }
        tried.push(len);
        let mut told = form.clone();
        for &i in &at {
            if let Some(Operand::Tensor { dtype, rank }) = form.operands[i] {
                let n = if rank == 0 { 1 } else { len };
                let elements = (0..n).map(|k| Dim::sym(&format!("c{i}_{k}"))).collect();
                told.operands[i] = Some(Operand::Content { dtype, elements, scalar: rank == 0 });
            }
        }
        match asked(&told) {
            Some(Ok(seen)) if seen.deferred.is_some() => refused = false,
            Some(Ok(seen)) if seen.outputs.iter().all(|f| is_plain(&f.ty)) => {
                return Some(if reads(&seen, &told, &at) { (told, seen) } else { (form, open) });
            }
            _ => {}
        }
    }
    (!refused).then_some((form, open))
}

/// Whether what the rule says of a form speaks of the elements of these operands.
fn reads(seen: &Inferred, form: &Form, at: &[usize]) -> bool {
    let elements = at.iter().filter_map(|&i| form.operands[i].as_ref()).flat_map(|o| match o {
        Operand::Content { elements, .. } => elements.iter().flat_map(Dim::symbols).collect::<Vec<_>>(),
        Operand::Tensor { .. } => Vec::new(),
    });
    let elements: BTreeSet<Arc<str>> = elements.collect();
    let dims = seen.outputs.iter().filter_map(|f| f.ty.as_tensor()?.shape.dims()).flatten().flat_map(Dim::symbols);
    let conds = seen.assumptions.iter().flat_map(|a| a.cond.symbols());
    dims.chain(conds).any(|s| elements.contains(&s))
}

/// What the rule says of the form, where it accepts it for some extents, as far as it can tell.
fn fits(form: &Form, types: &Types) -> Option<Inferred> {
    let drawn = |dtype: DType| types.draws(dtype);
    if !form.operands.iter().flatten().all(|o| drawn(o.dtype())) {
        return None;
    }
    let open = asked(form)?.ok()?;
    let plain = |ty: &Type| ty.as_tensor().is_some_and(|t| drawn(t.dtype));
    (open.deferred.is_none() && open.outputs.iter().all(|f| plain(&f.ty))).then_some(open)
}

/// What the rule says of the form; `None` where its attributes are none.
fn asked(form: &Form) -> Option<egret_ir::Result<Inferred>> {
    let op = form.op()?;
    let facts: Vec<Option<Fact>> = (0..form.operands.len()).map(|i| form.open_fact(i)).collect();
    Some(infer_call(&*op, &facts, &[], form.n_outputs, &mut 0))
}

/// Whether it is a tensor of elements that can be drawn.
pub fn is_plain(ty: &Type) -> bool {
    ty.as_tensor().is_some_and(|t| DTYPES.contains(&t.dtype) || RARE.contains(&t.dtype))
}

/// Element types and ranks of forms.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Types {
    /// Not only numbers of 8 bits and more, and truth values: also integers of 2 and 4 bits, floats of 4 and 8 bits, texts.
    pub rare: bool,
    /// These element types only, where there are any. Shapes, axes and the like are integers all the same.
    pub only: Vec<DType>,
    /// Operands of these ranks only, where there are any.
    pub ranks: Vec<usize>,
}

impl Types {
    /// All element types.
    pub fn all() -> Types {
        Types { rare: true, ..Types::default() }
    }

    fn draw(&self, choices: &mut dyn Choices) -> DType {
        if !self.only.is_empty() {
            return *pick(choices, &self.only);
        }
        let rare = self.rare && choices.chance(1, 5);
        *pick(choices, if rare { RARE } else { DTYPES })
    }

    fn draw_rank(&self, choices: &mut dyn Choices) -> usize {
        if self.ranks.is_empty() { choices.below(MAX_RANK + 1) } else { *pick(choices, &self.ranks) }
    }

    /// Whether elements of this type are drawn at all.
    pub(crate) fn draws(&self, dtype: DType) -> bool {
        DTYPES.contains(&dtype) || (self.rare || self.only.contains(&dtype)) && RARE.contains(&dtype)
    }

    /// Whether a form's operands are of these types and ranks.
    pub(crate) fn has(&self, form: &Form) -> bool {
        let one = |o: &Operand| match o {
            Operand::Content { .. } => true,
            Operand::Tensor { dtype, rank } => {
                (self.only.is_empty() || self.only.contains(dtype))
                    && (self.ranks.is_empty() || self.ranks.contains(rank))
            }
        };
        form.operands.iter().flatten().all(one)
    }
}

/// Element types that few operators take.
const RARE: &[DType] = &[
    DType::I4,
    DType::I4,
    DType::U4,
    DType::U4,
    DType::I2,
    DType::U2,
    DType::F8E4M3FN,
    DType::F8E4M3FN,
    DType::F8E4M3FNUZ,
    DType::F8E5M2,
    DType::F8E5M2,
    DType::F8E5M2FNUZ,
    DType::F8E8M0,
    DType::F4E2M1,
    DType::String,
    DType::String,
    DType::String,
    DType::String,
];

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

/// Most results of an operator that gives any number.
const MANY: usize = 3;

fn propose(def: &'static OpDef, types: &Types, choices: &mut dyn Choices) -> Form {
    let (least, most) = def.arity();
    let most = most.unwrap_or(least.max(1) + 2);
    let n = least + choices.below(most - least + 1);
    let main = types.draw(choices);
    let rank = types.draw_rank(choices);
    // Most operators want all ranks equal, or one tensor with vectors beside it.
    let habit = choices.weighted(&[4, 3, 3]);
    let mut operands = Vec::new();
    for i in 0..n {
        if i >= least && i + 1 < n && choices.chance(1, 6) {
            operands.push(None);
            continue;
        }
        let rank_i = match (habit, i) {
            (_, 0) | (0, _) => rank,
            (1, _) => 1,
            _ => types.draw_rank(choices),
        };
        operands.push(Some(operand(def, i, (main, types), rank, rank_i, choices)));
    }
    let mut attrs = Attrs::new();
    for doc in def.attrs {
        let required = doc.default.is_empty();
        if !required && choices.chance(1, 2) || required && choices.chance(1, 3) {
            continue;
        }
        if let Some(value) = attribute(doc, rank, types, choices) {
            attrs.insert(doc.name.to_owned(), value);
        }
    }
    Form { def, attrs, operands, n_outputs: n_results(def, choices) }
}

/// An operand: mostly of the main element type; small integers may be contents.
fn operand(
    def: &'static OpDef,
    i: usize,
    (main, types): (DType, &Types),
    main_rank: usize,
    rank: usize,
    choices: &mut dyn Choices,
) -> Operand {
    let dtype = match choices.weighted(&[12, 3, 1, 2]) {
        0 => main,
        1 => DType::I64,
        2 => DType::Bool,
        _ => types.draw(choices),
    };
    let may_be_content = (i > 0 || def.inputs.contains("shape")) && matches!(dtype, DType::I64 | DType::I32);
    if may_be_content && choices.chance(2, 3) {
        content(i, dtype, main_rank, choices)
    } else {
        Operand::Tensor { dtype, rank }
    }
}

fn content(i: usize, dtype: DType, rank: usize, choices: &mut dyn Choices) -> Operand {
    let scalar = choices.chance(1, 5);
    let len = if scalar { 1 } else { *pick(choices, &[rank, 1, 2, rank * 2, 3, 0]) };
    let elements = if !scalar && len > 0 && choices.chance(1, 4) {
        axes(len, rank.max(len), choices)
    } else {
        let (least, most) = if dtype == DType::I32 { (i32::MIN.into(), i32::MAX.into()) } else { (i64::MIN, i64::MAX) };
        let one = |k: usize, choices: &mut dyn Choices| {
            // Exporters write the largest number for an end that is not known; sums with it overflow.
            if choices.chance(1, 12) {
                Dim::int(*pick(choices, &[most, most, most - 1, least, least + 1]))
            } else {
                integer(choices, &format!("c{i}_{k}"))
            }
        };
        (0..len).map(|k| one(k, choices)).collect()
    };
    Operand::Content { dtype, elements, scalar }
}

fn n_results(def: &'static OpDef, choices: &mut dyn Choices) -> usize {
    let (least, most) = def.n_results();
    let least = least.max(1);
    least + choices.below(most.unwrap_or(MANY).saturating_sub(least) + 1)
}

/// A form with another element type, rank, attribute, operand or number of results, or several of these.
fn changed(form: &Form, types: &Types, choices: &mut dyn Choices) -> Form {
    let mut form = form.clone();
    for _ in 0..1 + choices.below(3) {
        change(&mut form, types, choices);
    }
    form
}

fn change(form: &mut Form, types: &Types, choices: &mut dyn Choices) {
    let (def, rank) = (form.def, form.rank());
    let tensors: Vec<usize> =
        (0..form.operands.len()).filter(|&i| matches!(form.operands[i], Some(Operand::Tensor { .. }))).collect();
    let main = tensors.first().map_or(DType::F32, |&i| form.operands[i].as_ref().map_or(DType::F32, Operand::dtype));
    match choices.weighted(&[5, 3, 3, 2, 8, 1, 2]) {
        // Everything of one element type gets another.
        0 if !tensors.is_empty() => {
            let at = *pick(choices, &tensors);
            let (old, new) = (form.operands[at].as_ref().map(Operand::dtype), types.draw(choices));
            for operand in form.operands.iter_mut().flatten() {
                if let Operand::Tensor { dtype, .. } = operand
                    && Some(*dtype) == old
                {
                    *dtype = new;
                }
            }
            for attr in form.attrs.values_mut() {
                if matches!(attr, Attr::DType(d) if Some(*d) == old) {
                    *attr = Attr::DType(new);
                }
            }
        }
        // Everything of the main rank gets another, and lists as long as it was may.
        1 => {
            let new = choices.below(MAX_RANK + 1);
            for operand in form.operands.iter_mut().flatten() {
                if let Operand::Tensor { rank: r, .. } = operand
                    && *r == rank
                {
                    *r = new;
                }
            }
            for doc in def.attrs.iter().filter(|d| d.wanted == "integers") {
                if form.attrs.contains_key(doc.name)
                    && choices.chance(2, 3)
                    && let Some(value) = attribute(doc, new, types, choices)
                {
                    form.attrs.insert(doc.name.to_owned(), value);
                }
            }
        }
        2 if !tensors.is_empty() => {
            let at = *pick(choices, &tensors);
            if let Some(Operand::Tensor { rank, .. }) = &mut form.operands[at] {
                *rank = choices.below(MAX_RANK + 1);
            }
        }
        3 if !form.operands.is_empty() => {
            let at = choices.below(form.operands.len());
            if let Some(operand @ Operand::Content { .. }) = &mut form.operands[at] {
                let dtype = operand.dtype();
                *operand = if choices.chance(1, 4) {
                    Operand::Tensor { dtype, rank: 1 }
                } else {
                    content(at, dtype, rank, choices)
                };
            } else if let Some(operand @ Operand::Tensor { .. }) = &mut form.operands[at] {
                let small = matches!(operand, Operand::Tensor { dtype: DType::I32 | DType::I64, rank: 0 | 1 });
                *operand = match operand {
                    Operand::Tensor { dtype, .. } if small && choices.chance(2, 3) => {
                        content(at, *dtype, rank, choices)
                    }
                    Operand::Tensor { rank, .. } => Operand::Tensor { dtype: types.draw(choices), rank: *rank },
                    Operand::Content { .. } => return,
                };
            }
        }
        4 if !def.attrs.is_empty() => {
            let doc = pick(choices, def.attrs);
            if form.attrs.contains_key(doc.name) && choices.chance(1, 4) {
                form.attrs.remove(doc.name);
            } else if let Some(value) = attribute(doc, rank, types, choices) {
                form.attrs.insert(doc.name.to_owned(), value);
            }
        }
        5 => form.n_outputs = n_results(def, choices),
        _ => {
            let (least, most) = def.arity();
            let at = least + choices.below(most.unwrap_or(least.max(1) + 2) + 1 - least);
            if at < form.operands.len() {
                form.operands[at] = None;
                while form.operands.len() > least && form.operands.last() == Some(&None) {
                    form.operands.pop();
                }
            } else if most.is_none_or(|m| at < m) {
                form.operands.resize(at + 1, None);
                let rank_i = *pick(choices, &[rank, 1, 0, 2]);
                form.operands[at] = Some(operand(def, at, (main, types), rank, rank_i, choices));
                if most.is_none() {
                    // Operands of any number are all there.
                    for i in least..at {
                        form.operands[i] = form.operands[i].clone().or_else(|| form.operands[at].clone());
                    }
                }
            }
        }
    }
}

/// Different axes of a rank, in any order: all of them a permutation.
fn axes(len: usize, rank: usize, choices: &mut dyn Choices) -> Vec<Dim> {
    let mut all: Vec<i64> = (0..rank as i64).collect();
    for k in 0..all.len() {
        let other = k + choices.below(all.len() - k);
        all.swap(k, other);
    }
    let negative = choices.chance(1, 4);
    all.truncate(len);
    all.into_iter().map(|a| Dim::int(if negative { a - rank as i64 } else { a })).collect()
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

fn attribute(doc: &egret_ir::attr::AttrDoc, rank: usize, types: &Types, choices: &mut dyn Choices) -> Option<Attr> {
    let float = |choices: &mut dyn Choices| *pick(choices, &[0.5f32, 1.0, 0.0, 2.0, -1.5, 0.1, 1e-5]);
    Some(match doc.wanted {
        "an integer" => Attr::Int(if choices.chance(1, 2) {
            Dim::int(choices.below(rank + 3) as i64 - rank.min(2) as i64)
        } else {
            integer(choices, &format!("a_{}", doc.name))
        }),
        "0 or 1" => Attr::from(choices.chance(1, 2)),
        "a float" => Attr::Float(float(choices)),
        "a string" => Attr::String(word(doc, choices)?),
        "strings" => {
            let len = *pick(choices, &[1, 2, 3, 6]);
            Attr::Strings((0..len).map(|_| word(doc, choices)).collect::<Option<_>>()?)
        }
        "integers" => {
            let spatial = rank.saturating_sub(2);
            let len = *pick(choices, &[spatial, spatial * 2, rank, 1, 2, rank * 2]);
            if len > 0 && choices.chance(1, 4) {
                // Axes count from the end where the rank is unknown to the list; permutations do not.
                let mut list = axes(len, rank.max(len), choices);
                if len == rank {
                    list.iter_mut().for_each(|a| *a = a.modulo(&Dim::int(rank as i64)));
                }
                return Some(Attr::Ints(list));
            }
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
        "an element type" => Attr::DType(types.draw(choices)),
        "a tensor" => Attr::Tensor(Tensor::from_slice(&[1], &[float(choices)])),
        _ => return None,
    })
}

/// One of the values that a text may have, if there is a list of them.
fn word(doc: &egret_ir::attr::AttrDoc, choices: &mut dyn Choices) -> Option<String> {
    let words: Vec<&str> = doc.words().collect();
    (!words.is_empty()).then(|| (*pick(choices, &words)).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::ops;

    fn forms(name: &str) -> Vec<Form> {
        forms_of(ops::find("ai.onnx", name).unwrap(), &Types::default(), Draw::default())
            .into_iter()
            .map(|(form, _)| form)
            .collect()
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
    fn rare_element_types_are_where_they_are_wanted() {
        let rare = |types: &Types| {
            let forms = forms_of(ops::find("ai.onnx", "Identity").unwrap(), types, Draw::default());
            let all = forms.into_iter().flat_map(|(f, _)| f.operands).flatten().map(|o| o.dtype());
            all.filter(|d| RARE.contains(d)).collect::<BTreeSet<_>>()
        };
        assert!(rare(&Types::default()).is_empty());
        assert!(rare(&Types::all()).len() > 3 && rare(&Types::all()).contains(&DType::String));
    }

    #[test]
    fn other_draws_have_other_forms() {
        let pairs = |turn| {
            let forms = forms_of(ops::find("ai.onnx", "Cast").unwrap(), &Types::default(), Draw { seed: 1, turn });
            let pair = |f: &Form| format!("{:?} {:?}", f.operands[0].as_ref().map(Operand::dtype), f.attrs.get("to"));
            forms.iter().map(|(f, _)| pair(f)).collect::<BTreeSet<_>>()
        };
        let once = pairs(0);
        assert!((10..80).contains(&once.len()), "{}", once.len());
        // There are 13 element types.
        assert!((0..40).flat_map(pairs).collect::<BTreeSet<_>>().len() > 160);
    }

    #[test]
    fn forms_are_the_same_each_time() {
        let text = |f: &[Form]| format!("{f:?}");
        assert_eq!(text(&forms("Conv")), text(&forms("Conv")));
    }

    #[test]
    fn enumerated_attributes_take_every_documented_word() {
        let lists = [("Conv", "auto_pad"), ("ScatterND", "reduction"), ("Pad", "mode"), ("DepthToSpace", "mode")];
        for (name, attr) in lists {
            let forms = forms(name);
            let def = ops::find("ai.onnx", name).unwrap();
            for word in def.attrs.iter().find(|d| d.name == attr).unwrap().words() {
                // What is left out has its default.
                let there = |f: &Form| matches!(f.attrs.get(attr), Some(Attr::String(w)) if w == word);
                let default = def.attrs.iter().any(|d| d.name == attr && d.default.contains(word));
                assert!(default || forms.iter().any(there), "{name} {attr} {word}");
            }
        }
    }
}
