//! Convolution over 1 to 3 spatial axes with groups, strides, dilations and pads, in plain `[n, c, d, h, w]` layout.
//!
//! Implicit GEMM: per image and group, `out[oc, pixel] = weights[oc, (c, taps)] * patches[(c, taps), pixel]`. Constant
//! weights are put in the order of use when the model is compiled, so that they stream; others are read in place. Each unit of work packs the patches of some output rows and channels
//! into scratch that stays in the second-level cache, so nothing of the size of an im2col matrix exists, and the output
//! is written once, contiguous, with the epilogue in registers. With channels innermost (`conv_last`) nothing is packed;
//! wide vectors have that form wherever layouts can be changed.
//!
//! Because the extents of a row are known, where padding begins in it is known for each tap: packing is straight vector
//! copies without tests inside a row.
//!
//! Buffers: image `[n, c, ..]`, weights `[oc, c / groups, ..]` (packed if the plan says so), output `[n, oc, ..]`, scratch, then the epilogue's
//! operands; batch axes of the epilogue are image and group, its rows the output channels of a group, its columns the
//! output pixels.

use super::conv_last::{self, LastWeights};
use super::conv_last_winograd::{self, LastWinogradWeights};
use super::conv_winograd::{self, WinogradWeights};
use super::epilogue::Epilogue;
use super::gemm::{self, L2_BUDGET_BYTES, MAX_UNITS, MIN_UNIT_FLOPS};
use super::gemm_block::{BSource, BatchAxis, Blocked, PackRequest};
use super::gemm_tile::{self, RowSplit, TileShape};
use super::{KernelPlan, PackedLhs, conv_depthwise, conv_last_depthwise, has_products};
use crate::builder::{BinOp, Builder, CmpOp, Elem, Target, Ty, Val};
use crate::error::CodegenError;

/// Steps of k that one block of packed patches aims at.
const K_BLOCK: usize = 160;

/// Vectors of a row that packing copies in straight code; longer rows use a loop.
const MAX_STRAIGHT_VECS: usize = 16;

/// One spatial axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvAxis {
    /// Extent of the image.
    pub input: usize,
    /// Extent of the output.
    pub output: usize,
    /// Extent of the kernel.
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Zeros before the first element.
    pub pad_begin: usize,
}

impl ConvAxis {
    /// The axis with the output extent that the pads give, `None` if the kernel does not fit or a step is 0.
    pub fn new(
        input: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
        pad_begin: usize,
        pad_end: usize,
    ) -> Option<ConvAxis> {
        let reach = dilation.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
        let room = input.checked_add(pad_begin)?.checked_add(pad_end)?.checked_sub(reach)?;
        let output = room.checked_div(stride)? + 1;
        (dilation > 0).then_some(ConvAxis { input, output, kernel, stride, dilation, pad_begin })
    }

    /// An axis of extent 1 that changes nothing.
    pub const UNIT: ConvAxis = ConvAxis { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad_begin: 0 };

    /// Whether output and image coincide.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.pad_begin == 0 && self.input == self.output
    }

    /// Outputs `lo..hi` whose tap `tap` lies inside the image, and the image position of output `lo`.
    pub(crate) fn inside(&self, tap: usize) -> (usize, usize, usize) {
        let shift = tap * self.dilation;
        let lo = self.pad_begin.saturating_sub(shift).div_ceil(self.stride).min(self.output);
        let hi = (self.input + self.pad_begin).saturating_sub(shift).div_ceil(self.stride).min(self.output).max(lo);
        (lo, hi, (lo * self.stride + shift).saturating_sub(self.pad_begin))
    }
}

/// A convolution with concrete sizes.
#[derive(Clone, Debug)]
pub struct ConvDesc {
    /// `F32`, `F64`, or `I32` for pairs of 16-bit numbers: then channels of image and weights count pairs.
    pub elem: Elem,
    /// Images.
    pub n: usize,
    pub groups: usize,
    /// Channels of the image, a multiple of `groups`.
    pub in_channels: usize,
    /// Channels of the output, a multiple of `groups`.
    pub out_channels: usize,
    /// 1 to 3 spatial axes, outermost first.
    pub axes: Vec<ConvAxis>,
    /// Whether the weights are known when the model is compiled, so that they can be packed.
    pub constant_weights: bool,
    /// Output tile of Winograd's form, 2 or 4, to be used where it exists (3x3, stride and dilation 1, constant weights; in
    /// plain layout 128-bit vectors); 0 for the direct form. 4 errs about ten times as much as the direct form.
    pub winograd: usize,
    pub epilogue: Epilogue,
}

