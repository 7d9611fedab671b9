//! What must hold of every input from outside, however wrong: it is refused with an error that blames the input or names what
//! is missing, or it is accepted and then means something definite. A panic, a hang, or an error that blames Egret itself
//! ([`ErrorKind::Bug`]) is a finding.
//!
//! Each function returns the finding as text, so that a test, a reducer and a libFuzzer target (which panics with it) can use
//! the same one.

use crate::check::{Egret, failure};
use crate::choices::FromBytes;
use crate::generate::{Config, Generator};
use crate::infer::rulefile;
use crate::infer::search::Rule;
use crate::mutate::{Seed, mutant_by};
use crate::random::Random;
use crate::seeds;
use egret_codegen::exec::{ExecOptions, Executable};
use egret_ir::eval::{self, Env};
use egret_ir::onnx::{self, Limits};
use egret_ir::{Attr, Class, DType, Error, ErrorKind, Graph, Tensor, Type, Value, ValueId, text};
use egret_passes::DefaultPlanner;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Small enough that no input which is accepted makes libFuzzer's own limits (2 GiB, 20 minutes) the finding.
fn limits() -> Limits {
    Limits { max_nodes: 1 << 12, max_depth: 16, max_body_depth: 4, max_dense_bytes: 64 << 20, deadline: None }
}

/// Any bytes as an ONNX model: what loads is exported, and the export loads again as the same nodes.
///
/// Types are not compared: extents that a model leaves open get fresh symbols with each import.
///
/// # Errors
/// The finding. That a model cannot be exported because something is unsupported or over a limit is none.
pub fn import(bytes: &[u8]) -> Result<(), String> {
    let model = match onnx::import_bytes(bytes.to_vec().into(), None, &limits()) {
        Ok(model) => model,
        Err(error) => return blameless(&error, "importing"),
    };
    let exported = match onnx::export(&model) {
        Ok(exported) => exported,
        Err(error) => return blameless(&error, "exporting"),
    };
    // An exporter may spell a node by several, so reading back may need more than the first import was allowed.
    let again = onnx::import_bytes(exported.into(), None, &Limits::default())
        .map_err(|error| format!("the export does not load: {error:?}"))?;
    let (before, after) = (outline(&model.graph), outline(&again.graph));
    if before != after {
        return Err(format!("the export loads as something else; exported:\n{before}read back:\n{after}"));
    }
    Ok(())
}

/// Any bytes as IR text: what is read is printed, and the print reads as the same print.
///
/// # Errors
/// The finding.
pub fn text(bytes: &[u8]) -> Result<(), String> {
    let Ok(source) = std::str::from_utf8(bytes) else { return Ok(()) };
    let graphs = match text::parse(source) {
        Ok(graphs) => graphs,
        Err(error) => return blameless(&error, "reading"),
    };
    let printed = text::print_all(&graphs);
    let again = text::parse(&printed).map_err(|error| format!("the print is not read: {error:?}\n{printed}"))?;
    let twice = text::print_all(&again);
    if printed != twice {
        return Err(format!("the print reads as something else:\n{printed}\nread back:\n{twice}"));
    }
    Ok(())
}

/// Any bytes as a file of inferred rules: what is read is written, and what is written reads as the same rules.
///
/// # Errors
/// The finding.
pub fn rules(bytes: &[u8]) -> Result<(), String> {
    let Ok(source) = std::str::from_utf8(bytes) else { return Ok(()) };
    // The reader's errors are about the file, whatever they say.
    let Ok(rules) = rulefile::read(source) else { return Ok(()) };
    let written = |rules: &[Rule]| rules.iter().map(|r| rulefile::json(r).to_string() + "\n").collect::<String>();
    let first = written(&rules);
    let again =
        rulefile::read(&first).map_err(|error| format!("the written rules are not read: {error:#}\n{first}"))?;
    let second = written(&again);
    if first != second {
        return Err(format!("the written rules read as others:\n{first}\nread back:\n{second}"));
    }
    Ok(())
}

/// Bytes as the choices that change one of the operators' examples: if the mutant is a valid model of small values, machine
/// code and the reference agree on random inputs, in values or in that there are none.
///
/// # Errors
/// The finding.
pub fn compile(bytes: &[u8]) -> Result<(), String> {
    static SEEDS: OnceLock<Vec<Seed>> = OnceLock::new();
    let mut random = Random::from_bytes(bytes);
    let mutant = mutant_by(SEEDS.get_or_init(seeds::own), &mut random);
    compare_levels(&mutant.bytes, &mut random).map_err(|finding| format!("{}: {finding}", mutant.story))
}

