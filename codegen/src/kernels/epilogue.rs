//! What happens to a result while it is still in a register: bias, residual, activation, any fused pointwise chain.

use std::fmt;
use std::sync::Arc;

use crate::builder::{Builder, Elem, Ty, Val};

/// Code from the accumulator and the operands (all `V(elem)`) to the value that is stored (`V(elem)`).
pub type ApplyFn = dyn Fn(&mut Builder, Val, &[Val]) -> Val + Send + Sync;

/// A tensor that the epilogue reads beside the accumulator, addressed like the output: element strides over the batch
/// axes of the description, the rows and the columns. `col_stride` is 0 (one value per row) or 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EpilogueOperand {
    /// One per batch axis of the kernel's description.
    pub batch_strides: Vec<usize>,
    /// 0 where all rows share values.
    pub row_stride: usize,
    /// 0 or 1.
    pub col_stride: usize,
}

/// The fused end of a contraction.
#[derive(Clone)]
pub struct Epilogue {
    /// Operand `i` is entry `BUF_EPILOGUE + i` of the pointer table.
    pub operands: Vec<EpilogueOperand>,
    /// `None` stores the accumulator as it is.
    pub apply: Option<Arc<ApplyFn>>,
    /// Set for long chains (transcendentals): they run as a loop over the finished tile, in cache, and are recorded once
    /// instead of once per register.
    pub heavy: bool,
}

impl fmt::Debug for Epilogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epilogue")
            .field("operands", &self.operands)
            .field("apply", &self.apply.is_some())
            .field("heavy", &self.heavy)
            .finish()
    }
}

impl Default for Epilogue {
    fn default() -> Self {
        Epilogue::none()
    }
}

impl Epilogue {
    /// Stores the sums.
    pub fn none() -> Epilogue {
        Epilogue { operands: Vec::new(), apply: None, heavy: false }
    }

    /// A chain given as code.
    pub fn new(
        operands: Vec<EpilogueOperand>,
        apply: impl Fn(&mut Builder, Val, &[Val]) -> Val + Send + Sync + 'static,
    ) -> Epilogue {
        Epilogue { operands, apply: Some(Arc::new(apply)), heavy: false }
    }

    /// Appends a step that reads one more operand: `f(b, value so far, operand)`.
    pub fn then_with(
        self,
        operand: EpilogueOperand,
        f: impl Fn(&mut Builder, Val, Val) -> Val + Send + Sync + 'static,
    ) -> Epilogue {
        let n = self.operands.len();
        let before = self.apply;
        let mut operands = self.operands;
        operands.push(operand);
        let apply = move |b: &mut Builder, acc: Val, ops: &[Val]| {
            let v = before.as_ref().map_or(acc, |g| g(b, acc, &ops[..n]));
            f(b, v, ops[n])
        };
        Epilogue { operands, apply: Some(Arc::new(apply)), heavy: self.heavy }
    }

    /// Appends a step that reads several more operands: `f(b, value so far, operands)`.
    pub fn then_all(
        self,
        more: Vec<EpilogueOperand>,
        f: impl Fn(&mut Builder, Val, &[Val]) -> Val + Send + Sync + 'static,
    ) -> Epilogue {
        let n = self.operands.len();
        let before = self.apply;
        let mut operands = self.operands;
        operands.extend(more);
        let apply = move |b: &mut Builder, acc: Val, ops: &[Val]| {
            let v = before.as_ref().map_or(acc, |g| g(b, acc, &ops[..n]));
            f(b, v, &ops[n..])
        };
        Epilogue { operands, apply: Some(Arc::new(apply)), heavy: self.heavy }
    }

    /// Appends a step without operands.
    pub fn then(self, f: impl Fn(&mut Builder, Val) -> Val + Send + Sync + 'static) -> Epilogue {
        let before = self.apply;
        let apply = move |b: &mut Builder, acc: Val, ops: &[Val]| {
            let v = before.as_ref().map_or(acc, |g| g(b, acc, ops));
            f(b, v)
        };
        Epilogue { operands: self.operands, apply: Some(Arc::new(apply)), heavy: self.heavy }
    }

