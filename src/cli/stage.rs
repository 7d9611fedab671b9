//! Stages of the compiler by name: the file, the graph after each pass, the plan.

use anyhow::Result;
use egret::Model;
use egret::passes::PASSES;

/// A stage of the compiler.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Stage {
    /// As read, in the newest opset.
    Imported,
    /// After so many passes, one at least.
    After(usize),
    /// Specialised for extents, lowered, placed.
    Planned,
}

impl Stage {
    /// After all passes.
    pub(super) const OPTIMISED: Stage = Stage::After(PASSES.len());

    /// Every stage in order.
    pub(super) fn all() -> impl Iterator<Item = Stage> {
        [Stage::Imported].into_iter().chain((1..=PASSES.len()).map(Stage::After)).chain([Stage::Planned])
    }

    /// The stage of a word.
    pub(super) fn parse(word: &str) -> Result<Stage, String> {
        if word == "optimised" {
            return Ok(Stage::OPTIMISED);
        }
        let names: Vec<&str> = Stage::all().map(Stage::name).collect();
        Stage::all()
            .find(|s| s.name() == word)
            .ok_or_else(|| format!("the stages are {} and optimised", names.join(", ")))
    }

    /// Its word: a pass's own name stands for the graph after it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Stage::Imported => "imported",
            Stage::After(n) => PASSES[n - 1].0,
            Stage::Planned => "planned",
        }
    }

    /// The model at this stage (for `planned`, what is planned: symbols are left).
    pub(super) fn apply(self, mut model: Model) -> Result<Model> {
        let n = match self {
            Stage::Imported => return Ok(model),
            Stage::After(n) => n,
            Stage::Planned => PASSES.len(),
        };
        model.bind_defaults();
        let graph = PASSES[..n].iter().try_fold(model.graph().clone(), |g, (_, pass)| pass(g))?;
        Ok(model.with_graph(graph))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_read_by_their_names() {
        for stage in Stage::all() {
            assert_eq!(Stage::parse(stage.name()), Ok(stage));
        }
        assert_eq!(Stage::parse("optimised"), Ok(Stage::After(PASSES.len())));
        assert!(Stage::parse("half-way").unwrap_err().contains("fold"));
    }
}
