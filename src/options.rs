//! What a caller may choose when compiling.

use egret_codegen::isa::IsaLevel;
use egret_ir::eval::Limits;
use egret_ir::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Which machinery runs the graph, from the plainest to the fastest: each is checked against the one before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Level {
    /// Each operator's own `eval`, node by node: slow, plain, the measure of everything else.
    Reference,
    /// Optimised and planned, and every kernel interpreted: loop nests by the interpreter of the loop IR, products and
    /// convolutions by that of recorded kernels. Every access is checked. Slower than the reference.
    Interpret,
    /// Machine code with 128-bit vectors that rounds each product before it is added: errors of sums are up to twice
    /// those with FMA.
    BaselineWithoutFma,
    /// Machine code with 128-bit vectors, with FMA where the processor has it.
    Baseline,
    /// Machine code with 256-bit vectors: AVX2 with FMA, of x86-64.
    Avx2,
    /// Machine code with 512-bit vectors: AVX-512 F, BW, DQ and VL, of x86-64.
    Avx512,
    /// The widest of them that this processor has.
    #[default]
    Native,
}

impl Level {
    /// Every level, plainest first.
    pub const ALL: [Level; 7] = [
        Level::Reference,
        Level::Interpret,
        Level::BaselineWithoutFma,
        Level::Baseline,
        Level::Avx2,
        Level::Avx512,
        Level::Native,
    ];

    /// Whether this processor has it.
    pub fn is_here(self) -> bool {
        match self.isa() {
            Some(isa @ (IsaLevel::Avx2 | IsaLevel::Avx512)) => IsaLevel::here().contains(&isa),
            _ => true,
        }
    }

    /// The word in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Level::Reference => "reference",
            Level::Interpret => "interpret",
            Level::BaselineWithoutFma => "baseline-without-fma",
            Level::Baseline => "baseline",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Native => "native",
        }
    }

    /// How the executor runs kernels; `None` for the reference, which has none.
    pub(crate) fn isa(self) -> Option<IsaLevel> {
        match self {
            Level::Reference => None,
            Level::Interpret => Some(IsaLevel::Interpret),
            Level::BaselineWithoutFma => Some(IsaLevel::BaselineWithoutFma),
            Level::Baseline => Some(IsaLevel::Baseline),
            Level::Avx2 => Some(IsaLevel::Avx2),
            Level::Avx512 => Some(IsaLevel::Avx512),
            Level::Native => Some(IsaLevel::default()),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Level {
    type Err = String;
    fn from_str(s: &str) -> Result<Level, String> {
        let known = || Level::ALL.map(Level::name).join(", ");
        Level::ALL
            .into_iter()
            .find(|l| l.name() == s)
            .ok_or_else(|| format!("`{s}` is no level; there are {}", known()))
    }
}

/// Choices for [`Model::compile`](crate::Model::compile).
#[derive(Clone, Debug)]
pub struct Options {
    /// Which machinery runs the graph.
    pub level: Level,
    /// Threads of one run, the calling one included.
    pub threads: usize,
    /// Bounds of every run: memory ([`Limits::memory_bytes`]), time, loop steps, and a flag by which another thread
    /// stops a run. Looked at between steps, and while a call is compiled; [`run_within`](crate::Executable::run_within)
    /// takes others for one run.
    pub limits: Limits,
    /// Whether inputs that have a default in the file stay inputs. Otherwise they become constants, so that weights
    /// which an exporter also listed as inputs can be folded and packed.
    pub overridable: bool,
    /// Whether [`Executable::run_observed`](crate::Executable::run_observed) must see every value. Costs memory: none
    /// is overwritten or fused away.
    pub keep_values: bool,
}

impl Default for Options {
    /// Native code on all threads of the process's quota.
    fn default() -> Options {
        Options {
            level: Level::Native,
            threads: available_threads(),
            limits: Limits::default(),
            overridable: false,
            keep_values: false,
        }
    }
}

impl Options {
    /// The defaults with the level that the environment variable `EGRET_ISA` names, if any: see [`Level`].
    ///
    /// # Errors
    /// When the variable names a level that is not there.
    pub fn from_env() -> Result<Options> {
        let level = match std::env::var("EGRET_ISA").as_deref() {
            Err(_) | Ok("") => Level::default(),
            Ok(name) => name.parse().map_err(|e| Error::unsupported(format!("EGRET_ISA: {e}")))?,
        };
        Ok(Options { level, ..Options::default() })
    }
}

/// Threads that this process may run at once: processors, its affinity, its control group's CPU quota.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_by_their_names() {
        for level in Level::ALL {
            assert_eq!(level.name().parse(), Ok(level));
        }
        assert!("fast".parse::<Level>().is_err());
    }
}
