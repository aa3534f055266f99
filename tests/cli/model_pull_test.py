"""`rung model pull` against a Hub on loopback that serves, stalls, cuts and lies (fake_hub.py).

Usage: model_pull_test.py RUNG [unittest's arguments]. With RUNG_TEST_PYTHON Hugging Face's own client looks at the same cache.
"""
import contextlib
import fcntl
import hashlib
import json
import os
import pty
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from fake_hub import COMMIT, FakeHub, git_hash

RUNG = ""
WEIGHTS = "model.safetensors"
POSITIONS = 20000  # makes weights of 320 kB


def shapes():
    layer = "encoder.layer.0."
    square = {layer + "attention." + name: [4, 4] for name in ("self.query", "self.key", "self.value", "output.dense")}
    found = {"embeddings.word_embeddings.weight": [12, 4], "embeddings.position_embeddings.weight": [POSITIONS, 4],
             "embeddings.token_type_embeddings.weight": [2, 4], "pooler.dense.weight": [4, 4], "pooler.dense.bias": [4],
             layer + "intermediate.dense.weight": [6, 4], layer + "intermediate.dense.bias": [6],
             layer + "output.dense.weight": [4, 6], layer + "output.dense.bias": [4]}
    for name, shape in square.items():
        found |= {name + ".weight": shape, name + ".bias": [4]}
    for name in ("embeddings", layer + "attention.output", layer + "output"):
        found |= {name + ".LayerNorm.weight": [4], name + ".LayerNorm.bias": [4]}
    return found


def safetensors(tensors):
    header, end = {}, 0
    for name, shape in tensors.items():
        begin, end = end, end + 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(range(256)) * (end // 256) + bytes(end % 256)


def tiny_model():
    config = {"model_type": "bert", "vocab_size": 12, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
              "intermediate_size": 6, "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "layer_norm_eps": 1e-5}
    return {"config.json": json.dumps(config).encode(), WEIGHTS: safetensors(shapes()),
            "vocab.txt": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n##ly\n,\n.\nfree\nmoney\n",
            "README.md": b"# A model\n", "tf_model.h5": b"of another framework", "onnx/model.onnx": b"too"}


class Pull(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="rung-pull-")
        self.addCleanup(shutil.rmtree, self.root)
        self.home = os.path.join(self.root, "hf")
        self.repository = os.path.join(self.home, "hub", "models--org--name")
        self.snapshot = os.path.join(self.repository, "snapshots", COMMIT)
        self.hub = self.start(tiny_model())

    def start(self, files, lfs=(WEIGHTS,), context=None):
        hub = FakeHub(files, lfs, context)
        self.addCleanup(hub.close)
        return hub

    def environment(self, **changes):
        ours = {"HF_HOME": self.home, "HF_ENDPOINT": self.hub.url, "HF_HUB_DOWNLOAD_TIMEOUT": "1", "HOME": self.root}
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "ASAN_OPTIONS") if name in os.environ}
        return {name: value for name, value in {**kept, **ours, **changes}.items() if value is not None}

    def rung(self, *arguments, **changes):
        return subprocess.run([RUNG, *arguments], capture_output=True, text=True, timeout=240, cwd=self.root,
                              env=self.environment(**changes))

    def pull(self, *arguments, **changes):
        return self.rung("model", "pull", *(arguments or ("org/name",)), **changes)

    def pulls(self, *arguments, **changes):
        done = self.pull(*arguments, **changes)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_cache()
        return done

    def fails(self, code, exit_code, *arguments, **changes):
        """Returns the error that is printed."""
        done = self.pull(*(arguments or ("org/name",)), "-o", "json", **changes)
        self.assertEqual(done.returncode, exit_code, done.stderr)
        error = json.loads(done.stderr[done.stderr.index("{"):])["error"]  # after notes
        self.assertEqual(error["code"], code, error)
        self.assertTrue(error["message"] and error["mend"], error)
        return error

    def blob(self, name=WEIGHTS):
        data = self.hub.files[name]
        return os.path.join(self.repository, "blobs", hashlib.sha256(data).hexdigest() if name in self.hub.lfs else git_hash(data))

    def check_cache(self, names=("config.json", WEIGHTS, "vocab.txt")):
        self.assertEqual(sorted(os.listdir(self.snapshot)), sorted(names))
        for name in names:
            self.assertEqual(os.readlink(os.path.join(self.snapshot, name)), "../../blobs/" + os.path.basename(self.blob(name)))
            with open(os.path.join(self.snapshot, name), "rb") as file:
                self.assertEqual(file.read(), self.hub.files[name])
        self.assertEqual(sorted(os.listdir(os.path.join(self.repository, "blobs"))),
                         sorted(os.path.basename(self.blob(name)) for name in names))

    def ranges(self, server="store", name=WEIGHTS):
        return [headers.get("Range") for headers in self.hub.asked(server, "GET", name)]


