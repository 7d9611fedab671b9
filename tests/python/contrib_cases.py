#!/usr/bin/env python3
"""Writes test cases of ONNX Runtime's own operators (`com.microsoft`), with what the installed onnxruntime answers.

usage: python tests/python/contrib_cases.py --out target/contrib-cases

Each case is a model of one node with seeded random inputs, in the layout of ONNX's backend tests:
OUT/<case>/model.onnx, data.json (rtol, atol) and test_data_set_0/input_<i>.pb, output_<i>.pb. onnxruntime runs it without
graph optimisations on one thread. The folder is filled under another name and renamed at the end: a folder that exists is
complete. Takes about a second; no download.
"""
import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

SEED = 20240531
RNG = np.random.default_rng(SEED)


def f(*shape, scale=1.0):
    """Normal floats."""
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


def i32(values):
    return np.asarray(values, dtype=np.int32)


def i64(values):
    return np.asarray(values, dtype=np.int64)


def angles(rows, half):
    """Tables of cosines and sines of rotary embeddings."""
    a = np.outer(np.arange(rows), 1.0 / 10.0 ** (np.arange(half) / half)).astype(np.float32)
    return np.cos(a), np.sin(a)


def gelus():
    x, b = f(2, 3, 8, scale=3.0), f(8)
    yield "gelu", "Gelu", [x], {}, 1
    yield "bias_gelu", "BiasGelu", [x, b], {}, 1
    yield "fast_gelu", "FastGelu", [x], {}, 1
    yield "fast_gelu_bias", "FastGelu", [x, b], {}, 1
    yield "quick_gelu", "QuickGelu", [x], {}, 1
    yield "quick_gelu_alpha", "QuickGelu", [x], {"alpha": 1.2}, 1


def norms():
    x, g, b, c = f(2, 3, 8), f(8), f(8), f(8)
    skips = {"": f(2, 3, 8), "_one_sample": f(1, 3, 8), "_rank_2": f(3, 8)}
    for name, skip in skips.items():
        yield f"skip_layer_norm{name}", "SkipLayerNormalization", [x, skip, g, b], {"epsilon": 1e-5}, 1
    skip = skips[""]
    yield "skip_layer_norm_plain", "SkipLayerNormalization", [x, skip, g], {}, 1
    yield "skip_layer_norm_sum", "SkipLayerNormalization", [x, skip, g, b, c], {}, [0, 3]
    yield "skip_simplified_layer_norm", "SkipSimplifiedLayerNormalization", [x, skip, g], {"epsilon": 1e-6}, 1
    yield "skip_simplified_layer_norm_sum", "SkipSimplifiedLayerNormalization", [x, skip, g, c], {}, [0, 3]
    yield "simplified_layer_norm", ":SimplifiedLayerNormalization", [x, g], {"epsilon": 1e-6}, 1
    yield "simplified_layer_norm_axis", ":SimplifiedLayerNormalization", [x, f(3, 8)], {"axis": 1}, 1


