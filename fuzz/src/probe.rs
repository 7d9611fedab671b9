//! What a runtime takes at all: for each kind of call (operator, element types, ranks, modes, whether anything is empty) a
//! call by itself.
//!
//! A kind that the runtime does not take, twice, is not generated any more, so that graphs are spent on what it does take.
//! An operator of which the runtime refuses some calls for their numbers (a size that must be odd) is asked about each call:
//! what a graph of calls that are all taken shows is the fault of their being together. Refusals that are no statement of what
//! is implemented are told ([`Admission`]).
//!
//! A model has one opset, so a call may stand in a newer one than it needs, in which the runtime has no kernel of it (or does not
//! put in its function's body) although it has in the older: where a graph of calls that are all taken is not, each is asked once
//! more in the graph's opset. What was learnt is kept as JSON for the next campaign.

use crate::check::{Failure, System, Taken};
use crate::generate::Case;
use crate::runtime::in_opset;
use crate::unroll::{is_control_flow, unrolled};
use anyhow::{Context, Result};
use egret_ir::eval::{Env, Limits, Reference, eval_call};
use egret_ir::onnx;
use egret_ir::version::opset;
use egret_ir::{Attr, DType, Graph, Op, Value, ValueId};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Refusals before a kind of call is taken for not implemented.
const REFUSALS: u32 = 2;

/// Whether a graph is worth running.
#[derive(Debug)]
pub enum Admission {
    /// Each of its calls is taken.
    Yes,
    /// One is of a kind that the system says it does not implement.
    No,
    /// This call of it is refused for another reason.
    Refused(Box<Case>, Failure),
}

/// What two calls have in common if a runtime implements both or neither, as text: `Gemm(f32:2, f32:2) transA=1`.
/// Operands are element types and ranks, with `e` where there is no element; of attributes that are numbers only the names
/// count, flags excepted.
pub fn kind_of<'a>(
    op: &dyn Op,
    operands: impl Iterator<Item = Option<(DType, &'a [usize])>>,
    n_outputs: usize,
) -> String {
    let def = op.def();
    let operand = |(dtype, shape): (DType, &[usize])| {
        format!("{dtype}:{}{}", shape.len(), if shape.contains(&0) { "e" } else { "" })
    };
    let operands: Vec<String> = operands.map(|o| o.map_or_else(|| "_".to_owned(), operand)).collect();
    let mut text = format!("{}({})", crate::generate::full_name(def), operands.join(", "));
    if n_outputs != 1 {
        text += &format!(" -> {n_outputs}");
    }
    for (name, attr) in op.attrs() {
        let flag = def.attrs.iter().any(|a| a.name == name && a.wanted == "0 or 1");
        text += &match attr {
            Attr::String(s) => format!(" {name}={s}"),
            Attr::DType(d) => format!(" {name}={d}"),
            Attr::Int(d) if flag => format!(" {name}={d}"),
            Attr::Ints(list) => format!(" {name}[{}]", list.len()),
            Attr::Graph(body) => format!(" {name}={{{}}}", operators(&body)),
            _ => format!(" {name}"),
        };
    }
    text
}

/// The operators of a body, each once.
fn operators(body: &Graph) -> String {
    let mut names: Vec<&str> = body.nodes.iter().map(|n| n.op.def().name).collect();
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}

/// Kinds of calls, and whether a runtime takes them.
#[derive(Debug, Default, PartialEq)]
pub struct Probe {
    /// System and version; what another one said is not believed.
    system: String,
    implemented: BTreeMap<String, bool>,
    refused: BTreeMap<String, u32>,
    /// Operators of which some calls are refused for their numbers.
    touchy: BTreeSet<String>,
    /// From which opset on operators with these element types are not taken, newer than those in which they are.
    newer: BTreeMap<String, i64>,
    /// Kinds found to be not implemented since they were last taken.
    fresh: Vec<String>,
    /// Calls asked.
    pub asked: u64,
}

