//! Argument structures: an operator with everything settled but integers.
//!
//! A structure fixes which operands are given, their element types and ranks, every attribute that is no open integer,
//! and the number of results. What is left is a list of integer variables: extents, integer attributes, and elements of
//! operands whose elements decide the types of results. A rule is inferred for one structure.

use crate::trace::{Argument, Call, Number};
use crate::trace::{attr, attr_json, dtype};
use anyhow::{Context, Result, ensure};
use egret_ir::rule::MAX_RANK;
use egret_ir::{Attr, Attrs, DType, Dim, OpDef};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// An element of an operand whose elements matter, or of an attribute.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Slot {
    /// Open: of an operand at least 1, of an attribute at least 0.
    Free,
    /// A number.
    Pin(i64),
    /// A number of a float operand.
    PinFloat(f64),
}

/// An operand.
#[derive(Clone, PartialEq, Debug)]
pub struct ArgSlot {
    /// Element type.
    pub dtype: DType,
    /// What of it is settled.
    pub kind: ArgKind,
}

/// What of an operand is settled.
#[derive(Clone, PartialEq, Debug)]
pub enum ArgKind {
    /// The rank; extents are open, elements do not matter.
    Tensor(usize),
    /// All but some elements: a vector, or a scalar (then there is one).
    Content {
        /// Whether the rank is 0 and not 1.
        scalar: bool,
        /// Its elements.
        slots: Vec<Slot>,
    },
}

/// An attribute.
#[derive(Clone, PartialEq, Debug)]
pub enum AttrSlot {
    /// Settled.
    Fixed(Attr),
    /// An open integer.
    Int,
    /// So many open integers.
    Ints(usize),
    /// Integers of which those that are not settled are open and at least 0: where negative ones have a meaning of their own.
    Signed {
        /// Whether it is one integer and no list.
        scalar: bool,
        /// Its integers.
        slots: Vec<Slot>,
    },
}

/// An operator with everything settled but integers.
#[derive(Clone, PartialEq, Debug)]
pub struct Structure {
    /// Domain, `ai.onnx` written out.
    pub domain: String,
    /// ONNX name.
    pub op: String,
    /// Names of the operands given or not, for texts.
    pub names: Vec<String>,
    /// Whether calls name their operands.
    pub by_name: bool,
    /// Operands; `None` is left out.
    pub args: Vec<Option<ArgSlot>>,
    /// Attributes; what is not listed is left out.
    pub attrs: BTreeMap<String, AttrSlot>,
    /// Results that the call names.
    pub n_outputs: usize,
}

/// What a variable is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VarKind {
    /// An extent: operand, axis.
    Extent(usize, usize),
    /// An element: operand, index.
    Element(usize, usize),
    /// An integer attribute, or an element of a list.
    Attr(String, Option<usize>),
}

/// An open integer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Var {
    /// As texts name it: `X[2]`, `strides[0]`, `group`.
    pub name: String,
    /// What it is.
    pub kind: VarKind,
    least: i64,
}

impl Var {
    /// A variable of any numbers of its kind: extents from 0 on, elements from 1 on, all numbers of an attribute.
    pub fn new(name: String, kind: VarKind) -> Var {
        let least = match kind {
            VarKind::Extent(..) => 0,
            VarKind::Element(..) => 1,
            VarKind::Attr(..) => i64::MIN,
        };
        Var { name, kind, least }
    }

    /// Least value that the structure speaks of.
    pub fn least(&self) -> i64 {
        self.least
    }

    /// The list that it belongs to, for products and sums: its name without the index.
    pub fn list(&self) -> &str {
        self.name.split('[').next().unwrap_or(&self.name)
    }
}

/// Names of an operator's operands: the declared ones, a repeated one numbered.
pub fn operand_names(def: &OpDef, n: usize) -> Vec<String> {
    let declared = def.inputs.split(',').map(str::trim).filter(|s| !s.is_empty());
    let declared: Vec<(&str, bool)> = declared.map(|s| (s.trim_end_matches(['?', '*']), s.ends_with('*'))).collect();
    numbered(&declared, n, "")
}

