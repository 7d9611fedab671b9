#!/usr/bin/env python3
"""Writes small cases for the examples of operators, with results by onnxruntime (else by ONNX's reference).

usage: python tests/python/examples.py --out target/example-cases

The layout is that of `backend_cases.py`. `cargo run --example examples -p egret-ir -- target/example-cases` prints them as
IR text for an operator's `EXAMPLES`, where Egret's reference gives the same results.
"""
import argparse
import re
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

warnings.filterwarnings("ignore")
ML, MS = "ai.onnx.ml", "com.microsoft"
OPSETS = [("", 21), (ML, 4), (MS, 1)]


def array(v, dtype):
    return np.array(v[0] if len(v) == 1 and isinstance(v[0], list) else v, dtype)


def f(*v):
    return array(v, np.float32)


def i(*v):
    return array(v, np.int64)


def u8(*v):
    return array(v, np.uint8)


def i8(*v):
    return array(v, np.int8)


def b(*v):
    return array(v, bool)


def s(*v):
    return array(v, object)


def ramp(*shape, start=1.0):
    return (np.arange(np.prod(shape)) + start).astype(np.float32).reshape(shape)


X = f(-2, -0.5, 0, 1.5)
U = f(-0.75, 0, 0.5)
A, B = f([[1, 2, 3], [4, 5, 6]]), f(10, 20, -3)
S8, Z8 = np.float32(0.5), np.uint8(10)

# Name of the operator, operands (None where left out), attributes, and keywords: domain, outputs, opset.
CASES = []


def case(op, inputs, attrs=None, *, domain="", outputs=1, opset=None, suffix=""):
    CASES.append((op, inputs, attrs or {}, domain, outputs, opset, suffix))


for op in ["Abs", "Ceil", "Exp", "Floor", "Neg", "Relu", "Round", "Sigmoid", "Sign", "Softplus", "Softsign", "Tanh", "Elu",
           "Selu", "LeakyRelu", "HardSigmoid", "ThresholdedRelu", "Erf", "Sin", "Cos", "Tan", "Sinh", "Cosh", "Atan", "Asinh",
           "HardSwish", "Mish", "Celu", "Identity", "Shrink"]:
    case(op, [X])
for op in ["Acos", "Asin", "Atanh"]:
    case(op, [U])
case("Acosh", [f(1, 1.5, 4)])
case("Gelu", [X], opset=20)
case("Swish", [X], opset=24)
for op in ["Log", "Sqrt", "Reciprocal"]:
    case(op, [f(0.25, 1, 4)])
for op in ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"]:
    case(op, [A, B])
case("Pow", [f(1, 2, 3), f(2, 0.5, -1)])
case("Mod", [i(7, -7, 7), i(3, 3, -3)])
case("PRelu", [f([[-1, 2], [3, -4]]), f(0.5, 0.25)])
for op in ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]:
    case(op, [f(1, 2, 3), f(3, 2, 1)])
for op in ["And", "Or", "Xor"]:
    case(op, [b(False, False, True, True), b(False, True, False, True)])
case("Not", [b(True, False)])
for op in ["BitwiseAnd", "BitwiseOr", "BitwiseXor"]:
    case(op, [u8(12, 255), u8(10, 1)])
case("BitwiseNot", [i8(0, 5, -1)])
case("BitShift", [u8(16, 4, 1), u8(1, 2, 3)], {"direction": "RIGHT"})
case("BitCast", [f(1, -2)], {"to": 6}, opset=26)
case("IsNaN", [f(1, np.nan, np.inf)])
case("IsInf", [f(1, np.nan, np.inf, -np.inf)])
case("Clip", [X, np.float32(-1), np.float32(1)])
case("Where", [b(True, False, True), f(1, 2, 3), f(9, 8, 7)])
case("Cast", [f(1.7, -1.2, 300)], {"to": 7})
case("CastLike", [i(1, 0), f(0)])
for op in ["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
           "ReduceSum", "ReduceSumSquare"]:
    case(op, [A, i(1)], {"keepdims": 0})
