"""ONNX's operators, as their newest opsets have them, in functions of PyTorch: `OPERATORS` by name.

An operator takes its attributes (a dict) and its operands (tensors, None where one is left out) and gives a tensor or a tuple.
What torch has in another meaning than ONNX is made of simpler functions; what is not here raises Unsupported.
"""

import itertools
import math

import onnx
import torch
import torch.nn.functional as F

from torch_functions import DTYPES

# Element types by number of TensorProto.DataType.
CODES = {
    getattr(onnx.TensorProto, long): DTYPES[short]
    for long, short in [
        ("FLOAT", "f32"), ("DOUBLE", "f64"), ("FLOAT16", "f16"), ("BFLOAT16", "bf16"), ("BOOL", "bool"), ("UINT8", "u8"),
        ("INT8", "i8"), ("INT16", "i16"), ("INT32", "i32"), ("INT64", "i64"), ("UINT16", "u16"), ("UINT32", "u32"),
        ("UINT64", "u64"),
    ]
}
NUMBERS = {dtype: code for code, dtype in CODES.items()}
OPERATORS = {}


class Unsupported(RuntimeError):
    def __init__(self, what):
        super().__init__(f"unsupported: {what}")


def operator(*names):
    def enter(f):
        OPERATORS.update((name, f) for name in names)
        return f

    return enter


def dtype_of(code):
    if code not in CODES:
        raise Unsupported(f"elements of type {onnx.TensorProto.DataType.Name(code)}")
    return CODES[code]


def ints(tensor):
    return [int(v) for v in tensor.reshape(-1).tolist()]


def is_float(x):
    return x.dtype.is_floating_point


def real(a, name, usual):
    """A float attribute, whose default has 32 bits as one that is given."""
    return a[name] if name in a else torch.tensor(usual, dtype=torch.float32).item()


def wide(f):
    """An operator whose elements of 16 bits are computed with 32, as torch does by itself in most functions."""

    def g(a, x, *rest):
        if x.dtype not in (torch.float16, torch.bfloat16):
            return f(a, x, *rest)
        return f(a, *(t.float() if t is not None and t.dtype == x.dtype else t for t in (x, *rest))).to(x.dtype)

    return g


# One operand, element by element.

for _name, _function in {
    "Abs": torch.abs, "Acos": torch.acos, "Acosh": torch.acosh, "Asin": torch.asin, "Asinh": torch.asinh, "Atan": torch.atan,
    "Atanh": torch.atanh, "Cos": torch.cos, "Cosh": torch.cosh, "Erf": torch.erf, "Exp": torch.exp, "Log": torch.log,
    "Mish": F.mish, "Neg": torch.neg, "Not": torch.logical_not, "Reciprocal": torch.reciprocal, "Relu": torch.relu,
    "Sigmoid": torch.sigmoid, "Sign": torch.sign, "Sin": torch.sin, "Sinh": torch.sinh, "Sqrt": torch.sqrt, "Tan": torch.tan,
    "Tanh": torch.tanh, "Ceil": torch.ceil, "Floor": torch.floor, "Round": torch.round, "IsNaN": torch.isnan,
    "BitwiseNot": torch.bitwise_not, "Identity": torch.clone, "Softsign": F.softsign, "HardSwish": F.hardswish,
}.items():
    OPERATORS[_name] = lambda a, x, f=_function: f(x)


@operator("Elu")
def elu(a, x):
    return F.elu(x, real(a, "alpha", 1.0))


@operator("Celu")
def celu(a, x):
    return F.celu(x, real(a, "alpha", 1.0))


@operator("Selu")
def selu(a, x):
    alpha, gamma = real(a, "alpha", 1.67326319217681884765625), real(a, "gamma", 1.05070102214813232421875)
    return gamma * F.elu(x, alpha)


@operator("LeakyRelu")
def leaky_relu(a, x):
    return F.leaky_relu(x, real(a, "alpha", 0.01))


@operator("ThresholdedRelu")
def thresholded_relu(a, x):
    # F.threshold keeps what is no number.
    return torch.where(x > real(a, "alpha", 1.0), x, 0).to(x.dtype)


@operator("PRelu")
def prelu(a, x, slope):
    return torch.where(x < 0, x * slope, x)


@operator("HardSigmoid")
def hard_sigmoid(a, x):
    return torch.clamp(real(a, "alpha", 0.2) * x + real(a, "beta", 0.5), 0, 1)


@operator("Softplus")
def softplus(a, x):
    return torch.logaddexp(x, torch.zeros((), dtype=x.dtype))


@operator("Gelu")
def gelu(a, x):
    return F.gelu(x, approximate=a.get("approximate", "none"))


@operator("Swish")
def swish(a, x):
    return x * torch.sigmoid(real(a, "alpha", 1.0) * x)


@operator("Shrink")
def shrink(a, x):
    lambd, bias = real(a, "lambd", 0.5), real(a, "bias", 0.0)
    if not is_float(x):
        raise Unsupported("Shrink of integers")
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, torch.zeros_like(x)))


@operator("IsInf")
def is_inf(a, x):
    found = torch.zeros(x.shape, dtype=torch.bool)
    if a.get("detect_negative", 1):
        found |= x == -math.inf
    if a.get("detect_positive", 1):
        found |= x == math.inf
    return found


@operator("Clip")
def clip(a, x, low=None, high=None):
    if low is not None:
        x = torch.maximum(x, low.reshape(()))
    return x if high is None else torch.minimum(x, high.reshape(()))


