//! Which instruction does an operation on vectors of an element, at each level; `INVALID` where there is none.

use iced_x86::Code::{self, *};

use crate::builder::{BinOp, Elem};

/// Codes of the two levels.
pub(super) type Codes = (Code, Code);

pub(super) const XOR: Codes = (VEX_Vxorps_ymm_ymm_ymmm256, EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32);
pub(super) const AND: Codes = (VEX_Vandps_ymm_ymm_ymmm256, EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32);
pub(super) const OR: Codes = (VEX_Vorps_ymm_ymm_ymmm256, EVEX_Vpord_zmm_k1z_zmm_zmmm512b32);
pub(super) const MADD_PAIRS: Codes = (VEX_Vpmaddwd_ymm_ymm_ymmm256, EVEX_Vpmaddwd_zmm_k1z_zmm_zmmm512);

/// The code for vectors of an element; `INVALID` where there is none.
pub(super) fn vector_code(op: BinOp, e: Elem) -> Option<Codes> {
    use BinOp as B;
    use Elem as E;
    let codes = match (op, e) {
        (B::Add, E::F32) => (VEX_Vaddps_ymm_ymm_ymmm256, EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er),
        (B::Add, E::F64) => (VEX_Vaddpd_ymm_ymm_ymmm256, EVEX_Vaddpd_zmm_k1z_zmm_zmmm512b64_er),
        (B::Add, E::I8) => (VEX_Vpaddb_ymm_ymm_ymmm256, EVEX_Vpaddb_zmm_k1z_zmm_zmmm512),
        (B::Add, E::I16) => (VEX_Vpaddw_ymm_ymm_ymmm256, EVEX_Vpaddw_zmm_k1z_zmm_zmmm512),
        (B::Add, E::I32) => (VEX_Vpaddd_ymm_ymm_ymmm256, EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32),
        (B::Add, E::I64) => (VEX_Vpaddq_ymm_ymm_ymmm256, EVEX_Vpaddq_zmm_k1z_zmm_zmmm512b64),
        (B::Sub, E::F32) => (VEX_Vsubps_ymm_ymm_ymmm256, EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er),
        (B::Sub, E::F64) => (VEX_Vsubpd_ymm_ymm_ymmm256, EVEX_Vsubpd_zmm_k1z_zmm_zmmm512b64_er),
        (B::Sub, E::I8) => (VEX_Vpsubb_ymm_ymm_ymmm256, EVEX_Vpsubb_zmm_k1z_zmm_zmmm512),
        (B::Sub, E::I16) => (VEX_Vpsubw_ymm_ymm_ymmm256, EVEX_Vpsubw_zmm_k1z_zmm_zmmm512),
        (B::Sub, E::I32) => (VEX_Vpsubd_ymm_ymm_ymmm256, EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32),
        (B::Sub, E::I64) => (VEX_Vpsubq_ymm_ymm_ymmm256, EVEX_Vpsubq_zmm_k1z_zmm_zmmm512b64),
        (B::Mul, E::F32) => (VEX_Vmulps_ymm_ymm_ymmm256, EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er),
        (B::Mul, E::F64) => (VEX_Vmulpd_ymm_ymm_ymmm256, EVEX_Vmulpd_zmm_k1z_zmm_zmmm512b64_er),
        (B::Mul, E::I16) => (VEX_Vpmullw_ymm_ymm_ymmm256, EVEX_Vpmullw_zmm_k1z_zmm_zmmm512),
        (B::Mul, E::I32) => (VEX_Vpmulld_ymm_ymm_ymmm256, EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32),
        (B::Mul, E::I64) => (INVALID, EVEX_Vpmullq_zmm_k1z_zmm_zmmm512b64),
        (B::Div, E::F32) => (VEX_Vdivps_ymm_ymm_ymmm256, EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er),
        (B::Div, E::F64) => (VEX_Vdivpd_ymm_ymm_ymmm256, EVEX_Vdivpd_zmm_k1z_zmm_zmmm512b64_er),
        (B::Min, E::F32) => (VEX_Vminps_ymm_ymm_ymmm256, EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae),
        (B::Min, E::F64) => (VEX_Vminpd_ymm_ymm_ymmm256, EVEX_Vminpd_zmm_k1z_zmm_zmmm512b64_sae),
        (B::Min, E::I8) => (VEX_Vpminsb_ymm_ymm_ymmm256, EVEX_Vpminsb_zmm_k1z_zmm_zmmm512),
        (B::Min, E::I16) => (VEX_Vpminsw_ymm_ymm_ymmm256, EVEX_Vpminsw_zmm_k1z_zmm_zmmm512),
        (B::Min, E::I32) => (VEX_Vpminsd_ymm_ymm_ymmm256, EVEX_Vpminsd_zmm_k1z_zmm_zmmm512b32),
        (B::Min, E::I64) => (INVALID, EVEX_Vpminsq_zmm_k1z_zmm_zmmm512b64),
        (B::Max, E::F32) => (VEX_Vmaxps_ymm_ymm_ymmm256, EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae),
        (B::Max, E::F64) => (VEX_Vmaxpd_ymm_ymm_ymmm256, EVEX_Vmaxpd_zmm_k1z_zmm_zmmm512b64_sae),
        (B::Max, E::I8) => (VEX_Vpmaxsb_ymm_ymm_ymmm256, EVEX_Vpmaxsb_zmm_k1z_zmm_zmmm512),
        (B::Max, E::I16) => (VEX_Vpmaxsw_ymm_ymm_ymmm256, EVEX_Vpmaxsw_zmm_k1z_zmm_zmmm512),
        (B::Max, E::I32) => (VEX_Vpmaxsd_ymm_ymm_ymmm256, EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32),
        (B::Max, E::I64) => (INVALID, EVEX_Vpmaxsq_zmm_k1z_zmm_zmmm512b64),
        (B::MinU, E::I8) => (VEX_Vpminub_ymm_ymm_ymmm256, EVEX_Vpminub_zmm_k1z_zmm_zmmm512),
        (B::MinU, E::I16) => (VEX_Vpminuw_ymm_ymm_ymmm256, EVEX_Vpminuw_zmm_k1z_zmm_zmmm512),
        (B::MinU, E::I32) => (VEX_Vpminud_ymm_ymm_ymmm256, EVEX_Vpminud_zmm_k1z_zmm_zmmm512b32),
        (B::MinU, E::I64) => (INVALID, EVEX_Vpminuq_zmm_k1z_zmm_zmmm512b64),
        (B::MaxU, E::I8) => (VEX_Vpmaxub_ymm_ymm_ymmm256, EVEX_Vpmaxub_zmm_k1z_zmm_zmmm512),
        (B::MaxU, E::I16) => (VEX_Vpmaxuw_ymm_ymm_ymmm256, EVEX_Vpmaxuw_zmm_k1z_zmm_zmmm512),
        (B::MaxU, E::I32) => (VEX_Vpmaxud_ymm_ymm_ymmm256, EVEX_Vpmaxud_zmm_k1z_zmm_zmmm512b32),
        (B::MaxU, E::I64) => (INVALID, EVEX_Vpmaxuq_zmm_k1z_zmm_zmmm512b64),
        (B::And, e) if !e.is_float() => AND,
        (B::Or, e) if !e.is_float() => OR,
        (B::Xor, e) if !e.is_float() => XOR,
        _ => return None,
    };
    Some(codes)
}