for op in ["ArgMax", "ArgMin"]:
    case(op, [f([[2, 1], [3, 10]])], {"axis": 1, "keepdims": 0})
case("CumSum", [f([[1, 2, 3], [4, 5, 6]]), np.int64(1)])
case("CumProd", [f(1, 2, 3), np.int64(0)], opset=26)
for op in ["Softmax", "LogSoftmax", "Hardmax"]:
    case(op, [f([[1, 3, 2]])], {"axis": -1})
case("LpNormalization", [f([[3, 4]])], {"axis": -1, "p": 2})
case("MatMul", [f([[1, 2], [3, 4]]), f([[5], [6]])])
case("Gemm", [f([[1, 2], [3, 4]]), f([[1, 0], [1, 1]]), f(0.5, -0.5)], {"alpha": 2.0, "transB": 1})
case("Einsum", [f([[1, 2], [3, 4]]), f(1, 10)], {"equation": "ij,j->i"})
case("MatMulInteger", [u8([[11, 7], [10, 6]]), u8([[1, 4], [2, 5]]), Z8])
case("QLinearMatMul", [u8([[12, 14]]), S8, Z8, u8([[10], [20]]), S8, Z8, np.float32(1), np.uint8(0)])
case("Conv", [ramp(1, 1, 3, 3), f([[[[1, 0], [0, -1]]]]), f(100)])
case("Conv", [ramp(1, 2, 3), f([[[1, 2]], [[3, 4]]])], {"group": 2, "pads": [1, 0]}, suffix="_grouped")
case("ConvTranspose", [f([[[1, 2]]]), f([[[1, 10, 100]]])], {"strides": [2]})
case("ConvInteger", [u8([[[1, 2, 3]]]), u8([[[1, 2]]]), np.uint8(1)])
case("QLinearConv", [u8([[[10, 12, 14]]]), S8, Z8, u8([[[1, 2]]]), np.float32(1), np.uint8(0), np.float32(1), np.uint8(5)])
case("AveragePool", [ramp(1, 1, 4)], {"kernel_shape": [2], "strides": [2]})
case("MaxPool", [f([[[3, 1, 4, 1]]])], {"kernel_shape": [2]}, outputs=2)
case("LpPool", [f([[[3, 4, 0]]])], {"kernel_shape": [2], "p": 2})
for op in ["GlobalAveragePool", "GlobalMaxPool"]:
    case(op, [ramp(1, 2, 2)])