/// Names of `n` operands: the declared ones, a repeated one with `dot` and its number.
pub fn numbered(declared: &[(&str, bool)], n: usize, dot: &str) -> Vec<String> {
    let fixed = declared.len().saturating_sub(1);
    let name = |i: usize| match declared.get(i.min(fixed)) {
        Some((name, true)) => format!("{name}{dot}{}", i.saturating_sub(fixed)),
        Some((name, false)) => (*name).to_owned(),
        None => format!("x{i}"),
    };
    (0..n).map(name).collect()
}

impl Structure {
    /// Its variables: extents by operand, elements by operand, attributes by name.
    pub fn vars(&self) -> Vec<Var> {
        let mut vars = Vec::new();
        for (i, arg) in self.args.iter().enumerate() {
            if let Some(ArgSlot { kind: ArgKind::Tensor(rank), .. }) = arg {
                vars.extend((0..*rank).map(|a| (format!("{}[{a}]", self.names[i]), VarKind::Extent(i, a))));
            }
        }
        for (i, arg) in self.args.iter().enumerate() {
            if let Some(ArgSlot { kind: ArgKind::Content { slots, .. }, .. }) = arg {
                let open = (0..slots.len()).filter(|&k| slots[k] == Slot::Free);
                vars.extend(open.map(|k| (format!("{}[{k}]", self.names[i]), VarKind::Element(i, k))));
            }
        }
        for (name, slot) in &self.attrs {
            // An attribute may be called like an operand.
            let word = if self.names.contains(name) { format!("attr.{name}") } else { name.clone() };
            match slot {
                AttrSlot::Fixed(_) => {}
                AttrSlot::Int => vars.push((word, VarKind::Attr(name.clone(), None))),
                AttrSlot::Ints(n) => {
                    vars.extend((0..*n).map(|k| (format!("{word}[{k}]"), VarKind::Attr(name.clone(), Some(k)))));
                }
                AttrSlot::Signed { scalar: true, slots } => {
                    vars.extend(slots.contains(&Slot::Free).then(|| (word, VarKind::Attr(name.clone(), None))));
                }
                AttrSlot::Signed { slots, .. } => {
                    let open = (0..slots.len()).filter(|&k| slots[k] == Slot::Free);
                    vars.extend(open.map(|k| (format!("{word}[{k}]"), VarKind::Attr(name.clone(), Some(k)))));
                }
            }
        }
        let signed = |kind: &VarKind| match kind {
            VarKind::Attr(name, _) => matches!(self.attrs.get(name), Some(AttrSlot::Signed { .. })),
            _ => false,
        };
        vars.into_iter()
            .map(|(name, kind)| {
                let var = Var::new(name, kind);
                if signed(&var.kind) { Var { least: 0, ..var } } else { var }
            })
            .collect()
    }

    /// The call with numbers for all variables.
    pub fn call(&self, vars: &[Var], at: &[i64]) -> Call {
        let mut inputs: Vec<Option<Argument>> = self
            .args
            .iter()
            .map(|arg| {
                arg.as_ref().map(|a| match &a.kind {
                    ArgKind::Tensor(rank) => Argument { dtype: a.dtype, shape: vec![0; *rank], values: None },
                    ArgKind::Content { scalar, slots } => {
                        let number = |s: &Slot| match *s {
                            Slot::Free => Number::Int(0),
                            Slot::Pin(v) => Number::Int(v),
                            Slot::PinFloat(v) => Number::Float(v),
                        };
                        let shape = if *scalar { Vec::new() } else { vec![slots.len() as i64] };
                        Argument { dtype: a.dtype, shape, values: Some(slots.iter().map(number).collect()) }
                    }
                })
            })
            .collect();
        let mut attrs: Attrs = self
            .attrs
            .iter()
            .map(|(name, slot)| {
                let value = match slot {
                    AttrSlot::Fixed(a) => a.clone(),
                    AttrSlot::Int => Attr::from(0),
                    AttrSlot::Ints(n) => Attr::Ints(vec![Dim::ZERO; *n]),
                    AttrSlot::Signed { scalar: true, slots } => Attr::from(settled(slots.first())),
                    AttrSlot::Signed { slots, .. } => {
                        Attr::Ints(slots.iter().map(|s| Dim::int(settled(Some(s)))).collect())
                    }
                };
                (name.clone(), value)
            })
            .collect();
        for (var, &v) in vars.iter().zip(at) {
            match &var.kind {
                VarKind::Extent(i, a) => {
                    if let Some(Some(arg)) = inputs.get_mut(*i) {
                        arg.shape[*a] = v;
                    }
                }
                VarKind::Element(i, k) => {
                    if let Some(Some(Argument { values: Some(values), .. })) = inputs.get_mut(*i) {
                        values[*k] = Number::Int(v);
                    }
                }
                VarKind::Attr(name, k) => match (attrs.get_mut(name), k) {
                    (Some(Attr::Ints(list)), Some(k)) => list[*k] = Dim::int(v),
                    (Some(a), _) => *a = Attr::from(v),
                    (None, _) => {}
                },
            }
        }
        let mut operands = Vec::new();
        if self.by_name {
            operands = self.names[..inputs.len()].to_vec();
        }
        Call { domain: self.domain.clone(), op: self.op.clone(), attrs, operands, inputs, n_outputs: self.n_outputs }
    }

