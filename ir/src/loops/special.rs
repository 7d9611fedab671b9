//! Functions that the standard library lacks, or has for part of the numbers only, in `f64`.
//!
//! `erf` follows FreeBSD's `s_erf.c` (Sun Microsystems, 1993; error below 1 ulp): rational approximations on five
//! intervals.

#![expect(clippy::excessive_precision, reason = "the coefficients as they were published")]

/// The logistic function `1 / (1 + exp(-x))`, without overflow.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// From here on `x + 1` is `x` and the logarithm of `2 x` tells `acosh(x)` and `asinh(x)` to the last bit; the standard library
/// doubles the number, which overflows.
const HUGE: f64 = 1e300;

/// The inverse hyperbolic cosine; NaN below 1.
pub fn acosh(x: f64) -> f64 {
    if x > HUGE { x.ln() + std::f64::consts::LN_2 } else { x.acosh() }
}

/// The inverse hyperbolic sine.
pub fn asinh(x: f64) -> f64 {
    if x.abs() > HUGE { (x.abs().ln() + std::f64::consts::LN_2).copysign(x) } else { x.asinh() }
}

/// The inverse hyperbolic tangent: odd, so that negative numbers are as good as positive ones (the standard library's logarithm
/// cancels near -1).
pub fn atanh(x: f64) -> f64 {
    x.abs().atanh().copysign(x)
}

fn poly(x: f64, coefficients: &[f64]) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, &c| sum * x + c)
}

const PP: [f64; 5] = [
    1.28379167095512558561e-01,
    -3.25042107247001499370e-01,
    -2.84817495755985104766e-02,
    -5.77027029648944159157e-03,
    -2.37630166566501626084e-05,
];
const QQ: [f64; 6] = [
    1.0,
    3.97917223959155352819e-01,
    6.50222499887672944485e-02,
    5.08130628187576562776e-03,
    1.32494738004321644526e-04,
    -3.96022827877536812320e-06,
];
const PA: [f64; 7] = [
    -2.36211856075265944077e-03,
    4.14856118683748331666e-01,
    -3.72207876035701323847e-01,
    3.18346619901161753674e-01,
    -1.10894694282396677476e-01,
    3.54783043256182359371e-02,
    -2.16637559486879084300e-03,
];
const QA: [f64; 7] = [
    1.0,
    1.06420880400844228286e-01,
    5.40397917702171048937e-01,
    7.18286544141962662868e-02,
    1.26171219808761642112e-01,
    1.36370839120290507362e-02,
    1.19844998467991074170e-02,
];
const RA: [f64; 8] = [
    -9.86494403484714822705e-03,
    -6.93858572707181764372e-01,
    -1.05586262253232909814e+01,
    -6.23753324503260060396e+01,
    -1.62396669462573470355e+02,
    -1.84605092906711035994e+02,
    -8.12874355063065934246e+01,
    -9.81432934416914548592e+00,
];
const SA: [f64; 9] = [
    1.0,
    1.96512716674392571292e+01,
    1.37657754143519042600e+02,
    4.34565877475229228821e+02,
    6.45387271733267880336e+02,
    4.29008140027567833386e+02,
    1.08635005541779435134e+02,
    6.57024977031928170135e+00,
    -6.04244152148580987438e-02,
];
const RB: [f64; 7] = [
    -9.86494292470009928597e-03,
    -7.99283237680523006574e-01,
    -1.77579549177547519889e+01,
    -1.60636384855821916062e+02,
    -6.37566443368389627722e+02,
    -1.02509513161107724954e+03,
    -4.83519191608651397019e+02,
];
const SB: [f64; 8] = [
    1.0,
    3.03380607434824582924e+01,
    3.25792512996573918826e+02,
    1.53672958608443695994e+03,
    3.19985821950859553908e+03,
    2.55305040643316442583e+03,
    4.74528541206955367215e+02,
    -2.24409524465858183362e+01,
];

/// The error function.
pub fn erf(x: f64) -> f64 {
    // erf(1) split into its first 24 bits and the rest, which PA/QA approximates.
    const ERX: f64 = 8.45062911510467529297e-01;
    let a = x.abs();
    if a.is_nan() {
        return x;
    }
    if a < 0.84375 {
        let z = a * a;
        return x + x * (poly(z, &PP) / poly(z, &QQ));
    }
    let magnitude = if a < 1.25 {
        let s = a - 1.0;
        ERX + poly(s, &PA) / poly(s, &QA)
    } else if a >= 6.0 {
        1.0
    } else {
        let s = 1.0 / (a * a);
        let ratio = if a < 1.0 / 0.35 { poly(s, &RA) / poly(s, &SA) } else { poly(s, &RB) / poly(s, &SB) };
        // exp(-a*a) without losing a*a's low bits: a is split into a head of 20 bits and a tail.
        let head = f64::from_bits(a.to_bits() & 0xffff_ffff_0000_0000);
        let tail = (-head * head - 0.5625).exp() * ((head - a) * (head + a) + ratio).exp();
        1.0 - tail / a
    };
    magnitude.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_at_tabulated_points() {
        // Abramowitz and Stegun, table 7.1.
        for (x, y) in [
            (0.0, 0.0),
            (0.1, 0.1124629160),
            (0.5, 0.5204998778),
            (1.0, 0.8427007929),
            (1.5, 0.9661051465),
            (2.0, 0.9953222650),
            (3.0, 0.9999779095),
        ] {
            assert!((erf(x) - y).abs() < 1e-10, "{x}: {}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
        assert_eq!(erf(f64::INFINITY), 1.0);
        assert!(erf(f64::NAN).is_nan());
    }

    #[test]
    fn inverse_hyperbolic_functions_are_finite_where_numbers_are() {
        // ln(2) + ln(f64::MAX), by hand.
        let most = 710.475_860_073_943_9;
        assert!((acosh(f64::MAX) - most).abs() < 1e-12 && (asinh(-f64::MAX) + most).abs() < 1e-12);
        assert!((acosh(1.0e300) - acosh(1.000_000_1e300)).abs() < 1e-6);
        assert_eq!((acosh(f64::INFINITY), asinh(f64::NEG_INFINITY)), (f64::INFINITY, f64::NEG_INFINITY));
        assert!(acosh(f64::NEG_INFINITY).is_nan() && asinh(f64::NAN).is_nan());
    }

    #[test]
    fn atanh_is_odd_and_exact_near_its_poles() {
        // By mpmath with 200 bits.
        let (x, y) = (0.989_510_508_592_495_2, 2.622_634_987_101_197_4);
        assert!((atanh(x) - y).abs() < 2e-15 && (atanh(-x) + y).abs() < 2e-15, "{} {}", atanh(x), atanh(-x));
        assert_eq!((atanh(1.0), atanh(-1.0)), (f64::INFINITY, f64::NEG_INFINITY));
        assert!(atanh(-0.0).is_sign_negative() && atanh(1.5).is_nan());
    }

    #[test]
    fn sigmoid_is_finite_everywhere() {
        assert_eq!(sigmoid(-1e9), 0.0);
        assert_eq!(sigmoid(1e9), 1.0);
        assert_eq!(sigmoid(0.0), 0.5);
    }
}