@operator("Cast")
def cast(a, x):
    to = dtype_of(a["to"])
    if x.dtype.is_floating_point and not to.is_floating_point and to != torch.bool:
        limits = torch.iinfo(to)
        if not bool(((x >= limits.min) & (x <= limits.max)).all()):
            raise Unsupported("a float that the integer type does not hold")
    return x.to(to)


@operator("CastLike")
def cast_like(a, x, like):
    return cast({"to": NUMBERS[like.dtype]}, x)


@operator("Dropout")
def dropout(a, x, ratio=None, training=None):
    if training is not None and bool(training):
        raise Unsupported("Dropout in training")
    return x.clone(), torch.ones(x.shape, dtype=torch.bool)


# Several operands, element by element.

for _name, _function in {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "And": torch.logical_and, "Or": torch.logical_or,
    "Xor": torch.logical_xor, "Equal": torch.eq, "Greater": torch.gt, "GreaterOrEqual": torch.ge, "Less": torch.lt,
    "LessOrEqual": torch.le, "BitwiseAnd": torch.bitwise_and, "BitwiseOr": torch.bitwise_or, "BitwiseXor": torch.bitwise_xor,
}.items():
    OPERATORS[_name] = lambda a, x, y, f=_function: f(x, y)


@operator("Div")
def div(a, x, y):
    if is_float(x):
        return torch.div(x, y)
    if bool((y == 0).any()):
        raise Unsupported("integers divided by 0")
    return torch.div(x, y, rounding_mode="trunc")


@operator("Mod")
def mod(a, x, y):
    if not is_float(x) and bool((y == 0).any()):
        raise Unsupported("integers divided by 0")
    return torch.fmod(x, y) if a.get("fmod", 0) else torch.remainder(x, y)


@operator("Pow")
def power(a, x, y):
    if not is_float(x) and (is_float(y) or bool((y < 0).any())):
        raise Unsupported("an integer to a power that is none")
    if is_float(x) and is_float(y) and y.dtype.itemsize > x.dtype.itemsize:
        raise Unsupported("a power of another float type")
    # torch makes floats of such exponents, which hold integers up to a point.
    if is_float(x) and not is_float(y) and bool((y.to(torch.int64).abs() > 1 / torch.finfo(x.dtype).eps).any()):
        raise Unsupported("an exponent that is no float")
    return torch.pow(x, y).to(x.dtype)


@operator("BitShift")
def bit_shift(a, x, y):
    size = 8 * x.dtype.itemsize
    if x.dtype not in (torch.uint8, torch.uint16, torch.uint32):
        raise Unsupported(f"BitShift of {x.dtype}")
    wide, by = x.to(torch.int64), y.to(torch.int64)
    bits = by.clamp(max=size)
    wide = (wide << bits) & (2 ** size - 1) if a["direction"] == "LEFT" else wide >> bits
    return torch.where(by >= size, 0, wide).to(x.dtype)


@operator("Max")
def maximum(a, first, *rest):
    for x in rest:
        first = torch.maximum(first, x)
    return first.clone()


@operator("Min")
def minimum(a, first, *rest):
    for x in rest:
        first = torch.minimum(first, x)
    return first.clone()


@operator("Sum")
def add_all(a, first, *rest):
    for x in rest:
        first = first + x
    return first.clone()


@operator("Mean")
def mean_all(a, *all_of):
    return add_all(a, *all_of) / len(all_of)


@operator("Where")
def where(a, condition, x, y):
    return torch.where(condition, x, y)


# Reductions.


def reduced(a, x, axes):
    """Axes to reduce over, and whether they stay."""
    axes = a.get("axes") if axes is None else ints(axes)
    if not axes:
        if a.get("noop_with_empty_axes", 0):
            return None, True
        axes = list(range(x.dim()))
    return sorted({axis % max(x.dim(), 1) for axis in axes}), bool(a.get("keepdims", 1))


def reduction(name, inner, over, outer=None):
    def f(a, x, axes=None):
        axes, keep = reduced(a, x, axes)
        y = inner(x)
        if axes is not None and x.dim():
            y = over(y, axes, keep)
        if name.startswith("ReduceLog") and not is_float(x):
            raise Unsupported("logarithms of integers")
        return (outer(y) if outer else y).to(x.dtype)

    OPERATORS[name] = f


def extreme(f):
    def over(x, axes, keep):
        for axis in reversed(axes):
            if x.shape[axis] == 0:
                raise Unsupported("the greatest of nothing")
            x = f(x, axis, keepdim=keep)
        return x

    return over


def product(x, axes, keep):
    for axis in reversed(axes):
        x = torch.prod(x, axis, keepdim=keep, dtype=x.dtype)
    return x


def total(x, axes, keep):
    return torch.sum(x, axes, keepdim=keep, dtype=x.dtype)


def mean(x, axes, keep):
    if not is_float(x):
        n = math.prod(x.shape[axis] for axis in axes)
        if n == 0:
            raise Unsupported("the mean of no integers")
        return torch.div(torch.sum(x, axes, keepdim=keep, dtype=x.dtype), n, rounding_mode="trunc")
    return torch.mean(x, axes, keepdim=keep)


def same(x):
    return x


