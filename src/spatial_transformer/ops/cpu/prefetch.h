// Prefetching what affine maps read of planes in place. A processor's own prefetcher follows lines
// of memory; an output row goes across the rows of the image. So what the next rows of the output
// come to is prefetched as whole rows of the image (slices, in 3-D), each once, a share of it with
// each step of the work.
#pragma once

#include "locate.h"

namespace stn::STN_SET {
namespace {

// The lines of `n` numbers, of which some may not exist.
template <bool Write, class T>
STN_INLINE void prefetch_lines(const T* from, int64_t n) {
  for (int64_t k = 0; k < n; k += 64 / sizeof(T)) __builtin_prefetch(from + k, Write, 2);
}
// Prefetch distance in the output, or its gradient, which are gone along in order: numbers.
template <class T>
constexpr int kPrefetchDistance = 2048 / sizeof(T);

template <class T, int D>
struct Prefetcher {
  const T* from = nullptr;  // what is prefetched now: the place in the first plane,
  int64_t share = 0;        // and how much of it with each step
  int64_t reached = 0;      // the row (slice) of the image that this has come to

  // Before output row `first`: what lies before it has been prefetched with the rows before.
  STN_NOINLINE void begin(const Coordinates<T, D>& coordinates, int64_t first) {
    reached = front(coordinates, first, first ? 1 : -1);
  }
  // What output rows up to r read of planes whose pixels are `pixel` numbers apart, in so many
  // steps.
  STN_NOINLINE void advance(const Coordinates<T, D>& coordinates, int64_t r, const T* plane,
                            int64_t pixel, int64_t steps) {
    const Call<T>& call = coordinates.call;
    const int64_t to = front(coordinates, r, 1);
    const int64_t pitch = (D == 3 ? call.slice() : call.stride()) * pixel;
    from = plane + (reached < to ? reached : to) * pitch;
    const int64_t size = (reached < to ? to - reached : reached - to) * pitch;
    share = (size + steps - 1) / steps;
    reached = to;
  }
  // The share of `steps` steps, from the given one on; of a plane `apart` from the first.
  template <bool Write>
  STN_INLINE void some(int64_t apart, int64_t step, int64_t steps) const {
    if (!share) return;
    prefetch_lines<Write>(from + apart + step * share, steps * share);
  }

 private:
  // The last row of the image that output row r reads, in the order in which they are come to, or
  // (`side` -1) the first one; about, and from 0 to their number.
  static int64_t front(const Coordinates<T, D>& coordinates, int64_t r, double side) {
    const Plan& p = coordinates.call.p;
    const double* m = coordinates.matrix[D - 1];
    const double along = D == 3 ? coordinates.z_of(r) : coordinates.y_of(r);
    const double middle = m[D - 1] * along + m[D];
    double extent = fabs(m[0]) * double(p.out_size[0]) + 4;
    if (D == 3) extent += fabs(m[1]) * double(p.out_size[1]);
    const double at = middle + (m[D - 1] < 0 ? -side : side) * extent / 2;
    const double n = double(p.size[D - 1]);
    return at > 0 ? int64_t(at < n ? at : n) : 0;  // NaN is 0
  }
};

}  // namespace
}  // namespace stn::STN_SET
