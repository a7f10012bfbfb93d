// What each unit has: one an instruction set and type of numbers, compiled apart, so that compilers
// work side by side. A unit includes this before it asks for its instruction set, so that nothing
// of the system's headers is compiled for that.
#pragma once

#include <math.h>

#include "plan.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(STN_BASELINE_ONLY)
#define STN_X86 1
#endif

namespace stn {

// The highest instruction set there is: 0 baseline, 1 AVX2, 2 AVX-512.
int64_t best_level();

// One task of a pass; the numbers say which.
template <class T>
struct Passes {
  // output b, rows [first, last), channels [low, high)
  void (*forward)(const Call<T>& call, const int64_t* numbers);
  // output b, rows [first, last) -> part of the matrix's gradient
  void (*map_gradient)(const Call<T>& call, const int64_t* numbers, double* part);
  // image, channels [low, high), strip
  void (*image_gradient)(const Call<T>& call, const int64_t* numbers, T* planes);
};
template <class T>
struct NearestPasses {
  // output b, rows [first, last), channels [low, high)
  void (*forward)(const Call<T>& call, const int64_t* numbers);
  // image, channels [low, high)
  void (*image_gradient)(const Call<T>& call, const int64_t* numbers);
};

// The number says which type is meant.
#define STN_DECLARE(Set)                                                            \
  namespace Set {                                                                   \
  Passes<float> planar(const Plan& p, float), interleaved(const Plan& p, float);    \
  Passes<double> planar(const Plan& p, double), interleaved(const Plan& p, double); \
  NearestPasses<float> nearest(const Plan& p, float);                               \
  NearestPasses<double> nearest(const Plan& p, double);                             \
  bool gathers();                                                                   \
  }
STN_DECLARE(baseline)
STN_DECLARE(avx2)
STN_DECLARE(avx512)

}  // namespace stn
