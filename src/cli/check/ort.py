"""Arguments: a model, a folder with input_K.pb. Writes each tensor that the main graph makes as K.pb, prints names."""
import pathlib
import sys

import onnx
import onnxruntime as ort
from onnx import numpy_helper

path, folder = sys.argv[1], pathlib.Path(sys.argv[2])
feeds = {}
for k in range(10**6):
    file = folder / f"input_{k}.pb"
    if not file.exists():
        break
    tensor = onnx.load_tensor(str(file))
    feeds[tensor.name] = numpy_helper.to_array(tensor)
options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
options.log_severity_level = 4


def run(model):
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    wanted = {i.name for i in session.get_inputs()} | {i.name for i in session.get_overridable_initializers()}
    names = [o.name for o in session.get_outputs()]
    return names, session.run(names, {k: v for k, v in feeds.items() if k in wanted})


model = onnx.load(path)
if model.ByteSize() < 2**30:
    known = {o.name for o in model.graph.output}
    inside = [v for node in model.graph.node for v in node.output if v and v not in known]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inside)
    names, values = run(model.SerializeToString())
else:
    names, values = run(path)
written = 0
for name, value in zip(names, values):
    # Sequences, maps and optionals are left to the tensors that they are made of.
    if hasattr(value, "dtype"):
        (folder / f"{written}.pb").write_bytes(numpy_helper.from_array(value, name).SerializeToString())
        print(name)
        written += 1
