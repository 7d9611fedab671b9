//! tract (<https://github.com/sonos/tract>) behind the protocol of `egret worker`, in a process of its own: `egret worker
//! --runtime tract`, which `egret fuzz run --system tract` starts.

use anyhow::{Context, Result, bail};
use egret_ir::onnx::{Limits, data};
use egret_ir::{DType, Tensor, Type, Value};
use serde_json::{Value as Json, json};
use std::path::Path;
use tract_onnx::prelude as tract;
use tract_onnx::prelude::{
    DatumType, Framework, InferenceFact, InferenceModelExt, IntoRunnable, IntoTValue, TValue, TVec, tvec,
};

/// The release that this was written for; Cargo's lock file has the exact one.
pub const VERSION: &str = "0.23";

/// What tract says of what it does not implement: operators, element types, forms of them.
const MARKS: &[&str] = &[
    "Unimplemented",
    "unimplemented",
    "not implemented",
    "not yet implemented",
    "not supported",
    "does not support",
    "unsupported",
    "Unsupported",
    "No parser",
    "Can't translate",
    "can not be translated",
    "can not be typed",
    // Element types.
    "Unknown DatumType",
    "unknown enumeration value",
    "is not a number",
    // What must be known when the model is loaded.
    "Expect constant",
    "expected to be a const",
    "are not const",
];

/// A model that was loaded, and the last results.
#[derive(Default)]
pub struct Tract {
    run: Option<Box<dyn FnMut(TVec<TValue>) -> tract::TractResult<TVec<TValue>>>>,
    /// Names of arguments in the model's order.
    arguments: Vec<String>,
    /// Names of results.
    results: Vec<String>,
    feeds: TVec<TValue>,
    got: TVec<TValue>,
}

impl Tract {
    /// Answers a command.
    ///
    /// # Errors
    /// What tract says, or that there is no such command.
    pub fn command(&mut self, line: &str) -> Result<Json> {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["version"] => Ok(json!({ "version": VERSION })),
            ["load", _, model, folder] => {
                self.load(Path::new(model), Path::new(folder))?;
                Ok(json!({}))
            }
            ["run", k] => {
                let run = self.run.as_mut().context("no model is loaded")?;
                for _ in 0..k.parse().with_context(|| format!("number of runs `{k}`"))? {
                    self.got = run(self.feeds.clone())?;
                }
                Ok(json!({}))
            }
            ["save", folder] => {
                for (k, (name, t)) in self.results.iter().zip(&self.got).enumerate() {
                    data::save(&Path::new(folder).join(format!("output_{k}.pb")), name, &from_tract(t)?.into())?;
                }
                Ok(json!({ "outputs": self.got.len() }))
            }
            ["input", folder] => {
                self.feeds = feeds(&self.arguments, Path::new(folder))?;
                Ok(json!({}))
            }
            _ => bail!("unknown command {line:?}"),
        }
    }

    fn load(&mut self, path: &Path, folder: &Path) -> Result<()> {
        self.run = None;
        let mut model = tract_onnx::onnx().model_for_path(path)?;
        let outlets = model.input_outlets()?.to_vec();
        self.arguments = outlets.iter().map(|o| model.node(o.node).name.clone()).collect();
        self.feeds = feeds(&self.arguments, folder)?;
        for (k, feed) in self.feeds.iter().enumerate() {
            model.set_input_fact(k, InferenceFact::dt_shape(feed.datum_type(), feed.shape()))?;
        }
        let label = |o: &tract::OutletId| model.outlet_label(*o).unwrap_or(&model.node(o.node).name).to_owned();
        self.results = model.output_outlets()?.iter().map(label).collect();
        let mut state = model.into_optimized()?.into_runnable()?.spawn()?;
        self.run = Some(Box::new(move |feeds| state.run(feeds)));
        Ok(())
    }
}

/// Whether the text of an error says that tract does not implement something.
pub fn is_unsupported(text: &str) -> bool {
    MARKS.iter().any(|m| text.contains(m))
}

/// The arguments of these names among the files of a folder.
fn feeds(names: &[String], folder: &Path) -> Result<TVec<TValue>> {
    let mut given = Vec::new();
    for k in 0.. {
        let path = folder.join(format!("input_{k}.pb"));
        if !path.exists() {
            break;
        }
        given.push(data::load(&path, &Type::Unknown, &Limits::default())?);
    }
    let mut out = tvec!();
    for name in names {
        let (_, value) = given.iter().find(|(n, _)| n == name).with_context(|| format!("no argument \"{name}\""))?;
        out.push(to_tract(value)?.into_tvalue());
    }
    Ok(out)
}

fn to_tract(value: &Value) -> Result<tract::Tensor> {
    let t = value.tensor()?;
    macro_rules! of {
        ($T:ty) => {
            tract::Tensor::from_shape::<$T>(t.shape(), &t.slice::<$T>()?)?
        };
    }
    Ok(match t.dtype() {
        DType::F32 => of!(f32),
        DType::F64 => of!(f64),
        DType::F16 => of!(half::f16),
        DType::I8 => of!(i8),
        DType::I16 => of!(i16),
        DType::I32 => of!(i32),
        DType::I64 => of!(i64),
        DType::U8 => of!(u8),
        DType::U16 => of!(u16),
        DType::U32 => of!(u32),
        DType::U64 => of!(u64),
        DType::Bool => tract::Tensor::from_shape(t.shape(), &t.bools()?)?,
        other => bail!("unsupported: elements of type {other}"),
    })
}

fn from_tract(t: &tract::Tensor) -> Result<Tensor> {
    // An extent is a number once all are.
    let t = if t.datum_type() == DatumType::TDim { t.cast_to::<i64>()?.into_owned() } else { t.clone() };
    let shape = t.shape();
    macro_rules! of {
        ($T:ty) => {
            Tensor::from_slice::<$T>(
                shape,
                t.to_plain_array_view::<$T>()?.as_slice().context("elements are not in order")?,
            )
        };
    }
    Ok(match t.datum_type().unquantized() {
        DatumType::F32 => of!(f32),
        DatumType::F64 => of!(f64),
        DatumType::F16 => of!(half::f16),
        DatumType::I8 => of!(i8),
        DatumType::I16 => of!(i16),
        DatumType::I32 => of!(i32),
        DatumType::I64 => of!(i64),
        DatumType::U8 => of!(u8),
        DatumType::U16 => of!(u16),
        DatumType::U32 => of!(u32),
        DatumType::U64 => of!(u64),
        DatumType::Bool => {
            Tensor::from_bools(shape, t.to_plain_array_view::<bool>()?.iter().copied().collect::<Vec<_>>())
        }
        other => bail!("unsupported: results of type {other:?}"),
    })
}
