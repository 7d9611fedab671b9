//! Operators as the simpler operators of their formula, for the analysis of rounding errors.
//!
//! An operator's own definition rounds once; a compiler that computes step by step rounds at each step, and is right too.
//! Where the registry has an expansion, that is the formula. The others are written here from ONNX's function bodies and
//! formulas, with the element types that those use. Nothing here is compared with a result: a formula says how large the
//! numbers on the way are, and what becomes of errors in them.

use crate::bounds::Silent;
use egret_ir::ops::{
    batch_normalization::BatchNormalization, celu::Celu, common::normal_axis, elu::Elu, gemm::Gemm,
    global_lp_pool::GlobalLpPool, group_normalization::GroupNormalization, hard_sigmoid::HardSigmoid,
    instance_normalization::InstanceNormalization, layer_normalization::LayerNormalization, log_softmax::LogSoftmax,
    lp_normalization::LpNormalization, lp_pool::LpPool, lrn::Lrn,
    mean_variance_normalization::MeanVarianceNormalization, ml::normalizer::Normalizer,
    rms_normalization::RmsNormalization, selu::Selu, simplified_layer_normalization::SimplifiedLayerNormalization,
    softmax::Softmax,
};
use egret_ir::{Attrs, DType, Dim, GraphBuilder, Node, Op, Result, Tensor, ValueId, attrs};

/// The node's results by its formula; `None` where it is a step by itself.
///
/// # Errors
/// When a step refuses its operands.
pub(crate) fn formula(
    b: &mut GraphBuilder,
    node: &Node,
    args: &[Option<ValueId>],
    silent: Silent,
) -> Result<Option<Vec<ValueId>>> {
    // In which order terms are added, nobody says: a step by itself, which errs as the sum of their magnitudes.
    if node.op.def().name == "Sum" && node.op.def().domain == "ai.onnx" {
        return Ok(None);
    }
    if let Some(results) = written(b, &*node.op, node.outputs.len(), args, silent)? {
        return Ok(Some(results));
    }
    Ok(node.op.expand(b, args)?.filter(|r| r.len() >= node.outputs.len()))
}

/// The type in which a runtime takes statistics: as `stash_type` says, where Egret takes those of doubles in doubles.
fn work_type(dtype: DType, stash_type: DType, silent: Silent) -> DType {
    if silent == Silent::Reference && dtype == DType::F64 { dtype } else { stash_type }
}

/// A graph in the making, with short words for steps.
struct Steps<'a> {
    b: &'a mut GraphBuilder,
    dtype: DType,
    shape: Vec<usize>,
}