class Honest(Pull):
    def test_what_is_fetched_lies_where_the_hubs_client_has_it(self):
        done = self.pulls()
        self.assertEqual(done.stdout, self.snapshot + "\n")
        self.assertIn("3 fetched", done.stderr)
        with open(os.path.join(self.repository, "refs", "main"), encoding="utf-8") as file:
            self.assertEqual(file.read(), COMMIT)
        again = self.pulls("org/name", "-o", "json")
        self.assertEqual(len(self.hub.asked("store", "GET")), 1)
        said = json.loads(again.stdout)
        self.assertEqual((said["schema"], said["commit"], said["path"], said["usable"]), (1, COMMIT, self.snapshot, True))
        self.assertEqual({file["name"]: (file["size_bytes"], file["fetched"]) for file in said["files"]},
                         {name: (len(self.hub.files[name]), False) for name in ("config.json", WEIGHTS, "vocab.txt")})

    def test_a_study_finds_it_by_its_name(self):
        with open(os.path.join(self.root, "train.csv"), "w", encoding="utf-8") as file:
            file.write("sentence,label\n" + "".join(f"hello {i},{'ab'[i % 2]}\n" for i in range(40)))
        study = {"name": "pulled", "objective": {"metric": "validation/accuracy", "goal": "maximize"},
                 "trainer": {"type": "text_classification", "train": "train.csv", "validation": 0.2, "text": "sentence", "label": "label",
                             "options": {"model_name_or_path": "org/name", "max_seq_length": 16}},
                 "budget": {"unit": "epochs", "min": 1, "max": 3, "eta": 3}, "algorithm": {"type": "hyperband"},
                 "space": {"learning_rate": {"low": 1e-5, "high": 1e-4, "log": True}}}
        with open(os.path.join(self.root, "study.json"), "w", encoding="utf-8") as file:
            json.dump(study, file)
        before = self.rung("study", "plan", "study.json")
        self.assertIn("rung model pull org/name", before.stderr)
        self.hub.hashes[WEIGHTS] = 64 * "0"  # one that fails leaves nothing that is found
        self.fails("E0485", 6)
        self.assertIn("rung model pull org/name", self.rung("study", "plan", "study.json").stderr)
        self.hub.hashes.clear()
        self.pulls()
        after = self.rung("study", "plan", "study.json")
        self.assertEqual(after.returncode, 0, after.stderr)

    def test_shards_are_fetched_with_their_index(self):
        tensors = shapes()
        parts = {"model-1.safetensors": dict(list(tensors.items())[:9]), "model-2.safetensors": dict(list(tensors.items())[9:])}
        index = {"weight_map": {name: part for part, held in parts.items() for name in held}}
        files = tiny_model()
        del files[WEIGHTS]
        files |= {part: safetensors(held) for part, held in parts.items()}
        files["model.safetensors.index.json"] = json.dumps(index).encode()
        self.hub = self.start(files, parts)
        self.assertEqual(self.pull().returncode, 0)
        self.check_cache(("config.json", "vocab.txt", "model.safetensors.index.json", *parts))
        for shard in ("../evil.safetensors", "/etc/passwd", "model-3.safetensors", ".hidden", 7):
            index["weight_map"]["pooler.dense.bias"] = shard
            self.hub.files["model.safetensors.index.json"] = json.dumps(index).encode()
            self.fails("E0484", 6)

    def test_safetensors_are_preferred_and_pickles_taken_where_there_are_no_others(self):
        self.hub.files["pytorch_model.bin"] = self.hub.files[WEIGHTS]
        self.pulls()
        del self.hub.files[WEIGHTS]
        shutil.rmtree(self.home)
        done = self.pull()  # these bytes are no pickle: fetched, and said to be useless
        self.assertEqual(done.returncode, 9, done.stderr)
        self.assertIn("Rung cannot train it", done.stderr)
        self.assertIn("pytorch_model.bin", os.listdir(self.snapshot))

    def test_revisions_get_refs_and_main_stands_for_the_name(self):
        self.pulls()
        for revision in ("v1", "refs/pr/1"):
            self.pulls("org/name", "--revision", revision)
            with open(os.path.join(self.repository, "refs", revision), encoding="utf-8") as file:
                self.assertEqual(file.read(), COMMIT)
        self.hub.revisions.add("e" * 40)
        self.fails("E0484", 6, "org/name", "--revision", "e" * 40)  # answered with another commit
        self.hub.commit = "f" * 40
        other = self.pull("org/name", "--revision", self.hub.commit)
        self.assertEqual(other.returncode, 0, other.stderr)
        self.assertEqual(other.stdout, os.path.join(self.repository, "snapshots", "f" * 40) + "\n")
        self.assertIn("gets its main revision", other.stderr)
        self.assertEqual(sorted(os.listdir(os.path.join(self.repository, "refs"))), ["main", "refs", "v1"])
        self.assertEqual(len(self.hub.asked("store", "GET")), 1)

    def test_a_renamed_model_is_followed(self):
        self.assertEqual(self.pull("org/old-name").returncode, 0)
        self.assertTrue(os.path.exists(os.path.join(self.home, "hub/models--org--old-name/refs/main")))

    def test_modes_are_the_umasks_for_a_group_shares_a_cache(self):
        for mask, mode in ((0o022, 0o644), (0o077, 0o600)):
            shutil.rmtree(self.home, ignore_errors=True)
            old = os.umask(mask)
            try:
                self.pulls()
            finally:
                os.umask(old)
            for path in (self.blob(), os.path.join(self.repository, "refs", "main")):
                self.assertEqual(os.stat(path).st_mode & 0o777, mode)

    def test_a_terminal_sees_progress(self):
        self.hub.cuts[WEIGHTS] = [100000]
        ours, theirs = pty.openpty()
        with subprocess.Popen([RUNG, "model", "pull", "org/name"], stdout=theirs, stderr=subprocess.PIPE, cwd=self.root,
                              env=self.environment(TERM="xterm")) as process:
            os.close(theirs)
            text = b""
            with contextlib.suppress(OSError):
                while piece := os.read(ours, 4096):
                    text += piece
            os.close(ours)
            process.stderr.read()
        self.assertEqual(process.returncode, 0)
        self.assertIn(b"vocab.txt  ", text)
        self.assertIn(b" %", text)
        self.assertTrue(text.endswith((self.snapshot + "\r\n").encode()))


