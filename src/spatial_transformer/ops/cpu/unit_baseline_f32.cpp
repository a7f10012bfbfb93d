// Bilinear and bicubic, single precision, with what every processor has.
#include "units.h"

#define STN_SET baseline
#define STN_BYTES 16
#include "passes.h"

namespace stn::baseline {
Passes<float> planar(const Plan& p, float) { return planar_passes<float>(p); }
Passes<float> interleaved(const Plan& p, float) { return interleaved_passes<float>(p); }
}  // namespace stn::baseline
