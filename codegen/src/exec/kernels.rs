//! Lowerings to kernels: each call becomes a recorded kernel with its buffers; equal calls are recorded once, equal
//! kernels compiled once.
//!
//! What a call becomes follows from its description alone, so it is looked up by a fingerprint of that: 128 bits under
//! keys drawn at random, since code for other extents under the same fingerprint would be unsafe to run, and models are
//! not trusted.

use super::plan::{Place, lower_cx, lowering, operand};
use super::tails::Tail;
use super::{Engine, Shared, groups};
use crate::builder::{Elem, KernelFn};
use crate::emit;
use crate::jit::{CompiledKernels, Entry};
use crate::kernels::conv::{self, ConvAxis, ConvDesc, PackedWeights};
use crate::kernels::gemm::{self, GemmBatch, GemmDesc, PackedRhs, Rhs};

use crate::runtime;

use crate::kernels::{BUF_OUT, Epilogue, EpilogueOperand, KernelPlan, conv_transpose};
use egret_ir::loops::{Program, Role};
use egret_ir::lower::{
    Computation, Conv, IndexRange, LowerCx, Lowering, MatMul, Operand, PairForm, PairProduct, Pairs, Recurrent,
};
use egret_ir::rule::Fact;
use egret_ir::tensor::AlignedBytes;
use egret_ir::{DType, Error, Graph, Result, Tensor, ValueId};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, RandomState};
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
    /// (value, range, node): elements of the value must lie in the range, the node asks.
    pub(crate) checks: Vec<(ValueId, IndexRange, usize)>,
    pub(crate) code: Code,
    /// The loop nest that it was made from and its number in it, where nests are interpreted.
    pub(crate) nest: Option<(Arc<Program>, usize)>,
}

/// What runs a kernel.
#[derive(Clone)]
pub(crate) enum Code {
    Machine(Entry),
    /// Nothing does, or an interpreter: see [`Engine`].
    Recorded(Arc<KernelFn>),
}

/// A kernel before it is compiled.
pub(crate) struct Pending {
    pub(crate) record: Arc<Record>,
    pub(crate) name: String,
    pub(crate) nodes: Vec<usize>,
    pub(crate) flops: u64,
    pub(crate) buffers: Vec<BufferRef>,
    pub(crate) extent: usize,
    pub(crate) grain: usize,
    pub(crate) scratch_bytes: usize,
    pub(crate) last: bool,
    pub(crate) checks: Vec<(ValueId, IndexRange, usize)>,
    pub(crate) nest: Option<(Arc<Program>, usize)>,
    /// Kernels that make temporaries for it.
    pub(crate) before: Vec<Pending>,
    /// Lengths of the temporaries in bytes; where there are any, the buffers of this and of the kernels before it number
    /// them from 0.
    pub(crate) temps: Vec<usize>,
}

impl Pending {
    /// Numbers its temporaries, and those of the kernels before it, from `first` on.
    pub(crate) fn number_temps(&mut self, first: usize) {
        for buffer in self.before.iter_mut().flat_map(|k| &mut k.buffers).chain(&mut self.buffers) {
            if let BufferRef::Temp(t) = buffer {
                *t += first;
            }
        }
    }

    pub(crate) fn with_code(self, code: Code) -> KernelStep {
        KernelStep {
            nodes: self.nodes,
            name: self.name,
            flops: self.flops,
            buffers: self.buffers,
            extent: self.extent,
            grain: self.grain,
            last: self.last,
            checks: self.checks,
            code,
            nest: self.nest,
        }
    }
}

/// What a node becomes.
pub(crate) enum Lowered {
    View,
    Kernel(Pending),
    Loops(Computation),
    Library(Arc<dyn runtime::Kernel>),
    Recurrent(Box<Recurrent>),
}

/// A recorded kernel: its fingerprint, and the record until it is compiled.
pub(crate) struct Record {
    fingerprint: Fingerprint,
    kernel: Mutex<Option<KernelFn>>,
}

/// What stands for a description or a record.
pub(crate) type Fingerprint = (u64, u64);

