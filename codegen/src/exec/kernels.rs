//! Lowerings to kernels: each call becomes a recorded kernel with its buffers; equal kernels are compiled once.

use super::Shared;
use super::plan::{Place, lower_cx, lowering, operand};
use super::tails::Tail;
use crate::builder::{Elem, KernelFn};
use crate::jit::{CompiledKernels, Entry};
use crate::kernels::conv::{self, ConvAxis, ConvDesc, PackedWeights};
use crate::kernels::gemm::{self, GemmBatch, GemmDesc, PackedRhs, Rhs};

use crate::kernels::{BUF_OUT, Epilogue, EpilogueOperand, conv_transpose};
use egret_ir::lower::{Computation, Conv, Lowering, MatMul};
use egret_ir::rule::Fact;
use egret_ir::tensor::AlignedBytes;
use egret_ir::{DType, Error, Graph, Result, Tensor, ValueId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// An entry of a kernel's pointer table.
#[derive(Clone)]
pub enum BufferRef {
    /// A value of the plan's graph.
    Value(ValueId),
    /// Weights in another layout.
    Packed(Arc<AlignedBytes>),
    /// Scratch of the calling thread.
    Scratch,
    /// A temporary of the plan, by number.
    Temp(usize),
    /// The functions that generated code may call.
    HostTable,
}

/// A kernel with its buffers.
#[derive(Clone)]
pub struct KernelStep {
    /// Nodes that it computes.
    pub nodes: Vec<usize>,
    /// Name for listings.
    pub name: String,
    /// Floating-point operations.
    pub flops: u64,
    pub(crate) buffers: Vec<BufferRef>,
    pub(crate) extent: usize,
    pub(crate) grain: usize,
    /// Whether the nodes' results are complete after it.
    pub(crate) last: bool,
    /// (value, extent, node): elements of the value must index an axis of the extent.
    pub(crate) checks: Vec<(ValueId, usize, usize)>,
    pub(crate) entry: Entry,
}

/// A kernel before it is compiled.
pub(crate) struct Pending {
    pub(crate) kernel: KernelFn,
    pub(crate) nodes: Vec<usize>,
    pub(crate) flops: u64,
    pub(crate) buffers: Vec<BufferRef>,
    pub(crate) extent: usize,
    pub(crate) grain: usize,
    pub(crate) scratch_bytes: usize,
    pub(crate) last: bool,
    pub(crate) checks: Vec<(ValueId, usize, usize)>,
}

impl Pending {
    pub(crate) fn with_entry(self, entry: Entry) -> KernelStep {
        KernelStep {
            nodes: self.nodes,
            name: self.kernel.name,
            flops: self.flops,
            buffers: self.buffers,
            extent: self.extent,
            grain: self.grain,
            last: self.last,
            checks: self.checks,
            entry,
        }
    }
}

/// What a node becomes.
pub(crate) enum Lowered {
    View,
    Kernel(Pending),
    Loops(Computation),
}

/// Compiled kernels and packed weights of an executable.
#[derive(Default)]
pub(crate) struct KernelCache {
    entries: Mutex<HashMap<KernelFn, Entry>>,
    packed: Mutex<HashMap<(usize, Layout), (Tensor, Arc<AlignedBytes>)>>,
}

/// Another layout of a weight.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Layout {
    /// Right operand of a product, with the strides of its rows and columns.
    Rhs(PackedRhs, usize, usize),
    /// Weights of a convolution.
    Conv(PackedWeights),
}

/// Lowers one call, a product with the `tail` that it takes over; `None` runs it on the host (or leaves the tail alone).
pub(crate) fn lower_node(
    graph: &Graph,
    n: usize,
    facts: &[Fact],
    places: &[Place],
    tail: Option<&Tail>,
    shared: &Shared,
) -> Result<Option<Lowered>> {
    let Some(cx) = lower_cx(graph, n, facts, places) else { return Ok(None) };
    Ok(match lowering(graph, n, &cx)? {
        Lowering::View => Some(Lowered::View),
        Lowering::Compute(c) => Some(Lowered::Loops(c)),
        Lowering::MatMul(m) if cx.dtype(0) == DType::F32 => {
            matmul(graph, n, &m, cx.constant(1), tail, shared)?.map(Lowered::Kernel)
        }
        Lowering::Conv(c) if cx.dtype(0) == DType::F32 => {
            conv(graph, n, &c, cx.constant(1), tail, shared)?.map(Lowered::Kernel)
        }
        _ => None,
    })
}