    /// The structures that this one falls into where the sign of an open attribute matters: all open ones at least 0, and each
    /// number of one settled at -1 or -2. None where no attribute is open.
    pub fn by_sign(&self) -> Vec<Structure> {
        let mut all = self.clone();
        for slot in all.attrs.values_mut() {
            let (scalar, n) = match slot {
                AttrSlot::Int => (true, 1),
                AttrSlot::Ints(n) => (false, *n),
                _ => continue,
            };
            *slot = AttrSlot::Signed { scalar, slots: vec![Slot::Free; n] };
        }
        if all == *self {
            return Vec::new();
        }
        let mut out = vec![all.clone()];
        for (name, slot) in &all.attrs {
            let AttrSlot::Signed { slots, .. } = slot else { continue };
            for (k, v) in (0..slots.len()).flat_map(|k| [(k, -1), (k, -2)]) {
                let mut one = all.clone();
                if let Some(AttrSlot::Signed { slots, .. }) = one.attrs.get_mut(name) {
                    slots[k] = Slot::Pin(v);
                }
                out.push(one);
            }
        }
        out
    }

    /// The structure of a call. Integer attributes that `open` names are open, and so are elements that are at least 1, unless
    /// the operand names axes.
    pub fn of_call(call: &Call, names: Vec<String>, open: impl Fn(&str) -> bool) -> Structure {
        let arg = |(i, a): (usize, &Option<Argument>)| {
            let a = a.as_ref()?;
            let axes = names[i].contains("ax");
            let slot = |n: &Number| match *n {
                Number::Int(v) if v >= 1 && !axes => Slot::Free,
                Number::Int(v) => Slot::Pin(v),
                Number::Float(v) => Slot::PinFloat(v),
            };
            let kind = match &a.values {
                Some(v) => ArgKind::Content { scalar: a.shape.is_empty(), slots: v.iter().map(slot).collect() },
                None => ArgKind::Tensor(a.shape.len()),
            };
            Some(ArgSlot { dtype: a.dtype, kind })
        };
        let attr = |(name, a): (&String, &Attr)| {
            let slot = match a {
                Attr::Int(_) if open(name) => AttrSlot::Int,
                Attr::Ints(list) if open(name) => AttrSlot::Ints(list.len()),
                other => AttrSlot::Fixed(other.clone()),
            };
            (name.clone(), slot)
        };
        Structure {
            domain: call.domain.clone(),
            op: call.op.clone(),
            args: call.inputs.iter().enumerate().map(arg).collect(),
            attrs: call.attrs.iter().map(attr).collect(),
            n_outputs: call.n_outputs,
            by_name: !call.operands.is_empty(),
            names,
        }
    }

