//! Inputs on the command line: files, images, seeded random values, sizes of symbolic extents.

use super::dataset::RawInputs;
use super::{Failure, image, npy};
use anyhow::{Context, Result, bail};
use clap::Args;
use egret::ir::{Class, Dim, Shape, onnx};
use egret::{DType, Executable, Model, Port, Tensor, Type, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a model is run on.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct InputArgs {
    /// An input: NAME=FILE (.npy, .npz, .pb, .png, .jpg) or NAME=random:SEED. An .npz without NAME= gives each of its
    /// arrays to the input of that name. Inputs that are not given are random with the seed 0.
    #[arg(long, short, value_name = "NAME=WHAT")]
    input: Vec<String>,
    /// A folder with input_0.pb, input_1.pb…, as in ONNX's test data.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Size of a symbolic extent of random inputs, such as n=4. Default: 1.
    #[arg(long, short, value_name = "NAME=SIZE")]
    dim: Vec<String>,
}

/// Inputs in the order of the executable, with where each came from.
pub(super) struct Given {
    pub(super) values: Vec<Value>,
    pub(super) origins: Vec<String>,
}

impl InputArgs {
    /// Sizes by symbol.
    pub(super) fn sizes(&self) -> Result<BTreeMap<String, i64>> {
        let one = |text: &String| {
            let wrong = || Failure::usage(format!("--dim {text}: wanted is NAME=SIZE, for instance n=4"));
            let (name, size) = text.split_once('=').ok_or_else(wrong)?;
            Ok((name.to_owned(), size.parse::<u32>().map_err(|_| wrong())?.into()))
        };
        self.dim.iter().map(one).collect()
    }

    /// The same with a folder of data, unless one is given.
    pub(super) fn with_data(&self, folder: Option<PathBuf>) -> InputArgs {
        InputArgs { data: self.data.clone().or(folder), ..self.clone() }
    }

    /// Whether an input with a default is given, so that it must stay an input.
    pub(super) fn overrides(&self, model: &Model) -> Result<bool> {
        let graph = model.graph();
        let named =
            |name: &str| graph.inputs.iter().any(|&v| graph.value(v).name == name && graph.value(v).constant.is_some());
        if self.input.iter().any(|i| i.split_once('=').is_some_and(|(name, _)| named(name))) {
            return Ok(true);
        }
        match &self.data {
            Some(folder) => Ok(RawInputs::read(folder).bind(model)?.overrides),
            None => Ok(false),
        }
    }

    /// Reads or makes every input.
    pub(super) fn read(&self, model: &Model, executable: &Executable) -> Result<Given> {
        let sizes = self.sizes()?;
        let mut named: BTreeMap<String, (Value, String)> = BTreeMap::new();
        if let Some(folder) = &self.data {
            if !folder.join("input_0.pb").is_file() && !executable.inputs().is_empty() {
                return Err(Failure::usage(format!("--data {}: it has no input_0.pb", folder.display())));
            }
            let from = format!("from {}", folder.display());
            let inputs = RawInputs::read(folder).bind(model)?;
            named.extend(inputs.named.into_iter().map(|(n, v)| (n, (v, from.clone()))));
        }
        for text in &self.input {
            for (name, value, from) in one(text, executable, &sizes)? {
                named.insert(name, (value, from));
            }
        }
        let mut out = Given { values: Vec::new(), origins: Vec::new() };
        for (k, port) in executable.inputs().iter().enumerate() {
            let (value, from) = match (named.remove(&port.name), &port.default) {
                (Some(found), _) => found,
                (None, Some(t)) => (t.clone().into(), "default".into()),
                (None, None) => (random(&port.ty, k as u64, &sizes)?, "random".into()),
            };
            out.values.push(value);
            out.origins.push(from);
        }
        if let Some(name) = named.into_keys().next() {
            let known: Vec<&str> = executable.inputs().iter().map(|p| p.name.as_str()).collect();
            return Err(Failure::usage(format!("there is no input \"{name}\"; the inputs are {}", known.join(", "))));
        }
        Ok(out)
    }
}

/// The values that one `--input` gives.
fn one(text: &str, executable: &Executable, sizes: &BTreeMap<String, i64>) -> Result<Vec<(String, Value, String)>> {
    let Some((name, what)) = text.split_once('=') else {
        let path = Path::new(text);
        if path.extension().is_some_and(|e| e == "npz") {
            let from = format!("from {text}");
            return Ok(npy::read_npz(path)?.into_iter().map(|(n, t)| (n, t.into(), from.clone())).collect());
        }
        return Err(Failure::usage(format!("--input {text}: wanted is NAME=FILE, NAME=random:SEED or FILE.npz")));
    };
    let Some(port) = executable.inputs().iter().find(|p| p.name == name) else {
        let known: Vec<&str> = executable.inputs().iter().map(|p| p.name.as_str()).collect();
        return Err(Failure::usage(format!("there is no input \"{name}\"; the inputs are {}", known.join(", "))));
    };
    if let Some(seed) = what.strip_prefix("random:") {
        let seed = seed.parse().map_err(|_| Failure::usage(format!("--input {text}: the seed is no number")))?;
        return Ok(vec![(name.into(), random(&port.ty, seed, sizes)?, format!("random, seed {seed}"))]);
    }
    let value = read_file(Path::new(what), port).with_context(|| format!("input \"{name}\""))?;
    Ok(vec![(name.to_owned(), value, format!("from {what}"))])
}

fn read_file(path: &Path, port: &Port) -> Result<Value> {
    if image::is_image(path) {
        return Ok(image::read(path, &port.ty, &mut |r| eprintln!("{r}"))?.into());
    }
    Ok(match path.extension().and_then(|e| e.to_str()) {
        Some("npy") => npy::read(path)?.into(),
        Some("npz") => {
            let mut arrays = npy::read_npz(path)?;
            let at = arrays.iter().position(|(n, _)| *n == port.name).or((arrays.len() == 1).then_some(0));
            let names = || arrays.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", ");
            let at = at.with_context(|| format!("{} holds {}", path.display(), names()))?;
            arrays.swap_remove(at).1.into()
        }
        Some("pb") => onnx::data::load(path, &port.ty, &onnx::Limits::default())?.1,
        _ => return Err(Failure::usage(format!("{}: known are .npy, .npz, .pb, .png and .jpg", path.display()))),
    })
}

