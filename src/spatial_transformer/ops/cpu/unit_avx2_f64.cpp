#include "units.h"

#ifdef STN_X86
#pragma GCC target("avx2")
#define STN_SET avx2
#define STN_BYTES 32
#define STN_PLANAR double
#define STN_INTERLEAVED double
#include "unit.inc.h"
#endif
