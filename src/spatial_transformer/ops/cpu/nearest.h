// Nearest: every output pixel is a copy of one image pixel, of any type, or of the fill value.
//
// Which pixel it is, is decided in double, whatever the image and the maps are, by the rule of
// samplers/eager.py: floor(u + 1/2), where a grid's number that is the nearest to a half (in its
// own precision) is that half, and a matrix's coordinate within rounding error of one is.
#pragma once

#include "copies.h"

namespace stn::STN_SET {
namespace {

// Flat indices of the pixels that a run of output pixels copies; -1: the fill value.
template <class T, int D>
struct NearestLocator {
  const Call<T>& call;
  Coordinates<T, D> coordinates;
  Vec<double> lanes;
  const Axis axes[3];
  double size[D], close[D];  // of the image; what is rounding error there

  NearestLocator(const Call<T>& call, int64_t b)
      : call(call),
        coordinates(call, b),
        lanes(__builtin_convertvector(count_up<double>(), Vec<double>) - call.axis(0).out_centre),
        axes{call.axis(0), call.axis(1), call.axis(2)} {
    for (int k = 0; k < D; ++k) {
      size[k] = double(call.p.size[k]);
      close[k] = size[k] * double(kEpsilon<T>);
    }
  }

  // Of `count` pixels of row r from column j on, to a whole vector. Whether they are all on the
  // image.
  STN_NOINLINE bool find(int64_t r, int64_t j, int count, int32_t* index) {
    coordinates.row(r);
    const double y = coordinates.y_of(r), z = coordinates.z_of(r);
    double start[D + 1] = {};
    for (int k = 0; k < call.matrix_rows() && !call.p.grid; ++k) {
      const double* m = coordinates.matrix[k];
      start[k] = D == 3 ? m[1] * y + (m[2] * z + m[D]) : m[1] * y + m[D];
    }
    bool all_on = true;
    for (int n = 0; n < count; n += kLanes<double>) {
      Vec<double> u[D], x[D] = {};
      if (call.p.grid) {
        Vec<double> number[D], at[D];
        read_grid(j + n, count - n, number, at);
        for (int k = 0; k < D; ++k) x[k] = number[k], u[k] = at[k];
      } else {
        const Vec<double> across = lanes + double(j + n);
        for (int k = 0; k < D; ++k) u[k] = across * coordinates.matrix[k][0] + start[k];
        if (call.p.projective) {
          const Vec<double> depth = across * coordinates.matrix[D][0] + start[D];
          for (int k = 0; k < D; ++k) {
            u[k] = depth > double(kEpsilon<T>) ? u[k] / depth + coordinates.middle[k]
                                               : splat<double>(NAN);
          }
        }
      }
      Int<double> place, off;
      if (!interior(u, place, off)) {
        Vec<double> at[D], number[D];  // what a call is given the address of is not in registers
        for (int k = 0; k < D; ++k) at[k] = u[k], number[k] = x[k];
        Int<double> found, outside;
        boundary(at, number, found, outside);
        place = found, off = outside;
      }
      if (any_of(off)) all_on = false;
      store(index + n, off ? Int<double>{} - 1 : place);
    }
    return all_on;
  }

 private:
  typedef uint32_t Wrapping __attribute__((vector_size(sizeof(Int<double>))));

