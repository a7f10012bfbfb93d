#include "units.h"

#define STN_SET baseline
#define STN_BYTES 16
#define STN_PLANAR float
#define STN_INTERLEAVED float
#include "unit.inc.h"