reduction("ReduceSum", same, total)
reduction("ReduceMean", same, mean)
reduction("ReduceProd", same, product)
reduction("ReduceMax", same, extreme(torch.amax))
reduction("ReduceMin", same, extreme(torch.amin))
reduction("ReduceL1", torch.abs, total)
reduction("ReduceL2", lambda x: x * x, total, torch.sqrt)
reduction("ReduceSumSquare", lambda x: x * x, total)
reduction("ReduceLogSum", same, total, torch.log)
reduction("ReduceLogSumExp", same, lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep))


def arg_of(best):
    def f(a, x):
        axis, keep = a.get("axis", 0), bool(a.get("keepdims", 1))
        if a.get("select_last_index", 0):
            return x.shape[axis] - 1 - best(x.flip(axis), axis, keepdim=keep)
        return best(x, axis, keepdim=keep)

    return f


OPERATORS["ArgMax"], OPERATORS["ArgMin"] = arg_of(torch.argmax), arg_of(torch.argmin)


@operator("CumSum")
def cum_sum(a, x, axis):
    axis = ints(axis)[0]
    if a.get("reverse", 0):
        x = x.flip(axis)
    y = torch.cumsum(x, axis, dtype=x.dtype)
    if a.get("exclusive", 0):
        y = y.roll(1, axis)
        if y.shape[axis]:
            y.select(axis, 0).zero_()
    return y.flip(axis) if a.get("reverse", 0) else y


@operator("TopK")
def top_k(a, x, k):
    axis, k = a.get("axis", -1), ints(k)[0]
    if k > x.shape[axis]:
        raise ValueError("more elements are asked for than there are")
    # Of equal elements the first come first.
    values, indices = torch.sort(x, dim=axis, descending=bool(a.get("largest", 1)), stable=True)
    return values.narrow(axis, 0, k), indices.narrow(axis, 0, k)


@operator("Softmax")
def softmax(a, x):
    return torch.softmax(x, a.get("axis", -1))


@operator("LogSoftmax")
def log_softmax(a, x):
    return torch.log_softmax(x, a.get("axis", -1))


@operator("Hardmax")
def hardmax(a, x):
    axis = a.get("axis", -1)
    return torch.zeros_like(x).scatter(axis, torch.argmax(x, axis, keepdim=True), 1)


@operator("LpNormalization")
def lp_normalization(a, x):
    p, axis = a.get("p", 2), a.get("axis", -1)
    size = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return torch.where(size == 0, torch.zeros_like(x), x / size)


# Products.


@operator("MatMul")
def mat_mul(a, x, y):
    return torch.matmul(x, y)


@operator("Gemm")
def gemm(a, x, y, c=None):
    x, y = x.t() if a.get("transA", 0) else x, y.t() if a.get("transB", 0) else y
    alpha, beta = real(a, "alpha", 1.0), real(a, "beta", 1.0)
    if not is_float(x):
        if alpha != int(alpha) or beta != int(beta):
            raise Unsupported("integers times a float")
        alpha, beta = int(alpha), int(beta)
    if c is None:
        return alpha * torch.mm(x, y)
    if beta == 0:
        return alpha * torch.mm(x, y) + 0 * c
    return torch.addmm(c.expand(x.shape[0], y.shape[1]), x, y, beta=beta, alpha=alpha)


@operator("Einsum")
def einsum(a, *operands):
    # Sums of narrow integers are wide.
    return torch.einsum(a["equation"], *operands).to(operands[0].dtype)


def less_zero_point(x, zero, axis):
    x = x.to(torch.int32)
    if zero is None:
        return x
    zero = zero.to(torch.int32)
    if zero.dim() == 1 and x.dim() > 1:
        zero = zero.reshape([-1 if k == axis % x.dim() else 1 for k in range(x.dim())])
    return x - zero


@operator("MatMulInteger")
def mat_mul_integer(a, x, y, x_zero=None, y_zero=None):
    if any(z is not None and z.dim() > 1 for z in (x_zero, y_zero)):
        raise Unsupported("zero points of more than one axis")
    return torch.matmul(less_zero_point(x, x_zero, -2), less_zero_point(y, y_zero, -1))


# Windows.


def windows(a, x, kernel):
    """Strides, dilations, and pads of both ends of each spatial axis."""
    n = x.dim() - 2
    strides, dilations = a.get("strides") or [1] * n, a.get("dilations") or [1] * n
    pads = a.get("pads") or [0] * 2 * n
    both = [(pads[i], pads[n + i]) for i in range(n)]
    auto = a.get("auto_pad", "NOTSET")
    if auto == "VALID":
        both = [(0, 0)] * n
    elif auto != "NOTSET":
        both = []
        for size, k, s, d in zip(x.shape[2:], kernel, strides, dilations):
            whole = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
            small, large = whole // 2, whole - whole // 2
            both.append((small, large) if auto == "SAME_UPPER" else (large, small))
    return strides, dilations, both


def padded(x, both, value=0):
    """`x` with so much at both ends of each of its last axes."""
    flat = [v for pair in reversed(both) for v in pair]
    return F.pad(x, flat, value=value) if any(flat) else x


def spatial(x, functions):
    n = x.dim() - 2
    if not 1 <= n <= len(functions):
        raise Unsupported(f"{n} spatial axes")
    return functions[n - 1]


@operator("Conv")
def conv(a, x, w, b=None):
    strides, dilations, both = windows(a, x, w.shape[2:])
    if w.shape[1] == 0:
        raise Unsupported("no channels")
    f = spatial(x, (F.conv1d, F.conv2d, F.conv3d))
    if all(low == high for low, high in both):
        return f(x, w, b, strides, [low for low, _ in both], dilations, a.get("group", 1))
    return f(padded(x, both), w, b, strides, 0, dilations, a.get("group", 1))