/// Shifts of all lanes by a constant.
pub(super) fn shift_by_constant(op: BinOp, e: Elem) -> Option<Codes> {
    Some(match (op, e) {
        (BinOp::Shl, Elem::I16) => (VEX_Vpsllw_ymm_ymm_imm8, EVEX_Vpsllw_zmm_k1z_zmmm512_imm8),
        (BinOp::Shl, Elem::I32) => (VEX_Vpslld_ymm_ymm_imm8, EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8),
        (BinOp::Shl, Elem::I64) => (VEX_Vpsllq_ymm_ymm_imm8, EVEX_Vpsllq_zmm_k1z_zmmm512b64_imm8),
        (BinOp::ShrS, Elem::I16) => (VEX_Vpsraw_ymm_ymm_imm8, EVEX_Vpsraw_zmm_k1z_zmmm512_imm8),
        (BinOp::ShrS, Elem::I32) => (VEX_Vpsrad_ymm_ymm_imm8, EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8),
        (BinOp::ShrS, Elem::I64) => (INVALID, EVEX_Vpsraq_zmm_k1z_zmmm512b64_imm8),
        (BinOp::ShrU, Elem::I16) => (VEX_Vpsrlw_ymm_ymm_imm8, EVEX_Vpsrlw_zmm_k1z_zmmm512_imm8),
        (BinOp::ShrU, Elem::I32) => (VEX_Vpsrld_ymm_ymm_imm8, EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8),
        (BinOp::ShrU, Elem::I64) => (VEX_Vpsrlq_ymm_ymm_imm8, EVEX_Vpsrlq_zmm_k1z_zmmm512b64_imm8),
        _ => return None,
    })
}

