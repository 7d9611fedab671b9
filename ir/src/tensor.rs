//! Dense tensors in memory: element type, extents, row-major elements.
//!
//! Elements are shared, never copied by cloning; they live in 64-byte aligned memory of ours, inside a memory map (large
//! weights, of any alignment), or nowhere: a deferred tensor makes them when they are read. Reference evaluation reads and writes through [`Tensor::floats`], [`Tensor::ints`] and
//! [`Tensor::take`], so that an operator's `eval` is written once for all element types.

use crate::dtype::{Class, DType};
use crate::error::{Error, Result};
use crate::num;
use bytes::Bytes;
use half::{bf16, f16};
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Chunk([u8; 64]);

/// Bytes in 64-byte aligned memory (a cache line, and the widest vector register).
#[derive(Clone)]
pub struct AlignedBytes {
    memory: Memory,
    len: usize,
}

enum Memory {
    Heap(Vec<Chunk>),
    Pages(memmap2::MmapMut),
}

impl Clone for Memory {
    fn clone(&self) -> Memory {
        match self {
            Memory::Heap(chunks) => Memory::Heap(chunks.clone()),
            Memory::Pages(pages) => {
                let mut copy = Memory::pages(pages.len());
                copy.as_mut_slice()[..pages.len()].copy_from_slice(pages);
                copy
            }
        }
    }
}

impl Memory {
    fn heap(len: usize) -> Memory {
        Memory::Heap(vec![Chunk([0; 64]); len.div_ceil(64)])
    }

    fn pages(len: usize) -> Memory {
        let Ok(pages) = memmap2::MmapMut::map_anon(len) else { return Memory::heap(len) };
        // A stream through pages of 4 KiB waits for the memory at the beginning of each. Advice that is not taken costs nothing.
        #[cfg(target_os = "linux")]
        if len >= HUGE_PAGE_BYTES {
            let _ = pages.advise(memmap2::Advice::HugePage);
        }
        Memory::Pages(pages)
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Memory::Heap(chunks) => bytemuck::cast_slice(chunks),
            Memory::Pages(pages) => pages,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Memory::Heap(chunks) => bytemuck::cast_slice_mut(chunks),
            Memory::Pages(pages) => pages,
        }
    }
}

/// Memory of so many bytes asks for huge pages, of so many bytes on x86-64 and most of aarch64.
#[cfg(target_os = "linux")]
const HUGE_PAGE_BYTES: usize = 2 << 20;

impl AlignedBytes {
    /// Below this, [`AlignedBytes::pages`] takes memory from the heap: 16 pages of 4 KiB.
    const MIN_PAGES_BYTES: usize = 64 << 10;

    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> AlignedBytes {
        AlignedBytes { memory: Memory::heap(len), len }
    }

    /// `len` zero bytes that, where they are many, have pages of their own: a page takes memory when it is first
    /// touched, and all go back to the system at the end. For what is large and lives long; setting pages up costs
    /// more than a piece of heap that was used before.
    pub fn pages(len: usize) -> AlignedBytes {
        if len < AlignedBytes::MIN_PAGES_BYTES {
            return AlignedBytes::zeroed(len);
        }
        AlignedBytes { memory: Memory::pages(len), len }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// `len` zero bytes.
    ///
    /// # Errors
    /// When the system has not so much memory.
    pub fn try_zeroed(len: usize) -> Result<AlignedBytes> {
        // Room is asked for first, and given back: a vector of zeros comes from the system without being written.
        let mut chunks: Vec<Chunk> = Vec::new();
        chunks
            .try_reserve_exact(len.div_ceil(64))
            .map_err(|_| Error::limit(format!("the system refuses {len} bytes")))?;
        drop(chunks);
        Ok(AlignedBytes::zeroed(len))
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> AlignedBytes {
        let mut out = AlignedBytes::zeroed(bytes.len());
        out.as_mut_slice().copy_from_slice(bytes);
        out
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.memory.as_slice()[..self.len]
    }

    /// The bytes as `f32`s, writable; bytes beyond a multiple of four are left out.
    pub fn as_mut_f32(&mut self) -> &mut [f32] {
        let n = self.len / 4 * 4;
        bytemuck::cast_slice_mut(&mut self.memory.as_mut_slice()[..n])
    }

    /// The bytes, writable.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory.as_mut_slice()[..self.len]
    }
}

#[derive(Clone)]
enum Data {
    Owned(Arc<AlignedBytes>),
    Mapped(Bytes),
    Strings(Arc<Vec<Arc<str>>>),
    Deferred(Deferred),
}

/// Makes the elements of a deferred tensor.
type Recipe = dyn Fn() -> AlignedBytes + Send + Sync;

/// Elements that are made when they are read; each clone makes its own, so that dropping it frees them.
struct Deferred {
    recipe: Arc<Recipe>,
    len_bytes: usize,
    made: OnceLock<AlignedBytes>,
}

impl Clone for Deferred {
    fn clone(&self) -> Deferred {
        Deferred { recipe: Arc::clone(&self.recipe), len_bytes: self.len_bytes, made: OnceLock::new() }
    }
}

impl Deferred {
    fn bytes(&self) -> &AlignedBytes {
        self.made.get_or_init(|| {
            let bytes = (self.recipe)();
            assert_eq!(bytes.len(), self.len_bytes, "a recipe fills its tensor");
            bytes
        })
    }
}

/// A dense row-major tensor.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Data,
}

