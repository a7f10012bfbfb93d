// Bilinear and bicubic, single precision, along pixels, with AVX-512.
#include "units.h"

#ifdef STN_X86
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw")
#define STN_SET avx512
#define STN_BYTES 64
#include "passes.h"

namespace stn::avx512 {
Passes<float> planar(const Plan& p, float) { return planar_passes<float>(p); }
}  // namespace stn::avx512
#endif
