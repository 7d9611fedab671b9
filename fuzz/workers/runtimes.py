"""Runs ONNX models in another runtime for the fuzzer: `runtimes.py NAME [LIBRARY]`, then one command a line on standard input.
LIBRARY holds custom operators for ONNX Runtime.

The commands are those of `egret worker` (fields separated by tabs, one JSON object a line as answer):
  load THREADS MODEL FOLDER   compile MODEL for FOLDER/input_k.pb
  run K                       run it K times
  save FOLDER                 write the last outputs as FOLDER/output_k.pb
  input FOLDER                take new inputs
  call JSON                   run one operator (see `OnnxRuntime.call`); the answer gives element types and shapes
  rss                         resident memory: {"kb": ...}
  version                     the runtime's version
  schemas                     the forms of ONNX's operators in each of its versions (see `schemas`)
  quit                        end
Runtimes: onnxruntime, onnxruntime-unoptimised, openvino, mnn, torch. An answer {"ok": false, "error": ..., "unsupported": true}
says that the runtime has no such operator or element type, or that the model is none by onnx.checker either; "loaded": true
to a `load` that the model is loaded, and only its arguments could not be given.

Needs numpy and onnx beside the runtime.
"""

import ctypes
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time

import numpy
import onnx
from onnx import numpy_helper


def read(folder, kind):
    out, k = [], 0
    while os.path.exists(path := os.path.join(folder, f"{kind}_{k}.pb")):
        tensor = onnx.TensorProto()
        with open(path, "rb") as f:
            tensor.ParseFromString(f.read())
        out.append((tensor.name, numpy_helper.to_array(tensor), tensor.data_type))
        k += 1
    return out


class Runtime:
    """What all have: `load(threads, path)`, `take(inputs)`, `run()` (names and values of results), `proto(name, value)` (such a
    result as a TensorProto), `version()`, and MARKS."""

    def proto(self, name, value):
        return numpy_helper.from_array(value, name)