case("GlobalLpPool", [f([[[3, 4]]])], {"p": 2})
case("BatchNormalization", [f([[1, 2], [3, 4]]), f(2, 1), f(0, 1), f(1, 2), f(1, 4)], {"epsilon": 0.0})
case("InstanceNormalization", [f([[[1, 3], [2, 6]]]), f(1, 2), f(0, 1)], {"epsilon": 0.0})
case("GroupNormalization", [f([[[1, 3], [2, 6]]]), f(1, 1), f(0, 0)], {"epsilon": 0.0, "num_groups": 2})
case("LayerNormalization", [f([[1, 3], [2, 6]]), f(1, 2), f(0, 1)], {"epsilon": 0.0})
case("RMSNormalization", [f([[1, 7], [3, 4]]), f(1, 2)], {"epsilon": 0.0}, opset=23)
case("MeanVarianceNormalization", [f([[[1, 3]], [[5, 7]]])], {"axes": [0, 2]})
case("LRN", [f([[[[1]], [[2]], [[3]]]])], {"size": 3, "alpha": 3.0, "beta": 1.0, "bias": 1.0})
case("Dropout", [f(1, 2)], {}, outputs=2)
case("Concat", [f([[1, 2]]), f([[3]])], {"axis": 1})
case("Split", [f(1, 2, 3, 4, 5), i(2, 3)], {"axis": 0}, outputs=2)
case("Slice", [ramp(5), i(4), i(-6), i(0), i(-2)])
case("Slice", [ramp(2, 3), i(1), i(3), i(1)], suffix="_columns")
case("Pad", [f([[1, 2]]), i(0, 1, 1, 0), np.float32(9)])
case("Pad", [f(1, 2, 3), i(2, 1)], {"mode": "reflect"}, suffix="_reflect")
case("Tile", [f([[1, 2]]), i(2, 2)])
case("Expand", [f([[1], [2]]), i(2, 3)])
case("Reshape", [ramp(2, 3), i(3, -1)])
case("Flatten", [ramp(1, 2, 2)], {"axis": 1})
case("Squeeze", [f([[1, 2]]), i(0)])
case("Unsqueeze", [f(1, 2), i(1)])
case("Transpose", [A], {"perm": [1, 0]})
case("DepthToSpace", [ramp(1, 4, 1, 1)], {"blocksize": 2})
case("SpaceToDepth", [ramp(1, 1, 2, 2)], {"blocksize": 2})
case("Trilu", [ramp(3, 3), np.int64(0)], {"upper": 0})
case("EyeLike", [f([[0, 0, 0], [0, 0, 0]])], {"k": 1})
case("CenterCropPad", [f(1, 2, 3, 4), i(2)])
case("Gather", [A, i(2, 0)], {"axis": 1})
case("GatherElements", [f([[1, 2], [3, 4]]), i([[0, 0], [1, 0]])], {"axis": 1})
case("GatherND", [f([[1, 2], [3, 4]]), i([[0, 1], [1, 0]])])
case("ScatterElements", [f(1, 2, 3), i(2, 0), f(10, 20)], {"axis": 0})
case("Scatter", [f(1, 2, 3), i(2, 0), f(10, 20)], {"axis": 0}, opset=10)
case("ScatterND", [f(1, 2, 3), i([[1], [2]]), f(10, 20)])
case("TensorScatter", [f([[[1, 1], [2, 2], [3, 3]]]), f([[[9, 9]]]), i(1)], {"axis": 1}, opset=24)
case("Compress", [f(1, 2, 3), b(True, False, True)], {"axis": 0})
case("NonZero", [f([[1, 0], [0, 2]])])
case("OneHot", [i(1, -1), np.int64(3), f(0, 1)])
case("TopK", [f(3, 1, 4, 1), i(2)], outputs=2)
case("Unique", [f(2, 1, 1, 3)], outputs=4)
case("Range", [np.float32(1), np.float32(6), np.float32(2)])
case("Shape", [ramp(2, 3)])
case("Size", [ramp(2, 3)])
case("Constant", [], {"value_ints": [1, 2, 3]})
case("ConstantOfShape", [i(2, 2)], {"value": numpy_helper.from_array(f([7.0]))})
case("ReverseSequence", [f([[1, 2, 3], [4, 5, 6]]), i(2, 3)], {"batch_axis": 0, "time_axis": 1})
case("Resize", [f([[[1, 3]]]), None, f(1, 1, 2)], {"mode": "linear"})
case("Upsample", [f([[[[1, 2]]]]), f(1, 1, 2, 2)], {"mode": "nearest"}, opset=9)
case("GridSample", [f([[[[1, 2], [3, 4]]]]), f([[[[0, 0], [-0.5, -0.5]]]])])
case("AffineGrid", [f([[[1, 0, 0.5], [0, 1, 0]]]), i(1, 1, 2, 2)], opset=20)
case("RoiAlign", [ramp(1, 1, 3, 3), f([[0, 0, 2, 2]]), i(0)], {"output_height": 1, "output_width": 2, "sampling_ratio": 1})
case("NonMaxSuppression", [f([[[0, 0, 1, 1], [0, 0, 1, 0.9], [2, 2, 3, 3]]]), f([[[0.9, 0.8, 0.7]]]), i(2), f(0.5)])
case("QuantizeLinear", [f(-10, 0, 3), S8, Z8])
case("DequantizeLinear", [u8(0, 10, 14), S8, Z8])
case("DynamicQuantizeLinear", [f(0, 2, -3, 1.5)], outputs=3)
W, R = f([[[1.0], [0.5], [-1], [0.25]]]), f([[[0.5], [0.25], [1], [-0.5]]])
case("RNN", [f([[[1]], [[-1]]]), W[:, :1], R[:, :1]], {"hidden_size": 1}, outputs=2)
case("GRU", [f([[[1]], [[-1]]]), W[:, :3], R[:, :3]], {"hidden_size": 1}, outputs=2)
case("LSTM", [f([[[1]], [[-1]]]), W, R], {"hidden_size": 1}, outputs=3)
case("NegativeLogLikelihoodLoss", [f([[-1, -2], [-3, -0.5]]), i(0, 1)])
case("SoftmaxCrossEntropyLoss", [f([[1, 2], [3, 0.5]]), i(0, 0)], outputs=2)
case("DFT", [f([[[1], [0], [0], [0]]]), None, np.int64(1)], opset=20)
case("STFT", [f([[[1], [0], [2], [0]]]), np.int64(2), None, np.int64(2)], {"onesided": 1})
for op in ["HannWindow", "HammingWindow", "BlackmanWindow"]:
    case(op, [np.int64(4)])
