// Equation (3) and its derivatives at a vector of pixels: weights, values and slopes.
#pragma once

#include "locate.h"

namespace stn::STN_SET {
namespace {

// Keys' cubic with a = -0.75, by Horner's rule as samplers/pieces.py has it: exact where t is 0.
template <class T>
STN_INLINE void cubic_weights(const Vec<T>& t, Vec<T>* w) {
  w[0] = ((T(-0.75) * t + T(1.5)) * t + T(-0.75)) * t;
  w[1] = (T(1.25) * t + T(-2.25)) * t * t + 1;
  w[2] = ((T(-1.25) * t + T(1.5)) * t + T(0.75)) * t;
  w[3] = (T(0.75) * t + T(-0.75)) * t * t;
}
template <class T>
STN_INLINE void cubic_slopes(const Vec<T>& t, Vec<T>* w) {
  w[0] = (T(-2.25) * t + T(3)) * t + T(-0.75);
  w[1] = (T(3.75) * t + T(-4.5)) * t;
  w[2] = (T(-3.75) * t + T(3)) * t + T(0.75);
  w[3] = (T(2.25) * t + T(-1.5)) * t;
}

// The weights of W taps along each axis and, for cubic, what they change by.
template <class T, int D, int W>
struct Weights {
  Vec<T> w[D][W], slope[D][W];

  STN_INLINE Weights(const Vec<T>* t, bool slopes) {
    STN_UNROLL
    for (int k = 0; k < D; ++k) {
      if (W == 2) {
        w[k][0] = 1 - t[k], w[k][1] = t[k];
      } else {
        cubic_weights<T>(t[k], w[k]);
        if (slopes) cubic_slopes<T>(t[k], slope[k]);
      }
    }
  }

  // The weight of tap n of all, x fastest.
  STN_INLINE Vec<T> product(int n) const {
    const Vec<T> on = w[0][n % W] * w[1][n / W % W];
    return D == 3 ? on * w[D - 1][n / (W * W)] : on;
  }
};

template <int D, int W>
constexpr int kTaps = D == 3 ? W * W * W : W * W;

// Of the plane that is read, in pixels.
struct Strides {
  int64_t row, slice;
};
// From the base to tap n.
template <int D, int W>
STN_INLINE int64_t tap_offset(const Strides& strides, int n) {
  constexpr int before = kBefore<W>;
  const int64_t on = n % W - before + (n / W % W - before) * strides.row;
  return D == 3 ? on + (n / (W * W) - before) * strides.slice : on;
}

// Sums over the taps' values.
template <class V, int D, int W>
STN_INLINE V weighted(const V* values, const V (*w)[W]) {
  if constexpr (D == 3) {
    V total = weighted<V, 2, W>(values, w) * w[2][0];
    STN_UNROLL
    for (int z = 1; z < W; ++z) total += weighted<V, 2, W>(values + z * W * W, w) * w[2][z];
    return total;
  }
  V on_z = {};
  STN_UNROLL
  for (int y = 0; y < W; ++y) {
    const V* v = values + y * W;
    V on_y = v[0] * w[0][0];
    STN_UNROLL
    for (int x = 1; x < W; ++x) on_y += v[x] * w[0][x];
    on_z = y ? on_z + on_y * w[1][y] : on_y * w[1][y];
  }
  return on_z;
}

// The derivative along an axis. Between two taps it is their difference, taken first: what is
// subtracted last has lost its digits.
template <class V, int D, int W>
STN_INLINE V sloped(int axis, const V* values, const V (*w)[W], const V (*slope)[W]) {
  constexpr int steps[3] = {1, W, W * W};
  if (W == 2) {
    const int step = steps[axis], u = axis == 0 ? 1 : 0, v = axis == 2 ? 1 : 2;
    V along[D - 1];
    STN_UNROLL
    for (int k = 0; k < D - 1; ++k) {
      const V* from = values + (k ? steps[v] : 0);
      along[k] =
          (from[step] - from[0]) * w[u][0] + (from[steps[u] + step] - from[steps[u]]) * w[u][1];
    }
    return D == 2 ? along[0] : along[0] * w[v % D][0] + along[D - 2] * w[v % D][1];
  }
  V mixed[D][W];
  STN_UNROLL
  for (int k = 0; k < D; ++k) {
    STN_UNROLL
    for (int n = 0; n < W; ++n) mixed[k][n] = k == axis ? slope[k][n] : w[k][n];
  }
  return weighted<V, D, W>(values, mixed);
}

// The values of all taps, from the plane or its copy.
template <class T, int D, int W, bool Gather = false>
STN_INLINE void load_taps(const Strides& strides, const int32_t* index, const T* plane,
                          Vec<T>* values) {
  constexpr int few = W == 2 ? kTaps<D, W> / 2 : 2;  // as many as there are registers for
  STN_UNROLL
  for (int n = 0; n < kTaps<D, W>; n += 2 * few) {
    const T* sources[few];
    STN_UNROLL
    for (int k = 0; k < few; ++k) sources[k] = plane + tap_offset<D, W>(strides, n + 2 * k);
    load_pairs<Gather, few>(sources, index, values + n);
  }
}

// The same of boundary pixels of the plane itself, some of whose taps are not on it.
template <class T, int D, int W>
struct BoundaryTaps {
  static constexpr int kPairs = kTaps<D, W> / 2;
  // two taps along x, with a constant around the image; others are `at`
  const bool paired;
  int32_t at[kTaps<D, W>][kLanes<T>];
  // where pairs of neighbours on the image are; how they are the taps
  int32_t pair[kPairs + 1][kLanes<T>];
  Mask<T> on[kPairs + 1];  // the image has that row
  Mask<T> left, right;     // the first tap is left of the pair, or is its second

