#include "units.h"

#ifdef STN_X86
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw")
#define STN_SET avx512
#define STN_BYTES 64
#define STN_PLANAR float
#include "unit.inc.h"
#endif
