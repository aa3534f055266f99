// What a trainer started and left behind: processes in groups or sessions of their own, which its signals
// miss.
#pragma once

namespace rung {

// From now on a process whose parents are gone becomes a child of this one, not of init. Linux only; for the
// whole process, inherited by nobody.
void AdoptStrays();

// Kills every child of this process that is in another process group, waits for it, and again until there is
// none: for a process that needs no such child. What does not die (a device that hangs) is left after a
// second.
void EndStrays();

}  // namespace rung