/// What [`plan`] returns.
#[derive(Clone, Debug)]
pub struct ConvPlan {
    pub plan: KernelPlan,
    /// How to pack constant weights; `None` where the kernel reads the ONNX layout.
    pub packed: Option<PackedWeights>,
}

/// The layout of constant weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackedWeights(Form);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// `[oc][c][taps]` of each group in the order of use.
    Tiles {
        layout: PackedLhs,
        groups: usize,
    },
    /// `[c][oc][taps]` of each group, in blocks of output channels, each in the order of use (transposed convolution).
    TilesOfTransposed {
        layout: PackedLhs,
        groups: usize,
        blocks: usize,
    },
    Winograd(WinogradWeights),
    Last(LastWeights),
    LastWinograd(LastWinogradWeights),
}

impl PackedWeights {
    pub(crate) fn transposed(layout: PackedLhs, groups: usize, blocks: usize) -> PackedWeights {
        PackedWeights(Form::TilesOfTransposed { layout, groups, blocks })
    }

    /// Elements of all packed weights.
    pub fn len_elems(&self) -> usize {
        match self.0 {
            Form::Tiles { layout, groups } => layout.len_elems() * groups,
            Form::TilesOfTransposed { layout, groups, blocks } => layout.len_elems() * groups * blocks,
            Form::Winograd(weights) => weights.len_elems(),
            Form::Last(weights) => weights.len_elems(),
            Form::LastWinograd(weights) => weights.len_elems(),
        }
    }

    /// Packs the whole weight tensor from its ONNX layout.
    ///
    /// # Errors
    /// If a length is wrong.
    pub fn pack<T: Weight>(&self, src: &[T], dst: &mut [T]) -> Result<(), CodegenError> {
        self.pack_reporting(src, dst, &mut |_| {})
    }

    /// As [`PackedWeights::pack`]; `done` hears, as it goes, how many leading elements of `src` will not be read again.
    ///
    /// # Errors
    /// As [`PackedWeights::pack`].
    pub fn pack_reporting<T: Weight>(
        &self,
        src: &[T],
        dst: &mut [T],
        done: &mut dyn FnMut(usize),
    ) -> Result<(), CodegenError> {
        let src_len = match self.0 {
            Form::Winograd(weights) => weights.src_len_elems(),
            Form::Last(weights) => weights.src_len_elems(),
            Form::LastWinograd(weights) => weights.src_len_elems(),
            _ => self.len_elems(),
        };
        if src.len() != src_len || dst.len() != self.len_elems() {
            let text = format!("packing {self:?} from {} into {} elements", src.len(), dst.len());
            return Err(CodegenError::Invalid(text));
        }
        match self.0 {
            Form::Winograd(weights) => weights.pack(src, dst),
            Form::Last(weights) => weights.pack(src, dst, done),
            Form::LastWinograd(weights) => weights.pack(src, dst, done),
            Form::Tiles { layout, .. } => {
                let len = layout.len_elems().max(1);
                for (g, (from, to)) in src.chunks_exact(len).zip(dst.chunks_exact_mut(len)).enumerate() {
                    layout.pack_reporting(from, layout.k, 1, to, &mut |n| done(g * len + n))?;
                }
            }
            Form::TilesOfTransposed { layout, blocks, .. } => {
                let len = layout.len_elems().max(1);
                for (i, to) in dst.chunks_exact_mut(len).enumerate() {
                    let from = &src[i / blocks * blocks * len + i % blocks * layout.m..];
                    layout.pack(from, 1, layout.m * blocks, to)?;
                }
            }
        }
        Ok(())
    }
}

/// What weights are packed as: numbers, or their bytes where they lie unaligned in a file.
pub trait Weight: Copy + Default {
    /// From a number.
    fn of(v: f32) -> Self;
    /// The number.
    fn number(self) -> f32;
}

impl Weight for f32 {
    fn of(v: f32) -> f32 {
        v
    }
    fn number(self) -> f32 {
        self
    }
}

