// The body of a unit: the file that includes this says for which instruction set (STN_SET), how wide its
// vectors are (STN_BYTES) and what of it (STN_PLANAR, STN_INTERLEAVED or STN_NEAREST: the type of
// numbers), under the compiler's target for that. All but what units.h declares is the unit's own: what
// is compiled for one processor must not be linked in place of what is for another.

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors never cross a function that is not inlined

namespace stn {
namespace STN_SET {
namespace {
#ifdef STN_NEAREST
#include "nearest.inc.h"
#else
#include "passes.inc.h"
#endif
}  // namespace

#ifdef STN_PLANAR
Passes<STN_PLANAR> planar(const Plan& p, STN_PLANAR) { return passes<STN_PLANAR, false>(p); }
#endif
#ifdef STN_INTERLEAVED
Passes<STN_INTERLEAVED> interleaved(const Plan& p, STN_INTERLEAVED) {
  return passes<STN_INTERLEAVED, true>(p);
}
#endif
#ifdef STN_NEAREST
NearestPasses<float> nearest(const Plan& p, float) { return nearest_passes<float>(p); }
NearestPasses<double> nearest(const Plan& p, double) { return nearest_passes<double>(p); }
// measured once
bool gathers() {
#if defined(STN_X86) && STN_BYTES == 64
  static const bool pays = best_level() >= 2 && gathering_pays();
  return pays;
#else
  return false;
#endif
}
#endif

}  // namespace STN_SET
}  // namespace stn