/// A Rust number that an element type is stored as.
pub trait Element: bytemuck::Pod {
    /// The element type.
    const DTYPE: DType;
}

macro_rules! elements { ($($t:ty => $d:ident),*) => { $(impl Element for $t { const DTYPE: DType = DType::$d; })* } }
elements!(f32 => F32, f64 => F64, f16 => F16, bf16 => BF16, i8 => I8, i16 => I16, i32 => I32, i64 => I64,
          u8 => U8, u16 => U16, u32 => U32, u64 => U64);

/// The number of elements. An error where the extents other than 0 have a product of more than 2^48: so any product of
/// extents of a tensor can be taken, also of one without elements.
pub fn len_elems(shape: &[usize]) -> Result<usize> {
    let len = shape.iter().filter(|&&d| d > 0).try_fold(1usize, |a, &d| a.checked_mul(d));
    match len {
        Some(n) if n <= 1 << 48 => Ok(if shape.contains(&0) { 0 } else { n }),
        _ => Err(Error::limit(format!("a tensor of shape {shape:?} has more than 2^48 elements"))),
    }
}

/// Row-major strides in elements.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut out = vec![1usize; shape.len()];
    for i in (1..shape.len()).rev() {
        out[i - 1] = out[i].wrapping_mul(shape[i]);
    }
    out
}

/// Visits every index of `shape` in row-major order.
pub fn indices(shape: &[usize]) -> Indices {
    Indices { shape: shape.to_vec(), next: (!shape.contains(&0)).then(|| vec![0; shape.len()]) }
}

/// Iterator over the indices of a shape, row-major.
pub struct Indices {
    shape: Vec<usize>,
    next: Option<Vec<usize>>,
}

impl Iterator for Indices {
    type Item = Vec<usize>;
    fn next(&mut self) -> Option<Vec<usize>> {
        let current = self.next.clone()?;
        let index = self.next.as_mut().expect("checked above");
        let mut axis = index.len();
        loop {
            if axis == 0 {
                self.next = None;
                break;
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < self.shape[axis] {
                break;
            }
            index[axis] = 0;
        }
        Some(current)
    }
}

/// The largest tensor that [`Tensor::zeros`] makes: 64 GiB. Callers with a tighter limit check first.
pub const MAX_BYTES: usize = 1 << 36;

/// Unaligned bytes up to this many are copied: not worth a reader's slow path.
const COPY_UP_TO_BYTES: usize = 4 << 10;

impl Tensor {
    /// A tensor of zeros (empty strings for strings).
    ///
    /// # Errors
    /// When it would have more than [`MAX_BYTES`] bytes.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Tensor> {
        let n = len_elems(shape)?;
        if dtype == DType::String {
            if n > MAX_BYTES / 16 {
                return Err(Error::limit(format!("{n} strings")));
            }
            return Ok(Tensor::from_strings(shape, vec![Arc::from(""); n]));
        }
        match n.checked_mul(dtype.size_bytes()) {
            Some(bytes) if bytes <= MAX_BYTES => Ok(Tensor {
                dtype,
                shape: shape.to_vec(),
                data: Data::Owned(Arc::new(AlignedBytes::try_zeroed(bytes)?)),
            }),
            _ => Err(Error::limit(format!("a tensor {dtype}{shape:?} needs more than {MAX_BYTES} bytes"))),
        }
    }