class Oracle(Pull):
    """Hugging Face's own client and ours, on one cache and one Hub."""

    def python(self, code):
        done = subprocess.run([os.environ["RUNG_TEST_PYTHON"], "-c", code], capture_output=True, text=True, timeout=240,
                              env=self.environment(HF_HUB_DISABLE_TELEMETRY="1"))
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    @unittest.skipUnless("RUNG_TEST_PYTHON" in os.environ, "no RUNG_TEST_PYTHON")
    def test_each_finds_what_the_other_fetched(self):
        self.pulls()
        found = self.python("from huggingface_hub import snapshot_download as s, try_to_load_from_cache as t\n"
                            "print(s('org/name', local_files_only=True)); print(t('org/name', 'model.safetensors'))")
        self.assertEqual(found, f"{self.snapshot}\n{self.snapshot}/{WEIGHTS}\n")
        shutil.rmtree(self.home)
        self.python("from huggingface_hub import hf_hub_download as h\n"
                    f"for n in ('config.json', 'vocab.txt', '{WEIGHTS}'): h('org/name', n)")
        fetched = len(self.hub.asked("store", "GET"))
        self.assertGreaterEqual(fetched, 1)  # their client took this for a Hub
        self.assertIn("; 0 fetched", self.pulls().stderr)
        self.assertEqual(len(self.hub.asked("store", "GET")), fetched)


