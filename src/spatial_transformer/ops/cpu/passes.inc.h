// The passes over one task that interpolate: vectors along pixels, or along channels.

#include "lanes.inc.h"
#include "taps.inc.h"
#include "fetch.inc.h"
#include "read.inc.h"
#include "planes.inc.h"
#include "planar.inc.h"
#include "scatter.inc.h"
#include "interleaved.inc.h"

// The gradient of channels [low, high) of one image, over strip `strip` of the outputs that read
// it. The first strip writes the gradient; others write theirs to `planes`, to be added.
template <class T, int D, int W, bool Interleave>
void image_gradient(const Call<T>& call, int64_t image, int64_t low, int64_t high, int64_t strip,
                    T* planes) {
  const int64_t sharing = call.p.batch / call.p.images, rows = call.rows(), m = high - low;
  const int64_t first = rows * strip / call.strips, last = rows * (strip + 1) / call.strips;
  T* sum = planes;
  if (!sum && !call.pad) {
    const int64_t plane = image * call.p.channels * call.plane();  // all of them, if interleaved
    sum = static_cast<T*>(call.grad_image) + plane + low * call.plane();
  }
  for (int64_t k = 0; k < sharing; ++k) {
    const int64_t b = image * sharing + k;
    if constexpr (Interleave) {
      Interleaved<T, D, W> p(call, b);
      p.block(low, high);
      const size_t size = call.pad ? copy_size(call, m) : size_t(m * call.plane());
      if (call.pad) sum = p.base;
      p.base = sum;
      if (k == 0) memset(sum, 0, size * sizeof(T));
      interleaved_scatter(p, first, last);
    } else {
      Planar<T, D, W> p(call, b);
      p.count = m;
      const int64_t step = call.pad ? call.copied() : call.plane();
      if (call.pad) sum = p.copy;
      if (k == 0) memset(sum, 0, size_t(m * step) * sizeof(T));
      planar_scatter(p, first, last, low, sum, step);
    }
  }
  if (call.pad) fold(call, image, low, high, sum);
}

template <class T, int D, int W, bool Interleave>
Passes<T> instances() {
  return {
      [](const Call<T>& call, const int64_t* n) {
        if constexpr (Interleave) {
          interleaved_forward<T, D, W>(call, n[0], n[1], n[2], n[3], n[4]);
        } else {
          planar_forward<T, D, W>(call, n[0], n[1], n[2], n[3], n[4]);
        }
      },
      [](const Call<T>& call, const int64_t* n, double* part) {
        if constexpr (Interleave) {
          interleaved_map_gradient<T, D, W>(call, n[0], n[1], n[2], part);
        } else {
          planar_map_gradient<T, D, W>(call, n[0], n[1], n[2], part);
        }
      },
      [](const Call<T>& call, const int64_t* n, T* planes) {
        image_gradient<T, D, W, Interleave>(call, n[0], n[1], n[2], n[3], planes);
      },
  };
}
template <class T, bool Interleave>
Passes<T> passes(const Plan& p) {
  if (p.dims == 3) {
    return instances<T, 3, 2, Interleave>();
  }
  return p.kernel == kLinear ? instances<T, 2, 2, Interleave>() : instances<T, 2, 4, Interleave>();
}
