// Whether two neighbouring rungs rank the same trials alike, as far as noise lets anybody say (Bohdal et al.
// 2023, "PASHA: Efficient HPO and NAS with Progressive Resource Allocation", section 4). Pure; thread-safe.
#pragma once

#include "search/brackets/scheduler.h"

namespace rung {

// The trials scored at `level` in its order stand in the order of the level below too, where losses closer
// than RankingNoise count as equal. Requires level >= 1.
bool RankingsAgree(const Bracket& bracket, int level);

// The 90th percentile of the differences at `level` between trials whose order changed twice on their way:
// noise, not merit. 0 where no pair did.
double RankingNoise(const Bracket& bracket, int level);

}  // namespace rung