/// A value of a declared type: floats in [-1, 1), integers 0 or 1 (so that they index anything), truth values, short
/// texts; sequences of two (of one inside others), optionals that are there.
pub(super) fn random(ty: &Type, seed: u64, sizes: &BTreeMap<String, i64>) -> Result<Value> {
    let mut rng = SplitMix(seed);
    random_with(ty, 2, &mut rng, sizes)
}

/// A value for each input without a default; symbolic extents are 1 to 3. Every fourth seed gives integers that may be far
/// outside of what they index.
///
/// # Errors
/// When an input needs more than `max_bytes`, or has no random values.
pub(super) fn random_inputs(executable: &Executable, seed: u64, max_bytes: usize) -> Result<Vec<Value>> {
    let mut rng = SplitMix(seed);
    let mut sizes = BTreeMap::new();
    let mut values = Vec::new();
    for port in executable.inputs() {
        if let Some(default) = &port.default {
            values.push(default.clone().into());
            continue;
        }
        if let Some(dims) = port.ty.as_tensor().and_then(|t| t.shape.dims()) {
            for symbol in dims.iter().flat_map(Dim::symbols) {
                sizes.entry(symbol.to_string()).or_insert_with(|| 1 + (rng.next() % 3) as i64);
            }
            let shape = dims.iter().map(|d| size(d, &sizes)).collect::<Result<Vec<_>>>()?;
            let place = |e: egret::Error| e.at(format!("input \"{}\"", port.name));
            let bytes = egret::ir::tensor::len_elems(&shape).map_err(place)?.saturating_mul(16);
            if bytes > max_bytes {
                let (name, ty) = (&port.name, &port.ty);
                bail!(egret::Error::limit(format!("input \"{name}\" of type {ty} needs more than {max_bytes} bytes")));
            }
        }
        let value = random_with(&port.ty, 2, &mut rng, &sizes)?;
        values.push(match value {
            Value::Tensor(t) if seed % 4 == 3 && t.dtype().is_int() => {
                const ODD: [i64; 10] = [0, 1, 2, 3, -1, -2, 7, 1 << 20, i64::MAX, i64::MIN];
                let odd = (0..t.len()).map(|_| ODD[(rng.next() % 10) as usize].into());
                Tensor::from_ints(t.dtype(), t.shape(), odd).into()
            }
            other => other,
        });
    }
    Ok(values)
}

