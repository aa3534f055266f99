// The determinism contract: weights are a function of the config, options, data, seed, T and updates done. A
// test per clause.
#include <algorithm>
#include <set>

#include "tests/worker/training/small_world.h"
#include "worker/training/run_plan.h"

namespace rung {
namespace {

json WithBudget(json trial, double to, double max) {
  trial["budget"]["to"] = to;
  trial["budget"]["max"] = max;
  return trial;
}

}  // namespace

TEST_CASE("the same attempt twice gives the same weights and metrics to the bit") {
  SmallWorld world;
  const json first = world.Trial(), second = world.Trial();
  const auto a = world.Run(first), b = world.Run(second);
  REQUIRE(a.last()["type"] == "result");
  CHECK(a.last()["values"] == b.last()["values"]);
  CHECK(world.WeightsAt(first, 13) == world.WeightsAt(second, 13));
  json other = world.Trial();
  other["seed"] = 43;
  CHECK(world.Weights(other) != world.WeightsAt(first, 13));
}

TEST_CASE("trial, rung, replicate and attempt numbers do not matter") {
  SmallWorld world;
  json other = world.Trial();
  other["trial"] = 99;
  other["rung"] = 3;
  other["replicate"] = 2;
  other["attempt"] = 7;
  CHECK(world.Weights(world.Trial()) == world.Weights(other));
}

TEST_CASE("evaluations in between do not matter") {
  SmallWorld world;
  json never = WithBudget(world.Trial(), 3, 3), often = WithBudget(world.Trial(), 3, 3);
  never["trainer"]["evaluate_every"] = 0;
  often["trainer"]["evaluate_every"] = 1;
  const auto evaluations = [&](const json& trial) {
    const auto outcome = world.Run(trial);
    return std::count_if(outcome.lines.begin(), outcome.lines.end(),
                         [](const json& line) { return line["type"] == "metric"; });
  };
  CHECK(evaluations(never) == 1);
  CHECK(evaluations(often) == 3);
  CHECK(world.WeightsAt(never, 39) == world.WeightsAt(often, 39));
}

TEST_CASE("a budget only cuts: a rung's weights are those of the longer run at that update") {
  SmallWorld world;
  json longer = WithBudget(world.Trial(), 3, 3);
  longer["trainer"]["checkpoints"]["every"] = 0.5;  // the clock moves a second a look: one at every update
  const json shorter = WithBudget(world.Trial(), 0.5, 3);
  world.Weights(longer);
  CHECK(world.Weights(shorter) == world.WeightsAt(longer, 7));  // 13 updates an epoch; 6.5 rounds up
}

TEST_CASE("the number of resumes does not matter") {
  SmallWorld world;
  const json straight = WithBudget(world.Trial(), 3, 3);
  json previous = WithBudget(world.Trial(), 1.0 / 3, 3);
  world.Weights(previous);
  for (const double to : {1.0, 1.5, 3.0}) {
    json next = WithBudget(world.Trial(), to, 3);
    next["resume_dir"] = previous["checkpoint_dir"];
    world.Weights(next);
    previous = next;
  }
  CHECK(world.Weights(straight) == world.WeightsAt(previous, 39));
}

TEST_CASE("resumed training equals uninterrupted training to the bit, metrics too") {
  SmallWorld world;
  for (const json& config :
       {json{{"optimizer_name", "AdamW"}}, json{{"optimizer_name", "SGD"}, {"sgd_momentum", 0.9}},
        json{{"optimizer_name", "RAdam"}, {"gradient_accumulation_steps", 4}},
        json{{"optimizer_name", "Adam"}, {"weight_decay", 0.001}}}) {
    const json straight = WithBudget(world.Trial(config), 2, 3);
    const auto whole = world.Run(straight);
    REQUIRE(whole.last()["type"] == "result");
    json interrupted = WithBudget(world.Trial(config), 2, 3);
    SteppingClock clock;
    Requests requests;
    clock.on_look = [&](int64_t look) { requests.stop = look >= 14; };
    const auto released = world.Run(interrupted, &clock, &requests);
    REQUIRE(released.end == AttemptEnd::kReleased);
    REQUIRE(released.last()["type"] == "checkpoint");
    json again = WithBudget(world.Trial(config), 2, 3);
    again["resume_dir"] = interrupted["checkpoint_dir"];
    const auto resumed = world.Run(again);
    const int64_t updates = whole.last()["values"]["train/updates"];
    CHECK(world.WeightsAt(again, updates) == world.WeightsAt(straight, updates));
    for (const char* name :
         {"train/loss", "train/f1_macro", "validation/loss", "train/rows", "train/budget"}) {
      CHECK(resumed.last()["values"][name] == whole.last()["values"][name]);
    }
  }
}

TEST_CASE("it holds with rounded products too, and a study from before they were there is not rounded") {
  SmallWorld world;
  json straight = WithBudget(world.Trial(), 2, 3), first = WithBudget(world.Trial(), 1, 3);
  json second = WithBudget(world.Trial(), 2, 3), exact = WithBudget(world.Trial(), 2, 3);
  for (json* trial : {&straight, &first, &second}) (*trial)["trainer"]["precision"] = "bf16";
  exact["trainer"]["precision"] = "fp32";
  second["resume_dir"] = first["checkpoint_dir"];
  world.Weights(first);
  CHECK(world.Weights(straight) == world.Weights(second));
  CHECK(world.Weights(exact) == world.Weights(WithBudget(world.Trial(), 2, 3)));
}

TEST_CASE("T is part of it: the schedule is laid out for budget.max, or for the rung") {
  SmallWorld world;
  const std::string to_3 = world.Weights(WithBudget(world.Trial(), 1, 3));
  CHECK(to_3 != world.Weights(WithBudget(world.Trial(), 1, 9)));
  json restart = WithBudget(world.Trial(), 1, 9);
  restart["on_promotion"] = "restart";
  CHECK(world.Weights(restart) == world.Weights(WithBudget(world.Trial(), 1, 1)));
}

TEST_CASE("threads and precision are part of the identity of a checkpoint; trial and rung are not") {
  TrialFile trial;
  TextOptions options;
  const std::string one = TrainingIdentity(trial, options, 10);
  trial.trial = 5;
  trial.rung = 2;
  trial.attempt = 9;
  trial.budget_to = 3;
  options.evaluate_every = 0;
  options.checkpoint_every_seconds = 1;
  CHECK(TrainingIdentity(trial, options, 10) == one);
  options.threads = 2;
  CHECK(TrainingIdentity(trial, options, 10) != one);
  options.threads = 1;
  options.precision = Precision::kAuto;
  CHECK(TrainingIdentity(trial, options, 10) != one);
  options.precision = Precision::kFloat32;
  CHECK(TrainingIdentity(trial, options, 11) != one);
  trial.seed = 1;
  CHECK(TrainingIdentity(trial, options, 10) != one);
}

TEST_CASE("the data, the fold and the split are part of the identity of a checkpoint") {
  TrialFile trial;
  trial.data_sha256 = {{"/train.csv", "a"}, {"/validation.csv", "b"}, {"/test.csv", "c"}};
  TextOptions options;
  options.train = "/train.csv";
  options.validation_path = "/validation.csv";
  std::set<std::string> identities = {TrainingIdentity(trial, options, 10)};
  trial.data_sha256["/test.csv"] = "d";  // weights do not depend on it
  identities.insert(TrainingIdentity(trial, options, 10));
  CHECK(identities.size() == 1);
  trial.data_sha256["/train.csv"] = "d";
  identities.insert(TrainingIdentity(trial, options, 10));
  trial.data_sha256["/validation.csv"] = "e";
  identities.insert(TrainingIdentity(trial, options, 10));
  for (const int fold : {0, 1}) {
    trial.fold = fold;
    identities.insert(TrainingIdentity(trial, options, 10));
  }
  options.split_seed = 8;
  identities.insert(TrainingIdentity(trial, options, 10));
  CHECK(identities.size() == 6);
}

TEST_CASE("a corrupt checkpoint is passed over for the one before; without any, training starts anew") {
  SmallWorld world;
  json first = world.Trial();
  first["trainer"]["checkpoints"]["every"] = 0.5;
  const std::string expected = world.Weights(first);
  const auto damage = [&](int64_t update) {
    std::fstream file(world.CheckpointAt(first, update) + "/model.safetensors", std::ios::in | std::ios::out);
    file.seekp(2000);
    file.put('x');
  };
  damage(13);
  json second = world.Trial();
  second["trainer"]["checkpoints"]["every"] = 0.5;
  second["resume_dir"] = first["checkpoint_dir"];
  CHECK(world.Weights(second) == expected);
  CHECK(!std::filesystem::exists(world.CheckpointAt(second, 11)));  // it went on from 12
  for (int64_t update = 0; update < 13; ++update) {
    if (std::filesystem::exists(world.CheckpointAt(first, update))) damage(update);
  }
  json third = world.Trial();
  third["trainer"]["checkpoints"]["every"] = 0.5;
  third["resume_dir"] = first["checkpoint_dir"];
  CHECK(world.Weights(third) == expected);
  CHECK(std::filesystem::exists(world.CheckpointAt(third, 2)));
  std::ifstream log(world.Path("log"));
  const std::string text((std::istreambuf_iterator<char>(log)), {});
  CHECK(text.find("has other bytes") != std::string::npos);
  CHECK(text.find("starting_anew") != std::string::npos);
}

}  // namespace rung
