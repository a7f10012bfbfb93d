// Bilinear and bicubic, double precision, with AVX2.
#include "units.h"

#ifdef STN_X86
#pragma GCC target("avx2")
#define STN_SET avx2
#define STN_BYTES 32
#include "passes.h"

namespace stn::avx2 {
Passes<double> planar(const Plan& p, double) { return planar_passes<double>(p); }
Passes<double> interleaved(const Plan& p, double) { return interleaved_passes<double>(p); }
}  // namespace stn::avx2
#endif
