//! Causes of failures that somebody has looked at: a file of JSON objects, one a line, each a set of calls by conditions
//! over their extents and attributes, with what a system does there and why.
//!
//! ```text
//! {"operators":["LRN"],"when":["size % 2 == 0"],"kind":"refused","verdict":"limit","why":"…"}
//! ```
//!
//! | key | what |
//! |---|---|
//! | `operators` | names, with the domain where it is not ONNX's own: `LRN`, `microsoft.FusedMatMul` |
//! | `when` | conditions that all hold; none: all calls. Terms are those of rule files (`a // b`, `min(a, b)`, `==`, `!=`, `<=`, `or`) over the names below; a comparison with a name that the call does not have is false |
//! | `attrs` | values of attributes, or lists of values of which one is there; `null`: it is not there |
//! | `symbolic` | `true`, and no condition: it speaks of calls of which an operand's extents are symbols, in a graph that runs with several shapes |
//! | `dtypes` | element types of operands, a list of which it has one |
//! | `kind` | `crash`, `hang`, `refused`, `wrong` or `grows`, or a list of these |
//! | `verdict` | `bug`; `limit`: a call that the system says it does not do; `beyond`: Egret takes the call, the specification does not; `open`: the specification does not say |
//! | `why` | the reason, with where it is said |
//!
//! Names are those of values and of attributes that are integers, with what is asked of them:
//!
//! | part | what |
//! |---|---|
//! | `X[0]`, `pads[0]` | an extent; an element of an attribute that is a list |
//! | `.rank`, `.len`, `.least`, `.last` | number of axes, of elements; least and last extent |
//! | `.min`, `.max` | least and greatest element, rounded outwards; of truth values 0 and 1 |
//! | `.exponent` | of 2, of the greatest finite element by magnitude |
//! | `.sign` | of an attribute that is a number, or of the first element: -1, 0 or 1 |
//! | `.ones` | how many of the first elements are 1 |
//! | `.finite`, `.nan` | whether all elements are finite, whether one is NaN: 1 or 0 |
//! | `.there` | whether the value or attribute is given: 1 or 0 |
//! | `.listed` | whether the call's list of operands has a place for this one, given or left empty: 1 or 0 |
//! | `.distinct` | whether no element of a list occurs twice: 1 or 0 |
//!
//! Calls that meet a record are not made for the system, so that what a campaign reports is new. [`confirm`] says whether a
//! record is (still) true, and how many of the calls that it keeps out do fail.

use crate::check::{Kind, System, Taken};
use crate::choices::Seeded;
use crate::form::Types;
use crate::generate::{Config, Generator, Rules, full_name};
use crate::infer::structure::operand_names;
use crate::infer::term::{Parser, Pred, Term};
use crate::probe::all_calls;
use crate::stated::repeats;
use crate::trace::dtype;
use crate::values::is_finite;
use anyhow::{Context, Result, anyhow, bail, ensure};
use egret_ir::{Attr, DType, Graph, Op, OpDef, Tensor, Value, ops};
use serde_json::Value as Json;
use std::fmt;
use std::sync::Arc;

/// What is known of every system that is compared with Egret: where Egret goes beyond the specification.
const EVERYWHERE: &str = include_str!("../known/onnx.jsonl");

/// By system.
const BY_SYSTEM: &[(&str, &str)] = &[
    ("onnxruntime", include_str!("../known/onnxruntime.jsonl")),
    ("mnn", include_str!("../known/mnn.jsonl")),
    ("openvino", include_str!("../known/openvino.jsonl")),
    ("torch", include_str!("../known/torch.jsonl")),
];

/// A call with its values.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The operator.
    pub op: &'a dyn Op,
    /// Its operands.
    pub operands: &'a [Option<&'a Value>],
    /// Its results.
    pub results: &'a [Value],
}

/// Why calls fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The system is wrong by the specification.
    Bug,
    /// The system says that it does not do this.
    Limit,
    /// Egret takes more than the specification.
    Beyond,
    /// The specification does not say.
    Open,
}

impl Verdict {
    const ALL: [Verdict; 4] = [Verdict::Bug, Verdict::Limit, Verdict::Beyond, Verdict::Open];

    /// The word in files.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Bug => "bug",
            Verdict::Limit => "limit",
            Verdict::Beyond => "beyond",
            Verdict::Open => "open",
        }
    }
}

/// A condition with the names that it speaks of, which are its terms' variables.
#[derive(Clone, Debug)]
struct When {
    pred: Pred,
    names: Vec<String>,
}