/// A kernel of a group of loops, without its buffers.
pub(crate) struct LoopKernel {
    pub(crate) record: Arc<Record>,
    pub(crate) flops: u64,
    pub(crate) extent: usize,
    pub(crate) grain: usize,
    pub(crate) scratch_bytes: usize,
}

/// What a group of loops becomes: kernels, their buffers in terms of the computation, lengths of temporaries.
pub(crate) struct LoopTemplate {
    pub(crate) kernels: Vec<LoopKernel>,
    pub(crate) roles: Vec<Role>,
    pub(crate) temps: Vec<usize>,
    /// The nest itself, where nests are interpreted.
    pub(crate) program: Option<Arc<Program>>,
}

impl LoopTemplate {
    /// The kernels of the nest that computes `nodes`, none of them marked as the last; `buffer` says what stands for each of
    /// the computation's buffers.
    pub(crate) fn pending(
        &self,
        name: &str,
        nodes: Vec<usize>,
        buffer: impl Fn(&Role) -> Result<BufferRef>,
    ) -> Result<Vec<Pending>> {
        let mut buffers = self.roles.iter().map(buffer).collect::<Result<Vec<_>>>()?;
        buffers.extend([BufferRef::Scratch, BufferRef::HostTable]);
        let kernel = |(k, l): (usize, &LoopKernel)| Pending {
            record: Arc::clone(&l.record),
            name: if self.kernels.len() == 1 { name.to_owned() } else { format!("{name}_{k}") },
            nodes: nodes.clone(),
            flops: l.flops,
            buffers: buffers.clone(),
            extent: l.extent,
            grain: l.grain,
            scratch_bytes: l.scratch_bytes,
            last: false,
            checks: Vec::new(),
            nest: self.program.as_ref().map(|program| (Arc::clone(program), k)),
            before: Vec::new(),
            temps: Vec::new(),
        };
        Ok(self.kernels.iter().enumerate().map(kernel).collect())
    }
}

/// What a product becomes, without its buffers.
pub(crate) struct ProductTemplate {
    pub(crate) record: Arc<Record>,
    pub(crate) name: String,
    pub(crate) flops: u64,
    pub(crate) extent: usize,
    pub(crate) scratch_bytes: usize,
    pub(crate) layout: Option<Layout>,
}

/// Compiled kernels and packed weights of an executable.
#[derive(Default)]
pub(crate) struct KernelCache {
    keys: [RandomState; 2],
    entries: Mutex<HashMap<Fingerprint, Code>>,
    loops: Mutex<HashMap<Fingerprint, Option<Arc<LoopTemplate>>>>,
    products: Mutex<HashMap<Fingerprint, Option<Arc<ProductTemplate>>>>,
    packed: Mutex<HashMap<PackedKey, (Vec<Tensor>, Arc<AlignedBytes>)>>,
}

impl KernelCache {
    /// The fingerprint of a description.
    pub(crate) fn fingerprint(&self, value: &impl Hash) -> Fingerprint {
        (self.keys[0].hash_one(value), self.keys[1].hash_one(value))
    }

    pub(crate) fn record(&self, kernel: KernelFn) -> Arc<Record> {
        Arc::new(Record { fingerprint: self.fingerprint(&kernel), kernel: Mutex::new(Some(kernel)) })
    }

    /// What a computation becomes, by `make` where it was not seen before.
    pub(crate) fn loops(
        &self,
        key: Fingerprint,
        make: impl FnOnce() -> Option<LoopTemplate>,
    ) -> Option<Arc<LoopTemplate>> {
        look_up(&self.loops, key, make)
    }

    /// Drops what was recorded and then done otherwise: a product whose tail was found later.
    fn forget_uncompiled(&self) {
        let used = |t: &Option<Arc<ProductTemplate>>| t.as_ref().is_none_or(|t| t.record.is_compiled());
        self.products.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, t| used(t));
        let used =
            |t: &Option<Arc<LoopTemplate>>| t.as_ref().is_none_or(|t| t.kernels.iter().all(|k| k.record.is_compiled()));
        self.loops.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, t| used(t));
    }
}

