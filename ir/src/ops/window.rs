//! Sliding windows: the geometry that convolutions and poolings share, once as terms (for rules) and once as numbers
//! (for evaluation and lowering).
//!
//! With kernel `k`, dilation `d`, stride `s` and padding `p`, a window spans `e = (k - 1) d + 1` and there are
//! `floor((n + p_begin + p_end - e) / s) + 1` of them; with `ceil_mode` the quotient is rounded up, and a last window
//! that would start in the padding behind the input is left out. Source: ONNX `Conv` and `MaxPool`.

use super::common::*;
use crate::error::{Error, Result};
use crate::rule::{RuleCx, RuleResult};

/// Window attributes as a node states them.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// `NOTSET`, `SAME_UPPER`, `SAME_LOWER` or `VALID`; anything but `NOTSET` overrides `pads`.
    pub auto_pad: &'a str,
    /// One a spatial axis, default 1.
    pub strides: Option<&'a [Dim]>,
    /// One a spatial axis, default 1.
    pub dilations: Option<&'a [Dim]>,
    /// All begins, then all ends, default 0.
    pub pads: Option<&'a [Dim]>,
    /// Whether the number of windows is rounded up.
    pub ceil: bool,
}

/// The [`Window`] of an operator with the attributes that they share, the number of windows rounded up or not.
macro_rules! window {
    ($op:expr, ceil = $ceil:expr) => {
        $crate::ops::window::Window {
            auto_pad: &$op.auto_pad,
            strides: $op.strides.as_deref(),
            dilations: $op.dilations.as_deref(),
            pads: $op.pads.as_deref(),
            ceil: $ceil,
        }
    };
}
pub(crate) use window;

/// One spatial axis as terms.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Input extent.
    pub extent: Dim,
    /// Kernel extent.
    pub kernel: Dim,
    /// Step between windows.
    pub stride: Dim,
    /// Step within a window.
    pub dilation: Dim,
    /// Padding before the input.
    pub begin: Dim,
    /// Padding behind the input.
    pub end: Dim,
    /// Number of windows.
    pub out: Dim,
}

/// One spatial axis as numbers.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    /// Input extent.
    pub extent: usize,
    /// Kernel extent.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Step within a window.
    pub dilation: usize,
    /// Padding before the input.
    pub begin: usize,
    /// Padding behind the input.
    pub end: usize,
    /// Number of windows.
    pub out: usize,
}

/// The convolution of `n` images over these axes, for a lowering: `c` input and `m` output channels a group, no bias, not
/// transposed.
pub fn lowered(axes: &[Fixed], n: usize, groups: usize, c: usize, m: usize) -> crate::lower::Conv {
    let of = |f: fn(&Fixed) -> usize| axes.iter().map(f).collect();
    crate::lower::Conv {
        n,
        groups,
        c,
        m,
        input: of(|a| a.extent),
        kernel: of(|a| a.kernel),
        output: of(|a| a.out),
        strides: of(|a| a.stride),
        dilations: of(|a| a.dilation),
        pads: of(|a| a.begin),
        transposed: false,
        bias: false,
    }
}

/// The number that a term is.
///
/// # Errors
/// When it is none, or negative.
pub fn number(d: &Dim) -> Result<usize> {
    d.as_int().and_then(|v| usize::try_from(v).ok()).ok_or_else(|| Error::invalid(format!("{d} is no size")))
}

/// The numbers that terms are.
///
/// # Errors
/// As [`number`].
pub fn numbers(dims: &[Dim]) -> Result<Vec<usize>> {
    dims.iter().map(number).collect()
}

/// Splits padding: the odd cell goes behind for `SAME_UPPER`, before otherwise.
pub fn split_padding(total: &Dim, upper: bool) -> (Dim, Dim) {
    let half = total.floor_div(&Dim::int(2));
    let rest = total - &half;
    if upper { (half, rest) } else { (rest, half) }
}

