//! The recorded form of a kernel: types, operations, structured instructions.
//!
//! Everything derives `Hash` and `Eq`, because equal kernels are compiled once. Floating constants are kept as bits.

/// The element of a scalar or of a vector lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elem {
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
}

impl Elem {
    /// Size in bytes.
    pub const fn size_bytes(self) -> usize {
        match self {
            Elem::I8 => 1,
            Elem::I16 => 2,
            Elem::I32 | Elem::F32 => 4,
            Elem::I64 | Elem::F64 => 8,
        }
    }

    /// Whether this is `F32` or `F64`.
    pub const fn is_float(self) -> bool {
        matches!(self, Elem::F32 | Elem::F64)
    }

    /// The integer of the same size.
    pub const fn as_int(self) -> Elem {
        match self {
            Elem::F32 => Elem::I32,
            Elem::F64 => Elem::I64,
            other => other,
        }
    }
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ty {
    /// A scalar truth value, made by comparing scalars.
    Bool,
    /// A scalar. Addresses, indices and counters are `S(I64)`.
    S(Elem),
    /// A full vector.
    V(Elem),
    /// One truth value per lane of `V(elem)`; the element is always an integer (`I32` masks `F32` vectors too).
    Mask(Elem),
}

impl Ty {
    /// The element, `None` for `Bool`.
    pub const fn elem(self) -> Option<Elem> {
        match self {
            Ty::Bool => None,
            Ty::S(e) | Ty::V(e) | Ty::Mask(e) => Some(e),
        }
    }

    /// The same shape (scalar or vector) with another element.
    pub const fn with_elem(self, e: Elem) -> Ty {
        match self {
            Ty::Bool | Ty::S(_) => Ty::S(e),
            Ty::V(_) => Ty::V(e),
            Ty::Mask(_) => Ty::Mask(e.as_int()),
        }
    }
}

/// A value of one kernel; its type is `KernelFn::types[id]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Val(pub(crate) u32);

impl Val {
    /// Index into [`KernelFn::types`].
    pub const fn idx(self) -> usize {
        self.0 as usize
    }
}

/// Operations of one operand, lane by lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnOp {
    /// Negation: sign flip for floats, wrapping for integers.
    Neg,
    /// Absolute value: clears the sign of floats, wrapping for integers.
    Abs,
    /// Bitwise (integers) or logical (masks, `Bool`) complement.
    Not,
    /// Correctly rounded square root.
    Sqrt,
    Floor,
    Ceil,
    Trunc,
    /// To the nearest integer, ties to even.
    Nearest,
}

/// Operations of two operands of one type, lane by lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinOp {
    /// IEEE for floats, wrapping for integers; likewise `Sub` and `Mul`.
    Add,
    Sub,
    Mul,
    /// IEEE for floats. Integers (scalars only): truncating, signed; division by zero gives 0, `MIN / -1` wraps.
    Div,
    /// Remainder of the truncating signed division; 0 where the divisor is 0.
    Rem,
    /// As `Div`, unsigned.
    DivU,
    /// As `Rem`, unsigned.
    RemU,
    /// Floats: `if a < b { a } else { b }`, so `b` when either is NaN (one instruction on x86). Integers: signed minimum.
    Min,
    /// Floats: `if b < a { a } else { b }`. Integers: signed maximum.
    Max,
    /// IEEE 754-2019 `minimum` (floats): NaN if either is NaN, `-0 < +0`.
    MinNan,
    /// IEEE 754-2019 `maximum` (floats).
    MaxNan,
    /// Unsigned minimum (integers).
    MinU,
    /// Unsigned maximum (integers).
    MaxU,
    /// Bitwise on integers, logical on masks and `Bool`; likewise `Or` and `Xor`.
    And,
    Or,
    Xor,
    /// Shift left. The second operand is a scalar `I32` or `I64` count below the element width (taken modulo it); also
    /// for vectors. Likewise `ShrS` (arithmetic) and `ShrU` (logical).
    Shl,
    ShrS,
    ShrU,
}

/// Comparisons. On floats all but `Ne` are false when an operand is NaN; `Ne` is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CmpOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// Unsigned (integers only), likewise `LeU`.
    LtU,
    LeU,
}

/// Conversions. Vector conversions keep the lane count unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cvt {
    /// Integer to wider integer, signed. Scalars only, likewise `ZeroExtend` and `Truncate`. `Bool` zero-extends.
    SignExtend,
    ZeroExtend,
    /// Integer to narrower integer, dropping high bits.
    Truncate,
    /// Signed integer to float, rounded to nearest even. Vectors: `I32` to `F32`.
    FromSint,
    /// Unsigned integer to float.
    FromUint,
    /// Float to signed integer, towards zero, saturating, NaN to 0. Vectors: `F32` to `I32`.
    ToSintSat,
    /// Float to unsigned integer, saturating.
    ToUintSat,
    /// `F32` to `F64`. Scalars.
    Promote,
    /// `F64` to `F32`, rounded to nearest even. Scalars.
    Demote,
    /// Lower half of the lanes of `V(F32)` to `V(F64)`, or of `V(I32)` to `V(I64)` (signed).
    WidenLow,
    /// Upper half of the lanes, as `WidenLow`.
    WidenHigh,
    /// The same bits as another type of the same size; a mask becomes all-ones lanes.
    Bits,
}

/// Horizontal reductions of a vector to a scalar. The tree is fixed: upper half onto lower half, until one lane is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduce {
    Add,
    Mul,
    Min,
    Max,
    MinNan,
    MaxNan,
}

