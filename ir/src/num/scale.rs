//! `float8e8m0`: powers of two from 2^-127 to 2^127, the scale bytes of microscaling formats.
//!
//! The code is the exponent plus 127; 255 is NaN. There is no sign and no zero. Casts follow the table of ONNX `Cast`
//! (opset 24), with two readings where it is silent: the sign of the source is ignored, as in ONNX's reference, and
//! rounding is by value also below 2^-126, where that reference looks at the exponent field of a subnormal single.

/// Code of NaN.
const NAN: u8 = 255;
/// Code of 2^127.
const MAX: u8 = 254;
/// Code of 2^-127.
const MIN: u8 = 0;

/// Where a magnitude between two powers of two goes; ONNX's `round_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RoundMode {
    /// The greater power.
    #[default]
    Up,
    /// The lesser power.
    Down,
    /// The nearer power; the greater of two as near.
    Nearest,
}

impl RoundMode {
    /// The mode of an ONNX attribute: `up`, `down` or `nearest`.
    pub fn from_name(name: &str) -> Option<RoundMode> {
        match name {
            "up" => Some(RoundMode::Up),
            "down" => Some(RoundMode::Down),
            "nearest" => Some(RoundMode::Nearest),
            _ => None,
        }
    }
}

/// The power of two for `|x|`. Out of range (zero, infinity, and what rounds past either end) the result is the end of
/// the range if `saturate`, else NaN.
pub fn e8m0_from_f64(x: f64, saturate: bool, mode: RoundMode) -> u8 {
    let end = |code| if saturate { code } else { NAN };
    if x.is_nan() {
        return NAN;
    }
    if x.is_infinite() {
        return end(MAX);
    }
    if x == 0.0 {
        return end(MIN);
    }
    // A subnormal double has a zero field: as far below the range as the field says.
    let bits = x.abs().to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let up = match mode {
        RoundMode::Up => fraction != 0,
        RoundMode::Down => false,
        RoundMode::Nearest => fraction >= 1 << 51,
    };
    let exponent = i32::try_from(bits >> 52).expect("the sign is clear, so eleven bits") - 1023;
    if exponent < -127 {
        // Only rounding up reaches the range from below; no power there is nearest.
        return if mode == RoundMode::Up { MIN } else { end(MIN) };
    }
    let exponent = exponent + i32::from(up);
    u8::try_from(exponent + 127).ok().filter(|code| *code <= MAX).unwrap_or_else(|| end(MAX))
}

/// [`e8m0_from_f64`] for a single.
pub fn e8m0_from_f32(x: f32, saturate: bool, mode: RoundMode) -> u8 {
    e8m0_from_f64(x.into(), saturate, mode)
}

/// The value of a code, exactly (2^-127 is a subnormal single).
pub fn e8m0_to_f32(code: u8) -> f32 {
    match code {
        NAN => f32::NAN,
        MIN => f32::from_bits(1 << 22),
        _ => f32::from_bits(u32::from(code) << 23),
    }
}
