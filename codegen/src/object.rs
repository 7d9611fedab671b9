//! Kernels as an object file, for programs that are linked ahead of time.
//!
//! The same machine code as in [`crate::jit`], each kernel under an exported symbol. A C program declares it as
//! `void name(unsigned char *const *bufs, int64_t begin, int64_t end);`. Code has no relocations, so any linker and any
//! place will do.

use cranelift_codegen::ir::{AbiParam, types};
use cranelift_module::{Linkage, Module};
use cranelift_object::{ObjectBuilder, ObjectModule};

use crate::builder::KernelFn;
use crate::error::CodegenError;
use crate::isa::Isa;
use crate::jit;

/// Bytes of an object file (ELF, Mach-O or COFF, as the target has it) with one function per `(symbol, kernel)`.
///
/// # Errors
/// If a symbol is given twice, or a kernel cannot be compiled for `isa`.
pub fn write_object(
    object_name: &str,
    kernels: &[(String, KernelFn)],
    isa: &Isa,
    n_threads: usize,
) -> Result<Vec<u8>, CodegenError> {
    let module_error = |kernel: &str, text: String| CodegenError::Emit { kernel: kernel.to_owned(), text };
    let target_isa = isa.target_isa.clone();
    let builder = ObjectBuilder::new(target_isa, object_name, cranelift_module::default_libcall_names())
        .map_err(|e| module_error(object_name, e.to_string()))?;
    let mut module = ObjectModule::new(builder);
    let refs: Vec<&KernelFn> = kernels.iter().map(|(_, kernel)| kernel).collect();
    let codes = jit::compile_all(&refs, isa, n_threads)?;
    let mut signature = module.make_signature();
    for _ in 0..3 {
        signature.params.push(AbiParam::new(types::I64));
    }
    for ((symbol, _), code) in kernels.iter().zip(codes) {
        let id = module
            .declare_function(symbol, Linkage::Export, &signature)
            .map_err(|e| module_error(symbol, e.to_string()))?;
        module
            .define_function_bytes(id, code.align as u64, &code.bytes, &[])
            .map_err(|e| module_error(symbol, e.to_string()))?;
    }
    module.finish().emit().map_err(|e| module_error(object_name, e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Effort;
    use crate::kernels::conv::{self, ConvAxis, ConvDesc};
    use crate::kernels::gemm::{self, GemmDesc, Rhs};
    use crate::kernels::{Epilogue, EpilogueOperand};

    fn kernels(isa: &Isa) -> Vec<(String, KernelFn)> {
        let gemm = gemm::plan(&GemmDesc::dense(13, 17, 40, Rhs::Packed), isa.target).unwrap();
        let axis = ConvAxis::new(9, 3, 2, 1, 1, 1).unwrap();
        let bias = EpilogueOperand { batch_strides: vec![0, 8], row_stride: 1, col_stride: 0 };
        let desc = ConvDesc {
            elem: crate::builder::Elem::F32,
            n: 1,
            groups: 1,
            in_channels: 5,
            out_channels: 8,
            axes: vec![axis, axis],
            constant_weights: true,
            winograd: 0,
            epilogue: Epilogue::none().plus(bias).relu(),
        };
        let conv = conv::plan(&desc, isa.target).unwrap();
        vec![("egret_gemm".into(), gemm.plan.kernel), ("egret_conv".into(), conv.plan.kernel)]
    }

    #[test]
    fn objects_for_both_architectures_name_their_symbols() {
        let targets = [
            Isa::native_object(Effort::Speed).unwrap(),
            Isa::cross("aarch64-unknown-linux-gnu", &[], Effort::Speed).unwrap(),
            Isa::cross("x86_64-unknown-linux-gnu", &["has_sse3", "has_ssse3", "has_sse41"], Effort::Quick).unwrap(),
        ];
        for isa in targets {
            let bytes = write_object("model", &kernels(&isa), &isa, 2).unwrap();
            assert_eq!(&bytes[..4], b"\x7fELF");
            for symbol in ["egret_gemm", "egret_conv"] {
                assert!(bytes.windows(symbol.len()).any(|w| w == symbol.as_bytes()), "{symbol}");
            }
        }
    }

    #[test]
    fn a_symbol_given_twice_is_refused() {
        let isa = Isa::native_object(Effort::Quick).unwrap();
        let mut twice = kernels(&isa);
        twice[1].0 = twice[0].0.clone();
        assert!(write_object("model", &twice, &isa, 1).is_err());
    }

    #[test]
    fn an_unsupported_processor_is_refused() {
        assert!(matches!(Isa::cross("x86_64-unknown-linux-gnu", &[], Effort::Quick), Err(CodegenError::Target(_))));
        assert!(Isa::cross("riscv64-unknown-linux-gnu", &[], Effort::Quick).is_err());
    }
}
