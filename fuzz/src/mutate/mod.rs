//! Wrong models made from right ones: a valid ONNX file is changed in a few places, with its structure in view, so that the
//! result gets far into the importer, the rules, the passes, the compiler and the run before it is refused.
//!
//! | module | what |
//! |---|---|
//! | [`mod@self`] | a mutant: which seed, which changes; changes of the bytes |
//! | `structure` | nodes, edges, operators, attributes, bodies, functions |
//! | `data` | types, extents, tensors, strings |
//!
//! What a mutant is follows from the seeds, in order, and its number alone. Nothing is said of what a mutant must do: most
//! are refused, some are valid and mean something else.

mod data;
mod structure;

use crate::random::Random;
use egret_ir::onnx::proto::{GraphProto, ModelProto, NodeProto};

/// A valid model to start from.
#[derive(Clone, Debug)]
pub struct Seed {
    /// For messages.
    pub name: String,
    /// The file.
    pub bytes: Vec<u8>,
}

/// A changed model.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Name of its seed and of the changes, in order.
    pub story: String,
    /// The file.
    pub bytes: Vec<u8>,
}

/// A change of a model: whether it found something to change.
type Change = fn(&mut ModelProto, &mut Random) -> bool;

/// Mutant number `number` of these seeds; deterministic. The empty file where there is no seed.
pub fn mutant(seeds: &[Seed], number: u64) -> Mutant {
    mutant_by(seeds, &mut Random::new(number))
}

/// A mutant by these choices.
pub fn mutant_by(seeds: &[Seed], random: &mut Random) -> Mutant {
    let Some(seed) = random.pick(seeds) else { return Mutant { story: "nothing".into(), bytes: Vec::new() } };
    let mut story = seed.name.clone();
    let mut bytes = seed.bytes.clone();
    // Most mutants change structure; one in eight only bytes.
    if !random.one_in(8)
        && let Ok(mut model) = egret_ir::onnx::decode(&bytes)
    {
        // Few at a time: what is wrong in one place gets furthest.
        let wanted = [1, 1, 1, 1, 2, 3][random.below(6)];
        let mut done = 0;
        for _ in 0..20 {
            let menu = if random.one_in(2) { structure::CHANGES } else { data::CHANGES };
            let Some((name, change)) = random.pick(menu) else { break };
            if change(&mut model, random) {
                story += &format!(" + {name}");
                done += 1;
            }
            if done == wanted {
                break;
            }
        }
        bytes = egret_ir::onnx::encode(&model);
        if !random.one_in(16) {
            return Mutant { story, bytes };
        }
    }
    let name = change_bytes(&mut bytes, random);
    Mutant { story: format!("{story} + {name}"), bytes }
}

/// Changes a file without knowing what is in it; says how.
pub fn change_bytes(bytes: &mut Vec<u8>, random: &mut Random) -> &'static str {
    if bytes.is_empty() {
        bytes.push(random.bits() as u8);
        return "a byte";
    }
    match random.below(5) {
        0 => {
            bytes.truncate(random.below(bytes.len()));
            "cut off"
        }
        1 => {
            let from = random.below(bytes.len());
            let to = (from + 1 + random.below(64)).min(bytes.len());
            bytes.drain(from..to);
            "bytes taken out"
        }
        2 => {
            let from = random.below(bytes.len());
            let to = (from + 1 + random.below(64)).min(bytes.len());
            let copy = bytes[from..to].to_vec();
            let at = random.below(bytes.len());
            bytes.splice(at..at, copy);
            "bytes doubled"
        }
        _ => {
            for _ in 0..1 + random.below(8) {
                let at = random.below(bytes.len());
                bytes[at] = match random.below(4) {
                    0 => 0xff,
                    1 => 0x80,
                    2 => bytes[at] ^ (1 << random.below(8)),
                    _ => random.bits() as u8,
                };
            }
            "bytes changed"
        }
    }
}

/// Integers at which something ends: extents, axes, counts.
fn odd_int(random: &mut Random) -> i64 {
    const ODD: &[i64] = &[
        0,
        1,
        -1,
        2,
        -2,
        3,
        5,
        -7,
        64,
        255,
        256,
        -256,
        65_535,
        1 << 20,
        1 << 28,
        1 << 31,
        (1 << 31) - 1,
        -(1 << 31),
        1 << 32,
        1 << 40,
        1 << 48,
        1 << 62,
        i64::MAX,
        i64::MAX - 1,
        i64::MIN,
        i64::MIN + 1,
    ];
    match random.below(8) {
        0 => random.bits() as i64,
        1 => random.below(16) as i64 - 4,
        _ => ODD[random.below(ODD.len())],
    }
}

/// Text that a reader may stumble over.
fn odd_text(random: &mut Random) -> String {
    const ODD: &[&str] = &[
        "",
        " ",
        "\0",
        "\n",
        "\"",
        "%0",
        "a b",
        "\u{feff}",
        "ß𝄞\u{202e}",
        "../../../etc/passwd",
        "-1",
        "u1",
        "?",
        "n*n*n*n",
        "((((((((((((((((((((((((((((((((n",
        "floor(n/0)",
        "9223372036854775808",
        "-9223372036854775808*2",
        "n%0",
    ];
    match random.below(6) {
        0 => "x".repeat(1 << random.below(17)),
        1 => "(".repeat(1 << random.below(15)),
        _ => ODD[random.below(ODD.len())].to_owned(),
    }
}

/// A graph of the model: the main one or a body, each as likely as its depth allows.
fn any_graph<'a>(model: &'a mut ModelProto, random: &mut Random) -> Option<&'a mut GraphProto> {
    let mut graph = model.graph.as_mut()?;
    while random.one_in(2) {
        let has_body = |n: &NodeProto| n.attribute.iter().any(|a| a.g.is_some());
        let with_bodies: Vec<usize> = (0..graph.node.len()).filter(|&i| has_body(&graph.node[i])).collect();
        let Some(&at) = random.pick(&with_bodies) else { break };
        let mut bodies: Vec<&mut GraphProto> =
            graph.node[at].attribute.iter_mut().filter_map(|a| a.g.as_mut()).collect();
        let which = random.below(bodies.len());
        graph = bodies.swap_remove(which);
    }
    Some(graph)
}

/// A node of the model.
fn any_node<'a>(model: &'a mut ModelProto, random: &mut Random) -> Option<&'a mut NodeProto> {
    let graph = any_graph(model, random)?;
    random.pick_mut(&mut graph.node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;
    use std::collections::BTreeSet;

    #[test]
    fn a_number_gives_the_same_mutant_and_most_differ() {
        let seeds = seeds::own();
        let all: Vec<Vec<u8>> = (0..200).map(|n| mutant(&seeds, n).bytes).collect();
        assert!((0..200).all(|n| mutant(&seeds, n as u64).bytes == all[n]));
        assert!(all.iter().collect::<BTreeSet<_>>().len() > 150);
    }

    #[test]
    fn every_change_finds_a_model_that_it_changes() {
        let seeds = seeds::own();
        for (name, change) in structure::CHANGES.iter().chain(data::CHANGES) {
            let changed = (0..400).any(|n| {
                let mut random = Random::new(n);
                let seed = random.pick(&seeds).unwrap();
                let mut model = egret_ir::onnx::decode(&seed.bytes).unwrap();
                let before = model.clone();
                change(&mut model, &mut random) && model != before
            });
            assert!(changed, "{name}");
        }
    }
}
