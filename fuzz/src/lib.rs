//! The fuzzer of Egret.
//!
//! | module | what |
//! |---|---|
//! | [`blackbox`], [`trace`] | operators that are only run; records of their calls |
//! | [`infer`] | rules of operators from experiments, a file of them, and how they compare with the registry's |
//! | [`form`] | argument structures of operators: element types, ranks, attributes, with open extents |
//! | `smt` (feature `z3`), [`solve`] | conditions of a call for z3; numbers for its symbols |
//! | [`mod@generate`], [`values`], [`choices`] | graphs grown call by call; elements by class; a seed or libFuzzer's bytes decides |
//! | `unroll` | a case without bodies, for what walks its calls |
//! | [`bounds`], `formulas` | how far a correct compiler's results may lie from the reference's; operators step by step |
//! | [`check`], [`runtime`] | Egret stage by stage; other runtimes in processes of their own |
//! | `tract` (feature `tract`) | tract behind the protocol of other runtimes |
//! | [`stated`] | calls whose results the specification leaves open |
//! | [`mod@metamorphic`] | a graph written anew, with the same results |
//! | [`known`] | calls whose failures somebody has looked at, with verdicts |
//! | [`probe`] | which kinds of calls a runtime implements at all |
//! | [`mod@reduce`], [`finding`], [`campaign`] | the smallest failing graph; a folder for it; all of it in a row |
//! | [`store`], [`mod@page`] | what a campaign keeps, in a SQLite file; its page of HTML |
//! | [`surface`] | what must hold of every input from outside, however wrong |
//! | [`mutate`], [`seeds`] | wrong models made from right ones |
//! | [`hostile`], [`worker`] | mutated models against worker processes behind a watchdog |
//! | [`mod@memcheck`] | Valgrind around such a process: accesses outside of heap blocks |
//! | [`workers`] | the programs in Python that run in other processes |
//! | [`random`] | seeded choices |
//!
//! `fuzz_targets/` holds the entry points of [cargo-fuzz](https://github.com/rust-fuzz/cargo-fuzz): ten lines each, which
//! hand libFuzzer's bytes to a function of [`surface`]. This package is the library and the cargo-fuzz package at once; the
//! targets need the feature `libfuzzer`, so a plain build compiles no fuzzing engine. `README.md` beside this folder says how
//! to run them.

pub mod ahead;
pub mod blackbox;
pub mod bounds;
pub mod campaign;
pub mod check;
pub mod choices;
pub mod finding;
pub mod form;
mod formulas;
pub mod generate;
pub mod hostile;
pub mod infer;
pub mod known;
pub mod memcheck;
pub mod metamorphic;
pub mod mutate;
pub mod older;
pub mod page;
pub mod probe;
pub mod random;
pub mod reduce;
pub mod runtime;
pub mod seeds;
#[cfg(feature = "z3")]
pub mod smt;
pub mod solve;
pub mod stated;
pub mod store;
pub mod surface;
pub mod trace;
#[cfg(feature = "tract")]
pub mod tract;
mod unroll;
pub mod values;
pub mod worker;
pub mod workers;