impl Record {
    fn is_compiled(&self) -> bool {
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

fn look_up<T>(
    known: &Mutex<HashMap<Fingerprint, Option<Arc<T>>>>,
    key: Fingerprint,
    make: impl FnOnce() -> Option<T>,
) -> Option<Arc<T>> {
    if let Some(found) = known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return found.clone();
    }
    let made = make().map(Arc::new);
    known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, made.clone());
    made
}

/// Elements, their layout, and where they are pairs of others: which, and the zero point's elements.
type PackedKey = (usize, Layout, Option<(Pairs, usize)>);

/// Another layout of a weight.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Layout {
    /// Right operand of a product, with the strides of its rows and columns.
    Rhs(PackedRhs, usize, usize),
    /// Rows of a matrix from the given one on, as the columns of a right operand.
    Rows(PackedRhs, usize),
    /// Weights of a convolution.
    Conv(PackedWeights),
    /// Elements in order.
    Plain,
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
    let Some(cx) = lower_cx(graph, n, facts, places, true) else { return found(graph, n, facts, places) };
    Ok(match lowering(graph, n, &cx)? {
        Lowering::View => Some(Lowered::View),
        Lowering::Compute(c) => Some(Lowered::Loops(c)),
        Lowering::Library(call) => Some(Lowered::Library(runtime::prepare(&call)?.into())),
        Lowering::MatMul(m) if cx.dtype(0) == DType::F32 => {
            matmul(graph, n, &m, cx.constant(1), tail, shared)?.map(Lowered::Kernel)
        }
        Lowering::Conv(c) if cx.dtype(0) == DType::F32 => {
            conv(graph, n, &c, ConvLayout::Plain, cx.constant(1), tail, shared)?.map(Lowered::Kernel)
        }
        Lowering::ConvLast { conv: c, image_last } if cx.constant(1).is_some() => {
            conv(graph, n, &c, ConvLayout::Last { image_last }, cx.constant(1), tail, shared)?.map(Lowered::Kernel)
        }
        Lowering::Pairs(p) => pairs(graph, n, &p, &cx, tail, shared)?.map(Lowered::Kernel),
        Lowering::Recurrent(r) => Some(Lowered::Recurrent(Box::new(r))),
        _ => None,
    })
}

/// The compiled kernel of a call with results whose extents depend on data.
fn found(graph: &Graph, n: usize, facts: &[Fact], places: &[Place]) -> Result<Option<Lowered>> {
    let Some(cx) = lower_cx(graph, n, facts, places, false) else { return Ok(None) };
    match graph.nodes[n].op.lower_found(&cx).map_err(|e| e.at(graph.describe_with_types(n)))? {
        Some(call) => Ok(Some(Lowered::Library(runtime::prepare(&call)?.into()))),
        None => Ok(None),
    }
}

/// Code for each record, new ones compiled in parallel, the records dropped unless the engine wants them; and whether any
/// were compiled.
pub(crate) fn compile<'a>(wanted: impl Iterator<Item = &'a Arc<Record>>, shared: &Shared) -> Result<(Vec<Code>, bool)> {
    let wanted: Vec<&Record> = wanted.map(|r| &**r).collect();
    let mut entries = shared.kernels.entries.lock().unwrap_or_else(PoisonError::into_inner);
    let mut new: Vec<(Fingerprint, KernelFn)> = Vec::new();
    let mut numbered: HashSet<Fingerprint> = HashSet::new();
    for record in &wanted {
        let kernel = record.kernel.lock().unwrap_or_else(PoisonError::into_inner).take();
        if !entries.contains_key(&record.fingerprint)
            && let Some(kernel) = kernel
            && numbered.insert(record.fingerprint)
        {
            new.push((record.fingerprint, kernel));
        }
    }
    let any = !new.is_empty() && shared.engine == Engine::Machine;
    if any {
        let kernels: Vec<&KernelFn> = new.iter().map(|(_, k)| k).collect();
        let code = CompiledKernels::compile_distinct(&kernels, &shared.isa, shared.options.threads)
            .map_err(|e| Error::bug(format!("code generation: {e}")))?;
        for (i, (fingerprint, _)) in new.into_iter().enumerate() {
            entries.insert(fingerprint, Code::Machine(code.entry(i)));
        }
    } else {
        entries.extend(new.into_iter().map(|(fingerprint, kernel)| (fingerprint, Code::Recorded(Arc::new(kernel)))));
    }
    shared.kernels.forget_uncompiled();
    let entry =
        |r: &&Record| entries.get(&r.fingerprint).cloned().ok_or_else(|| Error::bug("a kernel was not compiled"));
    Ok((wanted.iter().map(entry).collect::<Result<_>>()?, any))
}

