// Schedules, orders, metrics: against values worked out by hand. And checkpoints of writers that were killed.
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "tests/scratch.h"
#include "worker/training/checkpoint.h"
#include "worker/training/data_order.h"
#include "worker/training/schedule.h"
#include "worker/training/task_tally.h"

namespace rung {

TEST_CASE("schedules are Hugging Face's") {
  const auto factor = [](Schedule schedule, int64_t update, double cycles = 1, int64_t warmup = 10,
                         int64_t total = 110) {
    return ScheduleFactor({schedule, warmup, total, 5e-5, cycles, 1}, update);
  };
  for (const Schedule schedule : {Schedule::kLinear, Schedule::kCosine, Schedule::kCosineHardRestarts,
                                  Schedule::kPolynomial, Schedule::kConstant}) {
    CHECK(factor(schedule, 0) == 0);
    CHECK(factor(schedule, 5) == 0.5);
    CHECK(factor(schedule, 10) == Approx(1));
  }
  CHECK(factor(Schedule::kConstant, 500) == 1);
  CHECK(factor(Schedule::kLinear, 60) == 0.5);
  CHECK(factor(Schedule::kLinear, 200) == 0);
  CHECK(factor(Schedule::kCosine, 35) == Approx(0.5 * (1 + std::cos(M_PI / 4))));
  CHECK(factor(Schedule::kPolynomial, 60) == Approx(((5e-5 - 1e-7) * 0.5 + 1e-7) / 5e-5));
  CHECK(factor(Schedule::kPolynomial, 111) == Approx(1e-7 / 5e-5));
  CHECK(factor(Schedule::kCosineHardRestarts, 60, 2) == Approx(1));
  CHECK(factor(Schedule::kCosineHardRestarts, 110, 2) == 0);
  for (int64_t update = 0; update <= 110; ++update) {  // one cycle: equal to the bit
    CHECK(factor(Schedule::kCosine, update) == factor(Schedule::kCosineHardRestarts, update));
  }
  CHECK(std::isfinite(factor(Schedule::kPolynomial, 10, 1, 10, 10)));  // no update after the warm-up
  CHECK(std::isfinite(factor(Schedule::kPolynomial, 600, 1, 500, 10)));
}

TEST_CASE("an epoch's batches hold every row once, whatever the sizes") {
  for (const int rows : {1, 7, 16, 17, 200, 1700}) {
    std::vector<int32_t> lengths;
    for (int i = 0; i < rows; ++i) lengths.push_back(5 + i * 7 % 60);
    const auto batches = EpochBatches(lengths, 16, 42, 0);
    CHECK(batches.size() == static_cast<size_t>((rows + 15) / 16));
    std::set<int> seen;
    size_t total = 0;
    for (const auto& batch : batches) {
      CHECK(!batch.empty());
      total += batch.size();
      seen.insert(batch.begin(), batch.end());
    }
    CHECK(total == static_cast<size_t>(rows));
    CHECK(seen.size() == static_cast<size_t>(rows));
    CHECK(batches == EpochBatches(lengths, 16, 42, 0));
    if (rows >= 200) CHECK(batches != EpochBatches(lengths, 16, 42, 1));
    if (rows >= 200) CHECK(batches != EpochBatches(lengths, 16, 43, 0));
  }
}

TEST_CASE("1 to 33 rows stand in one batch each, whatever the batch size and the lengths") {
  for (const int64_t mix : {0, 1, 7}) {
    for (int rows = 1; rows <= 33; ++rows) {
      std::vector<int32_t> lengths;
      for (int i = 0; i < rows; ++i) lengths.push_back(static_cast<int32_t>(5 + i * mix % 60));
      for (int batch_size = 1; batch_size <= 35; ++batch_size) {
        INFO(rows << " rows in batches of " << batch_size);
        std::vector<int> seen(static_cast<size_t>(rows), 0);
        int smaller = 0;
        for (const auto& batch : EpochBatches(lengths, batch_size, 42, 0)) {
          REQUIRE(!batch.empty());
          REQUIRE(static_cast<int>(batch.size()) <= batch_size);
          smaller += static_cast<int>(batch.size()) < batch_size ? 1 : 0;
          for (const int row : batch) ++seen[static_cast<size_t>(row)];
        }
        CHECK(seen == std::vector<int>(static_cast<size_t>(rows), 1));
        CHECK(smaller == (rows % batch_size == 0 ? 0 : 1));
      }
    }
  }
}

TEST_CASE("batches hold like lengths, but neither early batches nor the ragged one prefer a length") {
  std::vector<int32_t> lengths;
  for (int i = 0; i < 203; ++i) lengths.push_back(10 + i);
  double first = 0, ragged = 0, spread = 0;
  constexpr int kEpochs = 400;
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    const auto batches = EpochBatches(lengths, 16, 1, epoch);
    const auto mean = [&](const std::vector<int>& batch) {
      double total = 0;
      for (const int row : batch) total += lengths[static_cast<size_t>(row)];
      return total / static_cast<double>(batch.size());
    };
    first += mean(batches.front()) / kEpochs;
    for (const auto& batch : batches) {
      if (batch.size() < 16) ragged += mean(batch) / kEpochs;
    }
    spread +=
        (lengths[static_cast<size_t>(batches[0].back())] - lengths[static_cast<size_t>(batches[0].front())]) /
        double(kEpochs);
  }
  CHECK(first ==
        Approx(111).margin(9));  // the mean length is 111, a batch's deviation 58: three deviations of 400
  CHECK(ragged == Approx(111).margin(9));
  CHECK(spread < 17);
}