@operator("ConvInteger")
def conv_integer(a, x, w, x_zero=None, w_zero=None):
    if w_zero is not None and w_zero.dim() == 1 and w_zero.numel() != 1 and w_zero.numel() != w.shape[0]:
        raise Unsupported("zero points that fit no channels")
    # Sums of products of bytes are exact in binary64.
    x, w = less_zero_point(x, x_zero, 1).double(), less_zero_point(w, w_zero, 0).double()
    return conv(a, x, w).to(torch.int32)


@operator("ConvTranspose")
def conv_transpose(a, x, w, b=None):
    n = x.dim() - 2
    f = spatial(x, (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d))
    if a.get("output_shape") or a.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise Unsupported("pads that a shape of the result gives")
    strides, dilations, both = windows(a, x, w.shape[2:])
    more = a.get("output_padding") or [0] * n
    # The result without pads, of which both ends are cut off or more is added behind.
    y = f(x, w, b, strides, 0, 0, a.get("group", 1), dilations)
    fill = [(-low, extra - high) for (low, high), extra in zip(both, more)]
    if b is not None and any(behind > 0 for _, behind in fill):
        raise Unsupported("a bias where no window is")
    return padded(y, fill)


def pooled(a, x):
    """Kernel, strides, dilations, pads, and what is needed behind them for a last window that is only half there."""
    kernel = a["kernel_shape"]
    strides, dilations, both = windows(a, x, kernel)
    tail = []
    for size, k, s, d, (low, high) in zip(x.shape[2:], kernel, strides, dilations, both):
        reach, whole = (k - 1) * d + 1, size + low + high
        if reach > whole:
            raise Unsupported("a window larger than its operand")
        n = (whole - reach) // s + 1
        natural = n
        if a.get("ceil_mode", 0):
            n = -(-(whole - reach) // s) + 1
            # No window begins behind the operand and what is before it.
            n -= (n - 1) * s >= size + low
        tail.append(0 if n == natural else (n - 1) * s + reach - whole)
    return kernel, strides, dilations, both, tail


@operator("MaxPool")
def max_pool(a, x):
    kernel, strides, dilations, both, tail = pooled(a, x)
    f = spatial(x, (F.max_pool1d, F.max_pool2d, F.max_pool3d))
    # The integers of eight bits are among the floats.
    wide = x if is_float(x) else x.to(torch.float32)
    if all(low == high and low <= k // 2 for (low, high), k in zip(both, kernel)) and not any(tail):
        y = f(wide, kernel, strides, [low for low, _ in both], dilations)
    else:
        least = -math.inf if is_float(x) else torch.iinfo(x.dtype).min
        more = [(low, high + t) for (low, high), t in zip(both, tail)]
        y = f(padded(wide, more, least), kernel, strides, 0, dilations)
    return y.to(x.dtype)


@operator("AveragePool")
def average_pool(a, x):
    kernel, strides, dilations, both, tail = pooled(a, x)
    f = spatial(x, (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d))
    if any(d != 1 for d in dilations):
        raise Unsupported("dilations of AveragePool")
    simple = all(low == high and low <= k // 2 for (low, high), k in zip(both, kernel)) and not any(tail)
    if simple and (n := x.dim() - 2) <= 3:
        include = bool(a.get("count_include_pad", 0))
        return f(x, kernel, strides, [low for low, _ in both], False, include)
    counted = torch.ones(x.shape, dtype=x.dtype)
    more = [(low, high + t) for (low, high), t in zip(both, tail)]
    if a.get("count_include_pad", 0):
        counted = padded(padded(counted, both, 1), [(0, t) for t in tail])
    else:
        counted = padded(counted, more)
    share = f(counted.double(), kernel, strides)
    return (f(padded(x, more).double(), kernel, strides) / share).to(x.dtype)


@operator("GlobalAveragePool")
def global_average_pool(a, x):
    return x.mean(tuple(range(2, x.dim())), keepdim=True) if x.dim() > 2 else x.clone()


@operator("GlobalMaxPool")
def global_max_pool(a, x):
    if math.prod(x.shape[2:]) == 0:
        raise Unsupported("the greatest of nothing")
    return x.amax(tuple(range(2, x.dim())), keepdim=True) if x.dim() > 2 else x.clone()


# Normalisation.


def one_type(*tensors):
    if len({t.dtype for t in tensors if t is not None}) > 1:
        raise Unsupported("operands of several element types")


@operator("BatchNormalization")
def batch_normalization(a, x, scale, bias, mean, var):
    one_type(x, scale, bias, mean, var)
    if a.get("training_mode", 0):
        raise Unsupported("BatchNormalization in training")
    if x.dim() < 2:
        raise Unsupported("a batch without channels")
    return F.batch_norm(x, mean, var, scale, bias, False, 0.0, real(a, "epsilon", 1e-5))


@operator("InstanceNormalization")
def instance_normalization(a, x, scale, bias):
    one_type(x, scale, bias)
    if math.prod(x.shape[2:]) <= 1:
        raise Unsupported("an instance of one element")
    return F.instance_norm(x, weight=scale, bias=bias, eps=real(a, "epsilon", 1e-5))


@operator("GroupNormalization")
def group_normalization(a, x, scale, bias):
    one_type(x, scale, bias)
    return F.group_norm(x, a["num_groups"], scale, bias, real(a, "epsilon", 1e-5))


@operator("LayerNormalization")
def layer_normalization(a, x, scale, bias=None):
    one_type(x, scale, bias)
    axis, epsilon = a.get("axis", -1) % x.dim(), real(a, "epsilon", 1e-5)
    shape = list(x.shape[axis:])
    if x.numel() == 0:
        raise Unsupported("the mean of nothing")
    if a.get("stash_type", 1) not in (NUMBERS[x.dtype], 1):
        raise Unsupported("a normalisation in another type")
    if list(scale.shape) == shape and (bias is None or list(bias.shape) == shape):
        y = F.layer_norm(x, shape, scale, bias, epsilon)
    else:
        y = F.layer_norm(x, shape, None, None, epsilon) * scale
        y = y if bias is None else y + bias
    axes = tuple(range(axis, x.dim()))
    wide = x.double() if x.dtype == torch.float64 else x.float()
    mean = wide.mean(axes, keepdim=True)
    return y, mean, torch.rsqrt((wide - mean).square().mean(axes, keepdim=True) + epsilon)


@operator("RMSNormalization")
def rms_normalization(a, x, scale):
    one_type(x, scale)
    axis, epsilon = a.get("axis", -1) % x.dim(), real(a, "epsilon", 1e-5)
    if list(scale.shape) != list(x.shape[axis:]):
        return F.rms_norm(x, list(x.shape[axis:]), None, epsilon) * scale
    return F.rms_norm(x, list(x.shape[axis:]), scale, epsilon)


@operator("LRN")
def lrn(a, x):
    if a["size"] % 2 == 0:
        raise Unsupported("an even size of LRN")
    return F.local_response_norm(x, a["size"], real(a, "alpha", 1e-4), real(a, "beta", 0.75), real(a, "bias", 1.0))


@operator("MeanVarianceNormalization")
@wide
def mean_variance_normalization(a, x):
    axes = a.get("axes", [0, 2, 3])
    centred = x - x.mean(axes, keepdim=True)
    return centred / (torch.sqrt((centred * centred).mean(axes, keepdim=True)) + real(a, "epsilon", 1e-9))


# Places.


@operator("Reshape")
def reshape(a, x, shape):
    wanted = ints(shape)
    if not a.get("allowzero", 0):
        wanted = [x.shape[k] if v == 0 else v for k, v in enumerate(wanted)]
    return x.reshape(wanted).clone()


@operator("Flatten")
def flatten(a, x):
    axis = a.get("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Transpose")
def transpose(a, x):
    return x.permute(a.get("perm") or list(reversed(range(x.dim())))).contiguous()


@operator("Squeeze")
def squeeze(a, x, axes=None):
    axes = [k for k, d in enumerate(x.shape) if d == 1] if axes is None else ints(axes)
    axes = {axis % max(x.dim(), 1) for axis in axes}
    if any(x.shape[axis] != 1 for axis in axes):
        raise ValueError("an extent is not 1")
    return x.reshape([d for k, d in enumerate(x.shape) if k not in axes])


@operator("Unsqueeze")
def unsqueeze(a, x, axes):
    axes = ints(axes)
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@operator("Expand")
def expand(a, x, shape):
    return x.expand(torch.broadcast_shapes(x.shape, ints(shape))).contiguous()


@operator("Tile")
def tile(a, x, repeats):
    return x.repeat(ints(repeats)) if x.dim() else x.clone()


@operator("Concat")
def concat(a, *operands):
    axis = a["axis"]
    first = operands[0]
    # torch takes a vector of nothing for a tensor of any rank.
    if any(x.dim() != first.dim() for x in operands):
        raise ValueError("operands of several ranks")
    return torch.cat(operands, axis)


@operator("Split")
def split(a, x, sizes=None, n_outputs=1):
    axis = a.get("axis", 0)
    if sizes is not None:
        return torch.split(x, ints(sizes), axis)
    n = a.get("num_outputs") or n_outputs
    piece = -(-x.shape[axis] // n)
    sizes = [min(piece, max(x.shape[axis] - k * piece, 0)) for k in range(n)]
    return torch.split(x, sizes, axis)


@operator("Slice")
def cut(a, x, starts, ends, axes=None, steps=None):
    starts, ends = ints(starts), ints(ends)
    axes = list(range(len(starts))) if axes is None else ints(axes)
    steps = [1] * len(starts) if steps is None else ints(steps)
    for start, end, axis, step in zip(starts, ends, axes, steps):
        if step == 0:
            raise ValueError("a step of 0")
        kept = list(range(x.shape[axis]))[slice(start, end if step > 0 or end >= -x.shape[axis] else None, step)]
        x = x.index_select(axis, torch.tensor(kept, dtype=torch.int64))
    return x


def checked(index, size):
    """Indices from 0 on."""
    index = index.to(torch.int64)
    if bool(((index < -size) | (index >= size)).any()):
        raise IndexError("an index outside of its axis")
    return torch.where(index < 0, index + size, index)


@operator("Gather")
def gather(a, x, indices):
    axis = a.get("axis", 0) % x.dim()
    flat = torch.index_select(x, axis, checked(indices, x.shape[axis]).reshape(-1))
    return flat.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1:]])


@operator("GatherElements")
def gather_elements(a, x, indices):
    axis = a.get("axis", 0) % x.dim()
    return torch.gather(x, axis, checked(indices, x.shape[axis]))


def of_tuples(x, indices):
    """Indices of the last axis as one tensor for each axis of `x` that they name."""
    return tuple(checked(k, x.shape[axis]) for axis, k in enumerate(indices.unbind(-1)))


@operator("GatherND")
def gather_nd(a, x, indices):
    batch = a.get("batch_dims", 0)
    if batch == 0:
        return x[of_tuples(x, indices)].clone()
    shape = list(x.shape[:batch])
    if math.prod(shape) == 0:
        raise Unsupported("a batch of nothing")
    flat = zip(x.reshape(-1, *x.shape[batch:]), indices.reshape(-1, *indices.shape[batch:]))
    found = torch.stack([each[of_tuples(each, k)] for each, k in flat])
    return found.reshape(shape + list(found.shape[1:]))


REDUCE = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("ScatterElements")
def scatter_elements(a, x, indices, updates):
    axis, how = a.get("axis", 0) % x.dim(), a.get("reduction", "none")
    indices = checked(indices, x.shape[axis])
    if how == "none":
        return torch.scatter(x, axis, indices, updates)
    return torch.scatter_reduce(x, axis, indices, updates, REDUCE[how], include_self=True)


@operator("ScatterND")
def scatter_nd(a, x, indices, updates):
    how = a.get("reduction", "none")
    places = of_tuples(x, indices)
    if how in ("none", "add"):
        return x.index_put(places, updates, accumulate=how == "add")
    k = len(places)
    flat = torch.zeros(places[0].shape if places else indices.shape[:-1], dtype=torch.int64)
    for size, place in zip(x.shape[:k], places):
        flat = flat * size + place
    rows = x.reshape(math.prod(x.shape[:k]), -1)
    updates = updates.reshape(flat.numel(), rows.shape[1])
    index = flat.reshape(-1, 1).expand(updates.shape)
    return torch.scatter_reduce(rows, 0, index, updates, REDUCE[how], include_self=True).reshape(x.shape)


@operator("Pad")
def pad(a, x, pads, value=None, axes=None):
    pads = ints(pads)
    axes = list(range(x.dim())) if axes is None else [axis % x.dim() for axis in ints(axes)]
    both = [(0, 0)] * x.dim()
    for k, axis in enumerate(axes):
        both[axis] = (pads[k], pads[len(axes) + k])
    mode = a.get("mode", "constant")
    if mode == "constant":
        # A number of Python does not hold every element.
        if value is not None and x.dtype in (torch.int64, torch.float64) or x.dtype == torch.bool:
            y = torch.full([d + low + high for d, (low, high) in zip(x.shape, both)], 0, dtype=x.dtype)
            if value is not None:
                y = y + value.reshape(()) if x.dtype != torch.bool else y | value.reshape(())
            inner = padded(x, [(min(low, 0), min(high, 0)) for low, high in both])
            for axis, (low, _) in enumerate(both):
                if inner.shape[axis] == 0:
                    return y
            place = tuple(slice(max(low, 0), max(low, 0) + d) for d, (low, _) in zip(inner.shape, both))
            y[place] = inner
            return y
        return padded(x, both, 0 if value is None else value.reshape(()).item()).clone()
    for axis, (low, high) in enumerate(both):
        size = x.shape[axis]
        if (low, high) == (0, 0):
            continue
        if size == 0:
            raise Unsupported("more of nothing")
        at = torch.arange(-low, size + high)
        if mode == "edge":
            at = at.clamp(0, size - 1)
        elif mode == "wrap":
            at = at % size
        else:
            turn = max(2 * (size - 1), 1)
            at = at % turn
            at = torch.where(at >= size, turn - at, at)
        x = x.index_select(axis, at)
    return x


@operator("DepthToSpace")
def depth_to_space(a, x):
    n, c, h, w = x.shape
    b = a["blocksize"]
    if a.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, b)
    return x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // (b * b), h * b, w * b)


