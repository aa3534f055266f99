// How a command reaches the coordinator of a state directory, starting one where none lives (docs/design.md,
// "State directory"): reads start `rungd --offline`, writes `rungd --idle-exit 60s`; both give way to a
// coordinator that works.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "cli/client.h"
#include "proto/daemon_output.h"
#include "proto/endpoint.h"

namespace rung {

struct Context;  // cli/commands.h

enum class Access { kRead, kWrite };

// As FindStateDir (proto/endpoint.h); else NotFound (E0690).
absl::StatusOr<StateDir> ExistingStateDir(const std::string& dir_flag);
// The same, else .rung beside `study_file`; made if missing.
absl::StatusOr<StateDir> StateDirFor(const std::string& dir_flag, const std::string& study_file);

// Says on stderr where the state lies, where that is not what a person would guess: commands typed here will
// not find it, or it is not beside the study file.
void TellStateDir(const StateDir& dir, const std::string& study_file);

// " --dir DIR", as it was typed or as a command that reads no study file needs it where this one was typed;
// empty if it finds the directory alone.
std::string DirOptionFor(const Context& context, const StateDir& dir);

// The living coordinator of the directory. Errors: NotFound (E0611: none lives), Unavailable (E0691: it
// lives, or may live on another host, and does not answer).
absl::StatusOr<Client> ReachLiving(const StateDir& dir, absl::Duration deadline);

// The living coordinator, else one started for this call. A coordinator that was started for reading is
// replaced by one that writes. While one coordinator follows another it waits: up to 45 s, 15 s for one on
// another host; a pending SIGINT or SIGTERM ends that. The client reaches again by itself when its
// coordinator ends. Errors: Unavailable (E0691: the directory is held and nobody answers), and the started
// rungd's own. `before_note` is called before it prints, now or later, that it waits.
absl::StatusOr<Client> Reach(const StateDir& dir, Access access, Clock& clock,
                             const std::function<void()>& before_note = nullptr);

// Starts `rungd --dir DIR flags...`, its output beside its socket, and waits until it (or another that won
// the lock) answers. *child is its process, 0 if it ended because another was there first. Errors: what rungd
// says at its start; what MayPass where another one is coming or going.
struct CoordinatorStart {
  std::vector<std::string> flags;
  bool die_with_parent = false;
  bool only_reads = false;  // another one that only reads will do as well
};
absl::StatusOr<Client> StartCoordinator(const StateDir& dir, const CoordinatorStart& start, Clock& clock,
                                        pid_t* child);

// Hindrance (cli/views.h) as the coordinator knows it now.
absl::StatusOr<std::string> FindHindrance(Client& client, const v1::StudyStatus& study);

// status.json and its age, for a person or as JSON: what is known while the coordinator cannot be reached.
// Empty if there is none.
std::string LastKnownStatus(const StateDir& dir, bool json, absl::Time now);

}  // namespace rung
