//! What goes across the lanes of vectors: splats, single lanes, blends, shuffles, reductions, dot products.

use iced_x86::Code::*;
use regalloc2::{RegClass, VReg};

use super::Level;
use super::codes::*;
use super::mir::{Arg, Mach, Place, Width};
use super::select::{Select, is_float};
use crate::builder::{Elem, Reduce, Ty, Val};
use crate::error::CodegenError;

type Result<T> = std::result::Result<T, CodegenError>;

/// The lanes' bytes of a mask by which the lanes in `at` are taken.
fn lane_mask(vector_bytes: usize, size: usize, at: impl Fn(usize) -> bool) -> Vec<u8> {
    (0..vector_bytes).map(|i| if at(i / size) { 0xff } else { 0 }).collect()
}

impl Select<'_> {
    pub(super) fn mask_constant(&mut self, e: Elem, set: bool) -> VReg {
        match self.level {
            Level::Avx2 => self.vector(e, if set { u64::MAX } else { 0 }),
            Level::Avx512 => {
                let (bits, r) = (self.number(if set { -1 } else { 0 }), self.fresh(RegClass::Vector));
                let inst = Mach::new(VEX_Kmovq_kr_r64).def(r, Place::Any, Width::Mask);
                self.push(inst.used(bits, Place::Any, Width::Qword));
                r
            }
        }
    }

    /// `mask ? a : b` by lanes of an element.
    pub(super) fn blend(&mut self, e: Elem, mask: VReg, a: VReg, b: VReg) -> VReg {
        let (r, w) = (self.float(), self.wide());
        match self.level {
            Level::Avx2 => {
                let inst = Mach::new(VEX_Vpblendvb_ymm_ymm_ymmm256_ymm).def(r, Place::Any, w);
                let inst = inst.used(b, Place::Any, w).used(a, Place::Any, w).used(mask, Place::Any, w);
                self.push(inst);
            }
            Level::Avx512 => {
                let code = match e.size_bytes() {
                    1 => EVEX_Vpblendmb_zmm_k1z_zmm_zmmm512,
                    2 => EVEX_Vpblendmw_zmm_k1z_zmm_zmmm512,
                    4 => EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32,
                    _ => EVEX_Vblendmpd_zmm_k1z_zmm_zmmm512b64,
                };
                let inst = Mach::new(code).def(r, Place::Any, w).used(b, Place::Any, w).used(a, Place::Any, w);
                self.push(inst.masked(mask, false));
            }
        }
        r
    }

    /// `a` where the bytes are set, else `b`.
    pub(super) fn blend_constant(&mut self, e: Elem, bytes: &[u8], a: VReg, b: VReg) -> VReg {
        let mask = match self.level {
            Level::Avx2 => self.vector_of(bytes),
            Level::Avx512 => {
                let size = e.size_bytes();
                let bits = bytes.iter().step_by(size).enumerate().fold(0u64, |m, (l, b)| m | u64::from(b & 1) << l);
                let (bits, r) = (self.number(bits as i64), self.fresh(RegClass::Vector));
                let inst = Mach::new(VEX_Kmovq_kr_r64).def(r, Place::Any, Width::Mask);
                self.push(inst.used(bits, Place::Any, Width::Qword));
                r
            }
        };
        self.blend(e, mask, a, b)
    }

    /// A scalar in all lanes.
    pub(super) fn splat(&mut self, e: Elem, a: VReg) -> VReg {
        let w = self.wide();
        let scalar = match e {
            Elem::F32 | Elem::F64 => a,
            Elem::I64 => self.moved(VEX_Vmovq_xmm_rm64, a, Width::Qword),
            _ => self.moved(VEX_Vmovd_xmm_rm32, a, Width::Dword),
        };
        let codes = match e {
            Elem::F32 => (VEX_Vbroadcastss_ymm_xmm, EVEX_Vbroadcastss_zmm_k1z_xmmm32),
            Elem::F64 => (VEX_Vbroadcastsd_ymm_xmm, EVEX_Vbroadcastsd_zmm_k1z_xmmm64),
            Elem::I8 => (VEX_Vpbroadcastb_ymm_xmmm8, EVEX_Vpbroadcastb_zmm_k1z_xmmm8),
            Elem::I16 => (VEX_Vpbroadcastw_ymm_xmmm16, EVEX_Vpbroadcastw_zmm_k1z_xmmm16),
            Elem::I32 => (VEX_Vpbroadcastd_ymm_xmmm32, EVEX_Vpbroadcastd_zmm_k1z_xmmm32),
            Elem::I64 => (VEX_Vpbroadcastq_ymm_xmmm64, EVEX_Vpbroadcastq_zmm_k1z_xmmm64),
        };
        let r = self.float();
        let inst = Mach::new(self.pick(codes.0, codes.1)).def(r, Place::Any, w);
        self.push(inst.used(scalar, Place::Any, Width::Xmm));
        r
    }

    /// 128 bits of a vector, in a low register.
    pub(super) fn quarter(&mut self, v: VReg, at: u8) -> VReg {
        let r = self.float();
        let inst = match self.level {
            _ if at == 0 => {
                Mach::new(VEX_Vmovaps_xmm_xmmm128).def(r, Place::Low, Width::Xmm).used(v, Place::Low, Width::Xmm)
            }
            Level::Avx2 => {
                let inst = Mach::new(VEX_Vextractf128_xmmm128_ymm_imm8).def(r, Place::Low, Width::Xmm);
                inst.used(v, Place::Any, Width::Ymm).arg(Arg::Imm8(at))
            }
            Level::Avx512 => {
                let inst = Mach::new(EVEX_Vextractf32x4_xmmm128_k1z_zmm_imm8).def(r, Place::Low, Width::Xmm);
                inst.used(v, Place::Any, Width::Zmm).arg(Arg::Imm8(at))
            }
        };
        self.push(inst);
        r
    }

    pub(super) fn extract(&mut self, e: Elem, v: VReg, lane: usize) -> VReg {
        let each = 16 / e.size_bytes();
        let part = self.quarter(v, (lane / each) as u8);
        let lane = (lane % each) as u8;
        if e.is_float() {
            if lane == 0 {
                return part;
            }
            let r = self.float();
            let code = if e == Elem::F32 { VEX_Vpermilps_xmm_xmmm128_imm8 } else { VEX_Vpermilpd_xmm_xmmm128_imm8 };
            let inst = Mach::new(code).def(r, Place::Low, Width::Xmm).used(part, Place::Low, Width::Xmm);
            self.push(inst.arg(Arg::Imm8(lane)));
            return r;
        }
        let (r, w) = (self.int(), if e == Elem::I64 { Width::Qword } else { Width::Dword });
        let code = match e {
            Elem::I8 => VEX_Vpextrb_r32m8_xmm_imm8,
            Elem::I16 => VEX_Vpextrw_r32_xmm_imm8,
            Elem::I32 => VEX_Vpextrd_rm32_xmm_imm8,
            _ => VEX_Vpextrq_rm64_xmm_imm8,
        };
        let inst = Mach::new(code).def(r, Place::Any, w).used(part, Place::Low, Width::Xmm);
        self.push(inst.arg(Arg::Imm8(lane)));
        r
    }

    pub(super) fn insert(&mut self, e: Elem, v: VReg, lane: usize, s: VReg) -> VReg {
        let all = self.splat(e, s);
        let bytes = lane_mask(self.f.vector_bytes, e.size_bytes(), |l| l == lane);
        self.blend_constant(e, &bytes, all, v)
    }

    pub(super) fn shuffle(&mut self, e: Elem, a: Val, b: Val, idx: &[u8]) -> Result<VReg> {
        let (size, lanes) = (e.size_bytes(), idx.len());
        let (a, b) = (self.get(a), self.get(b));
        let w = self.wide();
        match (self.level, size) {
            (Level::Avx512, 2 | 4 | 8) => {
                let bytes: Vec<u8> = idx.iter().flat_map(|i| u64::from(*i).to_le_bytes()[..size].to_vec()).collect();
                let (order, r) = (self.vector_of(&bytes), self.float());
                let code = match size {
                    2 => EVEX_Vpermt2w_zmm_k1z_zmm_zmmm512,
                    4 => EVEX_Vpermt2ps_zmm_k1z_zmm_zmmm512b32,
                    _ => EVEX_Vpermt2pd_zmm_k1z_zmm_zmmm512b64,
                };
                let inst = Mach::new(code).modified(r, a, Place::Any, w).used(order, Place::Any, w);
                self.push(inst.used(b, Place::Any, w));
                Ok(r)
            }
            (Level::Avx2, 4 | 8) => {
                // In words of 32 bits, from one operand each, then by lanes.
                let words = size / 4;
                let word = |i: u8, k: usize| (usize::from(i) % lanes * words + k) as u32;
                let order = |i: &u8| (0..words).flat_map(|k| word(*i, k).to_le_bytes()).collect::<Vec<_>>();
                let bytes: Vec<u8> = idx.iter().flat_map(order).collect();
                let order = self.vector_of(&bytes);
                let from = |s: &mut Self, v| s.v2((VEX_Vpermps_ymm_ymm_ymmm256, INVALID), order, v);
                let of_b = |l: usize| usize::from(idx[l]) >= lanes;
                if (0..lanes).all(of_b) {
                    return Ok(from(self, b));
                }
                let first = from(self, a);
                if !(0..lanes).any(of_b) {
                    return Ok(first);
                }
                let second = from(self, b);
                let bytes = lane_mask(self.f.vector_bytes, size, of_b);
                Ok(self.blend_constant(e, &bytes, second, first))
            }
            _ => self.unsupported(&format!("a shuffle of V({e:?})")),
        }
    }

    /// Upper half onto lower half, until one lane is left; lanes that no longer count hold anything.
    pub(super) fn horizontal(&mut self, op: Reduce, v: Val) -> Result<VReg> {
        let Ty::V(e) = self.ty(v) else { return self.unsupported("a reduction of what is no vector") };
        let single = e.size_bytes() == 4;
        let mut v = self.get(v);
        let mut bytes = self.f.vector_bytes;
        while bytes > e.size_bytes() {
            bytes /= 2;
            let upper = self.float();
            let (code, place, from, to, imm) = match bytes {
                32 => (EVEX_Vextractf64x4_ymmm256_k1z_zmm_imm8, Place::Any, Width::Zmm, Width::Ymm, 1),
                16 if self.level == Level::Avx512 => {
                    (EVEX_Vextractf32x4_xmmm128_k1z_zmm_imm8, Place::Any, Width::Zmm, Width::Xmm, 1)
                }
                16 => (VEX_Vextractf128_xmmm128_ymm_imm8, Place::Any, Width::Ymm, Width::Xmm, 1),
                8 if single => (VEX_Vpermilps_xmm_xmmm128_imm8, Place::Low, Width::Xmm, Width::Xmm, 0b1110),
                8 => (VEX_Vpermilpd_xmm_xmmm128_imm8, Place::Low, Width::Xmm, Width::Xmm, 1),
                _ => (VEX_Vpermilps_xmm_xmmm128_imm8, Place::Low, Width::Xmm, Width::Xmm, 1),
            };
            let inst = Mach::new(code).def(upper, place, to).used(v, place, from);
            self.push(inst.arg(Arg::Imm8(imm)));
            v = self.bin_of(e, op.bin(), v, upper)?;
        }
        if is_float(Ty::S(e)) {
            return Ok(self.quarter(v, 0));
        }
        Ok(self.extract(e, v, 0))
    }

    pub(super) fn add_i32(&mut self, a: VReg, b: VReg) -> VReg {
        self.v2((VEX_Vpaddd_ymm_ymm_ymmm256, EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32), a, b)
    }

    /// Products of words, added in pairs to `acc`, wrapping.
    pub(super) fn dot_words(&mut self, acc: VReg, a: VReg, b: VReg) -> VReg {
        let code = match self.level {
            Level::Avx512 => {
                std::arch::is_x86_feature_detected!("avx512vnni").then_some(EVEX_Vpdpwssd_zmm_k1z_zmm_zmmm512b32)
            }
            Level::Avx2 => std::arch::is_x86_feature_detected!("avxvnni").then_some(VEX_Vpdpwssd_ymm_ymm_ymmm256),
        };
        if let Some(code) = code {
            let (r, w) = (self.float(), self.wide());
            let inst = Mach::new(code).modified(r, acc, Place::Any, w);
            self.push(inst.used(a, Place::Any, w).used(b, Place::Any, w));
            return r;
        }
        let sums = self.v2(MADD_PAIRS, a, b);
        self.add_i32(acc, sums)
    }

    /// Even and odd bytes as words, whose products are added in pairs: no sum saturates.
    pub(super) fn dot_bytes(&mut self, acc: VReg, a: VReg, b: VReg) -> VReg {
        if self.level == Level::Avx512 && std::arch::is_x86_feature_detected!("avx512vnni") {
            let r = self.float();
            let inst = Mach::new(EVEX_Vpdpbusd_zmm_k1z_zmm_zmmm512b32).modified(r, acc, Place::Any, Width::Zmm);
            self.push(inst.used(a, Place::Any, Width::Zmm).used(b, Place::Any, Width::Zmm));
            return r;
        }
        let left = (VEX_Vpsllw_ymm_ymm_imm8, EVEX_Vpsllw_zmm_k1z_zmmm512_imm8);
        let right = (VEX_Vpsraw_ymm_ymm_imm8, EVEX_Vpsraw_zmm_k1z_zmmm512_imm8);
        let right_unsigned = (VEX_Vpsrlw_ymm_ymm_imm8, EVEX_Vpsrlw_zmm_k1z_zmmm512_imm8);
        let a_even = self.v1_imm(left, a, 8);
        let a_even = self.v1_imm(right_unsigned, a_even, 8);
        let a_odd = self.v1_imm(right_unsigned, a, 8);
        let b_even = self.v1_imm(left, b, 8);
        let b_even = self.v1_imm(right, b_even, 8);
        let b_odd = self.v1_imm(right, b, 8);
        let even = self.v2(MADD_PAIRS, a_even, b_even);
        let odd = self.v2(MADD_PAIRS, a_odd, b_odd);
        let acc = self.add_i32(acc, even);
        self.add_i32(acc, odd)
    }
}
