#!/usr/bin/env python3
"""Writes ONNX's own backend test cases, as the installed `onnx` package defines them, into a folder.

usage: python tests/python/backend_cases.py --out target/onnx-cases [--kinds node,simple,...]

Layout: OUT/<kind>/<case>/model.onnx, data.json (rtol, atol, and the model's url where it has one) and
test_data_set_<k>/input_<i>.pb, output_<i>.pb (TensorProto, SequenceProto or OptionalProto, after the declared type).

Kinds: node (made by Python functions of the package, so they must be written out here), simple, pytorch-converted,
pytorch-operator (files of the package, copied) and light (nine well-known image networks whose weights are constants; the
package computes their input, a ramp from 0 to 1, when the test runs, and so does this script). No download.

The folder is filled under another name and renamed at the end: a folder that exists is complete.
"""
import argparse
import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

KINDS = ["node", "simple", "pytorch-converted", "pytorch-operator", "light"]
DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"


def to_proto(value, declared, name):
    """value: what a case holds (array, list, dict, protobuf or None) -> the protobuf of its declared type."""
    if isinstance(value, (onnx.TensorProto, onnx.SequenceProto, onnx.OptionalProto, onnx.MapProto)):
        value.name = name
        return value
    which = declared.WhichOneof("value")
    if which == "sequence_type":
        return numpy_helper.from_list(list(value), name)
    if which == "map_type":
        return numpy_helper.from_dict(value, name)
    if which == "optional_type":
        inner = declared.optional_type.elem_type.WhichOneof("value")
        kind = onnx.OptionalProto.SEQUENCE if inner == "sequence_type" else onnx.OptionalProto.TENSOR
        return numpy_helper.from_optional(value, name, None if value is None else kind)
    return numpy_helper.from_array(np.asarray(value), name)


def write_values(folder, kind, values, declared):
    """declared: the graph's inputs or outputs; a case gives values to the first of them."""
    if len(values) > len(declared):
        raise ValueError(f"{folder}: {len(values)} {kind}s for {len(declared)} declared")
    for i, (value, info) in enumerate(zip(values, declared)):
        (folder / f"{kind}_{i}.pb").write_bytes(to_proto(value, info.type, info.name).SerializeToString())


def write_info(folder, case, url=None):
    info = {"rtol": case.rtol, "atol": case.atol}
    if url:
        info["url"] = url
    (folder / "data.json").write_text(json.dumps(info) + "\n")


def write_node_case(folder, case):
    folder.mkdir(parents=True)
    onnx.save(case.model, folder / "model.onnx")
    graph = case.model.graph
    for k, (inputs, outputs) in enumerate(case.data_sets):
        data_set = folder / f"test_data_set_{k}"
        data_set.mkdir()
        write_values(data_set, "input", inputs, graph.input)
        write_values(data_set, "output", outputs, graph.output)
    write_info(folder, case)


def write_light_case(folder, case):
    source = DATA / "light" / Path(case.url).name
    model = onnx.load(source)
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = []
    for info in model.graph.input:
        if info.name not in given:
            shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
            count = int(np.prod(shape))
            ramp = np.arange(count).reshape(shape) / count
            inputs.append((info, ramp.astype(onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type))))
    data_set = folder / "test_data_set_0"
    data_set.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    write_values(data_set, "input", [value for _, value in inputs], [info for info, _ in inputs])
    shutil.copyfile(source.with_name(f"{source.stem}_output_0.pb"), data_set / "output_0.pb")
    write_info(folder, case, case.url)


def write_kind(kind, out):
    """Returns the number of cases."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflow in the cases' own reference code
        cases = load_model_tests(kind="real" if kind == "light" else kind)
    for case in cases:
        folder = out / kind / case.name
        if kind == "node":
            write_node_case(folder, case)
        elif kind == "light":
            write_light_case(folder, case)
        else:
            shutil.copytree(case.model_dir, folder)
            write_info(folder, case)
    return len(cases)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", default=",".join(KINDS))
    args = parser.parse_args()
    kinds = args.kinds.split(",")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        sys.exit(f"unknown kinds: {', '.join(unknown)} (known: {', '.join(KINDS)})")
    part = args.out.with_name(args.out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    counts = {kind: write_kind(kind, part) for kind in kinds}
    shutil.rmtree(args.out, ignore_errors=True)
    part.rename(args.out)
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    print(f"{sum(counts.values())} cases of onnx {onnx.__version__}: {summary}")


if __name__ == "__main__":
    main()
