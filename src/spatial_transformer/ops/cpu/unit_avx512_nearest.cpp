// Nearest, with AVX-512; and whether its gathers pay.
#include "units.h"

#ifdef STN_X86
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw")
#define STN_SET avx512
#define STN_BYTES 64
#include "nearest.h"

namespace stn::avx512 {
NearestPasses<float> nearest(const Plan& p, float) { return nearest_passes<float>(p); }
NearestPasses<double> nearest(const Plan& p, double) { return nearest_passes<double>(p); }
// measured once
bool gathers() {
  static const bool pays = best_level() >= 2 && gathering_pays();
  return pays;
}
}  // namespace stn::avx512
#endif
