//! NumPy's array files: `.npy` (format versions 1 to 3) and `.npz`, a zip of them.
//!
//! Source: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. Read and written by hand since the
//! format is a header and the bytes; big-endian and Fortran-ordered arrays are put into our order on reading. Element
//! types that NumPy lacks (bf16, 8-bit floats and narrower) are not written: use `.pb` for them.

use anyhow::{Context, Result, anyhow, bail, ensure};
use egret::ir::tensor::AlignedBytes;
use egret::{DType, Tensor};
use std::io::{Read, Write};
use std::path::Path;

const MAGIC: &[u8] = b"\x93NUMPY";

/// NumPy's type codes without the byte order.
const KINDS: [(&str, DType); 14] = [
    ("f4", DType::F32),
    ("f8", DType::F64),
    ("f2", DType::F16),
    ("i1", DType::I8),
    ("i2", DType::I16),
    ("i4", DType::I32),
    ("i8", DType::I64),
    ("u1", DType::U8),
    ("u2", DType::U16),
    ("u4", DType::U32),
    ("u8", DType::U64),
    ("b1", DType::Bool),
    ("c8", DType::C64),
    ("c16", DType::C128),
];

/// Reads a `.npy` file.
pub(super) fn read(path: &Path) -> Result<Tensor> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    decode(&bytes).with_context(|| path.display().to_string())
}

/// Reads every array of a `.npz` file, with its name.
pub(super) fn read_npz(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let open = || -> Result<Vec<(String, Tensor)>> {
        let mut archive = zip::ZipArchive::new(std::fs::File::open(path)?)?;
        let mut out = Vec::new();
        for i in 0..archive.len() {
            let mut entry = archive.by_index(i)?;
            let Some(name) = entry.name().strip_suffix(".npy").map(str::to_owned) else { continue };
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            out.push((name.clone(), decode(&bytes).context(name)?));
        }
        Ok(out)
    };
    open().with_context(|| path.display().to_string())
}

/// Writes a `.npy` file.
pub(super) fn write(path: &Path, tensor: &Tensor) -> Result<()> {
    std::fs::write(path, encode(tensor)?).with_context(|| path.display().to_string())
}

/// Writes a `.npz` file, not compressed, as `numpy.savez` does.
pub(super) fn write_npz(path: &Path, arrays: &[(String, Tensor)]) -> Result<()> {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).with_context(|| path.display().to_string())?);
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, tensor) in arrays {
        zip.start_file(format!("{name}.npy"), options.large_file(tensor.bytes().len() > 1 << 31))?;
        zip.write_all(&encode(tensor)?)?;
    }
    zip.finish()?;
    Ok(())
}

fn encode(tensor: &Tensor) -> Result<Vec<u8>> {
    let dtype = tensor.dtype();
    let (code, _) = KINDS
        .iter()
        .find(|(_, d)| *d == dtype)
        .ok_or_else(|| anyhow!("NumPy has no element type {dtype}: write it as .pb"))?;
    let order = if dtype.size_bytes() == 1 { '|' } else { '<' };
    let extents: String = tensor.shape().iter().map(|n| format!("{n}, ")).collect();
    let mut header =
        format!("{{'descr': '{order}{code}', 'fortran_order': False, 'shape': ({}), }}", extents.trim_end());
    if tensor.shape().len() > 1 {
        header = header.replace(",), }", "), }");
    }
    // Magic, version, length and header together are a multiple of 64, the header ends with a newline.
    let used = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(used.next_multiple_of(64) - used));
    header.push('\n');
    let mut out = MAGIC.to_vec();
    out.extend([1, 0]);
    out.extend(u16::try_from(header.len()).context("a shape of thousands of axes")?.to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(tensor.bytes());
    Ok(out)
}

