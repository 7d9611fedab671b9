//! `Conv(x, w, b) + Conv(x, v, c)` with constant weights becomes `Conv(x, w + v, b + c)`: a convolution is linear in its
//! weights. Residual expansions of quantised weights (Yvinec et al., "REx", NeurIPS 2023) and the branches of RepVGG
//! (Ding et al., CVPR 2021) are such sums; of the latter the 1x1 kernel is the middle of a larger one.
//!
//! It reassociates: within the error bound of the convolution's reduction.

use egret_ir::graph::Node;
use egret_ir::tensor::AlignedBytes;
use egret_ir::{Attr, Attrs, DType, Dim, Graph, Result, Tensor, ValueId};

/// Merges sums of convolutions of one operand, where nothing else reads them.
///
/// # Errors
/// When a constant cannot be read as numbers.
pub fn merge_conv_sums(mut graph: Graph) -> Result<Graph> {
    let consumers = graph.consumers();
    let mut producers = graph.producers();
    let mut removed = vec![false; graph.nodes.len()];
    for n in 0..graph.nodes.len() {
        let node = &graph.nodes[n];
        if node.op.def().name != "Add" || node.op.def().domain != "ai.onnx" {
            continue;
        }
        let conv = |i: usize| -> Option<usize> {
            let v = node.inputs.get(i).copied().flatten()?;
            let (at, _) = producers[v.index()]?;
            let conv = &graph.nodes[at];
            let alone = consumers[v.index()].len() == 1 && !graph.outputs.contains(&v);
            (alone && conv.op.def().name == "Conv" && conv.op.def().domain == "ai.onnx").then_some(at)
        };
        let (Some(p), Some(q)) = (conv(0), conv(1)) else { continue };
        if p == q {
            continue;
        }
        let Some((attrs, w, v)) = kernels(&graph, &graph.nodes[p], &graph.nodes[q]) else { continue };
        let Some(bias) = biases(&graph, &graph.nodes[p], &graph.nodes[q])? else { continue };
        let result = node.outputs[0];
        let weights = graph.add_constant("", sum_of_kernels(w, v)?);
        let bias = bias.map(|b| graph.add_constant("", b));
        // The later of both stays, so that its operand is there.
        let (kept, gone) = (p.max(q), p.min(q));
        let op = (graph.nodes[kept].op.def().parse)(&attrs)?;
        let node = &mut graph.nodes[kept];
        node.op = op;
        node.inputs.truncate(1);
        node.inputs.push(Some(weights));
        node.inputs.extend(bias.map(Some));
        node.outputs = vec![result];
        if let Some(v) = result {
            producers[v.index()] = Some((kept, 0));
        }
        (removed[n], removed[gone]) = (true, true);
    }
    graph.remove_nodes(&removed);
    Ok(graph)
}

fn operand(node: &Node, i: usize) -> Option<ValueId> {
    node.inputs.get(i).copied().flatten()
}

/// Attributes of the convolution that both are, and their kernels, the larger one first; none if they differ otherwise.
fn kernels(graph: &Graph, p: &Node, q: &Node) -> Option<(Attrs, Tensor, Tensor)> {
    if operand(p, 0)? != operand(q, 0)? {
        return None;
    }
    let weights = |node: &Node| graph.constant(operand(node, 1)?).cloned();
    let (w, v) = (weights(p)?, weights(q)?);
    if w.dtype() != DType::F32 || v.dtype() != DType::F32 || w.rank() != v.rank() || w.shape()[..2] != v.shape()[..2] {
        return None;
    }
    let (a, b) = (Window::of(p, &w)?, Window::of(q, &v)?);
    if (a.strides != b.strides) || (a.group != b.group) {
        return None;
    }
    if a == b {
        return Some((p.op.attrs(), w, v));
    }
    let middle = |small: &Window, large: &Window| {
        let around = large.kernel.iter().zip(&large.dilations).map(|(k, d)| (k - 1) / 2 * d);
        let pads: Vec<i64> = around.clone().chain(around).collect();
        small.kernel.iter().all(|&k| k == 1)
            && small.pads.iter().all(|&p| p == 0)
            && large.kernel.iter().all(|k| k % 2 == 1)
            && large.pads == pads
    };
    match (middle(&b, &a), middle(&a, &b)) {
        (true, _) => Some((p.op.attrs(), w, v)),
        (_, true) => Some((q.op.attrs(), v, w)),
        _ => None,
    }
}

/// What a convolution's attributes say.
#[derive(PartialEq)]
struct Window {
    kernel: Vec<i64>,
    pads: Vec<i64>,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    group: i64,
}

impl Window {
    fn of(node: &Node, w: &Tensor) -> Option<Window> {
        let attrs = node.op.attrs();
        let axes = w.rank().checked_sub(2)?;
        let list = |name: &str, default: i64, n: usize| match attrs.get(name) {
            None => Some(vec![default; n]),
            Some(Attr::Ints(list)) if list.len() == n => list.iter().map(Dim::as_int).collect(),
            Some(_) => None,
        };
        match attrs.get("auto_pad") {
            None => {}
            Some(Attr::String(s)) if s == "NOTSET" => {}
            Some(_) => return None,
        }
        Some(Window {
            kernel: w.shape()[2..].iter().map(|&k| k as i64).collect(),
            pads: list("pads", 0, 2 * axes)?,
            strides: list("strides", 1, axes)?,
            dilations: list("dilations", 1, axes)?,
            group: match attrs.get("group") {
                None => 1,
                Some(Attr::Int(g)) => g.as_int()?,
                Some(_) => return None,
            },
        })
    }
}

