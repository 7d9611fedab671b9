//! Valid calls of other operands from valid calls: operands are left out, or added one after another, or two alike at once.
//! What an added operand may be is tried: element types, ranks, extents that the call knows and small ones.

use crate::blackbox::BlackBox;
use crate::trace::{Argument, Call, Number, Outcome};
use egret_ir::{Attr, DType};
use std::collections::BTreeSet;

/// Valid calls that are looked at, the latest first.
const CALLS: usize = 6;
/// Calls tried to add one operand, and in all.
const TRIES: (usize, usize) = (4000, 12_000);
/// Greatest rank of an added operand.
const MAX_RANK: usize = 4;
/// Usual element types of operands.
const USUAL: [DType; 7] = [DType::F32, DType::I32, DType::I64, DType::U8, DType::Bool, DType::I8, DType::F16];
/// Extents of an added operand beside those that the call knows.
const SMALL: i64 = 8;

/// A valid call in which exactly the operands `given` are given and `n_outputs` results are named, made from one of `calls`.
pub fn call_of(calls: &[Call], given: &[bool], n_outputs: usize, system: &mut dyn BlackBox) -> Option<Call> {
    let mut near: Vec<&Call> = calls.iter().rev().collect();
    // Few additions are found soonest.
    let missing = |c: &Call| (0..given.len()).filter(|&i| given[i] && !has(c, i)).count();
    near.sort_by_key(|c| missing(c));
    let mut left = TRIES.1;
    near.into_iter().take(CALLS).find_map(|call| {
        let mut call = call.clone();
        call.n_outputs = n_outputs;
        call.inputs.resize(given.len(), None);
        for (input, given) in call.inputs.iter_mut().zip(given) {
            if !given {
                *input = None;
            }
        }
        complete(call, given, system, &mut left)
    })
}

fn has(call: &Call, i: usize) -> bool {
    call.inputs.get(i).is_some_and(Option::is_some)
}

fn accepts(call: &Call, system: &mut dyn BlackBox) -> bool {
    matches!(system.call(call), Outcome::Valid(_))
}

/// The call with its missing operands.
fn complete(call: Call, given: &[bool], system: &mut dyn BlackBox, left: &mut usize) -> Option<Call> {
    let missing: Vec<usize> = (0..given.len()).filter(|&i| given[i] && !has(&call, i)).collect();
    let Some(&first) = missing.first() else { return accepts(&call, system).then_some(call) };
    // One, the same twice, or the same everywhere.
    let groups = [&missing[..1], &missing[..missing.len().min(2)], &missing[..]];
    for (k, group) in groups.iter().enumerate() {
        if k > 0 && group.len() <= groups[k - 1].len() {
            continue;
        }
        let added = arguments(&call, first).take(TRIES.0.min(*left)).find_map(|a| {
            *left -= 1;
            let mut with = call.clone();
            for &i in *group {
                with.inputs[i] = Some(a.clone());
            }
            accepts(&with, system).then_some(with)
        });
        if let Some(added) = added {
            return complete(added, given, system, left);
        }
    }
    None
}

/// What operand `i` may be: as one of the others is, the nearest before it first; then any of small ranks and extents, of the
/// element types that the call knows and usual ones.
fn arguments(call: &Call, i: usize) -> impl Iterator<Item = Argument> {
    let known: Vec<Argument> = call.inputs[..i].iter().rev().chain(&call.inputs[i..]).flatten().cloned().collect();
    let mut dtypes: Vec<DType> = Vec::new();
    for dtype in known.iter().map(|a| a.dtype).chain(USUAL) {
        if !dtypes.contains(&dtype) {
            dtypes.push(dtype);
        }
    }
    let mut extents: BTreeSet<i64> = known.iter().flat_map(|a| a.shape.clone()).collect();
    extents.extend(call.attrs.values().filter_map(|a| if let Attr::Int(d) = a { d.as_int() } else { None }));
    extents.insert(1);
    extents.retain(|d| (0..64).contains(d));
    let few: Vec<i64> = extents.iter().copied().collect();
    extents.extend(1..=SMALL);
    let all: Vec<i64> = extents.into_iter().collect();
    let any = (0..=MAX_RANK).flat_map(move |rank| {
        let shapes = shapes(rank, if rank <= 2 { &all } else { &few });
        let of = move |&dtype: &DType| {
            let bare = shapes.iter().map(|s| Argument { dtype, shape: s.clone(), values: None });
            let index = matches!(dtype, DType::I32 | DType::I64);
            bare.chain(if index { contents(dtype, rank) } else { Vec::new() }).collect::<Vec<_>>()
        };
        dtypes.iter().flat_map(of).collect::<Vec<_>>()
    });
    known.into_iter().chain(any)
}

/// All shapes of a rank.
fn shapes(rank: usize, extents: &[i64]) -> Vec<Vec<i64>> {
    (0..rank).fold(vec![Vec::new()], |all, _| {
        all.iter().flat_map(|s| extents.iter().map(move |&d| [s.clone(), vec![d]].concat())).collect()
    })
}

/// A small integer, or short lists of such.
fn contents(dtype: DType, rank: usize) -> Vec<Argument> {
    let list = |shape: Vec<i64>, values: Vec<i64>| {
        let values = Some(values.into_iter().map(Number::Int).collect());
        Argument { dtype, shape, values }
    };
    match rank {
        0 => (-1..=4).map(|v| list(Vec::new(), vec![v])).collect(),
        1 => {
            let lists = |n: i64| [vec![1; n as usize], (0..n).collect(), vec![2; n as usize], (1..=n).collect()];
            (1..=5).flat_map(|n| lists(n).map(|v| list(vec![n], v))).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blackbox::Egret;
    use crate::trace::calls_shown;
    use egret_ir::ops;

    fn first(op: &str) -> Vec<Call> {
        calls_shown(ops::find("ai.onnx", op).unwrap())
    }

    #[test]
    fn operands_are_added_and_left_out() {
        let calls = first("LSTM");
        for given in ["111", "1111", "11101", "1110011", "11111111"] {
            let given: Vec<bool> = given.chars().map(|c| c == '1').collect();
            let call = call_of(&calls, &given, 1, &mut Egret::default()).expect("a valid call is found");
            assert!(call.inputs.iter().map(Option::is_some).eq(given.iter().copied()));
            assert!(accepts(&call, &mut Egret::default()));
        }
    }

    #[test]
    fn nothing_comes_of_calls_that_take_fewer_operands() {
        assert!(call_of(&first("Relu"), &[true, true], 1, &mut Egret::default()).is_none());
    }
}
