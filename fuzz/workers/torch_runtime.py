"""PyTorch as a runtime of the fuzzer: its functions as black boxes."""

import resource

import onnx
import torch

import torch_functions as functions

# Element types by number of TensorProto.DataType.
CODES = {
    getattr(onnx.TensorProto, long): functions.DTYPES[short]
    for long, short in [
        ("FLOAT", "f32"), ("DOUBLE", "f64"), ("FLOAT16", "f16"), ("BFLOAT16", "bf16"), ("BOOL", "bool"), ("UINT8", "u8"),
        ("INT8", "i8"), ("INT16", "i16"), ("INT32", "i32"), ("INT64", "i64"), ("UINT16", "u16"), ("UINT32", "u32"),
        ("UINT64", "u64"),
    ]
}
NUMBERS = {dtype: code for code, dtype in CODES.items()}


class Torch:
    """One thread, on the processor."""

    MARKS = (*functions.MARKS, "unsupported")
    # Memory that one call may ask for beyond what the process has, in bytes.
    MEMORY = 4 << 30

    def __init__(self):
        torch.set_num_threads(1)
        self.limited = False

    def version(self):
        return torch.__version__

    def call(self, call):
        """Runs a function as `OnnxRuntime.call` runs an operator; "op" is its dotted name, "operands" names the inputs."""
        self.limit()
        operands = {n: self.operand(o) for n, o in zip(call["operands"], call["inputs"]) if o}
        attrs = {n: self.attribute(n, value) for n, (_, value) in call["attrs"].items()}
        with torch.no_grad():
            result = functions.called(call["op"], operands, attrs)
        try:
            types = functions.results(result)
        except functions.Unrecorded as why:
            raise RuntimeError(f"unsupported: {why}") from None
        return [{"dtype": NUMBERS[functions.DTYPES[t["dtype"]]], "shape": t["shape"]} for t in types]

    def limit(self):
        if not self.limited:
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + self.MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
            self.limited = True

    @staticmethod
    def operand(operand):
        if operand["dtype"] not in CODES:
            raise RuntimeError(f"unsupported: elements of type {operand['dtype']}")
        dtype, values = CODES[operand["dtype"]], operand.get("values")
        if values is None:
            return torch.zeros(operand["shape"], dtype=dtype)
        return torch.tensor(values, dtype=dtype).reshape(operand["shape"])

    @staticmethod
    def attribute(name, value):
        if name in ("dtype", "out_dtype"):
            if value not in CODES:
                raise RuntimeError(f"unsupported: elements of type {value}")
            return CODES[value]
        return value