impl Probe {
    /// Knows nothing of this system yet.
    pub fn new(system: &str) -> Probe {
        Probe { system: system.to_owned(), ..Probe::default() }
    }

    /// What an earlier campaign learnt of this system, nothing where there is no file or it is of another version.
    ///
    /// # Errors
    /// When the file cannot be read or is no such file.
    pub fn load(system: &str, path: &Path) -> Result<Probe> {
        let mut probe = Probe::new(system);
        if !path.exists() {
            return Ok(probe);
        }
        let at = || path.display().to_string();
        let json: Json = serde_json::from_str(&std::fs::read_to_string(path).with_context(at)?).with_context(at)?;
        if json["system"] == probe.system {
            for (key, value) in [("implemented", true), ("not_implemented", false)] {
                let list = json[key].as_array().with_context(at)?;
                probe.implemented.extend(list.iter().filter_map(Json::as_str).map(|k| (k.to_owned(), value)));
            }
            let touchy = json["touchy"].as_array().with_context(at)?;
            probe.touchy.extend(touchy.iter().filter_map(Json::as_str).map(str::to_owned));
            // Older campaigns did not learn it.
            let newer = json["newer"].as_object().into_iter().flatten();
            probe.newer.extend(newer.filter_map(|(k, v)| Some((k.clone(), v.as_i64()?))));
            probe.fresh = probe.not_implemented().map(str::to_owned).collect();
        }
        Ok(probe)
    }

    /// Writes what was learnt.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let list =
            |wanted: bool| self.implemented.iter().filter(|(_, v)| **v == wanted).map(|(k, _)| k).collect::<Vec<_>>();
        let json = json!({ "system": self.system, "implemented": list(true), "not_implemented": list(false),
                           "touchy": self.touchy, "newer": self.newer });
        std::fs::write(path, format!("{json:#}\n")).with_context(|| path.display().to_string())
    }

    /// Kinds that are not implemented.
    pub fn not_implemented(&self) -> impl Iterator<Item = &str> {
        self.implemented.iter().filter(|(_, v)| !**v).map(|(k, _)| k.as_str())
    }

    /// Kinds that are not implemented, of which this was not said before.
    pub fn take_fresh(&mut self) -> Vec<String> {
        std::mem::take(&mut self.fresh)
    }

    /// Number of kinds that are implemented, and of those that are not.
    pub fn counts(&self) -> (usize, usize) {
        let not = self.not_implemented().count();
        (self.implemented.len() - not, not)
    }

    /// Whether the system takes every call of the case; asks about kinds that are not known yet, and about each call of
    /// operators that are refused for their numbers.
    ///
    /// # Errors
    /// When the system cannot be started.
    pub fn admits(&mut self, case: &Case, system: &mut dyn System) -> Result<Admission> {
        let opset = opset(&case.graph);
        for (kind, call) in calls(case) {
            if let Some(typed) = in_newer(&call, opset)
                && self.newer.get(&typed).is_some_and(|&end| opset >= end)
            {
                return Ok(Admission::No);
            }
            match self.implemented.get(&kind) {
                Some(false) => return Ok(Admission::No),
                Some(true) if !self.touchy.contains(operator(&kind)) => continue,
                _ => {}
            }
            self.asked += 1;
            match system.takes(&call)? {
                Taken::Yes => {
                    self.implemented.insert(kind, true);
                }
                Taken::No => {
                    self.refuse(kind);
                    return Ok(Admission::No);
                }
                Taken::Failed(failure) => {
                    self.touchy.insert(operator(&kind).to_owned());
                    self.refuse(kind);
                    return Ok(Admission::Refused(Box::new(call), failure));
                }
            }
        }
        Ok(Admission::Yes)
    }

    /// Learns from a case of calls that are all taken, and that is not supported, which of them the system does not take in the
    /// opset of the graph.
    ///
    /// # Errors
    /// When the system cannot be started.
    pub fn learn(&mut self, case: &Case, system: &mut dyn System) -> Result<()> {
        let opset = opset(&case.graph);
        for (_, mut call) in calls(case) {
            let Some(typed) = in_newer(&call, opset) else { continue };
            call.file = in_opset(&call, opset).ok().map(|proto| Arc::new(onnx::encode(&proto)));
            if call.file.is_some() && matches!(system.takes(&call)?, Taken::No) {
                self.newer.insert(typed, opset);
            }
        }
        Ok(())
    }

    fn refuse(&mut self, kind: String) {
        // A kind of which some call was taken is implemented.
        if self.implemented.contains_key(&kind) {
            return;
        }
        let refused = self.refused.entry(kind.clone()).or_default();
        *refused += 1;
        if *refused >= REFUSALS {
            self.fresh.push(kind.clone());
            self.implemented.insert(kind, false);
        }
    }
}

