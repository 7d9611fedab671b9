"""Compares the operators that `egret ops --json` lists with the schemas of the installed onnx package.

Prints what is missing: operators, versions in which a schema changed, attributes, and element types, attributes and
operands that a version brought of which the declaration (`brings`) does not say so. Lines of the manifest
(`domain::Name<TAB>reason`) are expected to be missing; one that is not missing, or is missing and not listed, fails.
The last line is `N passed, M failed, K skipped`: operators that are complete, that are not as listed, that are listed.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import onnx.defs


def known(egret: Path) -> dict[str, dict]:
    """Egret's operators by `domain::Name`."""
    text = subprocess.run([egret, "ops", "--json"], check=True, capture_output=True, text=True).stdout
    return {f"{op['domain']}::{op['name']}": op for op in json.loads(text)}


def schemas() -> dict[str, onnx.defs.OpSchema]:
    """The newest schema of each operator that is not deprecated, by `domain::Name`."""
    return {f"{s.domain or 'ai.onnx'}::{s.name}": s for s in onnx.defs.get_all_schemas() if not s.deprecated}


# Versions before this one are not exported.
LEAST_OPSET = 13

ELEMENTS = {"float": "f32", "double": "f64", "float16": "f16", "bfloat16": "bf16", "float4e2m1": "f4e2m1", "bool": "bool",
            "float8e8m0": "f8e8m0", "string": "string", "complex64": "c64", "complex128": "c128"}
F8 = {"float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"}
# Not known to Egret.
UNKNOWN = {"float6e2m3", "float6e3m2"}


def words_of(kind: str) -> set[str]:
    """The words of which a `brings` has one for a type such as `seq(tensor(float16))`."""
    element = re.search(r"(\w+)\)*$", kind)[1]
    if element in UNKNOWN:
        return {""}
    word = "f8" if element in F8 else ELEMENTS.get(element) or re.sub(r"^(u?)int", r"\1i", element).replace("ui", "u")
    return {word} | {w for w in ("seq", "optional") if w in kind}


def undeclared(name: str, op: dict) -> list[str]:
    """What versions brought that `op` declares as additions, and that it does not name."""
    history = sorted(
        (s for s in onnx.defs.get_all_schemas_with_history() if (s.domain, s.name) == ("", name)),
        key=lambda s: s.since_version,
    )
    brings = dict(map(tuple, op["brings"]))
    said = []
    for old, new in zip(history, history[1:]):
        version = new.since_version
        if version <= LEAST_OPSET or version not in brings:
            continue
        declared = {re.split("[=&]", w)[0] for w in brings[version].split()}
        formals = list(zip(old.inputs, new.inputs)) + list(zip(old.outputs, new.outputs))
        kinds = {kind for a, b in formals for kind in set(b.types) - set(a.types)}
        said += [f"{version} brings {k}" for k in sorted(kinds) if not (words_of(k) & declared or "" in words_of(k))]
        names = [f.name for f in [*new.inputs[len(old.inputs):], *new.outputs[len(old.outputs):]]]
        names += set(new.attributes) - set(old.attributes)
        said += [f"{version} brings {n}" for n in names if n not in declared]
        changed = [n for n, a in old.attributes.items() if n not in new.attributes and n not in declared]
        changed += [
            n
            for n, a in old.attributes.items()
            if n in new.attributes and str(a.default_value) != str(new.attributes[n].default_value)
        ]
        said += [f"{version} changes {n}: no addition" for n in changed]
    return said


def faults(schema: onnx.defs.OpSchema, op: dict | None) -> str:
    """What `op` lacks of `schema`."""
    if op is None:
        return "not known"
    said = []
    if schema.since_version > max(op["since"]):
        said.append(f"newest version {schema.since_version}, known up to {max(op['since'])}")
    lacking = set(schema.attributes) - {a["name"] for a in op["attributes"]}
    if lacking:
        said.append(f"attributes {', '.join(sorted(lacking))}")
    if not schema.domain:
        said += undeclared(schema.name, op)
    return "; ".join(said)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--egret", type=Path, required=True, help="the built program")
    parser.add_argument("--manifest", type=Path, help="operators that are expected to be missing")
    args = parser.parse_args()
    ops = known(args.egret)
    listed = {}
    if args.manifest:
        for line in args.manifest.read_text().splitlines():
            name, _, reason = line.partition("\t")
            listed[name] = reason
    passed = failed = skipped = 0
    for name, schema in sorted(schemas().items()):
        fault = faults(schema, ops.get(name))
        if not fault and name not in listed:
            passed += 1
        elif fault and name in listed:
            skipped += 1
            print(f"expected  {name}: {fault} ({listed[name]})")
        else:
            failed += 1
            print(f"FAILED    {name}: {fault or 'listed as missing, and is not'}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
