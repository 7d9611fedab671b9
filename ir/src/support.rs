//! What is supported of an operator, found by asking it: its examples are run, their calls lowered, expanded and tried
//! with every element type. `egret ops` and the table in `ir/OPS.md` show it.

use crate::dtype::DType;
use crate::eval::{Env, Reference, evaluate_observed};
use crate::filetest::{self, Runner};
use crate::graph::{Graph, Node};
use crate::infer::infer_call;
use crate::lower::{LowerCx, Lowering};
use crate::op::OpDef;
use crate::ops::OPS;
use crate::rule::Fact;
use crate::types::{TensorType, Type};
use crate::value::Value;
use crate::{GraphBuilder, Tensor};
use std::cell::RefCell;
use std::fmt::Write;

/// What is supported of an operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Support {
    /// Some call of the examples becomes machine code.
    pub native: bool,
    /// Some call of the examples is defined by other operators.
    pub expands: bool,
    /// Element types that the rule takes for the first tensor operand (for the result, where there is none).
    pub dtypes: Vec<DType>,
}

impl Support {
    /// Asks an operator.
    pub fn of(def: &'static OpDef) -> Support {
        let mut support = Support::default();
        for (graph, args) in runs(def.examples) {
            let mut values: Vec<Option<Value>> =
                graph.constants().into_iter().map(|t| t.cloned().map(Value::Tensor)).collect();
            for (v, value) in graph.inputs.iter().zip(&args) {
                values[v.index()] = Some(value.clone());
            }
            let see = &mut |v: crate::ValueId, value: &Value| values[v.index()] = Some(value.clone());
            if evaluate_observed(&graph, args, &[], &Env::default(), &Reference, see).is_err() {
                continue;
            }
            for node in graph.nodes.iter().filter(|n| std::ptr::eq(n.op.def(), def)) {
                support.call(node, &values);
            }
        }
        support.dtypes.sort_by_key(|d| DType::ALL.iter().position(|x| x == d));
        support.dtypes.dedup();
        support
    }

    /// `native`, `expanded` or `host`.
    pub fn how(&self) -> &'static str {
        match (self.native, self.expands) {
            (true, _) => "native",
            (false, true) => "expanded",
            (false, false) => "host",
        }
    }

    fn call(&mut self, node: &Node, values: &[Option<Value>]) {
        let of = |v: &Option<crate::ValueId>| v.and_then(|v| values[v.index()].as_ref());
        let inputs: Vec<Option<&Value>> = node.inputs.iter().map(of).collect();
        let tensor = |v: &Option<&Value>| v.and_then(|v| v.tensor().ok().cloned());
        let operands: Vec<Option<Tensor>> = inputs.iter().map(tensor).collect();
        let outputs: Option<Vec<Tensor>> = node.outputs.iter().map(|v| tensor(&of(v))).collect();
        let described = |t: &Tensor| (t.dtype(), t.shape().to_vec());
        if let Some(outputs) = &outputs {
            let cx = LowerCx {
                inputs: operands.iter().map(|t| t.as_ref().map(described)).collect(),
                constants: operands.iter().map(Option::as_ref).collect(),
                outputs: outputs.iter().map(described).collect(),
            };
            self.native |= matches!(node.op.lower(&cx), Ok(l) if !matches!(l, Lowering::Host));
        }
        let mut b = GraphBuilder::new("");
        let args: Vec<_> =
            inputs.iter().map(|v| v.map(|v| b.input_with_content("", crate::eval::fact_of(v)))).collect();
        self.expands |= matches!(node.op.expand(&mut b, &args), Ok(Some(_)));
        self.types(node, &inputs, outputs.as_deref());
    }

    /// Tries every element type in the place of the first tensor operand's.
    fn types(&mut self, node: &Node, inputs: &[Option<&Value>], outputs: Option<&[Tensor]>) {
        let types: Vec<Option<Type>> = inputs.iter().map(|v| v.map(Value::ty)).collect();
        let Some(first) = types.iter().flatten().find_map(|t| t.as_tensor().map(|t| t.dtype)) else {
            self.dtypes.extend(outputs.into_iter().flatten().map(Tensor::dtype));
            return;
        };
        for &dtype in DType::ALL {
            let with = |ty: &Type| match ty {
                Type::Tensor(t) if t.dtype == first => Type::Tensor(TensorType { dtype, shape: t.shape.clone() }),
                other => other.clone(),
            };
            // The first operand alone, and with it all others of its type.
            let alone = types.iter().position(|t| t.as_ref().is_some_and(|t| t.as_tensor().is_some()));
            let all = types.iter().map(|t| t.as_ref().map(|t| Fact::of(with(t))));
            let one = types
                .iter()
                .enumerate()
                .map(|(i, t)| t.as_ref().map(|t| Fact::of(if Some(i) == alone { with(t) } else { t.clone() })));
            let accepted =
                |facts: Vec<Option<Fact>>| infer_call(&*node.op, &facts, &[], node.outputs.len(), &mut 0).is_ok();
            if node.op.bodies().is_empty() && (accepted(all.collect()) || accepted(one.collect())) {
                self.dtypes.push(dtype);
            }
        }
    }
}

