#!/usr/bin/env python3
"""Fails on an #include that points upwards, or that takes a library where it does not belong.

The table is docs/architecture.md's: a folder may use the folders below it and itself. Usage: check_layers.py [ROOT]
Exit status: 0 clean, 1 violations (one line each), 2 nothing to check.
"""

import re
import sys
from pathlib import Path

MAY_USE = {
    "core": set(),
    "kernels": {"core"},
    "dist": {"core"},
    "data": {"core"},
    "model": {"core", "kernels", "data"},
    "trainer": {"core", "kernels", "dist", "data", "model"},
    "ptq": {"core", "kernels", "dist", "data", "model"},
}
# Files that may use more than their folder: (pattern on the path from the root, folders).
EXCEPTIONS = [(re.compile(r"model/sharded_[^/]*"), {"dist"})]

# Who may include which library: (pattern on the included name, pattern on the path of the including file, who that is).
# Headers never may, so that no other folder depends on the library through them.
LIBRARIES = [
    (r"mpi(-ext)?\.h", r"dist/.*\.(cpp|cu)", "only sources of dist may"),
    (r"nccl\.h", r"dist/.*\.(cpp|cu)", "only sources of dist may"),
    (r"(hdf5|hdf5_hl|H5[A-Za-z]*)\.h", r"data/.*\.cpp", "only sources of data may"),
    (r"openssl/.*", r"data/.*\.cpp", "only sources of data may"),
    (r"yaml-cpp/.*", r"data/.*\.cpp", "only sources of data may"),
]
EVERYWHERE = [
    (r"torch/(torch|all|extension)\.h", r"(?!)", "no file may: ATen/core/Tensor.h and ATen/ops/<op>.h compile faster"),
]
CUDA_FILE = re.compile(r".*\.cuh?")
TORCH_HEADER = re.compile(r"(ATen|torch|c10)/.*")

# Users of all folders and of any library: only EVERYWHERE holds for them.
UNLAYERED = ["tests", "bench"]
SUFFIXES = {".h", ".cpp", ".cu", ".cuh", ".inc"}
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


def folder_violation(root: Path, path: str, name: str) -> str | None:
    """What is wrong with the quoted include `name` of the file `path`, both relative to the root."""
    folder = path.split("/")[0]
    target = name.split("/")[0]
    if "/" not in name or target not in MAY_USE:
        if (root / name).is_file() or ".." in name.split("/") or (root / path).parent.joinpath(name).is_file():
            return "include project files by their path from the root"
        return None  # a library's header in quotes; judged by LIBRARIES
    allowed = {folder} | MAY_USE[folder]
    for pattern, more in EXCEPTIONS:
        if pattern.fullmatch(path):
            allowed |= more
    if target in allowed:
        return None
    return f"{folder} may use {', '.join(sorted(allowed - {folder})) or 'no other folder'}"


def library_violation(path: str, name: str) -> str | None:
    layered = path.split("/")[0] in MAY_USE
    for library, owners, reason in EVERYWHERE + (LIBRARIES if layered else []):
        if re.fullmatch(library, name) and not re.fullmatch(owners, path):
            return reason
    if CUDA_FILE.fullmatch(path) and TORCH_HEADER.fullmatch(name):
        return "CUDA files include no LibTorch header"
    return None


def check_file(root: Path, path: Path) -> list[str]:
    place = path.relative_to(root).as_posix()
    layered = place.split("/")[0] in MAY_USE
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        name = match[1] or match[2]
        # Angle brackets find project files too: the root is an include directory.
        in_project = layered and (match[1] is not None or name.split("/")[0] in MAY_USE)
        reason = library_violation(place, name) or (folder_violation(root, place, name) if in_project else None)
        if reason:
            found.append(f"{place}:{number}: includes {name}: {reason}")
    return found


def main() -> int:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent).resolve()
    files = sorted(f for folder in [*MAY_USE, *UNLAYERED] for f in (root / folder).rglob("*") if f.suffix in SUFFIXES)
    if not any(f.relative_to(root).parts[0] in MAY_USE for f in files):
        print(f"check_layers: no sources under {root}", file=sys.stderr)
        return 2
    violations = [line for f in files for line in check_file(root, f)]
    for line in violations:
        print(line)
    print(f"check_layers: {len(files)} files, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