/// A record.
#[derive(Clone, Debug)]
pub struct Cause {
    /// The operator.
    pub def: &'static OpDef,
    /// What a system does.
    pub kinds: Vec<Kind>,
    /// Why.
    pub verdict: Verdict,
    /// In words.
    pub why: String,
    symbolic: bool,
    when: Vec<When>,
    attrs: Vec<(String, Vec<Json>)>,
    dtypes: Vec<(String, Vec<DType>)>,
}

/// Records.
#[derive(Clone, Default)]
pub struct Known {
    causes: Arc<Vec<Cause>>,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known")
    }
}

impl Known {
    /// What comes with the program for a system that is compared with Egret.
    ///
    /// # Errors
    /// When a file is wrong; a test reads them all.
    pub fn of(system: &str) -> Result<Known> {
        let base = system.trim_end_matches("-unoptimised");
        let own = BY_SYSTEM.iter().find(|(name, _)| *name == base);
        let mut known = Known::default();
        known.add(EVERYWHERE)?;
        own.map_or(Ok(()), |(_, text)| known.add(text))?;
        Ok(known)
    }

    /// Adds the records of a file's text.
    ///
    /// # Errors
    /// At the first line that is no record.
    pub fn add(&mut self, text: &str) -> Result<()> {
        let causes = Arc::make_mut(&mut self.causes);
        for (n, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            causes.extend(read(line).with_context(|| format!("line {}", n + 1))?);
        }
        Ok(())
    }

    /// The records, one an operator.
    pub fn causes(&self) -> &[Cause] {
        &self.causes
    }

    /// The first record that a call meets.
    pub fn met(&self, call: Seen<'_>) -> Option<&Cause> {
        self.causes.iter().find(|c| !c.symbolic && c.is_of(call.op.def()) && c.holds(call))
    }

    /// Whether a graph or a body has a call with extents that are symbols, of an operator of which a record speaks of such.
    pub(crate) fn met_symbolic(&self, graph: &Graph) -> bool {
        graph.nodes.iter().any(|node| {
            let known = self.causes.iter().any(|c| c.symbolic && c.is_of(node.op.def()));
            known && node.uses().any(|v| graph.ty(v).concrete().is_none())
                || node.op.bodies().iter().any(|body| self.met_symbolic(body))
        })
    }
}

