// Nearest, with what every processor has.
#include "units.h"

#define STN_SET baseline
#define STN_BYTES 16
#include "nearest.h"

namespace stn::baseline {
NearestPasses<float> nearest(const Plan& p, float) { return nearest_passes<float>(p); }
NearestPasses<double> nearest(const Plan& p, double) { return nearest_passes<double>(p); }
}  // namespace stn::baseline
