#include "worker/text/unpickler.h"

#include <map>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace rung {
namespace {

using Kind = PickleValue::Kind;

constexpr size_t kMaxValues = 4'000'000;
constexpr char kOrderedDict[] = "collections OrderedDict";
constexpr char kRebuildTensor[] = "torch._utils _rebuild_tensor_v2";
constexpr char kRebuildParameter[] = "torch._utils _rebuild_parameter";

// Storage types, and the dtype of their elements.
const std::map<std::string, std::string>& StorageTypes() {
  static const std::map<std::string, std::string> kTypes = {
      {"torch FloatStorage", "F32"},  {"torch HalfStorage", "F16"}, {"torch BFloat16Storage", "BF16"},
      {"torch DoubleStorage", "F64"}, {"torch LongStorage", "I64"}, {"torch IntStorage", "I32"},
      {"torch ShortStorage", "I16"},  {"torch CharStorage", "I8"},  {"torch ByteStorage", "U8"},
      {"torch BoolStorage", "BOOL"}};
  return kTypes;
}

class Reader {
 public:
  Reader(std::string_view bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  absl::StatusOr<Pickle> Read() {
    while (!stopped_) {
      unsigned char opcode = 0;
      if (!Byte(&opcode)) return Broken("the pickle ends in its middle");
      RUNG_RETURN_IF_ERROR(Step(opcode));
      if (pickle_.values.size() > kMaxValues) return Broken("the pickle has too many values");
    }
    pickle_.bytes = at_;
    return std::move(pickle_);
  }

 private:
  absl::Status Broken(const std::string& message, const std::string& value = "") const {
    return BrokenTorchFile(path_, message, value);
  }
  absl::Status Short() const { return Broken("the pickle ends in its middle"); }

  bool Byte(unsigned char* out) {
    if (at_ >= bytes_.size()) return false;
    *out = static_cast<unsigned char>(bytes_[at_++]);
    return true;
  }
  bool Number(size_t width, uint64_t* out) {
    if (bytes_.size() - at_ < width) return false;
    *out = 0;
    for (size_t i = width; i-- > 0;) *out = *out << 8 | static_cast<unsigned char>(bytes_[at_ + i]);
    at_ += width;
    return true;
  }
  bool Text(uint64_t size, std::string* out) {
    if (bytes_.size() - at_ < size) return false;
    out->assign(bytes_.substr(at_, size));
    at_ += size;
    return true;
  }
  bool Line(std::string* out) {
    const size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) return false;
    out->assign(bytes_.substr(at_, end - at_));
    at_ = end + 1;
    return true;
  }

  const PickleValue& At(int index) const { return pickle_.values[static_cast<size_t>(index)]; }
  void Push(PickleValue value) {
    stack_.push_back(static_cast<int>(pickle_.values.size()));
    pickle_.values.push_back(std::move(value));
  }
  void PushInteger(int64_t number) { Push({Kind::kInteger, number, "", "", {}}); }
  void PushText(std::string text) { Push({Kind::kText, 0, std::move(text), "", {}}); }

  // The values above the last mark, which goes.
  absl::StatusOr<std::vector<int>> PopToMark() {
    if (marks_.empty() || marks_.back() > stack_.size())
      return Broken("the pickle closes what it never opened");
    std::vector<int> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }
  absl::StatusOr<int> Pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back()))
      return Broken("the pickle takes what is not there");
    const int top = stack_.back();
    stack_.pop_back();
    return top;
  }

  // One instruction; the five below it are its families.
  absl::Status Step(unsigned char opcode);
  absl::Status Constant(unsigned char opcode);
  absl::Status Sized(unsigned char opcode, size_t width);
  absl::Status Container(unsigned char opcode);
  absl::Status Memo(unsigned char opcode);
  absl::Status Object(unsigned char opcode);
  absl::Status Tuple(size_t size);
  absl::Status Extend(bool one, bool pairs);
  absl::Status Get(size_t width);
  absl::Status Put(uint64_t slot);
  absl::Status Global(const std::string& module, const std::string& name);
  absl::Status Persistent();
  absl::Status Reduce();
  absl::Status RebuildTensor(const std::vector<int>& arguments);

  const std::string_view bytes_;
  const std::string& path_;
  size_t at_ = 0;
  bool stopped_ = false;
  Pickle pickle_;
  std::vector<int> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, int> memo_;
};

absl::Status Reader::Constant(unsigned char opcode) {
  switch (opcode) {
    case 'N':
      Push({});
      return absl::OkStatus();
    case 0x88:
    case 0x89:
      Push({Kind::kBool, opcode == 0x88 ? 1 : 0, "", "", {}});
      return absl::OkStatus();
    case '}':
      Push({Kind::kDict, 0, "", "", {}});
      return absl::OkStatus();
    case ']':
      Push({Kind::kList, 0, "", "", {}});
      return absl::OkStatus();
    default:
      Push({Kind::kTuple, 0, "", "", {}});
      return absl::OkStatus();
  }
}

