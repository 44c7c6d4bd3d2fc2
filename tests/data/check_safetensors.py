#!/usr/bin/env python3
"""Check that Python's safetensors reads what ModelWriter wrote: check_safetensors.py WRITE_EXAMPLE_MODEL

The program given writes the example into the folder it is called with. Exits 77 (skipped) where safetensors or numpy
cannot be imported.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = 77
# name -> (dtype in the file, dtype of numpy, shape). numpy has no bf16: its bits are compared.
EXPECTED = {
    "f32": ("F32", "float32", (3, 5)),
    "f16": ("F16", "float16", (7,)),
    "f64": ("F64", "float64", (2,)),
    "i64": ("I64", "int64", (1, 4)),
    "i8": ("I8", "int8", (11,)),
    "bf16": ("BF16", None, (9,)),
    "empty": ("F32", "float32", (0, 2)),
}


def check_file(path, np, safe_open):
    """The names of the tensors of one file, all of them as expected."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    assert (8 + length) % 8 == 0, length
    with safe_open(path, framework="numpy") as file:
        names = list(file.keys())
        assert file.metadata() == {"format": "pt"}, file.metadata()
        for name in names:
            stored, dtype, shape = EXPECTED[name]
            part = file.get_slice(name)
            assert (part.get_dtype(), tuple(part.get_shape())) == (stored, shape), name
            values = np.arange(np.prod(shape, dtype=int)).reshape(shape) - 5
            if dtype is None:
                begin, end = header[name]["data_offsets"]
                found = np.frombuffer(raw[8 + length + begin : 8 + length + end], dtype="<u2")
                assert np.array_equal(found, values.astype("<f4").view("<u4") >> 16), name
            else:
                found = file.get_tensor(name)
                assert found.dtype == dtype and np.array_equal(found, values.astype(dtype)), (name, found)
    return names


def main():
    try:
        import numpy as np
        from safetensors import safe_open
    except (ImportError, OSError) as error:
        print(f"skipped: safetensors cannot be imported ({error})")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.argv[1], folder], check=True)
        model = Path(folder) / "model"
        index = json.loads((model / "model.safetensors.index.json").read_text())
        files = sorted(model.glob("*.safetensors"))
        found = {name: path.name for path in files for name in check_file(path, np, safe_open)}
    assert len(files) == 2, files
    assert index["weight_map"] == found, index
    assert set(found) == set(EXPECTED), found
    print(f"safetensors reads {len(found)} tensors in {len(files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
