#include "worker/text/trainer_options.h"

#include <filesystem>
#include <set>
#include <string>

#include <catch2/catch.hpp>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "tests/worker/text/text_files.h"
#include "worker/text/option_table.h"
#include "worker/text/study_data.h"

namespace rung {
namespace {

using nlohmann::json;

json Trainer() {
  return {
      {"type", "text_classification"}, {"train", "/d/train.csv"}, {"options", {{"model_name_or_path", "m"}}}};
}

json Changed(const char* pointer, const json& value) {
  json trainer = Trainer();
  trainer[json::json_pointer(pointer)] = value;
  return trainer;
}

json Several(const char* pointer, const json& value) {
  json trainer = Changed(pointer, value);
  trainer["multi_label"] = true;
  return trainer;
}

SearchedOption Choice(const std::string& name, const std::vector<json>& values) {
  return {name, values, 0, 0, false};
}

TEST_CASE("defaults are filled in once") {
  const auto checked = CheckedTrainer(Trainer(), {}, 42);
  INFO(checked.status());
  REQUIRE(checked.ok());
  CHECK((*checked)["version"] == 1);
  CHECK((*checked)["validation"] == 0.1);
  CHECK((*checked)["text"] == "sentence");
  CHECK((*checked)["split_seed"] == 42);
  CHECK((*checked)["options"]["learning_rate"] == 5e-5);
  CHECK((*checked)["options"]["optimizer_name"] == "AdamW");
  CHECK((*checked)["checkpoints"]["keep_last"] == 1);
  const auto again = CheckedTrainer(*checked, {}, 7);
  REQUIRE(again.ok());
  CHECK(again->dump() == checked->dump());
}

TEST_CASE("the documented space is accepted, and its options get no fixed value") {
  json trainer = Trainer();
  trainer["options"].erase("model_name_or_path");
  const std::vector<SearchedOption> space = {
      Choice("max_seq_length", {128, 256, 512}),
      Choice("per_device_train_batch_size", {4, 8, 16}),
      Choice("model_name_or_path", {"bert-base-uncased", "bert-base-multilingual-cased"}),
      Choice("optimizer_name", {"Adam", "AdamW", "SGD", "RAdam"}),
      {"sgd_momentum", {}, 0, 0.99, false},
      {"learning_rate", {}, 2e-5, 7e-5, false},
      Choice("scheduler_name",
             {"linear_with_warmup", "cosine_with_warmup", "cosine_with_hard_restarts_with_warmup",
              "polynomial_decay_with_warmup", "constant_with_warmup"}),
      {"weight_decay", {}, 1e-5, 1e-3, false},
      Choice("warmup_steps", {10, 100, 500}),
      Choice("gradient_accumulation_steps", {1, 4, 8, 16}),
      {"adam_epsilon", {}, 1e-8, 1e-6, false}};
  const auto checked = CheckedTrainer(trainer, space);
  INFO(checked.status());
  REQUIRE(checked.ok());
  for (const SearchedOption& option : space) CHECK_FALSE((*checked)["options"].contains(option.name));
  const auto options = ResolveOptions(*checked, {{"model_name_or_path", "bert-base-uncased"},
                                                 {"optimizer_name", "SGD"},
                                                 {"sgd_momentum", 0.5},
                                                 {"scheduler_name", "polynomial_decay_with_warmup"},
                                                 {"learning_rate", 3e-5},
                                                 {"warmup_steps", 100},
                                                 {"max_seq_length", 256}});
  INFO(options.status());
  REQUIRE(options.ok());
  CHECK(options->optimizer_name == Optimizer::kSgd);
  CHECK(options->scheduler_name == Schedule::kPolynomial);
  CHECK(options->sgd_momentum == 0.5);
  CHECK(options->adam_epsilon == 1e-8);  // inactive: the table's default
  CHECK(options->max_seq_length == 256);
  CHECK(options->warmup_steps == 100);
  CHECK(options->hidden_dropout == -1);
}

TEST_CASE("each optimiser and schedule has its name") {
  const auto with = [](const char* key, const char* value) {
    return ResolveOptions(Trainer(), {{key, value}});
  };
  CHECK(with("optimizer_name", "Adam")->optimizer_name == Optimizer::kAdam);
  CHECK(with("optimizer_name", "AdamW")->optimizer_name == Optimizer::kAdamW);
  CHECK(with("optimizer_name", "RAdam")->optimizer_name == Optimizer::kRAdam);
  CHECK(with("scheduler_name", "linear_with_warmup")->scheduler_name == Schedule::kLinear);
  CHECK(with("scheduler_name", "cosine_with_warmup")->scheduler_name == Schedule::kCosine);
  CHECK(with("scheduler_name", "cosine_with_hard_restarts_with_warmup")->scheduler_name ==
        Schedule::kCosineHardRestarts);
  CHECK(with("scheduler_name", "constant_with_warmup")->scheduler_name == Schedule::kConstant);
}

TEST_CASE("data and running keys are typed") {
  json trainer = Trainer();
  trainer["validation"] = {{"folds", 5}};
  trainer["text"] = {"question", "passage"};
  trainer["checkpoints"] = {{"every", "5m"}, {"keep_last", 2}};
  trainer["limit_rows"] = 100;
  trainer["evaluate_every"] = 0;
  trainer["split_seed"] = -3;
  trainer["options"]["dropout"] = 0;
  trainer["options"]["scheduler.cycles"] = 2;
  const auto options = ResolveOptions(trainer, json::object());
  INFO(options.status());
  REQUIRE(options.ok());
  CHECK(options->folds == 5);
  CHECK(options->validation_share == 0);
  CHECK(options->text_columns == std::vector<std::string>{"question", "passage"});
  CHECK(options->checkpoint_every_seconds == 300);
  CHECK(options->keep_last == 2);
  CHECK(options->limit_rows == 100);
  CHECK(options->evaluate_every == 0);
  CHECK(options->split_seed == -3);
  CHECK(options->hidden_dropout == 0);
  CHECK(options->scheduler_cycles == 2);
  CHECK(ResolveOptions(Changed("/validation", "/d/v.csv"), json::object())->validation_path == "/d/v.csv");
  CHECK(ResolveOptions(Changed("/validation", 0.25), json::object())->validation_share == 0.25);
}

TEST_CASE("faults of the trainer object are named by code and place") {
  struct Case {
    json trainer;
    const char* code;
    const char* where;
  };
  const std::vector<Case> cases = {
      {7, "E0441", "trainer"},
      {json::object(), "E0445", "trainer.type"},
      {Changed("/type", "text_clasification"), "E0442", "trainer.type"},
      {Changed("/type", 1), "E0441", "trainer.type"},
      {{{"type", "text_classification"}, {"options", {{"model_name_or_path", "m"}}}},
       "E0445",
       "trainer.train"},
      {{{"type", "text_classification"}, {"trian", "t"}}, "E0440", "trainer.trian"},
      {{{"type", "text_classification"}, {"train", "t"}}, "E0445", "trainer.options.model_name_or_path"},
      {Changed("/trian", "x"), "E0440", "trainer.trian"},
      {Changed("/learning_rate", 1e-5), "E0440", "trainer.learning_rate"},
      {Changed("/options/learning_rat", 1e-5), "E0440", "trainer.options.learning_rat"},
      {Changed("/options/train", "x"), "E0440", "trainer.options.train"},
      {Changed("/options/learning_rate", "fast"), "E0441", "trainer.options.learning_rate"},
      {Changed("/options/learning_rate", 0), "E0442", "trainer.options.learning_rate"},
      {Changed("/options/learning_rate", -1), "E0442", "trainer.options.learning_rate"},
      {Changed("/options/warmup_steps", 1.5), "E0441", "trainer.options.warmup_steps"},
      {Changed("/options/warmup_steps", -1), "E0442", "trainer.options.warmup_steps"},
      {Changed("/options/max_seq_length", 2), "E0442", "trainer.options.max_seq_length"},
      {Changed("/options/optimizer_name", "AdamWW"), "E0442", "trainer.options.optimizer_name"},
      {Changed("/options/optimizer_name", 3), "E0441", "trainer.options.optimizer_name"},
      {Changed("/options/model_name_or_path", ""), "E0442", "trainer.options.model_name_or_path"},
      {Changed("/options/head.sizes", 512), "E0441", "trainer.options.head.sizes"},
      {Changed("/options/head.sizes", ""), "E0442", "trainer.options.head.sizes"},
      {Changed("/options/head.sizes", "512,"), "E0442", "trainer.options.head.sizes"},
      {Changed("/options/head.sizes", "512,wide"), "E0442", "trainer.options.head.sizes"},
      {Changed("/options/head.sizes", "512,0"), "E0442", "trainer.options.head.sizes"},
      {Changed("/options/head.sizes", "65537"), "E0442", "trainer.options.head.sizes"},
      {Changed("/options/head.sizes", "1,2,3,4,5,6,7,8"), "E0442", "trainer.options.head.sizes"},
      {Changed("/options/head.last_layers", 0), "E0442", "trainer.options.head.last_layers"},
      {Changed("/options", 3), "E0441", "trainer.options"},
      {Changed("/train", 3), "E0441", "trainer.train"},
      {Changed("/train", ""), "E0442", "trainer.train"},
      {Changed("/validation", 0), "E0442", "trainer.validation"},
      {Changed("/validation", 1.0), "E0442", "trainer.validation"},
      {Changed("/validation", true), "E0441", "trainer.validation"},
      {Changed("/validation", {{"folds", 1}}), "E0442", "trainer.validation.folds"},
      {Changed("/validation", {{"folds", 3}, {"x", 1}}), "E0441", "trainer.validation"},
      {Changed("/text", json::array({"a", "b", "c"})), "E0441", "trainer.text"},
      {Changed("/text", json::array({"a", "a"})), "E0441", "trainer.text"},
      {Changed("/label", 1), "E0441", "trainer.label"},
      {Changed("/label", json::array({"a", "b"})), "E0441", "trainer.label"},
      {Changed("/label_separator", ";"), "E0442", "trainer.label_separator"},
      {Changed("/class_weights", "even"), "E0442", "trainer.class_weights"},
      {Changed("/class_weights", 2), "E0441", "trainer.class_weights"},
      {Changed("/class_weights", json::array()), "E0442", "trainer.class_weights"},
      {Changed("/class_weights", json::array({1, 0})), "E0442", "trainer.class_weights.1"},
      {Changed("/class_weights", {{"spam", "much"}}), "E0441", "trainer.class_weights.spam"},
      {Several("/class_weights", "balanced"), "E0443", "trainer.class_weights"},
      {Changed("/multi_label", "yes"), "E0441", "trainer.multi_label"},
      {Several("/label", json::array({"a", "a"})), "E0441", "trainer.label"},
      {Several("/label", json::array({"a"})), "E0441", "trainer.label"},
      {Several("/label_separator", ""), "E0442", "trainer.label_separator"},
      {Several("/regression", true), "E0443", "trainer.regression"},
      {Changed("/version", 2), "E0442", "trainer.version"},
      {Changed("/split_seed", 1.5), "E0441", "trainer.split_seed"},
      {Changed("/split_seed", 18446744073709551615u), "E0442", "trainer.split_seed"},
      {Changed("/evaluate_every", 0.5), "E0442", "trainer.evaluate_every"},
      {Changed("/threads", 0), "E0442", "trainer.threads"},
      {Changed("/precision", "fp16"), "E0442", "trainer.precision"},
      {Changed("/precision", 16), "E0441", "trainer.precision"},
      {Changed("/limit_rows", 0), "E0442", "trainer.limit_rows"},
      {Changed("/checkpoints", 5), "E0441", "trainer.checkpoints"},
      {Changed("/checkpoints", {{"evry", 5}}), "E0440", "trainer.checkpoints.evry"},
      {Changed("/checkpoints", {{"every", "soon"}}), "E0441", "trainer.checkpoints.every"},
      {Changed("/checkpoints", {{"every", -1}}), "E0442", "trainer.checkpoints.every"},
      {Changed("/time_limit", "soon"), "E0441", "trainer.time_limit"},
      {Changed("/time_limit", 0), "E0442", "trainer.time_limit"},
      {Changed("/checkpoints", {{"keep_last", 0}}), "E0442", "trainer.checkpoints.keep_last"},
      {Changed("/data", "d.json"), "E0443", "trainer.train"}};
  for (const Case& c : cases) {
    const absl::Status status = CheckedTrainer(c.trainer, {}).status();
    INFO(c.trainer << ": " << status);
    CHECK(CodeOf(status) == c.code);
    CHECK(WhereOf(status) == c.where);
    if (!status.ok()) CHECK_FALSE(GetErrorDetail(status)->mend.empty());
  }
  const std::string mend = GetErrorDetail(CheckedTrainer(Changed("/learning_rate", 1e-5), {}).status())->mend;
  CHECK_THAT(mend, Catch::Contains("trainer.options"));
}

TEST_CASE("faults of the space are named by code and place") {
  struct Case {
    SearchedOption option;
    const char* code;
  };
  const std::vector<Case> cases = {{Choice("learning_rat", {1e-5, 2e-5}), "E0444"},
                                   {Choice("threads", {1, 2}), "E0444"},
                                   {Choice("model_name_or_path", {"a", "b"}), "E0443"},
                                   {Choice("optimizer_name", {"AdamW", "Lion"}), "E0442"},
                                   {Choice("per_device_train_batch_size", {4, 0}), "E0442"},
                                   {Choice("per_device_train_batch_size", {"4"}), "E0441"},
                                   {{"learning_rate", {}, 0, 1e-4, false}, "E0442"},
                                   {{"sgd_momentum", {}, 0, 1.5, false}, "E0442"},
                                   {{"warmup_steps", {}, 10, 500, false}, "E0441"},
                                   {{"scheduler_name", {}, 0, 1, false}, "E0441"}};
  for (const Case& c : cases) {
    const absl::Status status = CheckedTrainer(Trainer(), {c.option}).status();
    INFO(c.option.name << ": " << status);
    CHECK(CodeOf(status) == c.code);
    CHECK(WhereOf(status) == "space." + c.option.name);
  }
  CHECK(CheckedTrainer(Trainer(), {{"warmup_steps", {}, 10, 500, true}}).ok());
}

TEST_CASE("a command trainer is checked by its own keys alone") {
  const json trainer = {{"type", "command"},
                        {"argv", {"python3", "train.py"}},
                        {"train", "/d/a.csv"},
                        {"options", {{"anything", {1, 2}}}}};
  const auto checked = CheckedTrainer(trainer, {Choice("depth", {1, 2}), {"rate", {}, 0, 1, false}});
  INFO(checked.status());
  REQUIRE(checked.ok());
  CHECK((*checked)["deterministic"] == false);
  CHECK(CheckedTrainer(*checked, {})->dump() == checked->dump());
  const auto code = [&](const char* pointer, const json& value) {
    json changed = trainer;
    changed[json::json_pointer(pointer)] = value;
    return CodeOf(CheckedTrainer(changed, {Choice("depth", {1, 2})}).status());
  };
  CHECK(code("/argv", "python3 train.py") == "E0441");
  CHECK(code("/argv", json::array()) == "E0442");
  CHECK(code("/env", {{"A", 1}}) == "E0441");
  CHECK(code("/env", {{"A", "x=y"}}) == "ok");
  CHECK(code("/env", {{"", "x"}}) == "E0442");
  CHECK(code("/env", {{"A=B", "x"}}) == "E0442");
  CHECK(code("/env", {{std::string("A\0B", 3), "x"}}) == "E0442");
  CHECK(code("/env", {{"A", std::string("x\0y", 3)}}) == "E0442");
  CHECK(code("/pass_env", "PATH") == "E0441");
  CHECK(code("/deterministic", "yes") == "E0441");
  CHECK(code("/argw", 1) == "E0440");
  CHECK(code("/time_limit", "-1m") == "E0442");
  CHECK(code("/time_limit", "30m") == "ok");
  CHECK(code("/options/depth", 1) == "E0443");
  CHECK(CodeOf(CheckedTrainer({{"type", "command"}}, {}).status()) == "E0445");
}

TEST_CASE("a data description names its files relative to itself") {
  const TemporaryDirectory directory;
  const std::string path = directory.Write(
      "sets/a.json",
      R"({"name":"a","train":"train.csv","validation":"../v.csv","text":"body","label":"class"})");
  const json trainer = {{"type", "text_classification"}, {"options", {{"model_name_or_path", "m"}}}};
  REQUIRE(CheckedTrainer(trainer, {Choice("data", {"sets/a.json"})}).ok());
  auto options = ResolveOptions(trainer, {{"data", "sets/a.json"}});
  INFO(options.status());
  REQUIRE(options.ok());
  CHECK(options->data == "sets/a.json");
  REQUIRE(ApplyDataDescription(path, &*options).ok());
  CHECK(options->train == directory.path() + "/sets/train.csv");
  CHECK(options->validation_path == directory.path() + "/v.csv");
  CHECK(options->text_columns == std::vector<std::string>{"body"});
  CHECK(options->label_columns == std::vector<std::string>{"class"});
  const auto code = [&](const std::string& text) {
    return CodeOf(ApplyDataDescription(directory.Write("b.json", text), &*options));
  };
  CHECK(code("[]") == "E0441");
  CHECK(code("{}") == "E0445");
  CHECK(code(R"({"train":"a","tset":"b"})") == "E0440");
  CHECK(code(R"({"train":"a","validation":2})") == "E0442");
  CHECK(CodeOf(ApplyDataDescription("/nowhere.json", &*options)) == "E0409");
}

// A study with a real (tiny) model and data in `directory`.
json StudyTrainer(const TemporaryDirectory& directory) {
  std::string rows = "sentence,label\n";
  for (int i = 0; i < 20; ++i) rows += absl::StrFormat("hello %d,%s\n", i, i % 4 == 0 ? "spam" : "ham");
  return {{"type", "text_classification"},
          {"train", directory.Write("train.csv", rows)},
          {"validation", 0.2},
          {"test", directory.Write("test.csv", "sentence,label\nfree money,spam\n")},
          {"options", {{"model_name_or_path", WriteTinyModel(directory, "tiny")}, {"max_seq_length", 16}}}};
}

TEST_CASE("the check before a study reads data and model") {
  const TemporaryDirectory directory;
  const json trainer = StudyTrainer(directory);
  const auto checked = CheckInputs(trainer, {}, directory.path());
  INFO(checked.status());
  REQUIRE(checked.ok());
  CHECK(checked->train_rows == 16);
  // Two data files and the model's config.json, model.safetensors and vocab.txt: its bytes are part of a
  // result's identity.
  CHECK(checked->data_sha256.size() == 5);
  CHECK(checked->inputs == std::vector<std::pair<std::string, std::string>>{
                               {directory.path() + "/tiny", directory.path() + "/tiny"}});
  CHECK(checked->warnings.empty());
  REQUIRE(checked->classes.size() == 1);
  CHECK(checked->classes[0].rows == 16);
  CHECK(checked->classes[0].classes ==
        std::vector<std::pair<std::string, int64_t>>{{"ham", 12}, {"spam", 4}});
  json folds = trainer;
  folds["validation"] = {{"folds", 4}};
  CHECK(CheckInputs(folds, {}, "")->train_rows == 15);
  folds["validation"] = {{"folds", 21}};
  CHECK(CodeOf(CheckInputs(folds, {}, "").status()) == "E0412");
  json cut = trainer;
  cut["limit_rows"] = 5;
  CHECK(CheckInputs(cut, {}, "")->train_rows == 5);
  CHECK(CheckInputs(cut, {}, "")->warnings.size() == 1);
  json copies = trainer;
  copies["test"] = copies["train"];
  CHECK_THAT(CheckInputs(copies, {}, "")->warnings.at(0), Catch::Contains("of 20 test texts"));
}

TEST_CASE("a missing file, model or length is placed where the study names it") {
  const TemporaryDirectory directory;
  const json trainer = StudyTrainer(directory);
  const auto where = [&](const char* pointer, const json& value,
                         const std::vector<SearchedOption>& searched = {}) {
    json changed = trainer;
    changed[json::json_pointer(pointer)] = value;
    return WhereOf(CheckInputs(changed, searched, directory.path()).status());
  };
  CHECK(where("/train", "/nowhere.csv") == "trainer.train");
  CHECK(where("/test", "/nowhere.csv") == "trainer.test");
  CHECK(where("/train", directory.path()) == "trainer.train");
  CHECK(where("/options/model_name_or_path", "org/none") == "trainer.options.model_name_or_path");
  CHECK(where("/options/max_seq_length", 17) == "trainer.options.max_seq_length");
  json searched = trainer;
  searched["options"].erase("max_seq_length");
  CHECK(WhereOf(CheckInputs(searched, {Choice("max_seq_length", {16, 17})}, directory.path()).status()) ==
        "space.max_seq_length");
}

TEST_CASE("a command's directory, program and script must be there") {
  const TemporaryDirectory directory;
  directory.Write("train.py", "");
  directory.Write("plain", "");
  const auto check = [&](const json& argv, const json& more = json::object()) {
    json trainer = {{"type", "command"}, {"argv", argv}};
    trainer.update(more);
    const absl::Status status = CheckInputs(trainer, {}, directory.path()).status();
    return status.ok() ? "ok" : CodeOf(status) + " " + WhereOf(status);
  };
  CHECK(check({"sh", "-c", "cd x && ./any.sh"}) == "ok");
  CHECK(check({"/bin/sh"}) == "ok");
  CHECK(check({"sh", "-e", "train.py", "no.py"}) == "ok");
  CHECK(check({"no-such-program-of-rung"}) == "E0721 #/trainer/argv/0");
  CHECK(check({"sh"}, {{"env", {{"PATH", "/nowhere"}}}}) == "E0721 #/trainer/argv/0");
  CHECK(check({"./plain"}) == "E0721 #/trainer/argv/0");  // not executable
  CHECK(check({"./none"}) == "E0721 #/trainer/argv/0");
  CHECK(check({"sh", "-e", "none.py"}) == "E0721 #/trainer/argv/2");
  CHECK(check({"sh", "train.py"}, {{"cwd", "/nowhere"}}) == "E0721 #/trainer/cwd");
}

TEST_CASE("the program of a command that says it is deterministic is one of the study's files") {
  const TemporaryDirectory directory;
  directory.Write("train.py", "print(1)");
  const auto files = [&](const json& argv, bool deterministic) {
    std::set<std::string> names;
    const json trainer = {{"type", "command"}, {"argv", argv}, {"deterministic", deterministic}};
    const auto checked = CheckInputs(trainer, {}, directory.path());
    INFO(checked.status());
    REQUIRE(checked.ok());
    for (const auto& [path, sha256] : checked->data_sha256) names.insert(path);
    return names;
  };
  const std::string script = directory.path() + "/train.py";
  CHECK(files({"sh", "-e", "train.py"}, true) == std::set<std::string>{script});
  // Not an interpreter, which may be another one on the next node.
  CHECK(files({"/bin/sh", "train.py"}, true) == std::set<std::string>{script});
  std::filesystem::create_symlink("/bin/sh", directory.path() + "/sh");
  CHECK(files({"./sh", "train.py"}, true) == std::set<std::string>{script});
  const std::string program = directory.Write("bin/train", "#!/bin/sh\n");
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  CHECK(files({"bin/train", "train.py"}, true) == std::set<std::string>{program, script});
  CHECK(files({program}, true) == std::set<std::string>{program});
  const TemporaryDirectory elsewhere;  // a program of one's own beside the study
  const std::string built = elsewhere.Write("train", "#!/bin/sh\n");
  std::filesystem::permissions(built, std::filesystem::perms::owner_all);
  CHECK(files({built}, true) == std::set<std::string>{built});
  CHECK(files({"/bin/sh", "train.py"}, false).empty());  // its results are never copied, and it may be mended
}

TEST_CASE("a metric that is the beginning of several names them") {
  const TemporaryDirectory directory;
  const auto mend = [&](const char* metric) {
    return GetErrorDetail(CheckMetric(StudyTrainer(directory), metric))->mend;
  };
  CHECK(mend("validation/f1") ==
        "Take one of validation/f1_macro, validation/f1_weighted, validation/f1_micro");
  CHECK(mend("validation/acuracy") == "Did you mean \"validation/accuracy\"?");
  CHECK(mend("test/accuracy") == "Did you mean \"validation/accuracy\"?");
}

TEST_CASE("a range's ends are shown in full, and a name in another case is recognised") {
  const OptionRow& length = *FindOption("max_seq_length");
  CHECK(GetErrorDetail(CheckOption(length, 16.5, "w"))->mend == "Give an integer from 4 to 1048576");
  CHECK(GetErrorDetail(CheckOption(*FindOption("optimizer_name"), "adamw", "w"))->mend ==
        "Did you mean \"AdamW\"?");
}

TEST_CASE("a name near an option's, or near what others call it, is recognised; for others all are listed") {
  const auto mend = [](const std::string& name) {
    const absl::Status fixed = CheckedTrainer(Changed(("/options/" + name).c_str(), 1), {}, 0).status();
    const absl::Status searched = CheckedTrainer(Trainer(), {Choice(name, {1, 2})}, 0).status();
    CHECK(CodeOf(fixed) == "E0440");
    CHECK(CodeOf(searched) == "E0444");
    CHECK(GetErrorDetail(fixed)->mend == GetErrorDetail(searched)->mend);
    return GetErrorDetail(fixed)->mend;
  };
  CHECK(mend("optimzer") == "Did you mean \"optimizer_name\"?");
  CHECK(mend("learning_rat") == "Did you mean \"learning_rate\"?");
  CHECK(mend("optimizer") == "The option is \"optimizer_name\"");
  CHECK_THAT(mend("zzzzzz"), Catch::StartsWith("The options are ") && Catch::Contains("optimizer_name"));
}

TEST_CASE("docs/study-file.md names every option of the trainer") {
  const std::string page = ReadFile(std::string(RUNG_SOURCE_DIR) + "/docs/study-file.md").value_or("");
  for (const std::string& name : OptionNames()) {
    INFO(name);
    CHECK(page.find("`" + name + "`") != std::string::npos);
  }
}

TEST_CASE("the check before a study finds faults of data and model") {
  const TemporaryDirectory directory;
  const json trainer = StudyTrainer(directory);
  const auto code = [&](const char* pointer, const json& value,
                        const std::vector<SearchedOption>& searched = {}) {
    json changed = trainer;
    changed[json::json_pointer(pointer)] = value;
    return CodeOf(CheckInputs(changed, searched, directory.path()).status());
  };
  CHECK(code("/train", "/nowhere.csv") == "E0409");
  CHECK(code("/train", directory.Write("empty.csv", "")) == "E0401");
  CHECK(code("/train", directory.Write("one.csv", "sentence,label\nx,a\ny,a\n")) == "E0405");
  CHECK(code("/train", directory.Write("two.csv", "sentence,label\nx,ham\ny,spam\n")) == "E0412");
  CHECK(code("/label", "class") == "E0402");
  CHECK(code("/validation", directory.Write("v.csv", "sentence,label\nx,eggs\n")) == "E0406");
  CHECK(code("/test", directory.Write("t.csv", "sentence,label\n\"x,ham\n")) == "E0407");
  CHECK(code("/options/model_name_or_path", "org/none") == "E0432");
  CHECK(code("/options/max_seq_length", 17) == "E0442");
  CHECK(code("/options/head.last_layers", 1) == "ok");
  CHECK(code("/options/head.last_layers", 2) == "E0442");
  const std::vector<SearchedOption> models = {Choice("model_name_or_path", {"tiny", "bare"})};
  directory.Write("bare/config.json", TinyConfig().dump());
  json searched = trainer;
  searched["options"].erase("model_name_or_path");
  CHECK(CodeOf(CheckInputs(searched, models, directory.path()).status()) == "E0438");
  directory.Write("bare/model.safetensors", SafetensorsOf(TinyWeights()));
  CHECK(CodeOf(CheckInputs(searched, models, directory.path()).status()) == "E0420");
  directory.Write("bare/vocab.txt", std::string(kTinyVocabulary) + "more\n");
  CHECK(CodeOf(CheckInputs(searched, models, directory.path()).status()) == "E0421");
  directory.Write("bare/vocab.txt", kTinyVocabulary);
  const auto checked = CheckInputs(searched, models, directory.path());
  REQUIRE(checked.ok());
  CHECK(checked->inputs.size() == 2);
}

TEST_CASE("where labels look like texts the mend says that the columns may be swapped") {
  const TemporaryDirectory directory;
  json trainer = StudyTrainer(directory);
  trainer["text"] = "label";
  trainer["label"] = "sentence";
  const auto mend = [&](const char* code) {
    const absl::Status status = CheckInputs(trainer, {}, directory.path()).status();
    CHECK(CodeOf(status) == code);
    return GetErrorDetail(status).value_or(ErrorDetail{}).mend;
  };
  CHECK_THAT(mend("E0412"), Catch::Contains("trainer.label are swapped"));
  trainer["validation"] = directory.Write("v.csv", "sentence,label\nhello there,ham\n");
  CHECK_THAT(mend("E0406"), Catch::Contains("trainer.label are swapped"));
  trainer["train"] = directory.Write("few.csv", "sentence,label\nhello,ham\nbye,spam\n");
  CHECK_THAT(mend("E0406"), !Catch::Contains("swapped"));
}

TEST_CASE("the check before a study finds what the trainer would refuse at its start") {
  const TemporaryDirectory directory;
  json trainer = StudyTrainer(directory);
  std::string rows = "question,passage,label\n";
  for (int i = 0; i < 20; ++i) rows += absl::StrFormat("hello %d,world,%s\n", i, i % 4 == 0 ? "spam" : "ham");
  trainer["train"] = directory.Write("pairs.csv", rows);
  trainer.erase("test");
  trainer["text"] = {"question", "passage"};
  CHECK(CheckInputs(trainer, {}, directory.path()).ok());

  json config = TinyConfig();
  config["type_vocab_size"] = 1;
  NamedShapes weights = TinyWeights();
  for (auto& [name, shape] : weights) {
    if (name == "embeddings.token_type_embeddings.weight") shape = {1, 4};
  }
  WriteTinyModel(directory, "single");
  directory.Write("single/config.json", config.dump());
  directory.Write("single/model.safetensors", SafetensorsOf(weights));
  trainer["options"]["model_name_or_path"] = "single";
  const absl::Status single = CheckInputs(trainer, {}, directory.path()).status();
  CHECK(CodeOf(single) == "E0434");
  CHECK(WhereOf(single) == directory.path() + "/single/config.json");
  trainer["text"] = "question";
  CHECK(CheckInputs(trainer, {}, directory.path()).ok());

  // Same bytes a number as float32, and no weights.
  std::string bytes = SafetensorsOf(TinyWeights());
  for (size_t at = 0; (at = bytes.find("F32", at)) != std::string::npos;) bytes.replace(at, 3, "I32");
  directory.Write("tiny/model.safetensors", bytes);
  trainer["options"]["model_name_or_path"] = "tiny";
  CHECK(CodeOf(CheckInputs(trainer, {}, directory.path()).status()) == "E0436");
}

TEST_CASE("errors quote the beginning of a long value or name") {
  const std::string longer(40000, 'x');
  for (const json& trainer :
       {Changed("/options/optimizer_name", longer), Changed(("/" + longer).c_str(), 1)}) {
    const absl::Status status = CheckedTrainer(trainer, {}).status();
    REQUIRE_FALSE(status.ok());
    CHECK(GetErrorDetail(status)->message.size() < 1000);
    CHECK(GetErrorDetail(status)->value.size() < 1000);
  }
}

TEST_CASE("options by the names of other tools are told what they are called here") {
  const auto mend = [](const char* place, const json& value) {
    return GetErrorDetail(ResolveOptions(Changed(place, value), json::object()).status())->mend;
  };
  CHECK_THAT(mend("/options/num_train_epochs", 3), Catch::Contains("\"unit\": \"epochs\""));
  CHECK_THAT(mend("/num_train_epochs", 3), Catch::Contains("\"unit\": \"epochs\""));
  CHECK_THAT(mend("/options/lr_scheduler_type", "linear"), Catch::Contains("\"scheduler_name\""));
  CHECK_THAT(mend("/options/seed", 1), Catch::Contains("\"seeds\""));
}

TEST_CASE("a study is judged by a metric that its trainer gives") {
  for (const char* metric :
       {"validation/accuracy", "validation/f1_macro", "train/loss", "validation/seconds"}) {
    CHECK(CheckMetric(Trainer(), metric).ok());
  }
  const absl::Status status = CheckMetric(Trainer(), "validation/acuracy");
  CHECK(CodeOf(status) == "E0757");
  CHECK(WhereOf(status) == "objective.metric");
  CHECK_THAT(GetErrorDetail(status)->mend, Catch::Contains("validation/accuracy"));
  CHECK(CodeOf(CheckMetric(Trainer(), "accuracy")) == "E0757");
  for (const char* metric : {"eval_accuracy", "val/accuracy", "dev_accuracy"}) {
    CHECK_THAT(GetErrorDetail(CheckMetric(Trainer(), metric))->mend,
               Catch::Contains("Did you mean \"validation/accuracy\""));
  }
  CHECK(CheckMetric({{"type", "command"}, {"argv", {"x"}}}, "whatever").ok());
}

TEST_CASE("rows with several labels, or a number") {
  const json columns = json::array({"anger", "joy"});
  const auto flags = ResolveOptions(Several("/label", columns), json::object());
  INFO(flags.status());
  REQUIRE(flags.ok());
  CHECK(flags->task == Task::kMultiLabel);
  CHECK(flags->label_columns == std::vector<std::string>{"anger", "joy"});
  CHECK(ModelOptionsOf(*flags).task == Task::kMultiLabel);
  const auto names = ResolveOptions(Several("/label_separator", ";"), json::object());
  CHECK(names->label_columns == std::vector<std::string>{"label"});
  CHECK(names->label_separator == ";");
  CHECK(ResolveOptions(Changed("/regression", true), json::object())->task == Task::kRegression);
  CHECK(ResolveOptions(Changed("/regression", false), json::object())->task == Task::kSingleLabel);
  // What is not said is not filled in: the identity of results that were known before stays.
  CHECK_FALSE(CheckedTrainer(Trainer(), {})->contains("multi_label"));

  const TemporaryDirectory directory;
  const std::string path = directory.Write("a.json", R"({"train":"t.csv","label":["anger","joy"]})");
  json described = {
      {"type", "text_classification"}, {"data", path}, {"options", {{"model_name_or_path", "m"}}}};
  auto options = ResolveOptions(described, json::object());
  CHECK(CodeOf(ApplyDataDescription(path, &*options)) == "E0441");
  described["multi_label"] = true;
  options = ResolveOptions(described, json::object());
  REQUIRE(ApplyDataDescription(path, &*options).ok());
  CHECK(options->label_columns == std::vector<std::string>{"anger", "joy"});

  json study = StudyTrainer(directory);
  study.erase("test");
  study["multi_label"] = true;
  study["label"] = columns;
  study["train"] = directory.Write("m.csv", "sentence,anger,joy\na,0,1\nb,1,1\nc,0,0\nd,2,0\n");
  const absl::Status bad = CheckInputs(study, {}, directory.path()).status();
  CHECK(CodeOf(bad) == "E0414");
  CHECK_THAT(WhereOf(bad), Catch::EndsWith("m.csv:5"));
  study["train"] = directory.Write("m.csv", "sentence,anger,joy\na,0,1\nb,1,1\nc,0,0\nd,1,0\n");
  CHECK(CheckInputs(study, {}, directory.path()).ok());
}

TEST_CASE("class weights: balanced by the training rows, listed, or named") {
  const TemporaryDirectory directory;
  json trainer = StudyTrainer(directory);
  std::string rows = "sentence,label\n";
  for (int i = 0; i < 12; ++i) rows += absl::StrFormat("text %d,%s\n", i, i < 2 ? "c" : i < 5 ? "b" : "a");
  trainer["train"] = directory.Write("three.csv", rows);
  trainer["validation"] = directory.Write("v.csv", "sentence,label\nx,b\ny,c\n");
  trainer.erase("test");
  const auto data = [&](const json& weights) {
    json changed = trainer;
    if (!weights.is_null()) changed["class_weights"] = weights;
    const auto options = ResolveOptions(changed, json::object());
    REQUIRE(options.ok());
    return LoadStudyData(*options, std::nullopt);
  };
  const auto weights = [&](const json& wanted) {
    const auto loaded = data(wanted);
    INFO(loaded.status());
    REQUIRE(loaded.ok());
    // Of c, b, a in training, then of b, c in validation.
    return std::vector<float>{loaded->train[0].weight, loaded->train[2].weight, loaded->train[5].weight,
                              loaded->validation[0].weight, loaded->validation[1].weight};
  };
  CHECK(weights(nullptr) == std::vector<float>{1, 1, 1, 1, 1});
  CHECK(weights("balanced") ==
        std::vector<float>{2, 12.0F / 9, 12.0F / 21, 12.0F / 9, 2});  // scikit-learn's compute_class_weight
  CHECK(weights({3, 2, 1}) == std::vector<float>{1, 2, 3, 2, 1});
  CHECK(weights({{"b", 5}}) == std::vector<float>{1, 5, 1, 5, 1});
  CHECK(CodeOf(data({3, 2}).status()) == "E0415");
  CHECK(CodeOf(data({{"d", 2}}).status()) == "E0415");
  trainer["class_weights"] = {{"d", 2}};
  const absl::Status checked = CheckInputs(trainer, {}, directory.path()).status();
  CHECK(CodeOf(checked) == "E0415");
  CHECK(WhereOf(checked) == "trainer.class_weights");
}

TEST_CASE("a variant says how much of a model is trained, in the place of peft.method") {
  CHECK(ResolveOptions(Trainer(), {{"variant", "lora"}})->peft_method == PeftMethod::kLora);
  CHECK(ResolveOptions(Trainer(), {{"variant", "full"}})->peft_method == PeftMethod::kNone);
  CHECK(ResolveOptions(Trainer(), {{"variant", "evaluate"}})->variant == Variant::kEvaluate);
  CHECK(CodeOf(ResolveOptions(Trainer(), {{"variant", "half"}}).status()) == "E0442");
  const absl::Status fixed =
      CheckedTrainer(Changed("/options/peft.method", "lora"), {Choice("variant", {"full", "lora"})}).status();
  CHECK(CodeOf(fixed) == "E0443");
  CHECK(WhereOf(fixed) == "trainer.options.peft.method");
  const absl::Status searched =
      CheckedTrainer(Changed("/options/variant", "lora"), {Choice("peft.method", {"none", "lora"})}).status();
  CHECK(CodeOf(searched) == "E0443");
  CHECK(WhereOf(searched) == "space.peft.method");
}

TEST_CASE("the widths of a head are listed in the place of their number and size") {
  const auto widths = [](const json& config) {
    const auto options = ResolveOptions(Trainer(), config);
    INFO(options.status());
    REQUIRE(options.ok());
    return ModelOptionsOf(*options).head.Widths(24);
  };
  CHECK(widths(json::object()) == std::vector<int>{24});
  CHECK(widths({{"head.layers", 3}, {"head.size", 12}}) == std::vector<int>{12, 12});
  CHECK(widths({{"head.layers", 1}}).empty());
  CHECK(widths({{"head.sizes", "512,128"}}) == std::vector<int>{512, 128});
  CHECK(widths({{"head.sizes", "7"}}) == std::vector<int>{7});
  for (const char* other : {"head.layers", "head.size"}) {
    const absl::Status both =
        CheckedTrainer(Changed("/options/head.sizes", "512"), {Choice(other, {1, 2})}).status();
    CHECK(CodeOf(both) == "E0443");
    CHECK(WhereOf(both) == std::string("space.") + other);
  }
}

TEST_CASE("what an exported model keeps of its head makes the same head") {
  for (const json& config :
       {json::object(), json{{"head.type", "fc"}, {"head.sizes", "16,8"}},
        json{{"head.type", "fc"}, {"head.layers", 3}, {"head.size", 5}, {"head.pool", "max"}},
        json{{"head.type", "attention"}, {"head.last_layers", 2}, {"head.dim", 6}}}) {
    INFO(config);
    const auto options = ResolveOptions(Trainer(), config);
    REQUIRE(options.ok());
    const HeadOptions head = ModelOptionsOf(*options).head;
    const auto kept = HeadOptionsFromJson(HeadOptionsJson(*options));
    INFO(kept.status());
    REQUIRE(kept.ok());
    CHECK(kept->head.type == head.type);
    CHECK(kept->head.Widths(24) == head.Widths(24));
    CHECK(kept->head.pool == head.pool);
    CHECK(kept->head.dim == head.dim);
    CHECK(kept->head.last_layers == head.last_layers);
  }
}

TEST_CASE("a task is judged by its own metrics") {
  const json several = Several("/label", json::array({"a", "b"})), number = Changed("/regression", true);
  CHECK(CheckMetric(several, "validation/f1_macro").ok());
  CHECK(CodeOf(CheckMetric(several, "validation/mcc")) == "E0757");
  CHECK(CodeOf(CheckMetric(several, "validation/pearson")) == "E0757");
  CHECK(CheckMetric(number, "validation/pearson").ok());
  CHECK(CheckMetric(number, "train/loss").ok());
  CHECK(CodeOf(CheckMetric(number, "train/pearson")) == "E0757");
  const absl::Status accuracy = CheckMetric(number, "validation/accuracy");
  CHECK(CodeOf(accuracy) == "E0757");
  CHECK_THAT(GetErrorDetail(accuracy)->mend, !Catch::Contains("validation/accuracy"));
  CHECK(CodeOf(CheckMetric(Trainer(), "validation/pearson")) == "E0757");
}

TEST_CASE("every searched data set is read, and its files are hashed") {
  const TemporaryDirectory directory;
  json trainer = StudyTrainer(directory);
  for (const char* key : {"train", "validation", "test"}) trainer.erase(key);
  directory.Write("a.json", R"({"train": "train.csv", "validation": 0.5})");
  directory.Write("b.json", R"({"train": "train.csv", "validation": 0.2, "test": "test.csv"})");
  const auto checked = CheckInputs(trainer, {Choice("data", {"a.json", "b.json"})}, directory.path());
  INFO(checked.status());
  REQUIRE(checked.ok());
  CHECK(checked->train_rows == 10);
  CHECK(checked->inputs.size() == 3);
  CHECK(checked->data_sha256.size() == 7);
  directory.Write("b.json", R"({"train": "missing.csv"})");
  CHECK(CodeOf(CheckInputs(trainer, {Choice("data", {"a.json", "b.json"})}, directory.path()).status()) ==
        "E0409");
  const json command = {{"type", "command"}, {"argv", {"sh"}}};
  CHECK(CodeOf(CheckInputs(command, {Choice("data", {"b.json"})}, directory.path()).status()) == "E0409");
  const auto ran = CheckInputs(command, {Choice("data", {"a.json"})}, directory.path());
  REQUIRE(ran.ok());
  CHECK(ran->data_sha256.size() == 2);
}

}  // namespace
}  // namespace rung