    /// Numbers of the variables as a call of as many operands of the same ranks has them; 1 where it says nothing.
    pub fn assignment(&self, vars: &[Var], call: &Call) -> Option<Vec<i64>> {
        let fits = |(ours, theirs): (&Option<ArgSlot>, &Option<Argument>)| match (ours, theirs) {
            (None, None) => true,
            (Some(ArgSlot { kind: ArgKind::Tensor(rank), .. }), Some(a)) => a.shape.len() == *rank,
            (Some(ArgSlot { kind: ArgKind::Content { .. }, .. }), Some(a)) => a.shape.len() <= 1,
            _ => false,
        };
        if self.args.len() != call.inputs.len() || !self.args.iter().zip(&call.inputs).all(fits) {
            return None;
        }
        Some(self.like(vars, call))
    }

    /// Numbers of the variables as a call of any operands has them; 1 where it says nothing.
    pub fn like(&self, vars: &[Var], call: &Call) -> Vec<i64> {
        let argument = |i: usize| call.inputs.get(i).and_then(Option::as_ref);
        let number = |v: &Var| match &v.kind {
            VarKind::Extent(i, a) => argument(*i).and_then(|x| x.shape.get(*a).copied()),
            VarKind::Element(i, k) => {
                let values = argument(*i).and_then(|x| x.values.as_ref());
                values.and_then(|v| v.get(*k)).map(|n| n.int().max(1))
            }
            VarKind::Attr(name, k) => match (call.attrs.get(name), k) {
                (Some(Attr::Int(d)), None) => d.as_int(),
                (Some(Attr::Ints(list)), Some(k)) => list.get(*k).and_then(Dim::as_int),
                _ => None,
            },
        };
        vars.iter().map(|v| number(v).unwrap_or(1)).collect()
    }

    /// One line: `Conv(X: f32[3], W: f32[3]) {auto_pad = "VALID", strides = 1 open}`; the number in brackets is the rank.
    pub fn text(&self) -> String {
        let args: Vec<String> = self
            .args
            .iter()
            .zip(&self.names)
            .map(|(a, name)| match a {
                None => "none".into(),
                Some(ArgSlot { dtype, kind: ArgKind::Tensor(rank) }) => format!("{name}: {dtype} rank {rank}"),
                Some(ArgSlot { dtype, kind: ArgKind::Content { scalar, slots } }) => {
                    let list = slots.iter().map(slot_text).collect::<Vec<_>>().join(", ");
                    if *scalar { format!("{name}: {dtype} {list}") } else { format!("{name}: {dtype} [{list}]") }
                }
            })
            .collect();
        let attrs: Vec<String> = self
            .attrs
            .iter()
            .map(|(name, slot)| match slot {
                AttrSlot::Fixed(a) => format!("{name} = {}", attr_json(a)),
                AttrSlot::Int => format!("{name} = ?"),
                AttrSlot::Ints(n) => format!("{name} = [{}]", vec!["?"; *n].join(", ")),
                AttrSlot::Signed { scalar, slots } => {
                    let slot = |s: &Slot| if *s == Slot::Free { "? >= 0".to_owned() } else { slot_text(s) };
                    let list = slots.iter().map(slot).collect::<Vec<_>>().join(", ");
                    if *scalar { format!("{name} = {list}") } else { format!("{name} = [{list}]") }
                }
            })
            .collect();
        let attrs = if attrs.is_empty() { String::new() } else { format!(" {{{}}}", attrs.join(", ")) };
        let results = if self.n_outputs == 1 { String::new() } else { format!(" -> {} results", self.n_outputs) };
        format!("{}({}){attrs}{results}", self.op, args.join(", "))
    }

    /// As JSON.
    pub fn json(&self) -> Json {
        let args: Vec<Json> = self
            .args
            .iter()
            .map(|a| match a {
                None => Json::Null,
                Some(ArgSlot { dtype, kind: ArgKind::Tensor(rank) }) => json!({ "dtype": dtype.name(), "rank": rank }),
                Some(ArgSlot { dtype, kind: ArgKind::Content { scalar, slots } }) => {
                    let list: Vec<Json> = slots.iter().map(slot_json).collect();
                    json!({ "dtype": dtype.name(), "values": list, "scalar": scalar })
                }
            })
            .collect();
        let attrs: serde_json::Map<String, Json> = self
            .attrs
            .iter()
            .map(|(name, slot)| {
                let value = match slot {
                    AttrSlot::Fixed(a) => attr_json(a),
                    AttrSlot::Int => json!({ "open": "integer" }),
                    AttrSlot::Ints(n) => json!({ "open": n }),
                    AttrSlot::Signed { scalar, slots } => {
                        json!({ "open": "at least 0", "values": slots.iter().map(slot_json).collect::<Vec<_>>(),
                                "scalar": scalar })
                    }
                };
                (name.clone(), value)
            })
            .collect();
        let mut out = json!({ "domain": self.domain, "op": self.op, "names": self.names, "args": args, "attrs": attrs,
                              "n_outputs": self.n_outputs });
        if self.by_name {
            out["by_name"] = json!(true);
        }
        out
    }