impl Weight for [u8; 4] {
    fn of(v: f32) -> [u8; 4] {
        v.to_ne_bytes()
    }
    fn number(self) -> f32 {
        f32::from_ne_bytes(self)
    }
}

impl ConvDesc {
    pub(crate) fn check(&self) -> Result<(), CodegenError> {
        let invalid = |text: String| Err(CodegenError::Invalid(text));
        if !has_products(self.elem) {
            return Err(CodegenError::Unsupported(format!("convolution of {:?}", self.elem)));
        }
        if !(1..=3).contains(&self.axes.len()) {
            return Err(CodegenError::Unsupported(format!("convolution over {} spatial axes", self.axes.len())));
        }
        let divides = |channels: usize| self.groups > 0 && channels.is_multiple_of(self.groups);
        if !divides(self.in_channels) || !divides(self.out_channels) {
            return invalid(format!(
                "{} groups for {} input and {} output channels",
                self.groups, self.in_channels, self.out_channels
            ));
        }
        if self.axes.iter().any(|axis| axis.stride == 0 || axis.dilation == 0 || axis.kernel == 0) {
            return invalid(format!("a stride, dilation or kernel of 0 in {:?}", self.axes));
        }
        match self.epilogue.operands.iter().find(|op| op.col_stride > 1 || op.batch_strides.len() != 2) {
            Some(operand) => invalid(format!("epilogue operand {operand:?}; batch axes are image and group")),
            None => Ok(()),
        }
    }

    /// The spatial axes as `[d, h, w]`.
    pub(crate) fn axes3(&self) -> [ConvAxis; 3] {
        let mut axes = [ConvAxis::UNIT; 3];
        axes[3 - self.axes.len()..].copy_from_slice(&self.axes);
        axes
    }

    pub(crate) fn image_len(&self) -> usize {
        self.axes.iter().map(|axis| axis.input).product()
    }

    pub(crate) fn output_len(&self) -> usize {
        self.axes.iter().map(|axis| axis.output).product()
    }

    pub(crate) fn n_taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.kernel).product()
    }
}

/// Output tile of Winograd's form, of at most the size that a convolution asks for, that takes the least time where image and
/// result have their channels innermost; 0 for the direct form.
pub fn last_winograd_tile(desc: &ConvDesc, target: Target) -> usize {
    conv_last_winograd::best_tile(desc, target)
}

/// Makes the kernel for a convolution by constant weights whose result has its channels innermost, and its image where
/// `image_last` says so; batch axes of the epilogue are image and group, its rows the output pixels, its columns the output
/// channels of a group.
pub fn plan_last(desc: &ConvDesc, image_last: bool, target: Target) -> Result<ConvPlan, CodegenError> {
    if image_last && desc.winograd > 0 && conv_winograd::applies(desc) {
        let (plan, weights) = conv_last_winograd::plan(desc, desc.winograd, target)?;
        return Ok(ConvPlan { plan, packed: Some(PackedWeights(Form::LastWinograd(weights))) });
    }
    let (plan, weights) = match image_last && conv_last_depthwise::applies(desc) {
        true => conv_last_depthwise::plan(desc, target)?,
        false => conv_last::plan(desc, image_last, target)?,
    };
    Ok(ConvPlan { plan, packed: Some(PackedWeights(Form::Last(weights))) })
}

