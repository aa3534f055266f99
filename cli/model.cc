// rung model pull NAME: fetches a model from the Hub into its local cache. rung model predict DIR FILE:
// labels new text with a fine-tuned model.
#include <algorithm>
#include <memory>
#include <optional>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/hub_cache.h"
#include "cli/progress.h"
#include "cli/trainer_verb.h"
#include "cli/views.h"
#include "worker/text/model_directory.h"
#include "worker/text/tokenizer.h"

namespace rung {
namespace {

constexpr absl::Duration kDrawEvery = absl::Milliseconds(200);

// How far a file is: a line that is drawn over again on a terminal, else one every 30 s.
class PullProgress {
 public:
  explicit PullProgress(Context& context)
      : clock_(context.clock),
        terminal_(context.terminal),
        live_(context.format == Format::kTable && context.terminal.out_is_tty),
        block_(context.terminal),
        pace_(context.clock) {}

  void Show(const HubFile& file, int64_t bytes) {
    const absl::Duration now = clock_.Steady();
    if (file.name != name_) {
      name_ = file.name;
      start_ = now;
      start_bytes_ = bytes;
      pace_.Due();  // the first line after the interval: small files pass without one
    }
    if (live_ ? now < next_ : !pace_.Due()) return;
    next_ = now + kDrawEvery;
    const std::string line = Line(file, bytes, now - start_).substr(0, static_cast<size_t>(terminal_.width));
    if (live_) {
      block_.Draw({line});
    } else {
      PrintNote(line);
    }
  }

  void Note(const std::string& line) {
    block_.Clear();
    PrintNote(Printable(line));
  }

  void End() { block_.Clear(); }

 private:
  std::string Line(const HubFile& file, int64_t bytes, absl::Duration taken) const {
    std::string line = file.name + "  " + BytesText(bytes);
    if (file.size_bytes.has_value() && *file.size_bytes > 0) {
      line += absl::StrFormat(
          " of %s  %d %%", BytesText(*file.size_bytes),
          static_cast<int>(100 * static_cast<double>(bytes) / static_cast<double>(*file.size_bytes)));
    }
    const double rate = static_cast<double>(bytes - start_bytes_) / absl::ToDoubleSeconds(taken);
    if (taken < absl::Seconds(1) || rate < 1) return line;
    line += absl::StrFormat("  %s/s", BytesText(static_cast<int64_t>(rate)));
    if (!file.size_bytes.has_value()) return line;
    const double rest = static_cast<double>(*file.size_bytes - bytes) / rate;
    return line + "  ETA " + DurationText(absl::Seconds(rest));
  }