/// The sum of both biases (`Some(None)`: neither has one); none where one is no constant.
fn biases(graph: &Graph, p: &Node, q: &Node) -> Result<Option<Option<Tensor>>> {
    let of = |node: &Node| match operand(node, 2) {
        None => Some(None),
        Some(v) => graph.constant(v).cloned().map(Some),
    };
    Ok(match (of(p), of(q)) {
        (Some(None), Some(one)) | (Some(one), Some(None)) => Some(one),
        (Some(Some(a)), Some(Some(b))) if a.shape() == b.shape() => {
            let (x, y) = (a.floats()?, b.floats()?);
            Some(Some(Tensor::from_floats(a.dtype(), a.shape(), x.into_iter().zip(y).map(|(x, y)| x + y))))
        }
        _ => None,
    })
}

/// `w + v`, a kernel of one element a channel added in the middle; made when it is read, so that packing is the only copy.
fn sum_of_kernels(w: Tensor, v: Tensor) -> Result<Tensor> {
    let shape = w.shape().to_vec();
    Tensor::deferred(DType::F32, &shape, move || {
        let (w, v) = (w.clone(), v.clone());
        let mut out = AlignedBytes::copy_of(w.bytes());
        let [window, small] = [&w, &v].map(|t| t.shape()[2..].iter().product::<usize>().max(1));
        // Kernels of one window are added element by element, one of one element to the middle of each window.
        let (step, first) = if small == window { (1, 0) } else { (window, window / 2) };
        let more = v.bytes().as_chunks::<4>().0;
        for (to, from) in out.as_mut_f32()[first.min(w.len())..].iter_mut().step_by(step).zip(more) {
            *to = (f64::from(*to) + f64::from(f32::from_ne_bytes(*from))) as f32;
        }
        w.release_pages(0..w.len() * 4);
        v.release_pages(0..v.len() * 4);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::eval::{Env, evaluate};
    use egret_ir::{GraphBuilder, Type, Value, attrs};

    fn numbers(shape: &[usize], step: usize) -> Tensor {
        let n: usize = shape.iter().product();
        Tensor::from_slice(shape, &(0..n).map(|i| (i * step % 11) as f32 - 5.0).collect::<Vec<_>>())
    }

    /// Convolutions of one operand, added; how many are left, after their results were compared.
    fn left(kernels: &[(&[usize], Attrs, bool)]) -> usize {
        let mut b = GraphBuilder::new("sum");
        let x = b.input("x", Type::ranked(DType::F32, vec![Dim::sym("n"), 4i64.into(), 5i64.into(), 5i64.into()]));
        let mut sum = None;
        for (i, (shape, attrs, bias)) in kernels.iter().enumerate() {
            let w = b.constant(numbers(shape, i + 3));
            let bias = bias.then(|| b.constant(numbers(&shape[..1], i + 2)));
            let y = b.node("ai.onnx", "Conv", attrs.clone(), &[Some(x), Some(w), bias], 1).unwrap()[0];
            sum = Some(sum.map_or(y, |s| b.op("Add", attrs! {}, &[s, y]).unwrap()));
        }
        let graph = b.finish(&[sum.unwrap()]);
        let run = |g: &Graph| evaluate(g, vec![Value::from(numbers(&[2, 4, 5, 5], 7))], &Env::default()).unwrap();
        let merged = merge_conv_sums(graph.clone()).unwrap();
        assert!(egret_ir::verify::verify(&merged).is_empty());
        assert_eq!(run(&merged), run(&graph));
        merged.nodes.iter().filter(|n| n.op.def().name == "Conv").count()
    }

    #[test]
    fn sums_of_one_window_are_one() {
        let same = || attrs! { pads: vec![1i64, 1, 1, 1], strides: vec![2i64, 2] };
        let k: &[usize] = &[6, 4, 3, 3];
        assert_eq!(left(&[(k, same(), true), (k, same(), false), (k, same(), true)]), 1);
        assert_eq!(
            left(&[(k, same(), true), (k, attrs! { pads: vec![1i64; 4] , strides: vec![2i64, 2], group: 1i64 }, true)]),
            1
        );
        let grouped = || attrs! { group: 2i64 };
        assert_eq!(left(&[(&[6, 2, 3, 3], grouped(), false), (&[6, 2, 3, 3], grouped(), false)]), 1);
    }

    #[test]
    fn a_kernel_of_one_element_is_the_middle() {
        let large = || attrs! { pads: vec![1i64, 2, 1, 2], dilations: vec![1i64, 2] };
        assert_eq!(left(&[(&[4, 4, 3, 3], large(), true), (&[4, 4, 1, 1], attrs! {}, true)]), 1);
        assert_eq!(left(&[(&[4, 4, 1, 1], attrs! {}, false), (&[4, 4, 3, 3], large(), false)]), 1);
        assert_eq!(
            left(&[(&[4, 4, 3, 3], attrs! { pads: vec![0i64, 0, 2, 2] }, true), (&[4, 4, 1, 1], attrs! {}, true)]),
            2
        );
    }

    #[test]
    fn a_convolution_added_to_itself_stays() {
        let mut b = GraphBuilder::new("twice");
        let x = b.input("x", Type::tensor(DType::F32, &[1, 4, 5, 5]));
        let w = b.constant(numbers(&[2, 4, 3, 3], 3));
        let y = b.op("Conv", attrs! {}, &[x, w]).unwrap();
        let twice = b.op("Add", attrs! {}, &[y, y]).unwrap();
        let merged = merge_conv_sums(b.finish(&[twice])).unwrap();
        assert!(egret_ir::verify::verify(&merged).is_empty());
        assert_eq!(merged.nodes.len(), 2);
    }
}