fn decode(bytes: &[u8]) -> Result<Tensor> {
    ensure!(bytes.starts_with(MAGIC), "this is no NumPy array");
    let version = *bytes.get(6).context("cut off")?;
    let (start, len): (usize, usize) = match version {
        1 => (10, usize::from(u16::from_le_bytes(bytes.get(8..10).context("cut off")?.try_into()?))),
        2 | 3 => (12, u32::from_le_bytes(bytes.get(8..12).context("cut off")?.try_into()?) as usize),
        v => bail!("format version {v}"),
    };
    let header = bytes.get(start..start.saturating_add(len)).context("cut off in its header")?;
    let header = std::str::from_utf8(header)?;
    let data = &bytes[start + len..];
    let descr = field(header, "descr")?.trim_matches(['\'', '"']).to_owned();
    let fortran = field(header, "fortran_order")? == "True";
    let extents = field(header, "shape")?;
    let shape = extents
        .trim_matches(['(', ')'])
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(|s| s.parse::<usize>().with_context(|| format!("extent `{s}`")))
        .collect::<Result<Vec<_>>>()?;
    let (order, code) = descr.split_at_checked(1).context("an empty element type")?;
    let (_, dtype) =
        *KINDS.iter().find(|(c, _)| *c == code).ok_or_else(|| anyhow!("element type `{descr}` is not supported"))?;
    let n = egret::ir::tensor::len_elems(&shape)?;
    let size = dtype.size_bytes();
    ensure!(Some(data.len()) == n.checked_mul(size), "{} bytes of data for {dtype}{shape:?}", data.len());
    let mut aligned = AlignedBytes::copy_of(data);
    if order == ">" {
        // The parts of a complex number are swapped one by one.
        let unit = if matches!(dtype, DType::C64 | DType::C128) { size / 2 } else { size };
        aligned.as_mut_slice().chunks_exact_mut(unit).for_each(<[u8]>::reverse);
    }
    if dtype == DType::Bool {
        aligned.as_mut_slice().iter_mut().for_each(|b| *b = u8::from(*b != 0));
    }
    if !fortran || shape.len() < 2 {
        return Ok(Tensor::from_aligned(dtype, &shape, aligned)?);
    }
    let mut strides = vec![1; shape.len()];
    for axis in 1..shape.len() {
        strides[axis] = strides[axis - 1] * shape[axis - 1];
    }
    let stored = Tensor::from_aligned(dtype, &[n], aligned)?;
    let from = egret::ir::tensor::indices(&shape).map(|i| i.iter().zip(&strides).map(|(i, s)| i * s).sum());
    Ok(stored.take(&shape, from)?)
}

/// The text of one entry of the header, a Python dictionary of a string, a truth value and a tuple of integers.
fn field<'a>(header: &'a str, name: &str) -> Result<&'a str> {
    let missing = || anyhow!("the header has no `{name}`");
    let at = header.find(&format!("'{name}'")).ok_or_else(missing)?;
    let rest = header[at + name.len() + 2..].trim_start().strip_prefix(':').ok_or_else(missing)?.trim_start();
    let end = if rest.starts_with('(') { rest.find(')').map(|i| i + 1) } else { rest.find([',', '}']) };
    Ok(rest[..end.ok_or_else(missing)?].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_come_back_as_they_went() {
        for shape in [vec![], vec![3], vec![2, 3], vec![0, 4]] {
            for (_, dtype) in KINDS {
                let t = Tensor::zeros(dtype, &shape).unwrap();
                let bytes = encode(&t).unwrap();
                assert_eq!((bytes.len() - t.bytes().len()) % 64, 0);
                assert_eq!(decode(&bytes).unwrap(), t);
            }
        }
        assert!(encode(&Tensor::zeros(DType::BF16, &[1]).unwrap()).is_err());
    }

    #[test]
    fn headers_are_numpys() {
        let text = |shape: &[usize]| {
            String::from_utf8_lossy(&encode(&Tensor::zeros(DType::F32, shape).unwrap()).unwrap()[10..]).into_owned()
        };
        assert!(text(&[]).starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (), }"));
        assert!(text(&[3]).starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }"));
        assert!(text(&[3, 4]).starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }"));
    }

    #[test]
    fn other_orders_are_put_right() {
        let file = |descr: &str, fortran: &str, shape: &str, data: &[u8]| {
            let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
            let mut out = [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
            out.extend(data);
            out
        };
        let t = decode(&file(">i2", "False", "(2,)", &[0, 1, 1, 0])).unwrap();
        assert_eq!(t.ints().unwrap(), [1, 256]);
        let t = decode(&file("|u1", "True", "(2, 3)", &[1, 4, 2, 5, 3, 6])).unwrap();
        assert_eq!(t.ints().unwrap(), [1, 2, 3, 4, 5, 6]);
        assert!(decode(&file("|u1", "False", "(4,)", &[1])).is_err());
        assert!(decode(&file("|O", "False", "(1,)", &[1])).is_err());
        assert!(decode(b"\x93NUMPY\x01").is_err());
    }
}