  Clock& clock_;
  const Terminal terminal_;
  const bool live_;
  LiveBlock block_;
  LinePace pace_;
  std::string name_;
  absl::Duration start_, next_ = -absl::InfiniteDuration();
  int64_t start_bytes_ = 0;
};

struct PullOptions {
  std::string model, revision = "main";
};

// Whether studies can use what was fetched.
absl::Status CheckUsable(const std::string& directory) {
  RUNG_RETURN_IF_ERROR(CheckModelDirectory(directory).status());
  return LoadTokenizer(directory).status();
}

OrderedJson PulledJson(const PullOptions& options, const PulledModel& pulled, const absl::Status& usable) {
  OrderedJson json = JsonDocument();
  json["model"] = options.model;
  json["revision"] = options.revision;
  json["commit"] = pulled.commit;
  json["path"] = pulled.directory;
  json["usable"] = usable.ok();
  json["files"] = OrderedJson::array();
  for (const PulledFile& file : pulled.files) {
    OrderedJson entry;
    entry["name"] = file.name;
    entry["hash"] = file.hash;
    entry["size_bytes"] = file.size_bytes;
    entry["fetched"] = file.fetched;
    json["files"].push_back(std::move(entry));
  }
  return json;
}

absl::StatusOr<int> PullCommand(Context& context, const PullOptions& options) {
  RUNG_RETURN_IF_ERROR(CheckHubName(options.model));
  RUNG_RETURN_IF_ERROR(CheckRevision(options.revision));
  RUNG_ASSIGN_OR_RETURN(HubOptions hub_options, HubOptionsOfEnvironment());
  Hub hub(std::move(hub_options));
  PullProgress progress(context);
  const PullReport report = {[&progress](const HubFile& file, int64_t bytes) { progress.Show(file, bytes); },
                             [&progress](const std::string& line) { progress.Note(line); }};
  const absl::StatusOr<PulledModel> pulled =
      PullModel(hub, HubCache(), options.model, options.revision, report);
  progress.End();
  RUNG_RETURN_IF_ERROR(pulled.status());
  int64_t bytes = 0, fetched = 0;
  for (const PulledFile& file : pulled->files) {
    bytes += file.size_bytes;
    fetched += file.fetched ? 1 : 0;
  }
  PrintNote(absl::StrFormat(
      "%s at %s: %s, %s; %d fetched, all with the right hash", options.model, pulled->commit.substr(0, 12),
      Counted(static_cast<int64_t>(pulled->files.size()), "file"), BytesText(bytes), fetched));
  const absl::Status usable = CheckUsable(pulled->directory);
  if (!usable.ok()) PrintNote("Rung cannot train it: " + Printable(std::string(usable.message())));
  const absl::StatusOr<std::string> found = ResolveModel(options.model, "/nonexistent");
  if (found.ok() && *found != pulled->directory) {
    PrintNote("A study that names " + options.model + " gets its main revision; for this one give the path.");
  }
  if (context.format == Format::kJson) {
    PrintJson(PulledJson(options, *pulled, usable));
  } else {
    PrintText(Printable(pulled->directory) + "\n");
  }
  return usable.ok() ? 0 : 9;
}

void AddPullCommand(CLI::App& model, Context& context) {
  CLI::App& pull = *model.add_subcommand(
      "pull",
      "Fetch a model from the Hugging Face Hub into its local cache, where studies find it by its name");
  pull.footer(
      "The environment says the rest, as for Hugging Face's own programs: HF_ENDPOINT (a mirror), HF_TOKEN,\n"
      "HF_HOME or HF_HUB_CACHE (where to), HTTPS_PROXY and NO_PROXY. After a break the same command goes "
      "on.\n"
      "Example:\n  rung model pull google-bert/bert-base-german-cased");
  const auto options = std::make_shared<PullOptions>();  // owners: the parser's callback and the action
  pull.add_option("NAME", options->model, "org/name, as on the model's page")->required();
  pull.add_option("--revision", options->revision, "Branch, tag or commit (default: main)");
  pull.callback([&context, options] {
    context.action = [&context, options] { return PullCommand(context, *options); };
  });
}

struct PredictOptions {
  std::string model, file, out;
  std::vector<std::string> columns;
  bool logits = false;
};

absl::StatusOr<int> Predict(Context& context, const PredictOptions& options) {
  const std::string model = AbsolutePath(options.model), file = AbsolutePath(options.file);
  std::optional<TemporaryFile> printed;  // where no file is named
  if (options.out.empty()) printed.emplace();
  const std::string out = printed.has_value() ? printed->path() : AbsolutePath(options.out);
  std::vector<std::string> arguments = {"predict", model, file, out};
  if (options.logits) arguments.push_back("--logits");
  const bool json_rows = printed.has_value() && context.format == Format::kJson;
  if (json_rows) arguments.push_back("--json");
  arguments.insert(arguments.end(), options.columns.begin(), options.columns.end());
  RUNG_RETURN_IF_ERROR(RunTrainerVerb(arguments));
  if (!printed.has_value()) {
    if (context.format == Format::kJson) {
      OrderedJson json = JsonDocument();
      json["predictions_path"] = out;
      PrintJson(json);
    } else {
      PrintText(out + "\n");
    }
    return 0;
  }
  RUNG_ASSIGN_OR_RETURN(const std::string text, ReadFile(out));
  if (json_rows) {
    OrderedJson json = JsonDocument();
    json["predictions"] = OrderedJson::parse(text, nullptr, false);
    PrintJson(json);
  } else {
    PrintText(text);
  }
  return 0;
}

}  // namespace

void AddModelCommands(CLI::App& app, Context& context) {
  CLI::App& model =
      *app.add_subcommand("model", "Models: fetch one to start from, label new text with a fine-tuned one");
  AddPullCommand(model, context);
  CLI::App& predict =
      *model.add_subcommand("predict",
                            "Label each row of a CSV, TSV or JSONL file; prints CSV with a label (several, "
                            "joined by commas; or a value) and probabilities, with -o json the same rows as "
                            "JSON");
  predict.footer(
      "Example:\n  rung study best gnad10 --export best/\n  rung model predict best/ new.csv --text "
      "sentence");
  const auto options = std::make_shared<PredictOptions>();  // owners: the parser's callback and the action
  predict.add_option("DIR", options->model, "A model directory, e.g. of `rung study best --export`")
      ->required();
  predict.add_option("FILE", options->file, "The texts")->required();
  predict.add_option("--text", options->columns,
                     "Column with the text; twice for pairs (default: those of training)");
  predict.add_flag("--logits", options->logits,
                   "Add what the model computes before it becomes probabilities");
  predict.add_option("--to", options->out, "Write the CSV here");
  predict.callback(
      [&context, options] { context.action = [&context, options] { return Predict(context, *options); }; });
}

}  // namespace rung