/// Makes the kernel for a convolution.
pub fn plan(desc: &ConvDesc, target: Target) -> Result<ConvPlan, CodegenError> {
    desc.check()?;
    if desc.in_channels == desc.groups && desc.groups > 1 && desc.output_len() > 1 {
        return Ok(ConvPlan { plan: conv_depthwise::plan(desc, target)?, packed: None });
    }
    if desc.winograd > 0 && target == target.narrow() && conv_winograd::applies(desc) {
        let (plan, weights) = conv_winograd::plan(desc, desc.winograd, target)?;
        return Ok(ConvPlan { plan, packed: Some(PackedWeights(Form::Winograd(weights))) });
    }
    let (elem, n_taps, pixels) = (desc.elem, desc.n_taps(), desc.output_len());
    let (m, channels) = (desc.out_channels / desc.groups, desc.in_channels / desc.groups);
    let k = channels * n_taps;
    let lanes = target.lanes * 4 / elem.size_bytes();
    let tile = gemm_tile::choose(m, pixels, elem, target);
    let pointwise = desc.axes.iter().all(ConvAxis::is_pointwise);
    let shape = UnitShape::choose(desc, tile, tile.vecs * lanes, if pointwise { 1 } else { n_taps }, pointwise);
    let image_len = desc.image_len();
    let packer = Packer { elem, axes: desc.axes3(), image_len };
    let pack = |b: &mut Builder, r: &PackRequest| {
        if pointwise {
            gemm::copy_rows(b, elem, image_len, r);
            r.dst
        } else {
            packer.pack(b, r)
        }
    };
    let blocked = Blocked {
        elem,
        m,
        n: pixels,
        k,
        tile,
        batch: vec![
            BatchAxis { len: desc.n, a: 0, b: desc.in_channels * image_len, c: desc.out_channels * pixels },
            BatchAxis { len: desc.groups, a: m * k, b: channels * image_len, c: m * pixels },
        ],
        a_row: k,
        a_k: 1,
        a_packed: desc.constant_weights,
        b: BSource::Scratch { pack: &pack, row_cols: shape.row_cols },
        c_row: pixels,
        k_block: shape.k_block,
        tiles_per_unit: shape.tiles,
        panels_per_unit: shape.panels,
        panels_outer: false,
        a_is_rhs: true,
        epilogue: &desc.epilogue,
    };
    let plan = blocked.plan(format!("conv_{}x{k}x{pixels}", desc.out_channels), target)?;
    let packed = desc.constant_weights.then(|| {
        let layout = PackedLhs::new(m, k, shape.k_block, tile.rows);
        PackedWeights(Form::Tiles { layout, groups: desc.groups })
    });
    Ok(ConvPlan { plan, packed })
}

/// Block sizes of one unit of work.
struct UnitShape {
    k_block: usize,
    tiles: usize,
    panels: usize,
    /// Columns of whole output rows that a unit's pixels may touch.
    row_cols: usize,
}

impl UnitShape {
    fn choose(desc: &ConvDesc, tile: TileShape, width: usize, n_taps: usize, pointwise: bool) -> UnitShape {
        let size = desc.elem.size_bytes();
        let (m, channels) = (desc.out_channels / desc.groups, desc.in_channels / desc.groups);
        let pixels = desc.output_len().max(1);
        let row = if pointwise { 1 } else { desc.axes3()[2].output.max(1) };
        // Blocks of k are whole channels, of 16 channels where there are many, which suits the unrolled loop.
        let wanted = channels.div_ceil((channels * n_taps).div_ceil(K_BLOCK).max(1)).max(1);
        let block_channels = if wanted >= 16 { wanted / 16 * 16 } else { wanted };
        let k_block = (block_channels * n_taps).max(1);
        let n_batch = (desc.n * desc.groups).max(1);
        let flops = (2 * m * pixels).saturating_mul(channels * n_taps).saturating_mul(n_batch);
        let wanted_units = (flops / MIN_UNIT_FLOPS).clamp(1, MAX_UNITS).div_ceil(n_batch);
        let n_panels = pixels.div_ceil(width);
        let n_tiles = RowSplit::new(m, tile.rows).n_tiles();
        // Whole rows and whole panels at once, where such a group is not too large.
        let max_cols = (L2_BUDGET_BYTES / (k_block * size)).max(width);
        let aligned = lcm(row, width);
        let most = max_cols.min(pixels.div_ceil(wanted_units.min(n_panels)).next_multiple_of(width));
        let cols = match most / aligned {
            0 => most / width * width,
            times => times * aligned,
        };
        let panels = (cols / width).clamp(1, n_panels);
        let groups = n_panels.div_ceil(panels);
        // Every block of tiles packs the unit's patches anew: at least 48 channels each make that cheap.
        let blocks = wanted_units.div_ceil(groups).clamp(1, m.div_ceil(48));
        let cols = (panels * width).min(pixels);
        let row_cols = match (pointwise, cols % row) {
            (true, _) => 0,
            (false, 0) => cols,
            _ => (cols.div_ceil(row) + 1) * row,
        };
        UnitShape {
            k_block,
            tiles: n_tiles.div_ceil(blocks).max(1),
            panels,
            row_cols: row_cols.min(pixels.next_multiple_of(row)),
        }
    }
}

pub(super) fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn lcm(a: usize, b: usize) -> usize {
    a / gcd(a, b).max(1) * b
}