fn random_with(ty: &Type, items: usize, rng: &mut SplitMix, sizes: &BTreeMap<String, i64>) -> Result<Value> {
    Ok(match ty {
        Type::Tensor(t) => {
            let Shape::Ranked(dims) = &t.shape else {
                bail!(Failure::usage(format!("an input of type {ty} has no declared rank: give it with --input")))
            };
            let shape = dims.iter().map(|d| size(d, sizes)).collect::<Result<Vec<_>>>()?;
            random_tensor(t.dtype, &shape, rng)?.into()
        }
        Type::Sequence(inner) => {
            let items = (0..items).map(|_| random_with(inner, 1, rng, sizes)).collect::<Result<Vec<_>>>()?;
            Value::Sequence((**inner).clone(), items)
        }
        Type::Optional(inner) => Value::Optional((**inner).clone(), Some(Box::new(random_with(inner, 1, rng, sizes)?))),
        Type::Map(..) | Type::Unknown => {
            bail!(Failure::usage(format!("an input of type {ty} has no random values: give it with --input")))
        }
    })
}

fn random_tensor(dtype: DType, shape: &[usize], rng: &mut SplitMix) -> Result<Tensor> {
    // Refuses absurd sizes before anything is made.
    let zeros = Tensor::zeros(dtype, shape)?;
    let n = zeros.len();
    let mut unit = || (rng.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
    Ok(match dtype.class() {
        Class::String => {
            Tensor::from_strings(shape, (0..n).map(|_| format!("w{}", (unit() * 4.0).abs() as u8).into()).collect())
        }
        Class::Complex => match dtype {
            DType::C64 => {
                let parts: Vec<f32> = (0..2 * n).map(|_| unit() as f32).collect();
                let bytes = parts.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
                Tensor::from_aligned(dtype, shape, egret::ir::tensor::AlignedBytes::copy_of(&bytes))?
            }
            _ => {
                let bytes = (0..2 * n).flat_map(|_| unit().to_le_bytes()).collect::<Vec<u8>>();
                Tensor::from_aligned(dtype, shape, egret::ir::tensor::AlignedBytes::copy_of(&bytes))?
            }
        },
        Class::Float => Tensor::from_floats(dtype, shape, (0..n).map(|_| unit())),
        _ => Tensor::from_ints(dtype, shape, (0..n).map(|_| i128::from(unit() > 0.0))),
    })
}

/// The number that a declared extent has; a symbol without a size is 1.
pub(super) fn size(d: &Dim, sizes: &BTreeMap<String, i64>) -> Result<usize> {
    let v = d.eval(&|s| Some(sizes.get(s).copied().unwrap_or(1)));
    v.and_then(|v| usize::try_from(v).ok())
        .ok_or_else(|| Failure::usage(format!("the extent {d} has no size for these --dim")))
}

/// SplitMix64 (Steele, Lea, Flood 2014): a few lines, the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_values_are_seeded_and_in_range() {
        let ty = Type::ranked(DType::F32, vec![Dim::sym("n"), Dim::from(100usize)]);
        let sizes = BTreeMap::from([("n".to_owned(), 3)]);
        let (a, b) = (random(&ty, 1, &sizes).unwrap(), random(&ty, 1, &sizes).unwrap());
        assert_eq!(a, b);
        assert_ne!(a, random(&ty, 2, &sizes).unwrap());
        let t = a.tensor().unwrap();
        assert_eq!(t.shape(), [3, 100]);
        let all = t.floats().unwrap();
        assert!(all.iter().all(|v| (-1.0..1.0).contains(v)) && all.iter().any(|&v| v < -0.5));
        for &dtype in DType::ALL {
            assert_eq!(random(&Type::tensor(dtype, &[7]), 0, &sizes).unwrap().tensor().unwrap().len(), 7, "{dtype}");
        }
    }

    #[test]
    fn splitmix_gives_the_published_numbers() {
        let mut rng = SplitMix(1_234_567);
        assert_eq!([rng.next(), rng.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn sizes_are_read() {
        let args = |d: &str| InputArgs { dim: vec![d.into()], ..InputArgs::default() };
        assert_eq!(args("n=4").sizes().unwrap()["n"], 4);
        assert!(args("n").sizes().is_err() && args("n=-1").sizes().is_err());
    }
}