/// Shifts of all lanes by the low 64 bits of a register.
pub(super) fn shift_by_register(op: BinOp, e: Elem) -> Option<Codes> {
    Some(match (op, e) {
        (BinOp::Shl, Elem::I16) => (VEX_Vpsllw_ymm_ymm_xmmm128, EVEX_Vpsllw_zmm_k1z_zmm_xmmm128),
        (BinOp::Shl, Elem::I32) => (VEX_Vpslld_ymm_ymm_xmmm128, EVEX_Vpslld_zmm_k1z_zmm_xmmm128),
        (BinOp::Shl, Elem::I64) => (VEX_Vpsllq_ymm_ymm_xmmm128, EVEX_Vpsllq_zmm_k1z_zmm_xmmm128),
        (BinOp::ShrS, Elem::I16) => (VEX_Vpsraw_ymm_ymm_xmmm128, EVEX_Vpsraw_zmm_k1z_zmm_xmmm128),
        (BinOp::ShrS, Elem::I32) => (VEX_Vpsrad_ymm_ymm_xmmm128, EVEX_Vpsrad_zmm_k1z_zmm_xmmm128),
        (BinOp::ShrS, Elem::I64) => (INVALID, EVEX_Vpsraq_zmm_k1z_zmm_xmmm128),
        (BinOp::ShrU, Elem::I16) => (VEX_Vpsrlw_ymm_ymm_xmmm128, EVEX_Vpsrlw_zmm_k1z_zmm_xmmm128),
        (BinOp::ShrU, Elem::I32) => (VEX_Vpsrld_ymm_ymm_xmmm128, EVEX_Vpsrld_zmm_k1z_zmm_xmmm128),
        (BinOp::ShrU, Elem::I64) => (VEX_Vpsrlq_ymm_ymm_xmmm128, EVEX_Vpsrlq_zmm_k1z_zmm_xmmm128),
        _ => return None,
    })
}

/// Two-operand instructions on scalar floats.
pub(super) fn scalar_code(op: BinOp, e: Elem) -> Option<Code> {
    Some(match (op, e) {
        (BinOp::Add, Elem::F32) => VEX_Vaddss_xmm_xmm_xmmm32,
        (BinOp::Add, _) => VEX_Vaddsd_xmm_xmm_xmmm64,
        (BinOp::Sub, Elem::F32) => VEX_Vsubss_xmm_xmm_xmmm32,
        (BinOp::Sub, _) => VEX_Vsubsd_xmm_xmm_xmmm64,
        (BinOp::Mul, Elem::F32) => VEX_Vmulss_xmm_xmm_xmmm32,
        (BinOp::Mul, _) => VEX_Vmulsd_xmm_xmm_xmmm64,
        (BinOp::Div, Elem::F32) => VEX_Vdivss_xmm_xmm_xmmm32,
        (BinOp::Div, _) => VEX_Vdivsd_xmm_xmm_xmmm64,
        (BinOp::Min, Elem::F32) => VEX_Vminss_xmm_xmm_xmmm32,
        (BinOp::Min, _) => VEX_Vminsd_xmm_xmm_xmmm64,
        (BinOp::Max, Elem::F32) => VEX_Vmaxss_xmm_xmm_xmmm32,
        (BinOp::Max, _) => VEX_Vmaxsd_xmm_xmm_xmmm64,
        _ => return None,
    })
}
