//! A body run on each element of one or more sequences; its results collected into sequences.
//!
//! - **C1** the first operand is a sequence
//! - **C2** the body takes as many arguments as there are operands and gives the node's results
//!
//! Operands after the first are sequences (run along, equally long) or tensors (the same for every element).
//! ONNX `SequenceMap`: opset 17.

use super::common::*;
use super::sequence_common::*;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `SequenceMap`.
    pub struct SequenceMap {
        /// What is computed for each element.
        body: Arc<Graph>,
    }
}

impl Op for SequenceMap {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        element_type(cx, "C1", 0)?;
        let n = cx.n_inputs();
        cx.require("C2", self.body.inputs.len() == n && self.body.outputs.len() >= cx.n_outputs(), || {
            format!(
                "{n} operands; the body takes {} arguments and gives {}",
                self.body.inputs.len(),
                self.body.outputs.len()
            )
        })?;
        let mut args = Vec::with_capacity(n);
        for i in 0..n {
            args.push(match cx.ty(i)? {
                Type::Sequence(t) => {
                    let element = (**t).clone();
                    Fact::of(taken(cx, &element))
                }
                ty => Fact::of(ty.clone()),
            });
        }
        for fact in cx.infer_body(&self.body, &args)? {
            cx.output_type(Type::Sequence(Box::new(fact.ty)))?;
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let len = items(cx, 0)?.len();
        let mut results: Vec<Vec<Value>> = vec![Vec::new(); self.body.outputs.len()];
        for k in 0..len {
            cx.env.step()?;
            let mut args = Vec::with_capacity(cx.n_inputs());
            for i in 0..cx.n_inputs() {
                args.push(match cx.value(i)? {
                    Value::Sequence(_, v) if v.len() != len => {
                        return Err(Error::invalid(format!("sequences of {len} and {} elements", v.len())));
                    }
                    Value::Sequence(_, v) => v[k].clone(),
                    other => other.clone(),
                });
            }
            for (all, v) in results.iter_mut().zip(cx.run(&self.body, args)?) {
                all.push(v);
            }
        }
        for (k, all) in results.into_iter().enumerate() {
            push_sequence(cx, k, all);
        }
        Ok(())
    }

    fn bodies(&self) -> Vec<&Arc<Graph>> {
        vec![&self.body]
    }
}

op! {
    SequenceMap in "ai.onnx" since [17]; "input_sequence, additional_inputs*" => "out_sequence*";
    summary: "a body run on each element of sequences";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @each([1.0, -2.0], [-3.0]) == seq [[1.0, 0.0], [0.0]]
graph @each(%a: f32[2], %b: f32[1]) -> seq<f32[...]> {
  %0 = sequence_construct %a, %b
  %1 = sequence_map %0 {
    body = graph @body(%x: f32[...]) -> f32[...] {
      %0 = relu %x
      return %0
    }
  }
  return %1
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    fn node() -> crate::Attrs {
        let mut b = GraphBuilder::new("body");
        let x = b.input("x", Type::tensor(DType::I64, &[]));
        let y = b.input("y", Type::tensor(DType::I64, &[]));
        let z = b.op("Add", attrs! {}, &[x, y]).unwrap();
        [("body".to_owned(), Attr::Graph(Arc::new(b.finish(&[z]))))].into()
    }

    #[test]
    fn sequence_map_shares_tensors() {
        let t = |v: i64| Value::from(Tensor::scalar(v));
        let s = |v: Vec<Value>| Value::Sequence(Type::tensor(DType::I64, &[]), v);
        let y = run("ai.onnx", "SequenceMap", node(), &[Some(s(vec![t(1), t(2)])), Some(t(10))], 1).unwrap();
        assert_eq!(y[0], s(vec![t(11), t(12)]));
        let uneven = [Some(s(vec![t(1)])), Some(s(vec![]))];
        assert!(run("ai.onnx", "SequenceMap", node(), &uneven, 1).is_err());
    }

    #[test]
    fn sequence_map_constraints_are_named() {
        let t = Type::tensor(DType::I64, &[]);
        let label = |types: &[Type]| violated("SequenceMap", node(), types);
        assert_eq!(label(&[t.clone(), t.clone()]).as_deref(), Some("SequenceMap.C1"));
        assert_eq!(label(&[Type::Sequence(Box::new(t))]).as_deref(), Some("SequenceMap.C2"));
    }
}