@operator("SpaceToDepth")
def space_to_depth(a, x):
    n, c, h, w = x.shape
    b = a["blocksize"]
    if a.get("mode", "DCR") == "CRD":
        return F.pixel_unshuffle(x, b)
    return x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)


@operator("Trilu")
def trilu(a, x, k=None):
    k = 0 if k is None else ints(k)[0]
    if not -2 ** 31 < k < 2 ** 31:
        raise Unsupported("a diagonal that far away")
    return torch.triu(x, k) if a.get("upper", 1) else torch.tril(x, k)


@operator("ReverseSequence")
def reverse_sequence(a, x, lengths):
    time, batch = a.get("time_axis", 0), a.get("batch_axis", 1)
    y = x.clone()
    for b, n in enumerate(ints(lengths)):
        y.select(batch, b).narrow(time - (batch < time), 0, n).copy_(
            x.select(batch, b).narrow(time - (batch < time), 0, n).flip(time - (batch < time)))
    return y


@operator("GridSample")
@wide
def grid_sample(a, x, grid):
    one_type(x, grid)
    # The four taps go to the border each by itself; ONNX takes the point there.
    if a.get("mode", "linear") == "cubic" and a.get("padding_mode", "zeros") != "zeros":
        raise Unsupported("cubic points beyond the border")
    mode = {"linear": "bilinear", "nearest": "nearest", "cubic": "bicubic"}[a.get("mode", "linear")]
    return F.grid_sample(x, grid, mode, a.get("padding_mode", "zeros"), bool(a.get("align_corners", 0)))


