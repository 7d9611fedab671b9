//! `BatchNormalization(Conv(x, w, b))` with constant parameters becomes one convolution:
//! `w' = w * s`, `b' = (b - mean) * s + bias`, `s = scale / sqrt(var + epsilon)` per output channel.
//! It reassociates: within the error bound of the convolution's reduction.

use egret_ir::tensor::AlignedBytes;
use egret_ir::{Attr, DType, Graph, Result, Tensor, ValueId};

/// Folds batch normalisation into the convolution before it, where that has no other reader.
///
/// # Errors
/// When a constant cannot be read as numbers.
pub fn fold_batch_norm(mut graph: Graph) -> Result<Graph> {
    let consumers = graph.consumers();
    let producers = graph.producers();
    let mut removed = vec![false; graph.nodes.len()];
    for n in 0..graph.nodes.len() {
        let Some((conv, w, scale)) = matched(&graph, n, &consumers, &producers) else { continue };
        let Some((weights, bias)) = folded(&graph, n, conv, w, &scale)? else { continue };
        let weights = graph.add_constant("", weights);
        let bias = graph.add_constant("", bias);
        let result = graph.nodes[n].outputs[0];
        let node = &mut graph.nodes[conv];
        node.inputs.truncate(1);
        node.inputs.extend([Some(weights), Some(bias)]);
        node.outputs[0] = result;
        removed[n] = true;
    }
    graph.remove_nodes(&removed);
    Ok(graph)
}

/// The convolution before batch normalisation `n`, its weights, and the factor of each channel.
fn matched(
    graph: &Graph,
    n: usize,
    consumers: &[Vec<usize>],
    producers: &[Option<(usize, usize)>],
) -> Option<(usize, ValueId, Vec<f64>)> {
    let node = &graph.nodes[n];
    if node.op.def().name != "BatchNormalization" || node.op.def().domain != "ai.onnx" || node.outputs.len() != 1 {
        return None;
    }
    let attrs = node.op.attrs();
    if attrs.contains_key("training_mode") {
        return None;
    }
    let x = node.inputs.first().copied().flatten()?;
    let (conv, _) = producers.get(x.index()).copied().flatten()?;
    let before = &graph.nodes[conv];
    if before.op.def().name != "Conv"
        || before.op.def().domain != "ai.onnx"
        || consumers[x.index()].len() != 1
        || graph.outputs.contains(&x)
    {
        return None;
    }
    let w = before.inputs.get(1).copied().flatten()?;
    graph.constant(w)?;
    let of = |i: usize| graph.constant(node.inputs.get(i).copied().flatten()?)?.floats().ok();
    let (scale, var) = (of(1)?, of(4)?);
    of(2)?;
    of(3)?;
    let epsilon = match attrs.get("epsilon") {
        Some(Attr::Float(e)) => f64::from(*e),
        _ => f64::from(1e-5f32),
    };
    Some((conv, w, scale.iter().zip(&var).map(|(s, v)| s / (v + epsilon).sqrt()).collect()))
}

fn folded(graph: &Graph, n: usize, conv: usize, w: ValueId, scale: &[f64]) -> Result<Option<(Tensor, Tensor)>> {
    let of = |v: Option<ValueId>| v.and_then(|v| graph.constant(v));
    let node = &graph.nodes[n];
    let (Some(weights), Some(shift), Some(mean)) = (of(Some(w)), of(node.inputs[2]), of(node.inputs[3])) else {
        return Ok(None);
    };
    let channels = weights.shape().first().copied().unwrap_or(0);
    if scale.iter().any(|s| !s.is_finite()) || scale.len() != channels || channels == 0 {
        return Ok(None);
    }
    let bias = match graph.nodes[conv].inputs.get(2).copied().flatten() {
        None => vec![0.0; channels],
        Some(v) => match graph.constant(v) {
            Some(t) => t.floats()?,
            None => return Ok(None),
        },
    };
    let (dtype, row) = (weights.dtype(), weights.len() / channels);
    let weights = if dtype == DType::F32 {
        scaled(weights, scale.to_vec())?
    } else {
        let new = weights.floats()?.into_iter().enumerate().map(|(i, v)| v * scale[i / row]);
        Tensor::from_floats(dtype, weights.shape(), new)
    };
    let (shift, mean) = (shift.floats()?, mean.floats()?);
    let bias = (0..channels).map(|c| (bias[c] - mean[c]) * scale[c] + shift[c]);
    Ok(Some((weights, Tensor::from_floats(dtype, &[channels], bias))))
}

/// Weights whose channels are scaled when they are read: packing reads them once, so both copies need not stay in memory.
fn scaled(weights: &Tensor, scale: Vec<f64>) -> Result<Tensor> {
    let base = weights.clone();
    Tensor::deferred(DType::F32, weights.shape(), move || {
        // A clone of the base makes elements of its own where they are deferred too.
        let base = base.clone();
        let mut out = AlignedBytes::zeroed(base.len() * 4);
        let row = (base.len() / scale.len()).max(1);
        let from = base.bytes().as_chunks::<4>().0.chunks_exact(row);
        for ((to, from), s) in out.as_mut_f32().chunks_exact_mut(row).zip(from).zip(&scale) {
            for (to, from) in to.iter_mut().zip(from) {
                *to = (f64::from(f32::from_ne_bytes(*from)) * s) as f32;
            }
        }
        base.release_pages(0..base.len() * 4);
        out
    })
}