/// Operator and element types of a call that needs no opset as new as this one.
fn in_newer(call: &Case, opset: i64) -> Option<String> {
    let graph = &call.graph;
    // What bodies run is asked by itself.
    let node = graph.nodes.last().filter(|n| n.op.def().domain == "ai.onnx" && !is_control_flow(&*n.op))?;
    if opset <= egret_ir::version::opset(graph) {
        return None;
    }
    let dtype = |v: &Option<ValueId>| v.and_then(|v| graph.ty(v).as_tensor()).map_or("_", |t| t.dtype.name());
    let dtypes: Vec<&str> = node.inputs.iter().chain(&node.outputs).map(dtype).collect();
    Some(format!("{}({})", node.op.def().name, dtypes.join(", ")))
}

/// The operator in the text of a kind.
fn operator(kind: &str) -> &str {
    kind.split('(').next().unwrap_or(kind)
}

/// Each call of a case by itself, with its kind; a call that the reference refuses has none.
pub(crate) fn calls(case: &Case) -> Vec<(String, Case)> {
    let graph = &case.graph;
    let mut values: Vec<Option<Value>> = graph.values.iter().map(|v| v.constant.clone().map(Value::Tensor)).collect();
    for (v, x) in graph.inputs.iter().zip(&case.inputs) {
        values[v.index()] = Some(x.clone());
    }
    let env = Env::new(Limits { loop_steps: 1 << 16, ..Limits::default() }, 0);
    let mut out = Vec::new();
    for node in &graph.nodes {
        let operands: Vec<Option<&Value>> =
            node.inputs.iter().map(|v| v.and_then(|v| values[v.index()].as_ref())).collect();
        let Some(captured) = node.captures.iter().map(|v| values[v.index()].clone()).collect::<Option<Vec<_>>>() else {
            break;
        };
        let Ok(results) = eval_call(&*node.op, &operands, &captured, node.outputs.len(), &env, &Reference) else {
            break;
        };
        let types = operands.iter().map(|v| v.and_then(|v| v.tensor().ok()).map(|t| (t.dtype(), t.shape())));
        let kind = kind_of(&*node.op, types, node.outputs.len());
        let mut alone = Graph::new("call");
        let mut inputs = Vec::new();
        // An operand that is read twice is one argument.
        let mut known: BTreeMap<ValueId, ValueId> = BTreeMap::new();
        let mut ids = Vec::with_capacity(operands.len());
        let mut read = |v: ValueId, x: &Value| {
            *known.entry(v).or_insert_with(|| match graph.constant(v) {
                Some(t) => alone.add_constant(format!("x{}", v.0), t.clone()),
                None => {
                    inputs.push(x.clone());
                    alone.add_input(format!("x{}", v.0), x.ty())
                }
            })
        };
        for (v, x) in node.inputs.iter().zip(&operands) {
            ids.push(match (v, x) {
                (Some(v), Some(x)) => Some(read(*v, x)),
                _ => None,
            });
        }
        let captures = node.captures.iter().zip(&captured).map(|(v, x)| read(*v, x)).collect();
        let made: Vec<_> = results.iter().map(|r| Some(alone.add_value(String::new(), r.ty()))).collect();
        for (k, v) in made.iter().flatten().enumerate() {
            alone.values[v.index()].name = format!("y{k}");
        }
        alone.outputs = made.iter().flatten().copied().collect();
        let mut call = node.clone();
        (call.inputs, call.captures, call.outputs) = (ids, captures, made);
        alone.nodes.push(call);
        let alone = Case { graph: alone, inputs, outputs: results.clone(), ..Case::default() };
        // What a body runs is asked by itself first.
        if is_control_flow(&*node.op)
            && let Some((flat, _)) = unrolled(&alone)
        {
            out.extend(calls(&flat));
        }
        out.push((kind, alone));
        for (v, value) in node.outputs.iter().zip(results) {
            if let Some(v) = v {
                values[v.index()] = Some(value);
            }
        }
    }
    out
}

