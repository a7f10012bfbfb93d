#include "units.h"

#define STN_SET baseline
#define STN_BYTES 16
#define STN_PLANAR double
#define STN_INTERLEAVED double
#include "unit.inc.h"
