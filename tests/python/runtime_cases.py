#!/usr/bin/env python3
"""Writes single-node cases whose expected outputs ONNX Runtime computes, for operators that ONNX has no cases of.

usage: python tests/python/runtime_cases.py --out target/runtime-cases

They are the operators of `com.microsoft` and `ai.onnx.ml`. Layout and file names are those of `backend_cases.py`. Inputs are
seeded; results that are rounded to integers may differ by one where the runtime computes in another order.
"""
import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from backend_cases import write_values

CASES = {}


def case(function):
    """Registers a function that gets a generator of random numbers and yields (suffix, node, inputs, atol)."""
    CASES[function.__name__] = function
    return function


def u8(rng, *shape):
    return rng.integers(0, 256, shape).astype(np.uint8)


def i8(rng, *shape):
    return rng.integers(-128, 128, shape).astype(np.int8)


def f32(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def number(value, dtype=np.float32):
    return np.array(value, dtype)


def microsoft(op, n_inputs, n_outputs=1, **attributes):
    """A node of com.microsoft; a name that is empty is an operand left out."""
    names = n_inputs if isinstance(n_inputs, list) else [f"x{i}" for i in range(n_inputs)]
    return helper.make_node(op, names, [f"y{i}" for i in range(n_outputs)], domain="com.microsoft", **attributes)


def classic(op, n_outputs=1, **attributes):
    return helper.make_node(op, ["x0"], [f"y{i}" for i in range(n_outputs)], domain="ai.onnx.ml", **attributes)


@case
def fused_mat_mul(rng):
    yield "trans", microsoft("FusedMatMul", 2, transA=1, transB=1, alpha=0.5), [f32(rng, 2, 5, 3), f32(rng, 2, 4, 5)], 1e-6
    yield "batch", microsoft("FusedMatMul", 2, transBatchA=1), [f32(rng, 3, 2, 5), f32(rng, 2, 5, 4)], 1e-6
    both = microsoft("FusedMatMul", 2, transBatchA=1, transBatchB=1, transA=1, transB=1)
    yield "both", both, [f32(rng, 5, 2, 3), f32(rng, 4, 2, 5)], 1e-6


@case
def transpose_mat_mul(rng):
    yield "b", microsoft("TransposeMatMul", 2, transB=1, alpha=2.0), [f32(rng, 2, 3, 5), f32(rng, 4, 5)], 1e-6


@case
def fused_conv(rng):
    x, w, b = f32(rng, 1, 4, 7, 6), f32(rng, 6, 2, 3, 3), f32(rng, 6)
    for name, parameters in [("Relu", []), ("LeakyRelu", [0.2]), ("Clip", [-0.5, 1.5]), ("HardSigmoid", [0.3, 0.4]), ("Tanh", []), ("Sigmoid", [])]:
        node = microsoft("FusedConv", 3, activation=name, activation_params=parameters or None, group=2, pads=[1, 0, 1, 2], strides=[2, 1])
        yield name.lower(), node, [x, w, b], 1e-5
    yield "sum", microsoft("FusedConv", 4, activation="Relu", group=2), [x, w, b, f32(rng, 1, 6, 5, 4)], 1e-5


@case
def fused_gemm(rng):
    node = microsoft("FusedGemm", 3, activation="LeakyRelu", activation_alpha=0.3, transB=1, alpha=0.5, beta=2.0)
    yield "leaky_relu", node, [f32(rng, 3, 5), f32(rng, 4, 5), f32(rng, 4)], 1e-5


@case
def q_linear_binary(rng):
    for op in ("QLinearAdd", "QLinearMul"):
        for name, make, dtype in (("u8", u8, np.uint8), ("i8", i8, np.int8)):
            zero = [number(z, dtype) for z in (3, 100, 7)]
            a, b = make(rng, 2, 3, 4), make(rng, 3, 1)
            inputs = [a, number(0.05), zero[0], b, number(0.03), zero[1], number(0.08), zero[2]]
            yield f"{op.lower()}_{name}", microsoft(op, 8), inputs, 1


@case
def q_linear_unary(rng):
    for op, attributes in (("QLinearSigmoid", {}), ("QLinearLeakyRelu", {"alpha": 0.1})):
        inputs = [u8(rng, 3, 5), number(0.05), number(120, np.uint8), number(0.02), number(30, np.uint8)]
        yield op.lower(), microsoft(op, 5, **attributes), inputs, 1
    for opset in (12, 13):
        node = microsoft("QLinearSoftmax", 5, opset=opset, axis=1)
        yield f"softmax_{opset}", node, [u8(rng, 2, 3, 5), number(0.03), number(120, np.uint8), number(1 / 256), number(0, np.uint8)], 1


@case
def q_linear_where(rng):
    inputs = [rng.integers(0, 2, (2, 1, 4)).astype(bool), u8(rng, 3, 4), number(0.05), number(3, np.uint8)]
    inputs += [u8(rng, 2, 1, 1), number(0.03), number(9, np.uint8), number(0.07), number(5, np.uint8)]
    yield "broadcast", microsoft("QLinearWhere", 9), inputs, 1


@case
def q_linear_concat(rng):
    inputs = [number(0.07), number(5, np.uint8), u8(rng, 2, 3), number(0.05), number(3, np.uint8), u8(rng, 2, 4), number(0.03), number(9, np.uint8)]
    yield "two", microsoft("QLinearConcat", 8, axis=1), inputs, 1


@case
def q_linear_pool(rng):
    for last in (0, 1):
        inputs = [u8(rng, 1, 5, 6, 3), number(0.05), number(3, np.uint8), number(0.03), number(9, np.uint8)]
        yield f"global_{last}", microsoft("QLinearGlobalAveragePool", 5, channels_last=last), inputs, 1
        node = microsoft("QLinearAveragePool", 5, channels_last=last, kernel_shape=[2, 3], pads=[1, 0, 0, 1], strides=[2, 1])
        yield f"average_{last}", node, inputs, 1


@case
def q_linear_conv(rng):
    for last in (0, 1):
        x = u8(rng, 1, 6, 7, 4) if last else u8(rng, 1, 4, 6, 7)
        inputs = [x, number(0.02), number(120, np.uint8), i8(rng, 6, 2, 3, 3), number(0.01), number(0, np.int8), number(0.05), number(110, np.uint8)]
        inputs.append(rng.integers(-500, 500, 6).astype(np.int32))
        yield f"last_{last}", microsoft("QLinearConv", 9, channels_last=last, group=2, pads=[1, 1, 0, 0]), inputs, 1


@case
def nhwc_max_pool(rng):
    node = microsoft("NhwcMaxPool", 1, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1], dilations=[1, 2])
    yield "u8", node, [u8(rng, 2, 6, 7, 3)], 0
    yield "i8", node, [i8(rng, 2, 6, 7, 3)], 0


