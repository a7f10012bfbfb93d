// Nearest, with AVX2.
#include "units.h"

#ifdef STN_X86
#pragma GCC target("avx2")
#define STN_SET avx2
#define STN_BYTES 32
#include "nearest.h"

namespace stn::avx2 {
NearestPasses<float> nearest(const Plan& p, float) { return nearest_passes<float>(p); }
NearestPasses<double> nearest(const Plan& p, double) { return nearest_passes<double>(p); }
}  // namespace stn::avx2
#endif
