//! Operators as black boxes: a call goes in, types of results or a refusal come out. What infers rules sees nothing else
//! of an operator.

use crate::trace::{Argument, Call, Number, Outcome, Produced};
use egret_ir::eval::{Env, Limits, Reference, eval_call, fact_of};
use egret_ir::infer::infer_call;
use egret_ir::{DType, Error, ErrorKind, Fact, Tensor, Type, Value, ops};

/// Something that runs operators.
pub trait BlackBox {
    /// Its name in records and rule files.
    fn name(&self) -> &str;

    /// Runs one call.
    fn call(&mut self, call: &Call) -> Outcome;
}

/// Largest result that a probe may ask for, in bytes.
const PROBE_BYTES: usize = 1 << 20;

/// Egret's registry. An operator's check is run with numbers for every extent and attribute and the elements that the
/// call states; the call is evaluated too where the types of results depend on elements, or always if `evaluate` is set
/// (then operands whose elements the call leaves open are zeros).
#[derive(Debug, Default)]
pub struct Egret {
    /// Whether every call is evaluated.
    pub evaluate: bool,
}

impl BlackBox for Egret {
    fn name(&self) -> &str {
        "egret"
    }

    fn call(&mut self, call: &Call) -> Outcome {
        self.run(call).unwrap_or_else(|e| match e.kind() {
            ErrorKind::Limit => Outcome::Unsupported(e.to_string()),
            _ => Outcome::Invalid(e.to_string()),
        })
    }
}

impl Egret {
    fn run(&self, call: &Call) -> Result<Outcome, Error> {
        let Some(def) = ops::find(&call.domain, &call.op) else {
            return Ok(Outcome::Unsupported(format!("the registry has no operator {}", call.op)));
        };
        let op = (def.parse)(&call.attrs)?;
        let facts = call.inputs.iter().map(|a| a.as_ref().map(fact).transpose()).collect::<Result<Vec<_>, _>>()?;
        let inferred = infer_call(&*op, &facts, &[], call.n_outputs, &mut 0)?;
        let open = inferred.deferred.is_some() || inferred.outputs.iter().any(|f| f.ty.concrete().is_none());
        if !open && !self.evaluate {
            return Ok(Outcome::Valid(inferred.outputs.iter().map(|f| produced(&f.ty)).collect()));
        }
        let values = call.inputs.iter().map(|a| a.as_ref().map(value).transpose()).collect::<Result<Vec<_>, _>>()?;
        let operands: Vec<Option<&Value>> = values.iter().map(Option::as_ref).collect();
        let limits = Limits { value_bytes: PROBE_BYTES, loop_steps: 1 << 16, ..Limits::default() };
        match eval_call(&*op, &operands, &[], call.n_outputs, &Env::new(limits, 0), &Reference) {
            // An extent that the check leaves open depends on elements: what it was this time is no rule.
            Ok(results) => Ok(Outcome::Valid(
                results
                    .iter()
                    .zip(&inferred.outputs)
                    .map(|(v, f)| if open { opened(&v.ty(), &f.ty) } else { produced(&v.ty()) })
                    .collect(),
            )),
            Err(e) => Err(e),
        }
    }
}

fn opened(got: &Type, said: &Type) -> Produced {
    let mut p = produced(got);
    if let (Produced::Tensor { shape, .. } | Produced::Nested { shape, .. }, Some((_, dims))) = (&mut p, nested(said)) {
        for (d, said) in shape.iter_mut().zip(dims) {
            if !said.is_int() {
                *d = None;
            }
        }
    }
    p
}

/// A type as a record keeps it.
pub fn produced(ty: &Type) -> Produced {
    let Some((text, dims)) = nested(ty) else { return Produced::Other(ty.to_string()) };
    let shape = dims.iter().map(|d| d.as_int()).collect();
    match ty.as_tensor() {
        Some(t) => Produced::Tensor { dtype: t.dtype, shape },
        None => Produced::Nested { text, shape },
    }
}

