//! Tests written as IR text: what operators' examples, the files under `tests/files` and reproductions of findings are.
//!
//! ```text
//! // run: @f([-1.0, 2.0]) == [0.0, 2.0]
//! // infer: f32[2]
//! graph @f(%x: f32[2]) -> f32[2] {
//!   %0 = relu %x : f32[2]
//!   return %0
//! }
//! // expect: what the command prints follows
//! ```
//!
//! | directive | holds when |
//! |---|---|
//! | `run: @f(args) == results` | every engine gives these bits (a NaN equals every NaN) |
//! | `run: @f(args) ~= results` | … within 1e-5 of each element, relative above 1 |
//! | `run: @f(args) fails C2` | every engine refuses, by this label or with this text |
//! | `infer: types` | the rules give the graph that follows results of these types |
//! | `error: concat.C2` | the command finds a problem on this line (or on the next that is no comment) with this label or text |
//! | `expect:` | the rest of the file is what the command prints |
//!
//! Commands: `parse` (print), `verify`, `infer` (types from the arguments on, then print), `run`, and any other by a
//! function from graph to graph or from graph to text. Every graph must be valid unless an `error:` says otherwise.

use crate::error::{Error, Result};
use crate::eval::{Env, Limits, evaluate};
use crate::graph::Graph;
use crate::infer::infer;
use crate::ops;
use crate::tensor::Tensor;
use crate::text::{Parsed, parse_marked, parse_types, parse_values, print_full, print_value};
use crate::types::Type;
use crate::value::Value;
use crate::verify::{expect_valid, verify};
use std::fmt::Write;

/// What runs a graph: the reference, or compiled code.
pub type Engine<'a> = &'a dyn Fn(&Graph, Vec<Value>) -> Result<Vec<Value>>;

/// What a command does to a graph.
pub type Transform<'a> = &'a dyn Fn(&Graph) -> Result<Graph>;

/// What a command says of a graph that is no graph: a plan, lowerings.
pub type Describe<'a> = &'a dyn Fn(&Graph) -> Result<String>;

/// What a file is tested with.
#[derive(Default)]
pub struct Runner<'a> {
    /// Engines by name, for `run:`.
    pub engines: &'a [(&'a str, Engine<'a>)],
    /// Commands by name beside the built-in ones.
    pub commands: &'a [(&'a str, Transform<'a>)],
    /// Commands by name that print something else than a graph.
    pub descriptions: &'a [(&'a str, Describe<'a>)],
}

/// What came of a file.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What went wrong, one entry a directive.
    pub failures: Vec<String>,
    /// What the command printed.
    pub printed: String,
    /// What the file expects to be printed, where it does.
    pub expected: Option<String>,
    /// Directives that were looked at.
    pub checked: usize,
}

/// Bounds on a run of a test: what an example needs, many times over.
const RUN_LIMITS: Limits =
    Limits { value_bytes: 1 << 28, memory_bytes: usize::MAX, loop_steps: 1 << 20, deadline: None, cancel: None };

/// The reference evaluation as an engine.
///
/// # Errors
/// As [`evaluate`].
pub fn reference(graph: &Graph, args: Vec<Value>) -> Result<Vec<Value>> {
    evaluate(graph, args, &Env::new(RUN_LIMITS, 0))
}

/// A directive and the line it speaks of.
struct Directive<'a> {
    line: usize,
    about: usize,
    kind: &'a str,
    text: &'a str,
}

/// Splits a file into its graphs' text and what it expects to be printed.
pub fn split_expected(text: &str) -> (&str, Option<&str>) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("// expect:") {
            return (&text[..at], Some(&text[at + line.len()..]));
        }
        at += line.len();
    }
    (text, None)
}

