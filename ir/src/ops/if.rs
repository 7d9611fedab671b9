//! `outputs = cond ? then_branch() : else_branch()`.
//!
//! - **C1** `cond` is one `bool`
//! - **C2** both branches give as many results as the node has
//! - **C3** results at one position have one kind and element type
//!
//! The branches take no arguments; outer values reach them as captures. Extents in which the branches differ depend on
//! data. Where `cond` is a constant only the branch taken is typed; elsewhere one branch may break an operator's rule (models
//! choose by the rank of an operand), which is an error when it is taken.
//! ONNX `If`: opset 1, 11, 13 (sequences), 16 (optionals), 19, 21, 23, 24, 25 (types).

use super::common::*;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `If`.
    pub struct If {
        /// Run when the condition is true.
        then_branch: Arc<Graph>,
        /// Run when it is false.
        else_branch: Arc<Graph>,
    }
}

impl If {
    fn branch(&self, cond: bool) -> &Arc<Graph> {
        if cond { &self.then_branch } else { &self.else_branch }
    }
}

impl Op for If {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, &[DType::Bool])?;
        // Models in the wild give the condition as [1], [1, 1] and so on.
        let count: Dim = cx.shape(0)?.iter().product();
        cx.require_eq("C1", &count, &Dim::int(1))?;
        let n = cx.n_outputs();
        for body in [&self.then_branch, &self.else_branch] {
            cx.require("C2", body.outputs.len() == n && body.inputs.is_empty(), || {
                format!("a branch takes {} arguments and gives {} results", body.inputs.len(), body.outputs.len())
            })?;
        }
        if let Some(taken) = cx.constant(0) {
            let taken = taken.bools()?.first().copied().unwrap_or_default();
            let facts = cx.infer_body(self.branch(taken), &[])?;
            return facts.into_iter().try_for_each(|f| cx.output_fact(f));
        }
        let (a, b) = match (cx.infer_body(&self.then_branch, &[]), cx.infer_body(&self.else_branch, &[])) {
            (Ok(a), Ok(b)) => (a, b),
            (Ok(facts), Err(Stop::Fail(e))) | (Err(Stop::Fail(e)), Ok(facts)) if e.label().is_some() => {
                return facts.into_iter().try_for_each(|f| cx.output_fact(f));
            }
            (Err(e), _) | (_, Err(e)) => return Err(e),
        };
        for (a, b) in a.into_iter().zip(b) {
            if a == b {
                cx.output_fact(a)?;
                continue;
            }
            let ty = join(&a.ty, &b.ty, &mut || cx.fresh());
            cx.require("C3", ty.is_some(), || format!("the branches give {} and {}", a.ty, b.ty))?;
            cx.output_type(ty.unwrap_or_default())?;
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let taken = cx.tensor(0)?.bools()?.first().copied().unwrap_or_default();
        for v in cx.run(self.branch(taken), Vec::new())? {
            cx.push(v);
        }
        Ok(())
    }

    fn bodies(&self) -> Vec<&Arc<Graph>> {
        vec![&self.then_branch, &self.else_branch]
    }
}

op! {
    If in "ai.onnx" since [1, 11, 13, 16 brings "optional bf16", 19 brings "f8", 21 brings "i4 u4",
        23 brings "f4e2m1", 24 brings "f8e8m0", 25 brings "i2 u2"];
    "cond" => "outputs*";
    summary: "one of two bodies, by a condition";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @either(true, [1.0, -2.0]) == [1.0, 0.0]
// run: @either(false, [1.0, -2.0]) == [-1.0, 2.0]
graph @either(%c: bool[], %x: f32[2]) -> f32[2] {
  %0 = if %c [%x] {
    then_branch = graph @then() [%x: f32[2]] -> f32[2] {
      %0 = relu %x : f32[2]
      return %0
    },
    else_branch = graph @else() [%x: f32[2]] -> f32[2] {
      %0 = neg %x : f32[2]
      return %0
    }
  } : f32[2]
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    fn branch(t: Tensor) -> Attr {
        let mut b = GraphBuilder::new("branch");
        let v = b.constant(t);
        Attr::Graph(Arc::new(b.finish(&[v])))
    }

    fn node(a: Tensor, b: Tensor) -> crate::Attrs {
        [("then_branch".to_owned(), branch(a)), ("else_branch".to_owned(), branch(b))].into()
    }

    #[test]
    fn if_lets_one_branch_break_a_rule_until_it_is_taken() {
        let broken = {
            // Axis 0 has two entries, which cannot be left out.
            let mut g = Graph::new("broken");
            let x = g.add_constant("", Tensor::from_slice(&[2], &[1f32, 2.0]));
            let axis = g.add_constant("", Tensor::from_slice(&[1], &[0i64]));
            let y = g.add_value("", Type::Unknown);
            let op = (crate::ops::find("ai.onnx", "Squeeze").unwrap().parse)(&attrs! {}).unwrap();
            g.nodes.push(crate::Node {
                op,
                name: String::new(),
                inputs: vec![Some(x), Some(axis)],
                captures: vec![],
                outputs: vec![Some(y)],
            });
            g.outputs = vec![y];
            Attr::Graph(Arc::new(g))
        };
        let good = Tensor::from_slice(&[1], &[1f32]);
        let a: crate::Attrs =
            [("then_branch".to_owned(), broken), ("else_branch".to_owned(), branch(good.clone()))].into();
        let t = infer1("If", a.clone(), &[Fact::of(Type::tensor(DType::Bool, &[]))]).unwrap().ty;
        assert_eq!(t, Type::tensor(DType::F32, &[1]));
        assert_eq!(run1("If", a.clone(), &[Tensor::from_bools(&[], [false])]).unwrap(), good);
        assert!(run1("If", a, &[Tensor::from_bools(&[], [true])]).is_err());
    }

    #[test]
    fn if_takes_one_branch_and_joins_types() {
        let (a, b) = (Tensor::from_slice(&[1], &[1f32]), Tensor::from_slice(&[2], &[2f32, 3.0]));
        let y = run1("If", node(a.clone(), b.clone()), &[Tensor::from_bools(&[], [false])]).unwrap();
        assert_eq!(y, b);
        let t = infer1("If", node(a, b), &[Fact::of(Type::tensor(DType::Bool, &[]))]).unwrap().ty;
        assert!(t.as_tensor().unwrap().shape.dims().unwrap()[0].as_sym().is_some());
    }

    #[test]
    fn if_constraints_are_named() {
        let (a, b) = (Tensor::scalar(1f32), Tensor::scalar(1i32));
        let label = |a: &Tensor, b: &Tensor, t| violated("If", node(a.clone(), b.clone()), &[t]);
        assert_eq!(label(&a, &a, Type::tensor(DType::I32, &[])).as_deref(), Some("If.C1"));
        assert_eq!(label(&a, &b, Type::tensor(DType::Bool, &[])).as_deref(), Some("If.C3"));
        let mut two = node(a.clone(), a);
        two.insert("then_branch".into(), Attr::Graph(Arc::new(Graph::new("none"))));
        assert_eq!(violated("If", two, &[Type::tensor(DType::Bool, &[])]).as_deref(), Some("If.C2"));
    }
}
