//! Activation functions that fused operators of ONNX Runtime name in an attribute.

use crate::error::{Error, Result};
use crate::ops::common::*;

/// Names that [`activate`] knows, with the attributes that their parameters are, in order.
const ACTIVATIONS: &[(&str, &[&str])] = &[
    ("Elu", &["alpha"]),
    ("HardSigmoid", &["alpha", "beta"]),
    ("LeakyRelu", &["alpha"]),
    ("Relu", &[]),
    ("Sigmoid", &[]),
    ("Softplus", &[]),
    ("Softsign", &[]),
    ("Tanh", &[]),
    ("ThresholdedRelu", &["alpha"]),
];

/// The operator `name` of `ai.onnx` on `x` with these parameters, those missing at their defaults; `Clip` takes the least
/// and the largest value.
///
/// # Errors
/// A violation of `label` where there is no such activation.
pub fn activate(b: &mut GraphBuilder, label: &str, x: ValueId, name: &str, parameters: &[f32]) -> Result<ValueId> {
    if name == "Clip" {
        let dtype = b.ty(x).as_tensor().map(|t| t.dtype);
        let (Some(dtype), &[lo, hi]) = (dtype, parameters) else {
            return Err(Error::violation(label, format!("Clip has {} parameters, 2 are wanted", parameters.len())));
        };
        let mut bound = |v: f32| b.constant(crate::Tensor::from_floats(dtype, &[], [v.into()]));
        let (lo, hi) = (bound(lo), bound(hi));
        return b.op("Clip", attrs! {}, &[x, lo, hi]);
    }
    let Some((_, names)) = ACTIVATIONS.iter().find(|(n, _)| *n == name) else {
        return Err(Error::violation(label, format!("activation \"{name}\" is not known")));
    };
    let attrs = names.iter().zip(parameters).map(|(n, &v)| ((*n).to_owned(), Attr::Float(v))).collect();
    b.op(name, attrs, &[x])
}
