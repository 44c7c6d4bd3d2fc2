"""Ranks of hosts that are not alike: refused where the result would suffer, accepted where it does not."""
import os
import re
import shlex
import shutil
import subprocess
import unittest
import zipfile

from spq_fixture import random_tokens, read_metrics, write_model, write_tokens
from spq_ptq import PtqTest

OTHER_HOST = os.environ.get("SPQ_OTHER_HOST", "")  # the preloaded library of other_host.cpp
LOCALE = "de_DE.UTF-8"
DAY = 86400  # seconds


def on_rank(rank, script):
    """Starts a program after a shell script that only one rank runs; "$@" is the program and its arguments."""
    return ["sh", "-c", f'if [ "$OMPI_COMM_WORLD_RANK" = {rank} ]; then {script}; fi; exec "$@"', "sh"]


def mounted(source, target):
    """Shows `source` in the place of `target`, to one rank."""
    mount = f'mount --bind {shlex.quote(str(source))} {shlex.quote(str(target))} && exec "$@"'
    return f'exec unshare --mount sh -c {shlex.quote(mount)} sh "$@"'


def preloaded(**variables):
    settings = " ".join(f"{name}={shlex.quote(str(value))}" for name, value in variables.items())
    # AddressSanitizer wants to be the first library otherwise.
    return f'export LD_PRELOAD={shlex.quote(OTHER_HOST)} ASAN_OPTIONS="$ASAN_OPTIONS:verify_asan_link_order=0" {settings}'


def archive(path):
    """The entries of an archive by name, without the number that LibTorch writes for itself in the C++ locale's form."""
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist() if not name.endswith("/serialization_id")}


class HostsTest(PtqTest):
    def setUp(self):
        super().setUp()
        self.assertTrue(os.path.exists(OTHER_HOST), "SPQ_OTHER_HOST is the library made of other_host.cpp")


class Refused(HostsTest):
    """Rank 1 of three has something else than the others."""

    def expect_refusal(self, config, script, what, program="spq-train"):
        result = self.expect_error(config, ranks=3, names=[f"not the same on all ranks: {what}", "(ranks 0, 2)", "(rank 1)"],
                                   program=program, prefix=on_rank(1, script))
        self.assertFalse(self.workspace.output("run").exists(), "something was written")
        return result

    def need_mounts(self):
        if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
            self.skipTest("no mount namespaces can be made here")

    def test_another_value_of_a_key_which_is_named(self):
        self.expect_refusal(self.workspace.config("run"), 'set -- "$@" --set optimizer.learning_rate=0.5',
                            "optimizer.learning_rate: 1.5 on host")

    def test_a_configuration_file_whose_settings_are_the_same(self):
        config = self.workspace.config("run")
        other = self.workspace.folder / "other.yaml"
        other.write_text(config.read_text() + "# a comment\n")
        self.expect_refusal(config, f'set -- "$1" {shlex.quote(str(other))}', "configuration file: ")

    def test_other_weights(self):
        self.need_mounts()
        other = write_model(self.workspace.folder / "other", seed=1)
        self.expect_refusal(self.workspace.config("run"), mounted(other, self.workspace.model), "model weights: ")

    def test_another_config_json(self):
        self.need_mounts()
        other = write_model(self.workspace.folder / "other", change_config={"rope_theta": 20000.0})
        self.expect_refusal(self.workspace.config("run"), mounted(other, self.workspace.model), "the model's config.json: ")

    def test_other_tokens(self):
        self.need_mounts()
        other = write_tokens(self.workspace.folder / "other.h5", random_tokens(seed=1))
        config = self.workspace.config("run", {"data.heldout": str(write_tokens(self.workspace.folder / "heldout.h5"))})
        for key, file in (("train", self.workspace.tokens), ("heldout", self.workspace.folder / "heldout.h5")):
            self.expect_refusal(config, mounted(other, file), f"tokens of data.{key}: ")

    def test_another_program_file(self):
        for program, config in (("spq-train", self.workspace.config("run")), ("spq-ptq", self.ptq_config("run")),
                                ("spq-eval", self.eval_config("eval", self.workspace.model))):
            copy = self.workspace.folder / program
            shutil.copy(os.environ[program.upper().replace("-", "_")], copy)
            with open(copy, "ab") as file:
                file.write(b"\0")
            self.expect_refusal(config, f'shift; set -- {shlex.quote(str(copy))} "$@"', "program file: ", program)

    def test_another_version_of_a_library(self):
        for library, line in (("mpi", r"MPI library: Open MPI v\S+ on .*; Open MPI v9\.9\.9 on "),
                              ("torch", r"LibTorch: \d\S+ \(commit \w+\) on .*; 9\.\S+ \(commit \w+\) on "),
                              ("hdf5", r"HDF5 library: \d+\.\d+\.\d+ on .*; \d+\.\d+\.1\d\d on ")):
            result = self.expect_refusal(self.workspace.config("run"), preloaded(SPQ_OTHER_VERSION=library), "")
            self.assertRegex(result.err, line)

    def test_the_other_programs_compare_too(self):
        self.need_mounts()
        other = write_tokens(self.workspace.folder / "other.h5", random_tokens(seed=1))
        calibrated = self.ptq_config("run", {"weights.method": "gptq"})
        self.expect_refusal(calibrated, mounted(other, self.workspace.tokens), "tokens of calibration.tokens: ", "spq-ptq")
        self.expect_refusal(self.eval_config("eval", self.workspace.model), mounted(other, self.workspace.tokens), "tokens: ",
                            "spq-eval")
        self.expect_refusal(calibrated, 'set -- "$@" --set weights.bits=3', "weights.bits: 4 on host", "spq-ptq")

    def test_a_file_that_only_one_rank_misses(self):
        self.need_mounts()
        (self.workspace.folder / "empty").mkdir()
        self.expect_refusal(self.workspace.config("run"), mounted(self.workspace.folder / "empty", self.workspace.model),
                            "the model's config.json: ")


