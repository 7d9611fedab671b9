//! Forms from inferred rules: which calls are drawn follows from what experiments on a system showed, not from the registry.
//!
//! A rule is inferred for one argument structure, which is a form with other names; its requirements are the conditions
//! under which a call of it is valid, its extents those of the results. Of what a system takes and the registry's rule does
//! not, no call is made: the reference could not say what is right.

use crate::choices::{Choices, Seeded};
use crate::form::{Draw, Form, Operand, Types, extents, is_plain, seed_of};
use crate::infer::bench::Kind;
use crate::infer::rulefile;
use crate::infer::search::Rule;
use crate::infer::structure::{ArgKind, AttrSlot, Slot, VarKind};
use anyhow::{Result, ensure};
use egret_ir::infer::Inferred;
use egret_ir::rule::Assumption;
use egret_ir::{Attr, Attrs, Cond, DType, Dim, Fact, OpDef, Type};
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Forms of one operator that are taken at a time.
const FORMS: usize = 64;

/// Inferred rules by operator.
#[derive(Clone, Default)]
pub struct Rules {
    rules: Arc<BTreeMap<(String, String), Vec<Rule>>>,
    /// Of the file's text: another file is another campaign.
    digest: u64,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n: usize = self.rules.values().map(Vec::len).sum();
        write!(f, "{n} of {} operators, {:016x}", self.rules.len(), self.digest)
    }
}

impl Rules {
    /// From the text of a rule file.
    ///
    /// # Errors
    /// At the first line that is no rule, with its number; where no rule is of an operator that the registry has.
    pub fn read(text: &str) -> Result<Rules> {
        let mut rules: BTreeMap<_, Vec<Rule>> = BTreeMap::new();
        for rule in rulefile::read(text)? {
            let (domain, op) = (&rule.structure.domain, &rule.structure.op);
            if egret_ir::ops::find(domain, op).is_some() {
                rules.entry((domain.clone(), op.clone())).or_default().push(rule);
            }
        }
        ensure!(
            !rules.is_empty(),
            "no rule is of an operator that the registry has, whose reference says what is right"
        );
        let mut digest = DefaultHasher::new();
        text.hash(&mut digest);
        Ok(Rules { rules: Arc::new(rules), digest: digest.finish() })
    }

    /// Forms of an operator, where there are rules of it; other ones for another draw where it has more than are kept.
    pub(crate) fn forms_of(&self, def: &OpDef, types: &Types, draw: Draw) -> Option<Vec<(Form, Inferred)>> {
        let rules = self.rules.get(&(def.domain.to_owned(), def.name.to_owned()))?;
        let mut forms: Vec<_> = rules.iter().filter_map(form_of).filter(|(f, open)| fits(f, open, types)).collect();
        let mut choices = Seeded::new(seed_of(def.domain, def.name) ^ draw.seed.rotate_left(32), draw.turn);
        while forms.len() > FORMS {
            forms.swap_remove(choices.below(forms.len()));
        }
        Some(forms)
    }
}

/// Whether all its tensors are of types that are drawn.
fn fits(form: &Form, open: &Inferred, types: &Types) -> bool {
    let results =
        open.outputs.iter().all(|f| f.ty.as_tensor().is_some_and(|t| types.draws(t.dtype)) && is_plain(&f.ty));
    form.operands.iter().flatten().all(|o| types.draws(o.dtype())) && results && types.has(form)
}

