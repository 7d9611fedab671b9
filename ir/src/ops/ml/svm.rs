//! What the support vector machines share: the kernel function.

use crate::rule::{RuleCx, RuleResult};

/// A kernel function of two vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kernel {
    /// `a · b`
    Linear,
    /// `(gamma a · b + coef0) ^ degree`
    Poly([f64; 3]),
    /// `exp(-gamma |a - b|²)`
    Rbf(f64),
    /// `tanh(gamma a · b + coef0)`
    Sigmoid([f64; 2]),
}

impl Kernel {
    /// The kernel that the attributes name; `params` are gamma, coef0 and degree, zeros where absent.
    pub fn of(name: &str, params: &[f32]) -> Option<Kernel> {
        let p = |i: usize| params.get(i).map_or(0.0, |&v| f64::from(v));
        Some(match name {
            "LINEAR" => Kernel::Linear,
            "POLY" => Kernel::Poly([p(0), p(1), p(2)]),
            "RBF" => Kernel::Rbf(p(0)),
            "SIGMOID" => Kernel::Sigmoid([p(0), p(1)]),
            _ => return None,
        })
    }

    /// As [`Kernel::of`], for a rule.
    pub fn rule(cx: &RuleCx<'_>, label: &'static str, name: &str, params: &[f32]) -> RuleResult<Kernel> {
        let kernel = Kernel::of(name, params);
        cx.require(label, kernel.is_some() && matches!(params.len(), 0 | 3), || {
            format!("kernel `{name}` with {} parameters, 3 are wanted", params.len())
        })?;
        Ok(kernel.unwrap_or(Kernel::Linear))
    }

    /// The kernel of two vectors.
    pub fn of_vectors(self, a: &[f64], b: &[f32]) -> f64 {
        let dot = || a.iter().zip(b).map(|(x, &y)| x * f64::from(y)).sum::<f64>();
        match self {
            Kernel::Linear => dot(),
            Kernel::Poly([gamma, coef0, degree]) => (gamma * dot() + coef0).powf(degree),
            Kernel::Rbf(gamma) => {
                (-gamma * a.iter().zip(b).map(|(x, &y)| (x - f64::from(y)).powi(2)).sum::<f64>()).exp()
            }
            Kernel::Sigmoid([gamma, coef0]) => (gamma * dot() + coef0).tanh(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_of_two_vectors() {
        let at = |name: &str, p: &[f32]| Kernel::of(name, p).unwrap().of_vectors(&[1.0, 2.0], &[3.0, 1.0]);
        assert_eq!(at("LINEAR", &[]), 5.0);
        assert_eq!(at("POLY", &[2.0, -1.0, 2.0]), 81.0);
        assert_eq!(at("RBF", &[0.5, 0.0, 0.0]), (-2.5f64).exp());
        assert_eq!(at("SIGMOID", &[0.5, -2.5, 0.0]), 0.0);
        assert_eq!(Kernel::of("COSINE", &[]), None);
    }
}
