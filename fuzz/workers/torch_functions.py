"""PyTorch's documented functions, by dotted name: their parameters, and calls as records keep them.

A record's operands are named by parameter; element k of a list of tensors is named `tensors.k`. What is neither a tensor nor
a list of such is an attribute: an integer, a float, a text, an element type, a list of integers or floats; truth values are 0
and 1 there. Parameters come from torch's own schemas, those of functions written in Python from their annotations.
"""

import inspect
import math
import re

import torch
from torch.overrides import resolve_name

# Element types by the names that records have for them.
DTYPES = {
    "f32": torch.float32, "f64": torch.float64, "f16": torch.float16, "bf16": torch.bfloat16, "bool": torch.bool,
    "u8": torch.uint8, "i8": torch.int8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64,
    "u16": torch.uint16, "u32": torch.uint32, "u64": torch.uint64,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}

# Elements that a record keeps of one tensor, at most.
MAX_ELEMENTS = 16

# Parameters that say where and how a result is stored. Records leave them out where they ask for nothing unusual.
STORAGE = {
    "device": (None, "cpu", torch.device("cpu")), "layout": (None, torch.strided), "pin_memory": (None, False),
    "memory_format": (None, torch.contiguous_format, torch.preserve_format), "requires_grad": (False, True),
    "non_blocking": (False, True), "copy": (False, True), "names": (None,), "_stacklevel": (3,), "generator": (None,),
}

# What torch says of calls that it has no code for.
MARKS = ("not implemented for", "not implemented", "Could not run 'aten::", "not yet supported", "not enough memory",
         "can't allocate memory", "DefaultCPUAllocator", "Promotion for", "not supported on CPU", "is not supported for")

REQUIRED = inspect.Parameter.empty


class Unrecorded(Exception):
    """Why a call is no record."""


class Parameter:
    """A parameter: `kind` is tensor, tensors, flag, int, ints, float, number, floats, text, dtype or any; `spread` is that of
    `*name`, `keyword` that of one that is never given by position."""

    def __init__(self, name, kind, default=REQUIRED, keyword=False, spread=False):
        self.name, self.kind, self.default, self.keyword, self.spread = name, kind, default, keyword, spread

    def takes(self, value):
        if value is None:
            return self.default is None or self.kind == "any"
        tensor = isinstance(value, torch.Tensor)
        whole = isinstance(value, int) and not isinstance(value, bool)
        real = whole or isinstance(value, float)
        items = isinstance(value, (list, tuple))
        of = lambda *types: items and all(isinstance(v, types) and not isinstance(v, bool) for v in value)
        return {
            "tensor": tensor,
            "tensors": of(torch.Tensor) and bool(value) or self.spread and tensor,
            "flag": isinstance(value, bool),
            "int": whole,
            "ints": of(int) or whole,
            "float": real,
            "number": real or isinstance(value, bool),
            "floats": of(int, float) or real,
            "text": isinstance(value, str),
            "dtype": isinstance(value, torch.dtype),
        }.get(self.kind, True)


def name_of(func):
    """The dotted public name of a function that torch's dispatch names; None of what is none (attributes, private ones)."""
    name = resolve_name(func)
    if not name or name.endswith("__"):
        return None
    owner, _, last = name.rpartition(".")
    if last.startswith("_"):
        return None
    plain = getattr(torch, last, None)
    # Methods of the same name, and functions that the top module has too.
    if owner in ("torch.Tensor", "torch.functional") and inspect.isroutine(plain) and resolve_name(plain):
        return f"torch.{last}"
    return name


def function(name):
    """The function of a dotted name.

    Raises LookupError where torch has none.
    """
    at, *path = name.split(".")
    found = torch if at == "torch" else None
    for part in path:
        found = None if part.startswith("_") else getattr(found, part, None)
    if not callable(found):
        raise LookupError(f"unsupported: torch has no function {name}")
    return found


_SIGNATURES = {}


def signatures(name):
    """The lists of parameters that a function takes, one for each overload."""
    if name not in _SIGNATURES:
        func = function(name)
        in_python = _python(func) or _documented(func) if inspect.isfunction(func) else []
        _SIGNATURES[name] = in_python or _schemas(name) or _documented(func)
    return _SIGNATURES[name]


# Namespaces of functions, and what schemas' names have before the function's.
PREFIXES = {"torch.linalg": "linalg_", "torch.fft": "fft_", "torch.special": "special_"}


def _schemas(name):
    owner, _, last = name.rpartition(".")
    packet = getattr(torch.ops.aten, PREFIXES.get(owner, "") + last, None)
    found = []
    for overload in packet.overloads() if packet else []:
        schema = getattr(packet, overload)._schema
        parameters = [_of_schema(a) for a in schema.arguments]
        if all(parameters) and not any(p.name == "out" for p in parameters):
            found.append(parameters)
    return found