/// Runs one file under a command.
pub fn check(text: &str, command: &str, runner: &Runner<'_>) -> Outcome {
    let (source, expected) = split_expected(text);
    let mut out = Outcome { expected: expected.map(str::to_owned), ..Outcome::default() };
    let directives = directives(source);
    let mut errors: Vec<&Directive<'_>> = directives.iter().filter(|d| d.kind == "error").collect();
    out.checked = directives.len() + usize::from(expected.is_some());
    let parsed = match parse_marked(source, &|_| Err(Error::invalid("a test holds all of its tensors"))) {
        Ok(parsed) => parsed,
        Err(e) => {
            let line = parse_error_line(&e);
            errors.retain(|d| !(Some(d.about) == line && matches(&e, d.text)));
            if directives.iter().any(|d| d.kind == "error") {
                out.failures.extend(errors.iter().map(|d| format!("line {}: found instead:\n{e}", d.line)));
            } else {
                out.failures.push(e.to_string());
            }
            return out;
        }
    };
    for (index, graph) in parsed.graphs.iter().enumerate() {
        match printed(graph, command, runner) {
            Err(_) | Ok(_) if command == "verify" => find_problems(&parsed, index, &mut errors, &mut out),
            Ok(text) => {
                let separator = if out.printed.is_empty() { "" } else { "\n" };
                write!(out.printed, "{separator}{text}").expect("writing to a string never fails");
            }
            Err(e) => find_problems_or(&parsed, index, &mut errors, &mut out, &e),
        }
    }
    out.failures.extend(errors.iter().map(|d| format!("line {}: no such error: {}", d.line, d.text)));
    for d in &directives {
        let result = match d.kind {
            "run" => run(&parsed.graphs, d.text, runner),
            "infer" => infers(&parsed, d),
            _ => Ok(()),
        };
        if let Err(e) = result {
            out.failures.push(format!("line {}: {}: {}\n{e}", d.line, d.kind, d.text));
        }
    }
    if let Some(expected) = expected
        && expected.trim() != out.printed.trim()
    {
        out.failures.push(format!("printed:\n{}\nexpected:\n{expected}", out.printed));
    }
    out
}

fn printed(graph: &Graph, command: &str, runner: &Runner<'_>) -> Result<String> {
    match runner.descriptions.iter().find(|c| c.0 == command) {
        Some((_, describe)) => describe(&transformed(graph, "infer", runner)?),
        None => Ok(print_full(&transformed(graph, command, runner)?)),
    }
}

fn transformed(graph: &Graph, command: &str, runner: &Runner<'_>) -> Result<Graph> {
    match command {
        "parse" | "verify" => Ok(graph.clone()),
        "infer" | "run" => {
            let mut g = graph.clone();
            infer(&mut g)?;
            expect_valid(&g)?;
            Ok(g)
        }
        other => {
            let found = runner.commands.iter().find(|c| c.0 == other);
            let (_, transform) = found.ok_or_else(|| Error::unsupported(format!("there is no command `{other}`")))?;
            let mut g = graph.clone();
            infer(&mut g)?;
            let g = transform(&g)?;
            expect_valid(&g)?;
            Ok(g)
        }
    }
}

fn find_problems(parsed: &Parsed, index: usize, errors: &mut Vec<&Directive<'_>>, out: &mut Outcome) {
    for p in verify(&parsed.graphs[index]) {
        let line = p.line_in(parsed, index);
        let known = errors.iter().position(|d| Some(d.about) == line && matches(&p.error, d.text));
        match known {
            Some(i) => {
                errors.remove(i);
            }
            None => out.failures.push(format!("line {}: {}", line.unwrap_or(0), p.error)),
        }
    }
}

/// Inference stops at its first error and names no line; verification finds the same one with its line.
fn find_problems_or(parsed: &Parsed, index: usize, errors: &mut Vec<&Directive<'_>>, out: &mut Outcome, error: &Error) {
    let before = (errors.len(), out.failures.len());
    find_problems(parsed, index, errors, out);
    if (errors.len(), out.failures.len()) == before {
        match errors.iter().position(|d| matches(error, d.text)) {
            Some(i) => {
                errors.remove(i);
            }
            None => out.failures.push(error.to_string()),
        }
    }
}

/// The comments that are directives. One alone on its line speaks of the next line that is no comment.
fn directives(source: &str) -> Vec<Directive<'_>> {
    const KINDS: [&str; 3] = ["run", "infer", "error"];
    let lines: Vec<&str> = source.lines().collect();
    let mut out = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let Some((before, comment)) = line.split_once("// ") else { continue };
        let Some((kind, text)) = comment.split_once(':') else { continue };
        if !KINDS.contains(&kind) {
            continue;
        }
        let about = if before.trim().is_empty() {
            let next = lines[i + 1..].iter().position(|l| !l.trim().is_empty() && !l.trim_start().starts_with("//"));
            i + 1 + next.unwrap_or(0)
        } else {
            i
        };
        out.push(Directive { line: i + 1, about: about + 1, kind, text: text.trim() });
    }
    out
}

