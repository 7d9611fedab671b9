//! Which machine code is made for: Cranelift's description of the target, and what of it the emitters ask.
//!
//! x86-64 must have SSE4.1 (rounding and lane operations would need library calls without it); FMA is used where present,
//! otherwise `fma` is a multiplication and an addition and results differ in the last place.

use std::sync::{Arc, OnceLock};

use cranelift_codegen::isa::{self, OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};

use crate::builder::Target;
use crate::error::CodegenError;

/// How much time the compiler spends per kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Effort {
    /// Optimised, with the backtracking register allocator: for kernels that run often.
    #[default]
    Speed,
    /// Not optimised, with the single-pass allocator: about a fifth of the time (49 against 234 ms for 200 kernels).
    Quick,
}

/// What runs kernels in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IsaLevel {
    /// No machine code: loop nests run in the interpreter of the loop IR, products and convolutions in that of recorded
    /// kernels ([`crate::interp`]). Every access is checked.
    Interpret,
    /// 128-bit vectors, `fma` rounded twice: each product of a sum has an error of half a unit of the last place more.
    BaselineWithoutFma,
    /// 128-bit vectors, FMA where the processor has it.
    Baseline,
    /// 256-bit vectors with FMA, of x86-64.
    Avx2,
    /// 512-bit vectors, of x86-64.
    Avx512,
}

impl IsaLevel {
    /// The levels of machine code that this processor has, the widest last.
    pub fn here() -> Vec<IsaLevel> {
        let mut all = vec![IsaLevel::Baseline];
        #[cfg(target_arch = "x86_64")]
        all.extend(
            [(IsaLevel::Avx2, crate::emit::x86::Level::Avx2), (IsaLevel::Avx512, crate::emit::x86::Level::Avx512)]
                .into_iter()
                .filter(|(_, level)| level.is_here())
                .map(|(level, _)| level),
        );
        all
    }
}

impl Default for IsaLevel {
    /// The widest of this processor.
    fn default() -> IsaLevel {
        IsaLevel::here().pop().unwrap_or(IsaLevel::Baseline)
    }
}

/// A processor (or family) that code is emitted for.
#[derive(Clone)]
pub struct Isa {
    pub(crate) target_isa: Arc<dyn TargetIsa>,
    /// The same processor without the optimiser, for kernels that are recorded in the order they are to run.
    pub(crate) in_order_isa: Arc<dyn TargetIsa>,
    /// What kernel generators must know: lanes and registers of the 128-bit level.
    pub target: Target,
}

impl Isa {
    /// The processor that this program runs on, with every feature that Cranelift knows; looked at once.
    pub fn native(effort: Effort) -> Result<Isa, CodegenError> {
        static FOUND: [OnceLock<Isa>; 2] = [OnceLock::new(), OnceLock::new()];
        let found = &FOUND[effort as usize];
        if let Some(isa) = found.get() {
            return Ok(isa.clone());
        }
        let isa = Isa::finish(native_builder, effort, false)?;
        Ok(found.get_or_init(|| isa).clone())
    }

    /// A processor by target triple (`aarch64-unknown-linux-gnu`) and Cranelift feature names (`has_avx`), for
    /// position-independent code that is not run here.
    pub fn cross(triple: &str, features: &[&str], effort: Effort) -> Result<Isa, CodegenError> {
        let builder = || {
            let mut builder =
                isa::lookup_by_name(triple).map_err(|e| CodegenError::Target(format!("{triple}: {e}")))?;
            for feature in features {
                builder.enable(feature).map_err(|e| CodegenError::Target(format!("{triple}, {feature}: {e}")))?;
            }
            Ok(builder)
        };
        Isa::finish(builder, effort, true)
    }

    /// The same for a level of machine code.
    ///
    /// # Errors
    /// When this processor does not have it.
    pub fn at(self, level: IsaLevel) -> Result<Isa, CodegenError> {
        let target = match level {
            IsaLevel::Interpret | IsaLevel::Baseline => return Ok(self),
            IsaLevel::BaselineWithoutFma => Target { fused: false, ..self.target },
            IsaLevel::Avx2 | IsaLevel::Avx512 if !IsaLevel::here().contains(&level) => {
                return Err(CodegenError::Unsupported(format!("{level:?} is not on this processor")));
            }
            IsaLevel::Avx2 => Target::X86_256,
            IsaLevel::Avx512 => Target::X86_512,
        };
        Ok(Isa { target, ..self })
    }

    /// The target as a triple.
    pub fn triple(&self) -> String {
        self.target_isa.triple().to_string()
    }

    /// The processor that this program runs on, for object files.
    pub fn native_object(effort: Effort) -> Result<Isa, CodegenError> {
        Isa::finish(native_builder, effort, true)
    }

    fn finish(
        builder: impl Fn() -> Result<isa::Builder, CodegenError>,
        effort: Effort,
        pic: bool,
    ) -> Result<Isa, CodegenError> {
        let (opt_level, allocator) = match effort {
            Effort::Speed => ("speed", "backtracking"),
            Effort::Quick => ("none", "single_pass"),
        };
        let target_isa = finish_isa(builder()?, opt_level, allocator, pic)?;
        let in_order_isa = match effort {
            Effort::Speed => finish_isa(builder()?, "none", allocator, pic)?,
            Effort::Quick => Arc::clone(&target_isa),
        };
        let has = |name: &str| target_isa.isa_flags().iter().any(|f| f.name == name && f.as_bool() == Some(true));
        let target = match target_isa.name() {
            "x64" if !has("has_sse41") => {
                return Err(CodegenError::Target("an x86-64 processor without SSE4.1 is not supported".into()));
            }
            "x64" => Target { fused: has("has_fma"), ..Target::X86_128 },
            "aarch64" => Target::AARCH64,
            other => return Err(CodegenError::Target(format!("no kernels are made for `{other}`"))),
        };
        Ok(Isa { target_isa, in_order_isa, target })
    }
}

fn native_builder() -> Result<isa::Builder, CodegenError> {
    cranelift_native::builder().map_err(|e| CodegenError::Target(e.to_string()))
}

fn finish_isa(
    builder: isa::Builder,
    opt_level: &str,
    allocator: &str,
    pic: bool,
) -> Result<OwnedTargetIsa, CodegenError> {
    let mut flags = settings::builder();
    let verifier = if cfg!(debug_assertions) { "true" } else { "false" };
    for (name, value) in [
        ("opt_level", opt_level),
        ("regalloc_algorithm", allocator),
        ("is_pic", if pic { "true" } else { "false" }),
        ("enable_verifier", verifier),
        ("use_colocated_libcalls", "false"),
    ] {
        flags.set(name, value).map_err(|e| CodegenError::Target(format!("{name}={value}: {e}")))?;
    }
    builder.finish(settings::Flags::new(flags)).map_err(|e| CodegenError::Target(e.to_string()))
}
