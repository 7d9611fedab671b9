//! Many operators: each one's structures are listed and a rule is inferred for each, operators side by side.

use super::declaration::Declaration;
use super::list::{self, Listing};
use super::search::{Effort, Known, Rule, Status, infer_beside};
use crate::blackbox::BlackBox;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What came of one operator.
#[derive(Debug)]
pub struct Inferred {
    /// The operator's name.
    pub op: String,
    /// Its rules, by structure.
    pub rules: Vec<Rule>,
    /// Why there is none.
    pub none: Option<String>,
    /// Time that listing and inference took.
    pub took: Duration,
}

/// Infers rules of one operator's structures, one after another, so that what was learnt of some helps with the others. Where
/// nobody has said what an attribute means, and no rule stands for all of its numbers, negative ones are looked at apart.
/// All that a rule says comes from `system`.
fn of_listing(of: &Declaration, listing: &Listing, system: &mut dyn BlackBox, seed: u64, effort: Effort) -> Vec<Rule> {
    let n = listing.structures.len();
    let most = effort.structures.unwrap_or(n).min(n);
    let mut known = Known::of_records(of.calls.clone());
    let mut rules: Vec<Rule> = Vec::new();
    // Whether the sign of open attributes was seen to matter.
    let mut signed = false;
    // Where not all are wanted, they are spread over the list.
    for k in 0..most {
        let (structure, start) = &listing.structures[k * n / most];
        let apart = if of.recorded { structure.by_sign() } else { Vec::new() };
        let whole = (!signed || apart.is_empty())
            .then(|| infer_beside(structure, Some(start), system, seed, effort, &mut known))
            .flatten();
        if apart.is_empty() || whole.as_ref().is_some_and(|r| r.status == Status::Stands) {
            rules.extend(whole);
            continue;
        }
        let mut infer = |s, start| infer_beside(s, start, system, seed, effort, &mut known);
        let found = apart.iter().filter_map(|s| infer(s, None)).filter(|r| r.status == Status::Stands);
        let found: Vec<Rule> = found.collect();
        signed |= !found.is_empty();
        if found.is_empty() {
            // A rule that does not stand is still the best that there is.
            rules.extend(whole.or_else(|| infer(structure, Some(start))));
        }
        rules.extend(found);
    }
    rules
}

/// Makes a black box.
pub type Make<'a> = &'a (dyn Fn() -> Box<dyn BlackBox> + Sync);

/// Infers the rules of many operators, `jobs` at a time, each thread with a black box of its own. The results are in
/// the order of the declarations and do not depend on `jobs`.
///
/// Which structures there are to ask about follows from the declaration, and which of them have a valid call is tried in the
/// black box of `lister`: for operators of the registry that is Egret, where trying is cheap. Operators with many come first, so
/// that threads end together.
pub fn operators(
    declared: &[Declaration],
    lister: Make<'_>,
    make: Make<'_>,
    seed: u64,
    effort: Effort,
    jobs: usize,
    done: &(dyn Fn(&Inferred) + Sync),
) -> Vec<Inferred> {
    let seed_of = |of: &Declaration| seed ^ of.seed();
    let listings = side_by_side(declared, jobs, lister, |system, of| {
        let begin = Instant::now();
        (list::list(of, &mut **system, seed_of(of)), begin.elapsed())
    });
    let mut order: Vec<usize> = (0..declared.len()).collect();
    order.sort_by_key(|&k| std::cmp::Reverse(listings[k].0.structures.len()));
    let mut found = side_by_side(&order, jobs, make, |system, &k| {
        let begin = Instant::now();
        let ((listing, listed), of) = (&listings[k], &declared[k]);
        let rules = of_listing(of, listing, &mut **system, seed_of(of), effort);
        let took = *listed + begin.elapsed();
        let inferred = Inferred { op: of.op.clone(), rules, none: listing.none.clone(), took };
        done(&inferred);
        (k, inferred)
    });
    found.sort_by_key(|(k, _)| *k);
    found.into_iter().map(|(_, inferred)| inferred).collect()
}