fn parse_error_line(e: &Error) -> Option<usize> {
    let text = e.to_string();
    let (_, place) = text.rsplit_once("\n  at line ")?;
    place.split(':').next()?.parse().ok()
}

/// Whether an error has a label, written with the operator's name or mnemonic, or holds a text.
fn matches(error: &Error, wanted: &str) -> bool {
    let by_mnemonic = wanted.rsplit_once('.').and_then(|(op, label)| {
        let def = ops::find_mnemonic(op)?;
        Some(format!("{}.{label}", def.name))
    });
    error
        .label()
        .is_some_and(|l| l == wanted || Some(l) == by_mnemonic.as_deref() || l.ends_with(&format!(".{wanted}")))
        || error.message().contains(wanted)
}

/// `infer: types`, of the graph that follows.
fn infers(parsed: &Parsed, d: &Directive<'_>) -> Result<()> {
    let header = crate::text::Anchor::Header;
    let follows = |i: &usize| parsed.line_of(*i, &Vec::new(), header).is_some_and(|l| l >= d.about);
    let index = (0..parsed.graphs.len()).find(follows).ok_or_else(|| Error::invalid("no graph follows"))?;
    let mut g = parsed.graphs[index].clone();
    // What is declared of results must not help: the rules alone are asked.
    for node in &parsed.graphs[index].nodes {
        node.defs().for_each(|v| g.values[v.index()].ty = Type::Unknown);
    }
    infer(&mut g)?;
    let types: Vec<Type> = g.outputs.iter().map(|&v| g.ty(v).clone()).collect();
    if parse_types(d.text)? == types {
        return Ok(());
    }
    let types: Vec<String> = types.iter().map(Type::to_string).collect();
    Err(Error::invalid(format!("the rules give {}", types.join(", "))))
}

/// `run: @f(args) == results`.
fn run(graphs: &[Graph], text: &str, runner: &Runner<'_>) -> Result<()> {
    let bad = || Error::invalid("`@graph(arguments) == results` is wanted");
    let (name, rest) = text.strip_prefix('@').and_then(|t| t.split_once('(')).ok_or_else(bad)?;
    let name = name.trim_matches('"');
    let graph = graphs.iter().find(|g| g.name == name);
    let mut graph = graph.ok_or_else(|| Error::invalid(format!("there is no graph \"{name}\"")))?.clone();
    infer(&mut graph)?;
    let types = |ids: &[crate::ValueId]| ids.iter().map(|&v| graph.ty(v).clone()).collect::<Vec<_>>();
    let (args, rest) = parse_values(rest, &types(&graph.inputs)).map_err(|e| e.at("the arguments"))?;
    let rest = rest.strip_prefix(')').ok_or_else(bad)?.trim_start();
    let fails = rest.strip_prefix("fails").map(str::trim);
    let (wanted, exact) = match (fails, rest.strip_prefix("=="), rest.strip_prefix("~=")) {
        (Some(_), ..) => (vec![], true),
        (_, Some(results), _) => (parse_values(results, &types(&graph.outputs))?.0, true),
        (_, _, Some(results)) => (parse_values(results, &types(&graph.outputs))?.0, false),
        _ => return Err(bad()),
    };
    for (engine, call) in runner.engines {
        let place = |e: Error| e.at(format!("engine `{engine}`"));
        match (call(&graph, args.clone()), fails) {
            (Err(e), Some(label)) if matches(&e, label) => {}
            (Err(e), _) => return Err(place(e)),
            (Ok(got), Some(_)) => return Err(place(Error::invalid(format!("it gives {}", print_values(&got))))),
            (Ok(got), None) => {
                let same = got.len() == wanted.len() && got.iter().zip(&wanted).all(|(g, w)| equal(g, w, exact));
                if !same {
                    return Err(place(Error::invalid(format!("it gives {}", print_values(&got)))));
                }
            }
        }
    }
    Ok(())
}

fn print_values(values: &[Value]) -> String {
    values.iter().map(print_value).collect::<Vec<_>>().join(", ")
}

