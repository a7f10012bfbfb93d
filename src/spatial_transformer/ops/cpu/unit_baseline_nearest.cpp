#include "units.h"

#define STN_SET baseline
#define STN_BYTES 16
#define STN_NEAREST
#include "unit.inc.h"
