"""PyTorch as a runtime of the fuzzer: its functions as black boxes, and ONNX models through torch_onnx.py."""

import resource

import numpy
import onnx
import torch
from onnx import numpy_helper

import torch_functions as functions
import torch_onnx
from torch_onnx import CODES, NUMBERS, Unsupported


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
        if call["domain"] != "torch":
            raise Unsupported(f"operators of the domain {call['domain']}")
        operands = {n: self.operand(o) for n, o in zip(call["operands"], call["inputs"]) if o}
        attrs = {n: self.attribute(n, value) for n, (_, value) in call["attrs"].items()}
        with torch.no_grad():
            result = functions.called(call["op"], operands, attrs)
        try:
            types = functions.results(result)
        except functions.Unrecorded as why:
            raise Unsupported(str(why)) from None
        return [{"dtype": NUMBERS[functions.DTYPES[t["dtype"]]], "shape": t["shape"]} for t in types]

    def limit(self):
        if not self.limited:
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + self.MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
            self.limited = True

    @staticmethod
    def operand(operand):
        dtype, values = torch_onnx.dtype_of(operand["dtype"]), operand.get("values")
        if values is None:
            return torch.zeros(operand["shape"], dtype=dtype)
        return torch.tensor(values, dtype=dtype).reshape(operand["shape"])

    @staticmethod
    def attribute(name, value):
        return torch_onnx.dtype_of(value) if name in ("dtype", "out_dtype") else value

    def load(self, threads, path):
        torch.set_num_threads(threads)
        model = onnx.load(path)
        graph = model.graph
        opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
        self.nodes = [(node, self.attributes(node)) for node in graph.node]
        for node in graph.node:
            self.is_present(node.op_type, opset)
        self.constants = {t.name: self.tensor(numpy_helper.to_array(t), t.data_type) for t in graph.initializer}
        self.outputs = [o.name for o in graph.output]

    @staticmethod
    def is_present(op, opset):
        """Raises where an operator took other operands or attributes in this opset."""
        then, now = onnx.defs.get_schema(op, opset), onnx.defs.get_schema(op)
        if len(then.inputs) != len(now.inputs) or not set(then.attributes) <= set(now.attributes):
            raise Unsupported(f"{op} of opset {opset}")

    def attributes(self, node):
        if node.domain not in ("", "ai.onnx") or node.op_type not in torch_onnx.OPERATORS:
            raise Unsupported(f"the operator {node.domain} {node.op_type}")
        attrs = {}
        for a in node.attribute:
            if a.type in (a.GRAPH, a.GRAPHS, a.SPARSE_TENSOR):
                raise Unsupported("graphs and sparse tensors in attributes")
            value = onnx.helper.get_attribute_value(a)
            if a.type == a.STRING:
                value = value.decode()
            elif a.type == a.TENSOR:
                value = self.tensor(numpy_helper.to_array(value), value.data_type)
            attrs[a.name] = list(value) if a.type in (a.INTS, a.FLOATS) else value
        return attrs

    @staticmethod
    def tensor(array, code):
        dtype = torch_onnx.dtype_of(code)
        array = numpy.array(array, order="C")
        if dtype == torch.bfloat16:
            return torch.tensor(array.view(numpy.int16)).view(dtype)
        return torch.tensor(array)

    def take(self, inputs):
        self.feeds = {name: self.tensor(array, code) for name, array, code in inputs}

    def run(self):
        with torch.no_grad():
            values = torch_onnx.run(self.nodes, {**self.constants, **self.feeds})
        return [(name, values[name]) for name in self.outputs]

    @staticmethod
    def proto(name, tensor):
        tensor = tensor.contiguous()
        if tensor.dtype == torch.bfloat16:
            raw = tensor.view(torch.int16).numpy().tobytes()
            return onnx.helper.make_tensor(name, onnx.TensorProto.BFLOAT16, tensor.shape, raw, raw=True)
        return numpy_helper.from_array(tensor.numpy(), name)
