//! What is said of an operator before it is run: its operands, its attributes and calls to start from. The registry says it of
//! its operators; of others records of calls do, so that rules are inferred for a runtime's custom operator or a function of
//! PyTorch as well.

use super::structure::numbered;
use crate::blackbox::BlackBox;
use crate::form::seed_of;
use crate::trace::{Call, Outcome, Record, calls_shown};
use egret_ir::attr::AttrDoc;
use egret_ir::{Attr, Attrs, OpDef};
use std::collections::{BTreeMap, BTreeSet};

/// Recorded calls that are looked at to find attributes that number axes, at most.
const LOOKED_AT: usize = 20;

/// What is said of an operator.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Domain, `ai.onnx` written out.
    pub domain: String,
    /// Its name.
    pub op: String,
    /// Operands in order.
    pub operands: Vec<Operand>,
    /// Whether calls name their operands.
    pub by_name: bool,
    /// Whether only records tell of it: what its attributes mean for negative numbers nobody has said.
    pub recorded: bool,
    /// Attributes.
    pub attrs: Vec<Attribute>,
    /// Least and largest number of results that a call may ask for (`None`: any).
    pub results: (usize, Option<usize>),
    /// Calls to start from, the most telling first.
    pub calls: Vec<Call>,
}

/// An operand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operand {
    /// As texts name it.
    pub name: String,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it is any number of operands; such a one is the last.
    pub many: bool,
}

/// What an attribute may be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wanted {
    /// An integer.
    Int,
    /// 0 or 1.
    Flag,
    /// A float.
    Float,
    /// A text.
    Text,
    /// An element type.
    DType,
    /// Integers.
    Ints,
    /// A graph.
    Graph,
    /// What inference leaves alone.
    Other,
}

/// An attribute.
#[derive(Clone, PartialEq, Debug)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// What it may be: one kind, or both an integer and integers.
    pub wanted: Vec<Wanted>,
    /// Whether it must be given.
    pub required: bool,
    /// Whether its integers may be any and enter the extents; others are chosen from few.
    pub open: bool,
    /// Whether it names axes.
    pub axis: bool,
    /// Texts that it may be.
    pub words: Vec<String>,
}

impl Attribute {
    /// As an operator of the registry declares it. The words that a documentation puts between backquotes are the values that a
    /// text may have.
    fn of_doc(doc: &AttrDoc) -> Attribute {
        let wanted = match doc.wanted {
            "an integer" => Wanted::Int,
            "0 or 1" => Wanted::Flag,
            "a float" => Wanted::Float,
            "a string" => Wanted::Text,
            "an element type" => Wanted::DType,
            "integers" => Wanted::Ints,
            "a graph" => Wanted::Graph,
            _ => Wanted::Other,
        };
        let axis = ["axis", "axes"].iter().any(|w| doc.name.contains(w)) || doc.name == "perm";
        Attribute {
            name: doc.name.into(),
            wanted: vec![wanted],
            required: doc.required,
            open: doc.open,
            axis: axis || doc.name.ends_with("_dim"),
            words: doc.words().map(str::to_owned).collect(),
        }
    }
}

/// Whether an attribute of this name numbers axes, as the frameworks have it.
fn names_axes(name: &str) -> bool {
    let dim = name.split('_').any(|w| matches!(w.trim_end_matches(|c: char| c.is_ascii_digit()), "dim" | "dims"));
    dim || ["axis", "axes", "perm"].iter().any(|w| name.contains(w))
}

impl Declaration {
    /// What the registry says of an operator, with the calls of its examples.
    pub fn of_def(def: &OpDef) -> Declaration {
        let operand = |text: &str| Operand {
            name: text.trim_end_matches(['?', '*']).to_owned(),
            optional: text.ends_with('?'),
            many: text.ends_with('*'),
        };
        Declaration {
            domain: def.domain.into(),
            op: def.name.into(),
            operands: def.inputs.split(',').map(str::trim).filter(|s| !s.is_empty()).map(operand).collect(),
            by_name: false,
            recorded: false,
            attrs: def.attrs.iter().map(Attribute::of_doc).collect(),
            results: def.n_results(),
            calls: calls_shown(def),
        }
    }

    /// What records say of the operators in them, each by itself, in the order of their first calls.
    pub fn of_records(records: &[Record]) -> Vec<Declaration> {
        let mut order: Vec<(&str, &str)> = Vec::new();
        let mut by_op: BTreeMap<(&str, &str), Vec<&Record>> = BTreeMap::new();
        for r in records {
            let key = (&*r.call.domain, &*r.call.op);
            let list = by_op.entry(key).or_default();
            if list.is_empty() {
                order.push(key);
            }
            list.push(r);
        }
        order.iter().map(|key| Declaration::of_calls(&by_op[key])).collect()
    }