fn equal(got: &Value, wanted: &Value, exact: bool) -> bool {
    let all = |a: &[Value], b: &[Value]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b, exact));
    match (got, wanted) {
        (Value::Tensor(a), Value::Tensor(b)) => a == b || close(a, b, exact),
        (Value::Sequence(_, a), Value::Sequence(_, b)) => all(a, b),
        (Value::Optional(_, a), Value::Optional(_, b)) => match (a, b) {
            (Some(a), Some(b)) => equal(a, b, exact),
            (a, b) => a.is_none() && b.is_none(),
        },
        (Value::Map(_, _, a), Value::Map(_, _, b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && equal(&a.1, &b.1, exact))
        }
        _ => false,
    }
}

/// Floats of one type and shape: the same numbers with the same sign, or near ones.
fn close(a: &Tensor, b: &Tensor, exact: bool) -> bool {
    if a.dtype() != b.dtype() || a.shape() != b.shape() || !a.dtype().is_float() {
        return false;
    }
    let (Ok(x), Ok(y)) = (a.floats(), b.floats()) else { return false };
    x.iter().zip(&y).all(|(x, y)| {
        let same = x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan());
        same || (!exact && (x - y).abs() <= 1e-5 * y.abs().max(1.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_reference(text: &str, command: &str) -> Outcome {
        check(text, command, &Runner { engines: &[("reference", &reference)], ..Runner::default() })
    }

    /// Every operator's examples hold on the reference.
    #[test]
    fn examples_of_all_operators_hold() {
        let mut failures = String::new();
        let mut with_examples = 0;
        for def in ops::OPS.iter().filter(|d| !d.examples.is_empty()) {
            let out = on_reference(def.examples, "run");
            with_examples += 1;
            for f in &out.failures {
                writeln!(failures, "{}: {f}", def.name).unwrap();
            }
            if out.checked == 0 {
                writeln!(failures, "{}: its examples say nothing that is checked", def.name).unwrap();
            }
        }
        assert!(failures.is_empty(), "{failures}");
        assert!(with_examples > 0);
    }

    const RELU: &str = "graph @f(%x: f32[2]) -> f32[2] {\n  %0 = relu %x : f32[2]\n  return %0\n}\n";

    #[test]
    fn what_is_true_holds_and_what_is_false_fails() {
        let with = |line: &str, command: &str| on_reference(&format!("// {line}\n{RELU}"), command).failures;
        assert_eq!(with("run: @f([-1.0, 2.0]) == [0.0, 2.0]", "run"), [""; 0]);
        assert_eq!(with("run: @f([-1.0, 2.0]) ~= [0.0, 2.000001]", "run"), [""; 0]);
        assert!(with("run: @f([-1.0, 2.0]) == [-0.0, 2.0]", "run")[0].contains("it gives f32[2] [0.0, 2.0]"));
        assert!(with("run: @f([-1.0, 2.0]) ~= [0.0, 2.1]", "run")[0].contains("engine `reference`"));
        assert!(with("run: @g([-1.0]) == [1.0]", "run")[0].contains("no graph \"g\""));
        assert_eq!(with("infer: f32[2]", "infer"), [""; 0]);
        assert!(with("infer: f32[3]", "infer")[0].contains("the rules give f32[2]"));
        assert!(with("error: concat.C2", "verify")[0].contains("no such error"));
    }

    #[test]
    fn errors_are_wanted_on_their_line() {
        let bad = "graph @f(%x: f32[2]) -> f32[2] {\n  %0 = concat %x {axis = 1} : f32[2] // error: concat.C3\n  return %0\n}";
        assert_eq!(on_reference(bad, "verify").failures, [""; 0]);
        assert_eq!(on_reference(bad, "infer").failures, [""; 0]);
        assert!(!on_reference(&bad.replace("concat.C3", "concat.C2"), "verify").failures.is_empty());
        let syntax = "graph @f() -> () {\n  %0 = relo // error: there is no operator `relo`\n}";
        assert_eq!(on_reference(syntax, "parse").failures, [""; 0]);
    }

    #[test]
    fn the_rest_after_expect_is_compared() {
        let out = on_reference(&format!("{RELU}// expect:\n{RELU}"), "parse");
        assert!(out.failures.is_empty() && out.expected.is_some());
        assert_eq!(on_reference(&format!("{RELU}// expect:\ngraph"), "parse").failures.len(), 1);
    }
}