/// Machine code for each pending kernel, new ones compiled in parallel.
pub(crate) fn compile<'a>(pending: impl Iterator<Item = &'a Pending>, shared: &Shared) -> Result<Vec<Entry>> {
    let wanted: Vec<&KernelFn> = pending.map(|p| &p.kernel).collect();
    let mut entries = shared.kernels.entries.lock().unwrap_or_else(PoisonError::into_inner);
    let mut new: Vec<KernelFn> = Vec::new();
    let mut numbered: HashMap<&KernelFn, ()> = HashMap::new();
    for &k in &wanted {
        if !entries.contains_key(k) && numbered.insert(k, ()).is_none() {
            new.push(k.clone());
        }
    }
    if !new.is_empty() {
        let code = CompiledKernels::compile(&new, &shared.isa, shared.options.threads)
            .map_err(|e| Error::bug(format!("code generation: {e}")))?;
        for (i, k) in new.into_iter().enumerate() {
            entries.insert(k, code.entry(i));
        }
    }
    wanted.iter().map(|k| entries.get(*k).cloned().ok_or_else(|| Error::bug("a kernel was not compiled"))).collect()
}

fn matmul(
    graph: &Graph,
    n: usize,
    m: &MatMul,
    rhs: Option<&Tensor>,
    tail: Option<&Tail>,
    shared: &Shared,
) -> Result<Option<Pending>> {
    if m.m == 0 || m.n == 0 || m.k == 0 || m.batch.iter().any(|b| b.0 == 0) {
        return Ok(None);
    }
    let shared_rhs = m.batch.iter().all(|b| b.2 == 0 || b.0 == 1);
    let rhs = rhs.filter(|_| shared_rhs);
    let b_layout = match (rhs, m.b_strides) {
        (Some(_), _) => Rhs::Packed,
        (None, (row_stride, 1)) => Rhs::RowMajor { row_stride },
        (None, (1, row_stride)) => Rhs::Transposed { row_stride },
        _ => return Ok(None),
    };
    let mut c_stride = m.m * m.n;
    let mut batch: Vec<GemmBatch> = Vec::new();
    for &(len, a, b) in m.batch.iter().rev() {
        batch.push(GemmBatch { len, a, b: if rhs.is_some() { 0 } else { b }, c: c_stride });
        c_stride *= len;
    }
    batch.reverse();
    let n_axes = batch.len();
    let mut epilogue = Epilogue::none();
    let mut extra = Vec::new();
    let (alpha, beta) = (m.alpha, m.beta);
    if alpha != 1.0 {
        epilogue = Epilogue::new(Vec::new(), move |b, acc, _| {
            let f = b.vf32(alpha);
            b.mul(acc, f)
        });
    }
    if let Some((row_stride, col_stride)) = m.bias {
        if col_stride > 1 {
            return Ok(None);
        }
        let at = EpilogueOperand { batch_strides: vec![0; n_axes], row_stride, col_stride };
        epilogue = epilogue.then_with(at, move |b, v, c| {
            if beta == 1.0 {
                b.add(v, c)
            } else {
                let f = b.vf32(beta);
                b.fma(c, f, v)
            }
        });
        extra.push(operand(graph, n, 2)?);
    }
    if let Some(tail) = tail {
        let batch: Vec<usize> = batch.iter().map(|b| b.len).collect();
        let Some(longer) = tail.append(epilogue, &batch, m.m, &[m.n]) else { return Ok(None) };
        epilogue = longer;
        extra.extend(tail.values().map(BufferRef::Value));
    }
    let desc = GemmDesc {
        elem: Elem::F32,
        batch,
        m: m.m,
        n: m.n,
        k: m.k,
        a_row_stride: m.a_strides.0,
        a_k_stride: m.a_strides.1,
        rhs: b_layout,
        c_row_stride: m.n,
        epilogue,
    };
    let Ok(planned) = gemm::plan(&desc, shared.isa.target) else { return Ok(None) };
    let b = match (rhs, &planned.packed) {
        (Some(t), Some(layout)) => {
            BufferRef::Packed(pack(t, Layout::Rhs(*layout, m.b_strides.0, m.b_strides.1), shared)?)
        }
        _ => operand(graph, n, 1)?,
    };
    let out = result(graph, n, tail)?;
    let mut buffers = vec![operand(graph, n, 0)?, b, BufferRef::Value(out), BufferRef::Scratch];
    debug_assert_eq!(BUF_OUT, 2, "order of the pointer table");
    buffers.extend(extra);
    Ok(Some(Pending {
        nodes: std::iter::once(n).chain(tail.iter().flat_map(|t| t.nodes.iter().copied())).collect(),
        flops: planned.plan.flops,
        buffers,
        extent: planned.plan.parallel_extent,
        grain: 1,
        last: true,
        checks: Vec::new(),
        scratch_bytes: planned.plan.scratch_len_bytes,
        kernel: planned.plan.kernel,
    }))
}

/// What the kernel of call `n` writes.
fn result(graph: &Graph, n: usize, tail: Option<&Tail>) -> Result<ValueId> {
    match tail {
        Some(tail) => Ok(tail.out),
        None => graph.nodes[n].outputs[0].ok_or_else(|| Error::bug("a product without a result")),
    }
}