/// Bytes as the choices that grow a valid graph: each pass and machine code agree with the reference within the graph's own
/// error bounds.
///
/// # Errors
/// The finding.
pub fn graph(bytes: &[u8]) -> Result<(), String> {
    // Without infinities and overflow: the bounds do not know yet that sums of f32 may overflow on the way, nor that padding
    // times an infinite weight is NaN in some kernels and left out by the reference.
    let config = || Config { nodes: 4, special: false, ..Config::default() };
    // Forms are found once; how often an operator was used must not depend on earlier bytes.
    static GENERATOR: OnceLock<Mutex<Generator>> = OnceLock::new();
    let generator = GENERATOR.get_or_init(|| Mutex::new(Generator::new(config())));
    let case = {
        let mut generator = generator.lock().unwrap_or_else(PoisonError::into_inner);
        generator.forget_uses();
        let case = generator.generate(&mut FromBytes::new(bytes));
        if let Some((graph, _, text)) = generator.bugs.pop() {
            return Err(format!("the reference refuses: {text}\n{}", text::print(&graph)));
        }
        case
    };
    let Some(case) = case else { return Ok(()) };
    match failure(&mut Egret::default(), &case).map_err(|e| e.to_string())? {
        None => Ok(()),
        Some(f) => Err(format!("{} ({}): {}\n{}", f.stage, f.kind.name(), f.text, text::print(&case.graph))),
    }
}

/// Bounds on the runs of [`compile`].
fn run_limits() -> eval::Limits {
    let deadline = Instant::now().checked_add(Duration::from_secs(2));
    eval::Limits { value_bytes: 1 << 22, loop_steps: 1 << 10, deadline, ..eval::Limits::default() }
}

/// A model's file: both levels must agree on random inputs.
///
/// # Errors
/// The finding.
pub fn compare_levels(model: &[u8], random: &mut Random) -> Result<(), String> {
    let graph = match onnx::import_bytes(model.to_vec().into(), None, &limits()) {
        Ok(model) => model.graph,
        Err(error) => return blameless(&error, "importing"),
    };
    let Some(inputs) = inputs_of(&graph, random) else { return Ok(()) };
    let want = match eval::evaluate(&graph, inputs.clone(), &Env::new(run_limits(), 0)) {
        Ok(want) => Some(want),
        Err(error) => {
            blameless(&error, "evaluating")?;
            None
        }
    };
    let options = ExecOptions { limits: run_limits(), ..ExecOptions::default() };
    let random_ops = !is_pure(&graph);
    let got = Executable::new(Arc::new(graph), Arc::new(DefaultPlanner), options)
        .and_then(|exe| exe.run_with(inputs, &Env::new(run_limits(), 0), &mut egret_codegen::exec::run::Silent));
    match (got, want) {
        (Err(error), None) => blameless(&error, "compiling"),
        (Err(error), Some(_)) if error.kind() == ErrorKind::Limit => Ok(()),
        (Err(error), Some(_)) => Err(format!("only the machine code refuses: {error:?}")),
        // A node whose result nobody needs is not run, and its complaint not heard.
        (Ok(_), None) => Ok(()),
        (Ok(_), Some(_)) if random_ops => Ok(()),
        (Ok(got), Some(want)) => got
            .iter()
            .zip(&want)
            .enumerate()
            .try_for_each(|(k, (g, w))| agree(g, w).map_err(|e| format!("result {k}: {e}"))),
    }
}

fn is_pure(graph: &Graph) -> bool {
    graph.nodes.iter().all(|n| n.op.facts().pure && n.op.bodies().iter().all(|b| is_pure(b)))
}

