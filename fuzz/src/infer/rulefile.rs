//! The rule file: a JSON object a line, one rule each, terms as people write them.
//!
//! ```text
//! {"structure":{"op":"Concat",…},"requires":[{"that":"inputs1[1] == inputs0[1]","refused":24,"witness":[…]}],
//!  "results":[{"dtype":"f32","shape":["inputs0[0] + inputs1[0]","inputs0[1]"]}],"status":"stands",…}
//! ```

use super::bench::Kind;
use super::search::{Requirement, Rule, Status};
use super::structure::{Structure, var_names};
use super::term::Parser;
use crate::trace::dtype;
use anyhow::{Context, Result, anyhow};
use serde_json::{Value as Json, json};

/// A rule as a JSON object.
pub fn json(rule: &Rule) -> Json {
    let names = var_names(&rule.structure.vars());
    let requires: Vec<Json> = rule
        .requires
        .iter()
        .map(|r| json!({ "that": r.pred.text(&names), "refused": r.witnesses, "witness": r.witness }))
        .collect();
    let mut at = 0;
    let mut results = Vec::new();
    for kind in &rule.kinds {
        let mut shape = |rank: usize| -> Vec<Json> {
            let extent = |j: usize| match &rule.extents[j] {
                Some(t) => json!(t.text(&names)),
                None if rule.data_dependent[j] => json!({ "by": "data" }),
                None => Json::Null,
            };
            at += rank;
            (at - rank..at).map(extent).collect()
        };
        results.push(match kind {
            Kind::Other(text) => json!({ "type": text }),
            Kind::Nested(text, rank) => json!({ "type": text, "shape": shape(*rank) }),
            Kind::Tensor(dtype, rank) => json!({ "dtype": dtype.name(), "shape": shape(*rank) }),
        });
    }
    json!({
        "structure": rule.structure.json(),
        "requires": requires,
        "results": results,
        "example": rule.valid,
        "status": match rule.status { Status::Stands => "stands", Status::Open => "open" },
        "valid": rule.experiments.0,
        "refused": rule.experiments.1,
        "rounds": rule.rounds,
    })
}

/// Reads a rule.
///
/// # Errors
/// When it is none, with what stands where.
pub fn from_json(json: &Json) -> Result<Rule> {
    let structure = Structure::from_json(&json["structure"])?;
    let names = var_names(&structure.vars());
    let fail = |e: String| anyhow!("{}: {e}", structure.text());
    let mut requires = Vec::new();
    for r in json["requires"].as_array().context("a rule has no list `requires`")? {
        let text = r["that"].as_str().context("a requirement has no text")?;
        let witness: Option<Vec<i64>> = r["witness"].as_array().map(|w| w.iter().filter_map(Json::as_i64).collect());
        requires.push(Requirement {
            pred: Parser::pred(text, &names).map_err(fail)?,
            witnesses: r["refused"].as_u64().unwrap_or(0) as usize,
            witness: witness.filter(|w| w.len() == names.len()),
        });
    }
    let (mut kinds, mut extents, mut data_dependent) = (Vec::new(), Vec::new(), Vec::new());
    for r in json["results"].as_array().context("a rule has no list `results`")? {
        let shape = r["shape"].as_array();
        kinds.push(match (r["type"].as_str().map(str::to_owned), shape) {
            (Some(text), Some(shape)) => Kind::Nested(text, shape.len()),
            (Some(text), None) => Kind::Other(text),
            (None, shape) => Kind::Tensor(dtype(&r["dtype"])?, shape.context("a result has no shape")?.len()),
        });
        for d in shape.into_iter().flatten() {
            data_dependent.push(d.is_object());
            extents.push(d.as_str().map(|t| Parser::term(t, &names).map_err(fail)).transpose()?);
        }
    }
    let example: Option<Vec<i64>> = json["example"].as_array().map(|e| e.iter().filter_map(Json::as_i64).collect());
    Ok(Rule {
        structure,
        valid: example.filter(|e| e.len() == names.len()).unwrap_or_default(),
        requires,
        kinds,
        extents,
        data_dependent,
        status: if json["status"] == "stands" { Status::Stands } else { Status::Open },
        experiments: (json["valid"].as_u64().unwrap_or(0) as usize, json["refused"].as_u64().unwrap_or(0) as usize),
        rounds: json["rounds"].as_u64().unwrap_or(0) as usize,
    })
}

/// All rules of a file's text.
///
/// # Errors
/// At the first line that is no rule, with its number.
pub fn read(text: &str) -> Result<Vec<Rule>> {
    let lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    lines
        .map(|(n, line)| {
            let json: Json = serde_json::from_str(line).with_context(|| format!("line {}", n + 1))?;
            from_json(&json).with_context(|| format!("line {}", n + 1))
        })
        .collect()
}
