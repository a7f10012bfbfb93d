// Where a coordinate reads: the pixels and weights of a chunk of output pixels, in any padding.
//
// The arithmetic is that of samplers/eager.py, step by step; see there and coordinates.py for why.
#pragma once

#include <cmath>
#include <cstdint>

namespace stn {

constexpr int kChunk = 256;  // output pixels worked on at a time: their taps stay in the L1 cache

enum Kernel : int { kNearest = 0, kBilinear = 1 };
enum Padding : int { kConstant = 0, kBorder = 1, kReflection = 2, kMirror = 3, kWrap = 4 };

#define STN_INLINE inline __attribute__((always_inline))

// One axis of a chunk: first and second pixel, the second one's weight, and whether each is inside.
template <class T>
struct Axis {
  int32_t i0[kChunk], i1[kChunk];
  int32_t in0[kChunk], in1[kChunk];
  T t[kChunk];
};

template <int P>
STN_INLINE int32_t fold(int32_t i, int32_t n) {
  // i is at most one period off, because its base pixel was folded before
  if (P == kReflection) {
    const int32_t period = 2 * n;
    i = i >= period ? i - period : i;
    i = i >= n ? period - 1 - i : i;
  } else if (P == kMirror) {
    const int32_t period = n > 1 ? 2 * n - 2 : 1;
    i = i >= period ? i - period : i;
    i = i >= n ? period - i : i;
  } else if (P == kWrap) {
    i = i >= n ? i - n : i;
  }
  // whatever rounding did to a huge coordinate, no read leaves the image
  i = i < 0 ? 0 : i;
  return i >= n ? n - 1 : i;
}

template <class T, int P>
STN_INLINE void axis_taps(const T* u, const int32_t* finite, int count, int32_t n, T shift, T tolerance,
                          Axis<T>& out) {
  const int32_t period = P == kReflection ? 2 * n : P == kMirror ? (n > 1 ? 2 * n - 2 : 1) : n;
  const T last = T(n) + 1;
#pragma omp simd
  for (int j = 0; j < count; ++j) {
    const T s = finite[j] ? u[j] : T(0);
    const T base = std::floor(s + (shift + tolerance));
    T t = s - base;
    t = std::fabs(t) <= tolerance ? T(0) : t;
    out.t[j] = t;
    if (P == kConstant || P == kBorder) {
      T b = base < T(-2) ? T(-2) : base;
      b = b > last ? last : b;
      const int32_t i = int32_t(b);
      const int32_t inside0 = (i >= 0) & (i < n), inside1 = (i >= -1) & (i < n - 1);
      out.in0[j] = finite[j] & (P == kBorder ? 1 : inside0);
      out.in1[j] = finite[j] & (P == kBorder ? 1 : inside1);
      out.i0[j] = fold<P>(i, n);
      out.i1[j] = fold<P>(i + 1, n);
    } else {
      T b = base - T(period) * std::floor(base / T(period));
      b = b < T(0) ? T(0) : b;
      b = b > T(period) ? T(period) : b;  // false for NaN, which base is not
      const int32_t i = int32_t(b);
      out.in0[j] = out.in1[j] = finite[j];
      out.i0[j] = fold<P>(i, n);
      out.i1[j] = fold<P>(i + 1, n);
    }
  }
}

template <class T>
STN_INLINE void axis_taps(int padding, const T* u, const int32_t* finite, int count, int32_t n,
                          T shift, T tolerance, Axis<T>& out) {
  switch (padding) {
    case kConstant: return axis_taps<T, kConstant>(u, finite, count, n, shift, tolerance, out);
    case kBorder: return axis_taps<T, kBorder>(u, finite, count, n, shift, tolerance, out);
    case kReflection: return axis_taps<T, kReflection>(u, finite, count, n, shift, tolerance, out);
    case kMirror: return axis_taps<T, kMirror>(u, finite, count, n, shift, tolerance, out);
    default: return axis_taps<T, kWrap>(u, finite, count, n, shift, tolerance, out);
  }
}

// Four flat indices and what is inside, from two axes.
template <class T>
struct Taps {
  Axis<T> x, y;
  int32_t i[4][kChunk];   // top left, top right, bottom left, bottom right
  int32_t in[4][kChunk];
  bool all_inside;

  STN_INLINE void make(int kernel, int padding, const T* u, const T* v, int count, int32_t height,
                       int32_t width, T tolerance_x, T tolerance_y) {
    int32_t finite[kChunk];
    for (int j = 0; j < count; ++j) finite[j] = (u[j] - u[j] == T(0)) & (v[j] - v[j] == T(0));
    const T shift = kernel == kNearest ? T(0.5) : T(0);
    axis_taps<T>(padding, u, finite, count, width, shift, tolerance_x, x);
    axis_taps<T>(padding, v, finite, count, height, shift, tolerance_y, y);
    int32_t inside = 1;
#pragma omp simd reduction(& : inside)
    for (int j = 0; j < count; ++j) {
      const int32_t top = y.i0[j] * width, bottom = y.i1[j] * width;
      i[0][j] = top + x.i0[j];
      i[1][j] = top + x.i1[j];
      i[2][j] = bottom + x.i0[j];
      i[3][j] = bottom + x.i1[j];
      in[0][j] = y.in0[j] & x.in0[j];
      in[1][j] = y.in0[j] & x.in1[j];
      in[2][j] = y.in1[j] & x.in0[j];
      in[3][j] = y.in1[j] & x.in1[j];
      inside &= in[0][j] & in[1][j] & in[2][j] & in[3][j];
    }
    all_inside = inside;
  }

  // The value of tap k at pixel j: the image's, or the fill value outside.
  template <bool Inside>
  STN_INLINE T read(const T* image, T fill, int k, int j) const {
    const T value = image[i[k][j]];
    return Inside || in[k][j] ? value : fill;
  }
};

}  // namespace stn
