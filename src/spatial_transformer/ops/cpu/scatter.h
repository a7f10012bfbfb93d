// The gradient to the image along pixels, equation (6).
#pragma once

#include "planar.h"

namespace stn::STN_SET {
namespace {

// Adding to a pixel has to wait for the addition before, if that was to the same pixel, as it often
// is for neighbours: so these are taken apart, in a fixed order.
constexpr int kOrder[kGroup] = {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15};

// A group of pixels, some of them boundary pixels, from column j on.
template <class T, int D, int W>
STN_NOINLINE void scatter_boundary(const Planar<T, D>& p, int64_t j, int remaining, const T* grad,
                                   int64_t grad_step, T* planes, int64_t step) {
  constexpr int count = kTaps<D, W>, wide = kLanes<T>;
  T weights[count][kGroup];
  int32_t places[count][kGroup];  // -1: nowhere
  for (int v = 0; v < kGroup; v += wide) {
    Vec<T> u[D];
    Taps<T, D> taps;
    int32_t at[count][wide];
    p.coordinates.at(j + v, remaining - v, u);
    p.locator.boundary(u, taps);
    const Weights<T, D, W> w(taps.t, false);
    if (!p.call.pad) tap_indices<T, D>(p.call, taps, at);
    for (int n = 0; n < count; ++n) {
      store(weights[n] + v, w.product(n));
      const int32_t offset = int32_t(tap_offset<D, W>(p.strides, n));
      if (p.call.pad) store(at[n], taps.invalid ? Int<T>{} - 1 : taps.index + offset);
      memcpy(places[n] + v, at[n], sizeof at[n]);
    }
  }
  for (int64_t c = 0; c < p.count; ++c) {
    for (int k : kOrder) {
      for (int n = 0; n < count && k < remaining; ++n) {
        if (places[n][k] < 0) continue;
        planes[c * step + places[n][k]] += grad[c * grad_step + k] * weights[n][k];
      }
    }
  }
}

// Interior pixels [from, to) of the run.
template <class T, int D, int W>
STN_NOINLINE void scatter_interior(const Planar<T, D>& p, int from, int to, const T* grad,
                                   int64_t grad_step, T* plane, int64_t step) {
  constexpr int taps = kTaps<D, W>, wide = kLanes<T>;
  const Reading<T, D> reading = p.reading();
  int64_t offsets[taps];
  STN_UNROLL
  for (int n = 0; n < taps; ++n) offsets[n] = tap_offset<D, W>(reading.strides, n);
  for (int64_t c = 0; c < reading.count; ++c, grad += grad_step, plane += step) {
    for (int first = from; first < to; first += kGroup) {
      T amount[taps][kGroup];
      STN_UNROLL
      for (int v = 0; v < kGroup; v += wide) {
        Vec<T> t[D];
        reading.fractions(first + v, t);
        const Weights<T, D, W> weights(t, false);
        const Vec<T> g = load_some(grad + first + v, to - first - v);
        STN_UNROLL
        for (int n = 0; n < taps; ++n) store(amount[n] + v, g * weights.product(n));
      }
      const int32_t* index = reading.index + first;
      reading.template prefetch<true>(plane, first, kGroup);
      __builtin_prefetch(grad + first + kPrefetchDistance<T>, 0, 2);
      const auto add = [&](int k) STN_LAMBDA {
        T* at = plane + index[k];
        STN_UNROLL
        for (int n = 0; n < taps; ++n) at[offsets[n]] += amount[n][k];
      };
      if (first + kGroup <= to) {
        STN_UNROLL
        for (int k = 0; k < kGroup; ++k) add(kOrder[k]);
      } else {
        for (int k = 0; first + k < to; ++k) add(k);
      }
    }
  }
}

// Equation (6) of rows [first, last) of an output, added to the planes of the channels from `low`
// on.
template <class T, int D>
STN_NOINLINE void planar_scatter(Planar<T, D>& p, int64_t first, int64_t last, int64_t low,
                                 T* planes, int64_t step) {
  auto interior = scatter_interior<T, D, 2>;
  auto boundary = scatter_boundary<T, D, 2>;
  if constexpr (D == 2) {
    if (p.call.p.kernel == kCubic) {
      interior = scatter_interior<T, D, 4>, boundary = scatter_boundary<T, D, 4>;
    }
  }
  p.planes = planes;
  if (p.call.prefetches) p.prefetcher.begin(p.coordinates, first);
  p.for_runs(first, last, [&]() {
    int64_t grad_step;
    const T* grad = p.run_of(p.call.grad, low, grad_step);
    p.run.for_interior(
        [&](int from, int end) { interior(p, from, end, grad, grad_step, planes, step); });
    for (int k = 0; k < p.run.boundaries; ++k) {
      const auto& group = p.run.groups[k];
      if (group.off) continue;
      p.coordinates.row(group.r);
      boundary(p, group.j, group.count, grad + group.at, grad_step, planes, step);
    }
  });
}

}  // namespace
}  // namespace stn::STN_SET
