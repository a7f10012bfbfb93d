// Bilinear and bicubic, double precision, with AVX-512.
#include "units.h"

#ifdef STN_X86
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw")
#define STN_SET avx512
#define STN_BYTES 64
#include "passes.h"

namespace stn::avx512 {
Passes<double> planar(const Plan& p, double) { return planar_passes<double>(p); }
Passes<double> interleaved(const Plan& p, double) { return interleaved_passes<double>(p); }
}  // namespace stn::avx512
#endif