    /// A tensor over bytes in memory order (two- and four-bit kinds one a byte), of any alignment. Copies only few
    /// bytes, and those only where they are not aligned to an element.
    ///
    /// # Errors
    /// When the length does not fit the shape, or the type is `string`.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: Bytes) -> Result<Tensor> {
        let want = len_elems(shape)?.checked_mul(dtype.size_bytes());
        if dtype == DType::String || want != Some(bytes.len()) {
            return Err(Error::invalid(format!("{} bytes given for a tensor {dtype}{shape:?}", bytes.len())));
        }
        let aligned = bytes.as_ptr().align_offset(dtype.size_bytes().min(8)) == 0;
        let data = if aligned || bytes.len() > COPY_UP_TO_BYTES {
            Data::Mapped(bytes)
        } else {
            Data::Owned(Arc::new(AlignedBytes::copy_of(&bytes)))
        };
        Ok(Tensor { dtype, shape: shape.to_vec(), data })
    }

    /// A tensor that takes over aligned memory.
    ///
    /// # Errors
    /// When the length does not fit the shape, or the type is `string`.
    pub fn from_aligned(dtype: DType, shape: &[usize], bytes: AlignedBytes) -> Result<Tensor> {
        if dtype == DType::String || len_elems(shape)?.checked_mul(dtype.size_bytes()) != Some(bytes.len) {
            return Err(Error::invalid(format!("{} bytes given for a tensor {dtype}{shape:?}", bytes.len)));
        }
        Ok(Tensor { dtype, shape: shape.to_vec(), data: Data::Owned(Arc::new(bytes)) })
    }

    /// A tensor whose elements `recipe` makes when they are first read, the same each time. A clone holds the recipe
    /// alone and makes elements of its own: for large constants that are cheap to make from others (a scaled weight)
    /// and are read once, to be packed.
    ///
    /// # Errors
    /// When it would have more than [`MAX_BYTES`] bytes, or the type is `string`.
    ///
    /// # Panics
    /// Reading panics if the recipe makes another number of bytes.
    pub fn deferred(
        dtype: DType,
        shape: &[usize],
        recipe: impl Fn() -> AlignedBytes + Send + Sync + 'static,
    ) -> Result<Tensor> {
        let len_bytes = len_elems(shape)?.checked_mul(dtype.size_bytes()).filter(|&n| n <= MAX_BYTES);
        let Some(len_bytes) = len_bytes.filter(|_| dtype != DType::String) else {
            return Err(Error::limit(format!("a deferred tensor {dtype}{shape:?}")));
        };
        let deferred = Deferred { recipe: Arc::new(recipe), len_bytes, made: OnceLock::new() };
        Ok(Tensor { dtype, shape: shape.to_vec(), data: Data::Deferred(deferred) })
    }

    /// Whether its elements are made when they are read.
    pub fn is_deferred(&self) -> bool {
        matches!(self.data, Data::Deferred(_))
    }

    /// The same tensor with elements in memory, shared by its clones, where it was a deferred one.
    pub fn materialised(self) -> Tensor {
        let Data::Deferred(mut deferred) = self.data else { return self };
        deferred.bytes();
        let bytes = deferred.made.take().expect("made above");
        Tensor { data: Data::Owned(Arc::new(bytes)), ..self }
    }

    /// A number that tensors share exactly when they share their elements, or the recipe for them; valid as long as
    /// one of them lives.
    pub fn identity(&self) -> usize {
        match &self.data {
            Data::Deferred(d) => Arc::as_ptr(&d.recipe).cast::<u8>() as usize,
            Data::Strings(s) => Arc::as_ptr(s) as usize,
            _ => self.bytes().as_ptr() as usize,
        }
    }

    /// Gives the pages behind the elements in `range` (bytes) back to the system where they lie in a mapped file; they
    /// are read from there again when they are touched.
    pub fn release_pages(&self, range: std::ops::Range<usize>) {
        if let Data::Mapped(b) = &self.data
            && let Some(bytes) = b.get(range)
        {
            crate::map::release(bytes);
        }
    }

    /// A tensor from Rust numbers.
    ///
    /// # Panics
    /// When the number of elements is not that of the shape.
    pub fn from_slice<T: Element>(shape: &[usize], elements: &[T]) -> Tensor {
        assert_eq!(shape.iter().product::<usize>(), elements.len(), "elements must fill the shape");
        let bytes = AlignedBytes::copy_of(bytemuck::cast_slice(elements));
        Tensor { dtype: T::DTYPE, shape: shape.to_vec(), data: Data::Owned(Arc::new(bytes)) }
    }

    /// A rank-0 tensor.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor::from_slice(&[], &[value])
    }

    /// A tensor of strings.
    ///
    /// # Panics
    /// When the number of strings is not that of the shape.
    pub fn from_strings(shape: &[usize], strings: Vec<Arc<str>>) -> Tensor {
        assert_eq!(shape.iter().product::<usize>(), strings.len(), "strings must fill the shape");
        Tensor { dtype: DType::String, shape: shape.to_vec(), data: Data::Strings(Arc::new(strings)) }
    }

    /// Rounds each value once to `dtype` (to nearest, ties to even; integers truncate and saturate; bool is `!= 0`).
    ///
    /// # Panics
    /// When the number of elements is not that of the shape, or the type holds no numbers.
    pub fn from_floats(dtype: DType, shape: &[usize], values: impl IntoIterator<Item = f64>) -> Tensor {
        Tensor::collect(dtype, shape, values.into_iter().map(|v| float_bits(dtype, v)))
    }

    /// Wraps each value to the width of `dtype` (two's complement); floats are rounded, bool is `!= 0`.
    ///
    /// # Panics
    /// When the number of elements is not that of the shape, or the type holds no numbers.
    pub fn from_ints(dtype: DType, shape: &[usize], values: impl IntoIterator<Item = i128>) -> Tensor {
        Tensor::collect(dtype, shape, values.into_iter().map(|v| int_bits(dtype, v)))
    }

    /// A tensor of truth values.
    ///
    /// # Panics
    /// When the number of elements is not that of the shape.
    pub fn from_bools(shape: &[usize], values: impl IntoIterator<Item = bool>) -> Tensor {
        Tensor::collect(DType::Bool, shape, values.into_iter().map(u64::from))
    }

    fn collect(dtype: DType, shape: &[usize], bits: impl Iterator<Item = u64>) -> Tensor {
        let size = dtype.size_bytes();
        assert!(dtype.is_number() || dtype == DType::Bool, "{dtype} holds no real numbers");
        let n: usize = shape.iter().product();
        let mut bytes = AlignedBytes::zeroed(n * size);
        let mut count = 0;
        let out = bytes.as_mut_slice();
        for b in bits {
            out[count * size..(count + 1) * size].copy_from_slice(&b.to_le_bytes()[..size]);
            count += 1;
        }
        assert_eq!(count, n, "elements must fill the shape");
        Tensor { dtype, shape: shape.to_vec(), data: Data::Owned(Arc::new(bytes)) }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Extents.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// The elements' bytes in memory order; empty for strings.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Owned(b) => b.as_slice(),
            Data::Mapped(b) => b,
            Data::Deferred(d) => d.bytes().as_slice(),
            Data::Strings(_) => &[],
        }
    }

    /// The bytes for writing: copied first where they are shared or mapped.
    ///
    /// # Panics
    /// For strings.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.data {
            Data::Strings(_) => panic!("strings have no bytes"),
            Data::Mapped(b) => {
                let copy = AlignedBytes::copy_of(b);
                self.data = Data::Owned(Arc::new(copy));
            }
            Data::Deferred(d) => {
                d.bytes();
                let bytes = d.made.take().expect("made above");
                self.data = Data::Owned(Arc::new(bytes));
            }
            Data::Owned(_) => {}
        }
        let Data::Owned(b) = &mut self.data else { unreachable!("made owned above") };
        Arc::make_mut(b).as_mut_slice()
    }

    /// The elements as Rust numbers, copied only where a map is not aligned.
    ///
    /// # Errors
    /// When the element type is another.
    pub fn slice<T: Element>(&self) -> Result<Cow<'_, [T]>> {
        if T::DTYPE != self.dtype {
            return Err(Error::invalid(format!("elements are {}, asked for as {}", self.dtype, T::DTYPE)));
        }
        Ok(match bytemuck::try_cast_slice(self.bytes()) {
            Ok(s) => Cow::Borrowed(s),
            Err(_) => Cow::Owned(collect(self.bytes())),
        })
    }

    /// The strings.
    ///
    /// # Errors
    /// When the element type is another.
    pub fn strings(&self) -> Result<&[Arc<str>]> {
        match &self.data {
            Data::Strings(s) => Ok(s),
            _ => Err(Error::invalid(format!("elements are {}, asked for as string", self.dtype))),
        }
    }

    /// Every element as `f64` (exact for all kinds but 64-bit integers beyond 2^53; bool as 0 and 1).
    ///
    /// # Errors
    /// For strings and complex numbers.
    pub fn floats(&self) -> Result<Vec<f64>> {
        let b = self.bytes();
        macro_rules! each {
            ($t:ty, $f:expr) => {
                b.chunks_exact(size_of::<$t>())
                    .map(|c| ($f)(<$t>::from_le_bytes(c.try_into().expect("exact chunks"))))
                    .collect()
            };
        }
        Ok(match self.dtype {
            DType::F32 => each!(f32, |v| v as f64),
            DType::F64 => each!(f64, |v| v),
            DType::F16 => each!(u16, |v| f16::from_bits(v).to_f64()),
            DType::BF16 => each!(u16, |v| bf16::from_bits(v).to_f64()),
            t if t.class() == Class::Float => b.iter().map(|&c| f64::from(num::decode(t, c))).collect(),
            t if t.is_int() || t == DType::Bool => self.ints()?.into_iter().map(|v| v as f64).collect(),
            t => return Err(Error::invalid(format!("{t} elements are no real numbers"))),
        })
    }

    /// Every element as an integer (bool as 0 and 1).
    ///
    /// # Errors
    /// For anything but integers and bool.
    pub fn ints(&self) -> Result<Vec<i128>> {
        let b = self.bytes();
        macro_rules! each {
            ($t:ty) => {
                b.chunks_exact(size_of::<$t>())
                    .map(|c| <$t>::from_le_bytes(c.try_into().expect("exact chunks")) as i128)
                    .collect()
            };
        }
        Ok(match self.dtype {
            DType::I8 | DType::I4 | DType::I2 => each!(i8),
            DType::I16 => each!(i16),
            DType::I32 => each!(i32),
            DType::I64 => each!(i64),
            DType::U8 | DType::U4 | DType::U2 | DType::Bool => each!(u8),
            DType::U16 => each!(u16),
            DType::U32 => each!(u32),
            DType::U64 => each!(u64),
            t => return Err(Error::invalid(format!("{t} elements are no integers"))),
        })
    }

    /// Every element as `i64`; `u64` beyond its range is an error.
    ///
    /// # Errors
    /// For anything but integers and bool, and for values beyond `i64`.
    pub fn to_i64s(&self) -> Result<Vec<i64>> {
        self.ints()?
            .into_iter()
            .map(|v| i64::try_from(v).map_err(|_| Error::invalid(format!("{v} is beyond 64 bits"))))
            .collect()
    }

    /// Every element as a truth value.
    ///
    /// # Errors
    /// For anything but bool.
    pub fn bools(&self) -> Result<Vec<bool>> {
        match self.dtype {
            DType::Bool => Ok(self.bytes().iter().map(|&b| b != 0).collect()),
            t => Err(Error::invalid(format!("elements are {t}, asked for as bool"))),
        }
    }

    /// Every complex element as (real, imaginary).
    ///
    /// # Errors
    /// For anything but complex numbers.
    pub fn complexes(&self) -> Result<Vec<(f64, f64)>> {
        match self.dtype {
            DType::C64 => {
                Ok(collect::<[f32; 2]>(self.bytes()).into_iter().map(|[re, im]| (re.into(), im.into())).collect())
            }
            DType::C128 => Ok(collect::<[f64; 2]>(self.bytes()).into_iter().map(|[re, im]| (re, im)).collect()),
            t => Err(Error::invalid(format!("elements are {t}, asked for as complex"))),
        }
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// When the number of elements differs.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Tensor> {
        if len_elems(shape)? != self.len() {
            return Err(Error::invalid(format!("{:?} cannot be seen as {shape:?}", self.shape)));
        }
        Ok(Tensor { shape: shape.to_vec(), ..self.clone() })
    }

    /// A tensor whose `i`-th element is this tensor's element at linear position `from[i]`: bits are moved unread.
    ///
    /// # Errors
    /// When a position is out of range or the count does not fit the shape.
    pub fn take(&self, shape: &[usize], from: impl IntoIterator<Item = usize>) -> Result<Tensor> {
        let mut out = Tensor::zeros(self.dtype, shape)?;
        let mut count = 0;
        let mut write = TensorWriter::new(&mut out);
        for at in from {
            write.copy(count, self, at)?;
            count += 1;
        }
        if count != out.len() {
            return Err(Error::bug(format!("{count} elements taken for shape {shape:?}")));
        }
        Ok(out)
    }

    /// Linear position of an index.
    pub fn position(&self, index: &[usize]) -> usize {
        position(&self.shape, index)
    }
}

