#include "proto/error_text.h"

#include <nlohmann/json.hpp>

#include "base/status.h"

namespace rung {

std::string ErrorText(const absl::Status& status, bool json, std::string (*printable)(const std::string&)) {
  using Json = nlohmann::ordered_json;
  const ErrorDetail detail = GetErrorDetail(status).value_or(ErrorDetail{
      "E0100", std::string(status.message()), "", "", "Look into the logs of the state directory"});
  if (json) {
    const Json error = {{"code", detail.code},
                        {"message", detail.message},
                        {"where", detail.where},
                        {"value", detail.value},
                        {"mend", detail.mend}};
    return Json{{"error", error}}.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  std::string text = "error " + detail.code + ": " + printable(detail.message) + "\n";
  if (!detail.where.empty()) text += "  where: " + printable(detail.where) + "\n";
  if (!detail.value.empty() && detail.value != detail.where)
    text += "  value: " + printable(detail.value) + "\n";
  if (!detail.mend.empty()) text += "  mend:  " + printable(detail.mend) + "\n";
  return text;
}

}  // namespace rung