    /// Reads the JSON.
    ///
    /// # Errors
    /// When it is no structure.
    pub fn from_json(json: &Json) -> Result<Structure> {
        let text = |key: &str| json[key].as_str().map(str::to_owned).with_context(|| format!("no `{key}`"));
        let list = |key: &str| json[key].as_array().with_context(|| format!("no list `{key}`"));
        let name = |n: &Json| n.as_str().map(str::to_owned).context("a name is no text");
        let names: Vec<String> = list("names")?.iter().map(name).collect::<Result<_>>()?;
        let arg = |a: &Json| -> Result<Option<ArgSlot>> {
            if a.is_null() {
                return Ok(None);
            }
            let kind = match a["values"].as_array() {
                Some(values) => {
                    ArgKind::Content { scalar: a["scalar"] == true, slots: values.iter().map(slot_of).collect() }
                }
                None => {
                    let rank = a["rank"].as_u64().context("an operand has no rank")?;
                    ensure!(rank <= MAX_RANK as u64, "an operand of rank {rank}, {MAX_RANK} is the highest");
                    ArgKind::Tensor(rank as usize)
                }
            };
            Ok(Some(ArgSlot { dtype: dtype(&a["dtype"])?, kind }))
        };
        let mut attrs = BTreeMap::new();
        for (name, value) in json["attrs"].as_object().into_iter().flatten() {
            let slot = match &value["open"] {
                Json::Null => AttrSlot::Fixed(attr(value)?),
                Json::Number(n) => AttrSlot::Ints(n.as_u64().unwrap_or(0).min(64) as usize),
                _ => match value["values"].as_array() {
                    None => AttrSlot::Int,
                    Some(values) => {
                        let scalar = value["scalar"] == true;
                        ensure!(
                            values.len() <= 64 && (!scalar || values.len() == 1),
                            "{name} has {} numbers",
                            values.len()
                        );
                        AttrSlot::Signed { scalar, slots: values.iter().map(slot_of).collect() }
                    }
                },
            };
            attrs.insert(name.clone(), slot);
        }
        let args: Vec<Option<ArgSlot>> = list("args")?.iter().map(arg).collect::<Result<_>>()?;
        ensure!(names.len() >= args.len(), "{} names for {} operands", names.len(), args.len());
        Ok(Structure {
            domain: text("domain")?,
            op: text("op")?,
            names,
            by_name: json["by_name"] == true,
            args,
            attrs,
            n_outputs: json["n_outputs"].as_u64().unwrap_or(1) as usize,
        })
    }
}

/// The number of an attribute's slot, 0 where it is open.
fn settled(slot: Option<&Slot>) -> i64 {
    if let Some(Slot::Pin(v)) = slot { *v } else { 0 }
}

fn slot_text(s: &Slot) -> String {
    match s {
        Slot::Free => "?".to_owned(),
        Slot::Pin(v) => v.to_string(),
        Slot::PinFloat(v) => format!("{v:?}"),
    }
}

fn slot_json(s: &Slot) -> Json {
    match s {
        Slot::Free => json!("?"),
        Slot::Pin(v) => json!(v),
        Slot::PinFloat(v) => json!(v),
    }
}

fn slot_of(json: &Json) -> Slot {
    match (json.as_i64(), json.as_f64()) {
        (Some(v), _) => Slot::Pin(v),
        (None, Some(v)) => Slot::PinFloat(v),
        (None, None) => Slot::Free,
    }
}

/// Names of variables, as terms are written with.
pub fn var_names(vars: &[Var]) -> Vec<String> {
    vars.iter().map(|v| v.name.clone()).collect()
}
