// rung model predict DIR FILE: labels new text with a fine-tuned model.
#include <memory>
#include <optional>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/trainer_verb.h"
#include "cli/views.h"

namespace rung {
namespace {

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
  PrintText(text);
  return 0;
}

}  // namespace

void AddModelCommands(CLI::App& app, Context& context) {
  CLI::App& model = *app.add_subcommand("model", "Fine-tuned models: label new text");
  CLI::App& predict =
      *model.add_subcommand("predict",
                            "Label each row of a CSV, TSV or JSONL file; prints CSV with a label (several, "
                            "joined by commas; or a value) and probabilities");
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
