// Every kind of bad input that Rung promises to answer well, fed to the real programs: one clear error that
// names the value, the place and the mend, the right exit code, and nothing lost.
#include <arpa/inet.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <regex>

#include <catch2/catch.hpp>

#include "workshop.h"

namespace rung {
namespace {

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Runs to its end at once: what is kept of it has to stay.
Json KeptStudy() {
  return Json::parse(R"({"name": "kept", "trainer": {"type": "command", "argv": ["/bin/sh", "-c",
      "echo '{\"type\": \"result\", \"values\": {\"score\": 0.5}}' > /proc/self/fd/$RUNG_METRICS_FD"]},
    "objective": {"metric": "score", "goal": "maximize"}, "budget": {"unit": "epochs", "min": 1, "max": 3, "eta": 3},
    "algorithm": {"type": "random"}, "stop": {"trials": 2}, "space": {"x": {"low": 0, "high": 1}}})");
}

// A correct study of the built-in trainer over the workshop's files: each case breaks one thing in it.
Json TextStudy() {
  return Json::parse(R"({"name": "text", "trainer": {"type": "text_classification", "train": "train.csv",
    "validation": "validation.csv", "text": "sentence", "label": "label", "options": {"model_name_or_path": "model"}},
    "objective": {"metric": "validation/accuracy", "goal": "maximize"},
    "budget": {"unit": "epochs", "min": 1, "max": 9, "eta": 3}, "algorithm": {"type": "bohb"},
    "space": {"learning_rate": {"low": 1e-5, "high": 1e-3, "log": true}, "optimizer_name": ["SGD", "AdamW"]}})");
}

constexpr char kGoodTrain[] = "sentence,label\ngood news,yes\nbad news,no\ngood good,yes\nbad bad,no\n";
constexpr char kGoodValidation[] = "sentence,label\ngood bad,yes\nbad good,no\n";

struct BadInput {
  std::string what;
  std::function<Ended(Workshop&, const std::string& dir)> feed;
  int exit_code;
  std::string code;
  std::string message;  // a part that must be there
  std::string where;    // an expression that its end must match
  std::string value;    // the whole of it; with ~ before: a part of it
  std::string mend;     // a part
};

constexpr char kInBrokenStudy[] = "/broken\\.json:[0-9]+:[0-9]+";

// The study is broken, then shown to `rung run`.
BadInput InStudy(const std::string& what, const std::function<void(Json&)>& breaks, const std::string& code,
                 const std::string& where, const std::string& value, const std::string& mend) {
  return {what,
          [breaks](Workshop& workshop, const std::string& dir) {
            Json study = TextStudy();
            breaks(study);
            return workshop.Rung(dir, {"run", workshop.Write("broken.json", study.dump(2))});
          },
          6,
          code,
          "",
          where,
          value,
          mend};
}

BadInput InFile(const std::string& what, const std::string& name, const std::string& bytes,
                const std::string& code, const std::string& where, const std::string& value,
                const std::string& mend) {
  return {what,
          [name, bytes](Workshop& workshop, const std::string& dir) {
            const std::string good = Workshop::Read(workshop.path(name));
            workshop.Write(name, bytes);
            Ended ended = workshop.Rung(dir, {"run", workshop.Write("text.json", TextStudy().dump(2))});
            workshop.Write(name, good);
            return ended;
          },
          6,
          code,
          "",
          where,
          value,
          mend};
}

BadInput InModel(const std::string& what, const std::function<void(Workshop&)>& breaks,
                 const std::string& code, const std::string& where, const std::string& value,
                 const std::string& mend) {
  return {what,
          [breaks](Workshop& workshop, const std::string& dir) {
            breaks(workshop);
            Json study = TextStudy();
            study["trainer"]["options"]["model_name_or_path"] = "broken-model";
            return workshop.Rung(dir, {"run", workshop.Write("broken.json", study.dump(2))});
          },
          6,
          code,
          "",
          where,
          value,
          mend};
}

BadInput InCommand(const std::string& what, const std::vector<std::string>& argv, const std::string& value,
                   const std::string& mend) {
  return InStudy(
      what,
      [argv](Json& study) {
        study["trainer"] = {{"type", "command"}, {"argv", argv}};
      },
      "E0721", kInBrokenStudy, value, mend);
}