impl Steps<'_> {
    fn one(&mut self, op: &str, x: ValueId) -> Result<ValueId> {
        self.b.op(op, attrs! {}, &[x])
    }

    fn two(&mut self, op: &str, x: ValueId, y: ValueId) -> Result<ValueId> {
        self.b.op(op, attrs! {}, &[x, y])
    }

    /// A number of the working type.
    fn number(&mut self, x: f64) -> ValueId {
        self.b.constant(Tensor::from_floats(self.dtype, &[], [x]))
    }

    fn with(&mut self, op: &str, x: ValueId, number: f64) -> Result<ValueId> {
        let c = self.number(number);
        self.two(op, x, c)
    }

    fn cast(&mut self, x: ValueId, to: DType) -> Result<ValueId> {
        if self.b.ty(x).as_tensor().is_some_and(|t| t.dtype == to) {
            return Ok(x);
        }
        self.b.op("Cast", attrs! { to: to }, &[x])
    }

    fn reduce(&mut self, op: &str, x: ValueId, axes: &[usize]) -> Result<ValueId> {
        let axes: Vec<i64> = axes.iter().map(|&a| a as i64).collect();
        let axes = self.b.ints(&axes);
        self.b.op(op, attrs! { noop_with_empty_axes: true }, &[x, axes])
    }

    fn reshape(&mut self, x: ValueId, shape: &[usize]) -> Result<ValueId> {
        let shape: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
        let shape = self.b.ints(&shape);
        self.b.op("Reshape", attrs! { allowzero: true }, &[x, shape])
    }

    /// `x` where it is positive, `negative` elsewhere.
    fn joined(&mut self, x: ValueId, negative: ValueId) -> Result<ValueId> {
        let positive = self.with("Greater", x, 0.0)?;
        self.b.op("Where", attrs! {}, &[positive, x, negative])
    }

    /// `exp(x) - 1` in two steps.
    fn exp_less_one(&mut self, x: ValueId) -> Result<ValueId> {
        let low = self.with("Min", x, 0.0)?;
        let e = self.one("Exp", low)?;
        self.with("Sub", e, 1.0)
    }

    /// Mean and variance over `axes`, the variance as the mean square less the squared mean: of the ways to compute it the
    /// one that cancels most, ONNX's own in `MeanVarianceNormalization`.
    fn moments(&mut self, x: ValueId, axes: &[usize]) -> Result<(ValueId, ValueId)> {
        let mean = self.reduce("ReduceMean", x, axes)?;
        let square = self.two("Mul", x, x)?;
        let mean_square = self.reduce("ReduceMean", square, axes)?;
        let squared_mean = self.two("Mul", mean, mean)?;
        let difference = self.two("Sub", mean_square, squared_mean)?;
        // Where both overflow, the mean of squared differences is infinite, and not the difference of infinities.
        let overflows = self.one("IsNaN", difference)?;
        let difference = self.b.op("Where", attrs! {}, &[overflows, mean_square, difference])?;
        // A rounding error makes no variance negative.
        let variance = self.with("Max", difference, 0.0)?;
        Ok((mean, variance))
    }

    /// `1 / sqrt(x + epsilon)`.
    fn inverse_root(&mut self, x: ValueId, epsilon: f64) -> Result<ValueId> {
        let sum = self.with("Add", x, epsilon)?;
        let root = self.one("Sqrt", sum)?;
        self.one("Reciprocal", root)
    }

    /// `(x - mean) / sqrt(variance + epsilon)`, with the inverse root.
    fn normalised(&mut self, x: ValueId, axes: &[usize], epsilon: f64) -> Result<(ValueId, ValueId, ValueId)> {
        let (mean, variance) = self.moments(x, axes)?;
        let centred = self.two("Sub", x, mean)?;
        let factor = self.inverse_root(variance, epsilon)?;
        Ok((self.two("Mul", centred, factor)?, mean, factor))
    }

    /// `x / sqrt(mean(x²) + epsilon)` over the axes from `axis` on.
    fn by_root_mean_square(&mut self, x: ValueId, axis: usize, epsilon: f64) -> Result<(ValueId, ValueId)> {
        let square = self.two("Mul", x, x)?;
        let axes: Vec<usize> = (axis..self.shape.len()).collect();
        let mean = self.reduce("ReduceMean", square, &axes)?;
        let factor = self.inverse_root(mean, epsilon)?;
        Ok((self.two("Mul", x, factor)?, factor))
    }

    /// `x` less the greatest element along `axis`, the exponentials of that, and their sum.
    fn exponentials(&mut self, x: ValueId, axis: i64) -> Result<[ValueId; 3]> {
        let axes = [normal_axis(axis, self.shape.len())];
        let greatest = self.reduce("ReduceMax", x, &axes)?;
        let below = self.two("Sub", x, greatest)?;
        let e = self.one("Exp", below)?;
        Ok([below, e, self.reduce("ReduceSum", e, &axes)?])
    }

    /// The mean of `size` channels around each, as that of a pooling along them.
    fn means_of_channels(&mut self, x: ValueId, size: i64) -> Result<ValueId> {
        let flat = [self.shape[0], 1, self.shape[1], self.shape[2..].iter().product()];
        let rows = self.reshape(x, &flat)?;
        let window = attrs! {
            kernel_shape: vec![size, 1], pads: vec![(size - 1) / 2, 0, size / 2, 0], count_include_pad: true
        };
        let means = self.b.op("AveragePool", window, &[rows])?;
        let shape = self.shape.clone();
        self.reshape(means, &shape)
    }

    /// The same as differences of sums up to each channel.
    fn running_means(&mut self, x: ValueId, size: i64) -> Result<ValueId> {
        let channels = self.shape[1] as i64;
        let along = self.b.ints(&[1]);
        let running = self.b.op("CumSum", attrs! {}, &[x, along])?;
        let mut begin = self.shape.clone();
        begin[1] = 1;
        let begin = self.b.constant(Tensor::zeros(self.dtype, &begin)?);
        let running = self.b.op("Concat", attrs! { axis: 1 }, &[begin, running])?;
        let mut up_to = |end: &dyn Fn(i64) -> i64| {
            let at: Vec<i64> = (0..channels).map(end).collect();
            let at = self.b.ints(&at);
            self.b.op("Gather", attrs! { axis: 1 }, &[running, at])
        };
        let last = up_to(&|c| (c + size / 2).min(channels - 1) + 1)?;
        let first = up_to(&|c| (c - (size - 1) / 2).max(0))?;
        let sums = self.two("Sub", last, first)?;
        self.with("Div", sums, size as f64)
    }

    /// Scales by channel.
    fn by_channel(&mut self, v: ValueId) -> Result<ValueId> {
        let mut shape = vec![1; self.shape.len()];
        shape[1] = self.shape[1];
        self.reshape(v, &shape)
    }
}

