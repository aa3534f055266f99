"""Each rule finds what it is for, and leaves the allowed neighbour alone."""
import os
import tempfile
import unittest

import lint


class LintTest(unittest.TestCase):
    def expect(self, rule, path, text, found):
        results = list(rule({path: text}))
        self.assertEqual(bool(results), found, f"{path}: {text!r} -> {results}")

    def test_arrows(self):
        self.expect(lint.check_arrows, "search/a.cc", '#include "storage/study_store.h"\n', True)
        self.expect(lint.check_arrows, "search/a.cc", '#include "base/status.h"\n', False)
        self.expect(lint.check_arrows, "search/a.cc", '#include "rung/v1/rung.pb.h"\n', True)
        self.expect(lint.check_arrows, "worker/text/a.cc", '#include "worker/agent.h"\n', True)
        self.expect(lint.check_arrows, "worker/agent.cc", '#include "worker/text/tokenizer.h"\n', True)
        self.expect(lint.check_arrows, "worker/training/a.cc", '#include "worker/text/tokenizer.h"\n', False)
        self.expect(lint.check_arrows, "cli/a.cc", '#include "storage/study_store.h"\n', True)
        self.expect(lint.check_arrows, "cli/a.cc", '// #include "storage/study_store.h"\n', False)
        self.expect(lint.check_arrows, "proto/endpoint.cc", '#include "search/trial.h"\n', True)
        self.expect(lint.check_arrows, "proto/wire.cc", '#include "search/trial.h"\n', False)

    def test_includes_have_a_home(self):
        self.expect(lint.check_arrows, "search/a.cc", "#include <storage/study_store.h>\n", True)
        self.expect(lint.check_arrows, "search/a.cc", "#include <base/status.h>\n", False)
        self.expect(lint.check_arrows, "search/a.cc", "#include <vector>\n#include <nlohmann/json.hpp>\n", False)
        self.expect(lint.check_arrows, "search/a.cc", '#include "absl/status/status.h"\n', False)
        for included in ("util/helper.h", "tests/scratch.h", "../storage/study_store.h", "trial.h", "rungs/v1/a.h"):
            self.expect(lint.check_arrows, "search/a.cc", f'#include "{included}"\n', True)
            self.expect(lint.check_arrows, "tests/search/a_test.cc", f'#include "{included}"\n', False)

    def test_python(self):
        importer = {"bench/a.py": "from b import first\n"}
        self.assertEqual(list(lint.check_python({**importer, "bench/b.py": "def first(): pass\n"})), [])
        self.assertEqual(list(lint.check_python({**importer, "other/b.py": "first = 1\n"})), [])
        self.assertEqual(len(list(lint.check_python({**importer, "bench/b.py": "def second(): pass\n"}))), 1)
        self.assertEqual(list(lint.check_python(importer)), [])  # not ours

    def test_banned(self):
        self.expect(lint.check_banned, "coordinator/a.cc", "auto t = absl::Now();\n", True)
        self.expect(lint.check_banned, "base/clock.h", "return absl::Now();\n", False)
        self.expect(lint.check_banned, "coordinator/a.cc", "// absl::Now() is banned\n", False)
        self.expect(lint.check_banned, "coordinator/a.cc", 'text = "absl::Now()";\n', False)
        self.expect(lint.check_banned, "worker/a.cc", "std::chrono::steady_clock::now();\n", True)
        self.expect(lint.check_banned, "worker/a.cc", "std::chrono::milliseconds(3);\n", False)
        self.expect(lint.check_banned, "cli/a.cc", "c.set_deadline(std::chrono::system_clock::now() + d);\n", False)
        self.expect(lint.check_banned, "cli/a.cc", "#include <random>\n", True)
        self.expect(lint.check_banned, "search/rng.cc", "#include <random>\n", False)
        self.expect(lint.check_banned, "worker/text/a.cc", "#include <torch/torch.h>\n", True)
        self.expect(lint.check_banned, "worker/model/a.cc", "#include <torch/torch.h>\n", False)
        self.expect(lint.check_banned, "coordinator/a.cc", "#include <sqlite3.h>\n", True)
        self.expect(lint.check_banned, "cli/a.cc", 'system("ls");\n', True)
        self.expect(lint.check_banned, "cli/a.cc", "file_system(1);\n", False)
        self.expect(lint.check_banned, "search/a.cc", "#include <thread>\n", True)
        self.expect(lint.check_banned, "coordinator/a.cc", "#include <thread>\n", False)
        for header in ("iostream", "cstdio", "stdio.h", "fstream"):
            self.expect(lint.check_banned, "search/a.cc", f"#include <{header}>\n", True)
            self.expect(lint.check_banned, "cli/a.cc", f"#include <{header}>\n", False)
        self.expect(lint.check_banned, "search/a.cc", "#include <sstream>\n", False)

    def test_the_trainer_has_no_wire(self):
        for path in ("worker/text/a.h", "worker/model/a.cc", "worker/training/a.cc"):
            for header in ("google/protobuf/message.h", "grpcpp/grpcpp.h", "grpc/grpc.h", "proto/rung/v1/rung.pb.h"):
                self.expect(lint.check_banned, path, f"#include <{header}>\n", True)
                self.expect(lint.check_banned, path, f'#include "{header}"\n', True)
                self.expect(lint.check_banned, path, f"// #include <{header}>\n", False)
            self.expect(lint.check_banned, path, "#include <nlohmann/json.hpp>\n", False)
        self.expect(lint.check_banned, "worker/agent.cc", "#include <grpcpp/grpcpp.h>\n", False)

    def test_cmake(self):
        for path in ("CMakeLists.txt", "worker/model/CMakeLists.txt", "cmake/LibTorch.cmake"):
            self.expect(lint.check_cmake, path, "find_package(Torch REQUIRED)\n", True)
            self.expect(lint.check_cmake, path, "find_package( torch )\n", True)
            self.expect(lint.check_cmake, path, "# Never find_package(Torch)\n", False)
            self.expect(lint.check_cmake, path, "find_package(Catch2 REQUIRED)\n", False)
        self.expect(lint.check_cmake, "docs/a.md", "find_package(Torch)\n", False)

    def test_error_codes(self):
        row = "| E0402 | a column is missing | name it |\n"
        code = 'MakeError(kX, {"E0402", "m", "", "", ""});'
        self.assertEqual(list(lint.check_error_codes({"docs/errors.md": row, "worker/text/a.cc": code})), [])
        self.assertTrue(list(lint.check_error_codes({"docs/errors.md": row + row, "worker/text/a.cc": code})))
        self.assertTrue(list(lint.check_error_codes({"docs/errors.md": "", "worker/text/a.cc": code})))
        self.assertTrue(list(lint.check_error_codes({"docs/errors.md": row})))
        self.assertEqual(list(lint.check_error_codes({"base/a.h": '// code = "E0402"'})), [])

    def test_paths_and_sizes(self):
        self.expect(lint.check_paths, "docs/a.md", "see /wo" + "rk/main\n", True)
        self.expect(lint.check_paths, "docs/a.md", "see /home/me/models\n", False)
        with tempfile.TemporaryDirectory() as root:  # a linked worktree's .git is a file with a path in it
            with open(os.path.join(root, ".git"), "w") as file:
                file.write("gitdir: elsewhere\n")
            self.assertEqual(lint.read_tree(root), {})
        many = {f"base/f{i}.h": "" for i in range(9)}
        self.assertTrue(list(lint.check_base_size(many)))


if __name__ == "__main__":
    unittest.main()