/// Packs patches.
struct Packer {
    elem: Elem,
    /// `[d, h, w]`.
    axes: [ConvAxis; 3],
    /// Elements of one channel.
    image_len: usize,
}

impl Packer {
    fn size(&self) -> i64 {
        self.elem.size_bytes() as i64
    }

    /// Packs all output rows that hold requested pixels, whole, for channels `k0 / taps ..`.
    fn pack(&self, b: &mut Builder, r: &PackRequest) -> Val {
        let [d, h, w] = self.axes;
        let taps = (d.kernel * h.kernel * w.kernel) as i64;
        let row_len = b.i64(w.output as i64);
        let n_taps = b.i64(taps);
        let first_row = b.bin(BinOp::DivU, r.col0, row_len);
        let col_end = b.add(r.col0, r.n_cols);
        let col_last = b.add_imm(col_end, w.output as i64 - 1);
        let row_end = b.bin(BinOp::DivU, col_last, row_len);
        let channel0 = b.bin(BinOp::DivU, r.k0, n_taps);
        let n_channels = b.bin(BinOp::DivU, r.k_len, n_taps);
        let src = b.index(r.src, channel0, self.image_len as i64 * self.size());
        let zero = b.i64(0);
        b.for_loop(first_row, row_end, 1, &[r.dst], |b, row, at| {
            let (oz, oy) = if d.output == 1 {
                (zero, row)
            } else {
                let n = b.i64(h.output as i64);
                (b.bin(BinOp::DivU, row, n), b.bin(BinOp::RemU, row, n))
            };
            let iz0 = Self::first_tap(b, oz, d);
            let iy0 = Self::first_tap(b, oy, h);
            b.for_loop(zero, n_channels, 1, &[src, at[0]], |b, _, c| {
                self.taps_of_row(b, c[0], c[1], iz0, iy0, r.row_bytes as i64);
                let src = b.add_imm(c[0], self.image_len as i64 * self.size());
                vec![src, b.add_imm(c[1], taps * r.row_bytes as i64)]
            });
            vec![b.add_imm(at[0], w.output as i64 * self.size())]
        });
        let row_start = b.mul(first_row, row_len);
        let inside = b.sub(r.col0, row_start);
        b.index(r.dst, inside, self.size())
    }

    /// Image position of tap 0, negative inside the pad.
    fn first_tap(b: &mut Builder, o: Val, axis: ConvAxis) -> Val {
        let at = b.mul_imm(o, axis.stride as i64);
        b.add_imm(at, -(axis.pad_begin as i64))
    }

    /// All taps of one channel for one output row: `dst` gets one row per tap.
    fn taps_of_row(&self, b: &mut Builder, src: Val, dst: Val, iz0: Val, iy0: Val, row_bytes: i64) {
        let [d, h, w] = self.axes;
        let (zero, n_z, n_y) = (b.i64(0), b.i64(d.kernel as i64), b.i64(h.kernel as i64));
        b.for_loop(zero, n_z, 1, &[iz0, dst], |b, _, z| {
            let rows = b.for_loop(zero, n_y, 1, &[iy0, z[1]], |b, _, y| {
                let (depth, height) = (b.i64(d.input as i64), b.i64(h.input as i64));
                // Negative positions are large unsigned ones.
                let z_in = b.cmp(CmpOp::LtU, z[0], depth);
                let y_in = b.cmp(CmpOp::LtU, y[0], height);
                let inside = b.and(z_in, y_in);
                b.if_else(
                    inside,
                    |b| {
                        let at = b.mul_imm(z[0], h.input as i64);
                        let at = b.add(at, y[0]);
                        let line = b.index(src, at, w.input as i64 * self.size());
                        for tap in 0..w.kernel {
                            let to = b.add_imm(y[1], tap as i64 * row_bytes);
                            copy_tap(b, self.elem, w, tap, line, to);
                        }
                        Vec::new()
                    },
                    |b| {
                        for tap in 0..w.kernel {
                            let to = b.add_imm(y[1], tap as i64 * row_bytes);
                            fill_zero(b, self.elem, to, 0, w.output);
                        }
                        Vec::new()
                    },
                );
                vec![b.add_imm(y[0], h.dilation as i64), b.add_imm(y[1], w.kernel as i64 * row_bytes)]
            });
            vec![b.add_imm(z[0], d.dilation as i64), rows[1]]
        });
    }
}