def embeddings():
    ids, segments = i32(RNG.integers(0, 20, (2, 5))), i32(RNG.integers(0, 2, (2, 5)))
    word, position, segment, g, b = f(20, 8), f(9, 8), f(2, 8), f(8), f(8)
    mask = i32([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    full = [ids, segments, word, position, segment, g, b]
    yield "embed_layer_norm", "EmbedLayerNormalization", full, {}, 2
    yield "embed_layer_norm_mask", "EmbedLayerNormalization", [*full, mask], {"epsilon": 1e-5}, 2
    yield "embed_layer_norm_sum", "EmbedLayerNormalization", [*full, mask], {}, 3
    one = [ids, None, word, position, None, g, b]
    yield "embed_layer_norm_no_segments", "EmbedLayerNormalization", one, {}, 2
    places = i32(RNG.integers(0, 9, (2, 5)))
    yield "embed_layer_norm_positions", "EmbedLayerNormalization", [*full, None, places], {}, 2


def rotary():
    cos, sin = angles(12, 4)
    x3, x4 = f(2, 3, 16), f(2, 2, 3, 8)
    places = i64([[0, 1, 2], [5, 3, 9]])
    for name, x in {"3d": x3, "4d": x4}.items():
        for flag in (0, 1):
            yield f"rotary_{name}_{flag}", "RotaryEmbedding", [x, places, cos, sin], {"interleaved": flag}, 1
            yield f"rotary_{name}_{flag}_offset", "RotaryEmbedding", [x, i64([4]), cos, sin], {"interleaved": flag}, 1
    part = {"num_heads": 1, "rotary_embedding_dim": 8}
    yield "rotary_part", "RotaryEmbedding", [x3, places, cos, sin], part, 1
    yield "rotary_part_interleaved", "RotaryEmbedding", [x3, places, cos, sin], {**part, "interleaved": 1}, 1


def multi_head():
    heads, size, v_size = 2, 4, 3
    q, k, v = f(2, 3, 8), f(2, 5, 8), f(2, 5, 6)
    base = {"num_heads": heads}
    op = "MultiHeadAttention"
    yield "mha_cross", op, [q, k, v], base, 1
    yield "mha_scale", op, [q, k, v], {**base, "scale": 0.3}, 1
    yield "mha_bias", op, [q, k, v, f(22)], base, 1
    yield "mha_mask_lengths", op, [q, k, v, None, i32([2, 5])], base, 1
    keys = i32([[1, 0, 1, 1, 0], [0, 1, 1, 1, 1]])
    yield "mha_mask_keys", op, [q, k, v, None, keys], base, 1
    yield "mha_mask_keys_filter", op, [q, k, v, None, keys], {**base, "mask_filter_value": -2.0}, 1
    pairs = i32(RNG.integers(0, 2, (2, 3, 5)))
    yield "mha_mask_pairs", op, [q, k, v, None, pairs], base, 1
    for n, h in ((2, heads), (1, heads), (2, 1), (1, 1)):
        yield f"mha_attention_bias_{n}_{h}", op, [q, k, v, None, None, f(n, h, 3, 5)], base, 1
    yield "mha_mask_and_attention_bias", op, [q, k, v, None, keys, f(1, 1, 3, 5)], base, 1
    own = [q, f(2, 3, 8), f(2, 3, 8)]
    yield "mha_causal", op, own, {**base, "unidirectional": 1}, 1
    past = [f(2, heads, 2, size), f(2, heads, 2, size)]
    yield "mha_past", op, [*own, None, None, None, *past], base, 3
    yield "mha_past_causal", op, [*own, f(24), None, None, *past], {**base, "unidirectional": 1}, 3
    yield "mha_present", op, own, base, 3
    yield "mha_scores", op, [q, k, f(2, 5, 8), None, keys], base, [0, 3]
    step = [f(2, 1, 8), f(2, 1, 8), f(2, 1, 8)]
    yield "mha_decode", op, [*step, None, None, None, *past], {**base, "unidirectional": 1}, 3
    yield "mha_cached_cross", op, [q, f(2, heads, 5, size), f(2, heads, 5, size)], base, 1


def attention():
    x, w, b = f(2, 3, 6), f(6, 24, scale=0.4), f(24)
    base = {"num_heads": 2}
    op = "Attention"
    yield "attention_plain", op, [x, w, b], base, 1
    yield "attention_causal", op, [x, w, b], {**base, "unidirectional": 1}, 1
    yield "attention_scale", op, [x, w, b], {**base, "scale": 0.3}, 1
    yield "attention_ends", op, [x, w, b, i32([2, 3])], base, 1
    yield "attention_ends_and_starts", op, [x, w, b, i32([3, 3, 1, 0])], base, 1
    yield "attention_keys", op, [x, w, b, i32([[1, 1, 0], [0, 1, 1]])], base, 1
    yield "attention_pairs", op, [x, w, b, i32(RNG.integers(0, 2, (2, 3, 3)))], base, 1
    yield "attention_keys_causal", op, [x, w, b, i32([[1, 1, 0], [1, 1, 1]])], {**base, "unidirectional": 1}, 1
    yield "attention_bias", op, [x, w, b, None, None, f(1, 2, 3, 3)], base, 1
    yield "attention_present", op, [x, w, b], base, 2
    past = f(2, 2, 2, 4, 4)
    yield "attention_past", op, [x, w, b, None, past], base, 2
    yield "attention_past_causal", op, [x, w, b, i32(np.ones((2, 7))), past], {**base, "unidirectional": 1}, 2
    sizes = {**base, "qkv_hidden_sizes": [8, 8, 4]}
    yield "attention_unlike_sizes", op, [x, f(6, 20, scale=0.4), f(20)], sizes, 1


def group_query():
    heads, kv_heads, size = 4, 2, 16
    op = "GroupQueryAttention"
    base = {"num_heads": heads, "kv_num_heads": kv_heads}
    cos, sin = angles(32, size // 2)

    def new(n, length):
        return [f(n, length, heads * size), f(n, length, kv_heads * size), f(n, length, kv_heads * size)]

    def cache(n, length):
        return [f(n, kv_heads, length, size), f(n, kv_heads, length, size)]

    def rest(n, total):
        return [i32([total - 1] * n), np.asarray(total, dtype=np.int32)]

    tables = {**base, "do_rotary": 1}
    none = [None, None]
    yield "gqa_prompt", op, [*new(2, 5), *none, *rest(2, 5)], base, 3
    yield "gqa_prompt_cache", op, [*new(2, 5), *cache(2, 8), *rest(2, 5)], base, 1
    yield "gqa_packed", op, [f(2, 5, 128), None, None, *none, *rest(2, 5)], base, 3
    yield "gqa_prompt_rotary", op, [*new(2, 5), *none, *rest(2, 5), cos, sin], tables, 3
    inter = {**tables, "rotary_interleaved": 1}
    yield "gqa_prompt_interleaved", op, [*new(2, 5), *none, *rest(2, 5), cos, sin], inter, 3
    yield "gqa_decode", op, [*new(2, 1), *cache(2, 5), *rest(2, 6)], base, 3
    yield "gqa_decode_rotary", op, [*new(2, 1), *cache(2, 5), *rest(2, 6), cos, sin], tables, 3
    ragged = [i32([3, 5]), np.asarray(6, dtype=np.int32)]
    yield "gqa_decode_ragged", op, [*new(2, 1), *cache(2, 6), *ragged, cos, sin], tables, 1
    yield "gqa_chunk", op, [*new(1, 3), *cache(1, 4), *rest(1, 7), cos, sin], tables, 3
    for width in (1, 2, 4):
        window = {**base, "local_window_size": width}
        yield f"gqa_window_{width}", op, [*new(2, 5), *none, *rest(2, 5)], window, 1
        yield f"gqa_decode_window_{width}", op, [*new(2, 1), *cache(2, 5), *rest(2, 6)], window, 1
    yield "gqa_softcap", op, [*new(2, 5), *none, *rest(2, 5)], {**base, "softcap": 1.5, "scale": 0.7}, 1
    yield "gqa_smooth", op, [*new(2, 5), *none, *rest(2, 5)], {**base, "smooth_softmax": 1}, 1
    sink = [*new(2, 5), *none, *rest(2, 5), *none, None, None, f(heads)]
    yield "gqa_sink", op, sink, base, 1
    biased = [*new(2, 5), *none, *rest(2, 5), *none, None, f(1, heads, 5, 5)]
    yield "gqa_bias", op, biased, base, 1
    places = i64([[2, 3, 4, 5, 6], [2, 3, 4, 5, 6]])
    yield "gqa_positions", op, [*new(2, 5), *none, *rest(2, 5), cos, sin, places], tables, 1
    step = i64([[7], [9]])
    yield "gqa_decode_positions", op, [*new(2, 1), *cache(2, 5), *rest(2, 6), cos, sin, step], tables, 1
    yield "gqa_bidirectional", op, [*new(2, 5), *none, *rest(2, 5)], {**base, "causal": 0}, 1


def result_type(op, k):
    return onnx.TensorProto.INT32 if (op, k) == ("EmbedLayerNormalization", 1) else onnx.TensorProto.FLOAT


def model_of(op, inputs, attributes, outputs):
    """A model of one node; `:Name` is an operator that onnxruntime keeps in ONNX's own domain."""
    domain = "" if op.startswith(":") else "com.microsoft"
    kinds = {i: value for i, value in enumerate(inputs) if value is not None}
    names = [f"x{i}" if i in kinds else "" for i in range(len(inputs))]
    wanted = list(range(outputs)) if isinstance(outputs, int) else outputs
    # onnxruntime writes a cache only into results that are named.
    named = range(3) if op == "GroupQueryAttention" else wanted
    results = [f"y{k}" if k in named else "" for k in range(max(named) + 1)]
    node = helper.make_node(op.lstrip(":"), names, results, domain=domain, **attributes)
    graph = helper.make_graph(
        [node],
        "case",
        [helper.make_tensor_value_info(f"x{i}", helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for i, v in kinds.items()],
        [helper.make_tensor_value_info(f"y{k}", result_type(op, k), None) for k in wanted],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9), kinds


def write_case(folder, op, inputs, attributes, outputs):
    model, kinds = model_of(op, inputs, attributes, outputs)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(None, {f"x{i}": value for i, value in kinds.items()})
    data_set = folder / "test_data_set_0"
    data_set.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    for k, (i, value) in enumerate(kinds.items()):
        (data_set / f"input_{k}.pb").write_bytes(numpy_helper.from_array(value, f"x{i}").SerializeToString())
    for k, (info, value) in enumerate(zip(model.graph.output, results)):
        (data_set / f"output_{k}.pb").write_bytes(numpy_helper.from_array(value, info.name).SerializeToString())
    # Rounding of f32 in another order; sums here have at most 24 terms.
    (folder / "data.json").write_text(json.dumps({"rtol": 1e-4, "atol": 1e-5}) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    part = args.out.with_name(args.out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    count = 0
    for family in (gelus, norms, embeddings, rotary, multi_head, attention, group_query):
        for name, *case in family():
            write_case(part / name, *case)
            count += 1
    shutil.rmtree(args.out, ignore_errors=True)
    part.rename(args.out)
    print(f"{count} cases of onnxruntime {onnxruntime.__version__}")


if __name__ == "__main__":
    main()