case("MelWeightMatrix", [np.int64(2), np.int64(4), np.int64(8), np.float32(0), np.float32(4)])
case("StringConcat", [s("a", "b"), s("x", "y")], opset=20)
case("StringSplit", [s("a b", "c")], {"delimiter": " "}, outputs=2, opset=20)
case("StringNormalizer", [s("Monday", "the", "DAY")], {"case_change_action": "LOWER", "stopwords": ["the"]})
# ai.onnx.ml
case("ArrayFeatureExtractor", [f([[1, 2, 3], [4, 5, 6]]), i([2, 0])], domain=ML)
case("Binarizer", [f([[-1, 0.5, 2]])], {"threshold": 0.5}, domain=ML)
case("CategoryMapper", [s("cat", "dog", "cow")],
     {"cats_strings": ["cat", "dog"], "cats_int64s": [1, 2], "default_int64": -1}, domain=ML)
case("FeatureVectorizer", [f([[1, 2]]), f([[3]])], {"inputdimensions": [2, 1]}, domain=ML)
case("Imputer", [f([[1, np.nan]])], {"imputed_value_floats": [5.0, 7.0], "replaced_value_float": float("nan")}, domain=ML)
case("LabelEncoder", [s("b", "z")], {"keys_strings": ["a", "b"], "values_int64s": [1, 2], "default_int64": -1}, domain=ML)
case("LinearClassifier", [f([[1, 2]])],
     {"coefficients": [1.0, 0.0, 0.0, 1.0], "intercepts": [0.5, -0.5], "classlabels_ints": [7, 8], "post_transform": "NONE"},
     domain=ML, outputs=2)
case("LinearRegressor", [f([[1, 2]])], {"coefficients": [0.5, 2.0], "intercepts": [1.0]}, domain=ML)
case("Normalizer", [f([[3, 4]])], {"norm": "L2"}, domain=ML)
case("OneHotEncoder", [i(2, 9)], {"cats_int64s": [1, 2]}, domain=ML)
case("Scaler", [f([[1, 2]])], {"offset": [1.0, 0.0], "scale": [2.0, 0.5]}, domain=ML)
TREE = {"nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [0, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "nodes_values": [1.5, 0.0, 0.0], "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0]}
case("TreeEnsembleRegressor", [f([[1], [2]])],
     {**TREE, "n_targets": 1, "target_treeids": [0, 0], "target_nodeids": [1, 2], "target_ids": [0, 0],
      "target_weights": [10.0, 20.0]}, domain=ML)
case("TreeEnsembleClassifier", [f([[1], [2]])],
     {**TREE, "classlabels_int64s": [3, 4, 5], "class_treeids": [0, 0], "class_nodeids": [1, 2], "class_ids": [0, 1],
      "class_weights": [1.0, 1.0]}, domain=ML, outputs=2)
# com.microsoft
case("BiasGelu", [f([[-1, 2]]), f(0.5, -0.5)], domain=MS)
for op in ["Gelu", "FastGelu", "QuickGelu"]:
    case(op, [X], domain=MS)