/// The records of a line: one for each operator.
fn read(line: &str) -> Result<Vec<Cause>> {
    let json: Json = serde_json::from_str(line)?;
    let object = json.as_object().context("a record is an object")?;
    const KEYS: &[&str] = &["operators", "symbolic", "when", "attrs", "dtypes", "kind", "verdict", "why"];
    if let Some(key) = object.keys().find(|k| !KEYS.contains(&k.as_str())) {
        bail!("`{key}` is none of the keys {}", KEYS.join(", "));
    }
    let many = |json: &Json| match json {
        Json::Null => Vec::new(),
        Json::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let text = |json: &Json| json.as_str().map(str::to_owned).with_context(|| format!("{json} is no text"));
    let kind = |json: &Json| {
        let found = Kind::ALL.into_iter().find(|k| json == k.name());
        found.with_context(|| format!("{json} is none of the kinds {}", Kind::ALL.map(Kind::name).join(", ")))
    };
    let kinds: Vec<Kind> = many(&json["kind"]).iter().map(kind).collect::<Result<_>>()?;
    ensure!(!kinds.is_empty(), "no `kind`");
    let verdict = Verdict::ALL.into_iter().find(|v| json["verdict"] == v.name());
    let verdict = verdict.context("`verdict` is one of bug, limit, beyond, open")?;
    let why = text(&json["why"]).context("no `why`")?;
    let symbolic = match &json["symbolic"] {
        Json::Null => false,
        given => given.as_bool().context("`symbolic` is true or false")?,
    };
    let conditions = ["when", "attrs", "dtypes"].iter().any(|key| !json[key].is_null());
    ensure!(!symbolic || !conditions, "conditions speak of one call, `symbolic` of all that have such extents");
    let mut out = Vec::new();
    for operator in many(&json["operators"]) {
        let operator = text(&operator)?;
        let def = ops::OPS.iter().copied().find(|d| full_name(d) == operator);
        let def = def.with_context(|| format!("no operator is called {operator}"))?;
        let when = many(&json["when"]).iter().map(|w| condition(&text(w)?, def)).collect::<Result<_>>()?;
        let mut attrs = Vec::new();
        for (name, value) in json["attrs"].as_object().into_iter().flatten() {
            ensure!(def.attrs.iter().any(|a| a.name == name), "{operator} has no attribute `{name}`");
            attrs.push((name.clone(), if value.is_null() { vec![Json::Null] } else { many(value) }));
        }
        let mut dtypes = Vec::new();
        for (name, list) in json["dtypes"].as_object().into_iter().flatten() {
            ensure!(has_value(def, name), "{operator} has neither an operand nor a result `{name}`");
            dtypes.push((name.clone(), many(list).iter().map(dtype).collect::<Result<_>>()?));
        }
        let (kinds, why) = (kinds.clone(), why.clone());
        out.push(Cause { def, kinds, verdict, why, symbolic, when, attrs, dtypes });
    }
    ensure!(!out.is_empty(), "no `operators`");
    Ok(out)
}

/// Words that are no names of values.
const FUNCTIONS: &[&str] = &["or", "select", "min", "max", "ceil_div", "broadcast", "wrap"];

/// What may stand behind a name.
const PARTS: &[&str] = &[
    "rank", "len", "least", "last", "min", "max", "finite", "nan", "ones", "there", "listed", "sign", "distinct",
    "exponent",
];

/// Reads a condition over the names of an operator's values and attributes.
fn condition(text: &str, def: &OpDef) -> Result<When> {
    let word = |c: char| c.is_ascii_alphanumeric() || "_.[]".contains(c);
    let mut names: Vec<String> = text
        .split(|c| !word(c))
        .filter(|w| w.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !FUNCTIONS.contains(w))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    for name in &names {
        let (base, part) = parts(name);
        let indexed =
            part.strip_prefix('[').and_then(|p| p.strip_suffix(']')).is_some_and(|k| k.parse::<usize>().is_ok());
        ensure!(part.is_empty() || indexed || PARTS.contains(&&part[1..]), "`{name}`: `{part}` is unknown");
        let attr = def.attrs.iter().any(|a| a.name == base);
        ensure!(attr || has_value(def, base), "{} has neither a value nor an attribute `{base}`", def.name);
    }
    let pred = Parser::pred(text, &names).map_err(|e| anyhow!("`{text}`: {e}"))?;
    Ok(When { pred, names })
}

/// `X[0]` is `X` and `[0]`, `X.rank` is `X` and `.rank`.
fn parts(name: &str) -> (&str, &str) {
    name.split_at(name.find(['.', '[']).unwrap_or(name.len()))
}

/// Whether an operator has an operand or a result of this name.
fn has_value(def: &OpDef, name: &str) -> bool {
    let clean = |n: &str| n.trim().trim_end_matches(['?', '*']).to_owned();
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let of = |list: &str| list.split(',').any(|n| clean(n) == name || n.trim().ends_with('*') && clean(n) == stem);
    of(def.inputs) || of(def.outputs)
}

impl Cause {
    fn is_of(&self, def: &OpDef) -> bool {
        def.name == self.def.name && def.domain == self.def.domain
    }

    /// Whether it asks for places in the list of operands.
    fn lists_operands(&self) -> bool {
        self.when.iter().flat_map(|w| &w.names).any(|n| n.ends_with(".listed"))
    }

    /// Whether a call is one of those that it speaks of.
    fn holds(&self, call: Seen<'_>) -> bool {
        let attrs = call.op.attrs();
        let attr = |(name, wanted): &(String, Vec<Json>)| {
            let there = attrs.get(name.as_str()).map_or(Json::Null, |a| match a {
                Attr::String(s) => Json::from(s.as_str()),
                Attr::Int(d) => d.as_int().map_or(Json::Null, Json::from),
                Attr::DType(d) => Json::from(d.name()),
                other => Json::from(other.kind()),
            });
            wanted.contains(&there)
        };
        let dtype = |(name, list): &(String, Vec<DType>)| {
            call.value(name).and_then(|v| v.tensor().ok()).is_some_and(|t| list.contains(&t.dtype()))
        };
        self.attrs.iter().all(attr) && self.dtypes.iter().all(dtype) && self.when.iter().all(|w| w.holds(call))
    }

    /// What it says, on one line.
    pub fn text(&self) -> String {
        let kinds: Vec<&str> = self.kinds.iter().map(|k| k.name()).collect();
        format!("{} ({}, {}): {}", full_name(self.def), kinds.join(" or "), self.verdict.name(), self.why)
    }
}

impl When {
    fn holds(&self, call: Seen<'_>) -> bool {
        let numbers: Vec<Option<i64>> = self.names.iter().map(|n| call.number(n)).collect();
        let at: Vec<i64> = numbers.iter().map(|n| n.unwrap_or_default()).collect();
        let known = |t: &Term| t.vars().iter().all(|v| numbers[*v].is_some());
        fn any(pred: &Pred, at: &[i64], known: &dyn Fn(&Term) -> bool) -> bool {
            match pred {
                Pred::Any(items) => items.iter().any(|p| any(p, at, known)),
                Pred::Cmp(_, a, b) => known(a) && known(b) && pred.holds(at),
            }
        }
        any(&self.pred, &at, &known)
    }
}

impl<'a> Seen<'a> {
    /// The operand or result of this name.
    fn value(&self, name: &str) -> Option<&'a Value> {
        let def = self.op.def();
        if let Some(i) = operand_names(def, self.operands.len()).iter().position(|n| n == name) {
            return self.operands[i];
        }
        let k = OpDef::names(def.outputs).position(|n| n == name)?;
        self.results.get(k)
    }

    /// The number that a name stands for.
    fn number(&self, name: &str) -> Option<i64> {
        let (base, part) = parts(name);
        let def = self.op.def();
        if part == ".listed" {
            return Some(i64::from(operand_names(def, self.operands.len()).iter().any(|n| n == base)));
        }
        match def.attrs.iter().find(|a| a.name == base) {
            Some(doc) if !has_value(def, base) => {
                let attr = self.op.attrs().remove(base);
                match (attr, part) {
                    (attr, ".there") => Some(i64::from(attr.is_some())),
                    (Some(attr), part) => attribute_number(&attr, part),
                    (None, "") => match doc.default {
                        "false" => Some(0),
                        "true" => Some(1),
                        number => number.trim_end_matches("i64").parse().ok(),
                    },
                    (None, _) => None,
                }
            }
            _ => match (self.value(base), part) {
                (value, ".there") => Some(i64::from(value.is_some())),
                (value, part) => tensor_number(value?.tensor().ok()?, part),
            },
        }
    }
}