fn matmul(
    graph: &Graph,
    n: usize,
    m: &MatMul,
    rhs: Option<&Tensor>,
    tail: Option<&Tail>,
    shared: &Shared,
) -> Result<Option<Pending>> {
    let Some(b_layout) = rhs_layout(m, rhs.is_some()) else { return Ok(None) };
    let Some(template) = product_template(m, Elem::F32, b_layout, tail, shared) else { return Ok(None) };
    let b = match (rhs, template.layout) {
        (Some(t), Some(layout)) => BufferRef::Packed(pack(t, layout, shared)?),
        _ => operand(graph, n, 1)?,
    };
    product(graph, n, [operand(graph, n, 0)?, b], m.bias.is_some(), tail, &template)
}

/// How the right operand lies, packed where it is a constant that the batch shares; none for a product of no elements,
/// or one whose right operand lies otherwise.
fn rhs_layout(m: &MatMul, constant: bool) -> Option<Rhs> {
    if m.m == 0 || m.n == 0 || m.k == 0 || m.batch.iter().any(|b| b.0 == 0) {
        return None;
    }
    let shared = m.batch.iter().all(|b| b.2 == 0 || b.0 == 1);
    match m.b_strides {
        _ if constant && shared => Some(Rhs::Packed),
        (row_stride, 1) => Some(Rhs::RowMajor { row_stride }),
        (1, row_stride) => Some(Rhs::Transposed { row_stride }),
        _ => None,
    }
}

/// A product of pairs, behind the kernels that make them; constants are paired here.
fn pairs(
    graph: &Graph,
    n: usize,
    p: &PairProduct,
    cx: &LowerCx<'_>,
    tail: Option<&Tail>,
    shared: &Shared,
) -> Result<Option<Pending>> {
    let constant = |p: &Pairs| {
        let zero = p.zero.operand().map(|z| cx.constant(z));
        Some((cx.constant(p.operand)?, if let Some(z) = zero { Some(z?) } else { None }))
    };
    let weights = constant(&p.rhs);
    let template = match &p.form {
        PairForm::MatMul(m) => {
            rhs_layout(m, weights.is_some()).and_then(|layout| product_template(m, Elem::I32, layout, tail, shared))
        }
        PairForm::Conv(c) => cached_conv(c, ConvLayout::Plain, Elem::I32, weights.is_some(), tail, shared),
    };
    let Some(template) = template else { return Ok(None) };
    let (mut before, mut temps) = (Vec::new(), Vec::new());
    let mut buffer = |p: &Pairs, layout: Layout| {
        Ok(match constant(p) {
            Some((x, zero)) => Some(BufferRef::Packed(pack_pairs(x, zero, p, layout, shared)?)),
            None => make_pairs(graph, n, p, &mut before, &mut temps, shared)?,
        })
    };
    let factors = (buffer(&p.lhs, Layout::Plain)?, buffer(&p.rhs, template.layout.unwrap_or(Layout::Plain))?);
    let (Some(lhs), Some(rhs)) = factors else { return Ok::<_, Error>(None) };
    let kernel = product(graph, n, [lhs, rhs], false, tail, &template)?;
    Ok(kernel.map(|kernel| Pending { before, temps, ..kernel }))
}

