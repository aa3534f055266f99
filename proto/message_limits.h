// How large one message may be, in bytes: what the server takes and sends, and what its callers take.
#pragma once

namespace rung {

inline constexpr int kMaxRequestBytes = 1 << 20;
inline constexpr int kMaxReplyBytes = 64 << 20;  // a trial of many replicates has many metrics

}  // namespace rung