def _of_schema(argument):
    text = str(argument.type)
    kind = {
        "Tensor": "tensor", "List[Tensor]": "tensors", "List[Optional[Tensor]]": "tensors", "bool": "flag", "int": "int",
        "List[int]": "ints", "float": "float", "number": "number", "List[float]": "floats", "str": "text",
    }.get(re.sub(r"^Optional\[(.*)\]$", r"\1", text))
    if argument.name in ("dtype", "out_dtype"):
        kind = "dtype"
    elif argument.name in STORAGE:
        kind = "any"
    if kind is None:
        return None
    default = REQUIRED
    if argument.has_default_value():
        default = argument.default_value
    elif text.startswith("Optional[") and argument.name not in ("dim",):
        default = None
    return Parameter("input" if argument.name == "self" else argument.name, kind, default, argument.kwarg_only)


def _python(func):
    """From a signature in Python, unless it takes anything."""
    if not inspect.isfunction(func):
        return []
    try:
        parameters = list(inspect.signature(func).parameters.values())
    except ValueError:
        return []
    # Such a function passes on whatever it is given.
    if any(p.kind == p.VAR_KEYWORD or p.kind == p.VAR_POSITIONAL and p.name == "args" for p in parameters):
        return []
    return [[
        Parameter("input" if p.name == "self" else p.name, _annotated(p), p.default, p.kind == p.KEYWORD_ONLY,
                  p.kind == p.VAR_POSITIONAL)
        for p in parameters
    ]]


def _annotated(parameter):
    text = "" if parameter.annotation is REQUIRED else str(parameter.annotation)
    if parameter.name in ("dtype", "out_dtype"):
        return "dtype"
    if isinstance(parameter.default, bool) or re.fullmatch(r"(typing\.)?(Optional\[)?bool\]?( \| None)?|<class 'bool'>", text):
        return "flag"
    return "any"


def _documented(func):
    """From the first lines of the documentation: `conv2d(input, weight, bias=None, stride=1) -> Tensor`."""
    found = []
    for text in re.findall(rf"\b{re.escape(func.__name__)}\(([^()]*(?:\([^()]*\)[^()]*)*)\)", (func.__doc__ or "")[:2000]):
        try:
            parsed = {}
            exec(f"def f({text}): pass", {"torch": torch}, parsed)  # noqa: S102: the text is torch's own
        except Exception:
            continue
        found.append(_python(parsed["f"]))
    return [parameters for one in found[:1] for parameters in one]


def bound(name, args, kwargs):
    """The parameters' values of a call and the signature that they fit.

    Raises Unrecorded where they fit none.
    """
    for parameters in signatures(name):
        for given in (args, _packed(args)):
            values = _bind(parameters, given, kwargs) if given is not None else None
            if values is not None:
                return parameters, values
    raise Unrecorded("arguments that fit no signature")


def _packed(args):
    """`x.view(2, 3)` as `x.view([2, 3])`."""
    n = next((k for k, a in enumerate(args) if isinstance(a, int) and not isinstance(a, bool)), len(args))
    rest = args[n:]
    whole = rest and all(isinstance(a, int) and not isinstance(a, bool) for a in rest)
    return (*args[:n], list(rest)) if whole else None


def _bind(parameters, args, kwargs):
    values, left = {}, list(args)
    for p in parameters:
        if p.spread:
            value, left = left, []
            if len(value) == 1 and isinstance(value[0], (list, tuple)):
                value = list(value[0])
        elif left and not p.keyword:
            value = left.pop(0)
        elif p.name in kwargs or p.name == "input" and "self" in kwargs:
            value = kwargs[p.name if p.name in kwargs else "self"]
        elif p.default is not REQUIRED:
            continue
        else:
            return None
        if not p.spread and not p.takes(value):
            return None
        values[p.name] = value
    known = {p.name for p in parameters}
    unknown = any(k not in known and k != "self" and v is not None for k, v in kwargs.items())
    return None if left or unknown else values


def attribute(value):
    """An attribute as records have it.

    Raises Unrecorded of values that they do not.
    """
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Unrecorded("a number that is not finite")
        return value
    if isinstance(value, torch.dtype):
        if value not in NAMES:
            raise Unrecorded(f"elements of type {value}")
        return {"dtype": NAMES[value]}
    if isinstance(value, (list, tuple)):
        if all(isinstance(v, int) and not isinstance(v, bool) for v in value):
            return list(value)
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in value):
            return [float(v) for v in value]
    if isinstance(value, torch.device):
        raise Unrecorded("another device")
    kind = "a callable" if callable(value) else f"a value of type {type(value).__name__}"
    raise Unrecorded(kind)