/// Adds the kernels that pair an operand of call `n`, and their temporaries; gives the one that they fill.
fn make_pairs(
    graph: &Graph,
    n: usize,
    p: &Pairs,
    before: &mut Vec<Pending>,
    temps: &mut Vec<usize>,
    shared: &Shared,
) -> Result<Option<BufferRef>> {
    let computation = p.computation()?;
    let key = shared.kernels.fingerprint(&computation.compute);
    let template = shared.kernels.loops(key, || groups::template(&computation.compute, "pairs", shared));
    let Some(template) = template else { return Ok(None) };
    let pairs = temps.len();
    temps.push(p.len_elems() * size_of::<i32>());
    let first_temp = temps.len();
    temps.extend(&template.temps);
    let input = |i: usize| match computation.operands.get(i) {
        Some(Operand::Input(k)) => operand(graph, n, *k),
        _ => Err(Error::bug("pairs of something that is no operand")),
    };
    let buffer = |role: &Role| {
        Ok(match *role {
            Role::Input(i) => input(i)?,
            Role::Output(_) => BufferRef::Temp(pairs),
            Role::Temp(t) => BufferRef::Temp(first_temp + t),
            Role::Scratch { .. } => BufferRef::Scratch,
        })
    };
    before.extend(template.pending(&format!("pairs_{}x{}x{}", p.outer, p.n_pairs(), p.inner), vec![n], buffer)?);
    Ok(Some(BufferRef::Temp(pairs)))
}

/// What a product becomes; [`Rhs::Packed`] says that its right operand is a constant.
pub(crate) fn product_template(
    m: &MatMul,
    elem: Elem,
    b_layout: Rhs,
    tail: Option<&Tail>,
    shared: &Shared,
) -> Option<Arc<ProductTemplate>> {
    let key = shared.kernels.fingerprint(&format!("{:?}", (m, elem, b_layout, tail.map(|t| t.key))));
    look_up(&shared.kernels.products, key, || matmul_template(m, elem, b_layout, tail, shared))
}