  // Places where all lanes are clearly on one pixel or, with a constant around the image, clearly
  // off it; otherwise false.
  STN_INLINE bool interior(const Vec<double>* u, Int<double>& place, Int<double>& off) const {
    const int64_t padding = call.p.padding;
    Mask<double> clear = (u[0] - u[0]) == 0, outside = {};
    place = Int<double>{};
    uint32_t step = 1;
    STN_UNROLL
    for (int k = 0; k < D; ++k) {
      const double n = size[k], close = this->close[k];
      Vec<double> at = u[k];
      if (padding == kConstant) outside |= (at < -0.5 - close) | (at > n - 0.5 + close);
      if (padding == kBorder) {
        clear &= (at - at) == 0;
        at = at > 0 ? at : Vec<double>{};
        at = at < n - 1 ? at : splat(n - 1);
      }
      const Int<double> whole = to_int<double>(at);  // towards zero
      const Vec<double> part = at - __builtin_convertvector(whole, Vec<double>);
      const Mask<double> up = part >= 0.5;
      clear &= (at > close - 0.5) & (at < n - 0.5 - close) & (up | (part < 0.5 - close));
      // what is off the image may overflow, and is not used
      place = Int<double>(Wrapping(place) + Wrapping(whole - to_int_mask<double>(up)) * step);
      step *= uint32_t(call.p.size[k]);
    }
    off = to_int_mask<double>(outside);
    return !any(~(clear | outside));
  }
  // Any coordinates whatever.
  STN_NOINLINE void boundary(const Vec<double>* u, const Vec<double>* x, Int<double>& place,
                             Int<double>& off) const {
    Mask<double> finite = (u[0] - u[0]) == 0;
    for (int k = 1; k < D; ++k) finite &= (u[k] - u[k]) == 0;
    place = Int<double>{}, off = ~to_int_mask<double>(finite);
    int32_t step = 1;
    for (int k = 0; k < D; ++k) {
      place += on_axis(k, finite ? u[k] : Vec<double>{}, x[k], off) * step;
      step *= int32_t(call.p.size[k]);
    }
  }
  static STN_INLINE bool any_of(const Int<double>& m) {
    int32_t all = 0;
    for (int k = 0; k < kLanes<double>; ++k) all |= m[k];
    return all != 0;
  }
  // Numbers of a grid, as they are and in pixels; behind the last pixel, anything.
  STN_NOINLINE void read_grid(int64_t j, int remaining, Vec<double>* x, Vec<double>* u) const {
    const T* g = coordinates.grid + j * D;
    T padded[D * kLanes<double>];
    if (remaining < kLanes<double>) {
      for (int n = 0; n < D * kLanes<double>; ++n) padded[n] = n < remaining * D ? g[n] : T(0);
      g = padded;
    }
    STN_UNROLL
    for (int k = 0; k < D; ++k) {
      T number[kLanes<double>];
      STN_UNROLL
      for (int n = 0; n < kLanes<double>; ++n) number[n] = g[n * D + k];
      x[k] = load_as_double(number);
      u[k] = x[k] * axes[k].half + axes[k].centre;
    }
  }