/// Small random values for the inputs of a graph; defaults where there are. `None` where one is too large or of no type that
/// has random values.
fn inputs_of(graph: &Graph, random: &mut Random) -> Option<Vec<Value>> {
    let mut sizes: BTreeMap<String, i64> = BTreeMap::new();
    let mut values = Vec::new();
    for &v in &graph.inputs {
        let info = graph.value(v);
        if let Some(default) = &info.constant {
            values.push(default.clone().into());
            continue;
        }
        let Type::Tensor(t) = &info.ty else { return None };
        let mut shape = Vec::new();
        for d in t.shape.dims()? {
            for symbol in d.symbols() {
                sizes.entry(symbol.to_string()).or_insert_with(|| 1 + random.below(4) as i64);
            }
            shape.push(usize::try_from(d.eval(&|s| sizes.get(s).copied())?).ok()?);
        }
        let n = egret_ir::tensor::len_elems(&shape).ok().filter(|&n| n <= 1 << 14)?;
        // One choice is enough: more would use up the bytes.
        let mut noise = Random::new(random.bits());
        let mut unit = || (noise.bits() >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
        values.push(Value::Tensor(match t.dtype.class() {
            Class::Float => Tensor::from_floats(t.dtype, &shape, (0..n).map(|_| 2.0 * unit())),
            Class::String => Tensor::from_strings(&shape, (0..n).map(|k| format!("w{}", k % 3).into()).collect()),
            Class::Complex => return None,
            _ => Tensor::from_ints(t.dtype, &shape, (0..n).map(|_| (3.0 * unit()) as i128)),
        }));
    }
    Some(values)
}

/// Whether a result is what the reference says: the same kind, and numbers within a tolerance of the largest.
fn agree(got: &Value, want: &Value) -> Result<(), String> {
    let (Value::Tensor(g), Value::Tensor(w)) = (got, want) else {
        return if got.ty() == want.ty() { Ok(()) } else { Err(format!("{} instead of {}", got.ty(), want.ty())) };
    };
    if g.dtype() != w.dtype() || g.shape() != w.shape() {
        return Err(format!("{} instead of {}", got.ty(), want.ty()));
    }
    if g == w || w.dtype().class() == Class::String {
        return if g == w { Ok(()) } else { Err("the texts differ".into()) };
    }
    if w.dtype().class() == Class::Complex {
        return Ok(());
    }
    let numbers = |t: &Tensor| t.floats().map_err(|e| e.to_string());
    let (g, w) = (numbers(g)?, numbers(w)?);
    let largest = w.iter().filter(|v| v.is_finite()).fold(1.0f64, |m, v| m.max(v.abs()));
    let unit = match want.tensor().map(Tensor::dtype) {
        Ok(DType::F64) => 1e-9,
        Ok(DType::F32) => 1e-4,
        Ok(DType::F16) => 4e-3,
        Ok(DType::BF16) => 3e-2,
        Ok(t) if t.class() == Class::Float => 0.3,
        // Rounded once from floats that may differ in the last place.
        _ => 1.0 / largest,
    };
    for (i, (&g, &w)) in g.iter().zip(&w).enumerate() {
        let near = (g - w).abs() <= unit * largest || g == w || g.is_nan() && w.is_nan();
        if !near {
            return Err(format!("element {i} is {g:e} instead of {w:e}"));
        }
    }
    Ok(())
}

/// Operators with their attributes and which operands are there, one node a line, bodies below their node. `Identity` is left
/// out: it is how an exporter spells a result that no node makes, or two results that are one value.
fn outline(graph: &Graph) -> String {
    let mut text = format!("{} -> {} {{\n", graph.inputs.len(), graph.outputs.len());
    for node in graph.nodes.iter().filter(|node| node.op.def().name != "Identity") {
        let presence = |values: &[Option<ValueId>]| -> String {
            values.iter().map(|value| if value.is_some() { 'x' } else { '_' }).collect()
        };
        let (operands, results) = (presence(&node.inputs), presence(&node.outputs));
        text += &format!("{results} = {} {operands}", node.op.def().name);
        for (name, attr) in node.op.attrs() {
            if !matches!(attr, Attr::Graph(_)) {
                text += &format!(" {name}={attr:?}");
            }
        }
        text.push('\n');
        for body in node.op.bodies() {
            text += &outline(body);
        }
    }
    text + "}\n"
}

/// An error of any kind but [`ErrorKind::Bug`] is a legitimate answer.
fn blameless(error: &Error, doing: &str) -> Result<(), String> {
    if error.kind() == ErrorKind::Bug { Err(format!("{doing}: {error:?}")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::onnx::Model;
    use egret_ir::{DType, GraphBuilder, Tensor, Type, attrs};

    fn small_model() -> Vec<u8> {
        let mut b = GraphBuilder::new("small");
        let x = b.input("x", Type::tensor(DType::F32, &[2, 3]));
        let w = b.constant(Tensor::from_slice(&[3], &[1.0f32, -2.0, 3.0]));
        let sum = b.op("Add", attrs! {}, &[x, w]).unwrap();
        let y = b.op("Relu", attrs! {}, &[sum]).unwrap();
        let z = b.op("Concat", attrs! { axis: 1i64 }, &[y, x]).unwrap();
        let graph = b.finish(&[z]);
        onnx::export(&Model { graph, ir_version: 10, ..Model::default() }).unwrap()
    }

    #[test]
    fn a_valid_model_reads_back_the_same() {
        let bytes = small_model();
        assert!(onnx::import_bytes(bytes.clone().into(), None, &limits()).is_ok());
        assert_eq!(import(&bytes), Ok(()));
    }

    #[test]
    fn every_prefix_and_every_changed_byte_is_answered() {
        let bytes = small_model();
        for n in 0..bytes.len() {
            assert_eq!(import(&bytes[..n]), Ok(()), "the first {n} bytes");
            for value in [0, 1, 0x7f, 0x80, 0xff, bytes[n] ^ 1, bytes[n].wrapping_add(1)] {
                let mut changed = bytes.clone();
                changed[n] = value;
                assert_eq!(import(&changed), Ok(()), "byte {n} set to {value}");
            }
        }
    }

    #[test]
    fn an_error_that_blames_egret_is_a_finding() {
        assert_eq!(blameless(&Error::invalid("a cycle"), "importing"), Ok(()));
        assert!(blameless(&Error::bug("a value without a type"), "importing").is_err());
    }
}
