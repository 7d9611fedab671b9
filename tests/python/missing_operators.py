"""Compares the operators that `egret ops --json` lists with the schemas of the installed onnx package.

Prints what is missing: operators, versions in which a schema changed, attributes. Lines of the manifest
(`domain::Name<TAB>reason`) are expected to be missing; one that is not missing, or is missing and not listed, fails.
The last line is `N passed, M failed, K skipped`: operators that are complete, that are not as listed, that are listed.
"""

import argparse
import json
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