  explicit BoundaryTaps(const Call<T>& call)
      : paired(W == 2 && call.p.padding == kConstant && call.p.size[0] > 1) {}

  // Whether there is any but the fill value.
  STN_INLINE bool find(const Call<T>& call, Taps<T, D>& taps) {
    if (W != 2 || !paired) return tap_indices<T, D>(call, taps, at);
    if (!any_on<T, D>(call, taps)) return false;
    const auto within = [](const Int<T>& i, int64_t last) STN_LAMBDA {
      const Int<T> high = i < int32_t(last) ? i : Int<T>{} + int32_t(last);
      return high > 0 ? high : Int<T>{};
    };
    const Int<T> x = within(taps.base[0], call.p.size[0] - 2);
    left = to_mask<T>(Int<T>(taps.base[0] < x)), right = to_mask<T>(Int<T>(taps.base[0] > x));
    STN_UNROLL
    for (int n = 0; n < kPairs; ++n) {
      Int<T> index = x, off = Int<T>{};
      STN_UNROLL
      for (int k = 1; k < D; ++k) {
        const Int<T> place = taps.base[k] + (k == 1 ? n % 2 : n / 2);
        const Int<T> row = within(place, call.p.size[k] - 1);
        off |= row != place;
        index += row * int32_t(k == 1 ? call.stride() : call.slice());
      }
      store(pair[n], index);
      on[n] = to_mask<T>(Int<T>(~off));
    }
    return true;
  }
  STN_INLINE void load(const T* plane, T fill, Vec<T>* values) const {
    if (W != 2 || !paired) {
      for (int n = 0; n < kTaps<D, W>; ++n) values[n] = load_known(plane, at[n], fill);
      return;
    }
    const Vec<T> none = splat(fill);
    STN_UNROLL
    for (int n = 0; n < kPairs; ++n) {
      Vec<T> read[2];
      load_pairs<false, 1>(&plane, pair[n], read);
      const Vec<T> first = right ? read[1] : left ? none : read[0];
      const Vec<T> second = left ? read[0] : right ? none : read[1];
      values[2 * n] = on[n] ? first : none;
      values[2 * n + 1] = on[n] ? second : none;
    }
  }
};

}  // namespace
}  // namespace stn::STN_SET