TEST_CASE("scores of a hand-made confusion matrix are scikit-learn's") {
  Tally tally(3);
  // truth 0: 3 right, 1 as 1; truth 1: 2 right, 2 as 0; truth 2: 1 as 0
  for (int i = 0; i < 3; ++i) tally.AddOne(0, 0);
  tally.AddOne(0, 1);
  for (int i = 0; i < 2; ++i) tally.AddOne(1, 1);
  for (int i = 0; i < 2; ++i) tally.AddOne(1, 0);
  tally.AddOne(2, 0);
  CHECK(tally.Accuracy() == Approx(5.0 / 9));
  const double f0 = 2 * 3.0 / (4 + 6), f1 = 2 * 2.0 / (4 + 3);
  CHECK(tally.Averages().f1_macro == Approx((f0 + f1) / 3));
  CHECK(tally.Averages().f1_weighted == Approx((4 * f0 + 4 * f1) / 9));
  Tally absent(3);  // class 2 neither occurs nor is predicted: it does not count
  absent.AddOne(0, 0);
  absent.AddOne(1, 1);
  CHECK(absent.Averages().f1_macro == 1);
  CHECK(std::isnan(TaskTally(Task::kSingleLabel, 2).Loss()));
}

// scikit-learn's scores of the truths beside the predictions (1,0,0), (0,1,0), (0,1,0), (1,0,0).
TEST_CASE("rows with several labels: scores, one matrix a label, and a tally that a checkpoint keeps") {
  const std::vector<float> truths = {1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0};
  const std::vector<float> logits = {1, -1, 0, -1, 2, -1, -1, 3, -1, 1, -2, -1};
  PackedBatch batch;
  batch.labels.assign(4, 0);
  batch.targets = truths;
  TaskTally tally(Task::kMultiLabel, 3);
  tally.Add(batch, {2.0, logits});
  auto values = tally.Values("");
  CHECK(values["f1_macro"] == Approx(0.488889).margin(1e-6));
  CHECK(values["f1_weighted"] == Approx(0.766667).margin(1e-6));
  CHECK(values["f1_micro"] == 0.75);
  CHECK(values["accuracy"] == 0.5);
  CHECK(values["loss"] == 0.5);
  CHECK(tally.multi_label()->Matrix(0) == std::array<std::array<int64_t, 2>, 2>{{{1, 0}, {1, 2}}});
  CHECK(tally.multi_label()->Matrix(1) == std::array<std::array<int64_t, 2>, 2>{{{2, 1}, {0, 1}}});
  CHECK(tally.multi_label()->Matrix(2) == std::array<std::array<int64_t, 2>, 2>{{{4, 0}, {0, 0}}});
  TaskTally restored(Task::kMultiLabel, 3);
  restored.Restore(nlohmann::json::parse(tally.State().dump()));
  restored.Add(batch, {4.0, logits});
  tally.Add(batch, {4.0, logits});
  CHECK(restored.Values("") == tally.Values(""));
  CHECK(restored.rows() == 8);
}

TEST_CASE("a regression's tally correlates, and has a loss alone while it trains") {
  PackedBatch batch;
  batch.labels.assign(3, 0);
  batch.targets = {1, 2, 4};
  TaskTally tally(Task::kRegression, 1);
  tally.Add(batch, {6.0, {3, 2, 1}});
  CHECK(tally.Values("x/")["x/spearman"] == Approx(-1));
  CHECK(tally.Values("x/")["x/pearson"] == Approx(-0.9819805));
  CHECK(tally.Loss() == 2);
  CHECK(tally.RunningValues("x/") == std::map<std::string, double>{{"x/loss", 2}});
}

TEST_CASE("what a writer that was killed before its rename left is no checkpoint; the next one replaces it") {
  const Scratch directory;
  const std::array<float, 2> weights = {0.5F, -1.0F};
  const auto content = [&weights](int64_t update) {
    CheckpointContent made;
    made.update = update;
    made.budget = static_cast<double>(update);
    made.state = {{"update", update}};
    made.model = {{"weight", "F32", {2}, weights.data(), sizeof(weights)}};
    return made;
  };
  const std::string whole = directory.path("whole");
  REQUIRE(MakeDirectories(whole).ok());
  REQUIRE(WriteCheckpoint(whole, content(2), 1).ok());
  const std::vector<std::string> files = {"model.safetensors", "state.json", "manifest.json"};  // as written
  for (size_t written = 0; written <= files.size(); ++written) {
    for (const bool cut : {false, true}) {
      INFO(written << " files, the last one " << (cut ? "in half" : "whole"));
      const std::string place = directory.path(std::to_string(written) + (cut ? "-cut" : ""));
      const std::string partial = place + "/.update-00000002.partial";
      REQUIRE(MakeDirectories(partial).ok());
      REQUIRE(WriteCheckpoint(place, content(1), 2).ok());
      for (size_t i = 0; i < written; ++i) {
        std::string bytes = *ReadFile(whole + "/update-00000002/" + files[i]);
        if (cut && i + 1 == written) bytes.resize(bytes.size() / 2);
        REQUIRE(WriteFileAtomic(partial + "/" + files[i], bytes).ok());
      }
      std::vector<std::string> rejected;
      auto found = FindCheckpoint(place, 10, &rejected);
      REQUIRE(found.has_value());
      CHECK(found->update == 1);
      CHECK(rejected.empty());
      REQUIRE(WriteCheckpoint(place, content(2), 2).ok());
      found = FindCheckpoint(place, 10, &rejected);
      REQUIRE(found.has_value());
      CHECK(found->update == 2);
      CHECK(rejected.empty());
      CHECK_FALSE(std::filesystem::exists(partial));
    }
  }
}

}  // namespace rung