def operand(tensor):
    """A tensor as records have it."""
    if tensor.dtype not in NAMES:
        raise Unrecorded(f"elements of type {tensor.dtype}")
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_nested:
        raise Unrecorded("tensors that are sparse, nested or on another device")
    shape = list(tensor.shape)
    out = {"dtype": NAMES[tensor.dtype], "shape": shape}
    whole = not tensor.dtype.is_floating_point and tensor.dtype != torch.bool
    if len(shape) <= 1 and tensor.numel() <= MAX_ELEMENTS and whole:
        out["values"] = tensor.reshape(-1).tolist()
    return out


def call_of(name, args, kwargs):
    """A call as a record without its outcome.

    Raises Unrecorded where records cannot hold it.
    """
    if kwargs.get("out") is not None:
        raise Unrecorded("a tensor that takes the result")
    parameters, values = bound(name, args, {k: v for k, v in kwargs.items() if k != "out"})
    operands, inputs, attrs, defaults = [], [], {}, {}
    lists = []
    for p in parameters:
        if p.name not in values:
            try:
                if p.default is not None and p.name not in STORAGE:
                    defaults[p.name] = attribute(p.default)
            except Unrecorded:
                pass
            continue
        value = values[p.name]
        if p.name in STORAGE:
            if not any(value is usual or value == usual for usual in STORAGE[p.name]):
                raise Unrecorded(f"another `{p.name}`")
        elif isinstance(value, torch.Tensor):
            operands.append(p.name)
            inputs.append(operand(value))
        elif isinstance(value, (list, tuple)) and value and all(isinstance(v, torch.Tensor) for v in value):
            lists.append((p.name, value))
        elif value is not None:
            if isinstance(value, bool) and p.kind != "flag":
                raise Unrecorded("a truth value where the signature names none")
            # What is given as it would be anyhow is left out.
            usual = type(value) is type(p.default) and value == p.default
            (defaults if usual else attrs)[p.name] = attribute(value)
    if len(lists) > 1:
        raise Unrecorded("several lists of tensors")
    # A list comes last: its length is open.
    for list_name, tensors in lists:
        operands += [f"{list_name}.{k}" for k in range(len(tensors))]
        inputs += [operand(t) for t in tensors]
    flags = sorted(p.name for p in parameters if p.kind == "flag")
    out = {"op": name, "domain": "torch", "operands": operands, "inputs": inputs, "attrs": attrs}
    for key, value in (("defaults", defaults), ("flags", flags)):
        if value:
            out[key] = value
    return out


def results(value):
    """Types of results.

    Raises Unrecorded where one is no tensor.
    """
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if not values or not all(isinstance(v, torch.Tensor) for v in values):
        raise Unrecorded("a result that is no tensor")
    out = []
    for v in values:
        if v.dtype not in NAMES:
            raise Unrecorded(f"elements of type {v.dtype}")
        out.append({"dtype": NAMES[v.dtype], "shape": list(v.shape)})
    return out


def refusal(error):
    """What an exception says, and whether torch blames its own code."""
    text = " ".join((str(error) or type(error).__name__).split())[:300]
    own = isinstance(error, (NotImplementedError, MemoryError)) or any(mark in text for mark in MARKS)
    return text, own


def called(name, operands, attrs):
    """Runs a function on tensors and attributes by parameter name.

    Raises what the function does.
    """
    values = {}
    for key, value in operands.items():
        base, dot, _ = key.partition(".")
        if dot:
            values.setdefault(base, []).append(value)
        else:
            values[base] = value
    values.update(attrs)
    first = None
    for parameters in signatures(name):
        args, rest = _arranged(parameters, values)
        if args is not None:
            return function(name)(*args, **rest)
        first = first or rest
    raise TypeError(f"no signature of {name} has the parameters {', '.join(values)}: {first}")


def _arranged(parameters, values):
    """Values by position as far as there is no gap, the rest by name; None and a reason where they do not fit."""
    known = {p.name: p for p in parameters}
    for name in values:
        if name not in known:
            return None, f"`{name}` is none"
    args, rest, gap = [], {}, False
    for p in parameters:
        if p.name not in values:
            if p.default is REQUIRED:
                return None, f"`{p.name}` is missing"
            gap = True
            continue
        value = values[p.name]
        if p.kind == "flag" and value in (0, 1):
            value = bool(value)
        if not p.takes(value):
            return None, f"`{p.name}` is of another kind"
        if p.spread:
            args += value if isinstance(value, list) else [value]
        elif gap or p.keyword:
            rest[p.name] = value
        else:
            args.append(value)
    return args, rest