/// Writes tap `tap` of the row `line` of the image for every output of the row.
pub(crate) fn copy_tap(b: &mut Builder, elem: Elem, axis: ConvAxis, tap: usize, line: Val, dst: Val) {
    let (lo, hi, first) = axis.inside(tap);
    fill_zero(b, elem, dst, 0, lo);
    fill_zero(b, elem, dst, hi, axis.output);
    let (count, lanes) = (hi - lo, b.lanes_of(elem));
    let size = elem.size_bytes();
    if count < lanes {
        for i in 0..count {
            let v = b.load(Ty::S(elem), line, ((first + i * axis.stride) * size) as i32);
            b.store(dst, ((lo + i) * size) as i32, v);
        }
        return;
    }
    let n_vecs = count / lanes;
    let one = |b: &mut Builder, from: Val, to: Val, i: usize| {
        let v = load_strided(b, elem, from, (first + i * axis.stride) * size, axis.stride);
        b.store(to, ((lo + i) * size) as i32, v);
    };
    if n_vecs <= MAX_STRAIGHT_VECS {
        (0..n_vecs).for_each(|i| one(b, line, dst, i * lanes));
    } else {
        let (zero, end) = (b.i64(0), b.i64((n_vecs / 4 * 4) as i64));
        b.for_loop(zero, end, 4, &[line, dst], |b, _, c| {
            (0..4).for_each(|u| one(b, c[0], c[1], u * lanes));
            let from = b.add_imm(c[0], (4 * lanes * axis.stride * size) as i64);
            vec![from, b.add_imm(c[1], (4 * lanes * size) as i64)]
        });
        (n_vecs / 4 * 4..n_vecs).for_each(|i| one(b, line, dst, i * lanes));
    }
    if count % lanes > 0 {
        // The rest as a vector that overlaps the last one.
        one(b, line, dst, count - lanes);
    }
}

/// `lanes` elements `stride` apart, reading nothing beyond the last of them.
pub(crate) fn load_strided(b: &mut Builder, elem: Elem, addr: Val, off: usize, stride: usize) -> Val {
    let (lanes, size) = (b.lanes_of(elem), elem.size_bytes());
    let at = |i: usize| (off + i * size) as i32;
    match stride {
        1 => b.load(Ty::V(elem), addr, at(0)),
        2 => {
            let (low, high) = (b.load(Ty::V(elem), addr, at(0)), b.load(Ty::V(elem), addr, at(lanes - 1)));
            let idx: Vec<usize> = (0..lanes).map(|i| if i < lanes / 2 { 2 * i } else { 2 * i + 1 }).collect();
            b.shuffle(low, high, &idx)
        }
        _ => {
            let mut v = b.load_splat(elem, addr, at(0));
            for i in 1..lanes {
                let s = b.load(Ty::S(elem), addr, at(i * stride));
                v = b.insert(v, i, s);
            }
            v
        }
    }
}

/// Zeros in elements `lo..hi` of a row.
pub(crate) fn fill_zero(b: &mut Builder, elem: Elem, dst: Val, lo: usize, hi: usize) {
    let (lanes, size) = (b.lanes_of(elem), elem.size_bytes());
    let n_vecs = (hi - lo) / lanes;
    if n_vecs > MAX_STRAIGHT_VECS {
        let zero = b.zero(Ty::V(elem));
        let (begin, end) = (b.i64(0), b.i64(n_vecs as i64));
        let start = b.add_imm(dst, (lo * size) as i64);
        b.for_loop(begin, end, 1, &[start], |b, _, c| {
            b.store(c[0], 0, zero);
            vec![b.add_imm(c[0], (lanes * size) as i64)]
        });
    } else if n_vecs > 0 {
        let zero = b.zero(Ty::V(elem));
        (0..n_vecs).for_each(|i| b.store(dst, ((lo + i * lanes) * size) as i32, zero));
    }
    if !(hi - lo).is_multiple_of(lanes) {
        if n_vecs > 0 {
            let zero = b.zero(Ty::V(elem));
            b.store(dst, ((hi - lanes) * size) as i32, zero);
        } else {
            let zero = b.zero(Ty::S(elem));
            (lo..hi).for_each(|i| b.store(dst, (i * size) as i32, zero));
        }
    }
}

#[cfg(test)]
#[path = "conv_tests.rs"]
mod tests;
