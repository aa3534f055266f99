// RUNG_CHECK: for bugs, in release builds too. Expected failures use absl::Status (status.h).
// Thread-safe.
#pragma once

#include <cstdio>
#include <cstdlib>

// Ends the process with the place and the broken expectation. `what` is a C string that says what was
// expected.
#define RUNG_CHECK(condition, what)                                                                   \
  do {                                                                                                \
    if (!(condition)) [[unlikely]] {                                                                  \
      std::fprintf(stderr, "%s:%d: check failed: %s (%s)\n", __FILE__, __LINE__, #condition, (what)); \
      std::abort();                                                                                   \
    }                                                                                                 \
  } while (false)
