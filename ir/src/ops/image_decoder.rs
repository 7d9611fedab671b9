//! `image: u8[h, w, c]` of an encoded picture, `c` being 3, or 1 for `Grayscale`.
//!
//! - **C1** `encoded_stream` is `u8` of rank 1
//! - **C2** `pixel_format` is `RGB`, `BGR` or `Grayscale`
//!
//! Formats: BMP, JPEG, PNG, PNM, TIFF, WebP, by the crate `image`; transparency is dropped, 16-bit samples are rounded to
//! 8. JPEG 2000 is recognised and refused. A stream that cannot be decoded gives an image without rows, as the
//! specification says. Grey is `0.299 R + 0.587 G + 0.114 B` in 16-bit fixed point, rounded (ITU-R BT.601; so does
//! Pillow, on which ONNX's reference rests). Extents depend on data. ONNX `ImageDecoder`: opset 20.

use super::common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;
use image::{DynamicImage, ImageError, ImageReader, Limits};
use std::io::Cursor;

attributes! {
    /// Attributes of `ImageDecoder`.
    pub struct ImageDecoder {
        /// `RGB`, `BGR` or `Grayscale`.
        pixel_format: String = "RGB",
    }
}

/// First bytes of JPEG 2000: its file format, and a bare code stream.
const JPEG_2000: [&[u8]; 2] = [b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51"];

/// The picture, none where the stream is none.
fn decode(bytes: &[u8], limit_bytes: usize) -> Result<Option<DynamicImage>> {
    if JPEG_2000.iter().any(|magic| bytes.starts_with(magic)) {
        return Err(Error::unsupported("the picture is JPEG 2000, which is not decoded here"));
    }
    let Ok(mut reader) = ImageReader::new(Cursor::new(bytes)).with_guessed_format() else { return Ok(None) };
    let mut limits = Limits::default();
    limits.max_alloc = Some(limit_bytes as u64);
    reader.limits(limits);
    match reader.decode() {
        Ok(image) => Ok(Some(image)),
        Err(ImageError::Limits(e)) => {
            Err(Error::limit(format!("the picture: {e} (limit {limit_bytes} bytes a value)")))
        }
        Err(_) => Ok(None),
    }
}

/// Brightness of a colour.
fn grey([r, g, b]: [u8; 3]) -> u8 {
    let [r, g, b] = [r, g, b].map(u32::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}

impl Op for ImageDecoder {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, &[DType::U8])?;
        let rank = cx.rank(0)?;
        cx.require("C1", rank == 1, || format!("the stream has rank {rank}"))?;
        let known = matches!(self.pixel_format.as_str(), "RGB" | "BGR" | "Grayscale");
        cx.require("C2", known, || format!("`pixel_format` is \"{}\"", self.pixel_format))?;
        let channels = if self.pixel_format == "Grayscale" { 1 } else { 3 };
        let shape = vec![cx.fresh(), cx.fresh(), Dim::int(channels)];
        cx.output(DType::U8, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let channels = if self.pixel_format == "Grayscale" { 1 } else { 3 };
        let Some(image) = decode(cx.tensor(0)?.bytes(), cx.env.limits.value_bytes)? else {
            cx.push(Tensor::zeros(DType::U8, &[0, 0, channels])?);
            return Ok(());
        };
        let (w, h) = (image.width() as usize, image.height() as usize);
        let rgb = image.into_rgb8();
        let pixels = rgb.pixels().map(|p| p.0);
        let bytes: Vec<u8> = match self.pixel_format.as_str() {
            "Grayscale" => pixels.map(grey).collect(),
            "BGR" => pixels.flat_map(|[r, g, b]| [b, g, r]).collect(),
            _ => rgb.into_raw(),
        };
        cx.push(Tensor::from_slice(&[h, w, channels], &bytes));
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Exact, ..Facts::default() }
    }
}

op! {
    ImageDecoder in "ai.onnx" since [20]; "encoded_stream" => "image";
    summary: "picture of a file's bytes";
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    /// Two pixels, red and white, as PPM.
    const PPM: &[u8] = b"P6 2 1 255\n\xff\x00\x00\xff\xff\xff";

    fn go(format: &str, bytes: &[u8]) -> Result<Tensor> {
        run1("ImageDecoder", attrs! { pixel_format: format }, &[Tensor::from_slice(&[bytes.len()], bytes)])
    }

    #[test]
    fn image_decoder_orders_channels() {
        let bytes = |f: &str| go(f, PPM).unwrap();
        assert_eq!(bytes("RGB"), Tensor::from_slice(&[1, 2, 3], &[255u8, 0, 0, 255, 255, 255]));
        assert_eq!(bytes("BGR"), Tensor::from_slice(&[1, 2, 3], &[0u8, 0, 255, 255, 255, 255]));
        assert_eq!(bytes("Grayscale"), Tensor::from_slice(&[1, 2, 1], &[76u8, 255]));
    }

    #[test]
    fn image_decoder_of_no_picture_is_empty() {
        for bytes in [&b""[..], b"nothing", &PPM[..PPM.len() - 1], b"\x89PNG\r\n\x1a\n"] {
            assert_eq!(go("RGB", bytes).unwrap().shape(), [0, 0, 3], "{bytes:?}");
        }
        assert_eq!(go("RGB", JPEG_2000[0]).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn image_decoder_constraints_are_named() {
        let bad =
            |f: &str, s: &[usize]| violated("ImageDecoder", attrs! { pixel_format: f }, &[Type::tensor(DType::U8, s)]);
        assert_eq!(bad("RGB", &[1, 1]).as_deref(), Some("ImageDecoder.C1"));
        assert_eq!(bad("CMYK", &[1]).as_deref(), Some("ImageDecoder.C2"));
    }
}