@operator("Resize")
def resize(a, x, roi=None, scales=None, sizes=None):
    mode, place = a.get("mode", "nearest"), a.get("coordinate_transformation_mode", "half_pixel")
    aligned = place == "align_corners"
    known = {
        ("nearest", "asymmetric", "floor"): "nearest",
        ("nearest", "half_pixel", "round_prefer_ceil"): "nearest-exact",
    }
    if mode == "nearest":
        name = known.get((mode, place, a.get("nearest_mode", "round_prefer_floor")))
    else:
        name = {"linear": ("linear", "bilinear", "trilinear"), "cubic": (None, "bicubic", None)}[mode]
        name = name[x.dim() - 3] if 3 <= x.dim() <= 5 and (place == "half_pixel" or aligned) else None
    unusual = (a.get("antialias", 0) or a.get("axes") or a.get("exclude_outside", 0)
               or a.get("keep_aspect_ratio_policy", "stretch") != "stretch" or a.get("cubic_coeff_a", -0.75) != -0.75)
    if name is None or unusual or not 3 <= x.dim() <= 5 or x.dtype not in (torch.float32, torch.float64):
        raise Unsupported("another form of Resize")
    if sizes is None:
        # A scale that is no quotient of extents places points otherwise than the quotient does.
        factors = scales.tolist()
        if any(f * d != int(f * d) for f, d in zip(factors, x.shape)):
            raise Unsupported("a scale that is no quotient of extents")
        wanted = [int(f * d) for f, d in zip(factors, x.shape)]
    else:
        wanted = ints(sizes)
    if wanted[:2] != list(x.shape[:2]) or 0 in wanted or x.numel() == 0:
        raise Unsupported("another form of Resize")
    return F.interpolate(x, wanted[2:], mode=name, align_corners=None if mode == "nearest" else aligned)