/// The graphs of examples with the arguments that they are run on.
pub fn runs(examples: &str) -> Vec<(Graph, Vec<Value>)> {
    let seen = RefCell::new(Vec::new());
    let record = |graph: &Graph, args: Vec<Value>| {
        seen.borrow_mut().push((graph.clone(), args.clone()));
        filetest::reference(graph, args)
    };
    filetest::check(examples, "run", &Runner { engines: &[("record", &record)], ..Runner::default() });
    seen.into_inner()
}

/// Element types in few words: groups that are complete by their name.
pub fn dtypes_text(dtypes: &[DType]) -> String {
    use DType::*;
    const GROUPS: [(&str, &[DType]); 8] = [
        ("float", &[F32, F64, F16, BF16]),
        ("float8", &[F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ]),
        ("signed", &[I8, I16, I32, I64]),
        ("unsigned", &[U8, U16, U32, U64]),
        ("2- and 4-bit", &[I2, I4, U2, U4]),
        ("complex", &[C64, C128]),
        ("bool", &[Bool]),
        ("string", &[String]),
    ];
    if DType::ALL.iter().all(|d| dtypes.contains(d)) {
        return "any".into();
    }
    let mut rest = dtypes.to_vec();
    let mut out = Vec::new();
    for (name, group) in GROUPS {
        if group.iter().all(|d| rest.contains(d)) {
            rest.retain(|d| !group.contains(d));
            out.push(name);
        }
    }
    out.extend(rest.iter().map(|d| d.name()));
    out.join(", ")
}

/// The table of all operators in Markdown, sorted by domain and name.
pub fn markdown() -> std::string::String {
    let mut defs = OPS.to_vec();
    defs.sort_by_key(|d| (d.domain, d.name));
    let mut out = std::string::String::from(
        "# Operators\n\nMade from the registry by `egret ops --markdown`; a test keeps it so (`BLESS=1 cargo test -p egret-ir \
         --test operators` writes it).\n\n- **opsets**: versions of the domain at which meaning or types changed; older ones \
         are upgraded on import.\n- **types**: element types that the rule takes for the first operand.\n- **how**: `native` \
         becomes machine code (at least for the operator's examples), `expanded` is defined by other operators, `host` runs \
         by its reference evaluation inside of the plan.\n- Constraints C1, C2… and formulas stand in each operator's \
         file.\n\n| domain | operator | opsets | operands | results | types | how | what |\n|---|---|---|---|---|---|---|---|\n",
    );
    for d in defs {
        let support = Support::of(d);
        let since: Vec<_> = d.since.iter().map(i64::to_string).collect();
        let file = d.mnemonic().replace('.', "/");
        let cell = |text: &str| text.replace('|', "\\|");
        writeln!(
            out,
            "| {} | [{}](src/ops/{file}.rs) | {} | {} | {} | {} | {} | {} |",
            d.domain,
            d.name,
            since.join(" "),
            cell(d.inputs),
            cell(d.outputs),
            dtypes_text(&support.dtypes),
            support.how(),
            cell(d.summary)
        )
        .expect("writing to a string never fails");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_types_are_grouped() {
        assert_eq!(dtypes_text(DType::ALL), "any");
        let types = [DType::F32, DType::F64, DType::F16, DType::BF16, DType::I64];
        assert_eq!(dtypes_text(&types), "float, i64");
    }

    #[test]
    fn an_operator_is_asked_through_its_examples() {
        let concat = Support::of(crate::ops::find("", "Concat").expect("it is registered"));
        assert_eq!((concat.how(), dtypes_text(&concat.dtypes).as_str()), ("native", "any"));
    }
}