    /// What records of one operator say; there is at least one.
    fn of_calls(records: &[&Record]) -> Declaration {
        let valid: Vec<&Record> = records.iter().copied().filter(|r| matches!(r.outcome, Outcome::Valid(_))).collect();
        let by_name = records.iter().any(|r| !r.call.operands.is_empty());
        let operands = operands(records, &valid);
        // A function's results are what its arguments make them; it is asked for none.
        let counts = |f: fn(usize, usize) -> usize| valid.iter().map(|r| r.call.n_outputs).reduce(f).unwrap_or(1);
        let results = if by_name { (1, Some(1)) } else { (counts(usize::min), Some(counts(usize::max))) };
        let mut calls: Vec<Call> = Vec::new();
        for r in &valid {
            let call = laid_out(&r.call, &operands, by_name);
            if !calls.contains(&call) {
                calls.push(call);
            }
        }
        let Call { domain, op, .. } = &records[0].call;
        let attrs = attributes(records, &valid);
        let (domain, op) = (domain.clone(), op.clone());
        Declaration { domain, op, operands, by_name, recorded: true, attrs, results, calls }
    }

    /// With attributes that turn out to number axes, whatever they are called: beside an operand of rank `r` in a valid call,
    /// they may be `-r` and `r - 1` and nothing beyond.
    pub fn with_axes_found(&self, system: &mut dyn BlackBox) -> Declaration {
        let mut of = self.clone();
        for attr in of.attrs.iter_mut().filter(|a| a.open && a.wanted == [Wanted::Int]) {
            let mut seen = 0;
            let mut is_axis = |call: &Call| {
                let rank = call.inputs.iter().flatten().next().map_or(0, |a| a.shape.len() as i64);
                if rank < 2 || !call.attrs.contains_key(&attr.name) {
                    return true;
                }
                seen += 1;
                [(-rank - 1, false), (-rank, true), (rank - 1, true), (rank, false)].into_iter().all(|(v, valid)| {
                    let mut call = call.clone();
                    call.attrs.insert(attr.name.clone(), Attr::from(v));
                    matches!(system.call(&call), Outcome::Valid(_)) == valid
                })
            };
            let all = self.calls.iter().take(LOOKED_AT).all(&mut is_axis);
            if all && seen > 0 {
                (attr.axis, attr.open) = (true, false);
            }
        }
        of
    }

    /// The names of so many operands, a repeated one numbered.
    pub fn operand_names(&self, n: usize) -> Vec<String> {
        let declared: Vec<(&str, bool)> = self.operands.iter().map(|o| (&*o.name, o.many)).collect();
        numbered(&declared, n, if self.by_name { "." } else { "" })
    }

    /// A number that follows from its name, for what is drawn.
    pub fn seed(&self) -> u64 {
        seed_of(&self.domain, &self.op)
    }

    /// Whether an attribute holds a graph.
    pub fn has_bodies(&self) -> bool {
        self.attrs.iter().any(|a| a.wanted.contains(&Wanted::Graph))
    }
}

/// The operands of recorded calls: those named, lists last; without names as many as a call has at most.
fn operands(records: &[&Record], valid: &[&Record]) -> Vec<Operand> {
    let mut out: Vec<Operand> = Vec::new();
    for name in records.iter().flat_map(|r| &r.call.operands) {
        let (name, many) = name.split_once('.').map_or((&**name, false), |(list, _)| (list, true));
        if !out.iter().any(|o| o.name == name) {
            out.push(Operand { name: name.to_owned(), optional: false, many });
        }
    }
    out.sort_by_key(|o| o.many);
    let most = records.iter().map(|r| r.call.inputs.len()).max().unwrap_or(0);
    if out.is_empty() {
        out = (0..most).map(|k| Operand { name: format!("x{k}"), optional: false, many: false }).collect();
    }
    for (k, o) in out.iter_mut().enumerate() {
        let has = |r: &&Record| match r.call.operands.is_empty() {
            true => r.call.inputs.get(k).is_some_and(Option::is_some),
            false => r.call.operands.iter().any(|n| n.split('.').next() == Some(&*o.name)),
        };
        o.optional = !o.many && !valid.iter().all(has);
    }
    out
}

/// A recorded call with its operands in the declared order.
fn laid_out(call: &Call, operands: &[Operand], by_name: bool) -> Call {
    if !by_name {
        return call.clone();
    }
    let mut inputs = Vec::new();
    let mut names = Vec::new();
    for o in operands {
        let is = |n: &String| n.split('.').next() == Some(&*o.name);
        let mine: Vec<usize> = (0..call.operands.len()).filter(|&k| is(&call.operands[k])).collect();
        if mine.is_empty() && !o.many {
            inputs.push(None);
            names.push(o.name.clone());
        }
        for k in mine {
            inputs.push(call.inputs[k].clone());
            names.push(call.operands[k].clone());
        }
    }
    while inputs.last().is_some_and(Option::is_none) {
        inputs.pop();
        names.pop();
    }
    Call { inputs, operands: names, n_outputs: 1, ..call.clone() }
}

