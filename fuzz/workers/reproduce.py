"""@SUMMARY@

Needs the runtime, onnx and numpy. Prints what is expected and what comes; ends with 1 where they differ by more than
rounding explains: `allowed_K.pb` has the error that each element of an output may have, NaN where any is right.
"""
import glob
import os
import sys

import numpy
import onnx
from onnx import numpy_helper

# Whether it is the memory that grows with each run.
GROWS = @GROWS@
here = os.path.dirname(os.path.abspath(__file__))
sets = sorted(glob.glob(here + "/test_data_set_*"))


def tensors(folder, kind):
    for k in range(len(glob.glob(f"{folder}/{kind}_*.pb"))):
        with open(f"{folder}/{kind}_{k}.pb", "rb") as f:
            t = onnx.TensorProto.FromString(f.read())
        # Some runtimes want arrays that can be written to.
        yield t.name, numpy.array(numpy_helper.to_array(t))


def differs(want, have, allowed):
    have = numpy.asarray(have)
    if want.shape != have.shape or want.dtype != have.dtype:
        return True
    if want.dtype.kind in "OSU":
        near = want == have
    else:
        x, y = want.astype(numpy.float64), have.astype(numpy.float64)
        with numpy.errstate(invalid="ignore"):
            near = (want == have) | (numpy.isnan(x) & numpy.isnan(y)) | (abs(x - y) <= allowed)
    return not (near | numpy.isnan(allowed)).all()


@RUN@

wrong = False
for folder in sets:
    allowed = [array for _, array in tensors(folder, "allowed")]
    for k, ((name, want), have) in enumerate(zip(tensors(folder, "output"), run(dict(tensors(folder, "input"))))):
        print(name, "expected", want.tolist(), "got", numpy.asarray(have).tolist())
        wrong |= differs(want, have, allowed[k] if allowed else numpy.zeros(want.shape))
if GROWS:
    feeds, resident = dict(tensors(sets[0], "input")), []
    for _ in range(5):
        for _ in range(64):
            run(feeds)
        with open("/proc/self/statm") as f:
            resident.append(int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024)
    print("resident KiB after each 64 runs", resident)
    wrong |= all(b - a >= 1024 for a, b in zip(resident[1:], resident[2:]))
sys.exit(1 if wrong else 0)
