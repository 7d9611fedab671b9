// Included by the library (lib.rs) and, for its tests, by the crate that embeds it.

mod libm {
    unsafe extern "C" {
        pub(super) safe fn exp(x: f64) -> f64;
        pub(super) safe fn expm1(x: f64) -> f64;
        pub(super) safe fn log(x: f64) -> f64;
        pub(super) safe fn log1p(x: f64) -> f64;
        pub(super) safe fn sin(x: f64) -> f64;
        pub(super) safe fn cos(x: f64) -> f64;
        pub(super) safe fn tan(x: f64) -> f64;
        pub(super) safe fn asin(x: f64) -> f64;
        pub(super) safe fn acos(x: f64) -> f64;
        pub(super) safe fn atan(x: f64) -> f64;
        pub(super) safe fn sinh(x: f64) -> f64;
        pub(super) safe fn cosh(x: f64) -> f64;
        pub(super) safe fn tanh(x: f64) -> f64;
        pub(super) safe fn asinh(x: f64) -> f64;
        pub(super) safe fn acosh(x: f64) -> f64;
        pub(super) safe fn atanh(x: f64) -> f64;
        pub(super) safe fn erf(x: f64) -> f64;
        pub(super) safe fn pow(x: f64, y: f64) -> f64;
        pub(super) safe fn floor(x: f64) -> f64;
        pub(super) safe fn rint(x: f64) -> f64;
    }
}

macro_rules! unary {
    ($($single:ident $double:ident $f:expr;)*) => { $(
        #[unsafe(no_mangle)]
        pub extern "C" fn $single(x: f32) -> f32 {
            let f: fn(f64) -> f64 = $f;
            f(f64::from(x)) as f32
        }
        #[unsafe(no_mangle)]
        pub extern "C" fn $double(x: f64) -> f64 {
            let f: fn(f64) -> f64 = $f;
            f(x)
        }
    )* };
}

unary! {
    egret_exp_f32 egret_exp_f64 |x| libm::exp(x);
    egret_expm1_f32 egret_expm1_f64 |x| libm::expm1(x);
    egret_log_f32 egret_log_f64 |x| libm::log(x);
    egret_log1p_f32 egret_log1p_f64 |x| libm::log1p(x);
    egret_sin_f32 egret_sin_f64 |x| libm::sin(x);
    egret_cos_f32 egret_cos_f64 |x| libm::cos(x);
    egret_tan_f32 egret_tan_f64 |x| libm::tan(x);
    egret_asin_f32 egret_asin_f64 |x| libm::asin(x);
    egret_acos_f32 egret_acos_f64 |x| libm::acos(x);
    egret_atan_f32 egret_atan_f64 |x| libm::atan(x);
    egret_sinh_f32 egret_sinh_f64 |x| libm::sinh(x);
    egret_cosh_f32 egret_cosh_f64 |x| libm::cosh(x);
    egret_tanh_f32 egret_tanh_f64 |x| libm::tanh(x);
    egret_asinh_f32 egret_asinh_f64 |x| libm::asinh(x);
    egret_acosh_f32 egret_acosh_f64 |x| libm::acosh(x);
    egret_atanh_f32 egret_atanh_f64 |x| libm::atanh(x);
    egret_erf_f32 egret_erf_f64 |x| libm::erf(x);
    egret_sigmoid_f32 egret_sigmoid_f64 |x| sigmoid(x);
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + libm::exp(-x))
    } else {
        let e = libm::exp(x);
        e / (1.0 + e)
    }
}

macro_rules! float_binary {
    ($($name:ident $t:ty: |$x:ident, $y:ident| $f:expr;)*) => { $(
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($x: $t, $y: $t) -> $t {
            $f
        }
    )* };
}

float_binary! {
    egret_pow_f32 f32: |x, y| libm::pow(f64::from(x), f64::from(y)) as f32;
    egret_pow_f64 f64: |x, y| libm::pow(x, y);
    egret_rem_f32 f32: |x, y| x % y;
    egret_rem_f64 f64: |x, y| x % y;
    egret_floormod_f32 f32: |x, y| {
        let r = x % y;
        if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
    };
    egret_floormod_f64 f64: |x, y| {
        let r = x % y;
        if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
    };
    egret_floordiv_f32 f32: |x, y| libm::floor(f64::from(x) / f64::from(y)) as f32;
    egret_floordiv_f64 f64: |x, y| libm::floor(x / y);
    egret_div_f32 f32: |x, y| x / y;
    egret_div_f64 f64: |x, y| x / y;
}

macro_rules! int_binary {
    ($($name:ident |$x:ident, $y:ident| $f:expr;)*) => { $(
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($x: i64, $y: i64) -> i64 {
            $f
        }
    )* };
}

