#include "units.h"

#ifdef STN_X86
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw")
// channels come in eights
#define STN_SET avx512
#define STN_BYTES 32
#define STN_INTERLEAVED double
#include "unit.inc.h"
#endif
