#include "worker/training/torch_errors.h"

#include <c10/util/Exception.h>

#include <new>
#include <string>

#include "base/status.h"

namespace rung {
namespace {

absl::Status OutOfMemory(const std::string& what) {
  return MakeError(
      absl::StatusCode::kResourceExhausted,
      {.code = "E0750",
       .message = "out of memory: " + what,
       .where = "",
       .value = "",
       .mend = "Use a smaller per_device_train_batch_size or max_seq_length, or run fewer workers"});
}

absl::Status Internal(const std::string& what) {
  return MakeError(absl::StatusCode::kInternal,
                   {.code = "E0751",
                    .message = "the trainer failed: " + what,
                    .where = "",
                    .value = "",
                    .mend = "See the trial's log; report this if it is not your data"});
}

// The CPU allocator of torch throws a plain c10::Error.
bool NamesMemory(const std::string& what) {
  return what.find("can't allocate memory") != std::string::npos ||
         what.find("not enough memory") != std::string::npos ||
         what.find("out of memory") != std::string::npos;
}

}  // namespace

absl::Status CatchTorch(const std::function<absl::Status()>& work) {
  try {
    return work();
  } catch (const c10::OutOfMemoryError& error) {
    return OutOfMemory(error.what_without_backtrace());
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    return NamesMemory(what) ? OutOfMemory(what) : Internal(what);
  } catch (const std::bad_alloc& error) {
    return OutOfMemory(error.what());
  } catch (const std::exception& error) {
    return Internal(error.what());
  }
}

}  // namespace rung