int_binary! {
    egret_pow_i64 |x, y| match (x, y) {
        (1, _) => 1,
        (-1, y) if y < 0 => if y % 2 == 0 { 1 } else { -1 },
        (_, y) if y < 0 => 0,
        (x, y) => power(x, y as u64),
    };
    egret_pow_u64 |x, y| power(x, y as u64);
    egret_rem_i64 |x, y| if y == 0 { 0 } else { x.wrapping_rem(y) };
    egret_rem_u64 |x, y| if y == 0 { 0 } else { (x as u64 % y as u64) as i64 };
    egret_floormod_i64 |x, y| {
        let r = if y == 0 { 0 } else { x.wrapping_rem(y) };
        if r != 0 && (r < 0) != (y < 0) { r + y } else { r }
    };
    egret_floormod_u64 |x, y| egret_rem_u64(x, y);
    egret_floordiv_i64 |x, y| {
        if y == 0 {
            return 0;
        }
        let (q, r) = (x.wrapping_div(y), x.wrapping_rem(y));
        if r != 0 && (r < 0) != (y < 0) { q - 1 } else { q }
    };
    egret_floordiv_u64 |x, y| egret_div_u64(x, y);
    egret_div_i64 |x, y| if y == 0 { 0 } else { x.wrapping_div(y) };
    egret_div_u64 |x, y| if y == 0 { 0 } else { (x as u64 / y as u64) as i64 };
}

/// Wrapping power by squaring.
fn power(base: i64, exponent: u64) -> i64 {
    let (mut result, mut square, mut left) = (1i64, base, exponent);
    while left != 0 {
        if left & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        left >>= 1;
    }
    result
}

/// A float of at most eight bits: sign, exponent, mantissa.
struct Narrow {
    mantissa_bits: u32,
    exponent_bits: u32,
    bias: i32,
    /// Code of the greatest finite value.
    max_code: u32,
    infinity: Option<u32>,
    /// Code of NaN under either sign.
    nan: Option<u32>,
    /// Whether the code that would be negative zero is the only NaN.
    unsigned_zero: bool,
}

/// `2^exponent` for normal exponents.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

impl Narrow {
    const fn sign(&self) -> u32 {
        1 << (self.mantissa_bits + self.exponent_bits)
    }

    fn decode(&self, code: i32) -> f32 {
        let code = code as u32 & (2 * self.sign() - 1);
        let (negative, magnitude) = (code & self.sign() != 0, code & (self.sign() - 1));
        let signed = |x: f32| if negative { -x } else { x };
        if self.unsigned_zero && negative && magnitude == 0 {
            return f32::NAN;
        }
        if Some(magnitude) == self.infinity {
            return signed(f32::INFINITY);
        }
        if magnitude > self.max_code {
            return signed(f32::NAN);
        }
        let field = (magnitude >> self.mantissa_bits) as i32;
        let fraction = magnitude & ((1 << self.mantissa_bits) - 1);
        let units = if field == 0 { fraction } else { fraction | 1 << self.mantissa_bits };
        signed((f64::from(units) * power_of_two(field.max(1) - self.bias - self.mantissa_bits as i32)) as f32)
    }

    /// The nearest code, ties to even.
    fn encode(&self, x: f32, saturate: bool) -> i32 {
        let sign = if x.is_sign_negative() { self.sign() } else { 0 };
        let code = if x.is_nan() {
            match self.nan {
                Some(code) => sign | code,
                None => self.sign(),
            }
        } else {
            let code = self.rounded(f64::from(x.abs()));
            if code <= self.max_code {
                if code == 0 && self.unsigned_zero { 0 } else { sign | code }
            } else {
                match (saturate, self.infinity, self.nan) {
                    (false, Some(infinity), _) => sign | infinity,
                    (false, None, Some(nan)) => sign | nan,
                    (false, None, None) if self.unsigned_zero => self.sign(),
                    _ => sign | self.max_code,
                }
            }
        };
        code as i32
    }

    fn rounded(&self, magnitude: f64) -> u32 {
        let least = 1 - self.bias;
        let exponent = ((magnitude.to_bits() >> 52) as i32 - 1023).max(least);
        if !magnitude.is_finite() || exponent - least > 1 << self.exponent_bits {
            return u32::MAX;
        }
        let units = libm::rint(magnitude * power_of_two(self.mantissa_bits as i32 - exponent));
        units as u32 + (((exponent - least) as u32) << self.mantissa_bits)
    }
}

macro_rules! narrow {
    ($($decode:ident $encode:ident $saturating:ident $format:expr;)*) => { $(
        #[unsafe(no_mangle)]
        pub extern "C" fn $decode(code: i32) -> f32 {
            $format.decode(code)
        }
        #[unsafe(no_mangle)]
        pub extern "C" fn $encode(x: f32) -> i32 {
            $format.encode(x, false)
        }
        #[unsafe(no_mangle)]
        pub extern "C" fn $saturating(x: f32) -> i32 {
            $format.encode(x, true)
        }
    )* };
}