fn index(part: &str) -> Option<usize> {
    part.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn attribute_number(attr: &Attr, part: &str) -> Option<i64> {
    match (attr, part) {
        (Attr::Int(d), "") => d.as_int(),
        (Attr::Float(v), ".sign") => Some(if *v > 0.0 { 1 } else { -i64::from(*v < 0.0) }),
        (Attr::Int(d), ".sign") => Some(d.as_int()?.signum()),
        (Attr::Ints(list), ".len") => Some(list.len() as i64),
        (Attr::Ints(list), ".distinct") => Some(i64::from(!repeats(list))),
        (Attr::Ints(list), ".min") => list.iter().map(|d| d.as_int()).min()?,
        (Attr::Ints(list), ".max") => list.iter().map(|d| d.as_int()).max()?,
        (Attr::Ints(list), part) => list.get(index(part)?)?.as_int(),
        (Attr::Floats(list), ".len") => Some(list.len() as i64),
        (Attr::Strings(list), ".len") => Some(list.len() as i64),
        _ => None,
    }
}

fn tensor_number(t: &Tensor, part: &str) -> Option<i64> {
    let shape = t.shape();
    let int = |n: usize| i64::try_from(n).ok();
    let flag = |b: bool| Some(i64::from(b));
    match part {
        ".rank" => int(shape.len()),
        ".len" => int(t.len()),
        ".least" => int(*shape.iter().min()?),
        ".last" => int(*shape.last()?),
        ".min" | ".max" if t.dtype().is_int() => {
            let elements = t.ints().ok()?;
            let found = if part == ".min" { elements.into_iter().min() } else { elements.into_iter().max() };
            i64::try_from(found?).ok()
        }
        ".min" | ".max" if t.dtype().is_float() => {
            let elements = t.floats().ok()?.into_iter().filter(|x| x.is_finite());
            let found =
                if part == ".min" { elements.reduce(f64::min)?.floor() } else { elements.reduce(f64::max)?.ceil() };
            Some(found.clamp(-9e15, 9e15) as i64)
        }
        ".min" | ".max" if t.dtype() == DType::Bool => {
            let elements = t.bools().ok()?.into_iter();
            flag(if part == ".min" { elements.min()? } else { elements.max()? })
        }
        ".exponent" => {
            let most = t.floats().ok()?.into_iter().map(f64::abs).filter(|x| x.is_finite()).fold(0.0, f64::max);
            (most > 0.0).then(|| most.log2().floor() as i64)
        }
        ".sign" => {
            let first = *t.floats().ok()?.first()?;
            Some(if first > 0.0 { 1 } else { -i64::from(first < 0.0) })
        }
        ".finite" => flag(is_finite(t)),
        ".ones" => int(t.floats().ok()?.into_iter().take_while(|x| *x == 1.0).count()),
        ".nan" => flag(t.dtype().is_float() && t.floats().ok()?.iter().any(|x| x.is_nan())),
        part => int(*shape.get(index(part)?)?),
    }
}

/// What trying a record gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// Calls that met it, those aside that the system does not implement.
    pub met: usize,
    /// Those of them that failed in a way it names.
    pub failed: usize,
}