# Recurrent networks, with the usual activations; one direction or both.


def recurrent(a, x, initial, hidden, directions):
    """Checks what torch's networks have; the operand and initial states, time first."""
    if a.get("activations") or "clip" in a or a.get("layout", 0) or a.get("input_forget", 0):
        raise Unsupported("another form of a recurrent network")
    if x.dtype not in (torch.float32, torch.float64):
        raise Unsupported("sums of 16 bits")
    if 0 in x.shape or hidden == 0:
        raise Unsupported("a recurrent network over nothing")
    empty = torch.zeros(directions, x.shape[1], hidden, dtype=x.dtype)
    states = [empty if state is None else state for state in initial]
    way = a.get("direction", "forward")
    if way == "reverse":
        x = x.flip(0)
    return x, states, way


def turned(w, order, hidden):
    """Gates in torch's order."""
    return torch.cat([w[k * hidden:(k + 1) * hidden] for k in order])


def weights(w, r, b, order, hidden):
    flat = []
    for d in range(w.shape[0]):
        flat += [turned(w[d], order, hidden), turned(r[d], order, hidden)]
        if b is None:
            flat += [torch.zeros(len(order) * hidden, dtype=w.dtype)] * 2
        else:
            gates = len(order) * hidden
            flat += [turned(b[d][:gates], order, hidden), turned(b[d][gates:], order, hidden)]
    return flat


def unfolded(y, way, directions, hidden):
    """`y[time, batch, directions * hidden]` with an axis for directions."""
    y = y.reshape(y.shape[0], y.shape[1], directions, hidden).permute(0, 2, 1, 3)
    return y.flip(0) if way == "reverse" else y


@operator("LSTM")
def lstm(a, x, w, r, b=None, lengths=None, h=None, c=None, peepholes=None):
    if lengths is not None or peepholes is not None:
        raise Unsupported("lengths and peepholes")
    hidden, directions = r.shape[2], w.shape[0]
    x, states, way = recurrent(a, x, (h, c), hidden, directions)
    # From input, output, forget, cell to input, forget, cell, output.
    flat = weights(w, r, b, (0, 2, 3, 1), hidden)
    y, h, c = torch.lstm(x, states, flat, True, 1, 0.0, False, way == "bidirectional", False)
    return unfolded(y, way, directions, hidden), h, c


@operator("GRU")
def gru(a, x, w, r, b=None, lengths=None, h=None):
    if lengths is not None or not a.get("linear_before_reset", 0):
        raise Unsupported("lengths, and a reset before the product")
    hidden, directions = r.shape[2], w.shape[0]
    x, states, way = recurrent(a, x, (h,), hidden, directions)
    # From update, reset, new to reset, update, new.
    flat = weights(w, r, b, (1, 0, 2), hidden)
    y, h = torch.gru(x, states[0], flat, True, 1, 0.0, False, way == "bidirectional", False)
    return unfolded(y, way, directions, hidden), h


@operator("RNN")
def rnn(a, x, w, r, b=None, lengths=None, h=None):
    if lengths is not None:
        raise Unsupported("lengths")
    hidden, directions = r.shape[2], w.shape[0]
    x, states, way = recurrent(a, x, (h,), hidden, directions)
    flat = weights(w, r, b, (0,), hidden)
    y, h = torch.rnn_tanh(x, states[0], flat, True, 1, 0.0, False, way == "bidirectional", False)
    return unfolded(y, way, directions, hidden), h


# What makes tensors.


@operator("Shape")
def shape_of(a, x):
    return torch.tensor(list(x.shape)[slice(a.get("start", 0), a.get("end"))], dtype=torch.int64)


@operator("Size")
def size_of(a, x):
    return torch.tensor(x.numel(), dtype=torch.int64)