@case
def q_gemm(rng):
    inputs = [u8(rng, 3, 5), number(0.02), number(120, np.uint8), i8(rng, 4, 5), f32(rng, 4) ** 2, np.zeros(4, np.int8)]
    inputs.append(rng.integers(-500, 500, 4).astype(np.int32))
    yield "float", microsoft("QGemm", 7, transB=1, alpha=0.5), inputs, 1e-4
    yield "u8", microsoft("QGemm", 9, transB=1), inputs + [number(0.5), number(128, np.uint8)], 1


@case
def integer_products(rng):
    a, b = u8(rng, 2, 3, 5), i8(rng, 5, 4)
    scales, zero = f32(rng, 4) ** 2, rng.integers(-5, 5, 4).astype(np.int8)
    inputs = [a, b, number(0.02), scales, number(120, np.uint8), zero, f32(rng, 4)]
    yield "to_float", microsoft("MatMulIntegerToFloat", 7), inputs, 1e-4
    yield "to_float_plain", microsoft("MatMulIntegerToFloat", 4), inputs[:4], 1e-4
    yield "dynamic", microsoft("DynamicQuantizeMatMul", 5), [f32(rng, 2, 3, 5), b, scales, zero, f32(rng, 4)], 1e-4
    yield "dynamic_plain", microsoft("DynamicQuantizeMatMul", 3), [f32(rng, 3, 5), b, number(0.01)], 1e-4