case("QuantizeLinear", [f(-10, 0, 3), S8, Z8], domain=MS)
case("DequantizeLinear", [u8(0, 10, 14), S8, Z8], domain=MS)
for op in ["QLinearAdd", "QLinearMul"]:
    case(op, [u8(10, 14), S8, Z8, u8(12, 20), S8, Z8, np.float32(0.25), np.uint8(5)], domain=MS)
case("QLinearSigmoid", [u8(0, 10, 14), S8, Z8, np.float32(1 / 256), np.uint8(0)], domain=MS)
case("QLinearLeakyRelu", [u8(0, 10, 14), S8, Z8, np.float32(0.25), np.uint8(5)], {"alpha": 0.5}, domain=MS)
case("QLinearConcat", [S8, Z8, u8(10, 14), np.float32(1), np.uint8(0), u8(1, 2), S8, Z8], {"axis": 0}, domain=MS)
case("QLinearGlobalAveragePool", [u8([[[[10, 14]]]]), S8, Z8, S8, Z8], domain=MS)
case("QLinearAveragePool", [u8([[[[10, 14, 18]]]]), S8, Z8, S8, Z8], {"kernel_shape": [1, 2]}, domain=MS)
case("FusedMatMul", [A, A], {"transB": 1, "alpha": 0.5}, domain=MS)
case("SkipLayerNormalization", [f([[[1, 2]]]), f([[[0, 3]]]), f(1, 2), f(0, 1)], {"epsilon": 0.0}, domain=MS)
case("SimplifiedLayerNormalization", [f([[1, 7]]), f(1, 2)], {"epsilon": 0.0}, domain="")


def snake(name):
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"([A-Z])([A-Z][a-z])", r"\1_\2", name).lower()


def dtype(array):
    return helper.np_dtype_to_tensor_dtype(array.dtype) if array.dtype != object else onnx.TensorProto.STRING


def model(op, inputs, attrs, domain, outputs, opset):
    names = [None if x is None else f"{'abcdefgh'[k]}" for k, x in enumerate(inputs)]
    results = ["yzuv"[k] for k in range(outputs)]
    node = helper.make_node(op, [n or "" for n in names], results, domain=domain, **attrs)
    declared = [helper.make_tensor_value_info(n, dtype(np.asarray(x)), np.asarray(x).shape)
                for n, x in zip(names, inputs) if n]
    graph = helper.make_graph([node], snake(op), declared, [onnx.ValueInfoProto(name=r) for r in results])
    opsets = [helper.make_opsetid(d, opset or v if d == "" else v) for d, v in OPSETS if d in ("", domain)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def evaluate(m, feeds):
    try:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        session = ort.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, feeds)
    except Exception:
        return ReferenceEvaluator(m).run(None, feeds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    for op, inputs, attrs, domain, outputs, opset, suffix in CASES:
        m = model(op, inputs, attrs, domain, outputs, opset)
        names = [info.name for info in m.graph.input]
        feeds = dict(zip(names, (np.asarray(x) for x in inputs if x is not None)))
        try:
            values = evaluate(m, feeds)
        except Exception as e:
            print(f"{domain}.{op}: {str(e).splitlines()[0][:150] if str(e) else e!r}")
            continue
        for info, value in zip(m.graph.output, values):
            value = np.asarray(value)
            info.CopyFrom(helper.make_tensor_value_info(info.name, dtype(value), value.shape))
        prefix = {"": "", ML: "ml_", MS: "microsoft_"}[domain]
        folder = out / f"{prefix}{snake(op)}{suffix}"
        data = folder / "test_data_set_0"
        data.mkdir(parents=True, exist_ok=True)
        onnx.save(m, folder / "model.onnx")
        for k, (name, value) in enumerate(feeds.items()):
            (data / f"input_{k}.pb").write_bytes(numpy_helper.from_array(value, name).SerializeToString())
        for k, (info, value) in enumerate(zip(m.graph.output, values)):
            proto = numpy_helper.from_array(np.asarray(value), info.name)
            (data / f"output_{k}.pb").write_bytes(proto.SerializeToString())


if __name__ == "__main__":
    main()