impl Reduce {
    /// The lane-wise operation.
    pub const fn bin(self) -> BinOp {
        match self {
            Reduce::Add => BinOp::Add,
            Reduce::Mul => BinOp::Mul,
            Reduce::Min => BinOp::Min,
            Reduce::Max => BinOp::Max,
            Reduce::MinNan => BinOp::MinNan,
            Reduce::MaxNan => BinOp::MaxNan,
        }
    }
}

/// An operation that defines one value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The lower bound of the parallel range.
    Begin,
    /// The upper bound of the parallel range.
    End,
    /// Address held in entry `n` of the pointer table.
    Buf(u32),
    /// A constant of the defined value's type: the element's bits, in all lanes of a vector.
    Const(u64),
    Un(UnOp, Val),
    Bin(BinOp, Val, Val),
    /// `a * b + c`, fused where the machine can, else rounded twice.
    Fma(Val, Val, Val),
    Cmp(CmpOp, Val, Val),
    /// `cond ? a : b` by a mask (lane by lane) or a `Bool` (whole value).
    Select(Val, Val, Val),
    /// A scalar in all lanes.
    Splat(Val),
    Cvt(Cvt, Val),
    /// Two `V(F64)` to one `V(F32)`: the first gives the lower lanes.
    DemoteTwo(Val, Val),
    /// Scalar or full vector at `addr + off` bytes. No alignment is required.
    Load {
        addr: Val,
        off: i32,
    },
    /// One element at `addr + off`, in all lanes.
    LoadSplat {
        addr: Val,
        off: i32,
    },
    /// The first `n` lanes from `addr + off`, zeros above; reads nothing past them. `0 <= n`, `n` above lanes means all.
    LoadN {
        addr: Val,
        off: i32,
        n: Val,
    },
    /// As many narrow integers as the result `V(I32)` has lanes, extended.
    LoadWiden {
        from: Elem,
        signed: bool,
        addr: Val,
        off: i32,
    },
    ExtractLane(Val, u8),
    InsertLane(Val, u8, Val),
    /// Lane `i` of the result is lane `idx[i]` of the concatenation of both operands.
    Shuffle(Val, Val, Vec<u8>),
    HReduce(Reduce, Val),
    /// Lane `l` of `V(I32)`: `acc[l] + sum over q < 4 of u8(a)[4l+q] * i8(b)[4l+q]`, wrapping; `a` and `b` are `V(I8)`.
    DotU8I8 {
        acc: Val,
        a: Val,
        b: Val,
    },
    /// Lane `l` of `V(I32)`: `acc[l] + a[2l] * b[2l] + a[2l+1] * b[2l+1]` over signed `V(I16)`, wrapping.
    DotI16 {
        acc: Val,
        a: Val,
        b: Val,
    },
    /// Address of a fresh block of the stack frame, aligned to 16 bytes.
    StackAddr {
        len_bytes: u32,
    },
}

/// One instruction of a structured body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Inst {
    Def {
        dst: Val,
        op: Op,
    },
    /// Scalar or full vector to `addr + off` bytes.
    Store {
        addr: Val,
        off: i32,
        value: Val,
    },
    /// The first `n` lanes only.
    StoreN {
        addr: Val,
        off: i32,
        value: Val,
        n: Val,
    },
    /// The low bits of the lanes of a `V(I32)`, as packed narrow integers.
    StoreNarrow {
        to: Elem,
        addr: Val,
        off: i32,
        value: Val,
    },
    /// `idx` runs from `lo` while `idx < hi` (signed) by `step > 0`. `params` hold `init` first, then each turn's `next`;
    /// `results` are the last ones.
    For {
        lo: Val,
        hi: Val,
        step: i64,
        idx: Val,
        init: Vec<Val>,
        params: Vec<Val>,
        body: Vec<Inst>,
        next: Vec<Val>,
        results: Vec<Val>,
    },
    If {
        cond: Val,
        then_body: Vec<Inst>,
        then_vals: Vec<Val>,
        else_body: Vec<Inst>,
        else_vals: Vec<Val>,
        results: Vec<Val>,
    },
    /// Calls entry `slot` of the host-function table (an array of code addresses) at address `table`, by the C calling
    /// convention, with scalar arguments.
    CallHost {
        table: Val,
        slot: u32,
        args: Vec<Val>,
        dst: Option<Val>,
    },
}

/// A recorded kernel.
#[derive(Clone, Debug)]
pub struct KernelFn {
    /// For listings, profiles and exported symbols; takes no part in equality.
    pub name: String,
    /// 32-bit lanes per vector that the kernel was recorded for.
    pub lanes: usize,
    /// Whether operations are recorded in the order they are to run, so that an optimiser must not move them: register
    /// tiles interleave loads and multiply-adds by hand.
    pub in_order: bool,
    /// Type of each value.
    pub types: Vec<Ty>,
    /// The body.
    pub body: Vec<Inst>,
}

impl PartialEq for KernelFn {
    fn eq(&self, other: &Self) -> bool {
        self.lanes == other.lanes
            && self.in_order == other.in_order
            && self.types == other.types
            && self.body == other.body
    }
}

impl Eq for KernelFn {}

impl std::hash::Hash for KernelFn {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.lanes.hash(state);
        self.in_order.hash(state);
        self.types.hash(state);
        self.body.hash(state);
    }
}

impl KernelFn {
    /// Type of a value.
    pub fn ty(&self, v: Val) -> Ty {
        self.types[v.idx()]
    }

    /// Lanes of a vector of `elem`.
    pub fn lanes_of(&self, elem: Elem) -> usize {
        self.lanes * 4 / elem.size_bytes()
    }
}