// What carries a number of `width` bytes: integers, and texts after their length.
absl::Status Reader::Sized(unsigned char opcode, size_t width) {
  uint64_t number = 0;
  if (!Number(width, &number)) return Short();
  std::string text;
  switch (opcode) {
    case 'K':
    case 'M':
      PushInteger(static_cast<int64_t>(number));
      return absl::OkStatus();
    case 'J':
      PushInteger(static_cast<int32_t>(static_cast<uint32_t>(number)));
      return absl::OkStatus();
    case 'G':
      Push({Kind::kOther, 0, "", "", {}});
      return absl::OkStatus();
    case 0x8A: {  // a two's complement integer of `number` bytes
      if (!Text(number, &text)) return Short();
      if (text.size() > 8) return Broken("an integer of the pickle is too long");
      uint64_t value = !text.empty() && (text.back() & 0x80) != 0 ? ~uint64_t{0} : 0;
      for (size_t i = text.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(text[i]);
      PushInteger(static_cast<int64_t>(value));
      return absl::OkStatus();
    }
    case 0x95:  // a frame: its length says nothing that is needed
      return absl::OkStatus();
    default:
      if (!Text(number, &text)) return Short();
      PushText(std::move(text));
      return absl::OkStatus();
  }
}

absl::Status Reader::Tuple(size_t size) {
  std::vector<int> items(size);
  for (size_t i = size; i-- > 0;) {
    RUNG_ASSIGN_OR_RETURN(items[i], Pop());
  }
  Push({Kind::kTuple, 0, "", "", std::move(items)});
  return absl::OkStatus();
}

// APPEND, APPENDS, SETITEM, SETITEMS.
absl::Status Reader::Extend(bool one, bool pairs) {
  std::vector<int> items;
  if (one) {
    RUNG_RETURN_IF_ERROR(Tuple(pairs ? 2 : 1));
    items = pickle_.values.back().items;
    stack_.pop_back();
  } else {
    RUNG_ASSIGN_OR_RETURN(items, PopToMark());
  }
  if (stack_.empty() || (pairs && items.size() % 2 != 0)) return Broken("the pickle fills what is not there");
  PickleValue& target = pickle_.values[static_cast<size_t>(stack_.back())];
  if (target.kind != (pairs ? Kind::kDict : Kind::kList))
    return Broken("the pickle fills what is no container");
  target.items.insert(target.items.end(), items.begin(), items.end());
  return absl::OkStatus();
}

absl::Status Reader::Get(size_t width) {
  uint64_t slot = 0;
  if (!Number(width, &slot)) return Short();
  const auto found = memo_.find(slot);
  if (found == memo_.end()) return Broken("the pickle names a value that it never kept");
  stack_.push_back(found->second);
  return absl::OkStatus();
}

absl::Status Reader::Put(uint64_t slot) {
  if (stack_.empty()) return Broken("the pickle keeps what is not there");
  memo_[slot] = stack_.back();
  return absl::OkStatus();
}

absl::Status Reader::Global(const std::string& module, const std::string& name) {
  const std::string full = module + " " + name;
  const bool allowed = full == kOrderedDict || full == kRebuildTensor || full == kRebuildParameter ||
                       StorageTypes().contains(full);
  if (!allowed) {
    const std::string shown = Shortened(module + "." + name, 120);
    return MakeError(
        absl::StatusCode::kInvalidArgument,
        {"E0461",
         absl::StrFormat("the weights ask for %s, which is neither a tensor nor a container of tensors",
                         shown),
         path_, shown, "Save the weights alone, with save_pretrained(..., safe_serialization=True)"});
  }
  Push({Kind::kGlobal, 0, full, "", {}});
  return absl::OkStatus();
}

// ("storage", type, key, place, elements[, view]).
absl::Status Reader::Persistent() {
  RUNG_ASSIGN_OR_RETURN(const int index, Pop());
  const PickleValue& id = At(index);
  const bool shaped = id.kind == Kind::kTuple && (id.items.size() == 5 || id.items.size() == 6) &&
                      At(id.items[0]).text == "storage" && At(id.items[1]).kind == Kind::kGlobal &&
                      StorageTypes().contains(At(id.items[1]).text) && At(id.items[2]).kind == Kind::kText &&
                      At(id.items[4]).kind == Kind::kInteger && At(id.items[4]).number >= 0 &&
                      (id.items.size() == 5 || At(id.items[5]).kind == Kind::kNone);
  if (!shaped) return Broken("a storage is not described as torch describes it");
  Push({Kind::kStorage,
        At(id.items[4]).number,
        At(id.items[2]).text,
        StorageTypes().at(At(id.items[1]).text),
        {}});
  return absl::OkStatus();
}

absl::Status Reader::RebuildTensor(const std::vector<int>& arguments) {
  const bool shaped = arguments.size() >= 4 && At(arguments[0]).kind == Kind::kStorage &&
                      At(arguments[1]).kind == Kind::kInteger && At(arguments[1]).number >= 0 &&
                      At(arguments[2]).kind == Kind::kTuple && At(arguments[3]).kind == Kind::kTuple;
  if (!shaped) return Broken("a tensor is not described as torch describes it");
  Push({Kind::kTensor, At(arguments[1]).number, "", "", {arguments[0], arguments[2], arguments[3]}});
  return absl::OkStatus();
}

absl::Status Reader::Reduce() {
  RUNG_ASSIGN_OR_RETURN(const int arguments, Pop());
  RUNG_ASSIGN_OR_RETURN(const int callee, Pop());
  if (At(arguments).kind != Kind::kTuple || At(callee).kind != Kind::kGlobal) {
    return Broken("the pickle calls what is no function");
  }
  const std::vector<int> items = At(arguments).items;
  const std::string& name = At(callee).text;
  if (name == kOrderedDict && items.empty()) return Constant('}');
  if (name == kRebuildTensor) return RebuildTensor(items);
  if (name == kRebuildParameter && !items.empty() && At(items[0]).kind == Kind::kTensor) {
    stack_.push_back(items[0]);
    return absl::OkStatus();
  }
  return Broken("the pickle calls a function in another way than torch does", name);
}

absl::Status Reader::Container(unsigned char opcode) {
  switch (opcode) {
    case '(':
      marks_.push_back(stack_.size());
      return absl::OkStatus();
    case 't': {
      RUNG_ASSIGN_OR_RETURN(std::vector<int> items, PopToMark());
      Push({Kind::kTuple, 0, "", "", std::move(items)});
      return absl::OkStatus();
    }
    case 'a':
    case 'e':
      return Extend(opcode == 'a', false);
    case 's':
    case 'u':
      return Extend(opcode == 's', true);
    default:  // TUPLE1 to TUPLE3
      return Tuple(static_cast<size_t>(opcode - 0x84));
  }
}

absl::Status Reader::Memo(unsigned char opcode) {
  uint64_t slot = 0;
  switch (opcode) {
    case 'h':
      return Get(1);
    case 'j':
      return Get(4);
    case 'q':
    case 'r':
      return Number(opcode == 'q' ? 1 : 4, &slot) ? Put(slot) : Short();
    default:  // MEMOIZE
      return Put(memo_.size());
  }
}

absl::Status Reader::Object(unsigned char opcode) {
  std::string module, name;
  switch (opcode) {
    case 'c':
      return Line(&module) && Line(&name) ? Global(module, name) : Short();
    case 0x93: {  // STACK_GLOBAL
      RUNG_ASSIGN_OR_RETURN(const int name_index, Pop());
      RUNG_ASSIGN_OR_RETURN(const int module_index, Pop());
      return Global(At(module_index).text, At(name_index).text);
    }
    case 'Q':
      return Persistent();
    case 'R':
      return Reduce();
    default: {  // BUILD: a state dict's versions, which nothing here needs
      RUNG_RETURN_IF_ERROR(Pop().status());
      const bool dict = !stack_.empty() && At(stack_.back()).kind == Kind::kDict;
      return dict ? absl::OkStatus() : Broken("the pickle sets up what is no dictionary");
    }
  }
}

absl::Status Reader::Step(unsigned char opcode) {
  switch (opcode) {
    case 0x80: {  // PROTO
      uint64_t protocol = 0;
      return Number(1, &protocol) && protocol <= 5 ? absl::OkStatus()
                                                   : Broken("the pickle has an unknown protocol");
    }
    case '.': {
      RUNG_ASSIGN_OR_RETURN(pickle_.root, Pop());
      stopped_ = true;
      return absl::OkStatus();
    }
    case 'N':
    case 0x88:
    case 0x89:
    case '}':
    case ']':
    case ')':
      return Constant(opcode);
    case 'K':   // BININT1
    case 'U':   // SHORT_BINSTRING
    case 0x8A:  // LONG1
    case 0x8C:  // SHORT_BINUNICODE
      return Sized(opcode, 1);
    case 'M':  // BININT2
      return Sized(opcode, 2);
    case 'J':  // BININT
    case 'X':  // BINUNICODE
      return Sized(opcode, 4);
    case 'G':   // BINFLOAT
    case 0x95:  // FRAME
      return Sized(opcode, 8);
    case '(':
    case 't':
    case 0x85:
    case 0x86:
    case 0x87:
    case 'a':
    case 'e':
    case 's':
    case 'u':
      return Container(opcode);
    case 'h':
    case 'j':
    case 'q':
    case 'r':
    case 0x94:
      return Memo(opcode);
    case 'c':
    case 0x93:
    case 'Q':
    case 'R':
    case 'b':
      return Object(opcode);
    default:
      return Broken(absl::StrFormat("the pickle has the instruction 0x%02X, which no tensor needs", opcode));
  }
}

}  // namespace

absl::Status BrokenTorchFile(const std::string& path, const std::string& message, const std::string& value) {
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      {"E0460", absl::StrFormat("not a file of weights that torch.save wrote: %s", message), path, value,
       "Fetch the file again, or save the model with save_pretrained(..., safe_serialization=True)"});
}

absl::StatusOr<Pickle> ReadPickle(std::string_view bytes, const std::string& path) {
  return Reader(bytes, path).Read();
}

}  // namespace rung