// The commands that read the data of a study, before they store or submit anything.
const std::vector<std::vector<std::string>> kCommandsThatCheck = {
    {"run"}, {"study", "create"}, {"study", "plan"}, {"slurm", "submit", "--dry-run"}};

using Words = std::vector<std::string>;

Ended Shown(Workshop& workshop, const std::string& dir, Words command, const Json& study) {
  command.push_back(workshop.Write("broken.json", study.dump(2)));
  return workshop.Rung(dir, command);
}

BadInput DataOfCommand(const Words& command) {
  return {"data without a column, shown to " + command.back(),
          [command](Workshop& workshop, const std::string& dir) {
            Json study = TextStudy();
            study["trainer"]["train"] = workshop.Write("bad.csv", "text,label\ngood,yes\nbad,no\n");
            return Shown(workshop, dir, command, study);
          },
          6,
          "E0402",
          "",
          "bad.csv:1",
          "sentence",
          "trainer.text"};
}

BadInput ModelOfCommand(const Words& command) {
  return {"a model without weights, shown to " + command.back(),
          [command](Workshop& workshop, const std::string& dir) {
            TinyModel().WriteTo(workshop, "weightless", false);
            Json study = TextStudy();
            study["trainer"]["options"]["model_name_or_path"] = "weightless";
            return Shown(workshop, dir, command, study);
          },
          6,
          "E0438",
          "",
          "/weightless",
          "~/weightless",
          "Save the model"};
}

std::vector<BadInput> OfEveryCommand() {
  std::vector<BadInput> inputs;
  for (const Words& command : kCommandsThatCheck) {
    inputs.push_back(DataOfCommand(command));
    inputs.push_back(ModelOfCommand(command));
  }
  return inputs;
}

std::string Utf16(const std::string& ascii) {
  std::string bytes = "\xFF\xFE";
  for (const char character : ascii) bytes += {character, '\0'};
  return bytes;
}

std::vector<BadInput> BadStudies() {
  return {
      InStudy(
          "an unknown key", [](Json& study) { study["objectve"] = 1; }, "E0305", kInBrokenStudy, "objectve",
          "objective"),
      {"a NUL byte, and more behind it",
       [](Workshop& workshop, const std::string& dir) {
         return workshop.Rung(dir, {"run", workshop.Write("broken.json", TextStudy().dump() + '\0' + "[]")});
       },
       6, "E0301", "NUL", kInBrokenStudy, "U+0000", "Remove it"},
      {"UTF-16",
       [](Workshop& workshop, const std::string& dir) {
         return workshop.Rung(dir, {"run", workshop.Write("broken.json", Utf16(TextStudy().dump()))});
       },
       6, "E0301", "UTF-16", "/broken\\.json", "~/broken.json", "iconv -f UTF-16 -t UTF-8"},
      InStudy(
          "a wrong type", [](Json& study) { study["seed"] = "many"; }, "E0306", kInBrokenStudy, "\"many\"",
          "integer"),
      InStudy(
          "a low above a high", [](Json& study) { study["space"]["learning_rate"]["low"] = 0.5; }, "E0204",
          kInBrokenStudy, "0.5", "Swap"),
      InStudy(
          "log of zero", [](Json& study) { study["space"]["learning_rate"]["low"] = 0; }, "E0211",
          kInBrokenStudy, "0", "low: 1e-5"),
      InStudy(
          "a condition on a parameter that does not exist",
          [](Json& study) {
            study["space"]["sgd_momentum"] = {{"low", 0}, {"high", 0.99}, {"if", "optimiser_name = SGD"}};
          },
          "E0221", kInBrokenStudy, "optimiser_name", "optimizer_name"),
      InStudy(
          "a trainer option that nobody reads",
          [](Json& study) { study["trainer"]["options"]["learning_rat"] = 1e-4; }, "E0440", kInBrokenStudy,
          "0.0001", "learning_rate"),
      InStudy(
          "a misspelt name that other tools have for an option",
          [](Json& study) { study["trainer"]["options"]["optimzer"] = "AdamW"; }, "E0440", kInBrokenStudy,
          "\"AdamW\"", "Did you mean \"optimizer_name\""),
      InStudy(
          "an optimiser in small letters",
          [](Json& study) {
            study["space"]["optimizer_name"] = {"SGD", "adamw"};
          },
          "E0442", kInBrokenStudy, "\"adamw\"", "\"AdamW\""),
      InStudy(
          "a metric that is the beginning of several",
          [](Json& study) { study["objective"]["metric"] = "validation/f1"; }, "E0757", kInBrokenStudy,
          "\"validation/f1\"", "validation/f1_macro"),
      InStudy(
          "more tokens than the model reads",
          [](Json& study) { study["trainer"]["options"]["max_seq_length"] = 1000; }, "E0442", kInBrokenStudy,
          "1000", "at most 128"),
      InStudy(
          "a model that is not there",
          [](Json& study) { study["trainer"]["options"]["model_name_or_path"] = "./none"; }, "E0432",
          kInBrokenStudy, "./none", "config.json"),
      InStudy(
          "a training file that is not there", [](Json& study) { study["trainer"]["train"] = "none.csv"; },
          "E0409", kInBrokenStudy, "~none.csv", "relative"),
      InStudy(
          "a directory as training file", [](Json& study) { study["trainer"]["train"] = "model"; }, "E0409",
          kInBrokenStudy, "~model", "file in it"),
      InCommand("a program that is not there", {"no-such-program-of-rung"}, "no-such-program-of-rung",
                "Install it"),

      InCommand("a script that is not there", {"sh", "none.sh"}, "none.sh", "trainer.cwd"),

  };
}