/// Checks the length of a list attribute.
///
/// # Errors
/// A violation of `label`.
pub fn check_len(label: &'static str, what: &str, list: Option<&[Dim]>, want: usize) -> Result<()> {
    match list {
        Some(v) if v.len() != want => {
            Err(Error::violation(label, format!("`{what}` has {} elements, {want} are wanted", v.len())))
        }
        _ => Ok(()),
    }
}

/// Element `i` of a list attribute or `default`.
pub fn at(list: Option<&[Dim]>, i: usize, default: i64) -> Dim {
    list.and_then(|v| v.get(i)).cloned().unwrap_or(Dim::int(default))
}

impl Window<'_> {
    /// The axes for inputs of these extents.
    ///
    /// # Errors
    /// A violation of `label` where a list has the wrong length or `auto_pad` is not known.
    pub fn axes(&self, label: &'static str, extents: &[Dim], kernel: &[Dim]) -> Result<Vec<Axis>> {
        let r = extents.len();
        check_len(label, "kernel_shape", Some(kernel), r)?;
        check_len(label, "strides", self.strides, r)?;
        check_len(label, "dilations", self.dilations, r)?;
        check_len(label, "pads", self.pads, 2 * r)?;
        let mut axes = Vec::with_capacity(r);
        for i in 0..r {
            let (extent, kernel) = (extents[i].clone(), kernel[i].clone());
            let (stride, dilation) = (at(self.strides, i, 1), at(self.dilations, i, 1));
            let span = span(&kernel, &dilation);
            let (begin, end, out) = match self.auto_pad {
                "SAME_UPPER" | "SAME_LOWER" => {
                    let out = extent.ceil_div(&stride);
                    let total = (&out - 1) * &stride + &span - &extent;
                    let (begin, end) = split_padding(&Dim::max(&total, &Dim::ZERO), self.auto_pad == "SAME_UPPER");
                    (begin, end, out)
                }
                "VALID" => (Dim::ZERO, Dim::ZERO, self.count(&extent, &Dim::ZERO, &(&extent - &span), &stride)),
                "NOTSET" | "" => {
                    let (begin, end) = (at(self.pads, i, 0), at(self.pads, r + i, 0));
                    let room = &extent + &begin + &end - &span;
                    let out = self.count(&extent, &begin, &room, &stride);
                    (begin, end, out)
                }
                other => return Err(Error::violation(label, format!("`auto_pad` is \"{other}\""))),
            };
            axes.push(Axis { extent, kernel, stride, dilation, begin, end, out });
        }
        Ok(axes)
    }

    fn count(&self, extent: &Dim, begin: &Dim, room: &Dim, stride: &Dim) -> Dim {
        if !self.ceil {
            return room.floor_div(stride) + 1;
        }
        let out = room.ceil_div(stride) + 1;
        let behind = Cond::le(&(extent + begin), &((&out - 1) * stride));
        Dim::select(&behind, &(&out - 1), &out)
    }

    /// The axes for a rule: sizes positive, padding not negative, the window not larger than the padded input.
    pub fn rule(
        &self,
        cx: &mut RuleCx<'_>,
        label: &'static str,
        extents: &[Dim],
        kernel: &[Dim],
    ) -> RuleResult<Vec<Axis>> {
        let axes = self.axes(label, extents, kernel)?;
        for a in &axes {
            for d in [&a.kernel, &a.stride, &a.dilation] {
                cx.require_that(label, Cond::le(&Dim::ONE, d))?;
            }
            for d in [&a.begin, &a.end] {
                cx.require_that(label, Cond::le(&Dim::ZERO, d))?;
            }
            let padded = &a.extent + &a.begin + &a.end;
            cx.require_that(label, Cond::le(&span(&a.kernel, &a.dilation), &padded))?;
        }
        Ok(axes)
    }

    /// The axes as numbers.
    ///
    /// # Errors
    /// When an attribute is no number.
    pub fn fixed(&self, extents: &[usize], kernel: &[usize]) -> Result<Vec<Fixed>> {
        let dims = |v: &[usize]| v.iter().map(|&n| Dim::from(n)).collect::<Vec<_>>();
        self.axes("", &dims(extents), &dims(kernel))?.iter().map(Axis::fixed).collect()
    }
}