/// The extents of a tensor, or of the tensors in a sequence or an optional, and the type's text without them. None where the
/// rank is not known, and of other types.
pub fn nested(ty: &Type) -> Option<(String, &[egret_ir::Dim])> {
    Some(match ty {
        Type::Tensor(t) => {
            let dims = t.shape.dims()?;
            (format!("{}[{}]", t.dtype, vec!["?"; dims.len()].join(", ")), dims)
        }
        Type::Sequence(of) => nested(of).map(|(text, dims)| (format!("seq<{text}>"), dims))?,
        Type::Optional(of) => nested(of).map(|(text, dims)| (format!("optional<{text}>"), dims))?,
        Type::Unknown | Type::Map(..) => return None,
    })
}

fn fact(a: &Argument) -> Result<Fact, Error> {
    Ok(match &a.values {
        Some(_) => fact_of(&value(a)?),
        None => Fact::of(Type::ranked(a.dtype, a.shape.iter().map(|&d| egret_ir::Dim::int(d)).collect())),
    })
}

/// The argument with its elements, zeros where the call leaves them open.
///
/// # Errors
/// When it is larger than a probe may be, or its elements do not fit its shape.
pub fn value(a: &Argument) -> Result<Value, Error> {
    let shape = a.shape.iter().map(|&d| usize::try_from(d)).collect::<Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| Error::invalid("an extent is negative"))?;
    let n = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
    if n.saturating_mul(a.dtype.size_bytes().max(1)) > PROBE_BYTES {
        return Err(Error::limit("the argument is larger than a probe may be"));
    }
    let Some(values) = &a.values else { return Tensor::zeros(a.dtype, &shape).map(Value::from) };
    if values.len() != n {
        return Err(Error::invalid("the number of elements is not that of the shape"));
    }
    if a.dtype == DType::String {
        return Err(Error::unsupported("elements that are texts in a record"));
    }
    let tensor = if a.dtype.is_float() {
        Tensor::from_floats(a.dtype, &shape, values.iter().map(|v| v.float()))
    } else {
        Tensor::from_ints(a.dtype, &shape, values.iter().map(|v| i128::from(v.int())))
    };
    Ok(tensor.into())
}

impl Number {
    /// As a float.
    pub fn float(self) -> f64 {
        match self {
            Number::Int(v) => v as f64,
            Number::Float(v) => v,
        }
    }

    /// As an integer, rounded towards zero.
    pub fn int(self) -> i64 {
        match self {
            Number::Int(v) => v,
            Number::Float(v) => v as i64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::Attrs;

    fn call(op: &str, inputs: Vec<Option<Argument>>) -> Call {
        Call {
            domain: "ai.onnx".into(),
            op: op.into(),
            attrs: Attrs::new(),
            operands: Vec::new(),
            inputs,
            n_outputs: 1,
        }
    }

    fn f32s(shape: &[i64]) -> Option<Argument> {
        Some(Argument { dtype: DType::F32, shape: shape.to_vec(), values: None })
    }

    #[test]
    fn a_call_gives_types_or_a_refusal() {
        let mut egret = Egret::default();
        let ok = egret.call(&call("Add", vec![f32s(&[2, 1]), f32s(&[3])]));
        let want = Produced::Tensor { dtype: DType::F32, shape: vec![Some(2), Some(3)] };
        assert_eq!(ok, Outcome::Valid(vec![want]));
        assert!(matches!(egret.call(&call("Add", vec![f32s(&[2]), f32s(&[3])])), Outcome::Invalid(_)));
        assert!(matches!(egret.call(&call("NoSuchOperator", vec![])), Outcome::Unsupported(_)));
    }

    #[test]
    fn extents_that_depend_on_elements_are_open() {
        let got = Egret::default().call(&call("NonZero", vec![f32s(&[2, 3])]));
        let want = Produced::Tensor { dtype: DType::I64, shape: vec![Some(2), None] };
        assert_eq!(got, Outcome::Valid(vec![want]));
    }
}