class Broken(Pull):
    def test_what_is_cut_goes_on_where_it_was(self):
        self.hub.cuts = {WEIGHTS: [1000, 5000], "vocab.txt": [7]}
        done = self.pulls()
        self.assertEqual(self.ranges(), [None, "bytes=1000-", "bytes=6000-"])
        self.assertEqual(self.ranges("hub", "vocab.txt"), [None, "bytes=7-"])
        self.assertIn("trying again", done.stderr)

    def test_sizes_that_the_hub_does_not_say(self):
        blob = self.blob("vocab.txt")
        self.hub.sizes["vocab.txt"] = None
        self.hub.cuts["vocab.txt"] = [7]
        self.pulls()
        self.assertEqual(self.ranges("hub", "vocab.txt"), [None, "bytes=7-"])
        os.rename(blob, blob + ".incomplete")  # killed before it got its name
        self.pulls()
        with open(blob + ".incomplete", "wb") as file:
            file.write(b"x" * 1000)
        os.unlink(blob)
        self.pulls()

    def test_a_later_call_goes_on_and_no_half_model_is_found_before(self):
        self.hub.cuts[WEIGHTS] = [100000, 0, 0, 0, 0, 0]
        self.fails("E0481", 7)
        self.assertEqual(os.path.getsize(self.blob() + ".incomplete"), 100000)
        self.assertEqual(os.listdir(self.snapshot), [])
        self.assertFalse(os.path.exists(os.path.join(self.repository, "refs")))
        self.pulls()
        self.assertEqual(self.ranges()[-1], "bytes=100000-")

    def test_what_stalls_is_asked_again(self):
        self.hub.stalls[WEIGHTS] = 1
        self.pulls()
        self.assertEqual(self.ranges(), [None, "bytes=10-"])

    def test_a_killed_call_goes_on(self):
        self.hub.stalls[WEIGHTS] = 1
        with subprocess.Popen([RUNG, "model", "pull", "org/name"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              cwd=self.root, env=self.environment(HF_HUB_DOWNLOAD_TIMEOUT="600")) as process:
            while not (os.path.exists(self.blob() + ".incomplete") and os.path.getsize(self.blob() + ".incomplete") == 10):
                self.assertIsNone(process.poll())
                time.sleep(0.01)
            process.terminate()
        self.assertEqual(process.returncode, -signal.SIGTERM)
        self.pulls()
        self.assertEqual(self.ranges(), [None, "bytes=10-"])

    def test_a_server_without_ranges_starts_over(self):
        self.hub.ranges = False
        self.hub.cuts[WEIGHTS] = [1000]
        self.pulls()
        shutil.rmtree(self.home)
        self.hub.cuts[WEIGHTS] = [1000] * 1000  # and gives up where that brings nothing
        before = len(self.ranges())
        self.fails("E0481", 7)
        self.assertEqual(len(self.ranges()) - before, 6)

    def test_a_busy_server_is_asked_again(self):
        self.hub.busy = 3
        self.pulls()
        self.hub.busy = 100
        self.assertIn("503", self.fails("E0481", 7)["message"])

    def test_nobody_there(self):
        with socket.create_server(("127.0.0.1", 0)) as gone:
            url = f"http://localhost:{gone.getsockname()[1]}"
        self.assertEqual(self.fails("E0481", 7, HF_ENDPOINT=url)["where"], url)
        self.assertIn("HTTPS_PROXY", self.fails("E0481", 7, HTTP_PROXY="http://nowhere.invalid:1", NO_PROXY=None)["mend"])

    def test_two_at_once_wait_for_each_other(self):
        locks = os.path.join(self.home, "hub", ".locks", "models--org--name")
        os.makedirs(locks)
        path = os.path.join(locks, os.path.basename(self.blob()) + ".lock")
        with open(path, "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with subprocess.Popen([RUNG, "model", "pull", "org/name"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  text=True, cwd=self.root, env=self.environment()) as process:
                self.assertIn("another program", process.stderr.readline())
                self.assertEqual(self.hub.asked("store"), [])
                fcntl.flock(lock, fcntl.LOCK_UN)
                process.stderr.read()
        self.assertEqual(process.returncode, 0)
        self.check_cache()


class Lies(Pull):
    def check_nothing_kept(self, name=WEIGHTS):
        for path in (self.blob(name), self.blob(name) + ".incomplete", os.path.join(self.snapshot, "config.json")):
            self.assertFalse(os.path.exists(path), path)

    def test_other_bytes_than_the_hash_says(self):
        for name in (WEIGHTS, "vocab.txt"):  # sha256 of Git LFS; Git's own
            with self.subTest(name):
                self.hub.hashes = {name: "0" * (64 if name == WEIGHTS else 40)}
                self.assertIn(name, self.fails("E0485", 6)["message"])
                self.check_nothing_kept(name)
                self.assertFalse(os.path.exists(os.path.join(self.repository, "blobs", self.hub.hashes[name] + ".incomplete")))
                shutil.rmtree(self.home)
        self.hub.hashes.clear()
        self.pulls()

    def test_lengths(self):
        data = len(self.hub.files[WEIGHTS])
        self.hub.extra = b"more"
        self.assertIn("longer", self.fails("E0485", 6)["message"])
        self.hub.extra = b""
        shutil.rmtree(self.home)
        self.hub.sizes[WEIGHTS] = data - 1
        self.assertIn("longer", self.fails("E0485", 6)["message"])
        shutil.rmtree(self.home)
        self.hub.sizes[WEIGHTS] = data + 1
        before = len(self.ranges())
        self.assertIn(f"{data} of {data + 1}", self.fails("E0481", 7)["message"])
        self.assertEqual(self.ranges()[before:], [None] + 5 * [f"bytes={data}-"])
        self.hub.sizes.clear()
        shutil.rmtree(self.home)
        self.hub.short[WEIGHTS] = 1000  # ends as if that were all
        self.assertIn(f"1000 of {data}", self.fails("E0481", 7)["message"])
        self.hub.short.clear()
        self.pulls()
        self.hub.sizes[WEIGHTS] = 1 << 50
        shutil.rmtree(self.home)
        self.fails("E0484", 6)

    def test_another_part_than_was_asked_for(self):
        self.hub.cuts[WEIGHTS] = [1000]
        self.hub.wrong_range = True
        self.fails("E0484", 6)

    def test_what_was_kept_is_of_something_else(self):
        blob, data = self.blob(), self.hub.files[WEIGHTS]
        os.makedirs(os.path.dirname(blob))
        for kept in (b"x" * 1000, b"x" * len(data), b"x" * (len(data) + 1)):
            with open(blob + ".incomplete", "wb") as file:
                file.write(kept)
            self.pulls()
            os.unlink(blob)
        with open(blob, "wb") as file:  # damaged since
            file.write(data[:-1] + b"x")
        self.assertIn("other bytes", self.pulls().stderr)

    def test_nothing_is_written_through_a_link(self):
        blob, victim = self.blob(), os.path.join(self.root, "victim")
        os.makedirs(os.path.dirname(blob))
        with open(victim, "wb") as file:
            file.write(b"mine")
        os.symlink(victim, blob + ".incomplete")
        self.fails("E0603", 1)
        with open(victim, "rb") as file:
            self.assertEqual(file.read(), b"mine")

    def test_hostile_names(self):
        names = list(tiny_model())
        self.hub.listed = [*names, "../../evil", "/etc/evil", "a\x1b[2J", "..", "", "sub/config.json"]
        self.pulls()
        self.assertEqual(sorted(os.listdir(self.root)), ["hf"])
        for commit in ("../../../evil", "", "A" * 40, "a" * 39, "a" * 40 + "\n", None, 7):
            self.hub.commit = commit
            self.fails("E0484", 6)
        self.hub.commit = COMMIT
        for name in (WEIGHTS, "config.json"):
            for told in ("../../evil", "", "a" * 39, "A" * 64, "a/b", "\xff\x9b"):
                self.hub.hashes = {name: told}
                self.fails("E0484", 6)
        self.assertEqual(sorted(os.listdir(self.root)), ["hf"])

    def test_answers_of_something_else(self):
        for listing in (b"", b"<html>", b"[]", b'{"sha": "' + COMMIT.encode() + b'"}', b'{"siblings": []}', b"\xff",
                        b'{"sha": "' + COMMIT.encode() + b'", "siblings": [7]}', b"[" * 100000, b"x" * (17 << 20)):
            self.hub.listing = listing
            self.fails("E0484", 6)

    def test_redirects_without_end_or_to_no_web(self):
        self.hub.redirect = self.hub.url + "/org/name/resolve/" + COMMIT  # to itself
        self.fails("E0484", 6)
        for place in ("file:///etc", "ftp://localhost", "gopher://localhost:70"):
            self.hub.redirect = place
            self.fails("E0484", 6)


class Secrets(Pull):
    def setUp(self):
        super().setUp()
        self.hub.token = "hf_secret"

    def check_who_knows(self):
        self.assertTrue(self.hub.asked("store"))
        for headers in self.hub.asked("store") + self.hub.asked("store", "HEAD"):
            self.assertNotIn("Authorization", headers)

    def test_the_token_of_the_environment_or_the_file(self):
        self.assertIn("HF_TOKEN", self.fails("E0483", 4)["mend"])
        self.assertIn("with this token", self.fails("E0483", 4, HF_TOKEN="hf_wrong")["message"])
        self.pulls(HF_TOKEN="hf_secret")
        self.check_who_knows()
        for place in (os.path.join(self.home, "token"), os.path.join(self.root, "elsewhere")):
            with open(place, "w", encoding="utf-8") as file:
                file.write("hf_secret\n")
            self.pulls(HF_TOKEN_PATH=None if place.startswith(self.home) else place)
            os.unlink(place)
        with open(os.path.join(self.home, "token"), "w", encoding="utf-8") as file:
            file.write("hf_secret")
        self.fails("E0483", 4, HF_HUB_DISABLE_IMPLICIT_TOKEN="1")
        self.check_who_knows()

    def test_terms_are_to_be_accepted(self):
        self.hub.gated = True
        self.assertIn(self.hub.url + "/org/name", self.fails("E0483", 4)["mend"])

    def test_no_token_breaks_a_header(self):
        error = self.fails("E0480", 6, HF_TOKEN="hf_a\r\nX-Evil: 1")
        self.assertNotIn("hf_a", json.dumps(error))
        self.assertEqual(self.hub.requests, [])

    def test_another_server_of_the_same_host_learns_nothing(self):
        self.hub.redirect = self.hub.url.replace("localhost", "127.0.0.1") + "/org/name/resolve/" + COMMIT
        self.fails("E0483", 4, HF_TOKEN="hf_secret")

    def test_plain_http_through_a_proxy_carries_no_token(self):
        # The Hub itself plays the proxy: it is asked for http://hub.invalid/...
        self.hub.token = None
        self.pulls(HF_ENDPOINT="http://hub.invalid", HF_TOKEN="hf_secret", HTTP_PROXY=self.hub.url, NO_PROXY="localhost")
        self.assertTrue(any(headers["Host"] == "hub.invalid" for headers in self.hub.asked("hub")))
        self.check_who_knows()  # asked without the proxy, which knows no such path
        for _, _, _, headers in self.hub.requests:
            self.assertNotIn("Authorization", headers)
        shutil.rmtree(self.home)
        self.pulls(HF_ENDPOINT="http://hub.invalid", http_proxy=self.hub.url, HTTP_PROXY="http://nowhere.invalid:1", no_proxy="localhost")
        self.hub.token = "hf_secret"
        mend = self.fails("E0483", 4, HF_ENDPOINT="http://hub.invalid", HF_TOKEN="hf_secret", HTTP_PROXY=self.hub.url)["mend"]
        self.assertIn("https", mend)


class Encrypted(Pull):
    def setUp(self):
        super().setUp()
        self.certificate = os.path.join(self.root, "certificate.pem")
        key = os.path.join(self.root, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                        "-out", self.certificate, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                       check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.plain = self.hub
        self.hub = self.start(tiny_model(), context=context)

    def test_only_trusted_certificates(self):
        self.assertIn("SSL_CERT_FILE", self.fails("E0482", 1)["mend"])
        self.assertEqual(self.hub.requests, [])
        self.fails("E0482", 1, SSL_CERT_FILE=self.certificate, HF_ENDPOINT=self.hub.url.replace("localhost", "127.0.0.1"))
        self.pulls(SSL_CERT_FILE=self.certificate)

    def test_no_way_back_to_plain_http(self):
        self.hub.redirect = self.plain.store
        self.fails("E0484", 6, SSL_CERT_FILE=self.certificate)
        self.assertEqual(self.plain.requests, [])

    def test_a_proxy_and_the_store_learn_no_token_and_the_hub_no_password(self):
        heads, sockets = [], []

        def carry(source, target):
            with contextlib.suppress(OSError):
                while piece := source.recv(65536):
                    target.sendall(piece)
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)

        def serve(listener):
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    sockets.append(client)
                    head = b""
                    while not head.endswith(b"\r\n\r\n"):
                        head += client.recv(1)
                    heads.append(head)
                    host, port = head.split()[1].decode().rsplit(":", 1)
                    server = socket.create_connection((host, int(port)))
                    sockets.append(server)
                    client.sendall(b"HTTP/1.1 200 Connection established\r\nX-Linked-Etag: \"evil\"\r\n\r\n")
                    for pair in ((client, server), (server, client)):
                        threading.Thread(target=carry, args=pair, daemon=True).start()

        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=serve, args=(listener,), daemon=True).start()
            self.hub.token = "hf_secret"
            self.pulls(SSL_CERT_FILE=self.certificate, HF_TOKEN="hf_secret",
                       HTTPS_PROXY=f"http://anna:password@127.0.0.1:{listener.getsockname()[1]}")
        for each in sockets:
            each.close()
        self.assertEqual(len({head.split()[1] for head in heads}), 2)  # hub and store
        for head in heads:
            self.assertIn(b"Proxy-Authorization: Basic", head)
            self.assertNotIn(b"hf_secret", head)
        for server, _, _, headers in self.hub.requests:
            self.assertNotIn("Proxy-Authorization", headers)
            self.assertEqual("Authorization" in headers, server == "hub")


class Words(Pull):
    def test_what_is_typed_and_set_wrongly(self):
        for name in ("a/b/c", "../x", "org/..", "/abs", "https://huggingface.co/org/name", "org/", "a--b/c", "x" * 97, "org/a b", "", "-x/y"):
            if not name.startswith("-"):
                self.fails("E0105", 2, name)
        for revision in ("../main", "a/../b", "/x", "", "a b", "x" * 201):
            self.fails("E0105", 2, "org/name", "--revision", revision)
        self.assertEqual(self.hub.requests, [])
        for endpoint in ("huggingface.co:x", "ftp://x", "http://", "http://x/?a=b"):
            self.fails("E0480", 6, HF_ENDPOINT=endpoint)
        self.assertNotIn("password", json.dumps(self.fails("E0480", 6, HF_ENDPOINT="http://anna:password@x")))
        for seconds in ("0", "x", "-1"):
            self.fails("E0480", 6, HF_HUB_DOWNLOAD_TIMEOUT=seconds)
        self.fails("E0488", 5, HF_HUB_OFFLINE="1")
        self.assertEqual(self.hub.requests, [])

    def test_what_is_not_there(self):
        self.assertIn("HF_TOKEN", self.fails("E0486", 3, "org/missing")["mend"])
        self.assertIn("v9", self.fails("E0486", 3, "org/name", "--revision", "v9")["message"])
        for lacking in ("config.json", "vocab.txt", WEIGHTS):
            files = tiny_model()
            del files[lacking]
            self.hub = self.start(files)
            self.assertIn("org/name has no ", self.fails("E0487", 6)["message"])

    def test_the_cache_cannot_be_written(self):
        with open(os.path.join(self.root, "file"), "w", encoding="utf-8"):
            pass
        self.fails("E0603", 3, HF_HUB_CACHE=os.path.join(self.root, "file"))

    def test_a_model_that_rung_cannot_train_is_a_finding(self):
        self.hub.files["config.json"] = b'{"model_type": "llama"}'
        done = self.pull("org/name", "-o", "json")
        self.assertEqual(done.returncode, 9, done.stderr)
        self.assertFalse(json.loads(done.stdout)["usable"])


if __name__ == "__main__":
    RUNG = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
