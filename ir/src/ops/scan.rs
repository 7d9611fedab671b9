//! A body run once for each entry of its scan inputs, with states carried along.
//!
//! `Scan(s_1, …, s_N, x_1, …, x_M)`, body `(s_1, …, s_N, x_1[t], …, x_M[t]) -> (s_1, …, s_N, y_1[t], …, y_K[t])`, `M` =
//! `num_scan_inputs`. Results: the last states, then each `y` stacked.
//!
//! - **C1** `1 <= num_scan_inputs <= operands`; the body takes all operands and gives `N + K` results
//! - **C2** the lists of axes and directions have `M` and `K` entries, directions are 0 (forward) or 1 (backward)
//! - **C3** each scan input has its scan axis
//! - **C4** scan inputs agree in the extent of their scan axes
//! - **C5** a state keeps its element type
//!
//! ONNX `Scan`: opset 8 (a batch axis in front and lengths; imported as a scan over the batch around this one),
//! 9, 11 (negative axes), 16, 19, 21, 23, 24, 25 (types).

use super::common::*;
use super::r#loop::{carried_types, stack};
use super::move_common::*;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Scan`.
    pub struct Scan {
        /// What one step computes.
        body: Arc<Graph>,
        /// Number of scan inputs, the last operands.
        num_scan_inputs: i64,
        /// Axis scanned, for each scan input; left out 0.
        scan_input_axes: Option<Vec<i64>>,
        /// 1 scans backward, for each scan input; left out 0.
        scan_input_directions: Option<Vec<i64>>,
        /// Axis of the steps, for each stacked result; left out 0.
        scan_output_axes: Option<Vec<i64>>,
        /// 1 stacks backward, for each stacked result; left out 0.
        scan_output_directions: Option<Vec<i64>>,
    }
}

fn entry(list: &Option<Vec<i64>>, i: usize) -> i64 {
    list.as_ref().map_or(0, |l| l[i])
}

impl Scan {
    fn n_states(&self, n_inputs: usize) -> usize {
        n_inputs.saturating_sub(usize::try_from(self.num_scan_inputs).unwrap_or(0))
    }
}

/// One step's slice of a scan input: entry `t` of `axis`.
fn slice_at(x: &Tensor, axis: usize, t: usize) -> Result<Tensor> {
    let (outer, n, inner) = around(x.shape(), axis);
    let mut shape = x.shape().to_vec();
    shape.remove(axis);
    let mut y = Tensor::zeros(x.dtype(), &shape)?;
    let mut write = TensorWriter::new(&mut y);
    for o in 0..outer {
        write.copy_run(o * inner, x, (o * n + t) * inner, inner)?;
    }
    Ok(y)
}

impl Op for Scan {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (n_in, m) = (cx.n_inputs(), self.num_scan_inputs);
        let (takes, gives) = (self.body.inputs.len(), self.body.outputs.len());
        let n = self.n_states(n_in);
        let fits = m >= 1 && m <= n_in as i64 && takes == n_in && gives >= n && cx.n_outputs() <= gives;
        cx.require("C1", fits, || {
            format!("{n_in} operands, {m} of them scanned; the body takes {takes} and gives {gives}")
        })?;
        let (m, k) = (n_in - n, gives - n);
        let lists = [
            (&self.scan_input_axes, m),
            (&self.scan_input_directions, m),
            (&self.scan_output_axes, k),
            (&self.scan_output_directions, k),
        ];
        for (list, want) in lists {
            cx.require("C2", list.as_ref().is_none_or(|l| l.len() == want), || {
                format!("a list must have {want} entries")
            })?;
        }
        for list in [&self.scan_input_directions, &self.scan_output_directions] {
            cx.require("C2", list.iter().flatten().all(|d| (0..=1).contains(d)), || "a direction is 0 or 1".into())?;
        }
        let mut steps: Option<Dim> = None;
        let mut slices = Vec::new();
        for i in 0..m {
            let mut shape = cx.shape(n + i)?;
            let axis = cx.axis("C3", entry(&self.scan_input_axes, i), shape.len())?;
            let extent = shape.remove(axis);
            match &steps {
                Some(s) => cx.require_eq("C4", s, &extent)?,
                None => steps = Some(extent),
            }
            slices.push(Fact::of(Type::ranked(cx.dtype(n + i)?, shape)));
        }
        let steps = steps.unwrap_or_default();
        let first = (0..n).map(|i| Ok(cx.ty(i)?.clone())).collect::<RuleResult<Vec<_>>>()?;
        let args = |types: &[Type]| -> Vec<Fact> {
            types.iter().cloned().map(Fact::of).chain(slices.iter().cloned()).collect()
        };
        let (types, facts) = carried_types(cx, "C5", &self.body, first, 0, &args)?;
        for ty in types {
            cx.output_type(ty)?;
        }
        for (j, fact) in facts[n..].iter().enumerate() {
            match &fact.ty {
                Type::Tensor(TensorType { dtype, shape: Shape::Ranked(dims) }) => {
                    let mut dims = dims.clone();
                    let axis = cx.axis("C3", entry(&self.scan_output_axes, j), dims.len() + 1)?;
                    dims.insert(axis, steps.clone());
                    cx.output(*dtype, dims)?;
                }
                other => cx.output_type(other.clone())?,
            }
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let n = self.n_states(cx.n_inputs());
        let m = cx.n_inputs() - n;
        let mut states = (0..n).map(|i| cx.value(i).cloned()).collect::<Result<Vec<_>>>()?;
        let inputs = (n..n + m).map(|i| cx.tensor(i)).collect::<Result<Vec<_>>>()?;
        let axes: Vec<usize> =
            inputs.iter().enumerate().map(|(i, x)| normal_axis(entry(&self.scan_input_axes, i), x.rank())).collect();
        let steps = inputs.first().map_or(0, |x| x.shape()[axes[0]]);
        let mut stacked: Vec<Vec<Value>> = vec![Vec::new(); self.body.outputs.len() - n];
        for t in 0..steps {
            cx.env.step()?;
            let mut args = std::mem::take(&mut states);
            for (i, x) in inputs.iter().enumerate() {
                let at = if entry(&self.scan_input_directions, i) == 1 { steps - 1 - t } else { t };
                args.push(slice_at(x, axes[i], at)?.into());
            }
            let mut results = cx.run(&self.body, args)?.into_iter();
            states = results.by_ref().take(n).collect();
            for (all, v) in stacked.iter_mut().zip(results) {
                all.push(v);
            }
        }
        for v in states {
            cx.push(v);
        }
        for (j, items) in stacked.iter_mut().enumerate() {
            if n + j < cx.n_outputs() {
                if entry(&self.scan_output_directions, j) == 1 {
                    items.reverse();
                }
                let y = stack(cx, items, entry(&self.scan_output_axes, j), n + j, &self.body, n + j)?;
                cx.push(y);
            }
        }
        Ok(())
    }

    fn bodies(&self) -> Vec<&Arc<Graph>> {
        vec![&self.body]
    }
}

/// Opset 8: operands are `sequence_lens?`, then states and scan inputs with the batch in front; the scan axis is 1. It
/// becomes a scan over the batch, whose body scans the rest.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    if cx.version > 8 {
        return Ok(());
    }
    if cx.inputs.first().copied().flatten().is_some() {
        return Err(Error::unsupported("Scan of opset 8 with `sequence_lens`"));
    }
    if !cx.inputs.is_empty() {
        cx.inputs.remove(0);
    }
    let Some(Attr::Graph(body)) = cx.attrs.remove("body") else {
        return Err(Error::invalid("attribute `body` (a graph) is missing"));
    };
    let m =
        cx.attrs.remove("num_scan_inputs").ok_or_else(|| Error::invalid("attribute `num_scan_inputs` is missing"))?;
    let mut attrs = attrs! {};
    attrs.insert("body".into(), Attr::Graph(body.clone()));
    attrs.insert("num_scan_inputs".into(), m);
    if let Some(d) = cx.attrs.remove("directions") {
        attrs.insert("scan_input_directions".into(), d);
    }
    let mut outer = Graph::new(body.name.clone());
    let mut inputs = Vec::new();
    for i in 0..cx.inputs.len() {
        let ty = match cx.ty(i) {
            Type::Tensor(TensorType { dtype, shape: Shape::Ranked(dims) }) => {
                Type::ranked(dtype, dims.get(1..).unwrap_or_default().to_vec())
            }
            other => other,
        };
        inputs.push(Some(outer.add_input("", ty)));
    }
    let captures: Vec<ValueId> =
        body.captures.iter().map(|&c| outer.add_capture(body.value(c).name.clone(), body.ty(c).clone())).collect();
    let outputs: Vec<ValueId> = body.outputs.iter().map(|_| outer.add_value("", Type::Unknown)).collect();
    outer.nodes.push(crate::graph::Node {
        op: (DEF.parse)(&attrs).map_err(|e| e.of_op("Scan"))?,
        name: String::new(),
        inputs,
        captures,
        outputs: outputs.iter().copied().map(Some).collect(),
    });
    outer.outputs = outputs;
    let n = cx.inputs.len() as i64;
    cx.attrs.insert("body".into(), Attr::Graph(Arc::new(outer)));
    cx.attrs.insert("num_scan_inputs".into(), Attr::from(n));
    Ok(())
}

op! {
    Scan in "ai.onnx" since [8, 9, 11, 16 brings "bf16", 19 brings "f8", 21 brings "i4 u4", 23 brings "f4e2m1",
        24 brings "f8e8m0", 25 brings "i2 u2"];
    "initial_state_and_scan_inputs*" => "final_state_and_scan_outputs*";
    summary: "a body run over the entries of tensors, with carried states";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @sums([0.0], [[1.0], [2.0], [3.0]]) == [6.0], [[1.0], [3.0], [6.0]]
graph @sums(%s: f32[1], %x: f32[3, 1]) -> (f32[1], f32[3, 1]) {
  %0, %1 = scan %s, %x {
    num_scan_inputs = 1,
    body = graph @body(%s: f32[1], %x: f32[1]) -> (f32[1], f32[1]) {
      %0 = add %s, %x : f32[1]
      %1 = identity %0 : f32[1]
      return %0, %1
    }
  }
  return %0, %1
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::DType;

    /// Running sums; the second result is the sum so far.
    fn sums(more: crate::Attrs) -> crate::Attrs {
        let mut b = GraphBuilder::new("body");
        let s = b.input("s", Type::tensor(DType::I64, &[]));
        let x = b.input("x", Type::tensor(DType::I64, &[]));
        let y = b.op("Add", attrs! {}, &[s, x]).unwrap();
        let z = b.op("Identity", attrs! {}, &[y]).unwrap();
        let mut attrs = more;
        attrs.insert("body".into(), Attr::Graph(Arc::new(b.finish(&[y, z]))));
        attrs.entry("num_scan_inputs".into()).or_insert(Attr::from(1i64));
        attrs
    }

    fn scan(more: crate::Attrs) -> Result<Vec<Value>> {
        let inputs = [Some(Tensor::scalar(0i64).into()), Some(Tensor::from_slice(&[3], &[1i64, 2, 3]).into())];
        run("ai.onnx", "Scan", sums(more), &inputs, 2)
    }

    #[test]
    fn scan_runs_forward_and_backward() {
        let y = scan(attrs! {}).unwrap();
        assert_eq!(y, [Tensor::scalar(6i64).into(), Tensor::from_slice(&[3], &[1i64, 3, 6]).into()]);
        let back = attrs! { scan_input_directions: vec![1i64], scan_output_directions: vec![1i64] };
        assert_eq!(scan(back).unwrap()[1], Tensor::from_slice(&[3], &[6i64, 5, 3]).into());
    }

    #[test]
    fn scan_constraints_are_named() {
        let label = |a| scan(a).unwrap_err().label().unwrap().to_owned();
        assert_eq!(label(attrs! { num_scan_inputs: 0i64 }), "Scan.C1");
        assert_eq!(label(attrs! { scan_input_directions: vec![2i64] }), "Scan.C2");
        assert_eq!(label(attrs! { scan_input_axes: vec![1i64] }), "Scan.C3");
        assert_eq!(label(attrs! { num_scan_inputs: 2i64 }), "Scan.C3");
    }
}