fn conv(
    graph: &Graph,
    n: usize,
    c: &Conv,
    weights: Option<&Tensor>,
    tail: Option<&Tail>,
    shared: &Shared,
) -> Result<Option<Pending>> {
    let empty = |v: &[usize]| v.contains(&0);
    if c.n == 0 || c.m == 0 || c.c == 0 || empty(&c.output) || empty(&c.input) || empty(&c.kernel) {
        return Ok(None);
    }
    let axes = (0..c.input.len())
        .map(|i| ConvAxis {
            input: c.input[i],
            output: c.output[i],
            kernel: c.kernel[i],
            stride: c.strides[i],
            dilation: c.dilations[i],
            pad_begin: c.pads[i],
        })
        .collect();
    let mut epilogue = Epilogue::none();
    let mut extra = Vec::new();
    if c.bias {
        // Batch axes are image and group, rows the output channels of a group.
        let at = EpilogueOperand { batch_strides: vec![0, c.m], row_stride: 1, col_stride: 0 };
        epilogue = epilogue.then_with(at, |b, v, bias| b.add(v, bias));
        extra.push(operand(graph, n, 2)?);
    }
    if let Some(tail) = tail {
        let Some(longer) = tail.append(epilogue, &[c.n, c.groups], c.m, &c.output) else { return Ok(None) };
        epilogue = longer;
        extra.extend(tail.values().map(BufferRef::Value));
    }
    let desc = ConvDesc {
        elem: Elem::F32,
        n: c.n,
        groups: c.groups,
        in_channels: c.c * c.groups,
        out_channels: c.m * c.groups,
        axes,
        constant_weights: weights.is_some(),
        winograd: winograd_tile(c),
        epilogue,
    };
    let planned = match c.transposed {
        false => conv::plan(&desc, shared.isa.target),
        true => conv_transpose::plan(&desc, shared.isa.target),
    };
    let Ok(planned) = planned else { return Ok(None) };
    let w = match (weights, planned.packed) {
        (Some(t), Some(layout)) => BufferRef::Packed(pack(t, Layout::Conv(layout), shared)?),
        _ => operand(graph, n, 1)?,
    };
    let out = result(graph, n, tail)?;
    let mut buffers = vec![operand(graph, n, 0)?, w, BufferRef::Value(out), BufferRef::Scratch];
    buffers.extend(extra);
    Ok(Some(Pending {
        nodes: std::iter::once(n).chain(tail.iter().flat_map(|t| t.nodes.iter().copied())).collect(),
        flops: planned.plan.flops,
        buffers,
        extent: planned.plan.parallel_extent,
        grain: 1,
        last: true,
        checks: Vec::new(),
        scratch_bytes: planned.plan.scratch_len_bytes,
        kernel: planned.plan.kernel,
    }))
}

/// Winograd's form pays from some channels on, where its transforms are shared by enough products, and where its larger
/// error (about 1e-5 of the largest result) stays far below that of the sums of a deep network.
fn winograd_tile(c: &Conv) -> usize {
    const MIN_CHANNELS: usize = 16;
    if c.c >= MIN_CHANNELS && c.m >= MIN_CHANNELS && c.output.iter().all(|&n| n >= 4) { 4 } else { 0 }
}

/// Weights in the kernel's layout, made once for all plans. What was read in a mapped file leaves memory as it is packed,
/// and elements that were made for this alone are gone afterwards.
fn pack(t: &Tensor, layout: Layout, shared: &Shared) -> Result<Arc<AlignedBytes>> {
    /// Bytes of a file that are read before they are given back.
    const RELEASE_BYTES: usize = 4 << 20;
    let key = (t.identity(), layout);
    let mut packed = shared.kernels.packed.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, bytes)) = packed.get(&key) {
        return Ok(Arc::clone(bytes));
    }
    if t.dtype() != DType::F32 {
        return Err(Error::bug(format!("packing weights of {}", t.dtype())));
    }
    let own = t.clone();
    let src = own.bytes().as_chunks::<4>().0;
    let mut released = 0;
    let mut done = |n_elems: usize| {
        let n = (n_elems * 4).min(src.len() * 4);
        if n >= released + RELEASE_BYTES {
            own.release_pages(released..n);
            released = n;
        }
    };
    let len_elems = match &layout {
        Layout::Rhs(layout, ..) => layout.len_elems(),
        Layout::Conv(layout) => layout.len_elems(),
    };
    let mut bytes = AlignedBytes::pages(len_elems * size_of::<f32>());
    let dst = bytes.as_mut_slice().as_chunks_mut::<4>().0;
    match layout {
        Layout::Rhs(layout, k_stride, n_stride) => layout.pack_reporting(src, k_stride, n_stride, dst, &mut done),
        Layout::Conv(layout) => layout.pack_reporting(src, dst, &mut done),
    }
    .map_err(|e| Error::bug(format!("packing weights: {e}")))?;
    own.release_pages(released..src.len() * 4);
    let bytes = Arc::new(bytes);
    // The tensor is kept beside its packed form, so that its identity stays its own.
    packed.insert(key, (t.clone(), Arc::clone(&bytes)));
    Ok(bytes)
}
