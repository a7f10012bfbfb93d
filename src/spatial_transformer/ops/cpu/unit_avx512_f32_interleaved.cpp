// The same along channels, which come in eights: vectors are as wide as AVX2's.
#include "units.h"

#ifdef STN_X86
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw")
#define STN_SET avx512
#define STN_BYTES 32
#include "passes.h"

namespace stn::avx512 {
Passes<float> interleaved(const Plan& p, float) { return interleaved_passes<float>(p); }
}  // namespace stn::avx512
#endif
