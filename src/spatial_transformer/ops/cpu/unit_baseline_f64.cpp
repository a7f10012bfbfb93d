// Bilinear and bicubic, double precision, with what every processor has.
#include "units.h"

#define STN_SET baseline
#define STN_BYTES 16
#include "passes.h"

namespace stn::baseline {
Passes<double> planar(const Plan& p, double) { return planar_passes<double>(p); }
Passes<double> interleaved(const Plan& p, double) { return interleaved_passes<double>(p); }
}  // namespace stn::baseline