@operator("Constant")
def constant(a):
    for name, dtype in (("value_float", torch.float32), ("value_floats", torch.float32), ("value_int", torch.int64),
                        ("value_ints", torch.int64)):
        if name in a:
            return torch.tensor(a[name], dtype=dtype)
    if "value" in a:
        return a["value"]
    raise Unsupported("a constant of another kind")


@operator("ConstantOfShape")
def constant_of_shape(a, shape):
    value = a.get("value", torch.zeros(1))
    return value.reshape(()).expand(ints(shape)).clone()


@operator("Range")
def arange(a, start, limit, delta):
    if is_float(start):
        n = max(math.ceil((limit.double() - start.double()) / delta.double()), 0)
    else:
        n = max(-(-(limit.item() - start.item()) // delta.item()), 0)
    return start.reshape(()) + torch.arange(n, dtype=start.dtype) * delta.reshape(())


@operator("OneHot")
def one_hot(a, indices, depth, values):
    depth = ints(depth)[0]
    axis = a.get("axis", -1) % (indices.dim() + 1)
    at = torch.where(indices < 0, indices + depth, indices) if is_float(indices) else indices.to(torch.int64)
    at = torch.where(at < 0, at + depth, at).unsqueeze(axis)
    places = torch.arange(depth).reshape([-1 if k == axis else 1 for k in range(indices.dim() + 1)])
    return torch.where(at == places, values[1], values[0])


@operator("EyeLike")
def eye_like(a, x):
    k = a.get("k", 0)
    dtype = dtype_of(a["dtype"]) if "dtype" in a else x.dtype
    rows, columns = torch.arange(x.shape[0]).reshape(-1, 1), torch.arange(x.shape[1])
    return (columns - rows == k).to(dtype)


@operator("NonZero")
def non_zero(a, x):
    if x.dim() == 0:
        raise Unsupported("NonZero of a scalar")
    return torch.nonzero(x).t().contiguous()


@operator("Compress")
def compress(a, x, condition):
    if "axis" not in a:
        x, axis = x.reshape(-1), 0
    else:
        axis = a["axis"]
    return x.index_select(axis, torch.nonzero(condition[: x.shape[axis]]).reshape(-1))


# Quantisation.


def by_axis(parameter, x, axis):
    if parameter.dim() == 0 or parameter.numel() == 1 and parameter.dim() == 1:
        return parameter.reshape(())
    if parameter.dim() != 1:
        raise Unsupported("blocks of a quantised operand")
    return parameter.reshape([-1 if k == axis % x.dim() else 1 for k in range(x.dim())])


@operator("DequantizeLinear")
def dequantize_linear(a, x, scale, zero=None):
    if a.get("block_size", 0) or is_float(x) or scale.dtype != torch.float32 or a.get("output_dtype", 1) not in (0, 1):
        raise Unsupported("another form of DequantizeLinear")
    scale = by_axis(scale, x, a.get("axis", 1))
    wide = x.to(torch.int64)
    if zero is not None:
        wide = wide - by_axis(zero, x, a.get("axis", 1)).to(torch.int64)
    return wide.to(torch.float32) * scale


@operator("QuantizeLinear")
def quantize_linear(a, x, scale, zero=None):
    to = dtype_of(a["output_dtype"]) if a.get("output_dtype", 0) else torch.uint8 if zero is None else zero.dtype
    other = a.get("block_size", 0) or a.get("precision", 0) not in (0, 1) or to.is_floating_point
    if other or x.dtype != torch.float32 or scale.dtype != torch.float32:
        raise Unsupported("another form of QuantizeLinear")
    rounded = torch.round(x / by_axis(scale, x, a.get("axis", 1))).double()
    if zero is not None:
        rounded = rounded + by_axis(zero, x, a.get("axis", 1)).double()
    if bool(rounded.isnan().any()):
        raise Unsupported("what is not a number, quantised")
    limits = torch.iinfo(to)
    return rounded.clamp(limits.min, limits.max).to(to)


@operator("CumProd")
def cum_prod(a, x, axis):
    axis = ints(axis)[0]
    if a.get("exclusive", 0):
        raise Unsupported("an exclusive product")
    y = torch.cumprod(x.flip(axis) if a.get("reverse", 0) else x, axis, dtype=x.dtype)
    return y.flip(axis) if a.get("reverse", 0) else y


@operator("Det")
def det(a, x):
    # MKL divides by a pivot as by the reciprocal that it has not: fuzz/FINDINGS.md.
    if bool(((x != 0) & (x.abs() < torch.finfo(x.dtype).tiny)).any()):
        raise Unsupported("a determinant of denormal numbers")
    return torch.linalg.det(x)


def run(model, feeds):
    """Runs a model's graph; tensors by name."""
    values = dict(feeds)
    for node, attrs in model:
        operands = [values[n] if n else None for n in node.input]
        while operands and operands[-1] is None:
            operands.pop()
        more = {"n_outputs": len(node.output)} if node.op_type == "Split" else {}
        try:
            result = OPERATORS[node.op_type](attrs, *operands, **more)
        except Unsupported:
            raise
        except Exception as e:
            # What a function of torch refuses says nothing of ONNX's operator.
            raise Unsupported(f"{node.op_type}: {e}") from e
        result = result if isinstance(result, (tuple, list)) else (result,)
        if len([n for n in node.output if n]) > len(result):
            raise Unsupported(f"{len(node.output)} results of {node.op_type}")
        values.update(zip(node.output, itertools.islice(result, len(node.output))))
    return values