/// Numbers from bytes of any alignment.
fn collect<T: bytemuck::Pod>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

/// Linear position of an index in a row-major shape.
pub fn position(shape: &[usize], index: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |at, (&i, &n)| at * n + i)
}

/// Moves single elements between tensors of one type, bits unread.
pub struct TensorWriter<'a> {
    dtype: DType,
    size: usize,
    bytes: &'a mut [u8],
    strings: &'a mut [Arc<str>],
}

impl<'a> TensorWriter<'a> {
    /// Opens `tensor` for writing.
    pub fn new(tensor: &'a mut Tensor) -> TensorWriter<'a> {
        let (dtype, size) = (tensor.dtype, tensor.dtype.size_bytes());
        if dtype != DType::String {
            return TensorWriter { dtype, size, bytes: tensor.bytes_mut(), strings: &mut [] };
        }
        let Data::Strings(s) = &mut tensor.data else { unreachable!("strings are stored as such") };
        TensorWriter { dtype, size, bytes: &mut [], strings: Arc::make_mut(s).as_mut_slice() }
    }

    /// Copies element `from` of `source` to position `to`.
    ///
    /// # Errors
    /// When a position is out of range or the types differ.
    pub fn copy(&mut self, to: usize, source: &Tensor, from: usize) -> Result<()> {
        self.copy_run(to, source, from, 1)
    }

    /// Copies `n` neighbouring elements from `from` on of `source` to positions from `to` on.
    ///
    /// # Errors
    /// When a position is out of range or the types differ.
    pub fn copy_run(&mut self, to: usize, source: &Tensor, from: usize, n: usize) -> Result<()> {
        let out_of_range =
            || Error::invalid(format!("element {from} or {to} (or one of {n} from there) is out of range"));
        if source.dtype != self.dtype {
            return Err(Error::bug(format!("copying {} into {}", source.dtype, self.dtype)));
        }
        if let Data::Strings(s) = &source.data {
            let src = s.get(from..from + n).ok_or_else(out_of_range)?;
            self.strings.get_mut(to..to + n).ok_or_else(out_of_range)?.clone_from_slice(src);
            return Ok(());
        }
        let src = source.bytes().get(from * self.size..(from + n) * self.size).ok_or_else(out_of_range)?;
        self.bytes.get_mut(to * self.size..(to + n) * self.size).ok_or_else(out_of_range)?.copy_from_slice(src);
        Ok(())
    }
}

fn float_bits(dtype: DType, v: f64) -> u64 {
    match dtype {
        DType::F64 => v.to_bits(),
        DType::F32 => u64::from((v as f32).to_bits()),
        DType::F16 => u64::from(num::f16_from_f64(v).to_bits()),
        DType::BF16 => u64::from(num::bf16_from_f64(v).to_bits()),
        DType::Bool => u64::from(v != 0.0),
        t if t.class() == Class::Float => u64::from(num::encode(t, v, true)),
        t => match t.int_range() {
            Some((lo, hi)) => (v as i128).clamp(lo, hi) as u64,
            None => 0,
        },
    }
}

fn int_bits(dtype: DType, v: i128) -> u64 {
    match dtype.class() {
        Class::Float => float_bits(dtype, v as f64),
        Class::Bool => u64::from(v != 0),
        _ if dtype.bits() < 8 => {
            let mask = (1i128 << dtype.bits()) - 1;
            let low = v & mask;
            let negative = dtype.class() == Class::Signed && low >> (dtype.bits() - 1) != 0;
            (if negative { low - (mask + 1) } else { low }) as u64
        }
        _ => v as u64,
    }
}

impl PartialEq for Tensor {
    /// Same type, extents and bits (NaN equals itself, 0 differs from -0).
    fn eq(&self, other: &Tensor) -> bool {
        self.dtype == other.dtype
            && self.shape == other.shape
            && match (&self.data, &other.data) {
                (Data::Strings(a), Data::Strings(b)) => a == b,
                _ => self.bytes() == other.bytes(),
            }
    }
}

impl Eq for Tensor {}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.shape)?;
        if self.len() <= 16 {
            match self.dtype.class() {
                Class::String => write!(f, " {:?}", self.strings().unwrap_or_default()),
                Class::Complex => write!(f, " {:?}", self.complexes().unwrap_or_default()),
                Class::Float => write!(f, " {:?}", self.floats().unwrap_or_default()),
                _ => write!(f, " {:?}", self.ints().unwrap_or_default()),
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_wrap_and_narrow_kinds_sign_extend() {
        let t = Tensor::from_ints(DType::I4, &[4], [7, 8, -9, 15]);
        assert_eq!(t.ints().unwrap(), [7, -8, 7, -1]);
        let t = Tensor::from_ints(DType::U8, &[2], [256, -1]);
        assert_eq!(t.ints().unwrap(), [0, 255]);
    }

    #[test]
    fn take_moves_bits_and_checks_range() {
        let t = Tensor::from_slice(&[3], &[1.0f32, f32::NAN, -0.0]);
        let u = t.take(&[2, 1], [2, 1]).unwrap();
        assert_eq!(u.slice::<f32>().unwrap()[0].to_bits(), (-0.0f32).to_bits());
        assert!(t.take(&[1], [3]).is_err());
    }

    #[test]
    fn a_deferred_tensor_makes_its_elements_for_each_clone() {
        let t = Tensor::from_slice(&[2], &[1.0f32, 2.0]);
        let base = t.clone();
        let twice = move || {
            let base = base.slice::<f32>().unwrap();
            AlignedBytes::copy_of(bytemuck::cast_slice(&[base[0] * 2.0, base[1] * 2.0]))
        };
        let d = Tensor::deferred(DType::F32, &[2], twice).unwrap();
        let want = Tensor::from_slice(&[2], &[2.0f32, 4.0]);
        assert_eq!(d, want);
        assert_eq!(d.identity(), d.clone().identity());
        assert_ne!(d.identity(), t.identity());
        assert_ne!(d.bytes().as_ptr(), d.clone().bytes().as_ptr());
        let m = d.clone().materialised();
        assert_eq!(m.bytes().as_ptr(), m.clone().bytes().as_ptr());
        let mut w = d.clone();
        w.bytes_mut()[0] = 1;
        assert_ne!(w, want);
        assert!(Tensor::deferred(DType::F32, &[1 << 40], || AlignedBytes::zeroed(0)).is_err());
    }

    #[test]
    fn many_unaligned_bytes_are_read_where_they_lie() {
        let numbers: Vec<f32> = (0..2000).map(|i| i as f32).collect();
        let mut raw = vec![0u8];
        raw.extend_from_slice(bytemuck::cast_slice(&numbers));
        let bytes = Bytes::from(raw).slice(1..);
        let (at, start) = (bytes.as_ptr(), bytes.clone());
        let t = Tensor::from_bytes(DType::F32, &[2000], start).unwrap();
        assert_eq!(t.bytes().as_ptr(), at);
        assert_eq!(t.slice::<f32>().unwrap(), numbers);
        let pages = AlignedBytes::pages(100_000);
        assert!(pages.as_slice().iter().all(|&b| b == 0) && pages.len() == 100_000);
        assert_eq!(pages.clone().as_slice().as_ptr().align_offset(64), 0);
    }

    #[test]
    fn absurd_sizes_are_refused() {
        assert!(Tensor::zeros(DType::F32, &[1 << 40, 1 << 40]).is_err());
        assert!(Tensor::zeros(DType::F32, &[0, 1 << 40, 1 << 40]).is_err());
        assert_eq!(Tensor::zeros(DType::F32, &[1 << 40, 0]).unwrap().len(), 0);
        assert!(Tensor::zeros(DType::F32, &[usize::MAX, 2, 0]).is_err());
    }

    #[test]
    fn indices_run_row_major() {
        assert_eq!(indices(&[2, 2]).collect::<Vec<_>>(), [[0, 0], [0, 1], [1, 0], [1, 1]]);
        assert_eq!(indices(&[]).count(), 1);
        assert_eq!(indices(&[3, 0]).count(), 0);
    }
}