// Neither may be read: one gives nothing until somebody writes to it, the other never stops giving.
BadInput InEndless(const std::string& what, const std::string& path) {
  return {what,
          [path](Workshop& workshop, const std::string& dir) {
            mkfifo(workshop.path("pipe").c_str(), 0600);
            Json study = TextStudy();
            study["trainer"]["train"] = path;
            return workshop.Rung(dir, {"run", workshop.Write("broken.json", study.dump(2))});
          },
          6,
          "E0602",
          "no regular file",
          "/" + std::filesystem::path(path).filename().string(),
          "~" + path,
          "into a file"};
}

std::string ManyColumns(char separator) {
  std::string row;
  for (int i = 0; i < 100000; ++i) row += "column" + std::to_string(i) + separator;
  return row + "\n" + row + "\n";
}

std::vector<BadInput> BadData() {
  return {
      InFile("an empty CSV", "train.csv", "", "E0401", "train.csv:1", "~train.csv", "header"),
      InFile("a CSV with a header alone", "train.csv", "sentence,label\n", "E0401", "train.csv:1",
             "~train.csv", "one row"),
      InFile("a compressed file", "train.csv", "\x1F\x8B\x08 and more", "E0403", "train.csv:1", "~train.csv",
             "gunzip"),
      InFile("a missing column", "train.csv", "text,label\ngood,yes\nbad,no\n", "E0402", "train.csv:1",
             "sentence", "trainer.text"),
      InFile("a CSV of 100,000 columns", "train.csv", ManyColumns(','), "E0404", "train.csv:1", "4097",
             "CSV"),
      InFile("another separator between 100,000 columns", "train.csv", ManyColumns('|'), "E0402",
             "train.csv:1", "sentence", "trainer.text"),
      InFile("one label only", "train.csv", "sentence,label\ngood,yes\nbad,yes\n", "E0405", "train.csv:2",
             "yes", "two labels"),
      InFile("a label in validation that training lacks", "validation.csv",
             "sentence,label\ngood,yes\nbad,perhaps\n", "E0406", "validation.csv:3", "perhaps",
             "Correct the label"),
      InEndless("a fifo as training file", "pipe"),
      InEndless("a device as training file", "/dev/zero"),
      InFile("invalid UTF-8", "train.csv",
             "sentence,label\ngood,yes\nb\xFF"
             "ad,no\n",
             "E0403", "train.csv:3", "0xFF", "UTF-8"),
  };
}

std::vector<BadInput> BadModels() {
  return {
      InModel(
          "weights of another shape",
          [](Workshop& workshop) {
            TinyModel model;
            model.shapes["encoder.layer.0.attention.self.query.weight"] = {4, 5};
            model.WriteTo(workshop, "broken-model");
          },
          "E0436", "broken-model/model\\.safetensors", "[4, 5]", "config.json"),
  };
}