class Accepted(HostsTest):
    """Rank 1 of two differs in what must not matter."""

    changes = {"optimizer.momentum": 0.3, "checkpoint.every": 1, "checkpoint.keep": 20}

    def learn(self, name, prefix=(), umask=-1):
        config = self.workspace.config(name, self.changes)
        result = self.expect_success(config, ranks=2, prefix=prefix, umask=umask)
        self.assertNotIn("without shared memory", result.out + result.err)
        return self.workspace.output(name)

    def check_same(self, output):
        """The bits and the texts of a run on equal hosts."""
        plain = self.workspace.output("plain")
        if not plain.exists():
            self.learn("plain")
        timeless = lambda folder: [{key: value for key, value in record.items() if key not in ("seconds", "tokens_per_s")}
                                   for record in read_metrics(folder)[0]]
        self.assertEqual(timeless(output), timeless(plain))
        self.assertEqual(archive(output / "R.bin"), archive(plain / "R.bin"))
        written, expected = ((folder / "config.yaml").read_text().replace(str(folder), "") for folder in (output, plain))
        self.assertEqual(written, expected)

    def with_commas(self, rank):
        """A prefix that gives one rank a locale with decimal commas."""
        folder = self.workspace.folder / "locales"
        if not folder.exists():
            folder.mkdir()
            done = subprocess.run(["localedef", "-i", LOCALE.split(".")[0], "-f", "UTF-8", folder / LOCALE], check=False,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if not (folder / LOCALE).exists():
                self.skipTest(f"localedef cannot make {LOCALE} here (status {done.returncode})")
        return on_rank(rank, preloaded(SPQ_OTHER_LOCALE=1, LOCPATH=folder, LC_ALL=LOCALE))

    def test_a_locale_with_decimal_commas_on_any_rank(self):
        for rank in (0, 1):
            output = self.learn(f"comma-{rank}", self.with_commas(rank))
            self.assertIsNone(re.search(r"\d,\d", (output / "config.yaml").read_text()))
            self.check_same(output)

    def test_a_locale_with_decimal_commas_while_quantizing(self):
        for program in ("spq-ptq", "spq-eval"):
            texts = {}
            for name, prefix in (("plain", ()), ("comma", self.with_commas(0))):
                config = (self.ptq_config(name) if program == "spq-ptq" else self.eval_config(name, self.workspace.model))
                texts[name] = self.expect_success(config, ranks=2, program=program, prefix=prefix).out.replace(name, "")
                if program == "spq-ptq":
                    texts[name] += (self.workspace.output(name) / "spq_manifest.json").read_text()
            self.assertRegex(texts["plain"], r"perplexity \d+\.\d{4} of ")
            self.assertEqual(re.sub("left .*", "", texts["comma"]), re.sub("left .*", "", texts["plain"]))

    def test_files_get_the_permissions_of_the_umask(self):
        for umask in (0o077, 0o000, 0o027):
            output = self.learn(f"umask-{umask:03o}", umask=umask)
            for path in (output, *output.rglob("*")):
                expected = (0o777 if path.is_dir() else 0o666) & ~umask
                self.assertEqual(f"{path.stat().st_mode & 0o777:o}", f"{expected:o}", path)
        self.check_same(output)

    def test_clocks_that_are_days_apart(self):
        output = self.learn("clocks", on_rank(1, preloaded(SPQ_OTHER_CLOCK=-3 * DAY)))
        self.check_same(output)

    def test_a_clock_set_back_between_two_starts(self):
        """The newest checkpoint is the one with most steps, whatever the times of the files."""
        config = self.workspace.config("run", self.changes)
        output = self.workspace.output("run")
        settings = [config, "--set", "optimizer.schedule=constant"]
        self.expect_success(*settings, "--set", "optimizer.steps=3", ranks=2)
        oldest = output / "checkpoints" / "checkpoint-1.h5"
        os.utime(oldest, (oldest.stat().st_atime, oldest.stat().st_mtime + 5 * DAY))
        result = self.expect_success(*settings, ranks=2, prefix=on_rank(0, preloaded(SPQ_OTHER_CLOCK=-5 * DAY)))
        self.assertIn("checkpoint-3.h5 (step 3)", result.out)
        self.assertEqual([record["step"] for record in read_metrics(output)[0]], list(range(6)))


if __name__ == "__main__":
    unittest.main()