class OnnxRuntime(Runtime):
    """The CPU provider; `level` is a member of GraphOptimizationLevel."""

    MARKS = ("NOT_IMPLEMENTED", "Could not find an implementation", "is not a registered function", "not supported",
             "not currently supported", "does not support", "is only supported",
             "Creation of OrtValues", "to MLDataType", "Failed to construct locale", "No corresponding Numpy type",
             "Unsupported", "unsupported", "not implemented", "No Op registered", "bad allocation", "bad_alloc",
             "Failed to allocate", "MemoryError", "Type Error: Type 'tensor(", "only *guarantees* support for models")
    # What releases say that are older than the operators they are asked for: of types, attributes and operands since.
    OLDER = ("Invalid tensor data type", "Unrecognized attribute", "Required attribute", "has input size", "has output size")
    OLDER_THAN_OPSET = 21
    # Memory that one call may ask for, in bytes.
    MEMORY = 4 << 30

    def __init__(self, level="ORT_ENABLE_ALL"):
        import onnxruntime

        self.ort, self.level, self.libraries = onnxruntime, level, sys.argv[2:]
        onnxruntime.set_default_logger_severity(4)
        if self.newest() < self.OLDER_THAN_OPSET:
            self.MARKS += self.OLDER

    def version(self):
        return self.ort.__version__

    def load(self, threads, path):
        self.session = self.started(path, threads)

    def started(self, model, threads):
        """A session of a model's path or bytes."""
        options = self.ort.SessionOptions()
        options.graph_optimization_level = getattr(self.ort.GraphOptimizationLevel, self.level)
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        # Valgrind sees the bounds of blocks that are allocated one by one.
        options.enable_cpu_mem_arena = options.enable_mem_pattern = "EGRET_MEMCHECK" not in os.environ
        for library in self.libraries:
            options.register_custom_ops_library(library)
        return self.ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def newest(self):
        """The newest opset of ONNX's own domain that this build takes as released."""
        if not hasattr(self, "opset"):
            x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy")
            graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
            for self.opset in range(onnx.defs.onnx_opset_version(), 12, -1):
                try:
                    self.session_of(graph, [("", self.opset)])
                    break
                except Exception:
                    continue
        return self.opset

    def session_of(self, graph, opsets):
        opsets = [onnx.helper.make_opsetid(*o) for o in opsets]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
        return self.started(model.SerializeToString(), 1)

    def call(self, call):
        """Runs {"op", "domain", "attrs": {name: [kind, value]}, "inputs": [null or {"dtype", "shape", "values"}],
        "n_outputs"}; element types are numbers of TensorProto.DataType, elements that are not given are zeros."""
        resource.setrlimit(resource.RLIMIT_AS, (self.MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
        feeds, infos, names = {}, [], []
        for k, operand in enumerate(call["inputs"]):
            names.append(f"x{k}" if operand else "")
            if operand:
                dtype = onnx.helper.tensor_dtype_to_np_dtype(operand["dtype"])
                values = operand.get("values")
                feed = numpy.zeros(operand["shape"], dtype) if values is None else numpy.array(values).astype(dtype)
                feeds[names[-1]] = feed.reshape(operand["shape"])
                infos.append(onnx.helper.make_tensor_value_info(names[-1], operand["dtype"], operand["shape"]))
        outputs = [f"y{k}" for k in range(call["n_outputs"])]
        node = onnx.helper.make_node(call["op"], names, outputs, domain=call["domain"])
        for name, (kind, value) in call["attrs"].items():
            node.attribute.append(onnx.helper.make_attribute(name, value, attr_type=getattr(onnx.AttributeProto, kind)))
        # Types of results are left to the runtime.
        graph = onnx.helper.make_graph([node], "g", infos, [onnx.ValueInfoProto(name=n) for n in outputs])
        opsets = [("", self.newest())] + ([(call["domain"], 1)] if call["domain"] else [])
        session = self.session_of(graph, opsets)
        results = session.run_with_ort_values(outputs, {
            n: self.ort.OrtValue.ortvalue_from_numpy(f) for n, f in feeds.items()
        })
        return [{"dtype": r.element_type(), "shape": r.shape()} if r.is_tensor() else {"other": r.data_type()}
                for r in results]

    def take(self, inputs):
        # Releases before 1.17 have no values of these types in Python.
        make = getattr(self.ort.OrtValue, "ortvalue_from_numpy_with_onnx_type", None)
        wanted = {i.name for i in self.session.get_inputs()}
        self.feeds = {}
        inputs = [i for i in inputs if i[0] in wanted]
        # Texts have no value of their own in this interface: arrays are given as they are.
        self.texts = any(code == onnx.TensorProto.STRING for _, _, code in inputs)
        for name, array, code in inputs:
            size = next((s for c, s in self.RAW.values() if c == code), None)
            if self.texts and (size or any(o.type in self.RAW for o in self.session.get_outputs())):
                raise RuntimeError("unsupported: texts beside narrow floats")
            if size and not make:
                raise RuntimeError("unsupported: narrow floats as arguments")
            if size:
                # numpy has none of these: their bits travel as integers.
                self.feeds[name] = make(array.view(f"uint{8 * size}"), code)
            else:
                self.feeds[name] = array if self.texts else self.ort.OrtValue.ortvalue_from_numpy(array)

    # Types that numpy has not, and their bytes.
    RAW = {
        f"tensor({name.lower()})": (getattr(onnx.TensorProto, name), size)
        for name, size in [("BFLOAT16", 2), ("FLOAT8E4M3FN", 1), ("FLOAT8E4M3FNUZ", 1), ("FLOAT8E5M2", 1),
                           ("FLOAT8E5M2FNUZ", 1), ("FLOAT8E8M0", 1)]
        if hasattr(onnx.TensorProto, name)
    }

    def run(self):
        names = [o.name for o in self.session.get_outputs()]
        run = self.session.run if self.texts else self.session.run_with_ort_values
        return list(zip(names, run(names, self.feeds)))

    def proto(self, name, value):
        if self.texts:
            return super().proto(name, value)
        if value.data_type() in self.RAW:
            # The bytes are read where they lie.
            code, size = self.RAW[value.data_type()]
            raw = ctypes.string_at(value.data_ptr(), size * math.prod(value.shape()))
            return onnx.helper.make_tensor(name, code, value.shape(), raw, raw=True)
        return super().proto(name, value.numpy())


class OpenVino(Runtime):
    """The CPU plugin with binary32 kept as it is."""

    MARKS = ("not supported", "Not supported", "unsupported", "Unsupported", "not implemented", "Not implemented",
             "No conversion rule", "is not supported", "OpConversionFailure", "does not support")

    def __init__(self):
        import openvino

        self.ov, self.core = openvino, openvino.Core()

    def version(self):
        return self.ov.__version__

    def load(self, threads, path):
        model = self.core.read_model(path)
        config = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        self.compiled = self.core.compile_model(model, "CPU", config)

    # The plugin computes binary64 in binary32; the others have no numpy type, or none of the same values.
    OTHERS = {"f64", "bf16", "f8e4m3", "f8e5m2", "f8e8m0", "f4e2m1", "string", "i4", "u4", "u2"}

    def take(self, inputs):
        for port in [*self.compiled.inputs, *self.compiled.outputs]:
            if (kind := port.get_element_type().get_type_name()) in self.OTHERS:
                raise RuntimeError(f"unsupported: elements of type {kind}")
        # Arrays must be writable. A port has the names of all values that are the same tensor, of which the argument's own may
        # be lost; ports are in the order of arguments.
        ports = self.compiled.inputs
        named = [next((a for n, a, _ in inputs if n in port.get_names()), None) for port in ports]
        if len(ports) == len(inputs):
            named = [a if a is not None else given for a, (_, given, _) in zip(named, inputs)]
        if any(a is None for a in named):
            raise RuntimeError("unsupported: an argument that is optimised away without its name")
        self.feeds = [numpy.array(a) for a in named]

    def run(self):
        out = self.compiled(self.feeds)
        return [(p.get_any_name(), out[i]) for i, p in enumerate(self.compiled.outputs)]


class Mnn(Runtime):
    """MNN's converter and its CPU backend in high precision. It computes with 32-bit floats and integers and knows operators
    by name without domain, so that other element types, 64-bit elements that do not fit and other domains are unsupported."""

    MARKS = ("unsupported", "Op Not Support", "ot support", "on't support", "only support")
    TYPES = {"FLOAT": "float", "INT32": "int", "INT64": "int", "BOOL": "int", "UINT8": "uint8", "INT8": "int8"}

    def __init__(self):
        self.converter = Converter()
        import MNN
        import MNN.expr
        import MNN.nn

        self.mnn = MNN

    def version(self):
        return getattr(self.mnn, "__version__", "") or self.mnn.version()

    def load(self, threads, path):
        self.net = None
        model = onnx.load(path)
        self.unsupported(model.graph)
        self.inputs, self.outputs = io_of(model)
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "model.mnn")
            self.converter.convert(path, out)
            with Said():
                config = {"backend": 0, "precision": "high", "numThread": threads}
                manager = self.mnn.nn.create_runtime_manager((config,))
                names = [n for n, _ in self.outputs]
                self.net = self.mnn.nn.load_module_from_file(out, self.inputs, names, runtime_manager=manager)

    def unsupported(self, graph):
        """An error where the graph has what MNN reads as something else."""
        for node in graph.node:
            if node.domain not in ("", "ai.onnx"):
                raise ValueError(f"unsupported: domain {node.domain}")
            for attr in node.attribute:
                for inner in ([attr.g] if attr.HasField("g") else []) + list(attr.graphs):
                    self.unsupported(inner)
                if attr.HasField("t"):
                    self.fits(numpy_helper.to_array(attr.t), attr.t.data_type)
        for tensor in graph.initializer:
            self.fits(numpy_helper.to_array(tensor), tensor.data_type)
        for value in [*graph.input, *graph.output, *graph.value_info]:
            kind = value.type.tensor_type.elem_type
            if kind:
                self.fits(numpy.zeros(0), kind)

    def fits(self, array, kind):
        kind = onnx.TensorProto.DataType.Name(kind)
        if kind not in self.TYPES:
            raise ValueError(f"unsupported: {kind}")
        if kind == "INT64" and (array.astype("int32") != array).any():
            raise ValueError("unsupported: 64-bit elements")

    def take(self, inputs):
        by_name = {name: (array, kind) for name, array, kind in inputs}
        self.feeds = []
        for name in self.inputs:
            array, kind = by_name[name]
            self.fits(array, kind)
            if array.dtype.name in ("int64", "bool"):
                array = array.astype("int32")
            dtype = getattr(self.mnn.expr, self.TYPES[onnx.TensorProto.DataType.Name(kind)])
            # Arrays of `int8` are not taken, lists are.
            values = array.ravel().tolist() if array.dtype.name == "int8" else array
            with Said():
                self.feeds.append(self.mnn.expr.const(values, list(array.shape), self.mnn.expr.NCHW, dtype))

    def run(self):
        results = []
        with Said():
            values = self.net.forward(self.feeds)
            if len(values) < len(self.outputs):
                raise RuntimeError("no results")
            for (name, dtype), value in zip(self.outputs, values):
                value = self.mnn.expr.convert(value, self.mnn.expr.NCHW)
                # A result without elements cannot be read; it has a shape.
                shape = list(value.shape)
                results.append((name, numpy.zeros(shape, dtype) if 0 in shape else self.typed(value.read(), dtype)))
        return results

    def typed(self, array, dtype):
        """Its integers of 32 bits stand for those of 64 bits and for truth values; another type is another."""
        stands = array.dtype == numpy.int32 and numpy.dtype(dtype).kind in "iub"
        fits = numpy.dtype(dtype) != bool or ((array == 0) | (array == 1)).all()
        return array.astype(dtype) if stands and fits else array


class Said:
    """What native code prints while a block runs is part of the error that it ends with."""

    def __enter__(self):
        self.kept = os.dup(1), os.dup(2)
        self.file = tempfile.TemporaryFile()
        for fd in (1, 2):
            os.dup2(self.file.fileno(), fd)

    def __exit__(self, kind, error, traceback):
        for fd, kept in zip((1, 2), self.kept):
            os.dup2(kept, fd)
            os.close(kept)
        self.file.seek(0)
        said = self.file.read().decode(errors="replace").splitlines()
        lines = [line for line in said if not any(s in line for s in ("The device supports", "MNN use high precision"))]
        self.file.close()
        if isinstance(error, Exception):
            raise RuntimeError(" ".join(lines[-3:]) or str(error)) from error


class Converter:
    """Converts to MNN's format, each model in a process of its own: the converter may die. They are forks of one that has
    the library loaded and no threads. The program `mnnconvert` is not used: it reports each conversion to its maker."""

    SCRIPT = """
import os, resource, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
import _tools
for line in sys.stdin:
    model, out, said = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        # It leaves a file where it runs.
        os.chdir(os.path.dirname(out))
        for fd in (1, 2):
            os.dup2(os.open(said, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), fd)
        _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", model, "--MNNModel", out, "--bizCode", "egret"])
        os._exit(0)
    print(os.waitpid(child, 0)[1], file=answers, flush=True)
"""

    def __init__(self):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", self.SCRIPT], stdin=pipe, stdout=pipe, text=True)

    def convert(self, model, out):
        said = out + ".said"
        print(model, out, said, sep="\t", file=self.process.stdin, flush=True)
        status = self.process.stdout.readline()
        if not status:
            raise RuntimeError("the process that converts models ended")
        status = int(status)
        if os.WIFSIGNALED(status):
            # That is no refusal.
            raise RuntimeError(f"the converter ended with {signal.Signals(os.WTERMSIG(status)).name}")
        if not os.path.exists(out):
            with open(said, errors="replace") as f:
                # Without times of day and lines of unnamed files.
                lines = [re.sub(r"^\[[\d:]+\] :\d+: ", "", line) for line in f.read().splitlines()]
                raise RuntimeError("the converter: " + " ".join(lines[-2:]))


def io_of(model):
    """Names of arguments, and names and numpy's element types of results."""
    constants = {t.name for t in model.graph.initializer}
    inputs = [i.name for i in model.graph.input if i.name not in constants]
    return inputs, [(o.name, onnx.helper.tensor_dtype_to_np_dtype(o.type.tensor_type.elem_type)) for o in model.graph.output]


def torch():
    import torch_runtime

    return torch_runtime.Torch()


RUNTIMES = {
    "onnxruntime": OnnxRuntime,
    "onnxruntime-unoptimised": lambda: OnnxRuntime("ORT_DISABLE_ALL"),
    "openvino": OpenVino,
    "mnn": Mnn,
    "torch": torch,
}


def objection(path):
    """What onnx.checker says against a model; None where it has nothing."""
    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as e:
        return " ".join(str(e).split())[:300]


def schemas():
    """The versions of ONNX's operators: names and types of operands and results, names and kinds of attributes."""
    out = {}
    formals = lambda fs: [[f.name, sorted(f.types), f.option == onnx.defs.OpSchema.FormalParameterOption.Variadic] for f in fs]
    for s in onnx.defs.get_all_schemas_with_history():
        if s.domain == "" and not s.deprecated:
            attrs = {n: a.type.name for n, a in s.attributes.items()}
            form = {"since": s.since_version, "inputs": formals(s.inputs), "outputs": formals(s.outputs), "attrs": attrs}
            out.setdefault(s.name, []).append(form)
    return out


def answer(runtime, state, command, *fields):
    if command == "load":
        state.update(model=fields[1], loaded=False)
        start = time.perf_counter()
        runtime.load(int(fields[0]), fields[1])
        state["loaded"] = True
        runtime.take(read(fields[2], "input"))
        return {"ms": 1e3 * (time.perf_counter() - start)}
    if command == "input":
        runtime.take(read(fields[0], "input"))
        return {}
    if command == "run":
        took = []
        for _ in range(int(fields[0])):
            start = time.perf_counter()
            state["outputs"] = runtime.run()
            missing = [name for name, value in state["outputs"] if value is None]
            if missing:
                raise RuntimeError(f"no result {missing[0]}")
            took.append(1e3 * (time.perf_counter() - start))
        return {"ms": took}
    if command == "save":
        os.makedirs(fields[0], exist_ok=True)
        for k, (name, value) in enumerate(state["outputs"]):
            with open(os.path.join(fields[0], f"output_{k}.pb"), "wb") as f:
                f.write(runtime.proto(name, value).SerializeToString())
        return {"n": len(state["outputs"])}
    if command == "call":
        return {"outputs": runtime.call(json.loads(fields[0]))}
    if command == "rss":
        with open("/proc/self/statm") as f:
            return {"kb": int(f.read().split()[1]) * resource.getpagesize() // 1024}
    if command == "version":
        return {"version": runtime.version()}
    if command == "schemas":
        return {"schemas": schemas()}
    raise ValueError(f"no command {command!r}")


def main():
    # What a runtime prints by itself must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    runtime, state, marks = None, {}, ()
    for line in sys.stdin:
        fields = line.rstrip("\n").split("\t")
        if fields[0] == "quit":
            break
        try:
            if runtime is None:
                runtime = RUNTIMES[sys.argv[1]]()
                marks = runtime.MARKS
            result = {"ok": True, **answer(runtime, state, *fields)}
        except Exception as e:
            text = " ".join(f"{type(e).__name__}: {e}".split())
            unsupported = any(m in text for m in marks)
            if not unsupported and fields[0] in ("load", "run") and (why := objection(state.get("model"))):
                text, unsupported = f"{text[:1500]} (onnx.checker: {why})", True
            loaded = fields[0] == "load" and state.get("loaded", False)
            result = {"ok": False, "error": text[:2000], "unsupported": unsupported, "loaded": loaded}
        print(json.dumps(result), file=answers, flush=True)


main()