fn matmul_template(
    m: &MatMul,
    elem: Elem,
    b_layout: Rhs,
    tail: Option<&Tail>,
    shared: &Shared,
) -> Option<ProductTemplate> {
    let constant = matches!(b_layout, Rhs::Packed);
    let mut c_stride = m.m * m.n;
    let mut batch: Vec<GemmBatch> = Vec::new();
    for &(len, a, b) in m.batch.iter().rev() {
        batch.push(GemmBatch { len, a, b: if constant { 0 } else { b }, c: c_stride });
        c_stride *= len;
    }
    batch.reverse();
    let n_axes = batch.len();
    let mut epilogue = Epilogue::none();
    let (alpha, beta) = (m.alpha, m.beta);
    if alpha != 1.0 {
        epilogue = Epilogue::new(Vec::new(), move |b, acc, _| {
            let f = b.vf32(alpha);
            b.mul(acc, f)
        });
    }
    if let Some((row_stride, col_stride)) = m.bias {
        if col_stride > 1 {
            return None;
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
    }
    if let Some(tail) = tail {
        let batch: Vec<usize> = batch.iter().map(|b| b.len).collect();
        epilogue = tail.append(epilogue, &batch, m.m, &[m.n])?;
    }
    let desc = GemmDesc {
        elem,
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
    let planned = emit::recorded(shared.isa.target, |t| gemm::plan(&desc, t), |p| &p.plan.kernel).ok()?;
    let layout = planned.packed.filter(|_| constant).map(|l| Layout::Rhs(l, m.b_strides.0, m.b_strides.1));
    Some(ProductTemplate::new(planned.plan, layout, shared))
}

impl ProductTemplate {
    fn new(plan: KernelPlan, layout: Option<Layout>, shared: &Shared) -> ProductTemplate {
        ProductTemplate {
            name: plan.kernel.name.clone(),
            record: shared.kernels.record(plan.kernel),
            flops: plan.flops,
            extent: plan.parallel_extent,
            scratch_bytes: plan.scratch_len_bytes,
            layout,
        }
    }
}

/// The kernel of product `n` with its buffers, those of the factors given.
fn product(
    graph: &Graph,
    n: usize,
    [lhs, rhs]: [BufferRef; 2],
    bias: bool,
    tail: Option<&Tail>,
    template: &ProductTemplate,
) -> Result<Option<Pending>> {
    let out = result(graph, n, tail)?;
    let mut buffers = vec![lhs, rhs, BufferRef::Value(out), BufferRef::Scratch];
    debug_assert_eq!(BUF_OUT, 2, "order of the pointer table");
    if bias {
        buffers.push(operand(graph, n, 2)?);
    }
    buffers.extend(tail.iter().flat_map(|t| t.values()).map(BufferRef::Value));
    Ok(Some(Pending {
        record: Arc::clone(&template.record),
        name: template.name.clone(),
        nodes: std::iter::once(n).chain(tail.iter().flat_map(|t| t.nodes.iter().copied())).collect(),
        flops: template.flops,
        buffers,
        extent: template.extent,
        grain: 1,
        last: true,
        checks: Vec::new(),
        scratch_bytes: template.scratch_bytes,
        nest: None,
        before: Vec::new(),
        temps: Vec::new(),
    }))
}

/// What the kernel of call `n` writes.
fn result(graph: &Graph, n: usize, tail: Option<&Tail>) -> Result<ValueId> {
    match tail {
        Some(tail) => Ok(tail.out),
        None => graph.nodes[n].outputs[0].ok_or_else(|| Error::bug("a product without a result")),
    }
}

/// Where a convolution has its channels.
#[derive(Clone, Copy, Debug)]
enum ConvLayout {
    /// `[n, c, spatial…]`, image and result.
    Plain,
    /// `[n, spatial…, c]`, the result; the image where said so.
    Last { image_last: bool },
}

fn conv(
    graph: &Graph,
    n: usize,
    c: &Conv,
    layout: ConvLayout,
    weights: Option<&Tensor>,
    tail: Option<&Tail>,
    shared: &Shared,
) -> Result<Option<Pending>> {
    let Some(template) = cached_conv(c, layout, Elem::F32, weights.is_some(), tail, shared) else { return Ok(None) };
    let w = match (weights, template.layout) {
        (Some(t), Some(layout)) => BufferRef::Packed(pack(t, layout, shared)?),
        _ => operand(graph, n, 1)?,
    };
    product(graph, n, [operand(graph, n, 0)?, w], c.bias, tail, &template)
}

/// What a convolution becomes; none for one of no elements.
fn cached_conv(
    c: &Conv,
    layout: ConvLayout,
    elem: Elem,
    constant: bool,
    tail: Option<&Tail>,
    shared: &Shared,
) -> Option<Arc<ProductTemplate>> {
    let empty = |v: &[usize]| v.contains(&0);
    if c.n == 0 || c.m == 0 || c.c == 0 || empty(&c.output) || empty(&c.input) || empty(&c.kernel) {
        return None;
    }
    let key = shared.kernels.fingerprint(&format!("{:?}", (c, layout, elem, constant, tail.map(|t| t.key))));
    look_up(&shared.kernels.products, key, || conv_template(c, layout, elem, constant, tail, shared))
}

fn conv_template(
    c: &Conv,
    layout: ConvLayout,
    elem: Elem,
    constant: bool,
    tail: Option<&Tail>,
    shared: &Shared,
) -> Option<ProductTemplate> {
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
    if c.bias {
        // Batch axes are image and group, rows (or columns) the output channels of a group.
        let (row_stride, col_stride) = if matches!(layout, ConvLayout::Plain) { (1, 0) } else { (0, 1) };
        let at = EpilogueOperand { batch_strides: vec![0, c.m], row_stride, col_stride };
        epilogue = epilogue.then_with(at, |b, v, bias| b.add(v, bias));
    }
    if let Some(tail) = tail {
        epilogue = match layout {
            ConvLayout::Plain => tail.append(epilogue, &[c.n, c.groups], c.m, &c.output)?,
            ConvLayout::Last { .. } => tail.append_last(epilogue, c.n, &c.output, c.groups, c.m)?,
        };
    }
    let desc = ConvDesc {
        elem,
        n: c.n,
        groups: c.groups,
        in_channels: c.c * c.groups,
        out_channels: c.m * c.groups,
        axes,
        constant_weights: constant,
        winograd: if elem == Elem::F32 { winograd_tile(c) } else { 0 },
        epilogue,
    };
    let plan = |target| match (c.transposed, layout) {
        (_, ConvLayout::Last { image_last }) => {
            let winograd = if image_last { conv::last_winograd_tile(&desc, target) } else { 0 };
            conv::plan_last(&ConvDesc { winograd, ..desc.clone() }, image_last, target)
        }
        (false, _) => conv::plan(&desc, target),
        (true, _) => conv_transpose::plan(&desc, target),
    };
    let planned = emit::recorded(shared.isa.target, plan, |p| &p.plan.kernel).ok()?;
    Some(ProductTemplate::new(planned.plan, planned.packed.filter(|_| constant).map(Layout::Conv), shared))
}

/// Winograd's form pays from some channels on, where its transforms are shared by enough products, and where its larger
/// error (about 1e-5 of the largest result) stays far below that of the sums of a deep network.
fn winograd_tile(c: &Conv) -> usize {
    const MIN_CHANNELS: usize = 16;
    if c.c >= MIN_CHANNELS && c.m >= MIN_CHANNELS && c.output.iter().all(|&n| n >= 4) { 4 } else { 0 }
}

/// Weights in the kernel's layout, made once for all plans. What was read in a mapped file leaves memory as it is packed,
/// and elements that were made for this alone are gone afterwards.
pub(crate) fn pack(t: &Tensor, layout: Layout, shared: &Shared) -> Result<Arc<AlignedBytes>> {
    /// Bytes of a file that are read before they are given back.
    const RELEASE_BYTES: usize = 4 << 20;
    let key = (t.identity(), layout, None);
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
    let bytes = Arc::new(in_layout(src, layout, &mut done)?);
    own.release_pages(released..src.len() * 4);
    // The tensor is kept beside its packed form, so that its identity stays its own.
    packed.insert(key, (vec![t.clone()], Arc::clone(&bytes)));
    Ok(bytes)
}

/// The pairs of constants in a kernel's layout, made once for all plans.
fn pack_pairs(
    x: &Tensor,
    zero: Option<&Tensor>,
    pairs: &Pairs,
    layout: Layout,
    shared: &Shared,
) -> Result<Arc<AlignedBytes>> {
    let key = (x.identity(), layout, Some((*pairs, zero.map_or(0, Tensor::identity))));
    let mut packed = shared.kernels.packed.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, bytes)) = packed.get(&key) {
        return Ok(Arc::clone(bytes));
    }
    let bytes = Arc::new(in_layout(&pairs.of(x, zero)?, layout, &mut |_| {})?);
    x.release_pages(0..x.bytes().len());
    packed.insert(key, (std::iter::once(x).chain(zero).cloned().collect(), Arc::clone(&bytes)));
    Ok(bytes)
}