/// Calls that meet a record are tried on a system, at most `wanted` of them among `tries` graphs of one call, which are drawn by
/// inferred rules where there are some.
///
/// # Errors
/// When the system cannot be started.
pub fn confirm(cause: &Cause, system: &mut dyn System, rules: &Rules, wanted: usize, tries: u64) -> Result<Confirmed> {
    let only = vec![cause.def.name.to_owned()];
    let dynamic_percent = if cause.symbolic { 100 } else { 0 };
    let (types, rules) = (Types::all(), rules.clone());
    let mut generator = Generator::new(Config { nodes: 1, only, types, rules, dynamic_percent, ..Config::default() });
    let mut out = Confirmed::default();
    for i in 0..tries {
        if out.met == wanted {
            break;
        }
        let Some(mut case) = generator.generate(&mut Seeded::new(0x6b6e, i)) else { continue };
        if cause.lists_operands() {
            list_operands(&mut case.graph);
        }
        let meets = |op: &dyn Op, operands: &[Option<&Value>], results: &[Value]| {
            cause.is_of(op.def()) && cause.holds(Seen { op, operands, results })
        };
        if !all_calls(&case, meets) || cause.symbolic && case.others.is_empty() {
            continue;
        }
        let failure = match system.takes(&case)? {
            Taken::No => continue,
            Taken::Failed(failure) => Some(failure),
            Taken::Yes => system.check(&case)?,
        };
        out.met += 1;
        out.failed += usize::from(failure.is_some_and(|f| cause.kinds.contains(&f.kind)));
    }
    Ok(out)
}

