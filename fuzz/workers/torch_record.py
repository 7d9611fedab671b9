"""Runs a Python script and records its calls of PyTorch's functions: `torch_record.py OUT MOST SCRIPT ARGUMENTS…`.

Every call that torch's dispatch to a function mode names is written to OUT as a record (a JSON object a line, see
torch_functions.py), at most MOST different ones of a function. Calls inside of such a call are part of it. The script has its
own arguments, output and exit code; what was recorded, and what could not be and why, is said on standard error. Calls in
other threads and processes are not seen.
"""

import atexit
import collections
import json
import os
import runpy
import sys

import torch
from torch.overrides import TorchFunctionMode

import torch_functions as functions


class Recorder(TorchFunctionMode):
    def __init__(self, out, most):
        super().__init__()
        self.out, self.most = out, most
        self.seen, self.of_function, self.left_out = set(), collections.Counter(), collections.Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = functions.name_of(func)
        call = None
        if name:
            try:
                # Before the call: it may change its operands.
                call = functions.call_of(name, args, kwargs)
            except functions.Unrecorded as why:
                self.left_out[str(why)] += 1
            except Exception as e:
                self.left_out[f"{type(e).__name__} while it was recorded"] += 1
        try:
            result = func(*args, **kwargs)
        except Exception as e:
            if call:
                text, own = functions.refusal(e)
                self.write({**call, "unsupported" if own else "error": text})
            raise
        if call:
            try:
                self.write({**call, "outputs": functions.results(result)})
            except functions.Unrecorded as why:
                self.left_out[str(why)] += 1
        return result

    def write(self, record):
        line = json.dumps(record)
        if line in self.seen:
            return
        if self.of_function[record["op"]] >= self.most:
            self.left_out[f"more than {self.most} different calls of one function"] += 1
            return
        self.seen.add(line)
        self.of_function[record["op"]] += 1
        self.out.write(line + "\n")

    def close(self):
        self.out.close()
        said = f"{len(self.seen)} records of {len(self.of_function)} functions"
        reasons = ", ".join(f"{n} with {why}" for why, n in self.left_out.most_common())
        print(f"{said}; left out: {reasons or 'none'}", file=sys.stderr)


def main():
    out, most, script, *arguments = sys.argv[1:]
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    recorder = Recorder(open(out, "w"), int(most))
    # Whatever way the script ends.
    atexit.register(recorder.close)
    with recorder:
        runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
