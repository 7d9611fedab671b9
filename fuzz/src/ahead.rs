//! Egret ahead of time: the graph as an object file, linked by the machine's C compiler and run in a process of its own,
//! against the reference.

use crate::bounds::Silent;
use crate::check::{Failed, Failure, Kind, System, Untaken, guarded, judge};
use crate::generate::Case;
use anyhow::Context;
use egret_codegen::aot::program::{self, Ended};
use egret_codegen::aot::{self, AotOptions, Compiled};
use egret_codegen::isa::{Effort, Isa};
use egret_ir::eval::Limits;
use egret_ir::{Error, ErrorKind, Value};
use egret_passes::DefaultPlanner;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time of compiling, and of a run.
const TIME: Duration = Duration::from_secs(10);

/// The system `egret-ahead`. It does not support what needs Egret at run time.
#[derive(Default)]
pub struct Ahead {
    untaken: Untaken,
}

impl System for Ahead {
    fn name(&self) -> &str {
        "egret-ahead"
    }

    fn untaken(&self) -> Untaken {
        self.untaken
    }

    fn check(&mut self, case: &Case) -> anyhow::Result<Option<Failure>> {
        for run in case.runs().iter() {
            let folder = tempfile::tempdir().context("no temporary folder")?;
            let compiled = match guarded(|| linked(run, folder.path())) {
                Ok(Some(compiled)) => compiled,
                Ok(None) => {
                    self.untaken.unsupported += 1;
                    return Ok(None);
                }
                Err(failed) => return Ok(Some(failed.at(self.name().to_owned()))),
            };
            let (kind, text) = match program::run(&compiled, folder.path(), &run.inputs, TIME)? {
                Ended::Done(got) => match judge(run, &got, Silent::Reference) {
                    Some(text) => (Kind::Wrong, text),
                    None => continue,
                },
                Ended::Code(code) => {
                    let check = usize::try_from(code).ok().and_then(|c| compiled.checks.get(c.checked_sub(1)?));
                    (Kind::Refused, check.cloned().unwrap_or_else(|| format!("exit code {code}")))
                }
                Ended::Died(how) => (Kind::Crash, how),
                Ended::Late => (Kind::Hang, format!("no end after {} s", TIME.as_secs())),
            };
            return Ok(Some(Failed { kind, text }.at(self.name().to_owned())));
        }
        Ok(None)
    }
}

/// The model, built in a folder; none where it needs Egret at run time, or there is no C compiler. What that refuses is an error.
fn linked(run: &Case, folder: &Path) -> egret_ir::Result<Option<Compiled>> {
    let types: Vec<_> = run.inputs.iter().map(Value::ty).collect();
    let isa = Isa::native_object(Effort::Quick).map_err(|e| Error::unsupported(e.to_string()))?;
    let limits = Limits { deadline: Instant::now().checked_add(TIME), ..Limits::default() };
    let options = AotOptions { name: "model".into(), threads: 1, limits };
    let made = aot::compile(&run.graph, Arc::new(DefaultPlanner), &types, isa, &options);
    match made.and_then(|compiled| program::link(&compiled, folder).map(|_| compiled)) {
        Ok(compiled) => Ok(Some(compiled)),
        Err(e) if e.kind() == ErrorKind::Unsupported => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Seeded;
    use crate::generate::{Config, Generator};

    #[test]
    fn generated_graphs_run_without_egret() {
        let config = Config { only: ["Add", "Relu", "MatMul", "Gather"].map(Into::into).to_vec(), ..Config::default() };
        let (mut generator, mut ahead) = (Generator::new(config), Ahead::default());
        for i in 0..12 {
            let case = generator.generate(&mut Seeded::new(5, i)).unwrap();
            assert!(ahead.check(&case).unwrap().is_none(), "{i}");
        }
        assert!(ahead.untaken().unsupported < 6, "{:?}", ahead.untaken());
    }
}