// Listens on a port of its own until it goes out of scope.
class TakenPort {
 public:
  TakenPort() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(bind(socket_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(listen(socket_, 1) == 0);
    REQUIRE(getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
  }
  ~TakenPort() { close(socket_); }
  TakenPort(const TakenPort&) = delete;
  TakenPort& operator=(const TakenPort&) = delete;
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  const int socket_;
  int port_ = 0;
};

void SetSchema(const std::string& database, int64_t version, int64_t* before) {
  sqlite3* handle = nullptr;
  REQUIRE(sqlite3_open_v2(database.c_str(), &handle, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK);
  sqlite3_stmt* statement = nullptr;
  REQUIRE(sqlite3_prepare_v2(handle, "PRAGMA user_version", -1, &statement, nullptr) == SQLITE_OK);
  REQUIRE(sqlite3_step(statement) == SQLITE_ROW);
  *before = sqlite3_column_int64(statement, 0);
  sqlite3_finalize(statement);
  const std::string set = "PRAGMA user_version = " + std::to_string(version);
  REQUIRE(sqlite3_exec(handle, set.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(handle);
}

std::vector<BadInput> BadSurroundings() {
  return {
      {"a study of the same name with other content",
       [](Workshop& workshop, const std::string& dir) {
         Json study = KeptStudy();
         study["space"]["x"]["high"] = 2;
         return workshop.Rung(dir, {"run", workshop.Write("other.json", study.dump(2))});
       },
       5, "E0623", "/space/x/high: 1.0 -> 2.0", "/other\\.json", "kept", "undo"},
      {"the same, shown to slurm submit --dry-run",
       [](Workshop& workshop, const std::string& dir) {
         Json study = KeptStudy();
         study["space"]["x"]["high"] = 2;
         return Shown(workshop, dir, {"slurm", "submit", "--dry-run"}, study);
       },
       5, "E0623", "/space/x/high: 1.0 -> 2.0", "/broken\\.json", "kept", "another"},
      {"a port in use",
       [](Workshop& workshop, const std::string& dir) {
         const TakenPort port;
         Workshop::EndCoordinator(dir, SIGTERM);
         Ended ended = workshop.Rung(dir, {"serve", "--listen", port.address()});
         CHECK(Has(ended.err, port.address()));
         CHECK(ended.err.rfind("{\"error\"", 0) == 0);  // nothing of gRPC's own before it
         return ended;
       },
       1, "E0630", "", "", "~127.0.0.1:", "port"},
      {"a device that is none",
       [](Workshop& workshop, const std::string& dir) {
         return workshop.Rung(dir, {"worker", "start", "--device", "tpu"});
       },
       2, "E0130", "tpu", "--device", "tpu", "cuda:N"},
      {"a database of a newer schema",
       [](Workshop& workshop, const std::string& dir) {
         Workshop::EndCoordinator(dir, SIGTERM);
         int64_t schema = 0;
         SetSchema(dir + "/rung.db", 9999, &schema);
         Ended ended = workshop.Rung(dir, {"study", "list"});
         int64_t newer = 0;
         SetSchema(dir + "/rung.db", schema, &newer);
         CHECK(newer == 9999);
         return ended;
       },
       5, "E0501", "schema 9999", "/rung\\.db", "9999", "newer Rung"},
      {"a directory held by another coordinator",
       [](Workshop& workshop, const std::string& dir) {
         Workshop::EndCoordinator(dir, SIGTERM);
         const pid_t holder = workshop.Start("rungd", dir, {"--dir", dir});
         while (Workshop::CoordinatorPid(dir) != holder) poll(nullptr, 0, 5);
         Ended ended = workshop.Rung(dir, {"serve"});
         Workshop::EndCoordinator(dir, SIGTERM);
         CHECK(ended.error()["value"] == std::to_string(holder));
         return ended;
       },
       75, "E0640", "", "state", "~", "kill"},
  };
}

enum class DiskKind { kReal, kPretended };

// A disk that can be filled: a file system of 4 MB, where this user may mount one, or a directory that the
// programs take for full (full_disk.cc), which needs no rights.
class SmallDisk {
 public:
  SmallDisk(const std::string& path, DiskKind kind) : path_(path) {
    std::filesystem::create_directories(path_);
    if (kind == DiskKind::kReal) {
      mounted_ = mount("rung-test", path_.c_str(), "tmpfs", 0, "size=4m") == 0;
      return;
    }
    pretended_ = true;
    setenv("RUNG_TEST_FULL_DISK", path_.c_str(), 1);
    setenv("LD_PRELOAD", RUNG_FULL_DISK_LIBRARY, 1);
  }
  ~SmallDisk() {
    Workshop::EndCoordinator(path_ + "/state", SIGKILL);
    if (mounted_) umount2(path_.c_str(), MNT_DETACH);
    if (pretended_) unsetenv("LD_PRELOAD");
    std::filesystem::remove_all(path_);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool usable() const { return mounted_ || pretended_; }
  void Fill() const { std::ofstream(path_ + "/filler") << std::string(mounted_ ? 8 << 20 : 1, 'x'); }
  void Empty() const { std::filesystem::remove(path_ + "/filler"); }

 private:
  const std::string path_;
  bool mounted_ = false;
  bool pretended_ = false;
};

// Too large for what SQLite and the file system have set aside.
std::string SecondStudy(Workshop& workshop) {
  Json study = KeptStudy();
  study["name"] = "second";
  study["description"] = std::string(200000, 'x');
  return workshop.Write("second.json", study.dump());
}

BadInput OnFullDisk(DiskKind kind, bool lives) {
  const std::string when = lives ? "while the coordinator lives" : "before the coordinator starts";
  return {(kind == DiskKind::kReal ? "a full disk " : "a disk taken for full ") + when,
          [kind, lives](Workshop& workshop, const std::string&) {
            const SmallDisk disk(workshop.path("disk"), kind);
            const std::string dir = workshop.path("disk/state");
            const std::string kept = workshop.Write("on-disk.json", KeptStudy().dump());
            REQUIRE(workshop.Rung(dir, {"study", "create", kept}).exit_code == 0);
            if (!lives) Workshop::EndCoordinator(dir, SIGTERM);
            disk.Fill();
            Ended ended = workshop.Rung(dir, {"study", "create", SecondStudy(workshop)});
            Workshop::EndCoordinator(dir, SIGTERM);
            disk.Empty();
            const Ended list = workshop.Rung(dir, {"study", "list"});
            CAPTURE(list.err);
            REQUIRE(list.exit_code == 0);
            const Json studies = Json::parse(list.out)["studies"];
            REQUIRE(studies.size() == 1);
            CHECK(studies[0]["name"] == "kept");
            return ended;
          },
          lives ? 7 : 1,
          lives ? "E0504" : "E0641",
          lives ? "full" : "No space left",
          lives ? "/disk/state/rung\\.db" : "/disk/state/lock/[0-9]+",
          lives ? "~full" : "No space left on device",
          "Free some space"};
}

std::vector<BadInput> FullDisks(const Workshop& workshop) {
  std::vector<BadInput> inputs = {OnFullDisk(DiskKind::kPretended, true),
                                  OnFullDisk(DiskKind::kPretended, false)};
  // With no right to mount, the pretended disk is what this machine can show.
  if (SmallDisk(workshop.path("disk"), DiskKind::kReal).usable()) {
    inputs.push_back(OnFullDisk(DiskKind::kReal, true));
    inputs.push_back(OnFullDisk(DiskKind::kReal, false));
  }
  return inputs;
}

class Room {
 public:
  Workshop workshop;
  std::string dir;

  explicit Room(const std::string& state_dir = "state") : dir(workshop.path(state_dir)) {
    TinyModel().WriteTo(workshop, "model");
    workshop.Write("train.csv", kGoodTrain);
    workshop.Write("validation.csv", kGoodValidation);
    workshop.Write("kept.json", KeptStudy().dump(2));
    const Ended ran = workshop.Rung(dir, {"run", workshop.path("kept.json"), "--workers", "1"});
    INFO(ran.err);
    REQUIRE(ran.exit_code == 0);
    studies_ = Listed("study", "studies");
    trials_ = Listed("trial", "trials");
    REQUIRE(studies_.size() == 1);
    REQUIRE(trials_.size() == 2);
    for (const Json& trial : trials_) REQUIRE(trial["score"] == 0.5);
  }

  void RequireNothingLost() {
    REQUIRE(Listed("study", "studies") == studies_);
    REQUIRE(Listed("trial", "trials") == trials_);
  }

 private:
  Json Listed(const std::string& noun, const std::string& rows) {
    const Ended list = workshop.Rung(dir, {noun, "list"});
    INFO(list.err);
    REQUIRE(list.exit_code == 0);
    return Json::parse(list.out)[rows];
  }

  Json studies_;
  Json trials_;
};

void RequireClearError(const BadInput& input, const Ended& ended) {
  constexpr size_t kLongestError = 1000;  // neither a page of names nor a whole line of data
  CAPTURE(input.what, ended.exit_code, ended.out, ended.err.substr(0, kLongestError));
  CHECK(ended.exit_code == input.exit_code);
  CHECK(ended.out.empty());
  CHECK(std::count(ended.err.begin(), ended.err.end(), '\n') == 1);
  CHECK(ended.err.size() <= kLongestError);
  const Json error = ended.error();
  REQUIRE(error.is_object());
  CHECK(error["code"] == input.code);
  CHECK(Has(error["message"], input.message));
  CHECK(std::regex_search(std::string(error["where"]), std::regex("(" + input.where + ")$")));
  const bool part = input.value.rfind('~', 0) == 0;
  CHECK((part ? Has(error["value"], input.value.substr(1)) : error["value"] == input.value));
  CHECK(Has(error["mend"], input.mend));
  for (const char* field : {"message", "where", "value", "mend"}) {
    INFO(field);
    CHECK_FALSE(std::string(error[field]).empty());
  }
}

TEST_CASE("bad input gives one clear error and loses nothing") {
  Room room;
  // The control: what the cases break is right before they do.
  const Ended good =
      room.workshop.Rung(room.dir, {"study", "plan", room.workshop.Write("text.json", TextStudy().dump(2))});
  INFO(good.err);
  REQUIRE(good.exit_code == 0);
  std::vector<BadInput> all;
  for (const auto& inputs : {BadStudies(), BadData(), OfEveryCommand(), BadModels(), BadSurroundings(),
                             FullDisks(room.workshop)}) {
    all.insert(all.end(), inputs.begin(), inputs.end());
  }
  for (const BadInput& input : all) {
    const Ended ended = input.feed(room.workshop, room.dir);
    RequireClearError(input, ended);
    INFO(input.what);
    room.RequireNothingLost();
  }
}

TEST_CASE("what is refused leaves no state directory, and so no process that holds it") {
  Workshop workshop;
  CHECK(workshop.Rung(workshop.path("new"), {"run", workshop.Write("text.json", TextStudy().dump())})
            .exit_code == 6);
  CHECK_FALSE(std::filesystem::exists(workshop.path("new")));
}

TEST_CASE(
    "with --no-check a command's missing script pauses the study and blames no config; put there, it goes "
    "on") {
  Workshop workshop;
  const std::string dir = workshop.path("state");
  Json study = KeptStudy();
  study["trainer"]["argv"] = {"sh", "none.sh"};
  const std::string file = workshop.Write("unchecked.json", study.dump());
  const std::vector<std::string> run = {"run", file, "--no-check", "--workers", "1"};
  const Ended ended = workshop.Rung(dir, run);
  CAPTURE(ended.err);
  CHECK(ended.exit_code == 6);
  CHECK(Has(ended.err, "E0387"));
  CHECK(Has(ended.err, "there is no script " + workshop.path("none.sh")));
  for (const Json& trial : Json::parse(workshop.Rung(dir, {"trial", "list"}).out)["trials"])
    CHECK(trial["state"] != "failed");
  workshop.Write("none.sh", KeptStudy()["trainer"]["argv"][2]);
  const Ended resumed = workshop.Rung(dir, run);
  CAPTURE(resumed.err);
  CHECK(resumed.exit_code == 0);
}

TEST_CASE("with --no-check nobody looks at the data") {
  Room room;
  Json study = TextStudy();
  study["trainer"]["train"] = room.workshop.Write("bad.csv", "text,label\ngood,yes\n");
  study["trainer"]["options"]["model_name_or_path"] = "none";
  const std::string file = room.workshop.Write("unchecked.json", study.dump());
  for (std::vector<std::string> command : kCommandsThatCheck) {
    if (command.front() == "run") continue;  // it would go on to train
    command.insert(command.end(), {file, "--no-check"});
    const Ended ended = room.workshop.Rung(room.dir, command);
    CAPTURE(command, ended.err);
    CHECK(ended.exit_code == 0);
  }
}

TEST_CASE("a coordinator whose disk fills answers what is unavailable, ends with 1 and says why") {
  Workshop workshop;
  const SmallDisk disk(workshop.path("disk"), DiskKind::kPretended);
  const std::string dir = workshop.path("disk/state");
  const pid_t coordinator = workshop.Start("rungd", dir, {"--dir", dir});
  while (Workshop::CoordinatorPid(dir) != coordinator) poll(nullptr, 0, 5);
  const Ended made = workshop.Rung(dir, {"study", "create", workshop.Write("kept.json", KeptStudy().dump())});
  CAPTURE(made.err);
  REQUIRE(made.exit_code == 0);
  disk.Fill();
  const Ended second = workshop.Rung(dir, {"study", "create", SecondStudy(workshop)});
  CHECK(second.exit_code == 7);
  CHECK(second.error()["code"] == "E0504");
  int wait_status = 0;
  REQUIRE(waitpid(coordinator, &wait_status, 0) == coordinator);
  CHECK(WIFEXITED(wait_status));
  CHECK(WEXITSTATUS(wait_status) == 1);
  CHECK(Has(Workshop::Read(workshop.path(".started-err")), "E0504"));
}

TEST_CASE("a coordinator killed with -9 leaves nothing in the way") {
  Room room;
  const int64_t killed = Workshop::CoordinatorPid(room.dir);
  REQUIRE(killed > 0);
  Workshop::EndCoordinator(room.dir, SIGKILL);
  REQUIRE(Workshop::CoordinatorPid(room.dir) == killed);  // its endpoint.json is stale
  room.RequireNothingLost();
  REQUIRE(Workshop::CoordinatorPid(room.dir) != killed);
}

TEST_CASE("while a coordinator of another host is silent, what it wrote last is shown, with exit 7") {
  Room room;
  Workshop::EndCoordinator(room.dir, SIGTERM);
  const pid_t silent = room.workshop.Start("rungd", room.dir, {"--dir", room.dir, "--listen", "auto"});
  while (Workshop::CoordinatorPid(room.dir) != silent) poll(nullptr, 0, 5);
  Workshop::EndCoordinator(room.dir, SIGKILL);
  const std::string file = room.dir + "/endpoint.json";
  const std::string here = Workshop::Read(file);
  Json endpoint = Json::parse(here);
  endpoint["host"] = "elsewhere";
  endpoint["boot_id"] = "another";
  std::ofstream(file) << endpoint.dump();

  const Ended list = room.workshop.Rung(room.dir, {"study", "list"});
  CAPTURE(list.out, list.err);
  CHECK(list.exit_code == 7);
  CHECK(list.error()["code"] == "E0691");
  const Json status = Json::parse(list.out, nullptr, false);
  REQUIRE(status.is_object());
  CHECK(status.contains("written_at"));
  CHECK(status["studies"][0]["name"] == "kept");

  std::ofstream(file) << here;
  room.RequireNothingLost();
}

TEST_CASE("an empty directory that others may enter is taken and closed") {
  Workshop workshop;
  const std::string dir = workshop.path("mine");
  std::filesystem::create_directory(dir);
  std::filesystem::permissions(dir, std::filesystem::perms{0755});
  const Ended created =
      workshop.Rung(dir, {"study", "create", workshop.Write("kept.json", KeptStudy().dump())});
  CAPTURE(created.err);
  CHECK(created.exit_code == 0);
  CHECK(std::filesystem::status(dir).permissions() == std::filesystem::perms{0700});
}

TEST_CASE("a state path of 150 characters works") {
  const std::string deep = std::string(70, 'a') + "/" + std::string(70, 'b') + "/.rung";
  Room room(deep);
  REQUIRE(room.dir.size() >= 150);
  room.RequireNothingLost();
}

}  // namespace
}  // namespace rung
