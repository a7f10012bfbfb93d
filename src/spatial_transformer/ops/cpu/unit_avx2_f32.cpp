// Bilinear and bicubic, single precision, with AVX2.
#include "units.h"

#ifdef STN_X86
#pragma GCC target("avx2")
#define STN_SET avx2
#define STN_BYTES 32
#include "passes.h"

namespace stn::avx2 {
Passes<float> planar(const Plan& p, float) { return planar_passes<float>(p); }
Passes<float> interleaved(const Plan& p, float) { return interleaved_passes<float>(p); }
}  // namespace stn::avx2
#endif