#[rustfmt::skip]
narrow! {
    egret_decode_f8e4m3fn egret_encode_f8e4m3fn egret_encode_saturating_f8e4m3fn Narrow {
        mantissa_bits: 3, exponent_bits: 4, bias: 7, max_code: 0x7e, infinity: None, nan: Some(0x7f), unsigned_zero: false };
    egret_decode_f8e4m3fnuz egret_encode_f8e4m3fnuz egret_encode_saturating_f8e4m3fnuz Narrow {
        mantissa_bits: 3, exponent_bits: 4, bias: 8, max_code: 0x7f, infinity: None, nan: None, unsigned_zero: true };
    egret_decode_f8e5m2 egret_encode_f8e5m2 egret_encode_saturating_f8e5m2 Narrow {
        mantissa_bits: 2, exponent_bits: 5, bias: 15, max_code: 0x7b, infinity: Some(0x7c), nan: Some(0x7e), unsigned_zero: false };
    egret_decode_f8e5m2fnuz egret_encode_f8e5m2fnuz egret_encode_saturating_f8e5m2fnuz Narrow {
        mantissa_bits: 2, exponent_bits: 5, bias: 16, max_code: 0x7f, infinity: None, nan: None, unsigned_zero: true };
    egret_decode_f4e2m1 egret_encode_f4e2m1 egret_encode_saturating_f4e2m1 Narrow {
        mantissa_bits: 1, exponent_bits: 2, bias: 1, max_code: 0x7, infinity: None, nan: None, unsigned_zero: false };
}

/// `float8e8m0`: the exponent of a power of two plus 127; 255 is NaN.
#[unsafe(no_mangle)]
pub extern "C" fn egret_decode_f8e8m0(code: i32) -> f32 {
    match code & 255 {
        255 => f32::NAN,
        0 => f32::from_bits(1 << 22),
        code => f32::from_bits((code as u32) << 23),
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn egret_encode_f8e8m0(x: f32) -> i32 {
    scale(x, false)
}

#[unsafe(no_mangle)]
pub extern "C" fn egret_encode_saturating_f8e8m0(x: f32) -> i32 {
    scale(x, true)
}

/// The power of two at or above `|x|`; out of range the end of the range or NaN.
fn scale(x: f32, saturate: bool) -> i32 {
    let end = |code| if saturate { code } else { 255 };
    if x.is_nan() {
        return 255;
    }
    if x.is_infinite() {
        return end(254);
    }
    if x == 0.0 {
        return end(0);
    }
    // Every single that is not zero is a normal double.
    let bits = f64::from(x).abs().to_bits();
    let exponent = (bits >> 52) as i32 - 1023;
    if exponent < -127 {
        return 0;
    }
    let code = exponent + 127 + i32::from(bits & ((1 << 52) - 1) != 0);
    if code <= 254 { code } else { end(254) }
}

/// The functions by name, for tests.
#[cfg(test)]
pub(crate) fn address(name: &str) -> Option<usize> {
    macro_rules! table {
        ($($f:ident)*) => { [$((stringify!($f), $f as *const () as usize)),*] };
    }
    let table = table! {
        egret_exp_f32 egret_exp_f64 egret_expm1_f32 egret_expm1_f64 egret_log_f32 egret_log_f64 egret_log1p_f32
        egret_log1p_f64 egret_sin_f32 egret_sin_f64 egret_cos_f32 egret_cos_f64 egret_tan_f32 egret_tan_f64
        egret_asin_f32 egret_asin_f64 egret_acos_f32 egret_acos_f64 egret_atan_f32 egret_atan_f64 egret_sinh_f32
        egret_sinh_f64 egret_cosh_f32 egret_cosh_f64 egret_tanh_f32 egret_tanh_f64 egret_asinh_f32 egret_asinh_f64
        egret_acosh_f32 egret_acosh_f64 egret_atanh_f32 egret_atanh_f64 egret_erf_f32 egret_erf_f64
        egret_sigmoid_f32 egret_sigmoid_f64
        egret_pow_f32 egret_pow_f64 egret_pow_i64 egret_pow_u64 egret_rem_f32 egret_rem_f64 egret_rem_i64 egret_rem_u64
        egret_floormod_f32 egret_floormod_f64 egret_floormod_i64 egret_floormod_u64
        egret_floordiv_f32 egret_floordiv_f64 egret_floordiv_i64 egret_floordiv_u64
        egret_div_f32 egret_div_f64 egret_div_i64 egret_div_u64
        egret_decode_f8e4m3fn egret_encode_f8e4m3fn egret_encode_saturating_f8e4m3fn
        egret_decode_f8e4m3fnuz egret_encode_f8e4m3fnuz egret_encode_saturating_f8e4m3fnuz
        egret_decode_f8e5m2 egret_encode_f8e5m2 egret_encode_saturating_f8e5m2
        egret_decode_f8e5m2fnuz egret_encode_f8e5m2fnuz egret_encode_saturating_f8e5m2fnuz
        egret_decode_f8e8m0 egret_encode_f8e8m0 egret_encode_saturating_f8e8m0
        egret_decode_f4e2m1 egret_encode_f4e2m1 egret_encode_saturating_f4e2m1
    };
    table.iter().find(|f| f.0 == name).map(|f| f.1)
}