/// `work` on each item, `jobs` at a time, each thread with a state of its own; the results in the order of the items.
pub fn side_by_side<T: Sync, S, R: Send>(
    items: &[T],
    jobs: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                let mut own = state();
                while let Some((k, item)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|k| Some((k, items.get(k)?)))
                {
                    let result = work(&mut own, item);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((k, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(k, _)| *k);
    results.into_iter().map(|(_, r)| r).collect()
}

#[cfg(all(test, feature = "z3"))]
mod tests {
    use super::super::rulefile;
    use super::super::score::{Asked, Counts, Verdict, score_beside};
    use super::super::search::render;
    use super::super::structure::Var;
    use super::*;
    use crate::blackbox::Egret;
    use crate::choices::{Choices, Seeded};
    use crate::trace::{Call, Outcome, Produced, read};
    use egret_ir::{Attr, DType, ops};

    #[test]
    fn operators_are_inferred_as_the_registry_says() {
        let names = ["Relu", "Gather", "SpaceToDepth"];
        let declared = names.map(|n| Declaration::of_def(ops::find("ai.onnx", n).unwrap()));
        let make = || Box::new(Egret::default()) as Box<dyn BlackBox>;
        let effort = Effort { structures: Some(3), ..Effort::default() };
        let found = operators(&declared, &make, &make, 0, effort, 2, &|_| {});
        assert_eq!(found.iter().map(|i| &*i.op).collect::<Vec<_>>(), names);
        let (mut asked, mut counts) = (Asked::default(), Counts::default());
        for rule in found.iter().flat_map(|i| &i.rules) {
            let score = score_beside(rule, 1, &mut asked);
            let proved = matches!(score.verdict, Verdict::Proved | Verdict::ProvedInCases(_));
            assert!(proved, "{}: {:?}", rule.structure.text(), score.verdict);
            counts += score.counts;
        }
        assert_eq!((counts.only_inferred, counts.only_registry, counts.right), (0, 0, counts.both));
        assert!(counts.both > 30 && counts.neither > 20, "{counts:?}");
    }

    /// The last axis of a tensor of rank 3 goes where `place` says.
    struct Moves;

    impl BlackBox for Moves {
        fn name(&self) -> &str {
            "moves"
        }

        fn call(&mut self, call: &Call) -> Outcome {
            let shape = call.inputs[0].as_ref().unwrap().shape.clone();
            let Some(Attr::Int(place)) = call.attrs.get("place") else { return Outcome::Invalid("no place".into()) };
            let (r, place) = (shape.len() as i64, place.as_int().unwrap());
            if r == 0 || place < -r || place >= r {
                return Outcome::Invalid("no such axis".into());
            }
            let mut shape: Vec<Option<i64>> = shape.into_iter().map(Some).collect();
            let last = shape.pop().unwrap();
            shape.insert(((place + r) % r) as usize, last);
            Outcome::Valid(vec![Produced::Tensor { dtype: DType::F32, shape }])
        }
    }

    #[test]
    fn an_attribute_that_numbers_axes_is_found_whatever_it_is_called() {
        let text = r#"{"op":"move","domain":"d","inputs":[{"dtype":"f32","shape":[2,3,4]}],"attrs":{"place":0},"outputs":[{"dtype":"f32","shape":[4,2,3]}]}"#;
        let declared = Declaration::of_records(&read(text).unwrap());
        assert!(declared[0].attrs[0].open);
        let found = declared[0].with_axes_found(&mut Moves);
        assert!(found.attrs[0].axis && !found.attrs[0].open);
        let make = || Box::new(Moves) as Box<dyn BlackBox>;
        let found = operators(&declared, &make, &make, 0, Effort::default(), 1, &|_| {});
        assert!(found[0].rules.iter().all(|r| r.status == Status::Stands && r.structure.by_sign().is_empty()));
        let texts: Vec<String> = found[0].rules.iter().map(|r| r.structure.text()).collect();
        assert!(texts.contains(&"move(x0: f32 rank 3) {place = -2}".into()), "{texts:?}");
    }

    /// An operator that no registry has: windows over the last axis of `x`, as long as `w` with holes of `reach`, every `step`;
    /// with `same` as if `x` went on.
    struct MadeUp;

    impl BlackBox for MadeUp {
        fn name(&self) -> &str {
            "made up"
        }

        fn call(&mut self, call: &Call) -> Outcome {
            let no = |why: &str| Outcome::Invalid(why.into());
            assert_eq!((&*call.domain, &*call.op), ("made.up", "slide"));
            let number = |name: &str, usual: i64| match call.attrs.get(name) {
                Some(Attr::Int(d)) => d.as_int().unwrap(),
                _ => usual,
            };
            let (step, reach, same) = (number("step", 1), number("reach", 1), number("same", 0));
            let operand = |name: &str| {
                let at = call.operands.iter().position(|o| o == name)?;
                call.inputs[at].as_ref().map(|a| &*a.shape)
            };
            let (Some(&[n, t]), Some(&[w])) = (operand("x"), operand("w")) else { return no("ranks") };
            let span = reach * (w - 1) + 1;
            if step < 1 || reach < 1 || w < 1 || same == 0 && t < span || operand("bias").is_some_and(|b| *b != [n]) {
                return no("numbers");
            }
            let windows = if same == 1 { (t + step - 1) / step } else { (t - span) / step + 1 };
            Outcome::Valid(vec![Produced::Tensor { dtype: DType::F32, shape: vec![Some(n), Some(windows)] }])
        }
    }

    const SLIDES: &str = r#"
{"op":"slide","domain":"made.up","operands":["x","w"],"inputs":[{"dtype":"f32","shape":[2,9]},{"dtype":"f32","shape":[3]}],"defaults":{"step":1,"reach":1},"flags":["same"],"outputs":[{"dtype":"f32","shape":[2,7]}]}
{"op":"slide","domain":"made.up","operands":["x","w","bias"],"inputs":[{"dtype":"f32","shape":[2,9]},{"dtype":"f32","shape":[3]},{"dtype":"f32","shape":[2]}],"attrs":{"same":1,"step":2},"defaults":{"reach":1},"flags":["same"],"outputs":[{"dtype":"f32","shape":[2,5]}]}
{"op":"slide","domain":"made.up","operands":["x","w"],"inputs":[{"dtype":"f32","shape":[2,2]},{"dtype":"f32","shape":[3]}],"error":"numbers"}
"#;

    #[test]
    fn an_operator_that_no_registry_has_is_inferred_from_records() {
        let declared = Declaration::of_records(&read(SLIDES).unwrap());
        let make = || Box::new(MadeUp) as Box<dyn BlackBox>;
        let found = operators(&declared, &make, &make, 0, Effort::default(), 1, &|_| {});
        let rules = &found[0].rules;
        assert!(rules.len() >= 8, "{}", rules.len());
        let mut choices = Seeded::new(3, 0);
        let mut accepted = 0;
        for rule in rules {
            let text = render(rule);
            assert_eq!(rule.status, Status::Stands, "{text}");
            let vars = rule.structure.vars();
            for turn in 0..400 {
                let draw = |v: &Var| (choices.below(if turn % 2 == 0 { 12 } else { 4 }) as i64).max(v.least());
                let at: Vec<i64> = vars.iter().map(draw).collect();
                let outcome = MadeUp.call(&rule.structure.call(&vars, &at));
                assert_eq!(matches!(outcome, Outcome::Valid(_)), rule.accepts(&at), "{at:?}\n{text}");
                if let Outcome::Valid(types) = outcome {
                    let Produced::Tensor { shape, .. } = &types[0] else { panic!("a tensor") };
                    let said: Vec<Option<i64>> = rule.extents.iter().map(|t| t.as_ref()?.eval(&at)).collect();
                    assert_eq!(said, *shape, "{at:?}\n{text}");
                    accepted += 1;
                }
            }
        }
        assert!(accepted > 300, "{accepted}");
        // The file of rules keeps what calls need to be made again.
        let line = rulefile::json(rules.last().unwrap()).to_string();
        let again = rulefile::read(&line).unwrap();
        assert!(again[0].structure == rules.last().unwrap().structure && again[0].structure.by_name);
        assert!(rules.iter().any(|r| render(r).contains("// step + 1")));
    }
}