/// A rule as a form and what is known of it; none where it speaks of what forms do not have.
fn form_of(rule: &Rule) -> Option<(Form, Inferred)> {
    let s = &rule.structure;
    let def = egret_ir::ops::find(&s.domain, &s.op)?;
    let (vars, element, attribute) = (
        s.vars(),
        |i: usize, k: usize| Dim::sym(&format!("c{i}_{k}")),
        |name: &str, k: usize| Dim::sym(&format!("a_{name}_{k}")),
    );
    let rank_of = |i: usize| match s.args.get(i) {
        Some(Some(a)) => {
            if let ArgKind::Tensor(rank) = a.kind {
                rank
            } else {
                0
            }
        }
        _ => 0,
    };
    let dims: Vec<Dim> = vars
        .iter()
        .map(|v| match &v.kind {
            VarKind::Extent(i, axis) => extents(*i, rank_of(*i))[*axis].clone(),
            VarKind::Element(i, k) => element(*i, *k),
            VarKind::Attr(name, k) => attribute(name, k.unwrap_or(0)),
        })
        .collect();
    let operand = |(i, a): (usize, &Option<crate::infer::structure::ArgSlot>)| -> Option<Option<Operand>> {
        let Some(a) = a else { return Some(None) };
        Some(Some(match &a.kind {
            ArgKind::Tensor(rank) => Operand::Tensor { dtype: a.dtype, rank: *rank },
            ArgKind::Content { scalar, slots } if matches!(a.dtype, DType::I32 | DType::I64) => {
                let number = |(k, slot): (usize, &Slot)| match slot {
                    Slot::Free => Some(element(i, k)),
                    Slot::Pin(v) => Some(Dim::int(*v)),
                    Slot::PinFloat(_) => None,
                };
                let elements = slots.iter().enumerate().map(number).collect::<Option<_>>()?;
                Operand::Content { dtype: a.dtype, elements, scalar: *scalar }
            }
            ArgKind::Content { .. } => return None,
        }))
    };
    let operands = s.args.iter().enumerate().map(operand).collect::<Option<Vec<_>>>()?;
    let value = |(name, slot): (&String, &AttrSlot)| {
        let number =
            |(k, slot): (usize, &Slot)| if let Slot::Pin(v) = slot { Dim::int(*v) } else { attribute(name, k) };
        let attr = match slot {
            AttrSlot::Fixed(a) => a.clone(),
            AttrSlot::Int => Attr::Int(attribute(name, 0)),
            AttrSlot::Ints(n) => Attr::Ints((0..*n).map(|k| attribute(name, k)).collect()),
            AttrSlot::Signed { scalar: true, slots } => Attr::Int(number((0, slots.first()?))),
            AttrSlot::Signed { slots, .. } => Attr::Ints(slots.iter().enumerate().map(number).collect()),
        };
        Some((name.clone(), attr))
    };
    let attrs = s.attrs.iter().map(value).collect::<Option<Attrs>>()?;
    // Results in a row; an extent without an expression depends on data.
    let (mut outputs, mut at) = (Vec::new(), 0);
    for kind in &rule.kinds {
        let Kind::Tensor(dtype, rank) = kind else { return None };
        let extent = |k: usize| match rule.extents.get(k) {
            Some(Some(term)) => term.dim(&dims),
            _ => Dim::sym(&format!("u{k}")),
        };
        outputs.push(Fact::of(Type::ranked(*dtype, (at..at + rank).map(extent).collect())));
        at += rank;
    }
    let required = rule.requires.iter().flat_map(|r| r.pred.conds(&dims));
    // A rule speaks of numbers from the least on.
    let least =
        vars.iter().zip(&dims).filter(|(v, _)| v.least() > i64::MIN).map(|(v, d)| Cond::le(&Dim::int(v.least()), d));
    let assumptions = required.chain(least).map(|cond| Assumption { label: "rule", cond }).collect();
    let form = Form { def, attrs, operands, n_outputs: s.n_outputs };
    Some((form, Inferred { outputs, assumptions, deferred: None }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blackbox::Egret;
    use crate::generate::{Config, Generator};
    use crate::infer::declaration::Declaration;
    use crate::infer::list::list;
    use crate::infer::search::{Effort, infer};
    use egret_ir::ops::find;

    /// Rules of operators, inferred anew.
    fn inferred(names: &[&str]) -> Rules {
        let mut text = String::new();
        for name in names {
            let declaration = Declaration::of_def(find("ai.onnx", name).unwrap());
            let structures = list(&declaration, &mut Egret::default(), 1).structures;
            for (structure, _) in structures.iter().take(40) {
                if let Some(rule) = infer(structure, &mut Egret::default(), 1, Effort::default()) {
                    text += &format!("{}\n", rulefile::json(&rule));
                }
            }
        }
        Rules::read(&text).unwrap()
    }

    #[test]
    fn graphs_grow_from_inferred_rules() {
        let names = ["Conv", "MatMul", "Concat", "Transpose"];
        let rules = inferred(&names);
        let config = Config { only: names.map(String::from).to_vec(), rules, ..Config::default() };
        let mut generator = Generator::new(config);
        let mut used = BTreeMap::new();
        for i in 0..60 {
            let case = generator.generate(&mut Seeded::new(3, i)).unwrap();
            case.graph.nodes.iter().for_each(|n| *used.entry(n.op.def().name).or_insert(0) += 1);
        }
        assert!(names.iter().all(|n| used.get(n).is_some_and(|n| *n > 20)), "{used:?}");
    }

    #[test]
    fn a_file_without_known_operators_is_refused() {
        assert!(Rules::read("").unwrap_err().to_string().contains("no rule"));
        assert!(Rules::read("{}").is_err());
    }
}
