//! Images (PNG, JPEG) as model inputs: values 0 to 1, in the layout and size that the model's declared type asks for; and
//! outputs as images.
//!
//! One channel is grayscale, three are red, green, blue; `[n, c, h, w]` and `[n, h, w, c]` are told apart by where the 1 or
//! 3 stands. Normalisation by mean and deviation is the model's own affair and not guessed.

use anyhow::{Context, Result, bail};
use egret::ir::{Dim, Shape};
use egret::{DType, Tensor, Type};
use image::imageops::{FilterType, resize};
use std::path::Path;

/// Whether a file is an image by its name.
pub(super) fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|e| ["png", "jpg", "jpeg"].iter().any(|k| e.eq_ignore_ascii_case(k)))
}

/// Where the axes of an image stand in a declared type.
#[derive(Debug, PartialEq)]
struct Layout {
    channels: usize,
    channels_last: bool,
    /// Declared height and width, where they are numbers.
    size: (Option<u32>, Option<u32>),
    rank: usize,
}

impl Layout {
    fn of(ty: &Type) -> Result<(DType, Layout)> {
        let wrong = || format!("an image needs a tensor [n, c, h, w] or [n, h, w, c] with 1 or 3 channels, not {ty}");
        let t = ty.as_tensor().with_context(wrong)?;
        let (Shape::Ranked(dims), true) = (&t.shape, t.dtype.is_number()) else { bail!(wrong()) };
        let rank = dims.len();
        if !(2..=4).contains(&rank) {
            bail!(wrong());
        }
        let number = |d: &Dim| d.as_int().and_then(|v| u32::try_from(v).ok());
        let channels = |d: &Dim| d.as_int().filter(|v| [1, 3].contains(v)).map(|v| v as usize);
        let layout = |channels, channels_last, h: &Dim, w: &Dim| Layout {
            channels,
            channels_last,
            size: (number(h), number(w)),
            rank,
        };
        let d = &dims[rank.saturating_sub(3)..];
        Ok((
            t.dtype,
            match d {
                [h, w] => layout(1, false, h, w),
                [c, h, w] if channels(c).is_some() => layout(channels(c).unwrap_or(1), false, h, w),
                [h, w, c] if channels(c).is_some() => layout(channels(c).unwrap_or(1), true, h, w),
                _ => bail!(wrong()),
            },
        ))
    }
}

/// Reads an image for an input of this type; says in `remark` when it had to be resized.
pub(super) fn read(path: &Path, ty: &Type, remark: &mut dyn FnMut(String)) -> Result<Tensor> {
    let (dtype, layout) = Layout::of(ty)?;
    let picture = image::open(path).with_context(|| path.display().to_string())?;
    let (w, h) = (picture.width(), picture.height());
    let (want_h, want_w) = (layout.size.0.unwrap_or(h), layout.size.1.unwrap_or(w));
    if (want_h, want_w) != (h, w) {
        remark(format!("{}: resized from {w}x{h} to {want_w}x{want_h}", path.display()));
    }
    // Bytes with the channels last, row by row.
    let pixels: Vec<u8> = match layout.channels {
        1 => resize(&picture.into_luma8(), want_w, want_h, FilterType::Triangle).into_raw(),
        _ => resize(&picture.into_rgb8(), want_w, want_h, FilterType::Triangle).into_raw(),
    };
    let (h, w, c) = (want_h as usize, want_w as usize, layout.channels);
    let inner = match (layout.rank, layout.channels_last) {
        (2, _) => vec![h, w],
        (_, true) => vec![h, w, c],
        (_, false) => vec![c, h, w],
    };
    let mut shape = vec![1; layout.rank - inner.len()];
    shape.extend(inner);
    // Integer models take bytes as they are.
    let scale = if dtype.is_float() { 255.0 } else { 1.0 };
    let at = |i: usize| match layout.channels_last {
        true => i,
        false => i % (h * w) * c + i / (h * w),
    };
    Ok(Tensor::from_floats(dtype, &shape, (0..pixels.len()).map(|i| f64::from(pixels[at(i)]) / scale)))
}

/// Writes a tensor as a picture: `[…, c, h, w]`, `[…, h, w, c]` or `[h, w]` with one image, floats from 0 to 1 (what lies
/// outside is cut off), integers from 0 to 255.
pub(super) fn write(path: &Path, t: &Tensor) -> Result<()> {
    let (dtype, layout) = Layout::of(&Type::tensor(t.dtype(), t.shape()))?;
    let (Some(h), Some(w)) = layout.size else { bail!("a picture has extents") };
    let pixels = h as usize * w as usize;
    if t.len() != pixels * layout.channels {
        bail!("{} is one picture a file, this is {:?}", path.display(), t.shape());
    }
    let scale = if dtype.is_float() { 255.0 } else { 1.0 };
    let all = t.floats()?;
    let at = |i: usize| match layout.channels_last {
        true => i,
        false => i % layout.channels * pixels + i / layout.channels,
    };
    let bytes: Vec<u8> = (0..all.len()).map(|i| (all[at(i)] * scale).round().clamp(0.0, 255.0) as u8).collect();
    let color = if layout.channels == 1 { image::ExtendedColorType::L8 } else { image::ExtendedColorType::Rgb8 };
    image::save_buffer(path, &bytes, w, h, color).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_told_apart_by_the_channels() {
        let of = |shape: &[usize]| Layout::of(&Type::tensor(DType::F32, shape));
        let (_, l) = of(&[1, 3, 8, 9]).unwrap();
        assert_eq!(l, Layout { channels: 3, channels_last: false, size: (Some(8), Some(9)), rank: 4 });
        assert!(of(&[1, 8, 9, 3]).unwrap().1.channels_last);
        assert_eq!(of(&[8, 9]).unwrap().1.channels, 1);
        assert!(of(&[1, 5, 8, 8]).is_err());
        assert!(of(&[3]).is_err());
    }

    #[test]
    fn colours_go_to_planes() {
        let path = std::env::temp_dir().join(format!("egret-image-{}.png", std::process::id()));
        image::RgbImage::from_raw(2, 1, vec![255, 0, 51, 0, 255, 102]).unwrap().save(&path).unwrap();
        let mut remarks = Vec::new();
        let t = read(&path, &Type::tensor(DType::F32, &[1, 3, 1, 2]), &mut |r| remarks.push(r)).unwrap();
        assert_eq!(&*t.slice::<f32>().unwrap(), [1.0, 0.0, 0.0, 1.0, 0.2, 0.4]);
        assert!(remarks.is_empty());
        let again = path.with_extension("again.png");
        write(&again, &t).unwrap();
        assert_eq!(read(&again, &Type::tensor(DType::F32, &[1, 3, 1, 2]), &mut |_| {}).unwrap(), t);
        assert!(write(&again, &Tensor::from_slice(&[2, 1, 1, 1], &[0f32, 1.0])).is_err());
        let t = read(&path, &Type::tensor(DType::U8, &[1, 2, 4, 3]), &mut |r| remarks.push(r)).unwrap();
        assert_eq!(t.shape(), [1, 2, 4, 3]);
        assert_eq!(remarks.len(), 1);
    }
}