  // The pixel of an axis; -1 in `off` where that is off the image.
  STN_NOINLINE Int<double> on_axis(int k, Vec<double> u, const Vec<double>& x,
                                   Int<double>& off) const {
    const int64_t n = call.p.size[k], padding = call.p.padding;
    const bool repeats = padding != kConstant && padding != kBorder;
    const double far = double(1 << 30);
    if (!repeats) {
      u = u > -2.0 ? u : splat(-2.0);
      u = u < double(n + 1) ? u : splat(double(n + 1));
    } else if (any((u > far) | (u < -far))) {  // exact however large, and slow
      const int64_t mirrored = n > 1 ? 2 * n - 2 : 1;
      const double period = double(padding == kWrap         ? n
                                   : padding == kReflection ? 2 * n
                                                            : mirrored);
      for (int i = 0; i < kLanes<double>; ++i) u[i] = fmod(u[i], period);
    }
    Vec<double> base = floor_small<double>(u);
    const Vec<double> half = base + 0.5, below = half - u;
    Mask<double> up = u - base >= 0.5;
    Vec<double> size = u < 0 ? -u : u;
    size = size > double(n) ? size : splat(double(n));
    const Vec<double> close = size * (call.p.grid ? double(kEpsilon<T>) : 4 * kEpsilon<double>);
    const Mask<double> may = ~up & (below <= close) & (size < double(1 << 21));
    if (any(may)) up |= call.p.grid ? may & is_nearest_to(k, half, x) : may;
    base = up ? base + 1 : base;
    Int<double> i = to_int<double>(base);
    const Int<double> outside = (i < 0) | (i >= int32_t(n));
    if (padding == kConstant) {
      off |= outside;
    } else if (any_of(outside)) {
      for (int lane = 0; lane < kLanes<double>; ++lane) {
        i[lane] = int32_t(pixel_at(i[lane], n, padding));
      }
    }
    return i;
  }
  // Whether a grid's number is that of pixel coordinate `half`, as coordinates.to_normalised has
  // it.
  STN_INLINE Mask<double> is_nearest_to(int k, const Vec<double>& half,
                                        const Vec<double>& x) const {
    const int64_t n = call.p.size[k], extent = call.p.align_corners ? n - 1 : n;
    Mask<double> same = {};
    for (int i = 0; i < kLanes<double> && extent; ++i) {
      const T number = T((2 * half[i] - double(n - 1)) / double(extent));
      same[i] = double(number) == x[i] ? -1 : 0;
    }
    return same;
  }
};

// A row of pixels that are copied: one channel after the other, or all of them at once.
template <class E>
STN_NOINLINE void copy_nearest(const E* image, Steps from, E* row, Steps to, const int32_t* index,
                               int count, bool all_on, const E* fills, int64_t low, int64_t high) {
  if (to.channel == 1 && from.channel == 1) {
    const size_t bytes = size_t(high - low) * sizeof(E);
    for (int k = 0; k < count; ++k) {
      E* pixel = row + k * to.pixel + low;
      if (index[k] >= 0) {
        memcpy(pixel, image + index[k] * from.pixel + low, bytes);
      } else if (fills) {
        memcpy(pixel, fills + low, bytes);
      } else {
        memset(pixel, 0, bytes);
      }
    }
    return;
  }
  for (int64_t c = low; c < high; ++c) {
    const E* plane = image + c * from.channel;
    E* line = row + c * to.channel;
    if (all_on) {
      for (int k = 0; k < count; ++k) line[k] = plane[index[k]];
    } else {
      const E fill = fills ? fills[c] : E(0);
      for (int k = 0; k < count; ++k) {
        const E* at = index[k] < 0 ? &fill : plane + index[k];
        line[k] = *at;
      }
    }
  }
}

// Output b, rows [first, last), channels [low, high) of elements of type E.
template <class T, int D, class E>
void nearest_forward(const Call<T>& call, int64_t b, int64_t first, int64_t last, int64_t low,
                     int64_t high) {
  NearestLocator<T, D> locator(call, b);
  alignas(64) int32_t index[kRun + kGroup];
  const int64_t width = call.p.out_size[0], channels = call.p.channels;
  const Steps from = stored_steps(call, call.plane()), to = stored_steps(call, call.out_plane());
  const E* image = static_cast<const E*>(call.image) + call.image_of(b) * channels * call.plane();
  E* out = static_cast<E*>(call.out) + b * channels * call.out_plane();
  const E* fills = call.p.fills ? static_cast<const E*>(call.raw_fill) +
                                      b / (call.p.batch / call.p.fills) * channels
                                : nullptr;
  for (int64_t r = first; r < last; ++r) {
    for (int64_t j = 0; j < width; j += kRun) {
      const int count = int(least(width - j, kRun));
      const bool all_on = locator.find(r, j, count, index);
      E* row = out + (r * width + j) * to.pixel;
      copy_nearest(image, from, row, to, index, count, all_on, fills, low, high);
    }
  }
}

// Numbers of each storage, read as and added up in A.
template <int64_t Kind, class A>
struct Stored {
  typedef A E;
  static STN_INLINE A get(E x) { return x; }
  static STN_INLINE E put(A x) { return x; }
};
template <>
struct Stored<kBfloat16, float> {
  typedef uint16_t E;
  static STN_INLINE float get(E x) { return from_bfloat16(x); }
  static STN_INLINE E put(float x) { return to_bfloat16(x); }
};
template <>
struct Stored<kFloat16, float> {
  typedef uint16_t E;
  static STN_INLINE float get(E x) { return from_float16(x); }
  static STN_INLINE E put(float x) { return to_float16(x); }
};

// A row of the gradient, added to where it was copied from.
template <class S, class A>
STN_NOINLINE void add_nearest(const typename S::E* row, Steps in, const int32_t* index, int count,
                              A* sum, int64_t plane, int64_t m) {
  for (int64_t c = 0; c < m; ++c) {
    for (int k = 0; k < count; ++k) {
      if (index[k] < 0) continue;
      sum[c * plane + index[k]] += S::get(row[k * in.pixel + c * in.channel]);
    }
  }
}

// The gradient of channels [low, high) of one image: each pixel's is the sum of what was copied
// from it, in the order of the outputs.
template <class T, int D, int64_t Kind, class A>
void nearest_gradient(const Call<T>& call, int64_t image, int64_t low, int64_t high) {
  typedef Stored<Kind, A> S;
  typedef typename S::E E;
  const int64_t width = call.p.out_size[0], channels = call.p.channels, plane = call.plane();
  const int64_t sharing = call.p.batch / call.p.images, m = high - low;
  const Steps in = stored_steps(call, call.out_plane()), own = stored_steps(call, plane);
  E* result = static_cast<E*>(call.grad_image) + image * channels * plane + low * own.channel;
  const bool direct = Kind == kPlain && own.pixel == 1;
  A* sum = direct ? reinterpret_cast<A*>(result)
                  : static_cast<A*>(scratch(size_t(m * plane) * sizeof(A)));
  memset(sum, 0, size_t(m * plane) * sizeof(A));
  alignas(64) int32_t index[kRun + kGroup];
  for (int64_t b = image * sharing; b < (image + 1) * sharing; ++b) {
    NearestLocator<T, D> locator(call, b);
    const E* grad =
        static_cast<const E*>(call.grad) + b * channels * call.out_plane() + low * in.channel;
    for (int64_t r = 0; r < call.rows(); ++r) {
      for (int64_t j = 0; j < width; j += kRun) {
        const int count = int(least(width - j, kRun));
        locator.find(r, j, count, index);
        add_nearest<S>(grad + (r * width + j) * in.pixel, in, index, count, sum, plane, m);
      }
    }
  }
  if (direct) return;
  for (int64_t c = 0; c < m; ++c) {
    for (int64_t k = 0; k < plane; ++k) {
      result[k * own.pixel + c * own.channel] = S::put(sum[c * plane + k]);
    }
  }
}

template <class T, int D>
void nearest_forward_of(const Call<T>& call, const int64_t* n) {
  switch (call.p.item) {
    case 1: return nearest_forward<T, D, uint8_t>(call, n[0], n[1], n[2], n[3], n[4]);
    case 2: return nearest_forward<T, D, uint16_t>(call, n[0], n[1], n[2], n[3], n[4]);
    case 4: return nearest_forward<T, D, uint32_t>(call, n[0], n[1], n[2], n[3], n[4]);
    default: return nearest_forward<T, D, uint64_t>(call, n[0], n[1], n[2], n[3], n[4]);
  }
}
template <class T, int D>
void nearest_gradient_of(const Call<T>& call, const int64_t* n) {
  if (call.p.item == 8) return nearest_gradient<T, D, kPlain, double>(call, n[0], n[1], n[2]);
  if (call.p.item == 4) return nearest_gradient<T, D, kPlain, float>(call, n[0], n[1], n[2]);
  if (call.p.storage == kBfloat16) {
    return nearest_gradient<T, D, kBfloat16, float>(call, n[0], n[1], n[2]);
  }
  nearest_gradient<T, D, kFloat16, float>(call, n[0], n[1], n[2]);
}
template <class T>
NearestPasses<T> nearest_passes(const Plan& p) {
  if (p.dims == 3) return {nearest_forward_of<T, 3>, nearest_gradient_of<T, 3>};
  return {nearest_forward_of<T, 2>, nearest_gradient_of<T, 2>};
}

}  // namespace
}  // namespace stn::STN_SET
