//! Rules of operators from experiments alone: when a call is valid, and the extents of its results.
//!
//! After NeuRI (ESEC/FSE 2023): inductive synthesis over records of calls. What differs: an experiment is chosen where it
//! decides between candidates (an assignment that breaks one requirement alone, one that satisfies all), so a rule is
//! believed because its rivals are dead and not because records happened to fit; polynomials are solved for instead of
//! enumerated, so windowed extents are found; the operator's own rule is never read.
//!
//! | module | what |
//! |---|---|
//! | [`term`] | terms and requirements, their text form |
//! | [`structure`] | argument structures and their variables |
//! | [`declaration`] | what is said of an operator beforehand, by the registry or by records of calls |
//! | [`list`] | the structures of an operator, by its declaration and by trying |
//! | [`grow`] | valid calls of other operands from valid calls |
//! | [`mod@bench`] | experiments |
//! | [`outputs`], [`windows`], [`requires`] | candidates that fit |
//! | [`lift`] | candidates from rules at other ranks and of other types |
//! | [`search`] | the loop: synthesise, challenge, repeat |
//! | [`run`] | many operators side by side |
//! | [`rulefile`] | the rule file |
//! | `score` (feature `z3`) | a rule file against the registry's rules |

pub mod bench;
pub mod declaration;
pub mod grow;
pub mod lift;
pub mod list;
pub mod outputs;
pub mod requires;
pub mod rulefile;
pub mod run;
#[cfg(feature = "z3")]
pub mod score;
pub mod search;
pub mod structure;
pub mod term;
pub mod windows;
