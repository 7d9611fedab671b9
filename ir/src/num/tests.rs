use super::*;

const BYTES: [(&str, Format); 5] = [
    ("f8e4m3fn", F8E4M3FN),
    ("f8e4m3fnuz", F8E4M3FNUZ),
    ("f8e5m2", F8E5M2),
    ("f8e5m2fnuz", F8E5M2FNUZ),
    ("f4e2m1", F4E2M1),
];

/// The decoded values of a format as `ml_dtypes` gives them.
fn decoded(name: &str) -> Vec<f32> {
    let section = include_str!("decoded.txt").lines().skip_while(|line| *line != name).skip(1);
    let lines = section.take_while(|line| line.contains(' '));
    let words = lines.flat_map(|line| line.split(' ')).map(|word| u16::from_str_radix(word, 16).expect("hex"));
    words.map(|bits| bf16::from_bits(bits).to_f32()).collect()
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

#[test]
fn all_codes_decode_as_in_ml_dtypes() {
    for (name, format) in BYTES {
        let table = decoded(name);
        assert_eq!(table.len(), if name == "f4e2m1" { 16 } else { 256 });
        for (code, wanted) in (0..).zip(table) {
            let found = format.to_f32(code);
            assert!(same(found, wanted), "{name} {code:#x}: {found} != {wanted}");
        }
    }
    for (code, wanted) in (0..=255).zip(decoded("f8e8m0")) {
        assert!(same(e8m0_to_f32(code), wanted), "e8m0 {code:#x}");
    }
}

#[test]
fn types_choose_their_format() {
    for name in ["f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz", "f8e8m0", "f4e2m1"] {
        let dtype: DType = name.parse().unwrap();
        for (code, wanted) in (0..=255).zip(decoded(name)) {
            assert!(same(decode(dtype, code), wanted), "{name} {code:#x}");
            if wanted.is_finite() {
                assert_eq!(encode(dtype, wanted, true), code, "{name} {wanted}");
            }
        }
    }
    assert!(decode(DType::F32, 1).is_nan());
    assert_eq!(encode(DType::F16, 1.0, true), 0);
    assert_eq!(encode(DType::F8E8M0, 5e-324, false), 0);
}

#[test]
fn all_codes_survive_the_round_trip() {
    for (name, format) in BYTES {
        for code in 0..2 * format.sign() {
            let x = format.to_f32(code);
            let wanted = match (x.is_nan(), format.nan) {
                (true, Nan::Signed(nan)) => (code & format.sign()) | nan,
                _ => code,
            };
            assert_eq!(format.from_f32(x, false), wanted, "{name} {code:#x}");
            if x.is_finite() {
                assert_eq!(format.from_f64(x.into(), true), wanted, "{name} {code:#x}");
            }
        }
    }
    for code in 0..=255 {
        for mode in [RoundMode::Up, RoundMode::Down, RoundMode::Nearest] {
            assert_eq!(e8m0_from_f32(e8m0_to_f32(code), false, mode), code);
        }
    }
}

#[test]
fn midpoints_go_to_even_and_neighbours_to_the_nearer() {
    for (name, format) in BYTES {
        for code in 0..format.max_code {
            let (low, high) = (f64::from(format.to_f32(code)), f64::from(format.to_f32(code + 1)));
            let middle = (low + high) / 2.0;
            let even = code + (code & 1);
            assert_eq!(format.from_f64(middle, true), even, "{name} {middle}");
            assert_eq!(format.from_f64(middle.next_down(), true), code, "{name} below {middle}");
            assert_eq!(format.from_f64(middle.next_up(), true), code + 1, "{name} above {middle}");
            let single = middle as f32;
            assert_eq!(format.from_f32(single.next_down(), true), code, "{name} below {single}");
            assert_eq!(format.from_f32(single.next_up(), true), code + 1, "{name} above {single}");
            let negative = if even == 0 && format.nan == Nan::NegativeZero { 0 } else { format.sign() | even };
            assert_eq!(format.from_f64(-middle, true), negative, "{name} {}", -middle);
        }
    }
}

/// Rows of the two tables in the documentation of ONNX `Cast`, and boundaries, with the codes that ONNX's reference
/// gives: `astype` of `ml_dtypes` without saturation, `saturate_cast` with it.
#[test]
fn special_values_follow_the_cast_tables() {
    let values = [
        0.0,
        -0.0,
        f32::NAN,
        -f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        448.0,
        464.0,
        465.0,
        240.0,
        248.0,
        249.0,
        57344.0,
        61440.0,
        61439.0,
        1e9,
        -1e9,
        1e-30,
        -1e-30,
    ];
    let check = |format: Format, saturate: bool, codes: [u16; 19]| {
        for (x, code) in values.into_iter().zip(codes) {
            assert_eq!(format.from_f32(x, saturate), code, "{x} {saturate} {format:?}");
        }
    };
    let (m, n) = (0x7e, 0x7f);
    check(F8E4M3FN, false, [0, 0x80, n, 0xff, n, 0xff, m, m, n, 0x77, 0x78, 0x78, n, n, n, n, 0xff, 0, 0x80]);
    check(F8E4M3FN, true, [0, 0x80, n, 0xff, m, 0xfe, m, m, m, 0x77, 0x78, 0x78, m, m, m, m, 0xfe, 0, 0x80]);
    let (m, n) = (0x7f, 0x80);
    check(F8E4M3FNUZ, false, [0, 0, n, n, n, n, n, n, n, m, n, n, n, n, n, n, n, 0, 0]);
    check(F8E4M3FNUZ, true, [0, 0, n, n, m, 0xff, m, m, m, m, m, m, m, m, m, m, 0xff, 0, 0]);
    let (m, i) = (0x7b, 0x7c);
    let (a, b) = (0x5f, 0x5c);
    check(F8E5M2, false, [0, 0x80, 0x7e, 0xfe, i, 0xfc, a, a, a, b, b, b, m, i, m, i, 0xfc, 0, 0x80]);
    check(F8E5M2, true, [0, 0x80, 0x7e, 0xfe, m, 0xfb, a, a, a, b, b, b, m, m, m, m, 0xfb, 0, 0x80]);
    let (m, n) = (0x7f, 0x80);
    let (a, b) = (0x63, 0x60);
    check(F8E5M2FNUZ, false, [0, 0, n, n, n, n, a, a, a, b, b, b, m, n, m, n, n, 0, 0]);
    check(F8E5M2FNUZ, true, [0, 0, n, n, m, 0xff, a, a, a, b, b, b, m, m, m, m, 0xff, 0, 0]);
}

#[test]
fn four_bit_floats_always_saturate() {
    let inf = f32::INFINITY;
    let values =
        [0.0, -0.0, f32::NAN, inf, -inf, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 6.0, 7.0, 100.0, -100.0, -0.25];
    let codes = [0, 8, 8, 7, 15, 0, 2, 2, 4, 4, 6, 6, 7, 7, 7, 15, 8];
    for (x, code) in values.into_iter().zip(codes) {
        for saturate in [false, true] {
            assert_eq!(f4e2m1_from_f32(x, saturate), code, "{x}");
        }
    }
    assert_eq!(f4e2m1_to_f32(0xf5), f4e2m1_to_f32(5), "bits above the nibble are ignored");
}

#[test]
fn scale_bytes_round_as_asked() {
    use RoundMode::{Down, Nearest, Up};
    let two = |e: i32| power_of_two(e) as f32;
    for (x, up, down, nearest) in [
        (1.0, 127, 127, 127),
        (1.25, 128, 127, 127),
        (1.5, 128, 127, 128),
        (-1.5, 128, 127, 128),
        (0.124, 124, 123, 124),
        (two(-127), 0, 0, 0),
        (two(-127) * 1.25, 1, 0, 0),
        (two(-127) * 1.5, 1, 0, 1),
        (two(127), 254, 254, 254),
    ] {
        for saturate in [false, true] {
            let codes = [Up, Down, Nearest].map(|mode| e8m0_from_f32(x, saturate, mode));
            assert_eq!(codes, [up, down, nearest], "{x}");
        }
    }
    // The rows of ONNX's table: saturate and up, then neither with nearest.
    for (x, saturated, plain) in
        [(0.0, 0, 255), (f32::NAN, 255, 255), (f32::INFINITY, 254, 255), (f32::MAX, 254, 255), (two(-140), 0, 255)]
    {
        assert_eq!(e8m0_from_f32(x, true, Up), saturated, "{x}");
        assert_eq!(e8m0_from_f32(x, false, Nearest), plain, "{x}");
    }
    assert_eq!(e8m0_from_f32(f32::MAX, false, Down), 254);
    assert_eq!(e8m0_from_f32(two(-128), false, Up), 0);
    assert_eq!(RoundMode::from_name("nearest"), Some(Nearest));
    assert_eq!(RoundMode::from_name("even"), None);
}

#[test]
fn halves_round_once() {
    // Above the midpoint of 1 and the next half by less than a single can see: through f32 this would be a tie.
    let x = 1.0 + power_of_two(-11) + power_of_two(-40);
    assert_eq!(f16_from_f64(x).to_f64(), 1.0 + power_of_two(-10));
    let x = 1.0 + power_of_two(-8) + power_of_two(-40);
    assert_eq!(bf16_from_f64(x).to_f64(), 1.0 + power_of_two(-7));
    assert_eq!(f16_from_f64(65519.0), f16::MAX);
    assert_eq!(f16_from_f64(65520.0), f16::INFINITY);
    assert_eq!(f16_from_f64(-1e300), f16::NEG_INFINITY);
    assert!(f16_from_f64(f64::NAN).is_nan() && bf16_from_f64(f64::NAN).is_nan());
    assert_eq!(bf16_from_f64(f64::MAX), bf16::INFINITY);
    assert_eq!(bf16_from_f64(f64::MIN_POSITIVE).to_bits(), 0);
    assert_eq!(f16_from_f64(-5e-324).to_bits(), 0x8000);
    for bits in 0..=u16::MAX {
        let (h, b) = (f16::from_bits(bits), bf16::from_bits(bits));
        if !h.is_nan() {
            assert_eq!(f16_from_f64(h.to_f64()).to_bits(), bits);
            assert!(same(F16.to_f32(bits), h.to_f32()));
        }
        if !b.is_nan() {
            assert_eq!(bf16_from_f64(b.to_f64()).to_bits(), bits);
            assert!(same(BF16.to_f32(bits), b.to_f32()));
        }
    }
}

#[test]
fn halves_agree_with_half_on_singles() {
    // A stride coprime to every power of two visits all exponents, with mantissas of all kinds.
    for i in 0..400_000_u32 {
        let x = f32::from_bits(i.wrapping_mul(2_654_435_761));
        if !x.is_nan() {
            assert_eq!(F16.from_f32(x, false), f16::from_f32(x).to_bits(), "{x:e}");
            assert_eq!(BF16.from_f32(x, false), bf16::from_f32(x).to_bits(), "{x:e}");
        }
    }
}

#[test]
fn small_integers_wrap_and_saturate() {
    for (value, i4, u4, i2, u2) in [(200, -8, 8, 0, 0), (-3, -3, 13, 1, 1), (17, 1, 1, 1, 1), (7, 7, 7, -1, 3)] {
        assert_eq!(wrap_int(value, 4, true), i4);
        assert_eq!(wrap_int(value, 4, false), u4);
        assert_eq!(wrap_int(value, 2, true), i2);
        assert_eq!(wrap_int(value, 2, false), u2);
    }
    assert_eq!(wrap_int(i64::MIN, 63, false), 0);
    assert_eq!([-9, -8, 7, 8].map(|v| saturate_int(v, 4, true)), [-8, -8, 7, 7]);
    assert_eq!([-1, 0, 3, 4].map(|v| saturate_int(v, 2, false)), [0, 0, 3, 3]);
    assert_eq!(saturate_int(i64::MIN, 63, true), -(1 << 62));
}

#[test]
fn packing_starts_at_the_low_bits() {
    assert_eq!(pack(&[1, 2, 0xff], 4), [0x21, 0x0f]);
    assert_eq!(pack(&[1, 2, 3, 0, 0xfe], 2), [0b00_11_10_01, 0b10]);
    assert_eq!(unpack(&[0x21, 0x0f], 3, 4, true).unwrap(), [1, 2, 0xff]);
    assert_eq!(unpack(&[0x21, 0x0f], 3, 4, false).unwrap(), [1, 2, 15]);
    assert_eq!(unpack(&[0b00_11_10_01, 0b10], 5, 2, true).unwrap(), [1, 0xfe, 0xff, 0, 0xfe]);
    assert!(unpack(&[], 0, 4, true).unwrap().is_empty());
    let error = unpack(&[0], 5, 2, false).unwrap_err();
    assert_eq!(error.to_string(), "5 elements of 2 bits need 2 bytes, found 1");
    let bytes: Vec<u8> = (0..=255).collect();
    for bits in [2, 4] {
        for signed in [false, true] {
            let elems = unpack(&bytes, bytes.len() * 8 / bits as usize, bits, signed).unwrap();
            assert_eq!(pack(&elems, bits), bytes);
        }
    }
}