/// The attributes of recorded calls: those given, and those of which a default or that they are truth values is recorded.
fn attributes(records: &[&Record], valid: &[&Record]) -> Vec<Attribute> {
    let mut seen: BTreeMap<&str, Vec<&Attr>> = BTreeMap::new();
    let mut flags: BTreeSet<&str> = BTreeSet::new();
    for r in records {
        for (name, a) in r.call.attrs.iter().chain(&r.defaults) {
            seen.entry(name).or_default().push(a);
        }
        for name in &r.flags {
            seen.entry(name).or_default();
            flags.insert(name);
        }
    }
    let given = |name: &str, list: fn(&Record) -> &Attrs| valid.iter().filter(|r| list(r).contains_key(name)).count();
    seen.iter()
        .map(|(&name, values)| {
            let mut wanted: Vec<Wanted> = values.iter().map(|a| kind(a)).collect();
            if flags.contains(name) {
                wanted = vec![Wanted::Flag];
            } else if wanted.contains(&Wanted::Float) {
                wanted.retain(|w| *w != Wanted::Int);
            }
            wanted.sort_unstable();
            wanted.dedup();
            let text = |a: &&Attr| if let Attr::String(s) = a { Some(s.clone()) } else { None };
            let words: BTreeSet<String> = values.iter().filter_map(text).collect();
            let axis = names_axes(name);
            let required = given(name, |r| &r.call.attrs) == valid.len();
            let words = words.into_iter().collect();
            Attribute { name: name.to_owned(), wanted, required, open: !axis, axis, words }
        })
        .collect()
}

fn kind(a: &Attr) -> Wanted {
    match a {
        Attr::Int(_) => Wanted::Int,
        Attr::Ints(_) => Wanted::Ints,
        Attr::Float(_) => Wanted::Float,
        Attr::String(_) => Wanted::Text,
        Attr::DType(_) => Wanted::DType,
        Attr::Graph(_) => Wanted::Graph,
        _ => Wanted::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::read;
    use egret_ir::ops;

    #[test]
    fn the_registry_declares_its_operators() {
        let conv = Declaration::of_def(ops::find("ai.onnx", "Conv").unwrap());
        assert_eq!(
            conv.operands.iter().map(|o| (&*o.name, o.optional)).collect::<Vec<_>>(),
            [("X", false), ("W", false), ("B", true)]
        );
        let pad = conv.attrs.iter().find(|a| a.name == "auto_pad").unwrap();
        assert!(pad.words.contains(&"SAME_UPPER".to_owned()), "{:?}", pad.words);
        let concat = Declaration::of_def(ops::find("ai.onnx", "Concat").unwrap());
        assert_eq!(concat.operand_names(3), ["inputs0", "inputs1", "inputs2"]);
    }

    #[test]
    fn records_declare_operators_that_take_operands_by_name() {
        let f32 = r#"{"dtype":"f32","shape":[2]}"#;
        let text = [
            format!(
                r#"{{"op":"f","domain":"d","operands":["x","bias"],"inputs":[{f32},{f32}],"attrs":{{"size":2}},
                "defaults":{{"dim":0,"mode":"a"}},"flags":["round"],"outputs":[{f32}]}}"#
            ),
            format!(
                r#"{{"op":"f","domain":"d","operands":["x"],"inputs":[{f32}],"attrs":{{"size":[2,3],"mode":"b"}},
                "outputs":[{f32},{f32}]}}"#
            ),
            format!(
                r#"{{"op":"g","domain":"d","operands":["w","all.0","all.1"],"inputs":[{f32},{f32},{f32}],"error":"no"}}"#
            ),
            format!(r#"{{"op":"g","domain":"d","operands":["w","v"],"inputs":[{f32},{f32}],"error":"no"}}"#),
        ]
        .map(|l| l.replace('\n', " "))
        .join("\n");
        let found = Declaration::of_records(&read(&text).unwrap());
        let [f, g] = &found[..] else { panic!("two operators, not {}", found.len()) };
        assert_eq!(
            f.operands.iter().map(|o| (&*o.name, o.optional)).collect::<Vec<_>>(),
            [("x", false), ("bias", true)]
        );
        let attr = |name: &str| f.attrs.iter().find(|a| a.name == name).unwrap();
        assert_eq!((&attr("size").wanted[..], attr("size").required), (&[Wanted::Int, Wanted::Ints][..], true));
        assert!(attr("dim").axis && !attr("dim").open && !attr("dim").required);
        assert_eq!(attr("mode").words, ["a", "b"]);
        assert_eq!(attr("round").wanted, [Wanted::Flag]);
        assert_eq!(f.calls.len(), 2);
        assert!(f.calls.iter().all(|c| c.n_outputs == 1));
        // A list comes last.
        assert_eq!(g.operand_names(4), ["w", "v", "all.0", "all.1"]);
        assert!(g.calls.is_empty());
    }
}