/// Whether `f` says so of each call: operator, operands, results.
pub(crate) fn all_calls(case: &Case, f: impl Fn(&dyn Op, &[Option<&Value>], &[Value]) -> bool) -> bool {
    calls(case).iter().all(|(_, call)| {
        let (graph, node) = (&call.graph, &call.graph.nodes[0]);
        let argument = |v: ValueId| {
            let at = graph.inputs.iter().position(|i| *i == v)?;
            call.inputs.get(at).cloned()
        };
        let value = |v: &Option<ValueId>| {
            v.and_then(|v| graph.constant(v).map(|t| Value::Tensor(t.clone())).or_else(|| argument(v)))
        };
        let operands: Vec<Option<Value>> = node.inputs.iter().map(value).collect();
        let operands: Vec<Option<&Value>> = operands.iter().map(Option::as_ref).collect();
        f(&*node.op, &operands, &call.outputs)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Kind;
    use crate::choices::Seeded;
    use crate::generate::{Config, Generator};
    use egret_ir::Tensor;

    /// Takes the calls that a function says.
    struct Taking<F>(F);

    impl<F: FnMut(&Case) -> Taken> System for Taking<F> {
        fn name(&self) -> &str {
            "taking"
        }

        fn check(&mut self, _: &Case) -> Result<Option<Failure>> {
            Ok(None)
        }

        fn takes(&mut self, case: &Case) -> Result<Taken> {
            assert_eq!(case.graph.nodes.len(), 1);
            Ok((self.0)(case))
        }
    }

    #[test]
    fn an_operand_that_is_read_twice_is_one_argument() {
        let mut b = egret_ir::GraphBuilder::new("t");
        let x = b.input("x", egret_ir::Type::tensor(DType::F32, &[1]));
        let y = b.op("Add", egret_ir::attrs! {}, &[x, x]).unwrap();
        let of = |v: f32| vec![Value::from(Tensor::from_slice(&[1], &[v]))];
        let case = Case { graph: b.finish(&[y]), inputs: of(1.0), outputs: of(2.0), ..Case::default() };
        let (_, call) = calls(&case).remove(0);
        assert_eq!((call.graph.inputs.len(), call.inputs.len()), (1, 1));
        assert_eq!(call.graph.nodes[0].inputs[0], call.graph.nodes[0].inputs[1]);
        assert!(all_calls(&case, crate::stated::is_stated));
    }

    #[test]
    fn an_operator_that_refuses_numbers_is_asked_about_each_call() {
        let only = vec!["Abs".into()];
        let mut generator = Generator::new(Config { nodes: 1, only, ..Config::default() });
        let mut small = Taking(|case: &Case| match case.outputs[0].tensor().is_ok_and(|t| t.len() > 3) {
            true => Taken::Failed(Failure { stage: "small".into(), kind: Kind::Refused, text: "too large".into() }),
            false => Taken::Yes,
        });
        let (mut probe, mut admitted, mut refused) = (Probe::new("small 1"), 0, 0);
        for i in 0..200 {
            let case = generator.generate(&mut Seeded::new(1, i)).unwrap();
            match probe.admits(&case, &mut small).unwrap() {
                Admission::Yes => {
                    admitted += 1;
                    // The operator becomes known as one that refuses some calls with the first that it does.
                    assert!(refused == 0 || case.outputs[0].tensor().unwrap().len() <= 3);
                }
                Admission::No => {}
                Admission::Refused(call, failure) => {
                    refused += 1;
                    assert_eq!((call.graph.nodes.len(), failure.kind), (1, Kind::Refused));
                }
            }
        }
        assert!(admitted > 20 && refused > 20, "{admitted} {refused}");
    }

    #[test]
    fn calls_in_newer_versions_than_they_need_are_asked_about_where_a_graph_is_not_supported() {
        let mut b = egret_ir::GraphBuilder::new("t");
        let x = b.input("x", egret_ir::Type::tensor(DType::F32, &[1]));
        let y = b.op("Relu", egret_ir::attrs! {}, &[x]).unwrap();
        let z = b.op("Mod", egret_ir::attrs! {}, &[y, x]).unwrap();
        let of = |graph| Case { graph, inputs: vec![Tensor::from_slice(&[1], &[2f32]).into()], ..Case::default() };
        // Opset 28 for its `Mod` of floats.
        let both = of(b.finish(&[z]));
        let mut b = egret_ir::GraphBuilder::new("t");
        let x = b.input("x", egret_ir::Type::tensor(DType::F32, &[1]));
        let y = b.op("Relu", egret_ir::attrs! {}, &[x]).unwrap();
        let alone = of(b.finish(&[y]));
        let mut system = Taking(|case: &Case| {
            let newer = case.file.is_some() && case.graph.nodes[0].op.def().name == "Relu";
            if newer { Taken::No } else { Taken::Yes }
        });
        let mut probe = Probe::new("partial 1");
        assert!(matches!(probe.admits(&both, &mut system).unwrap(), Admission::Yes));
        probe.learn(&both, &mut system).unwrap();
        assert_eq!(probe.newer, BTreeMap::from([("Relu(f32, f32)".to_owned(), 28)]));
        assert!(matches!(probe.admits(&both, &mut system).unwrap(), Admission::No));
        assert!(matches!(probe.admits(&alone, &mut system).unwrap(), Admission::Yes));
    }

    #[test]
    fn kinds_that_are_not_implemented_are_generated_no_more() {
        let only = ["Neg", "Abs"].map(Into::into).into();
        let mut generator = Generator::new(Config { nodes: 3, only, ..Config::default() });
        let mut asked = 0;
        // Implements everything but `Neg` of `f64`.
        let mut system = Taking(|case: &Case| {
            asked += 1;
            let dtype = case.outputs[0].tensor().map(Tensor::dtype);
            let lacking = case.graph.nodes[0].op.def().name == "Neg" && matches!(dtype, Ok(DType::F64));
            if lacking { Taken::No } else { Taken::Yes }
        });
        let mut probe = Probe::new("partial 1");
        let mut late = 0;
        for i in 0..300 {
            let case = generator.generate(&mut Seeded::new(1, i)).unwrap();
            if !matches!(probe.admits(&case, &mut system).unwrap(), Admission::Yes) {
                generator.forbid(probe.take_fresh());
                late += usize::from(i >= 200);
            }
        }
        assert!(probe.not_implemented().all(|k| k.starts_with("Neg(f64")), "{probe:?}");
        assert!(probe.counts().1 >= 3 && late < 10, "{:?}, {late}", probe.counts());
        assert_eq!(asked, probe.asked);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("probe.json");
        probe.save(&path).unwrap();
        assert_eq!(Probe::load("partial 1", &path).unwrap().implemented, probe.implemented);
        assert_eq!(Probe::load("partial 2", &path).unwrap().counts(), (0, 0));
    }
}
