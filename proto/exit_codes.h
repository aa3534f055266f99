// What the exit code of a worker or of a trainer says (docs/trainer-messages.md). Constants only.
#pragma once

namespace rung {

// Stopped in good order, and not at the end of its work: a trainer that was asked to, a worker whose job
// ends.
inline constexpr int kExitReleased = 85;
inline constexpr int kExitMachine = 74;  // of a trainer: the machine failed (a full disk), not the config

}  // namespace rung