/// Elements of four bytes in another layout; `done` hears how many leading ones will not be read again.
fn in_layout(src: &[[u8; 4]], layout: Layout, done: &mut dyn FnMut(usize)) -> Result<AlignedBytes> {
    let len_elems = match &layout {
        Layout::Rhs(layout, ..) | Layout::Rows(layout, _) => layout.len_elems(),
        Layout::Conv(layout) => layout.len_elems(),
        Layout::Plain => src.len(),
    };
    let mut bytes = AlignedBytes::pages(len_elems * 4);
    let dst = bytes.as_mut_slice().as_chunks_mut::<4>().0;
    match layout {
        Layout::Rows(layout, first) => {
            let skipped = first * layout.k;
            let rows = src.get(skipped..).unwrap_or_default();
            layout.pack_reporting(rows, 1, layout.k, dst, &mut |n| done(skipped + n))
        }
        Layout::Rhs(layout, k_stride, n_stride) => layout.pack_reporting(src, k_stride, n_stride, dst, done),
        Layout::Conv(layout) => layout.pack_reporting(src, dst, done),
        Layout::Plain => {
            dst.copy_from_slice(src);
            Ok(())
        }
    }
    .map_err(|e| Error::bug(format!("packing weights: {e}")))?;
    Ok(bytes)
}