/// `(kernel - 1) * dilation + 1`.
pub fn span(kernel: &Dim, dilation: &Dim) -> Dim {
    (kernel - 1) * dilation + 1
}

impl Axis {
    /// The axis as numbers.
    ///
    /// # Errors
    /// When a term is no number.
    pub fn fixed(&self) -> Result<Fixed> {
        Ok(Fixed {
            extent: number(&self.extent)?,
            kernel: number(&self.kernel)?,
            stride: number(&self.stride)?,
            dilation: number(&self.dilation)?,
            begin: number(&self.begin)?,
            end: number(&self.end)?,
            out: number(&self.out)?,
        })
    }
}

impl Fixed {
    /// For window `o`: (position in the kernel, position in the input), those outside the input left out.
    fn taps(&self, o: usize) -> Vec<(usize, usize)> {
        (0..self.kernel)
            .filter_map(|k| {
                let i = (o * self.stride + k * self.dilation).checked_sub(self.begin)?;
                (i < self.extent).then_some((k, i))
            })
            .collect()
    }

    /// Positions of window `o` that lie in the input or its padding.
    pub fn padded_taps(&self, o: usize) -> usize {
        let padded = self.begin + self.extent + self.end;
        (0..self.kernel).filter(|k| o * self.stride + k * self.dilation < padded).count()
    }
}

/// Calls `f` for each window, row-major, with its index and its taps: linear positions in the kernel and in the input.
///
/// # Errors
/// What `f` reports.
pub fn for_each_window(axes: &[Fixed], mut f: impl FnMut(&[usize], &[(usize, usize)]) -> Result<()>) -> Result<()> {
    let per_axis: Vec<Vec<Vec<(usize, usize)>>> =
        axes.iter().map(|a| (0..a.out).map(|o| a.taps(o)).collect()).collect();
    let out: Vec<usize> = axes.iter().map(|a| a.out).collect();
    for index in indices(&out) {
        let mut taps = vec![(0usize, 0usize)];
        for ((axis, &o), lists) in axes.iter().zip(&index).zip(&per_axis) {
            let list = &lists[o];
            let mut next = Vec::with_capacity(taps.len() * list.len());
            for &(k0, i0) in &taps {
                next.extend(list.iter().map(|&(k, i)| (k0 * axis.kernel + k, i0 * axis.extent + i)));
            }
            taps = next;
        }
        f(&index, &taps)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Window<'static> =
        Window { auto_pad: "NOTSET", strides: None, dilations: None, pads: None, ceil: false };

    #[test]
    fn same_upper_puts_the_odd_cell_behind() {
        let w = Window { auto_pad: "SAME_UPPER", ..PLAIN };
        let a = w.fixed(&[5], &[2]).unwrap()[0];
        assert_eq!((a.begin, a.end, a.out), (0, 1, 5));
        let w = Window { auto_pad: "SAME_LOWER", ..PLAIN };
        assert_eq!(w.fixed(&[5], &[2]).unwrap()[0].begin, 1);
    }

    #[test]
    fn ceil_mode_drops_a_window_that_starts_behind_the_input() {
        let (s, p) = ([Dim::int(2)], [Dim::int(1), Dim::int(1)]);
        let w = Window { strides: Some(&s), pads: Some(&p), ceil: true, ..PLAIN };
        assert_eq!(w.fixed(&[3], &[2]).unwrap()[0].out, 2);
        assert_eq!(w.fixed(&[4], &[3]).unwrap()[0].out, 3);
    }

    #[test]
    fn taps_leave_out_padding() {
        let p = [Dim::int(1), Dim::int(0)];
        let w = Window { pads: Some(&p), ..PLAIN };
        let axes = w.fixed(&[2], &[2]).unwrap();
        let mut seen = vec![];
        for_each_window(&axes, |_, t| {
            seen.push(t.to_vec());
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [vec![(1, 0)], vec![(0, 0), (1, 1)]]);
    }
}