/// Gives every call a place for each operand that its operator declares, empty where the call has none.
fn list_operands(graph: &mut Graph) {
    for node in &mut graph.nodes {
        let declared = OpDef::names(node.op.def().inputs).count();
        node.inputs.resize(declared.max(node.inputs.len()), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::{Dim, GraphBuilder, Type, attrs};

    #[test]
    fn every_file_that_comes_with_the_program_is_read() {
        for (system, _) in BY_SYSTEM {
            assert!(Known::of(system).unwrap().causes().len() > Known::of("none").unwrap().causes().len(), "{system}");
        }
        assert_eq!(
            Known::of("onnxruntime-unoptimised").unwrap().causes().len(),
            Known::of("onnxruntime").unwrap().causes().len()
        );
        assert!(!Known::of("mnn").unwrap().causes().is_empty());
    }

    fn one(line: &str) -> Result<Known> {
        let mut known = Known::default();
        known.add(line)?;
        Ok(known)
    }

    #[test]
    fn a_call_is_met_by_its_numbers() {
        let line = r#"{"operators":["LRN","Relu"],"when":["size % 2 == 0 or X.rank == 1"],"kind":"refused","verdict":"limit","why":"w"}"#;
        // `Relu` has no attribute `size`.
        assert!(format!("{:#}", one(line).unwrap_err()).contains("size"));
        let known = one(&line.replace(r#","Relu""#, "")).unwrap();
        let met = |size: i64, shape: &[usize]| {
            let op = (ops::find("ai.onnx", "LRN").unwrap().parse)(&attrs! { size: size }).unwrap();
            let x = Value::from(Tensor::zeros(DType::F32, shape).unwrap());
            known.met(Seen { op: &*op, operands: &[Some(&x)], results: &[] }).is_some()
        };
        assert!(met(4, &[1, 1, 1, 1]) && met(3, &[1]) && !met(3, &[1, 1, 1, 1]));
    }

    #[test]
    fn names_that_a_call_does_not_have_make_a_comparison_false() {
        let line = r#"{"operators":["Clip"],"when":["min.rank != 0 or max.max <= -5"],"kind":"wrong","verdict":"open","why":"w"}"#;
        let known = one(line).unwrap();
        let op = (ops::find("ai.onnx", "Clip").unwrap().parse)(&attrs! {}).unwrap();
        let x = Value::from(Tensor::from_slice(&[1], &[1.0f32]));
        let (low, high) = (Value::from(Tensor::scalar(-5.5f32)), Value::from(Tensor::scalar(1.0f32)));
        let met = |operands: &[Option<&Value>]| known.met(Seen { op: &*op, operands, results: &[] }).is_some();
        assert!(!met(&[Some(&x)]) && !met(&[Some(&x), None, Some(&high)]));
        assert!(met(&[Some(&x), None, Some(&low)]) && met(&[Some(&x), Some(&x)]));
    }

    #[test]
    fn an_empty_place_at_the_end_is_none_that_is_not_there() {
        let line = r#"{"operators":["Clip"],"when":["max.there == 0","max.listed == 1"],"kind":"crash","verdict":"bug","why":"w"}"#;
        let known = one(line).unwrap();
        let op = (ops::find("ai.onnx", "Clip").unwrap().parse)(&attrs! {}).unwrap();
        let x = Value::from(Tensor::from_slice(&[1], &[1.0f32]));
        let met = |operands: &[Option<&Value>]| known.met(Seen { op: &*op, operands, results: &[] }).is_some();
        assert!(met(&[Some(&x), Some(&x), None]) && met(&[Some(&x), None, None]));
        assert!(!met(&[Some(&x)]) && !met(&[Some(&x), None]) && !met(&[Some(&x), None, Some(&x)]));
        let mut b = GraphBuilder::new("t");
        let v = b.input("x", Type::tensor(DType::F32, &[1]));
        let y = b.op("Clip", attrs! {}, &[v]).unwrap();
        let mut graph = b.finish(&[y]);
        assert!(known.causes()[0].lists_operands());
        list_operands(&mut graph);
        assert_eq!(graph.nodes[0].inputs, [Some(v), None, None]);
    }

    #[test]
    fn an_attribute_that_is_not_given_has_its_default() {
        let line = r#"{"operators":["Reshape"],"when":["allowzero == 0"],"kind":"refused","verdict":"bug","why":"w"}"#;
        let known = one(line).unwrap();
        let met = |attrs| {
            let op = (ops::find("ai.onnx", "Reshape").unwrap().parse)(&attrs).unwrap();
            known.met(Seen { op: &*op, operands: &[], results: &[] }).is_some()
        };
        assert!(met(attrs! {}) && met(attrs! { allowzero: false }) && !met(attrs! { allowzero: true }));
    }

    #[test]
    fn a_record_of_symbols_speaks_of_graphs_that_have_some() {
        let known =
            one(r#"{"operators":["Relu"],"symbolic":true,"kind":"refused","verdict":"limit","why":"no"}"#).unwrap();
        let graph = |d: Dim| {
            let mut b = GraphBuilder::new("t");
            let x = b.input("x", Type::ranked(DType::F32, vec![d]));
            let y = b.op("Relu", attrs! {}, &[x]).unwrap();
            b.finish(&[y])
        };
        assert!(known.met_symbolic(&graph(Dim::sym("n"))));
        let fixed = graph(Dim::int(2));
        assert!(!known.met_symbolic(&fixed));
        let x: Value = Tensor::from_slice(&[2], &[1.0f32, 2.0]).into();
        let call = Seen { op: &*fixed.nodes[0].op, operands: &[Some(&x)], results: std::slice::from_ref(&x) };
        assert!(known.met(call).is_none());
        let both = r#"{"operators":["Relu"],"symbolic":true,"when":["X.rank == 1"],"kind":"refused","verdict":"limit","why":"no"}"#;
        assert!(one(both).is_err());
    }

    #[test]
    fn wrong_records_are_refused_with_their_line() {
        let base = r#"{"operators":["Clip"],"when":["min.rank != 0"],"kind":"wrong","verdict":"open","why":"w"}"#;
        for (from, to) in [
            ("Clip", "Clop"),
            ("min.rank", "min.rang"),
            ("\"wrong\"", "\"bad\""),
            ("open", "shut"),
            ("\"why\"", "\"wy\""),
        ] {
            let error = one(&format!("\n{}", base.replace(from, to))).unwrap_err();
            assert!(format!("{error:#}").starts_with("line 2"), "{error:#}");
        }
    }
}
