"""tools/check_layers.py finds planted violations and nothing else."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "check_layers.py"


class CheckLayers(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.plant("core/error.h", "#pragma once\n#include <string>\n")

    def plant(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def run_tool(self):
        done = subprocess.run([sys.executable, TOOL, self.root], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    def assert_allowed(self, path, text):
        self.plant(path, text)
        status, output = self.run_tool()
        self.assertEqual(status, 0, output)

    def assert_refused(self, path, text, line):
        self.plant(path, text)
        status, output = self.run_tool()
        self.assertEqual(status, 1, output)
        self.assertIn(line, output)

    def test_downward_includes_pass(self):
        self.assert_allowed("data/tokens.cpp", '#include "data/tokens.h"\n#include "core/error.h"\n#include <hdf5.h>\n')
        self.assert_allowed("model/layer.cpp", '#include "kernels/norm.h"\n#include "data/model_files.h"\n')
        self.assert_allowed("trainer/step.cpp", '#include "dist/communicator.h"\n#include "model/layer.h"\n')
        self.assert_allowed("ptq/merge.cpp", '#include "model/layer.h"\n#include "data/config_yaml.h"\n')

    def test_an_upward_include_fails_with_file_and_line(self):
        self.assert_refused("core/bad.cpp", '#include "core/error.h"\n\n#include "data/tokens.h"\n',
                            "core/bad.cpp:3: includes data/tokens.h: core may use no other folder")

    def test_each_forbidden_arrow_fails(self):
        for user, used in [("kernels", "dist"), ("dist", "kernels"), ("data", "model"), ("model", "trainer"),
                           ("trainer", "ptq"), ("ptq", "trainer")]:
            with self.subTest(user=user, used=used):
                self.setUp()
                self.assert_refused(f"{user}/bad.h", f'#include "{used}/x.h"\n', f"{user}/bad.h:1: includes {used}/x.h")

    def test_only_the_sharded_weight_source_of_model_may_use_dist(self):
        self.assert_allowed("model/sharded_weights.h", '#include "dist/communicator.h"\n')
        self.assert_refused("model/layer.h", '#include "dist/communicator.h"\n', "model/layer.h:1: includes dist/communicator.h")

    def test_angle_brackets_and_spaces_hide_nothing(self):
        self.assert_refused("core/bad.cpp", "  #  include <data/tokens.h>\n", "core/bad.cpp:1")

    def test_paths_that_are_not_from_the_root_fail(self):
        self.assert_refused("core/bad.cpp", '#include "../data/tokens.h"\n', "by their path from the root")
        self.assert_refused("core/bad.cpp", '#include "error.h"\n', "by their path from the root")

    def test_libraries_stay_in_their_folder_and_out_of_headers(self):
        self.assert_allowed("dist/mpi_communicator.cpp", "#include <mpi.h>\n#include <nccl.h>\n")
        self.assert_allowed("data/config_yaml.cpp", "#include <yaml-cpp/yaml.h>\n")
        self.assert_allowed("data/hash.cpp", "#include <openssl/evp.h>\n")
        self.assert_allowed("tests/mpi_main.cpp", "#include <mpi.h>\n")
        for path, header in [("dist/c.h", "mpi.h"), ("trainer/loop.cpp", "mpi.h"), ("dist/n.h", "nccl.h"),
                             ("data/t.h", "hdf5.h"), ("trainer/save.cpp", "hdf5.h"), ("trainer/config_yaml.cpp", "yaml-cpp/yaml.h"),
                             ("data/config_yaml.h", "yaml-cpp/yaml.h"), ("ptq/merge.cpp", "yaml-cpp/yaml.h"),
                             ("model/hash.cpp", "openssl/evp.h"),
                             ("model/layer.cpp", "torch/torch.h"), ("tests/a_test.cpp", "torch/torch.h"),
                             ("kernels/norm.cu", "ATen/core/Tensor.h")]:
            with self.subTest(path=path, header=header):
                self.setUp()
                self.assert_refused(path, f"#include <{header}>\n", f"{path}:1: includes {header}: ")

    def test_a_tree_without_sources_is_not_clean(self):
        (self.root / "core/error.h").unlink()
        self.assertEqual(self.run_tool()[0], 2)


if __name__ == "__main__":
    unittest.main()