@case
def mat_mul_n_bits(rng):
    for bits in (2, 4, 8):
        n, k, block = 5, 40, 16
        blocks = -(-k // block)
        packed = u8(rng, n, blocks, block * bits // 8)
        inputs = [f32(rng, 2, 3, k), packed, f32(rng, n, blocks)]
        attributes = {"K": k, "N": n, "bits": bits, "block_size": block}
        if bits != 2:
            yield f"{bits}", microsoft("MatMulNBits", 3, **attributes), inputs, 1e-3
        zero = u8(rng, n, -(-blocks * bits // 8))
        yield f"{bits}_zero", microsoft("MatMulNBits", 4, **attributes), inputs + [zero], 1e-3
    names = ["x0", "x1", "x2", "", "", "x5"]
    node = microsoft("MatMulNBits", names, K=32, N=3, bits=4, block_size=32)
    yield "bias", node, [f32(rng, 2, 32), u8(rng, 3, 1, 16), f32(rng, 3, 1), f32(rng, 3)], 1e-3


@case
def gather_block_quantized(rng):
    indices = np.array([[2, 0], [-1, 1]], np.int64)
    for bits in (4, 8):
        data, blocks = u8(rng, 3, 40 * bits // 8), 3
        scales = f32(rng, 3, blocks)
        attributes = {"bits": bits, "block_size": 16, "quantize_axis": 1, "gather_axis": 0}
        yield f"{bits}", microsoft("GatherBlockQuantized", 3, **attributes), [data, indices, scales], 1e-6
        zero = u8(rng, 3, -(-blocks * bits // 8))
        yield f"{bits}_zero", microsoft("GatherBlockQuantized", 4, **attributes), [data, indices, scales, zero], 1e-6


@case
def dynamic_quantize_lstm(rng):
    # The runtime also rounds X and the state to 8 bits, so this is as near as that comes.
    d, n, h = 2, 3, 4
    weights = [u8(rng, d, n, 4 * h), u8(rng, d, h, 4 * h)]
    names = ["x0", "x1", "x2", "x3", "", "", "", "", "x8", "x9", "x10", "x11"]
    quant = [number([0.004] * d), number([128] * d, np.uint8)] * 2
    node = microsoft("DynamicQuantizeLSTM", names, 3, hidden_size=h, direction="bidirectional")
    yield "bidirectional", node, [f32(rng, 5, 2, n), *weights, f32(rng, d, 8 * h), *quant], 0.02


@case
def small_matrices(rng):
    yield "inverse", microsoft("Inverse", 1), [f32(rng, 2, 4, 4) + 3 * np.eye(4, dtype=np.float32)], 1e-5
    for upper in (0, 1):
        yield f"trilu_{upper}", microsoft("Trilu", 2, upper=upper), [f32(rng, 2, 3, 4), number(1, np.int64)], 0


@case
def max_roi_pool(rng):
    rois = np.concatenate([rng.integers(0, 2, (6, 1)), rng.uniform(0, 20, (6, 4))], 1).astype(np.float32)
    for scale in (1.0, 0.4):
        node = helper.make_node("MaxRoiPool", ["x0", "x1"], ["y0"], pooled_shape=[3, 2], spatial_scale=scale)
        yield f"{scale}", node, [f32(rng, 2, 3, 12, 10), rois], 0


@case
def svm_regressor(rng):
    f, n = 3, 4
    for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID"):
        for one_class in (0, 1):
            node = classic("SVMRegressor", n_supports=n, one_class=one_class, rho=[0.1], kernel_type=kernel,
                           kernel_params=[0.7, 0.3, 2.0], coefficients=f32(rng, n).tolist(), support_vectors=f32(rng, n * f).tolist())
            yield f"{kernel.lower()}_{one_class}", node, [f32(rng, 5, f)], 1e-5
    node = classic("SVMRegressor", rho=[0.1], kernel_params=[0.0, 0.0, 0.0], coefficients=f32(rng, f).tolist())
    yield "coefficients", node, [f32(rng, 5, f)], 1e-5


def machines(rng, classes, features, **attributes):
    """A classifier of two support vectors a class."""
    pairs, vectors = classes * (classes - 1) // 2, 2 * classes
    return classic("SVMClassifier", 2, vectors_per_class=[2] * classes, rho=(0.2 * f32(rng, pairs)).tolist(),
                   coefficients=f32(rng, (classes - 1) * vectors).tolist(), support_vectors=f32(rng, vectors * features).tolist(),
                   kernel_params=[0.7, 0.3, 2.0], **attributes)


@case
def svm_classifier(rng):
    words = ["a", "b", "c"]
    for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID"):
        for transform in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"):
            node = machines(rng, 3, 4, kernel_type=kernel, post_transform=transform, classlabels_strings=words)
            yield f"3_{kernel.lower()}_{transform.lower()}", node, [f32(rng, 6, 4)], 1e-5
            slopes = {"prob_a": [-1.5, -1.0, -2.0], "prob_b": [0.1, 0.0, -0.2]}
            node = machines(rng, 3, 4, kernel_type=kernel, post_transform=transform, classlabels_ints=[5, 7, 9], **slopes)
            yield f"3_{kernel.lower()}_{transform.lower()}_probabilities", node, [f32(rng, 6, 4)], 1e-5
    for transform in ("NONE", "LOGISTIC"):
        node = machines(rng, 2, 4, kernel_type="RBF", post_transform=transform, classlabels_ints=[5, 7])
        yield f"2_{transform.lower()}", node, [f32(rng, 6, 4)], 1e-5
    node = machines(rng, 2, 4, kernel_type="RBF", classlabels_ints=[5, 7], prob_a=[-1.5], prob_b=[0.1])
    yield "2_probabilities", node, [f32(rng, 6, 4)], 1e-5
    node = classic("SVMClassifier", 2, classlabels_ints=[4, 5, 6], coefficients=f32(rng, 12).tolist(), rho=[0.3],
                   kernel_params=[0.0, 0.0, 0.0])
    yield "coefficients", node, [f32(rng, 6, 4)], 1e-5


@case
def zip_map(rng):
    yield "ints", classic("ZipMap", classlabels_int64s=[5, 2, 9]), [f32(rng, 2, 3)], 0
    yield "strings", classic("ZipMap", classlabels_strings=["x", "y", "a"]), [f32(rng, 2, 3)], 0


@case
def tf_idf_vectorizer(rng):
    for mode in ("TF", "IDF", "TFIDF"):
        node = helper.make_node("TfIdfVectorizer", ["x0"], ["y0"], mode=mode, min_gram_length=1, max_gram_length=3, max_skip_count=2,
                                ngram_counts=[0, 3, 7], ngram_indexes=[0, 1, 2, 3, 4, 5], weights=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
                                pool_int64s=[1, 2, 3, 1, 2, 2, 3, 1, 2, 3])
        yield mode.lower(), node, [rng.integers(0, 5, (3, 20)).astype(np.int64)], 1e-6


def value_info(name, array):
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def output_info(name, value, node):
    if isinstance(value, list):
        key = onnx.TensorProto.STRING if isinstance(next(iter(value[0])), str) else onnx.TensorProto.INT64
        scalar = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
        return helper.make_value_info(name, helper.make_sequence_type_proto(helper.make_map_type_proto(key, scalar)))
    if value.dtype == object:
        return helper.make_tensor_value_info(name, onnx.TensorProto.STRING, value.shape)
    return value_info(name, value)


def model_of(node, inputs, outputs):
    opsets = [("", 18), ("ai.onnx.ml", 3), ("com.microsoft", 1)]
    graph = helper.make_graph([node], "case", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(*o) for o in opsets], ir_version=8)


def write_case(folder, node, arrays, atol):
    names = [n for n in node.input if n]
    inputs = [value_info(n, a) for n, a in zip(names, arrays)]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    blank = model_of(node, inputs, [onnx.ValueInfoProto(name=n) for n in node.output])
    session = onnxruntime.InferenceSession(blank.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = session.run(None, dict(zip(names, arrays)))
    outputs = [output_info(n, v, node) for n, v in zip(node.output, values)]
    data_set = folder / "test_data_set_0"
    data_set.mkdir(parents=True)
    onnx.save(model_of(node, inputs, outputs), folder / "model.onnx")
    write_values(data_set, "input", arrays, inputs)
    for i, (value, info) in enumerate(zip(values, outputs)):
        if isinstance(value, list):
            (data_set / f"output_{i}.pb").write_bytes(maps(value, info.name).SerializeToString())
        else:
            (data_set / f"output_{i}.pb").write_bytes(numpy_helper.from_array(value, info.name).SerializeToString())
    (folder / "data.json").write_text(json.dumps({"rtol": 1e-4, "atol": atol}) + "\n")


def maps(value, name):
    """A sequence of maps from labels to single floats."""
    out = onnx.SequenceProto(name=name, elem_type=onnx.SequenceProto.MAP)
    for entries in value:
        m = out.map_values.add()
        keys = sorted(entries)
        if isinstance(keys[0], str):
            m.key_type = onnx.TensorProto.STRING
            m.string_keys.extend(k.encode() for k in keys)
        else:
            m.key_type = onnx.TensorProto.INT64
            m.keys.extend(keys)
        m.values.elem_type = onnx.SequenceProto.TENSOR
        m.values.tensor_values.extend(numpy_helper.from_array(np.array(entries[k], np.float32)) for k in keys)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    partial = args.out.with_name(args.out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    count = 0
    for seed, (name, function) in enumerate(CASES.items()):
        for suffix, node, arrays, atol in function(np.random.default_rng(seed)):
            try:
                write_case(partial / f"{name}_{suffix}", node, arrays, atol)
            except Exception as error:
                raise SystemExit(f"{name}_{suffix}: {error}") from error
            count += 1
    shutil.rmtree(args.out, ignore_errors=True)
    partial.rename(args.out)
    print(f"{count} cases by onnxruntime {onnxruntime.__version__}")


if __name__ == "__main__":
    sys.exit(main())
