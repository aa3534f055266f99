#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include <catch2/catch.hpp>
#include <new>
#include <stdexcept>

#include "base/status.h"
#include "worker/training/torch_errors.h"

namespace rung {
namespace {
std::string CodeOf(const std::function<absl::Status()>& work) {
  const auto detail = GetErrorDetail(CatchTorch(work));
  return detail ? detail->code : "";
}
}  // namespace

TEST_CASE("memory that cannot be had is out of memory, other exceptions are not") {
  CHECK(CodeOf([]() -> absl::Status { throw std::bad_alloc(); }) == "E0750");
  CHECK(CodeOf([]() -> absl::Status {
          const auto pointer = c10::GetCPUAllocator()->allocate(size_t{1} << 60);
          return pointer.get() == nullptr ? absl::InternalError("null") : absl::OkStatus();
        }) == "E0750");
  CHECK(CodeOf([]() -> absl::Status {
          TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory");
          return absl::OkStatus();
        }) == "E0750");
  CHECK(CodeOf([]() -> absl::Status {
          TORCH_CHECK(false, "shapes do not match");
          return absl::OkStatus();
        }) == "E0751");
  CHECK(CodeOf([]() -> absl::Status { throw std::runtime_error("other"); }) == "E0751");
  CHECK(CatchTorch([] { return absl::OkStatus(); }).ok());
}

}  // namespace rung
