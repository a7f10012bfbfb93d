// The passes over one task that interpolate: vectors along pixels, or along channels.
#pragma once

#include "interleaved.h"
#include "planar.h"
#include "scatter.h"

namespace stn::STN_SET {
namespace {

// The gradient of channels [low, high) of one image, over strip `strip` of the outputs that read
// it. The first strip writes the gradient; others write theirs to `planes`, to be added.
template <class T, int D, bool Interleave>
void image_gradient(const Call<T>& call, const int64_t* numbers, T* planes) {
  const int64_t image = numbers[0], low = numbers[1], high = numbers[2], strip = numbers[3];
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
      Interleaved<T, D> p(call, b);
      p.block(low, high);
      const size_t size = call.pad ? copy_size(call, m) : size_t(m * call.plane());
      if (call.pad) sum = p.base;
      p.base = sum;
      if (k == 0) memset(sum, 0, size * sizeof(T));
      interleaved_scatter(p, first, last);
    } else {
      Planar<T, D> p(call, b);
      p.count = m;
      const int64_t step = call.pad ? call.copied() : call.plane();
      if (call.pad) sum = p.copy;
      if (k == 0) memset(sum, 0, size_t(m * step) * sizeof(T));
      planar_scatter(p, first, last, low, sum, step);
    }
  }
  if (call.pad) fold(call, image, low, high, sum);
}

template <class T, int D>
Passes<T> planar_instances() {
  return {
      [](const Call<T>& call, const int64_t* n) {
        planar_forward<T, D>(call, n[0], n[1], n[2], n[3], n[4]);
      },
      [](const Call<T>& call, const int64_t* n, double* part) {
        planar_map_gradient<T, D>(call, n[0], n[1], n[2], part);
      },
      image_gradient<T, D, false>,
  };
}
template <class T, int D>
Passes<T> interleaved_instances() {
  return {
      [](const Call<T>& call, const int64_t* n) {
        interleaved_forward<T, D>(call, n[0], n[1], n[2], n[3], n[4]);
      },
      [](const Call<T>& call, const int64_t* n, double* part) {
        interleaved_map_gradient<T, D>(call, n[0], n[1], n[2], part);
      },
      image_gradient<T, D, true>,
  };
}
template <class T>
Passes<T> planar_passes(const Plan& p) {
  return p.dims == 3 ? planar_instances<T, 3>() : planar_instances<T, 2>();
}
template <class T>
Passes<T> interleaved_passes(const Plan& p) {
  return p.dims == 3 ? interleaved_instances<T, 3>() : interleaved_instances<T, 2>();
}

}  // namespace
}  // namespace stn::STN_SET
