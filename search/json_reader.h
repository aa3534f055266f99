// Reads the members of one JSON object with errors that name key, value, place and mend. Used by Space and
// StudySpec. Borrows the object; not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rung {

// Codes of a reader's errors.
struct ReaderCodes {
  const char* unknown_key;
  const char* wrong_type;
  const char* impossible_value;
  const char* missing;
};
inline constexpr ReaderCodes kSpaceCodes = {"E0205", "E0206", "E0207", "E0208"};
inline constexpr ReaderCodes kStudyCodes = {"E0305", "E0306", "E0307", "E0308"};

class JsonReader {
 public:
  // path names the object for people ("budget"; "" for the document), pointer is its JSON pointer.
  // Errors: InvalidArgument if it is no object.
  static absl::StatusOr<JsonReader> Open(const nlohmann::json& object, std::string path, std::string pointer,
                                         const ReaderCodes& codes);

  // Errors: InvalidArgument for any other key, with did-you-mean.
  // `renamed`: what other tools call some of them, by that name.
  absl::Status OnlyKeys(const std::vector<std::string>& keys,
                        const std::map<std::string, std::string>& renamed = {}) const;

  const nlohmann::json* Find(const std::string& key) const;
  absl::StatusOr<const nlohmann::json*> Required(const std::string& key, const std::string& example) const;

  // The member, or nullopt if it is absent. Errors: InvalidArgument for another type.
  absl::StatusOr<std::optional<double>> Number(const std::string& key) const;
  absl::StatusOr<std::optional<int64_t>> Integer(const std::string& key) const;
  absl::StatusOr<std::optional<bool>> Bool(const std::string& key) const;
  absl::StatusOr<std::optional<std::string>> String(const std::string& key) const;
  // One of `names`; the index.
  absl::StatusOr<std::optional<int>> OneOf(const std::string& key,
                                           const std::vector<std::string>& names) const;

  // Errors about a member, for checks that the caller makes.
  absl::Status Impossible(const std::string& key, const std::string& why, const std::string& mend) const;
  absl::Status WrongType(const std::string& key, const std::string& expected) const;

  std::string PathOf(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }
  std::string PointerOf(const std::string& key) const;

 private:
  JsonReader(const nlohmann::json& object, std::string path, std::string pointer, const ReaderCodes& codes)
      : object_(&object), path_(std::move(path)), pointer_(std::move(pointer)), codes_(codes) {}

  const nlohmann::json* object_;
  std::string path_;
  std::string pointer_;
  ReaderCodes codes_;
};

// What was read, where it was given: an enum's index, or a value.
template <typename Enum>
void Assign(Enum& target, const std::optional<int>& index) {
  if (index.has_value()) target = static_cast<Enum>(*index);
}
template <typename T>
void Assign(T& target, const std::optional<T>& value) {
  if (value.has_value()) target = *value;
}

// A JSON value shortened for a message.
std::string Shown(const nlohmann::json& value);

}  // namespace rung
