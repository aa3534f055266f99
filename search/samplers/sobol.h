// Sobol's sequence, Owen-scrambled: points that fill the unit cube more evenly than random ones. Pure
// functions; thread-safe.
#pragma once

#include <cstdint>

namespace rung {

// Coordinate `dimension` of the unscrambled point `index` as bits below the binary point. Direction numbers:
// Joe and Kuo 2008, "Constructing Sobol sequences with better two-dimensional projections", new-joe-kuo-6.
// Requires dimension < kSobolDimensions.
inline constexpr int kSobolDimensions = 21;
uint32_t SobolBits(uint32_t index, int dimension);

// Coordinate on [0, 1) of the scrambled point. Any dimension: each further set of kSobolDimensions is the
// same sequence in another order (Burley 2020, "Practical hash-based Owen scrambling").
double ScrambledSobol(uint32_t index, int dimension, uint64_t seed);

}  // namespace rung