    /// Adds an operand (bias, residual).
    pub fn plus(self, operand: EpilogueOperand) -> Epilogue {
        self.then_with(operand, |b, v, x| b.add(v, x))
    }

    /// Adds a vector with one value per column; `n_batch` is the number of batch axes of the description.
    pub fn bias_per_col(self, n_batch: usize) -> Epilogue {
        self.plus(EpilogueOperand { batch_strides: vec![0; n_batch], row_stride: 0, col_stride: 1 })
    }

    /// Adds a vector with one value per row.
    pub fn bias_per_row(self, n_batch: usize) -> Epilogue {
        self.plus(EpilogueOperand { batch_strides: vec![0; n_batch], row_stride: 1, col_stride: 0 })
    }

    /// `max(v, 0)`, NaN to NaN.
    pub fn relu(self) -> Epilogue {
        self.then(|b, v| {
            let zero = b.zero(b.ty(v));
            // With the zero first, `Max` gives its second operand for NaN.
            b.max(zero, v)
        })
    }

    /// `min(max(v, lo), hi)`, NaN to NaN.
    pub fn clip(self, lo: f64, hi: f64) -> Epilogue {
        self.then(move |b, v| {
            let ty: Ty = b.ty(v);
            let (lo, hi) = (b.const_float(ty, lo), b.const_float(ty, hi));
            let v = b.max(lo, v);
            b.min(hi, v)
        })
    }

    /// Scales by a constant before anything that follows.
    pub fn scale(self, factor: f64) -> Epilogue {
        self.then(move |b, v| {
            let ty = b.ty(v);
            let k = match ty.elem() {
                Some(Elem::F32 | Elem::F64) => b.const_float(ty, factor),
                _ => b.const_int(ty, factor as i64),
            };
            b.mul(v, k)
        })
    }

    /// One row of `len` finished sums at `src`, through the steps, to `dst`; `operands` are the addresses of the row's
    /// first operand elements.
    pub(crate) fn apply_row(&self, b: &mut Builder, elem: Elem, src: Val, dst: Val, operands: &[Val], len: usize) {
        let lanes = b.lanes_of(elem);
        let vec_bytes = (lanes * elem.size_bytes()) as i64;
        let one = |b: &mut Builder, c: &[Val], n: Option<Val>| {
            let load = |b: &mut Builder, addr: Val| match n {
                Some(n) => b.load_n(elem, addr, 0, n),
                None => b.load(Ty::V(elem), addr, 0),
            };
            let mut value = load(b, c[0]);
            if let Some(apply) = &self.apply {
                let mut ops = Vec::with_capacity(self.operands.len());
                for (operand, &addr) in self.operands.iter().zip(&c[2..]) {
                    ops.push(match operand.col_stride {
                        0 => b.load_splat(elem, addr, 0),
                        _ => load(b, addr),
                    });
                }
                value = apply(b, value, &ops);
            }
            match n {
                Some(n) => b.store_n(c[1], 0, value, n),
                None => b.store(c[1], 0, value),
            }
        };
        let mut carried = vec![src, dst];
        carried.extend(operands);
        let (zero, n_vecs) = (b.i64(0), b.i64((len / lanes) as i64));
        let c = b.for_loop(zero, n_vecs, 1, &carried, |b, _, c| {
            one(b, c, None);
            let mut next = vec![b.add_imm(c[0], vec_bytes), b.add_imm(c[1], vec_bytes)];
            for (operand, &addr) in self.operands.iter().zip(&c[2..]) {
                next.push(b.add_imm(addr, operand.col_stride as i64 * vec_bytes));
            }
            next
        });
        if !len.is_multiple_of(lanes) {
            let rest = b.i64((len % lanes) as i64);
            one(b, &c, Some(rest));
        }
    }
}
