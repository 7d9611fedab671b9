//! Models compiled ahead of time.

use crate::Model;
use crate::options::available_threads;
use egret_codegen::aot;
use egret_codegen::isa::{Effort, Isa};
use egret_ir::eval::Limits;
use egret_ir::{Dim, Error, Result, Shape, Type};
use egret_passes::DefaultPlanner;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use egret_codegen::aot::{Compiled, Port, header, program, runtime};

/// Choices for [`Model::compile_ahead`].
#[derive(Clone, Debug)]
pub struct AheadOptions {
    /// Prefix of every symbol and file; a C identifier.
    pub name: String,
    /// Extents of symbols.
    pub sizes: BTreeMap<String, usize>,
    /// Shapes of inputs whose declared ones say less.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// `native` (this processor, with everything that it has), `x86_64` (SSE4.1), `x86_64-v3` (with AVX2 and FMA),
    /// `aarch64`, or a triple.
    pub target: String,
    /// Bounds of values.
    pub limits: Limits,
}

impl AheadOptions {
    /// For this processor.
    pub fn new(name: impl Into<String>) -> AheadOptions {
        AheadOptions {
            name: name.into(),
            sizes: BTreeMap::new(),
            shapes: BTreeMap::new(),
            target: "native".into(),
            limits: Limits::default(),
        }
    }
}

impl Model {
    /// Compiles the model for fixed shapes into an object file that runs without Egret; see [`aot`]. Inputs with a
    /// default become constants.
    ///
    /// # Errors
    /// When an extent of an input has no number, a node has no compiled kernel or makes extents that depend on data, or
    /// there is no code generation for the target.
    pub fn compile_ahead(&self, options: &AheadOptions) -> Result<Compiled> {
        let mut model = self.clone();
        model.bind_defaults();
        let types = input_types(&model, options)?;
        let isa = isa(&options.target)?;
        let options = aot::AotOptions {
            name: options.name.clone(),
            threads: available_threads(),
            limits: options.limits.clone(),
        };
        aot::compile(model.graph(), Arc::new(DefaultPlanner), &types, isa, &options)
    }
}

fn isa(target: &str) -> Result<Isa> {
    const SSE41: [&str; 3] = ["has_sse3", "has_ssse3", "has_sse41"];
    const V3: [&str; 11] = [
        "has_sse3",
        "has_ssse3",
        "has_sse41",
        "has_sse42",
        "has_popcnt",
        "has_avx",
        "has_avx2",
        "has_bmi1",
        "has_bmi2",
        "has_lzcnt",
        "has_fma",
    ];
    let isa = match target {
        "native" => Isa::native_object(Effort::Speed),
        "x86_64" => Isa::cross("x86_64-unknown-linux-gnu", &SSE41, Effort::Speed),
        "x86_64-v3" => Isa::cross("x86_64-unknown-linux-gnu", &V3, Effort::Speed),
        "aarch64" => Isa::cross("aarch64-unknown-linux-gnu", &[], Effort::Speed),
        triple if triple.starts_with("x86_64-") => Isa::cross(triple, &SSE41, Effort::Speed),
        triple => Isa::cross(triple, &[], Effort::Speed),
    };
    isa.map_err(|e| Error::unsupported(e.to_string()))
}

/// The types of the inputs with a number for every extent.
fn input_types(model: &Model, options: &AheadOptions) -> Result<Vec<Type>> {
    let graph = model.graph();
    let mut known: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut types = Vec::new();
    for &v in &graph.inputs {
        let info = graph.value(v);
        let Type::Tensor(t) = &info.ty else {
            return Err(Error::unsupported(format!(
                "input \"{}\" is {}: only tensors are compiled",
                info.name, info.ty
            )));
        };
        if let Shape::Ranked(dims) = &t.shape {
            dims.iter().for_each(|d| known.extend(d.symbols()));
        }
        let sizes = match (options.shapes.get(&info.name), &t.shape) {
            (Some(sizes), _) => sizes.clone(),
            (None, Shape::Ranked(dims)) => {
                let number = |d: &Dim| {
                    let size = |s: &str| options.sizes.get(s).and_then(|&n| i64::try_from(n).ok());
                    d.eval(&size).and_then(|n| usize::try_from(n).ok())
                };
                let sizes: Option<Vec<usize>> = dims.iter().map(number).collect();
                sizes.ok_or_else(|| {
                    Error::invalid(format!("input \"{}\" is {}: give each of its symbols a size", info.name, info.ty))
                })?
            }
            (None, _) => {
                let text = format!("input \"{}\" is {}: give it a shape", info.name, info.ty);
                return Err(Error::invalid(text));
            }
        };
        let ty = Type::tensor(t.dtype, &sizes);
        if !egret_ir::eval::agrees(&ty, &info.ty) {
            return Err(Error::invalid(format!("input \"{}\" is {}, which {ty} does not fit", info.name, info.ty)));
        }
        types.push(ty);
    }
    let names: Vec<&str> = graph.inputs.iter().map(|&v| graph.value(v).name.as_str()).collect();
    let unknown = |what: &str, name: &str, all: &[&str]| {
        Error::invalid(format!("there is no {what} \"{name}\"; there are {}", all.join(", ")))
    };
    if let Some(name) = options.shapes.keys().find(|n| !names.contains(&n.as_str())) {
        return Err(unknown("input", name, &names));
    }
    if let Some(name) = options.sizes.keys().find(|n| !known.contains(n.as_str())) {
        let known: Vec<&str> = known.iter().map(|s| &**s).collect();
        return Err(unknown("symbol", name, &known));
    }
    Ok(types)
}
