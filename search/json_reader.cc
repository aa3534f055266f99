#include "search/json_reader.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "search/json_position.h"

namespace rung {
namespace {

std::string TypeName(const nlohmann::json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  if (value.is_string()) return "a string";
  if (value.is_boolean()) return "a boolean";
  if (value.is_null()) return "null";
  return "a number";
}

}  // namespace

std::string Shown(const nlohmann::json& value) {
  return Shortened(value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

absl::StatusOr<JsonReader> JsonReader::Open(const nlohmann::json& object, std::string path,
                                            std::string pointer, const ReaderCodes& codes) {
  if (!object.is_object()) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {codes.wrong_type,
                      absl::StrFormat("%s must be an object, not %s", path.empty() ? "the document" : path,
                                      TypeName(object)),
                      "#" + pointer, Shown(object), "Write { ... }"});
  }
  return JsonReader(object, std::move(path), std::move(pointer), codes);
}

std::string JsonReader::PointerOf(const std::string& key) const {
  return pointer_ + "/" + PointerToken(key);
}

absl::Status JsonReader::OnlyKeys(const std::vector<std::string>& keys,
                                  const std::map<std::string, std::string>& renamed) const {
  for (const auto& [key, value] : object_->items()) {
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
    const auto known = renamed.find(key);
    const std::string closest = known != renamed.end() ? known->second : ClosestName(key, keys);
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {codes_.unknown_key, absl::StrFormat("unknown key %s", Shortened(PathOf(key))),
                      "#key:" + PointerOf(key), Shortened(key),
                      closest.empty() ? "Use one of: " + absl::StrJoin(keys, ", ")
                                      : absl::StrFormat("Did you mean %s", closest)});
  }
  return absl::OkStatus();
}

const nlohmann::json* JsonReader::Find(const std::string& key) const {
  const auto found = object_->find(key);
  return found == object_->end() ? nullptr : &*found;
}

absl::StatusOr<const nlohmann::json*> JsonReader::Required(const std::string& key,
                                                           const std::string& example) const {
  if (const nlohmann::json* value = Find(key)) return value;
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {codes_.missing, PathOf(key) + " is missing", "#" + pointer_, key, "Add " + example});
}

absl::Status JsonReader::WrongType(const std::string& key, const std::string& expected) const {
  const nlohmann::json& value = object_->at(key);
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      {codes_.wrong_type,
       absl::StrFormat("%s = %s must be %s, not %s", PathOf(key), Shown(value), expected, TypeName(value)),
       "#" + PointerOf(key), Shown(value), "Write " + expected});
}

absl::Status JsonReader::Impossible(const std::string& key, const std::string& why,
                                    const std::string& mend) const {
  const nlohmann::json* value = Find(key);
  const std::string shown = value == nullptr ? "" : Shown(*value);
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {codes_.impossible_value, absl::StrFormat("%s = %s %s", PathOf(key), shown, why),
                    "#" + PointerOf(key), shown, mend});
}

absl::StatusOr<std::optional<double>> JsonReader::Number(const std::string& key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) return WrongType(key, "a number");
  return value->get<double>();
}

absl::StatusOr<std::optional<int64_t>> JsonReader::Integer(const std::string& key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
    return Impossible(key, "is too large", "Use a number below 2^63");
  }
  if (value->is_number_integer()) return value->get<int64_t>();
  if (value->is_number_float()) {
    const double number = value->get<double>();
    if (number == static_cast<double>(static_cast<int64_t>(number)) && std::abs(number) < 9e15) {
      return static_cast<int64_t>(number);
    }
  }
  return WrongType(key, "an integer");
}

absl::StatusOr<std::optional<bool>> JsonReader::Bool(const std::string& key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) return WrongType(key, "true or false");
  return value->get<bool>();
}

absl::StatusOr<std::optional<std::string>> JsonReader::String(const std::string& key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) return WrongType(key, "a string");
  return value->get<std::string>();
}

absl::StatusOr<std::optional<int>> JsonReader::OneOf(const std::string& key,
                                                     const std::vector<std::string>& names) const {
  RUNG_ASSIGN_OR_RETURN(const std::optional<std::string> text, String(key));
  if (!text.has_value()) return std::nullopt;
  const auto found = std::find(names.begin(), names.end(), *text);
  if (found != names.end()) return static_cast<int>(found - names.begin());
  const std::string closest = ClosestName(*text, names);
  return Impossible(
      key, "is not known",
      closest.empty() ? "Use one of: " + absl::StrJoin(names, ", ") : "Did you mean " + closest);
}

}  // namespace rung