fn written(
    b: &mut GraphBuilder,
    op: &dyn Op,
    n_outputs: usize,
    args: &[Option<ValueId>],
    silent: Silent,
) -> Result<Option<Vec<ValueId>>> {
    let Some(x) = args.first().copied().flatten() else { return Ok(None) };
    let Some((dtype, shape)) = b.ty(x).concrete() else { return Ok(None) };
    if !dtype.is_float() {
        return Ok(None);
    }
    let mut s = Steps { b, dtype, shape };
    let rank = s.shape.len();
    let def = op.def();
    let y = match (def.domain, def.name) {
        ("ai.onnx", "Sigmoid") => {
            // Computed by the hyperbolic tangent, small results keep the absolute error of 1.
            let half = s.with("Mul", x, 0.5)?;
            let t = s.one("Tanh", half)?;
            let sum = s.with("Add", t, 1.0)?;
            s.with("Mul", sum, 0.5)?
        }
        ("ai.onnx", "Gemm") => {
            let Some(op) = op.downcast::<Gemm>().filter(|g| g.alpha != 1.0 || g.beta != 1.0) else { return Ok(None) };
            let Some(y) = args.get(1).copied().flatten() else { return Ok(None) };
            let turned = |s: &mut Steps<'_>, v: ValueId, turn: bool| match turn {
                true => s.b.op("Transpose", attrs! { perm: vec![1i64, 0] }, &[v]),
                false => Ok(v),
            };
            let (left, right) = (turned(&mut s, x, op.transA)?, turned(&mut s, y, op.transB)?);
            let product = s.two("MatMul", left, right)?;
            let product = s.with("Mul", product, op.alpha.into())?;
            match args.get(2).copied().flatten() {
                Some(c) => {
                    let c = s.with("Mul", c, op.beta.into())?;
                    s.two("Add", product, c)?
                }
                None => product,
            }
        }
        ("ai.onnx", "Elu") => {
            let Some(op) = op.downcast::<Elu>() else { return Ok(None) };
            let e = s.exp_less_one(x)?;
            let low = s.with("Mul", e, op.alpha.into())?;
            s.joined(x, low)?
        }
        ("ai.onnx", "Selu") => {
            let Some(op) = op.downcast::<Selu>() else { return Ok(None) };
            let e = s.exp_less_one(x)?;
            let low = s.with("Mul", e, op.alpha.into())?;
            let y = s.joined(x, low)?;
            s.with("Mul", y, op.gamma.into())?
        }
        ("ai.onnx", "Celu") => {
            let Some(op) = op.downcast::<Celu>() else { return Ok(None) };
            let scaled = s.with("Div", x, op.alpha.into())?;
            let e = s.exp_less_one(scaled)?;
            let low = s.with("Mul", e, op.alpha.into())?;
            s.joined(x, low)?
        }
        ("ai.onnx", "Softplus") => {
            // max(x, 0) + log(1 + exp(-|x|))
            let size = s.one("Abs", x)?;
            let minus = s.one("Neg", size)?;
            let e = s.one("Exp", minus)?;
            let sum = s.with("Add", e, 1.0)?;
            let log = s.one("Log", sum)?;
            let high = s.with("Max", x, 0.0)?;
            s.two("Add", high, log)?
        }
        ("ai.onnx", "HardSigmoid") => {
            let Some(op) = op.downcast::<HardSigmoid>() else { return Ok(None) };
            let product = s.with("Mul", x, op.alpha.into())?;
            let sum = s.with("Add", product, op.beta.into())?;
            let low = s.with("Max", sum, 0.0)?;
            s.with("Min", low, 1.0)?
        }
        ("ai.onnx", "Softmax") => {
            let Some(op) = op.downcast::<Softmax>() else { return Ok(None) };
            let [_, e, sum] = s.exponentials(x, op.axis)?;
            s.two("Div", e, sum)?
        }
        ("ai.onnx", "LogSoftmax") => {
            let Some(op) = op.downcast::<LogSoftmax>() else { return Ok(None) };
            let [below, _, sum] = s.exponentials(x, op.axis)?;
            let log = s.one("Log", sum)?;
            s.two("Sub", below, log)?
        }
        ("ai.onnx", "SoftmaxCrossEntropyLoss") => {
            let Some(target) = args.get(1).copied().flatten() else { return Ok(None) };
            let log = s.b.op("LogSoftmax", attrs! { axis: 1 }, &[x])?;
            let operands = [Some(log), Some(target), args.get(2).copied().flatten()];
            let loss = s.b.node("ai.onnx", "NegativeLogLikelihoodLoss", op.attrs(), &operands, 1)?[0];
            return Ok(Some(vec![loss, log]));
        }
        ("ai.onnx", "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp") => {
            let inputs: Vec<_> = std::iter::once(x).chain(args.get(1).copied().flatten()).collect();
            let reduce = |s: &mut Steps<'_>, x: ValueId, op: &str, attrs: Attrs| {
                let inputs: Vec<_> = std::iter::once(x).chain(inputs[1..].iter().copied()).collect();
                s.b.op(op, attrs, &inputs)
            };
            match def.name {
                "ReduceL2" => {
                    let square = s.two("Mul", x, x)?;
                    let sum = reduce(&mut s, square, "ReduceSum", op.attrs())?;
                    s.one("Sqrt", sum)?
                }
                "ReduceLogSum" => {
                    let sum = reduce(&mut s, x, "ReduceSum", op.attrs())?;
                    s.one("Log", sum)?
                }
                _ => {
                    // Two ways: as written, and with the greatest element taken out. Where the first overflows the
                    // second says what is right, so only the second is followed.
                    let mut kept = op.attrs();
                    kept.insert("keepdims".into(), true.into());
                    let greatest = reduce(&mut s, x, "ReduceMax", kept)?;
                    let below = s.two("Sub", x, greatest)?;
                    let e = s.one("Exp", below)?;
                    let sum = reduce(&mut s, e, "ReduceSum", op.attrs())?;
                    let log = s.one("Log", sum)?;
                    let Some((_, shape)) = s.b.ty(log).concrete() else { return Ok(None) };
                    let greatest = s.reshape(greatest, &shape)?;
                    s.two("Add", log, greatest)?
                }
            }
        }
        ("ai.onnx", "LpNormalization") => {
            let Some(op) = op.downcast::<LpNormalization>() else { return Ok(None) };
            let axes = [normal_axis(op.axis, rank)];
            let norm = if op.p == 1 {
                s.reduce("ReduceL1", x, &axes)?
            } else {
                let square = s.two("Mul", x, x)?;
                let sum = s.reduce("ReduceSum", square, &axes)?;
                s.one("Sqrt", sum)?
            };
            // A lane whose squares vanish is a lane of zeros.
            let zero = s.with("Equal", norm, 0.0)?;
            let one = s.number(1.0);
            let nothing = s.number(0.0);
            let divisor = s.b.op("Where", attrs! {}, &[zero, one, norm])?;
            let quotient = s.two("Div", x, divisor)?;
            s.b.op("Where", attrs! {}, &[zero, nothing, quotient])?
        }
        ("ai.onnx.ml", "Normalizer") => {
            let Some(op) = op.downcast::<Normalizer>() else { return Ok(None) };
            let axes = [rank - 1];
            let divisor = match op.norm.as_str() {
                "L1" => s.reduce("ReduceL1", x, &axes)?,
                "L2" => {
                    let square = s.two("Mul", x, x)?;
                    let sum = s.reduce("ReduceSum", square, &axes)?;
                    s.one("Sqrt", sum)?
                }
                _ => s.reduce("ReduceMax", x, &axes)?,
            };
            // A row whose squares vanish stays as it is.
            let zero = s.with("Equal", divisor, 0.0)?;
            let quotient = s.two("Div", x, divisor)?;
            let y = s.b.op("Where", attrs! {}, &[zero, x, quotient])?;
            s.cast(y, DType::F32)?
        }
        ("ai.onnx", "GlobalLpPool") => {
            let Some(op) = op.downcast::<GlobalLpPool>() else { return Ok(None) };
            let axes: Vec<usize> = (2..rank).collect();
            let size = s.one("Abs", x)?;
            let powers = s.with("Pow", size, op.p as f64)?;
            let sum = s.reduce("ReduceSum", powers, &axes)?;
            s.with("Pow", sum, 1.0 / op.p as f64)?
        }
        ("ai.onnx", "LpPool") => {
            // The sum over a window is its mean times its cells, but where the last one is cut off: there it is its own step.
            let Some(op) = op.downcast::<LpPool>().filter(|op| !op.ceil_mode || op.p != 1) else { return Ok(None) };
            let Some(cells) = op.kernel_shape.iter().map(Dim::as_int).product::<Option<i64>>() else { return Ok(None) };
            let size = s.one("Abs", x)?;
            let powers = s.with("Pow", size, op.p as f64)?;
            let mut window = op.attrs();
            let sums = if op.ceil_mode {
                window.extend(attrs! { p: 1i64 });
                s.b.op("LpPool", window, &[powers])?
            } else {
                window.remove("p");
                window.extend(attrs! { count_include_pad: true });
                let means = s.b.op("AveragePool", window, &[powers])?;
                s.with("Mul", means, cells as f64)?
            };
            s.with("Pow", sums, 1.0 / op.p as f64)?
        }
        ("ai.onnx", "LRN") => {
            let Some(op) = op.downcast::<Lrn>() else { return Ok(None) };
            let square = s.two("Mul", x, x)?;
            // Elsewhere the sum over near channels may be a running one, from which what leaves the window is subtracted.
            let means = if silent == Silent::Open {
                s.running_means(square, op.size)?
            } else {
                s.means_of_channels(square, op.size)?
            };
            let scaled = s.with("Mul", means, op.alpha.into())?;
            let base = s.with("Add", scaled, op.bias.into())?;
            let power = s.with("Pow", base, op.beta.into())?;
            s.two("Div", x, power)?
        }
        ("ai.onnx", "DynamicQuantizeLinear") => {
            // Extremes with 0, a scale of 255 steps, and a zero point that is a step.
            let (least, most) = (s.one("Neg", x)?, x);
            let flat = |s: &mut Steps<'_>, v: ValueId| -> Result<ValueId> {
                let greatest = s.b.op("ReduceMax", attrs! { keepdims: false }, &[v])?;
                s.with("Max", greatest, 0.0)
            };
            let (below, above) = (flat(&mut s, least)?, flat(&mut s, most)?);
            let width = s.two("Add", above, below)?;
            let scale = s.with("Div", width, 255.0)?;
            let zero = s.two("Div", below, scale)?;
            let zero = s.one("Round", zero)?;
            let zero = s.cast(zero, DType::U8)?;
            return Ok(Some(vec![s.b.op("QuantizeLinear", attrs! {}, &[x, scale, zero])?, scale, zero]));
        }
        ("ai.onnx", "MeanVarianceNormalization") => {
            let Some(op) = op.downcast::<MeanVarianceNormalization>() else { return Ok(None) };
            let mut axes: Vec<usize> = op.axes.iter().map(|&a| normal_axis(a, rank)).collect();
            if axes.is_empty() {
                axes = (0..rank).collect();
            }
            let (mean, variance) = s.moments(x, &axes)?;
            let centred = s.two("Sub", x, mean)?;
            let root = s.one("Sqrt", variance)?;
            let divisor = s.with("Add", root, 1e-9)?;
            s.two("Div", centred, divisor)?
        }
        ("ai.onnx", "BatchNormalization") => {
            let Some(op) = op.downcast::<BatchNormalization>() else { return Ok(None) };
            let [_, Some(scale), Some(bias), Some(mean), Some(variance)] = *args else { return Ok(None) };
            if op.training_mode || rank < 2 || n_outputs > 1 {
                return Ok(None);
            }
            let mut parts = Vec::new();
            for v in [scale, bias, mean, variance] {
                let v = s.cast(v, dtype)?;
                parts.push(s.by_channel(v)?);
            }
            // As it is folded into a product before it: x * s + (bias - mean * s), and as it is written. Both are right,
            // so what one of them overflows in is open.
            let root = s.inverse_root(parts[3], op.epsilon.into())?;
            let factor = s.two("Mul", root, parts[0])?;
            let shift = s.two("Mul", parts[2], factor)?;
            let shift = s.two("Sub", parts[1], shift)?;
            let product = s.two("Mul", x, factor)?;
            let folded = s.two("Add", product, shift)?;
            let centred = s.two("Sub", x, parts[2])?;
            let scaled = s.two("Mul", centred, factor)?;
            let written = s.two("Add", scaled, parts[1])?;
            let (half, other) = (s.with("Mul", folded, 0.5)?, s.with("Mul", written, 0.5)?);
            s.two("Add", half, other)?
        }
        ("ai.onnx", "InstanceNormalization") => {
            let Some(op) = op.downcast::<InstanceNormalization>() else { return Ok(None) };
            let [_, Some(scale), Some(bias)] = *args else { return Ok(None) };
            let axes: Vec<usize> = (2..rank).collect();
            let (y, ..) = s.normalised(x, &axes, op.epsilon.into())?;
            let (scale, bias) = (s.by_channel(scale)?, s.by_channel(bias)?);
            let y = s.two("Mul", y, scale)?;
            s.two("Add", y, bias)?
        }
        ("ai.onnx", "GroupNormalization") => {
            let Some(op) = op.downcast::<GroupNormalization>() else { return Ok(None) };
            let [_, Some(scale), Some(bias)] = *args else { return Ok(None) };
            let Some(groups) = op.num_groups.as_int().and_then(|g| usize::try_from(g).ok()) else { return Ok(None) };
            let shape = s.shape.clone();
            let grouped = [shape[0], groups, shape[1..].iter().product::<usize>() / groups];
            let work = if op.stash_type == 1 { DType::F32 } else { dtype };
            s.dtype = work_type(dtype, work, silent);
            let wide = s.cast(x, s.dtype)?;
            let wide = s.reshape(wide, &grouped)?;
            let (y, ..) = s.normalised(wide, &[2], op.epsilon.into())?;
            let y = s.reshape(y, &shape)?;
            let y = s.cast(y, dtype)?;
            let (scale, bias) = (s.by_channel(scale)?, s.by_channel(bias)?);
            let y = s.two("Mul", y, scale)?;
            s.two("Add", y, bias)?
        }
        ("ai.onnx", "LayerNormalization") => {
            let Some(op) = op.downcast::<LayerNormalization>() else { return Ok(None) };
            let axes: Vec<usize> = (normal_axis(op.axis, rank)..rank).collect();
            s.dtype = work_type(dtype, op.stash_type, silent);
            let wide = s.cast(x, s.dtype)?;
            let (y, mean, factor) = s.normalised(wide, &axes, op.epsilon.into())?;
            let (mean, factor) = (s.cast(mean, op.stash_type)?, s.cast(factor, op.stash_type)?);
            let y = s.cast(y, dtype)?;
            let y = match args.get(1).copied().flatten() {
                Some(scale) => s.two("Mul", y, scale)?,
                None => y,
            };
            let y = match args.get(2).copied().flatten() {
                Some(bias) => s.two("Add", y, bias)?,
                None => y,
            };
            return Ok(Some(vec![y, mean, factor]));
        }
        ("ai.onnx", "RMSNormalization") => {
            let Some(op) = op.downcast::<RmsNormalization>() else { return Ok(None) };
            let [_, Some(scale)] = *args else { return Ok(None) };
            let work = if op.stash_type == 1 { DType::F32 } else { dtype };
            s.dtype = work_type(dtype, work, silent);
            let wide = s.cast(x, s.dtype)?;
            let (y, _) = s.by_root_mean_square(wide, normal_axis(op.axis, rank), op.epsilon.into())?;
            let Some(scale_type) = s.b.ty(scale).as_tensor().map(|t| t.dtype) else { return Ok(None) };
            let y = s.cast(y, scale_type)?;
            s.two("Mul", y, scale)?
        }
        ("ai.onnx", "SimplifiedLayerNormalization") => {
            let Some(op) = op.downcast::<SimplifiedLayerNormalization>() else { return Ok(None) };
            let [_, Some(scale)] = *args else { return Ok(None) };
            // Egret's reference is its expansion, which takes one of the results from doubles and the other from singles.
            if work_type(dtype, op.stash_type, silent) != op.stash_type {
                return Ok(None);
            }
            s.dtype = op.stash_type;
            let wide = s.cast(x, s.dtype)?;
            let (y, factor) = s.by_root_mean_square(wide, normal_axis(op.axis, rank), op.epsilon.into())?;
            let factor = s.cast(factor, op.stash_type)?;
            let Some(scale_type) = s.b.ty(scale).as_tensor().map(|t| t.dtype) else { return Ok(None) };
            let y = s.cast(y, scale_type)?;
            return Ok(Some(vec![s.two("Mul", y, scale)?, factor]));
        }
        _ => return Ok(None),
    };
    Ok(Some(vec![y]))
}
